//! The bridge: a short-lived child of the parent that makes init in its stead, as its own sibling
//! (`CLONE_PARENT`), and ends.
//!
//! It exists where one clone is not enough: to join the namespaces that only a process with other
//! privileges than the parent's can join, and for systemd, which puts a process into the scope that
//! it makes, before there is an init. An ordinary user's casulo may also clone into such a scope
//! only from within it (cgroups(7), "Delegation containment").

use super::create::{clone_error, cloned};
use super::join::Joins;
use super::join::hide;
use super::{Kind, Kinds, Plan};
use crate::error::{Code, Context, Error, Result};
use crate::step::{self, Step};
use crate::sync::bridge::{self as line, Report, ToBridge, ToParent};
use crate::sys::child::leave;
use crate::sys::clone::{Parent, Side, clone3};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd};

/// The bridge as the parent knows it: it waits. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// None once it was waited for.
    pid: Option<Pid>,
    socket: ToBridge,
}

/// Which process this is after [`bridge`].
#[derive(Debug)]
pub(crate) enum Bridged {
    /// The parent.
    Parent(Bridge),
    /// Init, made by the bridge, with a copy of what the parent had when it made the bridge.
    Init,
}

/// Parent: makes a bridge in `cgroup` (none: casulo's own), which waits for
/// [`Bridge::make_init`]. Returns twice: in the parent, and in init.
///
/// # Errors
/// E_NAMESPACE.
pub(crate) fn bridge(
    plan: &Plan,
    joins: &Joins,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Bridged> {
    hide(joins)?;
    let (socket, far) =
        line::pair().context(Code::Namespace, "create", "socket to the bridge process")?;
    match clone3(Kinds::NONE, Parent::This, cgroup).context(
        Code::Namespace,
        "create",
        "bridge process",
    )? {
        Side::Parent(pid) => Ok(Bridged::Parent(Bridge {
            pid: Some(pid),
            socket,
        })),
        Side::Child => {
            // So that the parent's end is the only one: its death is then an end of file here.
            drop(socket);
            let Ok(cgroup) = far.wait() else {
                leave(1);
            };
            if joins.joins(Kind::Pid) {
                return become_entrant(&far);
            }
            let report = match cross(plan, joins, cgroup.as_ref().map(AsFd::as_fd)) {
                Ok(Side::Child) => return Ok(Bridged::Init),
                Ok(Side::Parent(init)) => Report::Init(init),
                Err(report) => report,
            };
            // If the parent is gone there is nobody to tell; init then finds its socket closed.
            let sent = far.tell(report);
            leave(i32::from(sent.is_err()));
        }
    }
}

impl Bridge {
    /// Its pid, while it waits.
    pub(crate) fn pid(&self) -> Pid {
        self.pid.unwrap_or(Pid::from_raw(0))
    }

    /// Lets it join namespaces, make init in `cgroup` (none: in its own) and end. It is waited for,
    /// so that no zombie is left and init is in its user namespace on return.
    ///
    /// # Errors
    /// E_NAMESPACE: what could not be made or joined.
    pub(crate) fn make_init(
        mut self,
        plan: &Plan,
        joins: &Joins,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Pid> {
        self.socket.make_init(cgroup);
        let report = self.socket.report();
        let ended = match (self.pid.take(), joins.joins(Kind::Pid)) {
            // It lives on, as the entrant.
            (Some(pid), true) if report.is_some() => {
                self.pid = Some(pid);
                String::new()
            }
            (Some(pid), _) => reap(pid),
            (None, _) => String::new(),
        };
        match report {
            Some(Report::Init(pid)) => {
                self.pid = None;
                Ok(pid)
            }
            Some(Report::Join(kind, errno)) => Err(join_error(joins, kind, errno)),
            Some(Report::Clone(errno)) => Err(clone_error(plan, errno)),
            None => Err(Error::new(
                Code::Namespace,
                format!("the process that makes init ended early ({ended})"),
            )),
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            // It can fail only if it has ended.
            let _ = kill(pid, Signal::SIGKILL);
            reap(pid);
        }
    }
}

/// The join of a namespace of this kind has failed in the bridge.
fn join_error(joins: &Joins, kind: Kind, errno: Errno) -> Error {
    match joins.get(kind) {
        Some(join) => join.error(errno),
        None => Error::step(Code::Namespace, "join namespace", kind.spec_name(), errno),
    }
}

fn reap(pid: Pid) -> String {
    loop {
        match waitpid(pid, None) {
            Err(Errno::EINTR) => {}
            Ok(status) => return format!("{status:?}"),
            // The caller of casulo may have set SIGCHLD to be ignored; then the kernel reaps.
            Err(errno) => return errno.desc().to_owned(),
        }
    }
}

/// The bridge, where a pid namespace is joined: it is the entrant itself ([`super::spawn()`]), and joins later.
fn become_entrant(far: &ToParent) -> Result<Bridged> {
    match far.tell(Report::Init(Pid::this())) {
        Ok(()) => Ok(Bridged::Init),
        Err(_) => leave(1),
    }
}

/// The bridge: joins, then clones init. Where it need not join, init does that itself.
fn cross(
    plan: &Plan,
    joins: &Joins,
    cgroup: Option<BorrowedFd<'_>>,
) -> std::result::Result<Side, Report> {
    if joins.need_bridge(plan) {
        joins
            .cross()
            .map_err(|(join, errno)| Report::Join(join.kind, errno))?;
    }
    step::begin_or_errno(Step::Cross).map_err(Report::Clone)?;
    clone3(cloned(plan), Parent::Callers, cgroup).map_err(Report::Clone)
}
