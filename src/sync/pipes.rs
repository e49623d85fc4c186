//! The messages to and from a process in its last moments, when a container may already control it. They are one
//! byte to it and words of fixed size from it, over two pipes (or the FIFOs of the state directory, for `start`).
//! They never go over a socket: SO_PEERPIDFD and pidfd_getfd(2) lead through one to every descriptor of the process
//! at the other end.
//!
//! ```text
//!   parent                          last process
//!     │ ◄──────────────── Ready ──── │   it is what it will be                  (only one that waits)
//!     │  ── GO, SET_PROCESSES ─────► │   go on
//!     │ ◄─────────── HookBegins ──── │   for each startContainer hook
//!     │ ◄───────────── Executes ──── │   only one that an entrant has made: it ends if nobody reads
//!     │ ◄── a failure, or its end ── │   the end of file is a wake-up only: whether it has executed says /proc
//! ```

use crate::binary::landing::{SET_PROCESSES, Told, Word};
use crate::error::{Code, Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The parent's ends: one to write to and one to read from. Neither blocks.
#[derive(Debug)]
pub(crate) struct Ends {
    /// None if another process writes the byte.
    go: Option<OwnedFd>,
    tell: OwnedFd,
}

/// The last process's ends.
#[derive(Debug)]
pub(crate) struct TheirEnds {
    /// The end from which it reads the byte that tells it to go on.
    pub go: OwnedFd,
    /// The end to which it writes its words. It does not block, so a container that fills it cannot hold the process
    /// up.
    pub tell: OwnedFd,
}

/// The result of a read from a last process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// There is nothing to read yet.
    Nothing,
    /// A word.
    Word(Told),
    /// Bytes that no last process writes: a container controls it.
    Junk,
    /// The other end is closed in every process.
    End,
}

/// Parent: makes both pipes.
///
/// # Errors
/// `E_SYNC` with the errno of pipe2(2).
pub(crate) fn pipes() -> Result<(Ends, TheirEnds)> {
    let pipe = |flags| pipe2(OFlag::O_CLOEXEC | flags).context(Code::Sync, "pipe2", "");
    let (go, say) = pipe(OFlag::empty())?;
    let (hear, tell) = pipe(OFlag::O_NONBLOCK)?;
    let ends = Ends {
        go: Some(does_not_block(say)?),
        tell: hear,
    };
    Ok((ends, TheirEnds { go, tell }))
}

impl Ends {
    /// Makes the parent's ends of FIFOs, neither of which blocks: `go` is open for writing, `tell` for reading.
    pub(crate) fn of(go: OwnedFd, tell: OwnedFd) -> Ends {
        let go = Some(go);
        Ends { go, tell }
    }

    /// Makes an end that only reads; `tell` must not block.
    pub(crate) fn to_listen(tell: OwnedFd) -> Ends {
        Ends { go: None, tell }
    }

    /// Writes `byte`. A process that is gone does not read it, and its end of file says so. One that a container
    /// traces may have lost the byte to the container, so the caller writes it again until the program runs.
    pub(crate) fn say(&self, byte: u8) {
        if let Some(go) = &self.go {
            let _ = write(go, &[byte]);
        }
    }

    /// Tells the process to go on, and to set its own RLIMIT_NPROC if it shared that with its maker.
    pub(crate) fn say_go(&self) {
        self.say(SET_PROCESSES);
    }

    /// Reads the next word.
    pub(crate) fn hear(&self) -> Heard {
        let mut bytes = [0; Word::SIZE];
        loop {
            return match read(&self.tell, &mut bytes) {
                Ok(0) => Heard::End,
                Ok(Word::SIZE) => Word::parse(bytes).map_or(Heard::Junk, Heard::Word),
                Ok(_) => Heard::Junk,
                Err(Errno::EINTR) => continue,
                Err(_) => Heard::Nothing,
            };
        }
    }

    /// For poll(2): readable when there is something to read.
    pub(crate) fn tell(&self) -> BorrowedFd<'_> {
        self.tell.as_fd()
    }
}

fn does_not_block(pipe: OwnedFd) -> Result<OwnedFd> {
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(Code::Sync, "fcntl", "a pipe")?;
    Ok(pipe)
}
