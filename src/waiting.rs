//! How casulo waits for processes that others may hold up. It looks whether it was asked to end, and gives up on a
//! killed child that a tracer keeps.

use crate::defence::{Defence, without};
use crate::sys::child::{WaitMode, wait};
use crate::sys::pidfd::pidfd_open;
use crate::sys::signal::ending;
use crate::timeout;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// True if a signal is pending that asks casulo to end. In the foreground all signals are blocked, and a pending one
/// interrupts no call. So a wait for another process there takes at most a second at a time, and looks here in
/// between.
pub(crate) fn asked_to_end() -> bool {
    !without(Defence::AskedToEnd) && ending().is_some()
}

/// Tells a loop of many short waits when to look at [`asked_to_end`]: once a second, the first time after a second.
/// So quick work, such as the steps of an undo, is finished even if casulo is asked to end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    next: Instant,
}

impl Watch {
    const PERIOD: Duration = Duration::from_secs(1);

    /// Makes a watch whose first look is due after [`Watch::PERIOD`].
    pub(crate) fn begin() -> Watch {
        Watch {
            next: Instant::now() + Watch::PERIOD,
        }
    }

    /// Returns the longest wait until the next look.
    pub(crate) fn left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Returns [`asked_to_end`] if it is time to look, else false.
    pub(crate) fn asked_to_end(&mut self) -> bool {
        if !self.left().is_zero() {
            return false;
        }
        *self = Watch::begin();
        asked_to_end()
    }
}

/// Whether a killed child is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// It was waited for.
    Gone,
    /// It is kept: a tracer in a container can keep a killed process as a zombie, or at its exit, as long as it
    /// likes. The process that reaps casulo's children will reap it.
    Kept,
}

/// Kills a child that was not waited for yet, and waits for it at most for [`timeout::REAP`].
pub(crate) fn end(pid: Pid) -> Farewell {
    // It may have ended by itself. Until it is waited for, no other process can get its number.
    let _ = kill(pid, Signal::SIGKILL);
    // Without a pidfd (no descriptor is free) the loop looks every two milliseconds.
    let pidfd = pidfd_open(pid).ok();
    let last = Instant::now() + timeout::REAP;
    loop {
        let left = last.saturating_duration_since(Instant::now());
        if let Some(pidfd) = &pidfd {
            let timeout = u8::try_from(left.as_millis().min(255)).expect("at most 255");
            let _ = poll(
                &mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)],
                timeout,
            );
        }
        match wait(Some(pid), WaitMode::NoHang) {
            Ok(None) if left.is_zero() => return Farewell::Kept,
            // It is dead, but cannot be reaped yet: look again a little later.
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Ok(Some(_)) | Err(_) => return Farewell::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::child::fork;
    use crate::sys::clone::Side;
    use crate::sys::forked::words_of_child;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    #[test]
    fn a_child_that_runs_is_ended_without_a_descriptor_to_spare() {
        let result = words_of_child(|| {
            let Side::Parent(child) = fork().expect("fork") else {
                loop {
                    nix::unistd::pause();
                }
            };
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("getrlimit");
            setrlimit(Resource::RLIMIT_NOFILE, 0, hard).expect("setrlimit");
            let ended = end(child);
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("setrlimit");
            Ok(format!("{ended:?}, {:?}", kill(child, None)))
        });
        assert_eq!(result, "Gone, Err(ESRCH)");
    }
}
