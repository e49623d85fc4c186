//! Copies bytes between our standard streams and the process's terminal, and makes our own terminal raw meanwhile.
//!
//! No function here blocks: `watch` says what to wait for, `serve` moves what can be moved. A direction reads only
//! when everything read before is written, so a slow side slows the other one down.

use super::stdio::{Buffer, RawMode, Stream, in_background, plain_newlines, ready};
use crate::error::{Code, Context, Result};
use crate::sys::fd::STREAMS;
use crate::sys::tty;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::termios::{SpecialCharacterIndices, tcgetattr};
use nix::unistd::isatty;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The interval in milliseconds after which a terminal that no process has open is tried again.
const LOOK_AGAIN: u16 = 100;

/// The end-of-file character, control-D, for a terminal whose own cannot be read.
const DEFAULT_EOF: u8 = 4;

/// A process's terminal between our stdin and stdout. Dropping it restores our own terminal's modes.
#[derive(Debug)]
pub(crate) struct Relay<'a> {
    /// `None` once our output is gone: a terminal hangs up when its master is closed.
    master: Option<OwnedFd>,
    input: Stream<'a>,
    output: Stream<'a>,
    /// Bytes on their way from `input` to the master.
    up: Buffer,
    /// Bytes on their way from the master to `output`.
    down: Buffer,
    reading: Reading,
    /// The last byte that was read from `input`.
    last: u8,
    /// True if no process has the slave open.
    hung_up: bool,
    /// True once the process has ended: the master gives no more than what is left to read.
    finishing: bool,
    /// True once all of that was read.
    exhausted: bool,
    /// Our stdin's modes, while it is raw.
    raw: Option<RawMode<'a>>,
    stdin: BorrowedFd<'a>,
    /// The terminal whose size the process's terminal gets.
    window: Option<BorrowedFd<'a>>,
}

/// Whether `input` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Yes,
    /// Not until SIGCONT: we are in the background of our terminal.
    Paused,
    /// No more.
    Ended,
}

impl Relay<'static> {
    /// Parent, when it has the master and before the process starts: gives the terminal the size of ours, and makes
    /// our stdin raw if it is a terminal.
    ///
    /// # Errors
    /// E_TERMINAL with the errno.
    pub(crate) fn of_stdio(master: OwnedFd) -> Result<Relay<'static>> {
        let [stdin, stdout, _] = STREAMS;
        Relay::new(master, stdin, stdout, own_terminal())
    }
}

/// Parent, before the process starts, if its [`Relay`] is made only once it runs: gives the terminal of `master` the
/// size of ours, if we have one. A program that asks for the size at once gets the right one, and no SIGWINCH.
pub(crate) fn give_own_size(master: BorrowedFd<'_>) {
    if let Some(window) = own_terminal() {
        copy_size(window, master);
    }
}

/// Returns the first of our standard streams that is a terminal.
fn own_terminal() -> Option<BorrowedFd<'static>> {
    STREAMS.into_iter().find(|fd| isatty(fd) == Ok(true))
}

fn copy_size(window: BorrowedFd<'_>, master: BorrowedFd<'_>) {
    if let Ok(size) = tty::size(window)
        && size != tty::Size::default()
    {
        // A terminal of the wrong size still works.
        let _ = tty::set_size(master, size);
    }
}

