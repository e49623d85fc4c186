//! Making init: one clone3, with a bridge ([`super::bridge()`]) for foreign user namespaces. What takes the kernel long
//! and the parent does not need is left to init.
//!
//! Where a pid namespace is joined, the process made here is an *entrant*: it is in the caller's pid namespace, where
//! nobody in the container sees it, does all that init does, and in the end has the container's process born as
//! its sibling ([`crate::process::last_steps`]).

use super::bridge::{Bridged, bridge};
use super::join::Joins;
use super::{Kind, Plan, network};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::sys::clone::{Side, clone3};
use crate::sys::namespace::stop_being_dumpable;
use crate::sys::pidfd::pidfd_open;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;
use std::os::fd::BorrowedFd;

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
    // An entrant joins by itself.
    if joins.need_bridge(plan) && !joins.joins(Kind::Pid) {
        return spawn_over_bridge(plan, joins, cgroup);
    }
    hide(joins)?;
    spawn_here(plan, cgroup)
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
    let (bridge_cgroup, init_cgroup) = match joins.joins(Kind::Cgroup) {
        true => (cgroup, None),
        false => (None, cgroup),
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
/// that the clone has not made, and sets up the loopback device of a new network.
///
/// # Errors
/// E_NAMESPACE: what could not be made, with the limit to raise where one is known; E_NETWORK.
pub fn unshare(plan: &Plan) -> Result<()> {
    unshare_all(plan, By::Init)?;
    match plan.is_new(Kind::Network) {
        true => network::loopback_up(),
        false => Ok(()),
    }
}

/// An entrant, first of all: joins all that is to be joined but the pid namespace, or its children (hooks, helpers) would be
/// born there; that comes when it has no others to make ([`join_pids_for_birth`]). Only where a new user namespace, from which it
/// could not be joined, is made here, too, it comes first.
///
/// # Errors
/// E_NAMESPACE: which namespace and path.
pub fn join_as_entrant(plan: &Plan, joins: &Joins) -> Result<()> {
    if plan.is_new(Kind::User) {
        join_pids(joins)?;
    }
    joins.cross().map_err(|(join, errno)| join.error(errno))?;
    unshare_all(plan, By::Entrant)
}

/// An entrant, when the process is the next that it makes, and while it has its capabilities: joins the pid namespace for
/// its children.
///
/// # Errors
/// E_NAMESPACE.
pub fn join_pids_for_birth(plan: &Plan, joins: &Joins) -> Result<()> {
    if without(Defence::JoinedBeforeBirth) {
        join_callers()?;
    }
    match plan.is_new(Kind::User) {
        true => Ok(()),
        false => join_pids(joins),
    }
}

/// Test builds: what is born next is in the caller's namespaces, as before everything else.
fn join_callers() -> Result<()> {
    let kinds = [
        Kind::Mount,
        Kind::Network,
        Kind::Ipc,
        Kind::Uts,
        Kind::Cgroup,
    ];
    let flags = kinds.iter().map(|kind| kind.clone_flags());
    pidfd_open(nix::unistd::getppid())
        .and_then(|caller| nix::sched::setns(caller, flags.collect::<CloneFlags>()))
        .context(Code::Namespace, "join the namespaces of", "the caller")
}

fn join_pids(joins: &Joins) -> Result<()> {
    match joins.get(Kind::Pid) {
        Some(join) => join.enter().map_err(|errno| join.error(errno)),
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

/// Who makes a new namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The clone3 of init.
    Clone,
    /// Init itself, by one unshare(2), while the parent does its part.
    Init,
    /// An entrant, once it has joined the pid namespace: from the new user namespace it could not.
    Entrant,
}

/// Who makes a new namespace of this kind.
///
/// The parent maps ids, may move init to another cgroup than the one which its namespace shows, and moves
/// network devices; a pid namespace that is unshared is for children only. So is a time namespace, but its offsets are
/// written before the first process is in it ([`super::time::enter`]).
fn maker(plan: &Plan, kind: Kind) -> By {
    match kind {
        Kind::User if plan.joins(Kind::Pid) => By::Entrant,
        // They belong to the user namespace of who makes them; the one that is left for children is the process's.
        Kind::Cgroup | Kind::Time if plan.joins(Kind::Pid) && plan.has(Kind::User) => By::Init,
        Kind::User | Kind::Pid | Kind::Cgroup => By::Clone,
        Kind::Network if !plan.net_devices.is_empty() => By::Clone,
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
        assert_eq!(made_by(&plan, By::Init), [Kind::Network]);
        plan.new = Kind::ALL.to_vec();
        assert_eq!(made_by(&plan, By::Entrant), []);
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
