//! `clone3(2)`: creation of a child inside its namespaces and its cgroup.

use super::check;
use nix::unistd::Pid;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `CLONE_INTO_CGROUP` as the kernel has it; libc's constant is a c_int and evaluates to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a [`clone3`] this is.
#[derive(Debug)]
pub(crate) enum Side {
    /// The caller, with the child's pid as the caller's pid namespace numbers it.
    Parent(Pid),
    /// The new process, on its own copy of the stack. Leave it by `_exit` or `execve` only.
    Child,
}

/// `pid_t clone3(struct clone_args *args, size_t size)`, clone(2), as a fork: no CLONE_VM.
///
/// `flags` are `CLONE_NEW*` and `CLONE_PARENT`; `cgroup` is the directory fd for
/// `CLONE_INTO_CGROUP`, which is added when one is given. The child's exit signal is SIGCHLD
/// (with `CLONE_PARENT` the kernel wants none and inherits it).
///
/// # Errors
/// The kernel's errno: EPERM for namespaces without the capability, ENOSPC past
/// `/proc/sys/user/max_*_namespaces`, EBUSY for a cgroup with enabled controllers, EAGAIN past a
/// pids limit.
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Side> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    #[allow(
        clippy::cast_sign_loss,
        reason = "flag and signal constants are positive"
    )]
    let mut args = CloneArgs {
        flags,
        exit_signal: if flags & (libc::CLONE_PARENT as u64) == 0 {
            libc::SIGCHLD as u64
        } else {
            0
        },
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(fd.as_raw_fd()).expect("an open descriptor is not negative");
    }
    // SAFETY: `args` is a live #[repr(C)] clone_args and its own size is passed; without CLONE_VM
    // the child has its own copy of this stack and of the heap, and the process has one thread
    // (invariant 1), so no lock is held by a thread that does not exist in the child.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    match i32::try_from(pid).expect("the kernel has 22 bits for a pid") {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(pid))),
    }
}
