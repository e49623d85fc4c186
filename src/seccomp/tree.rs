//! The shape of a program: by architecture, then by number, then by arguments.
//!
//! ```text
//!   arch is this one's?             no → next architecture; none → kill
//!   (x86_64) number has x32's bit?  yes → x32's tree
//!   a search in the ranges of numbers that get the same answer, newer ones than the profile names included
//!   → return, or this number's rules with conditions: the first that holds, else the default action
//! ```
//! docs/seccomp.md says what the answers are, and [`super::compile()`] finds them.

use super::arch::{Abi, Width};
use super::assembly::{Code, Label, Test};
use super::conditions::{self, Ways};
use super::profile::{Action, Condition};
use crate::sys::seccomp::Instruction;
use oci_spec::runtime::LinuxSeccompOperator;

/// The rules for the calls of one ABI.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// The ABI whose calls these are.
    pub(super) abi: &'static Abi,
    /// The largest number that the profile names, with the ABI's bit.
    pub(super) newest: Option<u32>,
    /// The rules for each number, in the order of the profile.
    pub(super) calls: Vec<Call<'a>>,
}

/// A rule for a call on one ABI.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// The call's number, with the ABI's bit.
    pub(super) number: u32,
    /// What the kernel does with the call.
    pub(super) action: Action,
    /// The conditions under which the rule matches.
    pub(super) when: When<'a>,
}

/// The conditions of a rule for a call on one ABI.
#[derive(Clone, Copy, Debug)]
pub(super) enum When<'a> {
    Always,
    /// Matches if all of these conditions hold.
    All(&'a [Condition]),
    /// Matches if socketcall(2) or ipc(2) is asked for the call with this selector. A filter cannot follow the
    /// pointers among their arguments.
    Selected(u32),
}

/// The actions for calls that no rule matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    /// The profile's default action.
    pub(super) action: Action,
    /// The action for numbers above all that the profile names.
    pub(super) newer: Action,
}

/// The numbers from `from` up to the next range, which all get the same answer.
struct Range<'a> {
    from: u32,
    answer: Answer<'a>,
}

#[derive(Clone, Copy)]
enum Answer<'a> {
    Always(Action),
    /// The action of the first of these rules that matches, else the default action.
    First(&'a [Call<'a>]),
}

/// The offsets of `nr` and `arch` in `struct seccomp_data` of `linux/seccomp.h`.
const DATA_NR: u32 = 0;
const DATA_ARCH: u32 = 4;

/// Writes the program for `tables`; the native ABI's table comes first.
pub(super) fn write(mut tables: Vec<Table<'_>>, defaults: Defaults) -> Vec<Instruction> {
    for table in &mut tables {
        // Stable: the rules for one number stay in the profile's order.
        table.calls.sort_by_key(|call| call.number);
    }
    let code = Code::default();
    let mut writer = Writer { code, defaults };
    // As always here, from the end of the program to its beginning.
    let mut architectures = Vec::new();
    for table in tables.iter().rev().filter(|table| table.abi.bit == 0) {
        let shares = |it: &&Table<'_>| it.abi.audit == table.abi.audit && it.abi.bit != 0;
        let other = tables.iter().find(shares);
        architectures.push((table.abi.audit, writer.architecture(table, other)));
    }
    let mut begin = writer.code.give(Action::KillThread);
    for (audit, numbers) in architectures {
        begin = writer.code.branch(Test::Equal, audit, numbers, begin);
    }
    writer.code.load(DATA_ARCH, begin);
    writer.code.finish()
}

impl<'a> Table<'a> {
    /// Makes an empty table with room for `calls` rules.
    pub(super) fn new(abi: &'static Abi, calls: usize) -> Table<'a> {
        Table {
            abi,
            newest: None,
            calls: Vec::with_capacity(calls),
        }
    }

    /// Returns the ranges of all numbers, from the ABI's lowest on. `calls` must be sorted.
    fn ranges(&self, defaults: Defaults) -> Vec<Range<'_>> {
        let mut ranges: Vec<Range<'_>> = Vec::with_capacity(self.calls.len());
        let mut next = self.abi.bit;
        let mut push = |from: u32, answer| match ranges.last() {
            Some(last) if last.answer.is_that_of(answer) => {}
            _ => ranges.push(Range { from, answer }),
        };
        let same_number = |one: &Call<'_>, other: &Call<'_>| one.number == other.number;
        for calls in self.calls.chunk_by(same_number) {
            let number = calls.first().map_or(next, |call| call.number);
            if number > next {
                push(next, Answer::Always(defaults.action));
            }
            push(number, Answer::of(calls));
            next = number + 1;
        }
        let newer = self.newest.map(|newest| newest + 1);
        if newer.is_none_or(|newer| newer > next) {
            push(next, Answer::Always(defaults.action));
        }
        if let Some(newer) = newer {
            push(newer, Answer::Always(defaults.newer));
        }
        ranges
    }
}

