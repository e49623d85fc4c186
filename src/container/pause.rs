//! `pause` and `resume`: all processes of a container freeze, and run on.

use super::stuck;
use crate::cgroups::Cgroup;
use crate::error::{Code, Error, Result};
use crate::state::{self, Dir, Seen, State, Status};
use crate::step::{self, Step};
use crate::timeout;
use std::time::Instant;

/// `pause`: freezes every process of a running container, or of one that waits to be started;
/// returns once they are frozen.
///
/// # Errors
/// `E_STATUS` in another status, while it is created, too, with the words `container not running` for one that has
/// stopped, and where the cgroup is the caller's; `E_CGROUP` when a process does not freeze, after which all
/// of them run on.
pub(crate) fn pause(dir: &Dir) -> Result<()> {
    let lock = dir.lock("pause")?;
    let Seen { state, status, .. } = dir.look_locked(&lock)?;
    match status {
        Status::Running | Status::Created => freeze(dir, &own_cgroup(dir, &state, "pause")?),
        Status::Paused => Err(refused(dir, "pause", "it is paused already")),
        status => {
            let why = format!("container not running: it is {}", status.as_str());
            Err(refused(dir, "pause", &why))
        }
    }
}

fn freeze(dir: &Dir, cgroup: &Cgroup) -> Result<()> {
    step::begin(Step::Freeze)?;
    if cgroup.freeze(Instant::now() + timeout::KILL)? {
        return Ok(());
    }
    if !dir.is_there() {
        // Somebody has deleted it by force, and what did not freeze has ended.
        return Err(state::not_found(&dir.id));
    }
    // Before the others are let go: afterwards nobody can tell.
    let error = stuck::not_frozen(&dir.id, &cgroup.pids().unwrap_or_default());
    if let Err(failed) = cgroup.thaw() {
        log::warn!("undo: {failed}");
    }
    Err(error)
}

/// `resume`: lets the processes of a paused container run on.
///
/// # Errors
/// `E_STATUS` with the words `container not paused` in another status; `E_CGROUP`.
pub(crate) fn resume(dir: &Dir) -> Result<()> {
    let lock = dir.lock("resume")?;
    let Seen { state, status, .. } = dir.look_locked(&lock)?;
    if matches!(status, Status::Paused | Status::Running | Status::Created) {
        let cgroup = own_cgroup(dir, &state, "resume")?;
        // A pause that was killed while it waited leaves a container that is only asked to freeze.
        if status == Status::Paused || cgroup.is_freezing() {
            step::begin(Step::Thaw)?;
            return cgroup.thaw();
        }
    }
    let why = format!("container not paused: it is {}", status.as_str());
    Err(refused(dir, "resume", &why))
}

/// The cgroup that holds the container's processes and nobody else's.
fn own_cgroup(dir: &Dir, state: &State, step: &str) -> Result<Cgroup> {
    match state.open_cgroup()? {
        Some(cgroup) => Ok(cgroup),
        None if state.cgroup().is_some() => Err(refused(dir, step, "its cgroup is gone")),
        None => Err(refused(dir, step, "its cgroup is the caller's")),
    }
}

fn refused(dir: &Dir, step: &str, why: &str) -> Error {
    let text = format!("cannot {step} container {}: {why}", dir.id);
    Error::new(Code::Status, text)
}
