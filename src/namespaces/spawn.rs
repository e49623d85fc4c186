//! Makes init: by one clone3, or through a bridge ([`super::bridge()`]) for foreign user namespaces. Init itself does
//! what takes the kernel long and the parent does not need.
//!
//! Where a pid namespace is joined, the process made here is an *entrant*. It is in the caller's pid namespace, where
//! no process of the container sees it, and does all that init does. In the end the container's process is born as
//! its sibling ([`crate::process::last_steps`]).

use super::bridge::{Bridged, bridge};
use super::create::{Creator, clone_error, cloned, unshare_all};
use super::join::{Joins, hide};
use super::{Kind, Kinds, Plan, network};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Result};
use crate::sys::clone::{Parent, Side, clone3};
use crate::sys::pidfd::pidfd_open;
use nix::unistd::Pid;
use std::os::fd::BorrowedFd;

/// Which process this is after [`spawn`].
#[derive(Debug)]
pub(crate) enum Spawned {
    /// The parent, with init's pid in the parent's pid namespace. Init is its child in every case.
    Parent(Pid),
    /// Init, with a copy of the parent's memory and descriptors.
    Init,
}

/// Parent: makes init in those of its new namespaces that the clone makes, and in `cgroup` (a directory fd), which
/// becomes the root of a new cgroup namespace. Returns twice. Init then calls [`unshare`], and waits for the parent,
/// which writes its id maps ([`super::write_maps`]), before it calls [`super::enter()`].
///
/// # Errors
/// E_NAMESPACE: what could not be made or joined, with the limit to raise where one is known. No process is left
/// over.
pub(crate) fn spawn(plan: &Plan, joins: &Joins, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    // An entrant joins by itself, later.
    if joins.need_bridge(plan) && !joins.joins(Kind::Pid) {
        return spawn_over_bridge(plan, joins, cgroup);
    }
    hide(joins)?;
    spawn_here(plan, cgroup)
}

fn spawn_over_bridge(
    plan: &Plan,
    joins: &Joins,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    // A process in a foreign cgroup namespace may not move one from outside into it (nsdelegate), so there the bridge
    // itself is born in the cgroup and init inherits it. Elsewhere the bridge stays out: it would count against the
    // limits.
    let (bridge_cgroup, init_cgroup) = if joins.joins(Kind::Cgroup) {
        (cgroup, None)
    } else {
        (None, cgroup)
    };
    match bridge(plan, joins, bridge_cgroup)? {
        Bridged::Init => Ok(Spawned::Init),
        Bridged::Parent(bridge) => bridge
            .make_init(plan, joins, init_cgroup)
            .map(Spawned::Parent),
    }
}

fn spawn_here(plan: &Plan, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    match clone3(cloned(plan), Parent::This, cgroup) {
        Ok(Side::Parent(pid)) => Ok(Spawned::Parent(pid)),
        Ok(Side::Child) => Ok(Spawned::Init),
        Err(errno) => Err(clone_error(plan, errno)),
    }
}

/// Init, first of all, with all capabilities in its user namespace, or with the caller's: makes the new namespaces
/// that the clone has not made, and sets up the loopback device of a new network.
///
/// # Errors
/// E_NAMESPACE: what could not be made, with the limit to raise where one is known; E_NETWORK.
pub(crate) fn unshare(plan: &Plan) -> Result<()> {
    unshare_all(plan, Creator::Init)?;
    if plan.is_new(Kind::Network) {
        network::loopback_up()
    } else {
        Ok(())
    }
}

/// An entrant, first of all: joins the namespaces that are to be joined, except the pid namespace, and makes a new
/// user namespace. Children that it makes after joining a pid namespace (hooks, helpers) are born there, so it joins
/// that one when it has no others to make ([`join_pids_for_birth`]). From a new user namespace it could not, so then
/// it joins pids first.
///
/// # Errors
/// E_NAMESPACE: which namespace and path, and the errno.
pub(crate) fn join_as_entrant(plan: &Plan, joins: &Joins) -> Result<()> {
    if plan.is_new(Kind::User) {
        join_pids(joins)?;
    }
    joins.cross().map_err(|(join, errno)| join.error(errno))?;
    unshare_all(plan, Creator::Entrant)
}

/// An entrant, when the next process that it makes is the container's, and while it still has its capabilities: joins
/// the pid namespace for its children.
///
/// # Errors
/// E_NAMESPACE: the path and the errno of setns(2).
pub(crate) fn join_pids_for_birth(plan: &Plan, joins: &Joins) -> Result<()> {
    if without(Defence::JoinedBeforeBirth) {
        join_callers()?;
    }
    if plan.is_new(Kind::User) {
        Ok(())
    } else {
        join_pids(joins)
    }
}

/// Test builds: joins the caller's namespaces, so that the next process is born in these.
fn join_callers() -> Result<()> {
    let kinds = [
        Kind::Mount,
        Kind::Network,
        Kind::Ipc,
        Kind::Uts,
        Kind::Cgroup,
    ];
    let kinds = Kinds::from_iter(kinds);
    pidfd_open(nix::unistd::getppid())
        .and_then(|caller| nix::sched::setns(caller, kinds.clone_flags()))
        .context(Code::Namespace, "join the namespaces of", "the caller")
}

fn join_pids(joins: &Joins) -> Result<()> {
    match joins.get(Kind::Pid) {
        Some(join) => join.enter().map_err(|errno| join.error(errno)),
        None => Ok(()),
    }
}
