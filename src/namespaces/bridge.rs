//! The bridge: a short-lived child of the parent that makes init in its stead, as its own sibling
//! (`CLONE_PARENT`), and ends.
//!
//! One clone is not enough in two cases. Some namespaces can be joined only by a process with other privileges
//! than the parent's. And systemd puts a process into the scope that it makes, when there is no init yet. An
//! ordinary user's casulo may also clone into such a scope only from within it (cgroups(7), "Delegation
//! containment").

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

/// The parent's handle of a bridge that waits. Dropping it kills the bridge and waits for it.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// None once the bridge was waited for.
    pid: Option<Pid>,
    socket: ToBridge,
}

/// Which process this is after [`bridge`].
#[derive(Debug)]
pub(crate) enum Bridged {
    /// The parent.
    Parent(Bridge),
    /// Init, made by the bridge. It has a copy of the memory that the parent had when it made the bridge.
    Init,
}

/// Parent: makes a bridge in `cgroup` (None: in casulo's own), which waits for [`Bridge::make_init`]. Returns
/// twice: in the parent, and in init.
///
/// # Errors
/// E_NAMESPACE with the errno of the socket or of the clone.
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
            // The parent's end must be the only one, so that its death is an end of file here.
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
    /// The bridge's pid, while it waits.
    pub(crate) fn pid(&self) -> Pid {
        self.pid.unwrap_or(Pid::from_raw(0))
    }

    /// Tells the bridge to join namespaces, make init in `cgroup` (None: in the bridge's own) and end. Returns
    /// init's pid. The bridge is waited for, so that no zombie is left and init is in its user namespace.
    ///
    /// # Errors
    /// E_NAMESPACE: which namespace could not be made or joined, and the errno.
    pub(crate) fn make_init(
        mut self,
        plan: &Plan,
        joins: &Joins,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Pid> {
        self.socket.make_init(cgroup);
        let report = self.socket.report();
        let ended = match (self.pid.take(), joins.joins(Kind::Pid)) {
            // This bridge does not end: it is the entrant.
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
            // kill(2) can fail only if the bridge has ended.
            let _ = kill(pid, Signal::SIGKILL);
            reap(pid);
        }
    }
}

/// Explains that the bridge could not join the namespace of this kind.
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

/// The bridge, where a pid namespace is joined: reports that it is itself the entrant ([`super::spawn()`]),
/// which joins later.
fn become_entrant(far: &ToParent) -> Result<Bridged> {
    match far.tell(Report::Init(Pid::this())) {
        Ok(()) => Ok(Bridged::Init),
        Err(_) => leave(1),
    }
}

/// The bridge: joins namespaces, then clones init. Where no bridge is needed for joining, init joins by itself.
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
