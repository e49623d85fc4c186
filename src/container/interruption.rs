//! A signal that asks `run` to end while there is no program yet that would get it. Parent.

use crate::error::{Code, Context, Error, Result};
use crate::foreground::EndSignals;
use crate::sync::{Channel, Message};
use crate::timeout;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Whether one has come, and when casulo gives up for it. It stays where it is: who runs by then gets it.
#[derive(Debug)]
pub(super) struct Interruption<'a> {
    end: Option<&'a EndSignals>,
    gives_up: Option<Instant>,
}

impl<'a> Interruption<'a> {
    /// `end` is none where a signal ends casulo anyway.
    pub(super) fn by(end: Option<&'a EndSignals>) -> Interruption<'a> {
        Interruption {
            end,
            gives_up: None,
        }
    }

    /// poll(2) of `fds`, for `longest` at most, or until a signal comes, or the time is over that one leaves.
    ///
    /// # Errors
    /// E_SYNC with the errno of poll(2).
    pub(super) fn poll<'fd>(
        &mut self,
        fds: &mut Vec<PollFd<'fd>>,
        longest: Option<Duration>,
    ) -> Result<()>
    where
        'a: 'fd,
    {
        let end = self.end.filter(|_| self.gives_up.is_none());
        fds.extend(end.map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN)));
        match poll(fds, self.timeout(longest)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(Code::Sync, "wait for", "init"),
        }
        if end.is_some() && fds.pop().as_ref().and_then(PollFd::any) == Some(true) {
            self.gives_up = Some(Instant::now() + timeout::SIGNAL);
        }
        Ok(())
    }

    fn timeout(&self, longest: Option<Duration>) -> PollTimeout {
        let Some(time) = longest.into_iter().chain(self.left()).min() else {
            return PollTimeout::NONE;
        };
        // Up, not down: a look at the clock that comes too early is one too many.
        let milliseconds = time.as_nanos().div_ceil(1_000_000);
        PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
    }

    fn left(&self) -> Option<Duration> {
        let last = self.gives_up?;
        Some(last.saturating_duration_since(Instant::now()))
    }

    /// # Errors
    /// E_SIGNAL once no time is left.
    pub(super) fn look(&self) -> Result<()> {
        if self.left() != Some(Duration::ZERO) {
            return Ok(());
        }
        let number = self.end.and_then(EndSignals::arrived).unwrap_or_default();
        let text = format!("signal {number} came, and there was no program that runs");
        Err(Error::new(Code::Signal, text))
    }

    /// Waits until `fd` is readable, for `longest` at most, or until a signal comes. Whether `fd` is.
    ///
    /// # Errors
    /// E_SIGNAL, as [`Interruption::look`].
    pub(super) fn wait_for(
        &mut self,
        fd: BorrowedFd<'_>,
        longest: Option<Duration>,
    ) -> Result<bool> {
        let mut fds = vec![PollFd::new(fd, PollFlags::POLLIN)];
        self.poll(&mut fds, longest)?;
        match fds.first().and_then(PollFd::any) {
            Some(true) => Ok(true),
            _ => self.look().map(|()| false),
        }
    }

    /// The next message, as [`Channel::receive`] does.
    ///
    /// # Errors
    /// E_SYNC; E_SIGNAL.
    pub(super) fn receive(&mut self, channel: &Channel) -> Result<Option<Message>> {
        if self.end.is_some() {
            while !self.wait_for(channel.as_fd(), None)? {}
        }
        channel.receive()
    }
}
