//! Writes a program from its end to its beginning. Jumps go forward only, so the place that one leads to is always
//! known when the jump is written. A comparison reaches 255 instructions ahead. To lead farther, it goes to a second
//! copy of the return, or to a `ja`, which reaches any distance.
//!
//! The search by number uses only what the kernel (5.11) can follow without a call's arguments: loads of the number
//! and the architecture, comparisons with constants, `ja` and returns. So the kernel can work out which calls are
//! always allowed, and lets those pass without running the program.

use super::profile::Action;
use crate::sys::seccomp::Instruction;

/// The opcodes of `linux/bpf_common.h` used here.
const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const RET_K: u16 = 0x06;

/// A comparison with a constant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// An instruction that has been written, by its index counted from the end of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// How many instructions a comparison may skip. This is one less than the kernel allows, because a `ja` for one side
/// of a comparison stands between it and the other side.
const REACH: usize = 254;

/// A program, the last instruction first.
#[derive(Debug, Default)]
pub(super) struct Code {
    backwards: Vec<Instruction>,
    /// For each action's return value, the return that was written last.
    returns: Vec<(u32, Label)>,
}

impl Code {
    /// The program, in the kernel's order.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.backwards.reverse();
        self.backwards
    }

    /// Writes a return of `action`, or reuses an earlier one that a comparison still reaches.
    pub(super) fn give(&mut self, action: Action) -> Label {
        let value = action.return_value();
        let known = self.returns.iter().find(|(it, _)| *it == value);
        match known {
            Some((_, label)) if self.distance(*label) <= REACH => *label,
            _ => self.give_anew(value),
        }
    }

    fn give_anew(&mut self, value: u32) -> Label {
        let label = self.write(RET_K, 0, 0, value);
        self.returns.retain(|(it, _)| *it != value);
        self.returns.push((value, label));
        label
    }

    /// Writes a load of the word at `offset` in `struct seccomp_data`, followed by `then`.
    pub(super) fn load(&mut self, offset: u32, then: Label) -> Label {
        self.straight(LD_W_ABS, offset, then)
    }

    /// Writes an AND of the loaded word with `mask`, followed by `then`.
    pub(super) fn mask(&mut self, mask: u32, then: Label) -> Label {
        self.straight(ALU_AND_K, mask, then)
    }

    /// Writes an instruction that cannot jump. The next one therefore has to be `then`, or a jump to it.
    fn straight(&mut self, code: u16, k: u32, then: Label) -> Label {
        if self.distance(then) != 0 {
            self.lead(then);
        }
        self.write(code, 0, 0, k)
    }

    /// Writes a comparison of the loaded word with `k`, which goes to `holds` or to `fails`.
    pub(super) fn branch(&mut self, test: Test, k: u32, holds: Label, fails: Label) -> Label {
        let holds = self.within_reach(holds);
        let fails = self.within_reach(fails);
        let reach = |label| u8::try_from(self.distance(label)).expect("within reach");
        self.write(test as u16, reach(holds), reach(fails), k)
    }

    /// Returns `label` if a comparison reaches it, else a jump to it.
    fn within_reach(&mut self, label: Label) -> Label {
        match self.distance(label) {
            0..=REACH => label,
            _ => self.lead(label),
        }
    }

    /// Writes what leads to `label` from any distance: a copy of it if it is a return, else a `ja`.
    fn lead(&mut self, label: Label) -> Label {
        match self.backwards.get(label.0).copied() {
            Some(Instruction { code: RET_K, k, .. }) => self.give_anew(k),
            _ => {
                let distance = u32::try_from(self.distance(label)).expect("a count in memory");
                self.write(JMP_JA, 0, 0, distance)
            }
        }
    }

    /// How many instructions stand between the next one and `label`.
    fn distance(&self, label: Label) -> usize {
        self.backwards.len() - label.0 - 1
    }

    fn write(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.backwards.push(Instruction { code, jt, jf, k });
        Label(self.backwards.len() - 1)
    }
}
