//! Faults: steps that fail, runtimes and their children that are killed, hosts that have no more room, and
//! two commands at once. Afterwards `list` and `delete --force` work, and nothing is left.

mod borrowed;
mod hosts;
mod kills;
mod races;
mod status;
mod steps;

use crate::support::{Case, Need};

/// The files of this directory with their cases.
pub(crate) fn files() -> [(&'static str, &'static [Case]); 6] {
    [
        ("faults::borrowed", borrowed::CASES),
        ("faults::hosts", hosts::CASES),
        ("faults::kills", kills::CASES),
        ("faults::races", races::CASES),
        ("faults::status", status::CASES),
        ("faults::steps", steps::CASES),
    ]
}

/// `many`, or `few` in the test host, which may be emulated: there it is only another kernel and another
/// pid 1 that count.
fn many_or_few(many: usize, few: usize) -> usize {
    match Need::DebianRoot.check() {
        Ok(()) => few,
        Err(_) => many,
    }
}
