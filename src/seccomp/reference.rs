//! For tests and fuzzing: evaluates a filter call by call from its rules. This is docs/seccomp.md in
//! code; it knows nothing of programs, of their order or of libseccomp's rules.

use super::arch::{Abi, MACHINES, Width, covered};
use super::compile::program_for;
use super::machine::{Data, run};
use super::numbers::{look_up, number};
use super::profile::{Action, Condition, Filter, Rule};
use crate::sys::seccomp::Instruction;
use oci_spec::runtime::LinuxSeccompOperator as Operator;

/// `SECCOMP_RET_KILL_THREAD`: the verdict on a call of an architecture that is not covered.
const KILL_THREAD: u32 = 0;
/// `SECCOMP_RET_ERRNO` with ENOSYS.
const ENOSYS: u32 = 0x0005_0026;

/// Returns the verdict of `program` on a call.
pub(super) fn verdict(program: &[Instruction], abi: &Abi, nr: u32, args: &[u64]) -> u32 {
    let mut data = Data {
        nr,
        arch: abi.audit,
        ..Data::default()
    };
    for (place, arg) in data.args.iter_mut().zip(args) {
        *place = *arg;
    }
    run(program, &data).expect("a program that the kernel loads")
}

pub(super) fn holds(condition: &Condition, args: &[u64], width: Width) -> bool {
    let counts = match width {
        Width::Whole => u64::MAX,
        Width::Low => 0xffff_ffff,
    };
    let arg = args.get(usize::from(condition.argument)).copied();
    let arg = arg.unwrap_or(0) & counts;
    let (value, value_two) = (condition.value & counts, condition.value_two & counts);
    match condition.operator {
        Operator::ScmpCmpNe => arg != value,
        Operator::ScmpCmpLt => arg < value,
        Operator::ScmpCmpLe => arg <= value,
        Operator::ScmpCmpEq => arg == value,
        Operator::ScmpCmpGe => arg >= value,
        Operator::ScmpCmpGt => arg > value,
        Operator::ScmpCmpMaskedEq => arg & value == value_two,
    }
}

/// True if all conditions hold, or one of them where two look at one argument.
fn all_hold(conditions: &[Condition], args: &[u64], width: Width) -> bool {
    let twice = |it: &Condition| {
        conditions
            .iter()
            .filter(|other| other.argument == it.argument)
            .count()
            > 1
    };
    if conditions.iter().any(twice) {
        conditions.iter().any(|it| holds(it, args, width))
    } else {
        conditions.iter().all(|it| holds(it, args, width))
    }
}

/// A name of a rule on one ABI.
struct Known {
    /// The call's own number on this ABI.
    number: Option<u32>,
    /// The number of the call through which it can be made, and the selector.
    through: Option<(u32, u32)>,
}

/// What the profile means, with every name's number on one ABI.
pub(super) struct Meaning<'a> {
    filter: &'a Filter,
    machine: &'static [Abi],
    abi: &'static Abi,
    names: Vec<Vec<Known>>,
}

