//! How casulo waits for those whom others may hold: it looks whether it was asked to end, and gives up on a killed child
//! that a tracer keeps.

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

/// Whether a signal waits that asks casulo to end. The foreground has all signals blocked, and one that waits
/// interrupts no call: whoever waits for somebody else there waits for at most a second at a time, and looks here
/// between two.
pub(crate) fn asked_to_end() -> bool {
    !without(Defence::AskedToEnd) && ending().is_some()
}

/// When a wait of many short ones looks at [`asked_to_end`]: once a second, the first time after a second. So what is
/// quick is done even by who is asked to end, an undo's steps for instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    next: Instant,
}

impl Watch {
    const PERIOD: Duration = Duration::from_secs(1);

    /// Begins with the wait.
    pub(crate) fn begin() -> Watch {
        Watch {
            next: Instant::now() + Watch::PERIOD,
        }
    }

    /// The longest single wait until the next look.
    pub(crate) fn left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// [`asked_to_end`], if it is time to look.
    pub(crate) fn asked_to_end(&mut self) -> bool {
        if !self.left().is_zero() {
            return false;
        }
        *self = Watch::begin();
        asked_to_end()
    }
}

/// Whether a child that was killed is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// It was waited for.
    Gone,
    /// Somebody keeps it: a tracer in a container keeps a killed process as a zombie, or at its exit, as long as it
    /// likes. It is reaped by whoever reaps casulo's children.
    Kept,
}

/// Kills a child that nobody has waited for, and waits for it, but not for ever.
pub(crate) fn end(pid: Pid) -> Farewell {
    // It may have ended by itself; as long as nobody has waited for it the number is nobody else's.
    let _ = kill(pid, Signal::SIGKILL);
    // Without a descriptor to spare it is looked at again and again.
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
            // Dead, and not to be reaped yet: the look is repeated a little later.
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
