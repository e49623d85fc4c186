//! Locks on open files: flock(2).

use super::check;
use std::os::fd::{AsFd, AsRawFd};

/// What [`flock`] does with the lock of an open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Takes the exclusive lock, and waits for it.
    Exclusive,
    /// Takes the exclusive lock if it is free, without waiting.
    ExclusiveNow,
    /// Takes a shared lock, unless somebody holds the exclusive one, without waiting.
    SharedNow,
    /// Gives the lock up, also for every copy of the descriptor in other processes.
    Unlock,
}

/// `int flock(int fd, int operation)`, flock(2). The lock belongs to the open file description. It ends when the last
/// copy of the descriptor is closed, in any process, or by [`Operation::Unlock`] on one of them.
///
/// # Errors
/// EWOULDBLOCK when another open file description has the lock, EINTR, ENOLCK.
pub(crate) fn flock(fd: impl AsFd, operation: Operation) -> nix::Result<()> {
    let operation = match operation {
        Operation::Exclusive => libc::LOCK_EX,
        Operation::ExclusiveNow => libc::LOCK_EX | libc::LOCK_NB,
        Operation::SharedNow => libc::LOCK_SH | libc::LOCK_NB,
        Operation::Unlock => libc::LOCK_UN,
    };
    // SAFETY: two integers, no memory is passed.
    let result = unsafe { libc::flock(fd.as_fd().as_raw_fd(), operation) };
    check(result.into()).map(drop)
}
