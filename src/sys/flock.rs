//! Locks of open files: flock(2).

use super::check;
use std::os::fd::{AsFd, AsRawFd};

/// What is done with the lock of an open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Take it for oneself, and wait for it.
    Exclusive,
    /// Take it for oneself, if nobody has it.
    ExclusiveNow,
    /// Take it with others who share it, if nobody has it for himself.
    SharedNow,
    /// Give it back, also for every copy of the descriptor in other processes.
    Unlock,
}

/// `int flock(int fd, int operation)`, flock(2). The lock belongs to the open file description: it ends with the last copy of
/// the descriptor, in whatever process that is, or by [`Operation::Unlock`] of one of them.
///
/// # Errors
/// EWOULDBLOCK where somebody else has it, EINTR, ENOLCK.
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
