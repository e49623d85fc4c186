//! Children by fork(2): making, leaving and waiting for one, and what it inherits.

use super::clone::{Side, assert_one_task};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, getppid};
use std::mem::MaybeUninit;

/// `pid_t fork(void)`, fork(2), by the C library, which keeps malloc usable in the child. For
/// short-lived children that share nothing special; init is made by [`super::clone::clone3`].
/// Leave the child by [`leave`] or execve only.
///
/// # Errors
/// EAGAIN past a limit on processes, ENOMEM.
pub(crate) fn fork() -> nix::Result<Side> {
    assert_one_task();
    // SAFETY: casulo has one thread (invariant 1), so no lock is held by a thread that does not
    // exist in the child; under the test harness the C library's own locks are seen to by fork.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => Ok(Side::Child),
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
    }
}

/// `void _exit(int status)`, _exit(2): ends a child without running what the parent registered.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of the process.
    unsafe { libc::_exit(code) }
}

/// `prctl(PR_SET_PDEATHSIG, SIGKILL)`, PR_SET_PDEATHSIG(2const): the calling child is killed when `parent`,
/// the process that made it, ends. `parent` is the number that getppid(2) shows in the child.
///
/// # Errors
/// ESRCH when `parent` has ended already. The kernel sends no signal for that death any more, and the child
/// has another parent by now.
pub(crate) fn end_with(parent: Pid) -> nix::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    if getppid() == parent {
        Ok(())
    } else {
        Err(Errno::ESRCH)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it; the number, because nix has no real-time signals.
    Killed(i32),
}

impl Ended {
    /// Reads a wait status, wait(2).
    #[must_use]
    pub(crate) fn of_status(status: i32) -> Ended {
        if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        }
    }
}

/// How long [`wait`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitMode {
    /// Until a child has ended.
    Block,
    /// Not at all: it returns only a child that has ended already.
    NoHang,
}

/// `pid_t waitpid(pid_t pid, int *status, __WALL | WNOHANG)`, waitpid(2). `child` is None for any child.
/// Returns the pid and how it ended; `Ok(None)` means that no such child has ended yet.
///
/// # Errors
/// ECHILD if there is no such child, EINTR.
pub(crate) fn wait(child: Option<Pid>, patience: WaitMode) -> nix::Result<Option<(Pid, Ended)>> {
    let mut status = 0;
    let flags = match patience {
        WaitMode::Block => libc::__WALL,
        WaitMode::NoHang => libc::__WALL | libc::WNOHANG,
    };
    // SAFETY: `status` is a live int that the kernel fills.
    let pid = unsafe { libc::waitpid(child.map_or(-1, Pid::as_raw), &raw mut status, flags) };
    match pid {
        -1 => Err(Errno::last()),
        0 => Ok(None),
        pid => Ok(Some((Pid::from_raw(pid), Ended::of_status(status)))),
    }
}

/// `int sigaction(int signal, NULL, struct sigaction *old)`, sigaction(2): true if this process
/// ignores `signal`, as one started by nohup(1) ignores SIGHUP.
pub(crate) fn ignores(signal: i32) -> bool {
    let mut old = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only asks; `old` is room for one struct sigaction.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid struct sigaction, and the call may have filled them.
    let old = unsafe { old.assume_init() };
    result == 0 && old.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::words_of_child;

    #[test]
    fn a_real_time_signal_is_told_by_number() {
        let Side::Parent(child) = fork().expect("fork") else {
            loop {
                nix::unistd::pause();
            }
        };
        let pidfd = super::super::pidfd::pidfd_open(child).expect("pidfd");
        super::super::pidfd::pidfd_send_signal(std::os::fd::AsFd::as_fd(&pidfd), 40)
            .expect("signal");
        let ended = wait(Some(child), WaitMode::Block).expect("wait");
        assert_eq!(ended, Some((child, Ended::Killed(40))));
    }

    #[test]
    fn a_child_reports_its_exit_code() {
        let Side::Parent(child) = fork().expect("fork") else {
            leave(7)
        };
        let ended = wait(Some(child), WaitMode::Block).expect("wait");
        assert_eq!(ended, Some((child, Ended::Exited(7))));
    }

    #[test]
    fn a_child_notices_that_its_parent_was_faster_to_end() {
        let result = words_of_child(|| {
            let parent = nix::unistd::getpid();
            if let Side::Parent(_) = fork().expect("fork") {
                leave(0);
            }
            // This process lives on, and reports for the other.
            while getppid() == parent {
                std::thread::yield_now();
            }
            Ok(format!("{:?}", end_with(parent)))
        });
        assert_eq!(result, "Err(ESRCH)");
    }

    #[test]
    fn a_child_ends_with_its_parent() {
        let result = words_of_child(|| {
            let (receiver, sender) = nix::unistd::pipe().expect("pipe");
            let parent = match fork().expect("fork") {
                Side::Parent(pid) => pid,
                Side::Child => {
                    let parent = nix::unistd::getpid();
                    if let Side::Child = fork().expect("fork") {
                        end_with(parent).expect("prctl");
                        nix::unistd::write(&sender, b".").expect("write");
                    }
                    loop {
                        nix::unistd::pause();
                    }
                }
            };
            drop(sender);
            let mut byte = [0];
            nix::unistd::read(&receiver, &mut byte).expect("read");
            nix::sys::signal::kill(parent, Signal::SIGKILL).expect("kill");
            // At the end of file no process is left that could write.
            Ok(format!("{:?}", nix::unistd::read(&receiver, &mut byte)))
        });
        assert_eq!(result, "Ok(0)");
    }
}
