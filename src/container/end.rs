//! `kill` and `delete`: signals to a container, and the end of all that it has on the host.

use super::hooks_outside::{recorded_hooks, run_poststop};
use crate::cgroups::{Cgroup, systemd};
use crate::error::{Code, Context, Error, Result};
use crate::intel_rdt;
use crate::state::{self, Dir, State, Status};
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::procfs::ProcFs;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};

/// `kill`: sends `signal` to init, or to every process of the container.
///
/// # Errors
/// `E_STATUS` with the words `container not running` that callers look for; `E_SIGNAL`.
pub fn kill(dir: &Dir, signal: i32, all: bool) -> Result<()> {
    let state = dir.read()?;
    let (status, pidfd) = state::status(dir, &state)?;
    let own_pids = state.namespaces & (libc::CLONE_NEWPID as u64) != 0;
    // Without a pid namespace of its own, init's death does not take the others along.
    if all || (signal == libc::SIGKILL && !own_pids) {
        if let Some(path) = state.cgroup() {
            return match Cgroup::open(path) {
                Ok(cgroup) if signal == libc::SIGKILL => cgroup.kill(),
                Ok(cgroup) => cgroup.signal(signal),
                Err(error) if all && error.errno == Some(Errno::ENOENT) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if all && state.cgroup_is_callers && pidfd.is_some() && !own_pids {
            let text = format!(
                "cannot signal all of container {}: its cgroup is the caller's",
                dir.id
            );
            return Err(Error::new(Code::Status, text));
        }
    }
    let Some(pidfd) = pidfd else {
        if all && status == Status::Stopped {
            return Ok(());
        }
        return Err(Error::new(
            Code::Status,
            format!("container not running: {}", dir.id),
        ));
    };
    match pidfd_send_signal(pidfd.as_fd(), signal) {
        Err(Errno::ESRCH) => Err(Error::new(
            Code::Status,
            format!("container not running: {}", dir.id),
        )),
        result => result.context(Code::Signal, "send a signal to container", &dir.id),
    }
}

/// How `delete` treats a container that still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Kill it.
    Yes,
    /// Refuse, unless it was never started.
    No,
}

/// `delete`: everything that the container made on the host goes away.
///
/// # Errors
/// `E_STATUS` when it runs and `force` is [`Force::No`]; the step that failed, after which `delete` can be repeated.
pub fn delete(dir: Dir, force: Force) -> Result<()> {
    let lock = dir.lock()?;
    let state = match dir.read() {
        // Half-written facts name nothing that could be cleaned up.
        Err(_) if force == Force::Yes => State {
            id: dir.id.clone(),
            ..State::default()
        },
        result => result?,
    };
    let (status, _) = state::status(&dir, &state)?;
    if force == Force::No && !matches!(status, Status::Stopped | Status::Created) {
        let text = format!(
            "cannot delete container {}: it is {}, not stopped",
            dir.id,
            status.as_str()
        );
        return Err(Error::new(Code::Status, text).hint("kill it first, or use --force"));
    }
    kill_all(&state)?;
    let removed = remove(dir, &state);
    drop(lock);
    removed
}

/// Removes cgroup, scope, RDT group and state directory of a container whose processes have ended, and runs
/// its poststop hooks (whose failures are only logged: runtime.md, Lifecycle, step 13).
pub(super) fn remove(dir: Dir, state: &State) -> Result<()> {
    if let Some(cgroup) = cgroup_of(state)? {
        cgroup.kill()?;
        cgroup.remove()?;
    }
    match &state.systemd_scope {
        Some(scope) if state.cgroup().is_some() => systemd::stop(scope)?,
        Some(scope) => systemd::stop_empty(scope)?,
        None => {}
    }
    intel_rdt::remove(&state.intel_rdt_paths)?;
    if state.has_poststop {
        let document = state.document(Status::Stopped, 0).to_string();
        match recorded_hooks(&dir) {
            Ok(hooks) => run_poststop(&hooks, &document, &state.bundle),
            Err(failed) => log::error!("poststop hooks are not run: {failed}"),
        }
    }
    dir.remove()
}

/// The container's own cgroup; `None` where it has none, or has it no more.
fn cgroup_of(state: &State) -> Result<Option<Cgroup>> {
    match state.cgroup().map(Cgroup::open).transpose() {
        Err(error) if error.errno == Some(Errno::ENOENT) => Ok(None),
        result => result,
    }
}

/// Kills every process of the container: all of its cgroup, or init and with it its pid namespace.
pub(super) fn kill_all(state: &State) -> Result<()> {
    if let Some(cgroup) = cgroup_of(state)? {
        cgroup.kill()?;
    }
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    if let Some(pidfd) = state.init().and_then(|init| init.open(&proc)) {
        match pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Error::step(Code::Signal, "kill init", &state.id, errno)),
        }
        wait_for_end(&pidfd, &state.id)?;
    }
    Ok(())
}

/// Waits until a killed process has ended; ten seconds are enough for anything but a D state.
fn wait_for_end(pidfd: &OwnedFd, id: &str) -> Result<()> {
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ended, PollTimeout::from(10_000u16)) {
        Ok(0) => Err(Error::new(
            Code::Signal,
            format!("init of container {id} does not end after SIGKILL"),
        )),
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::step(Code::Signal, "wait for init of", id, errno)),
    }
}
