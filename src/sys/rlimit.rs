//! Resource limits by number: nix's enum lacks some of them on musl.

use super::check;
use nix::unistd::Pid;

/// `struct rlimit64`; `u64::MAX` means no limit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The limit that the kernel enforces.
    pub soft: u64,
    /// The value up to which an unprivileged process may raise `soft`.
    pub hard: u64,
}

/// `prlimit64(pid, resource, null, old)`, prlimit(2): returns a limit of process `pid`. pid 0 is
/// the caller.
///
/// # Errors
/// EPERM for another user's process without CAP_SYS_RESOURCE over it, ESRCH.
pub(crate) fn get(pid: Pid, resource: u32) -> nix::Result<Limit> {
    let mut old = Limit::default();
    let new = std::ptr::null::<Limit>();
    // SAFETY: `old` is a live #[repr(C)] rlimit64 to write to; a null `new` changes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            new,
            &raw mut old,
        )
    };
    check(result).map(|_| old)
}

/// `prlimit64(pid, resource, new, null)`, prlimit(2): sets a limit of process `pid`. pid 0 is the
/// caller.
///
/// # Errors
/// EPERM for raising a hard limit without CAP_SYS_RESOURCE in the initial user namespace, or
/// RLIMIT_NOFILE past `/proc/sys/fs/nr_open`; EINVAL for a soft limit above the hard one.
pub(crate) fn set(pid: Pid, resource: u32, new: Limit) -> nix::Result<()> {
    let old = std::ptr::null_mut::<Limit>();
    // SAFETY: `new` is a live #[repr(C)] rlimit64 to read from; a null `old` is not written to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw(),
            resource,
            &raw const new,
            old,
        )
    };
    check(result).map(drop)
}