impl<'a> Meaning<'a> {
    pub(super) fn new(
        filter: &'a Filter,
        machine: &'static [Abi],
        abi: &'static Abi,
    ) -> Meaning<'a> {
        let known = |name: &String| {
            let found = look_up(name, abi);
            let way = found.through;
            Known {
                number: found.number,
                through: way.and_then(|way| Some((number(way.by, abi)?, way.selector))),
            }
        };
        Meaning {
            filter,
            machine,
            abi,
            names: filter
                .rules
                .iter()
                .map(|rule| rule.names.iter().map(known).collect())
                .collect(),
        }
    }

    /// The rules whose action is not the default's, each with its names.
    fn rules(&self) -> impl Iterator<Item = (&Rule, &Vec<Known>)> {
        let rules = self.filter.rules.iter().zip(&self.names);
        rules.filter(|(rule, _)| rule.action != self.filter.default)
    }

    /// Returns the verdict (`SECCOMP_RET_*`) that the profile means for call `nr` with `args`.
    pub(super) fn of(&self, nr: u32, args: &[u64]) -> u32 {
        if !covered(self.machine, &self.filter.architectures).contains(&self.abi) {
            // -1 is the number that a tracer sets to skip a call, so it is no call of x32.
            let is_skipped = nr == u32::MAX && self.abi.bit != 0;
            return if is_skipped {
                self.filter.default.return_value()
            } else {
                KILL_THREAD
            };
        }
        let names = self.names.iter().flatten();
        let newest = names
            .flat_map(|it| [it.number, it.through.map(|way| way.0)])
            .flatten()
            .max();
        let answers_errno =
            matches!(self.filter.default, Action::Errno(errno) if i32::from(errno) != libc::ENOSYS);
        if answers_errno && newest.is_some_and(|it| nr > it) {
            return ENOSYS;
        }
        self.rule(nr, args)
            .unwrap_or(self.filter.default)
            .return_value()
    }

    fn rule(&self, nr: u32, args: &[u64]) -> Option<Action> {
        let names_it = |names: &[Known]| names.iter().any(|it| it.number == Some(nr));
        let selector = args.first().copied().unwrap_or(0) & 0xffff_ffff;
        let selects =
            |(through, wanted): (u32, u32)| through == nr && u64::from(wanted) == selector & 0xffff;
        let hides = |names: &[Known]| names.iter().any(|it| it.through.is_some_and(selects));
        let always = |rule: &Rule| rule.conditions.is_empty();
        let settled = |is_it: &dyn Fn(&[Known]) -> bool| {
            let mut rules = self.rules();
            rules
                .find(|(rule, names)| always(rule) && is_it(names))
                .map(|(rule, _)| rule.action)
        };
        settled(&names_it).or_else(|| {
            let is_hidden_settled = settled(&hides).is_some();
            let mut rules = self.rules();
            let found = rules.find(|(rule, names)| {
                if always(rule) {
                    hides(names)
                } else {
                    let unseen = hides(names) && !rule.action.lets_pass() && !is_hidden_settled;
                    unseen || names_it(names) && all_hold(&rule.conditions, args, self.abi.width)
                }
            });
            found.map(|(rule, _)| rule.action)
        })
    }
}

/// Returns, as text, the first call on which the compiled program of `filter` and its meaning differ. All
/// machines that casulo is compiled for are tried. Returns None also for a filter that is refused. The
/// calls tried are those near what the filter names; `pool` has arguments to try beside those of its
/// conditions.
pub(crate) fn first_mismatch(filter: &Filter, pool: &[u64]) -> Option<String> {
    let mut values: Vec<u64> = filter
        .rules
        .iter()
        .flat_map(|rule| &rule.conditions)
        .flat_map(|it| {
            let (value, two) = (it.value, it.value_two);
            [
                value,
                two,
                value.wrapping_add(1),
                value.wrapping_sub(1),
                value ^ (1 << 32),
            ]
        })
        .chain([0, 1, 2, 15, 21, 0x1_0000 | 21, u64::MAX])
        .chain(pool.iter().copied())
        .collect();
    values.sort_unstable();
    values.dedup();
    MACHINES.iter().find_map(|machine| {
        let program = program_for(filter, machine).ok()?;
        let mut abis = machine.iter();
        abis.find_map(|abi| difference(&program, &Meaning::new(filter, machine, abi), &values))
            .or_else(|| {
                // mips64el, an architecture for which casulo is not compiled.
                let foreign = Data {
                    arch: 0xc000_0008,
                    ..Data::default()
                };
                let verdict = run(&program, &foreign).expect("a program that the kernel loads");
                (verdict != KILL_THREAD)
                    .then(|| format!("a foreign architecture gets {verdict:#x}"))
            })
    })
}

fn difference(program: &[Instruction], meaning: &Meaning<'_>, values: &[u64]) -> Option<String> {
    let abi = meaning.abi;
    let known = meaning.names.iter().flatten();
    let mut numbers: Vec<u32> = known
        .flat_map(|it| [it.number, it.through.map(|way| way.0)])
        .flatten()
        .flat_map(|it| [it, it + 1, it.saturating_sub(1)])
        .chain([0, 39, 335, 500, 1000, 0x3fff_ffff, u32::MAX])
        .map(|it| it | abi.bit)
        // A number without x32's bit is no call of x32, and one with it is no call of x86_64.
        .filter(|it| abi.bit != 0 || it & abi.told_by == 0)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    for nr in numbers {
        for round in 0..values.len().min(24) {
            let args: [u64; 6] = std::array::from_fn(|place| {
                let at = (round * (place + 1) + place * place) % values.len();
                values.get(at).copied().unwrap_or(0)
            });
            let (found, meant) = (verdict(program, abi, nr, &args), meaning.of(nr, &args));
            if found != meant {
                return Some(format!(
                    "{:?} {nr} ({nr:#x}) {args:x?}: the program says {found:#x}, the profile {meant:#x}",
                    abi.name
                ));
            }
        }
    }
    None
}
