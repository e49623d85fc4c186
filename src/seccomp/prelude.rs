//! The instructions that run ahead of libseccomp's program, for what it cannot do:
//!
//! * Rules with conditions. libseccomp 2.5 merges those of one call into a tree that is wrong
//!   where they overlap: `arg0 != 0` and `arg0 != 1 && arg1 == 0` together allow (0, 1), which
//!   neither does. Here rules are tried in the profile's order and the first that holds counts.
//! * Calls newer than the library get their rule's action.
//! * Calls newer than every call the profile names return ENOSYS instead of the default action.
//!   A libc tries the newest call first and falls back on ENOSYS alone; EPERM would look like the
//!   final answer to a program that an older profile never heard of.
//!
//! Everything else goes on to the library's program, which follows and reads its input afresh.
//! Per ABI, the native one first:
//!
//! ```text
//!   arch is this ABI's?               no → next ABI
//!   number > last named?              → return ENOSYS
//!   number has rules with conditions? → return the first one's action that holds, or go on
//!   number is newer than the library? → return its action
//!   → the library's program
//! ```
//! Numbers are tested by loads, comparisons with constants and returns alone, so that the kernel
//! (5.11) can work out which numbers are always allowed and skip the filter for those.

use super::arch::{Abi, Width};
use super::profile::{Action, Condition};
use crate::sys::seccomp::Instruction;
use oci_spec::runtime::LinuxSeccompOperator as Operator;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What the prelude says about one ABI.
#[derive(Debug)]
pub(super) struct Section<'a> {
    /// The ABI.
    pub(super) abi: &'static Abi,
    /// Numbers above this one, which carries the ABI's bit, return ENOSYS. None: no limit.
    pub(super) last: Option<u32>,
    /// What happens to calls, in the order of the profile. A call has either rules with
    /// conditions or one without.
    pub(super) calls: Vec<Call<'a>>,
}

/// A rule for a call on one ABI.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    /// Its number, with the ABI's bit.
    pub(super) number: u32,
    /// What happens to it.
    pub(super) action: Action,
    /// When: all hold. No two look at the same argument. Always, if empty.
    pub(super) conditions: Cow<'a, [Condition]>,
}

/// Where `struct seccomp_data` of `linux/seccomp.h` has its members.
const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;
const DATA_ARGS: u32 = 16;

/// The opcodes of `linux/bpf_common.h` used here.
const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const JMP_JEQ_K: u16 = 0x15;
const JMP_JGT_K: u16 = 0x25;
const JMP_JGE_K: u16 = 0x35;
const RET_K: u16 = 0x06;

/// An instruction, or a jump whose distance is known only at the end.
enum Step {
    Do(Instruction),
    /// To the first instruction after the prelude.
    Leave,
}

/// Writes the prelude for `sections`; empty if no section says anything.
pub(super) fn write(sections: &[Section<'_>]) -> Vec<Instruction> {
    if sections.iter().all(Section::is_silent) {
        return Vec::new();
    }
    let mut steps = vec![load(DATA_ARCH)];
    let mut done: Vec<u32> = Vec::new();
    for Section { abi, .. } in sections {
        if done.contains(&abi.audit) {
            continue;
        }
        done.push(abi.audit);
        let block = architecture(abi.audit, sections);
        steps.extend(when(JMP_JEQ_K, abi.audit, block));
    }
    let end = steps.len();
    steps
        .into_iter()
        .enumerate()
        .map(|(index, step)| match step {
            Step::Do(instruction) => instruction,
            Step::Leave => jump(end - index - 1),
        })
        .collect()
}

impl Section<'_> {
    fn is_silent(&self) -> bool {
        self.last.is_none() && self.calls.is_empty()
    }
}

