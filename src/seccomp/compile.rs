//! Turns a [`Filter`] into a program: names to numbers, rules without conditions to libseccomp,
//! the rest to the prelude in front. Runs in the parent; takes milliseconds, which the cache saves.
//!
//! What libseccomp does with awkward rules is settled here rather than there:
//!
//! * A rule with the default's action adds nothing and is left out (the library: EACCES).
//! * Two conditions on one argument (the library: EINVAL) are alternatives, as in runc, and so
//!   become a rule each. Profiles rely on it to list values.
//! * A rule without conditions settles its call: the first such rule counts, and rules with
//!   conditions before or behind it do not (the library drops or replaces them without a word).
//!   It is said in a warning if they would have done something else.
//! * Two rules with the same conditions and different actions are an error.
//! * Rules with conditions are not given to the library; see [`prelude`].

use super::arch::{self, Abi};
use super::numbers::{self, Multiplexed};
use super::prelude::{self, Call, Section};
use super::profile::{Action, Condition, Filter};
use crate::error::{Code, Context, Error, Result};
use crate::sys::seccomp::{BPF_MAXINSNS, Instruction};
use libseccomp::{ScmpAction, ScmpArch, ScmpFilterContext, ScmpSyscall, error::SeccompError};
use nix::sys::memfd::{MFdFlags, memfd_create};
use oci_spec::runtime::LinuxSeccompOperator;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek};

/// From this many rules on the library's tree pays; it also misbehaves without any rule.
const TREE_FROM: usize = 8;

/// A rule for one name, after the awkward ones are settled.
struct Entry<'a> {
    name: &'a str,
    action: Action,
    conditions: &'a [Condition],
}

/// Compiles `filter` for the ABIs of this kernel that it covers.
///
/// # Errors
/// E_SECCOMP: two rules contradict each other, the library refuses a rule (the kernel does not
/// know its action), or the program is longer than the kernel takes.
pub(super) fn program(filter: &Filter) -> Result<Vec<Instruction>> {
    program_for(filter, arch::ABIS)
}

/// The same for the kernel that has the ABIs of `machine`.
///
/// # Errors
/// As [`program`].
pub(super) fn program_for(filter: &Filter, machine: &'static [Abi]) -> Result<Vec<Instruction>> {
    let abis = arch::covered(machine, &filter.architectures);
    for name in &filter.architectures {
        if !machine.iter().any(|abi| abi.name == *name) {
            log::debug!("seccomp: {name} is not an architecture of this kernel, left out");
        }
    }
    let mut sections: Vec<Section<'_>> = abis
        .iter()
        .map(|abi| Section {
            abi,
            last: newest(filter, abi).filter(|_| gives_enosys(filter.default)),
            calls: Vec::new(),
        })
        .collect();
    let mut simple = Vec::new();
    let entries = entries(filter)?;
    let settled = |name: &str| {
        entries
            .iter()
            .any(|entry| entry.name == name && entry.conditions.is_empty())
    };
    for entry in &entries {
        let mut known = false;
        for section in &mut sections {
            let Some(way) = numbers::multiplexed(entry.name, section.abi) else {
                continue;
            };
            known = true;
            let counts = entry.conditions.is_empty() || !entry.action.lets_pass();
            if counts && !settled(way.by) {
                section.calls.extend(hidden(way, entry.action, section.abi));
            }
        }
        if entry.conditions.is_empty()
            && let Some(call) = numbers::in_library(entry.name, &abis)
        {
            simple.push((call, entry.action, entry.name));
            // The library would mix it with rules for the calls behind it.
            if numbers::MULTIPLEXERS.contains(&entry.name) {
                for section in &mut sections {
                    section.calls.extend(direct(entry, section.abi));
                }
            }
            continue;
        }
        for section in &mut sections {
            if let Some(call) = direct(entry, section.abi) {
                known = true;
                section.calls.push(call);
            }
        }
        if !known {
            let name = entry.name;
            log::debug!("seccomp: {name} is not a system call of this machine, left out");
        }
    }
    let mut program = prelude::write(&sections);
    program.extend(by_library(filter.default, &abis, &simple)?);
    if program.len() > BPF_MAXINSNS {
        let why = format!(
            "it takes {} instructions and the kernel accepts {BPF_MAXINSNS}",
            program.len()
        );
        return Err(failed("compile", "linux.seccomp", why));
    }
    Ok(program)
}

/// A rule for a name's own number.
fn direct<'a>(entry: &Entry<'a>, abi: &Abi) -> Option<Call<'a>> {
    Some(Call {
        number: numbers::number(entry.name, abi)?,
        action: entry.action,
        conditions: entry.conditions.into(),
    })
}

/// What a rule means for a call through socketcall(2) or ipc(2), whose arguments are behind a pointer
/// that a filter cannot follow. Nothing is let through for conditions that cannot be checked, and what
/// some rule refuses is refused altogether.
///
/// The library compares the whole selector, and ipc(2) looks at its lower 16 bits: in the upper ones it
/// keeps a version, which most calls behind it do not look at. So this is not left to the library.
fn hidden<'a>(way: Multiplexed, action: Action, abi: &Abi) -> Option<Call<'a>> {
    let selects = Condition {
        argument: 0,
        operator: LinuxSeccompOperator::ScmpCmpMaskedEq,
        value: 0xffff,
        value_two: u64::from(way.selector),
    };
    Some(Call {
        number: numbers::number(way.by, abi)?,
        action,
        conditions: vec![selects].into(),
    })
}

