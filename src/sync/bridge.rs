//! The messages between the parent and a bridge (`namespaces::bridge`), over a socket pair of their own.
//!
//! ```text
//!   parent                          bridge
//!     │  ── a byte (+ cgroup) ─────► │   make init, in that cgroup
//!     │ ◄──────────────── Report ─── │   three numbers, so that no text is made in a process with half-changed
//!     │                              │   privileges; the parent knows the names
//! ```

use super::socket_pair;
use crate::sys::kind::Kind;
use crate::sys::scm;
use nix::errno::Errno;
use nix::unistd::{Pid, read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The bridge's report to the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Init was made, and has this pid in the parent's pid namespace.
    Init(Pid),
    /// The namespace of this kind could not be joined.
    Join(Kind, Errno),
    /// The clone of init failed.
    Clone(Errno),
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ToBridge(OwnedFd);

/// The bridge's end.
#[derive(Debug)]
pub(crate) struct ToParent(OwnedFd);

/// Returns both ends of a new socket pair.
///
/// # Errors
/// That of socketpair(2).
pub(crate) fn pair() -> nix::Result<(ToBridge, ToParent)> {
    let (near, far) = socket_pair()?;
    Ok((ToBridge(near), ToParent(far)))
}

impl ToBridge {
    /// Tells the bridge to make init in `cgroup` (None: in the bridge's own). If the bridge has ended, its report
    /// will be missing, which says more than an error here would.
    pub(crate) fn make_init(&self, cgroup: Option<BorrowedFd<'_>>) {
        let _ = match cgroup {
            Some(cgroup) => scm::send_fd(self.0.as_fd(), &[1], cgroup),
            None => write(&self.0, &[1]).map(drop),
        };
    }

    /// Waits for the bridge's report; `None` if it has ended without one.
    pub(crate) fn report(&self) -> Option<Report> {
        let mut bytes = [0; Report::SIZE];
        loop {
            match read(&self.0, &mut bytes) {
                Err(Errno::EINTR) => {}
                Ok(Report::SIZE) => return Report::decode(bytes),
                _ => return None,
            }
        }
    }
}

impl ToParent {
    /// Waits until the bridge is to make init. Returns init's cgroup; None for the bridge's own.
    ///
    /// # Errors
    /// EPIPE when the parent has ended.
    pub(crate) fn wait(&self) -> nix::Result<Option<OwnedFd>> {
        match scm::receive(self.0.as_fd(), &mut [0])? {
            (1, cgroup) => Ok(cgroup),
            _ => Err(Errno::EPIPE),
        }
    }

    /// Sends the report to the parent.
    ///
    /// # Errors
    /// EPIPE when the parent has ended.
    pub(crate) fn tell(&self, report: Report) -> nix::Result<()> {
        write(&self.0, &report.encode()).map(drop)
    }
}

impl Report {
    const SIZE: usize = 12;

    fn encode(self) -> [u8; Report::SIZE] {
        let numbers = match self {
            Report::Init(pid) => [0, pid.as_raw(), 0],
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
            [0, pid, 0] => Some(Report::Init(Pid::from_raw(pid))),
            [1, flag, errno] => {
                let kind = Kind::of_flag(u64::from(flag.cast_unsigned()))?;
                Some(Report::Join(kind, Errno::from_raw(errno)))
            }
            [2, 0, errno] => Some(Report::Clone(Errno::from_raw(errno))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_the_bridge_arrive() {
        let (parent, bridge) = pair().expect("a pair");
        for report in [
            Report::Init(Pid::from_raw(4711)),
            // CLONE_NEWTIME, for which nix has no name.
            Report::Join(Kind::Time, Errno::EPERM),
            Report::Join(Kind::Network, Errno::EINVAL),
            Report::Clone(Errno::ENOSPC),
        ] {
            bridge.tell(report).expect("told");
            assert_eq!(parent.report(), Some(report));
        }
        assert_eq!(Report::decode([9; Report::SIZE]), None);
        drop(bridge);
        assert_eq!(parent.report(), None);
    }

    #[test]
    fn the_bridge_waits_for_its_word_and_the_cgroup() {
        let (parent, bridge) = pair().expect("a pair");
        let (cgroup, _) = nix::unistd::pipe().expect("a pipe");
        parent.make_init(None);
        parent.make_init(Some(cgroup.as_fd()));
        assert!(matches!(bridge.wait(), Ok(None)));
        assert!(matches!(bridge.wait(), Ok(Some(_))));
        drop(parent);
        assert!(matches!(bridge.wait(), Err(Errno::EPIPE)));
    }
}
