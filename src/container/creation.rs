//! `kill` and `delete --force` of a container that is being created: the creation ends. Any casulo process on the host,
//! with the caller's privileges.
//!
//! Where init is recorded it is killed; `create` notices, undoes all that it has made, and says why it failed. Where it
//! is not, or where `create` does not get on (it is stopped, or waits for a hook), `create` itself is killed, and init dies
//! with it: then `delete` undoes what is recorded.

use super::processes::not_running;
use crate::error::{Code, Context, Result};
use crate::procfs::ProcFs;
use crate::state::{Dir, Lock, PAUSE, Seen, State, Status};
use crate::sys::pidfd::pidfd_send_signal;
use crate::timeout;
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// `kill`: ends the creation if `signal` ends a process by default; any other goes to `init`.
///
/// # Errors
/// `E_STATUS` for another signal where there is no init yet; `E_SIGNAL`.
pub(super) fn kill(state: &State, init: Option<OwnedFd>, signal: i32) -> Result<()> {
    match init {
        Some(init) if ends_by_default(signal) => send(&init, libc::SIGKILL, &state.id),
        Some(init) => send(&init, signal, &state.id),
        None if ends_by_default(signal) => kill_creator(state),
        None => Err(not_running(&state.id)),
    }
}

/// `delete --force`: ends the creation, and takes the lock that `create` had; none where that is held on to.
///
/// # Errors
/// `E_NOT_FOUND` when `create` has undone all; `E_SIGNAL`, `E_STATE`.
pub(super) fn end(dir: &Dir) -> Result<Option<Lock>> {
    dir.mark_as_deleted()?;
    let end = Instant::now() + timeout::UNDO;
    while Instant::now() < end {
        if let Some(lock) = dir.lock_now()? {
            return Ok(Some(lock));
        }
        if let Ok(Seen {
            init: Some(init),
            status: Status::Creating,
            state,
        }) = dir.look()
        {
            send(&init, libc::SIGKILL, &state.id)?;
        }
        std::thread::sleep(PAUSE);
    }
    if let Ok(seen) = dir.look()
        && seen.status == Status::Creating
    {
        kill_creator(&seen.state)?;
    }
    dir.lock_in_time()
}

fn kill_creator(state: &State) -> Result<()> {
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    match state.creator().and_then(|creator| creator.open(&proc)) {
        Some(creator) => send(&creator, libc::SIGKILL, &state.id),
        // It has just ended.
        None => Ok(()),
    }
}

fn send(process: &OwnedFd, signal: i32, id: &str) -> Result<()> {
    match pidfd_send_signal(process.as_fd(), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).context(Code::Signal, "end the creation of container", id),
    }
}

/// What a process does that has set nothing up for the signal: signal(7).
fn ends_by_default(signal: i32) -> bool {
    let others = [
        0,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    !others.contains(&signal)
}
