//! The messages that wait in the container's socket: looked at, and taken out without their descriptors.
//!
//! The last close of a file may wait, for as long as whoever made it wants (a TCP socket with SO_LINGER), and a
//! message that is thrown away closes what it brought. So messages are looked at while they wait, and one with
//! descriptors is taken out by a child, for which nobody waits long; they get no number in any table of casulo's.

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

/// The longest message that systemd takes (`PIPE_BUF`), and room to see that one is longer.
pub(super) const LONGEST: usize = 4097;

/// The container's socket. Never closed but by the end of casulo, when the kernel lingers for nobody.
#[derive(Debug)]
pub(super) struct Queue(ManuallyDrop<OwnedFd>);

/// A message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What it says; nothing where it is too long.
    pub(super) text: Vec<u8>,
    /// Whether there is more in it than text.
    pub(super) brings: Brings,
}

impl Queue {
    /// Of a bound datagram socket that does not block.
    pub(super) fn of(fd: OwnedFd) -> Queue {
        Queue(ManuallyDrop::new(fd))
    }

    /// For a poll loop: readable when a message waits.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The first message, which stays where it is; None where there is none.
    ///
    /// # Errors
    /// That of recvmsg(2).
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

    /// Takes the first message out, of which `brings` is known. After [`timeout::NOTIFY_MESSAGE`] a child that does this is killed.
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
                // Better to linger than to hear nothing more.
                Err(_) => {}
            }
        }
        scm::throw_away(self.as_fd());
    }
}

/// Waits for the child; kills it when that takes too long, which ends what it waits for.
fn wait_shortly(pid: Pid) {
    let Ok(pidfd) = pidfd_open(pid) else {
        return;
    };
    let limit = PollTimeout::try_from(timeout::NOTIFY_MESSAGE).expect("half a second");
    for _ in 0..2 {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, limit).is_ok_and(|count| count > 0) {
            // Whoever ignores SIGCHLD finds no child any more.
            let _ = child::wait(Some(pid), WaitMode::NoHang);
            return;
        }
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
}