/// A profile that answers unlisted calls by an errno means "you may not", which is wrong for
/// calls its author could not know. Other defaults are not an answer to the program, and stay.
fn gives_enosys(default: Action) -> bool {
    matches!(default, Action::Errno(errno) if i32::from(errno) != libc::ENOSYS)
}

/// The rules, settled as the module's head says.
fn entries(filter: &Filter) -> Result<Vec<Entry<'_>>> {
    let rules = || {
        filter
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.action != filter.default)
    };
    let mut settled: HashMap<&str, (usize, Action)> = HashMap::new();
    for (index, rule) in rules().filter(|(_, rule)| rule.conditions.is_empty()) {
        for name in &rule.names {
            settled.entry(name).or_insert((index, rule.action));
        }
    }
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for (index, rule) in rules() {
        for name in &rule.names {
            match settled.get(name.as_str()) {
                Some((settler, _)) if *settler == index => {}
                Some((settler, action)) => {
                    if *action != rule.action {
                        log::info!(
                            "linux.seccomp.syscalls[{index}]: has no effect on {name}, which \
                             syscalls[{settler}] settles without conditions"
                        );
                    }
                    continue;
                }
                None => {}
            }
            let alternatives: Vec<&[Condition]> = if has_alternatives(&rule.conditions) {
                rule.conditions.chunks(1).collect()
            } else {
                vec![&rule.conditions]
            };
            for conditions in alternatives {
                if contradicts(&entries, name, rule.action, conditions) {
                    let why = "an earlier rule has another action under the same conditions";
                    return Err(failed("add the seccomp rule for", name, why)
                        .hint(format!("see linux.seccomp.syscalls[{index}]")));
                }
                entries.push(Entry {
                    name,
                    action: rule.action,
                    conditions,
                });
            }
        }
    }
    Ok(entries)
}

fn contradicts(
    earlier: &[Entry<'_>],
    name: &str,
    action: Action,
    conditions: &[Condition],
) -> bool {
    !conditions.is_empty()
        && earlier.iter().any(|entry| {
            entry.conditions == conditions && entry.name == name && entry.action != action
        })
}

/// True if two conditions look at one argument.
fn has_alternatives(conditions: &[Condition]) -> bool {
    let arguments: HashSet<u8> = conditions.iter().map(|it| it.argument).collect();
    arguments.len() < conditions.len()
}

/// The largest number on `abi` that the profile names in any rule, with the ABI's bit; that of the call
/// through which a named one is made counts, too.
fn newest(filter: &Filter, abi: &Abi) -> Option<u32> {
    let numbers = |name: &String| {
        let way = numbers::multiplexed(name, abi);
        [
            numbers::number(name, abi),
            way.and_then(|way| numbers::number(way.by, abi)),
        ]
    };
    let names = filter.rules.iter().flat_map(|rule| &rule.names);
    names.flat_map(numbers).flatten().max()
}

/// libseccomp's part of the program. Its attributes about loading (no_new_privs, TSYNC, the log)
/// play no part: the program is exported, and loaded by our own call.
fn by_library(
    default: Action,
    abis: &[&'static Abi],
    rules: &[(ScmpSyscall, Action, &str)],
) -> Result<Vec<Instruction>> {
    let setup = |error: SeccompError| failed("set up", "libseccomp", error);
    let mut context = ScmpFilterContext::new(default.for_library()).map_err(setup)?;
    for abi in abis {
        // The one it runs on is there from the beginning.
        if abi.library != ScmpArch::native() {
            context.add_arch(abi.library).map_err(setup)?;
        }
    }
    if abis.iter().all(|abi| abi.library != ScmpArch::native()) {
        context.remove_arch(ScmpArch::native()).map_err(setup)?;
    }
    for (call, action, name) in rules {
        context
            .add_rule(action.for_library(), *call)
            .map_err(|error| failed("add the seccomp rule for", name, error))?;
    }
    if rules.len() >= TREE_FROM {
        context.set_ctl_optimize(2).map_err(setup)?;
    }
    export(&context)
}

fn export(context: &ScmpFilterContext) -> Result<Vec<Instruction>> {
    let memfd = memfd_create(c"seccomp", MFdFlags::MFD_CLOEXEC).context(
        Code::Seccomp,
        "create a memfd for",
        "the seccomp program",
    )?;
    let mut file = File::from(memfd);
    context
        .export_bpf(&file)
        .map_err(|error| failed("export", "the seccomp program", error))?;
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .context(Code::Seccomp, "read", "the exported seccomp program")?;
    Instruction::parse(&bytes)
        .ok_or_else(|| failed("export", "the seccomp program", "it is cut short"))
}

fn failed(step: &str, object: &str, why: impl std::fmt::Display) -> Error {
    Error {
        step: step.to_owned(),
        object: object.to_owned(),
        ..Error::new(Code::Seccomp, why.to_string())
    }
}

impl Action {
    /// The action as libseccomp names it.
    fn for_library(self) -> ScmpAction {
        match self {
            Action::KillProcess => ScmpAction::KillProcess,
            Action::KillThread => ScmpAction::KillThread,
            Action::Trap => ScmpAction::Trap,
            Action::Errno(errno) => ScmpAction::Errno(i32::from(errno)),
            Action::Trace(message) => ScmpAction::Trace(message),
            Action::Notify => ScmpAction::Notify,
            Action::Log => ScmpAction::Log,
            Action::Allow => ScmpAction::Allow,
        }
    }
}
