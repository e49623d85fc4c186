//! Turns a [`Filter`] into a program. It looks names up in libseccomp's tables and collects what the rules say about
//! each number; [`super::tree`] writes the program. Runs in the parent.
//!
//! * A rule with the default's action adds nothing and is left out; its names count as known to the profile.
//! * Two conditions on one argument are alternatives, as in runc, and so become a rule each. Profiles use this to
//!   list values.
//! * A rule without conditions settles its call. The first such rule counts; rules with conditions have no effect on
//!   that call, wherever they stand. The log says so if they would have done something else.
//! * Two rules with the same conditions and different actions are an error.

use super::arch::{self, Abi};
use super::numbers::{self, Known};
use super::profile::{Action, Condition, Filter, Rule};
use super::tree::{self, Call, Defaults, Table, When};
use crate::error::{Code, Error, Result};
use crate::sys::seccomp::{BPF_MAXINSNS, Instruction};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// Returns the program of `filter` for those ABIs of this kernel that the filter covers.
///
/// # Errors
/// E_SECCOMP if two rules contradict each other, or if the program is longer than the kernel accepts.
pub(super) fn program(filter: &Filter) -> Result<Vec<Instruction>> {
    program_for(filter, arch::ABIS)
}

/// Returns the program of `filter` for a kernel with the ABIs of `machine`, as [`program`] does for this one.
///
/// # Errors
/// As [`program`].
pub(super) fn program_for(filter: &Filter, machine: &'static [Abi]) -> Result<Vec<Instruction>> {
    for name in &filter.architectures {
        if !machine.iter().any(|abi| abi.name == *name) {
            log::debug!("seccomp: {name} is not an architecture of this kernel, left out");
        }
    }
    let effects = effects(filter);
    refuse_contradictions(filter, &effects)?;
    let abis = arch::covered(machine, &filter.architectures);
    let tables = tables(filter, &effects, &abis);
    let program = tree::write(tables, defaults(filter.default));
    if program.len() > BPF_MAXINSNS {
        let why = format!(
            "it takes {} instructions and the kernel accepts {BPF_MAXINSNS}",
            program.len()
        );
        return Err(failed("compile", "linux.seccomp", why));
    }
    Ok(program)
}

/// Returns the default actions of a profile. A profile that answers unlisted calls with an errno means "you may not",
/// which is wrong for calls its author could not know; these get ENOSYS. Other default actions stay: they
/// are no answer to the program.
fn defaults(action: Action) -> Defaults {
    let enosys = Action::Errno(u16::try_from(libc::ENOSYS).expect("38"));
    Defaults {
        action,
        newer: match action {
            Action::Errno(_) => enosys,
            other => other,
        },
    }
}

/// Every name of every rule in the profile's order, with the index of its rule and the rule.
fn names(filter: &Filter) -> impl Iterator<Item = (usize, &Rule, &str)> {
    let rules = filter.rules.iter().enumerate();
    rules.flat_map(|(index, rule)| {
        let names = rule.names.iter();
        names.map(move |name| (index, rule, name.as_str()))
    })
}

/// For each name, the index of the first rule without conditions. The hasher has no random keys: only the profile's
/// author could make names collide, and randomness costs a system call.
type Settled<'a> = HashMap<&'a str, usize, BuildHasherDefault<DefaultHasher>>;

/// Tells for each of the [`names`], in their order, whether its rule changes anything about the call.
fn effects(filter: &Filter) -> Vec<bool> {
    let count = names(filter).count();
    let mut settled = Settled::with_capacity_and_hasher(count, BuildHasherDefault::default());
    let mut effects = Vec::with_capacity(count);
    for (index, rule, name) in names(filter) {
        let differs = rule.action != filter.default;
        let settles = differs && rule.conditions.is_empty();
        let settler = if settles {
            *settled.entry(name).or_insert(index)
        } else {
            index
        };
        effects.push(differs && !is_beaten(filter, index, name, settler));
    }
    // By now all rules without conditions are known, also those that stand after a rule with conditions.
    for ((index, rule, name), has_effect) in names(filter).zip(&mut effects) {
        if *has_effect
            && !rule.conditions.is_empty()
            && let Some(settler) = settled.get(name)
        {
            *has_effect = !is_beaten(filter, index, name, *settler);
        }
    }
    effects
}

