//! Making init: one clone3, with a detour for a foreign pid namespace and a bridge
//! ([`super::bridge()`]) for foreign user namespaces.

use super::bridge::{Bridged, bridge};
use super::join::{Joins, Opened};
use super::{Kind, Plan};
use crate::error::{Code, Context, Error, Result};
use crate::sys::clone::{Side, clone3};
use crate::sys::namespace::stop_being_dumpable;
use nix::errno::Errno;
use nix::sched::setns;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Which process this is after [`spawn`].
#[derive(Debug)]
pub enum Spawned {
    /// The parent, with init's pid in the parent's pid namespace. Init is its child in every case.
    Parent(Pid),
    /// Init, with a copy of the parent's memory and descriptors.
    Init,
}

/// Parent: makes init in its new namespaces and in `cgroup` (a directory fd), which becomes the
/// root of a new cgroup namespace. Returns twice. Init must then wait for the parent, who writes
/// its id maps ([`super::write_maps`]), before it calls [`super::enter()`].
///
/// # Errors
/// E_NAMESPACE: what could not be made or joined, with the limit to raise where one is known. No
/// process is left behind.
pub fn spawn(plan: &Plan, joins: &Joins, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    if joins.need_bridge(plan) {
        return spawn_over_bridge(plan, joins, cgroup);
    }
    hide(joins)?;
    match joins.pid() {
        None => spawn_here(plan, cgroup),
        Some((foreign, home)) => spawn_into(plan, foreign, home, cgroup),
    }
}

/// Where a namespace is joined the parent stops being dumpable first, and init and the bridge with
/// it: a process of that namespace could otherwise ptrace them and use their open files
/// (CVE-2016-9962).
pub(super) fn hide(joins: &Joins) -> Result<()> {
    match joins.is_empty() {
        true => Ok(()),
        false => stop_being_dumpable().context(Code::Namespace, "prctl", "PR_SET_DUMPABLE"),
    }
}

fn spawn_over_bridge(
    plan: &Plan,
    joins: &Joins,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    // A process in a foreign cgroup namespace may not move one from outside into it (nsdelegate),
    // so there the bridge itself is born in the cgroup and init inherits it. Elsewhere the bridge
    // stays out: it would count against the limits.
    let (bridge_cgroup, init_cgroup) = match joins.get(Kind::Cgroup) {
        Some(_) => (cgroup, None),
        None => (None, cgroup),
    };
    match bridge(plan, joins, bridge_cgroup)? {
        Bridged::Init => Ok(Spawned::Init),
        Bridged::Parent(bridge) => bridge
            .make_init(plan, joins, init_cgroup)
            .map(Spawned::Parent),
    }
}

fn spawn_here(plan: &Plan, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    match clone3(flags(plan), cgroup) {
        Ok(Side::Parent(pid)) => Ok(Spawned::Parent(pid)),
        Ok(Side::Child) => Ok(Spawned::Init),
        Err(errno) => Err(clone_error(plan, errno)),
    }
}

/// setns(2) with a pid namespace moves only the children born later, so the parent borrows it for
/// the one clone. It goes back before anything else is done: a hook born inside would be the
/// container's to trace.
fn spawn_into(
    plan: &Plan,
    foreign: &Opened,
    home: &OwnedFd,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    foreign.enter().map_err(|errno| foreign.error(errno))?;
    let spawned = spawn_here(plan, cgroup);
    if let Ok(Spawned::Init) = spawned {
        return spawned;
    }
    let back = setns(home, Kind::Pid.clone_flags());
    match (spawned, back) {
        (Ok(Spawned::Parent(pid)), Err(errno)) => {
            // It has done nothing yet and nobody else knows it; both calls can fail only if it is gone.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            Err(errno).context(Code::Namespace, "return to", "own pid namespace")
        }
        (spawned, _) => spawned,
    }
}

/// The `CLONE_NEW*` flags of one clone3. A time namespace with offsets is made later, by
/// [`super::time::enter`].
pub(super) fn flags(plan: &Plan) -> u64 {
    plan.new
        .iter()
        .filter(|kind| **kind != Kind::Time || plan.time_offsets.is_empty())
        .fold(0, |flags, kind| flags | kind.flag())
}

pub(super) fn clone_error(plan: &Plan, errno: Errno) -> Error {
    let names: Vec<&str> = plan.new.iter().map(|kind| kind.spec_name()).collect();
    let error = match names.is_empty() {
        true => Error::step(Code::Namespace, "create", "process", errno),
        false => Error::step(
            Code::Namespace,
            "create namespaces",
            names.join(", "),
            errno,
        ),
    };
    match errno {
        Errno::ENOSPC => {
            let limits: Vec<String> = plan
                .new
                .iter()
                .map(|kind| format!("/proc/sys/user/max_{}_namespaces", kind.proc_name()))
                .collect();
            error.hint(format!(
                "a limit is reached: one of {}, or 32 nested user or pid namespaces",
                limits.join(", ")
            ))
        }
        Errno::EPERM if plan.is_new(Kind::User) => error.hint(
            "user namespaces are not allowed here: see kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces, and chroot",
        ),
        Errno::EPERM => error.hint(
            "CAP_SYS_ADMIN is missing: run as root, or add a user namespace to linux.namespaces",
        ),
        Errno::EUSERS => error.hint("user namespaces are nested 32 deep"),
        Errno::EAGAIN => error.hint("a limit of processes is reached (RLIMIT_NPROC, pids.max)"),
        Errno::EINVAL => error.hint("the kernel lacks one of these namespaces"),
        Errno::EBUSY | Errno::EOPNOTSUPP => {
            error.hint("the container's cgroup cannot hold processes: it has controllers enabled for children, or is threaded")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_keep_the_time_namespace_out_of_the_clone() {
        let mut plan = Plan {
            new: vec![Kind::Time, Kind::Uts],
            ..Plan::default()
        };
        assert_eq!(flags(&plan), Kind::Time.flag() | Kind::Uts.flag());
        plan.time_offsets.push(crate::namespaces::TimeOffset {
            clock: crate::namespaces::Clock::Boottime,
            seconds: 1,
            nanoseconds: 0,
        });
        assert_eq!(flags(&plan), Kind::Uts.flag());
    }

    #[test]
    fn a_reached_limit_is_named() {
        let plan = Plan {
            new: vec![Kind::Mount, Kind::Network],
            ..Plan::default()
        };
        let error = clone_error(&plan, Errno::ENOSPC);
        let hint = error.hint.expect("a hint");
        assert!(hint.contains("max_mnt_namespaces"), "{hint}");
        assert!(hint.contains("max_net_namespaces"), "{hint}");
        assert!(!hint.contains("max_pid_namespaces"), "{hint}");
    }
}
