//! Carries the listener of a filter that notifies (`SCMP_ACT_NOTIFY`) from the process under the filter to its agent,
//! an outside process that answers the notifications. Runs in the parent.
//!
//! The filter may notify of any call. So the process makes no call from the moment the filter is loaded: it writes
//! the listener's number into memory that it shares with the parent, and spins until the parent has taken it.

use super::Filter;
use crate::binary::shared::Shared;
use crate::caller_socket;
use crate::error::{Code, Context, Result};
use crate::sys::pidfd::pidfd_getfd;
use crate::sys::seccomp::{Answer, answer_notification, receive_notification};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use serde_json::Value;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A listener that has not been given to an agent yet.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Takes the listener that the process `pidfd` hands over in `shared`, and lets that process go on. Returns None
    /// while there is no listener.
    ///
    /// # Errors
    /// E_SECCOMP with the errno of pidfd_getfd(2): EPERM if casulo may not trace the process.
    pub(crate) fn take(shared: &Shared, pidfd: BorrowedFd<'_>) -> Result<Option<Listener>> {
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

    /// Answers the notifications that wait, in place of the agent. `process` is casulo's own and still has work to
    /// do, so it may go on. Any other process is told to make its call again, and then the agent hears of it.
    pub(crate) fn answer_for(&self, process: Pid) {
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
            let answer = if i32::try_from(notification.pid) == Ok(process.as_raw()) {
                Answer::Continue
            } else {
                Answer::Interrupt
            };
            // The process that made the call may be gone.
            let _ = answer_notification(self.0.as_fd(), notification, answer);
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connection to the agent, and the `listenerMetadata` of the config.
#[derive(Debug)]
pub(crate) struct Agent<'a> {
    socket: OwnedFd,
    metadata: Option<&'a str>,
}

impl<'a> Agent<'a> {
    /// Connects to the agent at the filter's `listenerPath`, while host paths can still be resolved. Returns None for
    /// a filter without a `listenerPath`.
    ///
    /// # Errors
    /// E_SECCOMP naming the socket.
    pub(crate) fn connect(filter: Option<&'a Filter>) -> Result<Option<Agent<'a>>> {
        let Some(filter) = filter else {
            return Ok(None);
        };
        let Some(path) = filter.listener_path.as_deref() else {
            return Ok(None);
        };
        let socket = caller_socket::connect(path).context(
            Code::Seccomp,
            "failed to connect with seccomp agent at",
            path.display(),
        )?;
        Ok(Some(Agent {
            socket,
            metadata: filter.listener_metadata.as_deref(),
        }))
    }

    /// Sends the agent the listener of process `pid`, in one message with the container process state
    /// (config-linux.md, The Container Process State). `state` is the container's own state (runtime.md, State).
    ///
    /// # Errors
    /// E_SECCOMP with the errno of sending.
    pub(crate) fn give(self, listener: Listener, state: Value, pid: Pid) -> Result<()> {
        let mut document = serde_json::json!({
            "ociVersion": state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid.as_raw(),
            "state": state,
        });
        if let Some(metadata) = self.metadata {
            document["metadata"] = metadata.into();
        }
        let text = document.to_string();
        caller_socket::send_fd_over(self.socket.as_fd(), text.as_bytes(), listener.as_fd()).context(
            Code::Seccomp,
            "send the listener to the agent",
            "",
        )
    }
}
