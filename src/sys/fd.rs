//! File descriptors: adopting inherited ones, marking ranges close-on-exec.

use super::check;
use crate::testing::without::{Defence, without};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `int close_range(unsigned first, unsigned last, unsigned flags)`, close_range(2), with
/// `CLOSE_RANGE_CLOEXEC` (Linux 5.11): every fd from `first` on is closed by the next execve.
///
/// # Errors
/// ENOSYS or EINVAL on a kernel older than 5.11.
pub fn close_on_exec_from(first: u32) -> nix::Result<()> {
    if without(Defence::CloseOnExec) {
        return Ok(());
    }
    // SAFETY: three integers; descriptors are only marked, not closed, so no owner is surprised.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result).map(drop)
}

/// Borrows a descriptor number that the caller of casulo left open (0, 1, 2, preserved fds).
/// Nobody in this program owns those; a number that is not open gives EBADF when used.
pub fn inherited(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the descriptor is inherited and never closed by this program, so it outlives every
    // borrow; numbers below 0 are excluded here.
    unsafe { BorrowedFd::borrow_raw(fd.max(0)) }
}

/// Takes ownership of a descriptor that is known by its number alone: the kernel has just installed it
/// (SCM_RIGHTS, accept4), or its last owner gave it up.
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: the descriptor is in our table and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