impl<'a> Answer<'a> {
    /// Returns the answer to which all rules for one number lead.
    fn of(calls: &'a [Call<'a>]) -> Answer<'a> {
        let always = |call: &&Call<'_>| matches!(call.when, When::Always);
        match calls.iter().find(always) {
            Some(call) => Answer::Always(call.action),
            None => Answer::First(calls),
        }
    }

    fn is_that_of(self, other: Answer<'_>) -> bool {
        matches!((self, other), (Answer::Always(one), Answer::Always(other)) if one == other)
    }
}

/// Returns the index at which to split the ranges: that of the range which begins nearest to the middle of all
/// numbers. So a wide range is found with few comparisons, and the old calls, which programs make most, are in wide
/// ranges.
fn middle(ranges: &[Range<'_>]) -> usize {
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
        return 0;
    };
    let middle = first.from.midpoint(last.from);
    let after = ranges.partition_point(|range| range.from <= middle);
    let distance = |index: usize| ranges.get(index).map(|range| range.from.abs_diff(middle));
    let before = after.saturating_sub(1);
    if before > 0 && distance(before) <= distance(after) {
        before
    } else {
        after
    }
}

struct Writer {
    code: Code,
    defaults: Defaults,
}

impl Writer {
    /// Writes the tree for one value of `seccomp_data.arch`. `other` is a covered ABI that shares this value.
    fn architecture(&mut self, table: &Table<'_>, other: Option<&Table<'_>>) -> Label {
        let begin = match table.abi.told_by {
            0 => self.numbers(table),
            bit => {
                let foreign = match other {
                    Some(other) => self.numbers(other),
                    None => self.uncovered(),
                };
                let own = self.numbers(table);
                self.code.branch(Test::GreaterOrEqual, bit, foreign, own)
            }
        };
        self.code.load(DATA_NR, begin)
    }

    /// Writes the answer for the numbers of an ABI that is not covered but shares its architecture with one that is.
    /// -1 is none of these numbers: a tracer sets it to skip a call.
    fn uncovered(&mut self) -> Label {
        let skipped = self.code.give(self.defaults.action);
        let killed = self.code.give(Action::KillThread);
        self.code.branch(Test::Equal, u32::MAX, skipped, killed)
    }

    fn numbers(&mut self, table: &Table<'_>) -> Label {
        self.tree(&table.ranges(self.defaults), table.abi.width)
    }

    /// Writes a search of the loaded number in the ranges.
    fn tree(&mut self, ranges: &[Range<'_>], width: Width) -> Label {
        if let [only] = ranges {
            return self.leaf(only.answer, width);
        }
        let (below, above) = ranges.split_at(middle(ranges));
        let from = above.first().expect("two ranges or more").from;
        let above = self.tree(above, width);
        let below = self.tree(below, width);
        self.code.branch(Test::GreaterOrEqual, from, above, below)
    }

    fn leaf(&mut self, answer: Answer<'_>, width: Width) -> Label {
        let calls = match answer {
            Answer::Always(action) => return self.code.give(action),
            Answer::First(calls) => calls,
        };
        let otherwise = self.code.give(self.defaults.action);
        calls.iter().rev().fold(otherwise, |fails, call| {
            let holds = self.code.give(call.action);
            let ways = Ways { holds, fails };
            match call.when {
                When::Always => holds,
                When::All(conditions) => conditions::all(&mut self.code, conditions, width, ways),
                When::Selected(selector) => {
                    conditions::all(&mut self.code, &[selects(selector)], width, ways)
                }
            }
        })
    }
}

/// The condition that socketcall(2) or ipc(2) makes the call with this selector. ipc(2) takes the call from the lower
/// 16 bits; the upper ones hold a version, which most of its calls ignore.
fn selects(selector: u32) -> Condition {
    Condition {
        argument: 0,
        operator: LinuxSeccompOperator::ScmpCmpMaskedEq,
        value: 0xffff,
        value_two: u64::from(selector),
    }
}
