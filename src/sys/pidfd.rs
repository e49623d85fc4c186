//! pidfds: the only stable names of processes.

use super::check;
use nix::unistd::Pid;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `int pidfd_open(pid_t pid, unsigned int flags)`, pidfd_open(2). The kernel makes the fd CLOEXEC.
///
/// # Errors
/// ESRCH when no such process exists (or it was reaped).
pub(crate) fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: two integers, no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    #[allow(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
    // SAFETY: the kernel has just returned this new descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `int pidfd_send_signal(int pidfd, int sig, siginfo_t *info, unsigned int flags)`, pidfd_send_signal(2).
/// `signal` 0 only checks that it may be sent.
///
/// # Errors
/// ESRCH when the process has ended, EPERM without the right to signal it, EINVAL for a number that is no
/// signal.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    // SAFETY: a null siginfo is allowed and means what kill(2) would send.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<u8>(),
            0,
        )
    };
    check(result).map(drop)
}

/// `int pidfd_getfd(int pidfd, int targetfd, unsigned int flags)`, pidfd_getfd(2): returns a copy of another
/// process's descriptor. The kernel makes the copy CLOEXEC.
///
/// # Errors
/// EPERM for a process that the caller may not trace (PTRACE_MODE_ATTACH_REALCREDS); EBADF if it has no
/// descriptor `number`; ESRCH if it has ended.
pub(crate) fn pidfd_getfd(pidfd: BorrowedFd<'_>, number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: three integers, no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })?;
    let fd = i32::try_from(fd).expect("the kernel returns an int");
    // SAFETY: the kernel has just returned this new descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
