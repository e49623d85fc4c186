//! The messages that wait in the container's socket. They are read in place, and taken out without their descriptors.
//!
//! The last close of a file may block for as long as its maker wants (a TCP socket with SO_LINGER), and a message
//! that is dropped closes its descriptors. So messages are read while they stay in the queue. A child takes out one
//! with descriptors, and the parent does not wait long for it. The descriptors get no number in any table of
//! casulo's.

use crate::defence::{Defence, without};
use crate::sys::child::{self, WaitMode};
use crate::sys::clone::Side;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::sys::scm::{self, Brings};
use crate::timeout;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest message that systemd takes (`PIPE_BUF`), and one byte more to see that one is longer.
pub(super) const LONGEST: usize = 4097;

/// The container's socket. Only the end of casulo closes it, when the kernel does not linger.
#[derive(Debug)]
pub(super) struct Queue(ManuallyDrop<OwnedFd>);

/// A message in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The text of the message; empty if it is too long.
    pub(super) text: Vec<u8>,
    /// Whether descriptors came with it.
    pub(super) brings: Brings,
}

impl Queue {
    /// Makes a queue of a bound datagram socket that does not block.
    pub(super) fn of(fd: OwnedFd) -> Queue {
        Queue(ManuallyDrop::new(fd))
    }

    /// For a poll loop: readable when a message waits.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Returns the first message, which stays in the queue; None if there is none.
    ///
    /// # Errors
    /// That of recvmsg(2), except EAGAIN and EINTR.
    pub(super) fn first(&self) -> nix::Result<Option<Waiting>> {
        let mut buffer = [0; LONGEST];
        let (length, brings) = match scm::look(self.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            result => result?,
        };
        let text = buffer.get(..length).filter(|text| text.len() < LONGEST);
        Ok(Some(Waiting {
            text: text.unwrap_or_default().to_vec(),
            brings,
        }))
    }

    /// Takes the first message out of the queue; `brings` is what [`Queue::first`] said of it. If it has descriptors,
    /// a child does this, and is killed after [`timeout::NOTIFY_MESSAGE`].
    pub(super) fn take_out(&self, brings: Brings) {
        if brings == Brings::Descriptors && !without(Defence::NotifyApart) {
            let parent = Pid::this();
            match child::fork() {
                Ok(Side::Child) => {
                    if child::end_with(parent).is_ok() {
                        scm::throw_away(self.as_fd());
                    }
                    child::leave(0);
                }
                Ok(Side::Parent(pid)) => return wait_shortly(pid),
                // It is better to linger than to hear nothing more.
                Err(_) => {}
            }
        }
        scm::throw_away(self.as_fd());
    }
}

/// Waits for the child. If that takes too long, kills it, which ends its close.
fn wait_shortly(pid: Pid) {
    let Ok(pidfd) = pidfd_open(pid) else {
        return;
    };
    let limit = PollTimeout::try_from(timeout::NOTIFY_MESSAGE).expect("half a second");
    for _ in 0..2 {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, limit).is_ok_and(|count| count > 0) {
            // If SIGCHLD is ignored, there is no child to wait for.
            let _ = child::wait(Some(pid), WaitMode::NoHang);
            return;
        }
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
}
