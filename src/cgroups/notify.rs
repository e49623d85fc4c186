//! Files of a cgroup whose changes the kernel announces: `cgroup.events`, `memory.events`. Any
//! casulo process on the host.

use super::Cgroup;
use super::fs::read_all;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One such file, open. poll(2) tells POLLPRI once it has changed since it was last read through
/// this descriptor, and for ever when the cgroup is removed (cgroup-v2.rst, "\[un\]populated
/// notification").
#[derive(Debug)]
pub(crate) struct EventsWatch(OwnedFd);

impl EventsWatch {
    /// Opens `file` of `cgroup`. What was not read yet counts as changed.
    ///
    /// # Errors
    /// ENOENT where the cgroup lacks the controller.
    pub(crate) fn open(cgroup: &Cgroup, file: &str) -> nix::Result<EventsWatch> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        openat(&cgroup.directory, file, flags, Mode::empty()).map(EventsWatch)
    }

    /// The text of the file as it is now; what poll tells from now on came later.
    ///
    /// # Errors
    /// ENODEV when the cgroup was removed.
    pub(crate) fn read(&self) -> nix::Result<String> {
        lseek(&self.0, 0, Whence::SeekSet)?;
        read_all(&self.0)
    }
}

impl AsFd for EventsWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
