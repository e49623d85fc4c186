//! Making init: one clone3, with a detour for a foreign pid namespace and a bridge
//! ([`super::bridge()`]) for foreign user namespaces. What takes the kernel long and the parent does not need
//! is left to init.

use super::ahead::NewNetwork;
use super::bridge::{Bridged, bridge};
use super::join::{Joins, Opened};
use super::{Kind, Plan, network};
use crate::error::{Code, Context, Error, Result};
use crate::sys::clone::{Side, clone3};
use crate::sys::namespace::stop_being_dumpable;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
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

/// Parent: makes init in those of its new namespaces that the clone makes, and in `cgroup` (a directory fd),
/// which becomes the root of a new cgroup namespace. Returns twice. Init then calls [`unshare`], and waits for
/// the parent, who writes its id maps ([`super::write_maps`]), before it calls [`super::enter()`].
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

/// Init, at once, with all capabilities in its user namespace or those of the caller: makes the new namespaces
/// that the clone has not made, enters the network namespace that was made ahead, and sets up the loopback device
/// of any other new one.
///
/// # Errors
/// E_NAMESPACE: what could not be made, with the limit to raise where one is known; E_NETWORK.
pub fn unshare(plan: &Plan, network: Option<NewNetwork>) -> Result<()> {
    unshare_all(plan, By::Init)?;
    match network {
        Some(network) => network.enter(),
        None if plan.is_new(Kind::Network) => network::loopback_up(),
        None => Ok(()),
    }
}

/// Makes all that is to be made `by` the calling process; nothing where that is nothing.
///
/// # Errors
/// E_NAMESPACE, as [`unshare`].
pub(super) fn unshare_all(plan: &Plan, by: By) -> Result<()> {
    let kinds = made_by(plan, by);
    if kinds.is_empty() {
        return Ok(());
    }
    let flags = kinds.iter().map(|kind| kind.clone_flags());
    nix::sched::unshare(flags.collect::<CloneFlags>())
        .map_err(|errno| creation_error(plan, &kinds, errno))
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

/// Who makes a new namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The clone3 of init.
    Clone,
    /// Init itself, by one unshare(2), while the parent does its part.
    Init,
    /// A process of its own, before that ([`super::ahead`]).
    Ahead,
}

/// Who makes a new namespace of this kind.
///
/// The parent maps ids, may move init to another cgroup than the one which its namespace shows, and moves
/// network devices; a pid namespace that is unshared is for children only. So is a time namespace, but its offsets are
/// written before the first process is in it ([`super::time::enter`]).
fn maker(plan: &Plan, kind: Kind) -> By {
    match kind {
        Kind::User | Kind::Pid | Kind::Cgroup => By::Clone,
        Kind::Network if !plan.net_devices.is_empty() => By::Clone,
        Kind::Network if !plan.has(Kind::User) => By::Ahead,
        Kind::Time if plan.time_offsets.is_empty() => By::Clone,
        Kind::Mount | Kind::Network | Kind::Ipc | Kind::Uts | Kind::Time => By::Init,
    }
}

/// The new namespaces that are made `by` this process.
pub(super) fn made_by(plan: &Plan, by: By) -> Vec<Kind> {
    let new = plan.new.iter().copied();
    new.filter(|kind| maker(plan, *kind) == by).collect()
}

/// The `CLONE_NEW*` flags of init's clone3.
pub(super) fn flags(plan: &Plan) -> u64 {
    made_by(plan, By::Clone)
        .iter()
        .fold(0, |flags, kind| flags | kind.flag())
}

/// Why the clone3 of init failed.
pub(super) fn clone_error(plan: &Plan, errno: Errno) -> Error {
    let error = creation_error(plan, &made_by(plan, By::Clone), errno);
    match errno {
        Errno::EAGAIN => error.hint("a limit of processes is reached (RLIMIT_NPROC, pids.max)"),
        Errno::EBUSY | Errno::EOPNOTSUPP => {
            error.hint("the container's cgroup cannot hold processes: it has controllers enabled for children, or is threaded")
        }
        _ => error,
    }
}

/// Why a process, or these namespaces, could not be made.
fn creation_error(plan: &Plan, kinds: &[Kind], errno: Errno) -> Error {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.spec_name()).collect();
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
            let limits: Vec<String> = kinds
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
        Errno::EINVAL => error.hint("the kernel lacks one of these namespaces"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clone_makes_what_the_parent_or_every_process_needs_at_once() {
        let mut plan = Plan {
            new: vec![Kind::Network, Kind::Pid],
            ..Plan::default()
        };
        assert_eq!(made_by(&plan, By::Ahead), [Kind::Network]);
        // It would belong to another user namespace.
        plan.new = Kind::ALL.to_vec();
        assert_eq!(made_by(&plan, By::Ahead), []);
        assert_eq!(
            made_by(&plan, By::Clone),
            [Kind::User, Kind::Pid, Kind::Cgroup, Kind::Time]
        );
        assert_eq!(
            made_by(&plan, By::Init),
            [Kind::Mount, Kind::Network, Kind::Ipc, Kind::Uts]
        );
        plan.time_offsets.push(crate::namespaces::TimeOffset {
            clock: crate::namespaces::Clock::Boottime,
            seconds: 1,
            nanoseconds: 0,
        });
        plan.net_devices.push(crate::namespaces::NetDevice {
            host_name: "eth0".to_owned(),
            name: "eth0".to_owned(),
        });
        let clones = [Kind::User, Kind::Pid, Kind::Network, Kind::Cgroup];
        assert_eq!(made_by(&plan, By::Clone), clones);
        let flag = clones.iter().fold(0, |flags, kind| flags | kind.flag());
        assert_eq!(flags(&plan), flag);
    }

    #[test]
    fn a_reached_limit_is_named() {
        let plan = Plan::default();
        let error = creation_error(&plan, &[Kind::Mount, Kind::Network], Errno::ENOSPC);
        let hint = error.hint.expect("a hint");
        assert!(hint.contains("max_mnt_namespaces"), "{hint}");
        assert!(hint.contains("max_net_namespaces"), "{hint}");
        assert!(!hint.contains("max_pid_namespaces"), "{hint}");
    }
}
