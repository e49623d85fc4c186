//! The bridge: a short-lived child of the parent that makes init in its stead, as its own sibling
//! (`CLONE_PARENT`), and ends.
//!
//! It exists where one clone is not enough: to join the namespaces that only a process with other
//! privileges than the parent's can join, and for systemd, which puts a process into the scope that
//! it makes, before there is an init. An ordinary user's casulo may also clone into such a scope
//! only from within it (cgroups(7), "Delegation containment").

use super::create::{clone_error, flags};
use super::join::Joins;
use super::join::hide;
use super::{Kind, Plan};
use crate::error::{Code, Context, Error, Result};
use crate::step::{self, Step};
use crate::sys::child::leave;
use crate::sys::clone::{Side, clone3};
use crate::sys::scm;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The bridge as the parent knows it: it waits. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Bridge {
    /// None once it was waited for.
    pid: Option<Pid>,
    socket: OwnedFd,
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
    let (socket, far) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .context(Code::Namespace, "create", "socket to the bridge process")?;
    match clone3(0, cgroup).context(Code::Namespace, "create", "bridge process")? {
        Side::Parent(pid) => Ok(Bridged::Parent(Bridge {
            pid: Some(pid),
            socket,
        })),
        Side::Child => {
            // So that the parent's end is the only one: its death is then an end of file here.
            drop(socket);
            let mut word = [0];
            let Ok((1, cgroup)) = scm::receive(far.as_fd(), &mut word) else {
                leave(1);
            };
            if joins.joins(Kind::Pid) {
                return become_entrant(&far);
            }
            let report = match cross(plan, joins, cgroup.as_ref().map(AsFd::as_fd)) {
                Ok(Side::Child) => return Ok(Bridged::Init),
                Ok(Side::Parent(init)) => Report::Init(init.as_raw()),
                Err(report) => report,
            };
            // If the parent is gone there is nobody to tell; init then finds its socket closed.
            let sent = write(&far, &report.encode());
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
        // Should it have ended, its report is missing: that error says more.
        let _ = match cgroup {
            Some(cgroup) => scm::send_fd(self.socket.as_fd(), &[1], cgroup),
            None => write(&self.socket, &[1]).map(drop),
        };
        let mut bytes = [0; Report::SIZE];
        let received = loop {
            match read(&self.socket, &mut bytes) {
                Err(Errno::EINTR) => {}
                received => break received,
            }
        };
        let ended = match (self.pid.take(), joins.joins(Kind::Pid)) {
            // It lives on, as the entrant.
            (Some(pid), true) if matches!(received, Ok(Report::SIZE)) => {
                self.pid = Some(pid);
                String::new()
            }
            (Some(pid), _) => reap(pid),
            (None, _) => String::new(),
        };
        let report = match received {
            Ok(Report::SIZE) => Report::decode(bytes),
            _ => None,
        };
        match report {
            Some(Report::Init(pid)) => {
                self.pid = None;
                Ok(Pid::from_raw(pid))
            }
            Some(Report::Join(kind, errno)) => Err(match joins.get(kind) {
                Some(join) => join.error(errno),
                None => Error::step(Code::Namespace, "join namespace", kind.spec_name(), errno),
            }),
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

/// What the bridge tells the parent: three numbers, so that no text is made in a process with
/// half-changed privileges; the parent knows the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    /// Init was made; its pid in the parent's pid namespace.
    Init(i32),
    /// This join failed.
    Join(Kind, Errno),
    /// The clone failed.
    Clone(Errno),
}

impl Report {
    const SIZE: usize = 12;

    fn encode(self) -> [u8; Report::SIZE] {
        let numbers = match self {
            Report::Init(pid) => [0, pid, 0],
            Report::Join(kind, errno) => [1, kind.clone_flags().bits(), errno as i32],
            Report::Clone(errno) => [2, 0, errno as i32],
        };
        let mut bytes = [0; Report::SIZE];
        for (to, from) in bytes.chunks_exact_mut(4).zip(numbers) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        bytes
    }

    fn decode(bytes: [u8; Report::SIZE]) -> Option<Report> {
        let mut numbers = [0; 3];
        for (to, from) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
            *to = i32::from_ne_bytes(from.try_into().ok()?);
        }
        match numbers {
            [0, pid, 0] => Some(Report::Init(pid)),
            [1, flag, errno] => {
                let kind = Kind::of_flag(u64::from(flag.cast_unsigned()))?;
                Some(Report::Join(kind, Errno::from_raw(errno)))
            }
            [2, 0, errno] => Some(Report::Clone(Errno::from_raw(errno))),
            _ => None,
        }
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
fn become_entrant(far: &OwnedFd) -> Result<Bridged> {
    match write(far, &Report::Init(Pid::this().as_raw()).encode()) {
        Ok(_) => Ok(Bridged::Init),
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
    let flags = flags(plan) | u64::from(libc::CLONE_PARENT.cast_unsigned());
    clone3(flags, cgroup).map_err(Report::Clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_the_bridge_round_trip() {
        for report in [
            Report::Init(4711),
            Report::Join(Kind::Time, Errno::EPERM),
            Report::Join(Kind::Network, Errno::EINVAL),
            Report::Clone(Errno::ENOSPC),
        ] {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        assert_eq!(Report::decode([9; Report::SIZE]), None);
    }
}
