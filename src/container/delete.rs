//! `kill` and `delete`: signals to a container, and the end of all that it has on the host.

use super::hooks_outside::{recorded_hooks, run_poststop};
use super::processes::{not_running, processes_of};
use super::{creation, stuck};
use crate::cgroups::{self, Cgroup, systemd};
use crate::error::{Code, Context, Error, Result};
use crate::intel_rdt;
use crate::procfs::ProcFs;
use crate::state::{Dir, Lock, Seen, State, Status};
use crate::step::{self, Step};
use crate::sys::pidfd::pidfd_send_signal;
use crate::timeout;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// KillTarget `kill` signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillTarget {
    /// The container's first process.
    Init,
    /// Every process of the container.
    All,
}

/// `kill`: sends `signal` to init, or to every process of the container. SIGKILL for all returns
/// when they have ended.
///
/// A container that is being created has no program yet that a signal could tell anything: one that ends a process by
/// default ends the creation ([`super::creation`]).
///
/// # Errors
/// `E_STATUS` with the words `container not running` that callers look for; `E_SIGNAL`, also for
/// processes that SIGKILL does not end.
pub(crate) fn kill(dir: &Dir, signal: i32, target: KillTarget) -> Result<()> {
    let Seen {
        state,
        status,
        init,
    } = dir.look()?;
    step::begin(Step::Signal)?;
    if status == Status::Creating {
        return creation::kill(&state, init, signal);
    }
    // Without a pid namespace of its own, init's death does not take the others along.
    if target == KillTarget::All || (signal == libc::SIGKILL && !state.has_own_pids()) {
        match state.open_cgroup()? {
            Some(cgroup) if signal == libc::SIGKILL => return end_all_in(&cgroup, &state),
            Some(cgroup) => return cgroup.signal(signal),
            None if target == KillTarget::All && status == Status::Stopped => return Ok(()),
            None if target == KillTarget::All && state.cgroup_is_callers => {
                // Those that are born meanwhile are missed, unless the death of init takes them along.
                let listed = || processes_of(&state);
                return cgroups::signal_each(listed()?, signal, listed);
            }
            None => {}
        }
    }
    let pidfd = init.ok_or_else(|| not_running(&dir.id))?;
    match pidfd_send_signal(pidfd.as_fd(), signal) {
        Err(Errno::ESRCH) => Err(not_running(&dir.id)),
        result => result.context(Code::Signal, "send a signal to container", &dir.id),
    }
}

/// How `delete` treats a container that still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// Kill it.
    Yes,
    /// Refuse, unless it was never started.
    No,
}

/// `delete`: everything that the container made on the host goes away. By force the creation of one that is being
/// created ends first ([`super::creation`]).
///
/// # Errors
/// `E_STATUS` when it runs or is being created and `force` is [`Force::No`]; `E_NOT_FOUND` when another `delete` was
/// faster; the step that failed, after which `delete` can be repeated.
pub(crate) fn delete(dir: Dir, force: Force) -> Result<()> {
    let lock = match force {
        Force::Yes => lock_by_force(&dir)?,
        Force::No => Some(dir.lock("delete")?),
    };
    let seen = match &lock {
        Some(lock) => dir.look_locked(lock),
        None => dir.look(),
    };
    let (state, status) = match seen {
        Ok(seen) => (seen.state, seen.status),
        // Whatever it is at: what is known of it ends.
        Err(failed) if force == Force::Yes => match dir.kept_identity() {
            Some(state) => {
                log::warn!("{failed}; its hooks are not known, its processes and its cgroup are");
                (state, Status::Running)
            }
            None => {
                log::warn!(
                    "{failed}; what is left of its processes and its cgroup is not known, and stays"
                );
                let state = State {
                    id: dir.id.to_string(),
                    ..State::default()
                };
                (state, Status::Stopped)
            }
        },
        Err(error) => return Err(error),
    };
    if force == Force::No && !matches!(status, Status::Stopped | Status::Created) {
        let text = format!(
            "cannot delete container {}: it is {}, not stopped",
            dir.id,
            status.as_str()
        );
        return Err(Error::new(Code::Status, text).hint("kill it first, or use --force"));
    }
    // Who is left of a container whose init has ended is found where the cgroup is removed. Of one whose create has
    // ended before it was done init may live for a moment.
    if status != Status::Stopped || !state.finished {
        step::begin(Step::KillAll)?;
        kill_all(&state)?;
    }
    let removed = remove(dir, &state);
    drop(lock);
    removed
}

