//! Our own end of a relay: streams that do not block, a terminal in raw mode, and a buffer.

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, fstat, makedev};
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, isatty, read, tcgetpgrp, write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The most bytes moved at once. It is no more than PIPE_BUF, which a pipe that is ready takes
/// without blocking.
const CHUNK: usize = 4096;

/// True if a read or write on `fd` would not block; also if it would fail.
pub(super) fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd, events)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(n) if n > 0)
}

/// True if another process group is in the foreground of the terminal `fd`. False if it is not our
/// controlling terminal.
pub(super) fn in_background(fd: BorrowedFd<'_>) -> bool {
    tcgetpgrp(fd).is_ok_and(|group| group != getpgrp())
}

/// Keeps the pty from adding carriage returns to newlines (runc does the same).
pub(super) fn plain_newlines(master: BorrowedFd<'_>) -> nix::Result<()> {
    let mut modes = tcgetattr(master)?;
    modes.output_flags.remove(OutputFlags::ONLCR);
    tcsetattr(master, SetArg::TCSANOW, &modes)
}

/// One of our standard streams. A terminal is opened anew if possible, because only an open file
/// description of our own may be made non-blocking: the inherited one is shared with the shell.
#[derive(Debug)]
pub(super) enum Stream<'a> {
    Own(OwnedFd),
    Shared(BorrowedFd<'a>),
}

impl<'a> Stream<'a> {
    pub(super) fn of(fd: BorrowedFd<'a>, access: OFlag) -> Stream<'a> {
        let number = fstat(fd).map(|stat| stat.st_rdev);
        // Opening the master side of a pty (/dev/ptmx, device 5:2) would make a new pty.
        if isatty(fd) == Ok(true) && number != Ok(makedev(5, 2)) {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            if let Ok(own) = open(path.as_str(), flags, Mode::empty())
                && fstat(&own).map(|stat| stat.st_rdev) == number
            {
                return Stream::Own(own);
            }
        }
        Stream::Shared(fd)
    }
}

impl AsFd for Stream<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Own(fd) => fd.as_fd(),
            Stream::Shared(fd) => *fd,
        }
    }
}

/// A terminal in raw mode; dropping it restores the modes that it had before.
#[derive(Debug)]
pub(super) struct RawMode<'a> {
    fd: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawMode<'a> {
    /// Makes the terminal `fd` raw. `earlier` is a raw mode that another process may have replaced;
    /// its modes to restore are kept.
    pub(super) fn set(
        fd: BorrowedFd<'a>,
        earlier: Option<RawMode<'a>>,
    ) -> nix::Result<RawMode<'a>> {
        let now = tcgetattr(fd)?;
        let mut raw = now.clone();
        cfmakeraw(&mut raw);
        let mode = earlier.unwrap_or(RawMode { fd, before: now });
        tcsetattr(fd, SetArg::TCSANOW, &raw)?;
        Ok(mode)
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // If we are in the background, the terminal has the modes of the foreground's program.
        if !in_background(self.fd) {
            let _ = tcsetattr(self.fd, SetArg::TCSANOW, &self.before);
        }
    }
}

/// Bytes that were read and not yet written.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn last(&self) -> Option<u8> {
        self.0.last().copied()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> nix::Result<usize> {
        let mut chunk = [0; CHUNK];
        let n = read(from, &mut chunk)?;
        self.put(chunk.get(..n).unwrap_or_default());
        Ok(n)
    }

    pub(super) fn drain_to(&mut self, to: BorrowedFd<'_>) -> nix::Result<()> {
        let n = write(to, &self.0)?;
        self.0.drain(..n.min(self.0.len()));
        Ok(())
    }
}
