//! `clone3(2)`: creation of a child inside its namespaces and its cgroup.

use super::check;
use super::kind::Kinds;
use nix::unistd::Pid;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `CLONE_INTO_CGROUP` of `linux/sched.h`; libc's constant is a c_int and evaluates to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The side of a [`clone3`] that a process is on.
#[derive(Debug)]
pub(crate) enum Side {
    /// The caller, with the child's pid as the caller's pid namespace numbers it.
    Parent(Pid),
    /// The new process, on its own copy of the stack. Leave it by `_exit` or `execve` only.
    Child,
}

/// The parent of the process that [`clone3`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The calling process.
    This,
    /// The caller's own parent (`CLONE_PARENT`): the new process is the caller's sibling.
    Callers,
}

/// `pid_t clone3(struct clone_args *args, size_t size)`, clone(2), as a fork.
///
/// The child is in new namespaces of these `kinds`, and in `cgroup` (`CLONE_INTO_CGROUP`), a directory fd, if one is
/// given. Its exit signal is SIGCHLD. A sibling inherits the caller's exit signal, and the kernel takes none for it.
///
/// # Errors
/// The kernel's errno: EPERM for namespaces without the capability, ENOSPC past
/// `/proc/sys/user/max_*_namespaces`, EBUSY for a cgroup with enabled controllers, EAGAIN past a
/// pids limit.
pub(crate) fn clone3(
    kinds: Kinds,
    parent: Parent,
    cgroup: Option<BorrowedFd<'_>>,
) -> nix::Result<Side> {
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
    let (flags, exit_signal) = match parent {
        Parent::This => (0, libc::SIGCHLD as u64),
        Parent::Callers => (libc::CLONE_PARENT as u64, 0),
    };
    let mut args = CloneArgs {
        flags: flags | kinds.flags(),
        exit_signal,
        ..CloneArgs::default()
    };
    assert_one_task();
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(fd.as_raw_fd()).expect("an open descriptor is not negative");
    }
    // SAFETY: `args` is a live #[repr(C)] clone_args and its own size is passed; no kind of namespace is
    // CLONE_VM, so the child has its own copy of this stack and of the heap, and the process has one thread
    // (invariant 1), so no lock is held by a thread that does not exist in the child.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    match i32::try_from(pid).expect("the kernel has 22 bits for a pid") {
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(Pid::from_raw(pid))),
    }
}

/// Checks in debug builds that the process has one thread (invariant 1), which makes a fork sound. The test harness
/// has threads, so tests are left out.
pub(super) fn assert_one_task() {
    #[cfg(all(debug_assertions, not(test)))]
    if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
        assert_eq!(tasks.count(), 1, "casulo has one thread");
    }
}
