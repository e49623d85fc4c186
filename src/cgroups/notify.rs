//! Files of a cgroup whose changes the kernel announces: `cgroup.events`, `memory.events`. Any
//! casulo process on the host.

use super::Cgroup;
use super::fs::read_all;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// One such file, open. poll(2) tells POLLPRI once it has changed since it was last read through
/// this descriptor, and for ever when the cgroup is removed (cgroup-v2.rst, "\[un\]populated
/// notification").
#[derive(Debug)]
pub struct Announced(OwnedFd);

impl Announced {
    /// Opens `file` of `cgroup`. What was not read yet counts as changed.
    ///
    /// # Errors
    /// ENOENT where the cgroup lacks the controller.
    pub fn open(cgroup: &Cgroup, file: &str) -> nix::Result<Announced> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        openat(&cgroup.folder, file, flags, Mode::empty()).map(Announced)
    }

    /// The text of the file as it is now; what poll tells from now on came later.
    ///
    /// # Errors
    /// ENODEV when the cgroup was removed.
    pub fn read(&self) -> nix::Result<String> {
        lseek(&self.0, 0, Whence::SeekSet)?;
        read_all(&self.0)
    }

    /// Waits until the text is as wanted; false if it is not by `end`.
    ///
    /// # Errors
    /// ENODEV when the cgroup was removed.
    pub fn wait_until(&self, end: Instant, holds: impl Fn(&str) -> bool) -> nix::Result<bool> {
        loop {
            if holds(&self.read()?) {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLPRI)];
            // Rounded up: it would wake too early and spin.
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl AsFd for Announced {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