impl<'a> Relay<'a> {
    fn new(
        master: OwnedFd,
        stdin: BorrowedFd<'a>,
        stdout: BorrowedFd<'a>,
        window: Option<BorrowedFd<'a>>,
    ) -> Result<Relay<'a>> {
        // By now no other process has the master, so the flag has no effect on others.
        fcntl(
            &master,
            FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK),
        )
        .context(Code::Terminal, "set up", "the terminal")?;
        let mut relay = Relay {
            master: Some(master),
            input: Stream::of(stdin, OFlag::O_RDONLY),
            output: Stream::of(stdout, OFlag::O_WRONLY),
            up: Buffer::default(),
            down: Buffer::default(),
            reading: Reading::Yes,
            last: b'\n',
            hung_up: false,
            finishing: false,
            exhausted: false,
            raw: None,
            stdin,
            window,
        };
        relay.copy_size();
        relay.take_over();
        let shows = relay.raw.is_some() && isatty(stdout) == Ok(true);
        if let Some(master) = relay.master.as_ref().filter(|_| !shows) {
            // A raw terminal must get the carriage returns that the pty adds to newlines. A file,
            // a pipe, or a terminal that adds its own must not.
            plain_newlines(master.as_fd()).context(Code::Terminal, "set up", "the terminal")?;
        }
        Ok(relay)
    }

    /// Gives the process's terminal the size of ours.
    pub(super) fn copy_size(&self) {
        if let (Some(window), Some(master)) = (self.window, &self.master) {
            copy_size(window, master.as_fd());
        }
    }

    /// Makes our stdin raw, if it is a terminal and we are in its foreground.
    fn take_over(&mut self) {
        if isatty(self.stdin) == Ok(true) && !in_background(self.stdin) {
            self.raw = RawMode::set(self.stdin, self.raw.take()).ok();
        }
    }

    /// After SIGCONT: the shell has set its own modes, and the window may have changed.
    pub(super) fn resume(&mut self) {
        self.take_over();
        self.copy_size();
        if self.reading == Reading::Paused {
            self.reading = Reading::Yes;
        }
    }

    /// The process has ended: from now on only what is left of its output is read, and no input.
    pub(super) fn finish(&mut self) {
        self.finishing = true;
        self.reading = Reading::Ended;
        self.up.clear();
    }

    /// True if the process has ended and all of its output was written to ours.
    pub(super) fn is_drained(&self) -> bool {
        self.finishing && (self.exhausted || self.master.is_none()) && self.down.is_empty()
    }

    /// Adds the descriptors to wait for to `fds`, and returns how long to wait at most.
    pub(super) fn watch<'f>(&'f self, fds: &mut Vec<PollFd<'f>>) -> PollTimeout {
        if self.wants_input() {
            fds.push(PollFd::new(self.input.as_fd(), PollFlags::POLLIN));
        }
        if !self.down.is_empty() {
            fds.push(PollFd::new(self.output.as_fd(), PollFlags::POLLOUT));
        }
        let Some(master) = &self.master else {
            return PollTimeout::NONE;
        };
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, self.down.is_empty());
        events.set(PollFlags::POLLOUT, !self.up.is_empty());
        if self.hung_up {
            // The master would be ready all the time, with nothing to read or write.
            return PollTimeout::from(LOOK_AGAIN);
        }
        if self.finishing && self.down.is_empty() {
            return PollTimeout::ZERO;
        }
        if !events.is_empty() {
            fds.push(PollFd::new(master.as_fd(), events));
        }
        PollTimeout::NONE
    }

    /// Moves what can be moved without waiting, one chunk in each direction.
    pub(super) fn serve(&mut self) {
        self.hung_up = false;
        self.read_input();
        self.write_master();
        self.read_master();
        self.write_output();
    }

    fn wants_input(&self) -> bool {
        self.reading == Reading::Yes && self.up.is_empty() && self.master.is_some()
    }

    fn read_input(&mut self) {
        if !self.wants_input() || !ready(self.input.as_fd(), PollFlags::POLLIN) {
            return;
        }
        match self.up.fill(self.input.as_fd()) {
            Ok(0) => {
                self.reading = Reading::Ended;
                self.send_eof();
            }
            Ok(_) => self.last = self.up.last().unwrap_or(self.last),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Another process group has our terminal (SIGTTIN is blocked).
            Err(Errno::EIO) => self.reading = Reading::Paused,
            Err(_) => self.reading = Reading::Ended,
        }
    }

    /// Our stdin is at its end, which a terminal learns by a character. In the middle of a line the first such
    /// character only ends the line, so a second one follows.
    fn send_eof(&mut self) {
        let modes = self.master.as_ref().and_then(|it| tcgetattr(it).ok());
        let index = SpecialCharacterIndices::VEOF as usize;
        let eof = modes.and_then(|modes| modes.control_chars.get(index).copied());
        let eof = eof.filter(|eof| *eof != 0).unwrap_or(DEFAULT_EOF);
        self.up.put(&[eof]);
        if self.last != b'\n' {
            self.up.put(&[eof]);
        }
    }

    fn write_master(&mut self) {
        let Some(master) = self.master.as_ref().filter(|_| !self.up.is_empty()) else {
            return;
        };
        match self.up.drain_to(master.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The bytes are kept until a process opens the terminal again.
            Err(_) => self.hung_up = true,
        }
    }

    fn read_master(&mut self) {
        let Some(master) = self.master.as_ref().filter(|_| self.down.is_empty()) else {
            return;
        };
        match self.down.fill(master.as_fd()) {
            Ok(n) if n > 0 => {}
            Err(Errno::EINTR) => {}
            // Before the kernel answers EAGAIN, it has moved all bytes that were written to the slave.
            Err(Errno::EAGAIN) => self.exhausted = self.finishing,
            // EIO: the last process has closed the slave. Another process may still open it.
            Ok(_) | Err(_) => {
                self.exhausted = self.finishing;
                self.hung_up = true;
            }
        }
    }

    fn write_output(&mut self) {
        if self.down.is_empty() || !ready(self.output.as_fd(), PollFlags::POLLOUT) {
            return;
        }
        match self.down.drain_to(self.output.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => {
                self.down.clear();
                self.master = None;
            }
        }
    }
}

#[cfg(test)]
impl<'a> Relay<'a> {
    /// A relay between any two descriptors.
    pub(super) fn between(
        master: OwnedFd,
        input: BorrowedFd<'a>,
        output: BorrowedFd<'a>,
    ) -> Result<Relay<'a>> {
        let window = Some(input).filter(|fd| isatty(fd) == Ok(true));
        Relay::new(master, input, output, window)
    }
}
