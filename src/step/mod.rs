//! The steps of a command, each marked by one call. Any casulo process.
//!
//! A step stands between one thing that a command has acquired and the next. Some steps begin a phase, and `--trace`
//! shows the phases ([`trace`]). A test build fails, kills or stops at the step that it is told ([`fault`]). In any
//! other build a step that begins no phase costs nothing, and one that does costs a look at a variable.

mod fault;
mod phase;
mod table;
pub(crate) mod trace;

pub(crate) use fault::last;
pub use phase::Side;
pub use table::Step;

use crate::error::Result;

/// Marks that this process is at `step`.
///
/// # Errors
/// In test builds only: the errno that the environment names for this step.
#[inline(always)]
pub(crate) fn begin(step: Step) -> Result<()> {
    begin_phase_of(step);
    fault::at(step)
}

/// Does as [`begin`], with an errno as the error.
///
/// # Errors
/// As [`begin`].
#[inline(always)]
pub(crate) fn begin_or_errno(step: Step) -> nix::Result<()> {
    begin_phase_of(step);
    fault::errno_at(step)
}

/// Does as [`begin`], for a step of the landing area, where casulo's own memory is gone. The fault goes there with
/// the process ([`last`]).
#[inline(always)]
pub(crate) fn begin_last(step: Step) {
    begin_phase_of(step);
}

#[inline(always)]
fn begin_phase_of(step: Step) {
    if let Some(phase) = step.phase() {
        trace::phase(phase);
    }
}
