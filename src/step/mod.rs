//! The steps of a command, each marked by one call. Any casulo process.
//!
//! A step stands between one thing that a command has acquired and the next. `--trace` shows the phases that some of
//! them begin ([`trace`]); a test build fails, kills or stops at one that it is told ([`fault`]). In any other build a
//! step that begins no phase is nothing at all, and one that does is a look at a variable.

mod fault;
mod phase;
mod table;
pub(crate) mod trace;

pub(crate) use fault::last;
pub use phase::Side;
pub use table::Step;

use crate::error::Result;

/// This process is at `step`.
///
/// # Errors
/// In test builds alone: the errno that the environment names for this step.
#[inline(always)]
pub(crate) fn begin(step: Step) -> Result<()> {
    begin_phase_of(step);
    fault::at(step)
}

/// [`begin`] where an errno is the error.
///
/// # Errors
/// As [`begin`].
#[inline(always)]
pub(crate) fn begin_or_errno(step: Step) -> nix::Result<()> {
    begin_phase_of(step);
    fault::errno_at(step)
}

/// [`begin`] for a step of the landing area, where nothing of casulo's is any more: what makes it fail goes there with
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