/// True if another rule, `settler`, settles the call. Logs it if that rule's action is a different one.
fn is_beaten(filter: &Filter, index: usize, name: &str, settler: usize) -> bool {
    let action = |index: usize| filter.rules.get(index).map(|rule| rule.action);
    if action(settler) != action(index) {
        log::info!(
            "linux.seccomp.syscalls[{index}]: has no effect on {name}, which \
             syscalls[{settler}] settles without conditions"
        );
    }
    settler != index
}

/// Returns a table for each of `abis`, filled with what the rules say about that ABI's calls.
fn tables<'a>(filter: &'a Filter, effects: &[bool], abis: &[&'static Abi]) -> Vec<Table<'a>> {
    let table = |abi: &&'static Abi| Table::new(abi, effects.len());
    let mut tables: Vec<Table<'a>> = abis.iter().map(table).collect();
    for ((_, rule, name), has_effect) in names(filter).zip(effects) {
        let mut exists = false;
        for table in &mut tables {
            let known = numbers::look_up(name, table.abi);
            exists |= known.exists();
            table.note(known);
            if *has_effect {
                table.add(rule, known);
            }
        }
        if !exists && *has_effect {
            log::debug!("seccomp: {name} is not a system call of this machine, left out");
        }
    }
    tables
}

impl<'a> Table<'a> {
    /// Notes a call that the profile names. Calls newer than all of these are unknown to the profile.
    fn note(&mut self, known: Known) {
        let through = self.through(known).map(|(number, _)| number);
        self.newest = self.newest.max(known.number).max(through);
    }

    /// Returns the number of the multiplexer that can make this call too, and the selector of the call there.
    fn through(&self, known: Known) -> Option<(u32, u32)> {
        let multiplexed = known.through?;
        let number = numbers::number(multiplexed.by, self.abi)?;
        Some((number, multiplexed.selector))
    }

    fn add(&mut self, rule: &'a Rule, known: Known) {
        let through = self.through(known);
        let Rule {
            action, conditions, ..
        } = rule;
        let call = |number, when| Call {
            number,
            action: *action,
            when,
        };
        // A filter cannot check a rule's conditions on a multiplexed call. So a rule with conditions lets no such call
        // pass, and one that refuses it does so whatever its arguments are.
        if let Some((number, selector)) = through
            && (conditions.is_empty() || !action.lets_pass())
        {
            self.calls.push(call(number, When::Selected(selector)));
        }
        let Some(number) = known.number else { return };
        if conditions.is_empty() {
            self.calls.push(call(number, When::Always));
        }
        let alternatives = alternatives(conditions).map(|all| call(number, When::All(all)));
        self.calls.extend(alternatives);
    }
}

/// Returns the alternatives that a rule's conditions stand for: each condition by itself if two look at one argument,
/// else all of them together.
fn alternatives(conditions: &[Condition]) -> impl Iterator<Item = &[Condition]> {
    let twice = conditions.iter().enumerate().any(|(index, one)| {
        let mut earlier = conditions.iter().take(index);
        earlier.any(|other| other.argument == one.argument)
    });
    let size = if twice { 1 } else { conditions.len().max(1) };
    conditions.chunks(size)
}

/// Refuses a profile in which two rules have different actions for a call under the same conditions.
fn refuse_contradictions(filter: &Filter, effects: &[bool]) -> Result<()> {
    let mut earlier: Vec<(&str, &[Condition], Action)> = Vec::new();
    for ((index, rule, name), has_effect) in names(filter).zip(effects) {
        if !has_effect {
            continue;
        }
        for conditions in alternatives(&rule.conditions) {
            let contradicts = |(it, its, action): &(&str, &[Condition], Action)| {
                *action != rule.action && *its == conditions && *it == name
            };
            if earlier.iter().any(contradicts) {
                let why = "an earlier rule has another action under the same conditions";
                return Err(failed("add the seccomp rule for", name, why)
                    .hint(format!("see linux.seccomp.syscalls[{index}]")));
            }
            earlier.push((name, conditions, rule.action));
        }
    }
    Ok(())
}

fn failed(step: &str, object: &str, why: impl std::fmt::Display) -> Error {
    Error {
        step: step.to_owned(),
        object: object.to_owned(),
        ..Error::new(Code::Seccomp, why.to_string())
    }
}
