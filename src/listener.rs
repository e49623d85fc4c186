//! The listener of a filter that notifies (`SCMP_ACT_NOTIFY`), on its way from the process under the filter to its
//! agent. Parent.
//!
//! The filter may notify of any call, so from the moment at which it is loaded the process makes none: it writes
//! the listener's number into memory that it shares with the parent and spins until the parent has it.

use crate::error::{Code, Context, Result};
use crate::sys::pidfd::pidfd_getfd;
use crate::sys::scm;
use crate::sys::seccomp::{Answer, answer_notification, receive_notification};
use crate::sys::shared::Shared;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A listener that has no agent yet.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Takes the listener that the process behind `pidfd` hands over in `shared`, and lets it go on. None while
    /// there is none.
    ///
    /// # Errors
    /// E_SECCOMP; EPERM for a process that casulo may not trace.
    pub fn take(shared: &Shared, pidfd: BorrowedFd<'_>) -> Result<Option<Listener>> {
        let Some(number) = shared.listener() else {
            return Ok(None);
        };
        let listener = pidfd_getfd(pidfd, number).context(
            Code::Seccomp,
            "take the listener of",
            "the seccomp filter",
        )?;
        shared.listener_is_taken();
        Ok(Some(Listener(listener)))
    }

    /// Answers what waits, in place of the agent: `process`, which is casulo's own and makes what is left to be made,
    /// may go on; anybody else is told to ask again, and then the agent hears it.
    pub fn answer_for(&self, process: Pid) {
        loop {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::ZERO) != Ok(1)
                || fds.first().and_then(PollFd::revents) != Some(PollFlags::POLLIN)
            {
                return;
            }
            let Ok(notification) = receive_notification(self.0.as_fd()) else {
                return;
            };
            let answer = match i32::try_from(notification.pid) == Ok(process.as_raw()) {
                true => Answer::Continue,
                false => Answer::Interrupt,
            };
            // Who asked may be gone.
            let _ = answer_notification(self.0.as_fd(), notification, answer);
        }
    }

    /// Hands the listener to the agent in one message: the container process state of the spec
    /// (config-linux.md, The Container Process State) with the descriptor beside it.
    ///
    /// # Errors
    /// E_SECCOMP.
    pub fn send(self, agent: &OwnedFd, state: &[u8]) -> Result<()> {
        scm::send_fd(agent.as_fd(), state, self.0.as_fd()).context(
            Code::Seccomp,
            "send the listener to the agent",
            "",
        )
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