/// All that is said about one value of `seccomp_data.arch`. Its sections differ in their bit.
fn architecture(audit: u32, sections: &[Section<'_>]) -> Vec<Step> {
    let of = |with_bit: bool| {
        sections
            .iter()
            .filter(move |section| section.abi.audit == audit && (section.abi.bit != 0) == with_bit)
            .flat_map(numbers)
            .chain([Step::Leave])
            .collect::<Vec<Step>>()
    };
    let mut steps = vec![load(DATA_NR)];
    let of_audit = sections.iter().filter(|section| section.abi.audit == audit);
    let bit = of_audit
        .map(|section| section.abi.told_by)
        .max()
        .unwrap_or(0);
    if bit != 0 {
        // Such numbers are another ABI's even if the profile does not cover it; the library's
        // program then treats them as a foreign architecture.
        steps.extend(when(JMP_JGE_K, bit, of(true)));
    }
    steps.extend(of(false));
    steps
}

/// What is said about the numbers of one ABI; the number is loaded.
fn numbers(section: &Section<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(last) = section.last {
        let enosys = Action::Errno(u16::try_from(libc::ENOSYS).expect("38"));
        steps.extend(when(JMP_JGT_K, last, vec![give(enosys)]));
    }
    let (always, sometimes): (Vec<_>, Vec<_>) = section
        .calls
        .iter()
        .partition(|call| call.conditions.is_empty());
    let mut by_number: BTreeMap<u32, Vec<Step>> = BTreeMap::new();
    for call in sometimes {
        let rules = by_number.entry(call.number).or_default();
        rules.extend(rule(call, section.abi.width));
    }
    for (number, mut rules) in by_number {
        rules.push(Step::Leave);
        steps.extend(when(JMP_JEQ_K, number, rules));
    }
    if let Some(first) = always.iter().map(|call| call.number).min() {
        // The usual, older numbers are spared the list below.
        steps.push(compare(JMP_JGE_K, first, 1, 0));
        steps.push(Step::Leave);
    }
    for call in always {
        steps.extend(when(JMP_JEQ_K, call.number, vec![give(call.action)]));
    }
    steps
}

/// `block` if the comparison holds, else what follows it. A comparison reaches 255 instructions,
/// `ja` any distance.
fn when(code: u16, k: u32, block: Vec<Step>) -> impl Iterator<Item = Step> {
    let skip = match u8::try_from(block.len()) {
        Ok(distance) => vec![compare(code, k, 0, distance)],
        Err(_) => vec![compare(code, k, 1, 0), Step::Do(jump(block.len()))],
    };
    skip.into_iter().chain(block)
}

/// Where a comparison of an argument goes.
#[derive(Clone, Copy)]
enum To {
    /// The next instruction.
    Next,
    /// The condition holds: after its last instruction.
    Holds,
    /// The condition does not hold, so neither does the rule: behind it.
    Fails,
}

/// Returns the action if all conditions hold, else goes on behind; at most 37 instructions.
fn rule(call: &Call<'_>, width: Width) -> Vec<Step> {
    let blocks: Vec<Vec<(Instruction, To, To)>> = call
        .conditions
        .iter()
        .map(|it| match width {
            Width::Whole => compare_whole(it),
            Width::Low => compare_low(it),
        })
        .collect();
    let mut left = blocks.iter().map(Vec::len).sum::<usize>() + 1;
    let mut steps = Vec::with_capacity(left);
    for block in blocks {
        let behind_block = left - block.len();
        for (instruction, holds, fails) in block {
            left -= 1;
            let reach = |to: To| match to {
                To::Next => 0,
                To::Holds => distance(left - behind_block),
                To::Fails => distance(left),
            };
            steps.push(Step::Do(Instruction {
                jt: reach(holds),
                jf: reach(fails),
                ..instruction
            }));
        }
    }
    steps.push(give(call.action));
    steps
}

/// The two halves of a number, high and low.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}

/// Where the high and the low half of an argument are in `struct seccomp_data`.
fn offsets(argument: u8) -> (u32, u32) {
    let offset = DATA_ARGS + 8 * u32::from(argument);
    if cfg!(target_endian = "little") {
        (offset + 4, offset)
    } else {
        (offset, offset + 4)
    }
}

/// Compares an argument of 64 bits half by half, as classic BPF has 32.
fn compare_whole(condition: &Condition) -> Vec<(Instruction, To, To)> {
    use To::{Fails, Holds, Next};
    let (first, second) = offsets(condition.argument);
    let (high, low) = halves(condition.value);
    let (want_high, want_low) = halves(condition.value_two);
    let load = |offset| (plain(LD_W_ABS, offset), Next, Next);
    let test = |code, k, holds, fails| (plain(code, k), holds, fails);
    // The high half decides unless it is equal: then the low half does.
    let ordered = |above, below, code, holds, fails| {
        vec![
            load(first),
            test(JMP_JGT_K, high, above, Next),
            test(JMP_JEQ_K, high, Next, below),
            load(second),
            test(code, low, holds, fails),
        ]
    };
    match condition.operator {
        Operator::ScmpCmpGt => ordered(Holds, Fails, JMP_JGT_K, Holds, Fails),
        Operator::ScmpCmpGe => ordered(Holds, Fails, JMP_JGE_K, Holds, Fails),
        Operator::ScmpCmpLe => ordered(Fails, Holds, JMP_JGT_K, Fails, Holds),
        Operator::ScmpCmpLt => ordered(Fails, Holds, JMP_JGE_K, Fails, Holds),
        Operator::ScmpCmpEq => vec![
            load(first),
            test(JMP_JEQ_K, high, Next, Fails),
            load(second),
            test(JMP_JEQ_K, low, Holds, Fails),
        ],
        Operator::ScmpCmpNe => vec![
            load(first),
            test(JMP_JEQ_K, high, Next, Holds),
            load(second),
            test(JMP_JEQ_K, low, Fails, Holds),
        ],
        Operator::ScmpCmpMaskedEq => vec![
            load(first),
            test(ALU_AND_K, high, Next, Next),
            test(JMP_JEQ_K, want_high, Next, Fails),
            load(second),
            test(ALU_AND_K, low, Next, Next),
            test(JMP_JEQ_K, want_low, Holds, Fails),
        ],
    }
}

/// Compares the low 32 bits of an argument with those of the value.
fn compare_low(condition: &Condition) -> Vec<(Instruction, To, To)> {
    use To::{Fails, Holds, Next};
    let (_, offset) = offsets(condition.argument);
    let (_, low) = halves(condition.value);
    let (_, want) = halves(condition.value_two);
    let load = (plain(LD_W_ABS, offset), Next, Next);
    let test = |code, k, holds, fails| vec![load, (plain(code, k), holds, fails)];
    match condition.operator {
        Operator::ScmpCmpGt => test(JMP_JGT_K, low, Holds, Fails),
        Operator::ScmpCmpGe => test(JMP_JGE_K, low, Holds, Fails),
        Operator::ScmpCmpLe => test(JMP_JGT_K, low, Fails, Holds),
        Operator::ScmpCmpLt => test(JMP_JGE_K, low, Fails, Holds),
        Operator::ScmpCmpEq => test(JMP_JEQ_K, low, Holds, Fails),
        Operator::ScmpCmpNe => test(JMP_JEQ_K, low, Fails, Holds),
        Operator::ScmpCmpMaskedEq => vec![
            load,
            (plain(ALU_AND_K, low), Next, Next),
            (plain(JMP_JEQ_K, want), Holds, Fails),
        ],
    }
}

fn plain(code: u16, k: u32) -> Instruction {
    Instruction {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

fn load(offset: u32) -> Step {
    Step::Do(plain(LD_W_ABS, offset))
}

fn compare(code: u16, k: u32, jt: u8, jf: u8) -> Step {
    Step::Do(Instruction { code, jt, jf, k })
}

fn give(action: Action) -> Step {
    Step::Do(plain(RET_K, action.return_value()))
}

fn jump(distance: usize) -> Instruction {
    // A prelude that long is longer than BPF_MAXINSNS, which the caller checks.
    plain(
        JMP_JA,
        u32::try_from(distance).expect("a count of rules in memory"),
    )
}

/// At most 6 conditions of at most 6 instructions are jumped over.
fn distance(instructions: usize) -> u8 {
    u8::try_from(instructions).expect("a rule has at most 37 instructions")
}
