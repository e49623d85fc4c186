//! Faults: steps that fail, runtimes and their children that are killed, hosts that have no more room, and
//! two commands at once. Afterwards `list` and `delete --force` work, and nothing is left.

mod steps;

use crate::support::Case;

/// The files of this folder with their cases.
pub(crate) fn files() -> [(&'static str, &'static [Case]); 1] {
    [("faults::steps", steps::CASES)]
}