/// The lock, even while another command is stopped in the midst of what it does, which finds the container gone then: None
/// where that does not let go of it in time.
fn lock_by_force(dir: &Dir) -> Result<Option<Lock>> {
    if let Some(lock) = dir.lock_now()? {
        return Ok(Some(lock));
    }
    // Facts that cannot be read are of no container that is being created.
    if dir.look().is_ok_and(|it| it.status == Status::Creating) {
        return creation::end(dir);
    }
    dir.lock_in_time()
}

/// Removes cgroup, scope, RDT group and state directory of a container whose processes have ended, and runs
/// its poststop hooks (whose failures are only logged: runtime.md, Lifecycle, step 13).
pub(super) fn remove(dir: Dir, state: &State) -> Result<()> {
    step::begin(Step::RemoveCgroup)?;
    let own = state.open_cgroup()?;
    let begun = match own {
        Some(_) => None,
        None => state.begun_cgroup(),
    };
    let cgroup = own.or_else(|| dir.open_held_cgroup(begun?));
    if let (None, Some(path)) = (&cgroup, begun)
        && dir.may_have_made(path)
    {
        // It does not say whose it is, so nobody is in there: in a cgroup that is used this fails.
        cgroups::remove_unused(path);
    }
    if let Some(cgroup) = cgroup
        && !cgroups::remove_unused(cgroup.path())
    {
        cgroup.kill()?;
        cgroup.remove().map_err(|error| {
            // Whatever the kernel said of the directory: what is still in it is the reason.
            match cgroup.pids() {
                Ok(pids) if !pids.is_empty() => stuck::error(&state.id, &pids),
                _ => error,
            }
        })?;
    }
    step::begin(Step::RemoveParents)?;
    cgroups::remove_empty(&dir.own_cgroup_parents(state));
    step::begin(Step::StopScope)?;
    if let Some(scope) = &state.systemd_scope
        && state.is_of_this_boot()
    {
        systemd::stop_recorded(scope, &dir.holder()?)?;
    }
    step::begin(Step::RemoveClass)?;
    intel_rdt::remove(&state.own_intel_rdt_paths())?;
    step::begin(Step::Poststop)?;
    if state.has_poststop {
        let document = state.document(Status::Stopped, 0).to_string();
        match recorded_hooks(&dir) {
            Ok(hooks) => run_poststop(&hooks, &document, &state.bundle),
            // Not written yet: no hook has run, so none has anything to clear away.
            Err(failed) if failed.errno == Some(Errno::ENOENT) => {}
            Err(failed) => log::error!("poststop hooks are not run: {failed}"),
        }
    }
    step::begin(Step::RemoveRecord)?;
    dir.remove()
}

/// Kills every process of the container: all of its cgroup, or init and with it its pid namespace.
pub(super) fn kill_all(state: &State) -> Result<()> {
    let cgroup = state.open_cgroup()?;
    // Init is killed in any case: an ordinary user's container can take the rights to its cgroup away.
    let killed = cgroup.as_ref().map_or(Ok(()), Cgroup::kill);
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let Some((init, pidfd)) = state.init().and_then(|it| Some((it, it.open(&proc)?))) else {
        return killed;
    };
    match pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => return Err(Error::step(Code::Signal, "kill init", &state.id, errno)),
    }
    if ends_in_time(&pidfd).context(Code::Signal, "wait for init of", &state.id)? {
        return killed;
    }
    // What has left its cgroup has nothing but its number: it waits for a dead process of its pid namespace
    // whose parent outside does not reap it, a `casulo exec` that is stopped (pid_namespaces(7)).
    if cgroup.is_some_and(|cgroup| !cgroup.is_populated()) {
        return Ok(());
    }
    // Init outlives the last process of its pid namespace: the others say why.
    let mut pids = processes_of(state).unwrap_or_default();
    pids.push(Pid::from_raw(init.pid));
    pids.dedup();
    Err(stuck::error(&state.id, &pids))
}

/// SIGKILL for everything in the cgroup, until it is empty.
fn end_all_in(cgroup: &Cgroup, state: &State) -> Result<()> {
    cgroup.kill()?;
    if cgroup.wait_until_empty(Instant::now() + timeout::KILL) {
        return Ok(());
    }
    Err(stuck::error(&state.id, &cgroup.pids()?))
}

/// Waits until a killed process has ended; false when it does not.
pub(super) fn ends_in_time(pidfd: &OwnedFd) -> nix::Result<bool> {
    let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(timeout::KILL).unwrap_or(PollTimeout::MAX);
    poll(&mut ended, timeout).map(|count| count > 0)
}
