//! Faults: steps that fail, runtimes and their children that are killed, hosts that have no more room, and
//! two commands at once. Afterwards `list` and `delete --force` work, and nothing is left.

mod hosts;
mod kills;
mod races;
mod steps;

use crate::support::Case;

/// The files of this folder with their cases.
pub(crate) fn files() -> [(&'static str, &'static [Case]); 4] {
    [
        ("faults::hosts", hosts::CASES),
        ("faults::kills", kills::CASES),
        ("faults::races", races::CASES),
        ("faults::steps", steps::CASES),
    ]
}
