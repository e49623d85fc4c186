//! Writes the comparisons for conditions on arguments. Classic BPF has 32 bits, so an argument is compared
//! half by half.

use super::arch::Width;
use super::assembly::{Code, Label, Test};
use super::profile::Condition;
use oci_spec::runtime::LinuxSeccompOperator as Operator;

/// The offset of `args` in `struct seccomp_data` of `linux/seccomp.h`.
const DATA_ARGS: u32 = 16;

/// The two places that a comparison leads to.
#[derive(Clone, Copy)]
pub(super) struct Ways {
    pub(super) holds: Label,
    pub(super) fails: Label,
}

impl Ways {
    fn swapped(self) -> Ways {
        Ways {
            holds: self.fails,
            fails: self.holds,
        }
    }
}

/// Writes the comparisons for `conditions`. They lead to `ways.holds` if all hold, and to `ways.fails`
/// otherwise.
pub(super) fn all(code: &mut Code, conditions: &[Condition], width: Width, ways: Ways) -> Label {
    let rest = conditions.iter().rev();
    rest.fold(ways.holds, |holds, condition| {
        let ways = Ways { holds, ..ways };
        match width {
            Width::Whole => whole(code, condition, ways),
            Width::Low => low(code, condition, ways),
        }
    })
}

/// Writes the comparison of all 64 bits.
fn whole(code: &mut Code, condition: &Condition, ways: Ways) -> Label {
    let (high, _) = halves(condition.value);
    let (want_high, _) = halves(condition.value_two);
    let Ways { holds, fails } = ways;
    if matches!(condition.operator, Operator::ScmpCmpMaskedEq) {
        let then = low(code, condition, ways);
        // The mask covers no bit of the high half.
        if (high, want_high) == (0, 0) {
            return then;
        }
        let test = code.branch(Test::Equal, want_high, then, fails);
        let masked = code.mask(high, test);
        return load(code, condition, Half::High, masked);
    }
    // The high half decides, unless it is equal: then the low half decides.
    let then = low(code, condition, ways);
    let (above, below) = match condition.operator {
        Operator::ScmpCmpGt | Operator::ScmpCmpGe => (holds, fails),
        Operator::ScmpCmpLe | Operator::ScmpCmpLt => (fails, holds),
        Operator::ScmpCmpNe => (holds, holds),
        Operator::ScmpCmpEq | Operator::ScmpCmpMaskedEq => (fails, fails),
    };
    // No number is less than 0, so one comparison is enough.
    let test = if above == below || high == 0 {
        code.branch(Test::Equal, high, then, above)
    } else {
        let not_above = code.branch(Test::Equal, high, then, below);
        code.branch(Test::Greater, high, above, not_above)
    };
    load(code, condition, Half::High, test)
}

/// Writes the comparison of the argument's low half with the low half of the value.
fn low(code: &mut Code, condition: &Condition, ways: Ways) -> Label {
    let (_, value) = halves(condition.value);
    let (_, want) = halves(condition.value_two);
    let mut test = |test, Ways { holds, fails }| code.branch(test, value, holds, fails);
    let then = match condition.operator {
        Operator::ScmpCmpGt => test(Test::Greater, ways),
        Operator::ScmpCmpGe => test(Test::GreaterOrEqual, ways),
        Operator::ScmpCmpLe => test(Test::Greater, ways.swapped()),
        Operator::ScmpCmpLt => test(Test::GreaterOrEqual, ways.swapped()),
        Operator::ScmpCmpEq => test(Test::Equal, ways),
        Operator::ScmpCmpNe => test(Test::Equal, ways.swapped()),
        Operator::ScmpCmpMaskedEq => {
            let test = code.branch(Test::Equal, want, ways.holds, ways.fails);
            code.mask(value, test)
        }
    };
    load(code, condition, Half::Low, then)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// Writes a load of one half of the argument, followed by `then`.
fn load(code: &mut Code, condition: &Condition, half: Half, then: Label) -> Label {
    let is_first = (half == Half::Low) == cfg!(target_endian = "little");
    let inside = if is_first { 0 } else { 4 };
    code.load(DATA_ARGS + 8 * u32::from(condition.argument) + inside, then)
}

/// The two halves of a number, high and low.
fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    )
}
