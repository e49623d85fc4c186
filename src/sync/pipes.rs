//! What is said with a process in its last moments, when it may already be in the hands of a container: one byte to
//! it, words of fixed size from it, by two pipes (or the FIFOs of the state directory, for `start`). Never a socket:
//! SO_PEERPIDFD and pidfd_getfd(2) lead through one to every descriptor of who holds the other end.
//!
//! ```text
//!   parent                          last process
//!     │ ◄──────────────── Ready ──── │   it is what it will be                  (only one that waits)
//!     │  ── GO, SET_PROCESSES ─────► │   go on
//!     │ ◄─────────── HookBegins ──── │   for each startContainer hook
//!     │ ◄───────────── Executes ──── │   only who was born among others: ends it where nobody listens
//!     │ ◄── a failure, or its end ── │   the end of file is a wake-up only: whether it has executed says /proc
//! ```

use crate::binary::landing::{SET_PROCESSES, Told, Word};
use crate::error::{Code, Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The parent's ends: what it says, and what it hears. Neither blocks.
#[derive(Debug)]
pub(crate) struct Ends {
    /// None where somebody else will say it.
    go: Option<OwnedFd>,
    tell: OwnedFd,
}

/// The process's ends.
#[derive(Debug)]
pub(crate) struct TheirEnds {
    /// From where it is told to go on.
    pub go: OwnedFd,
    /// Where it tells, which does not block: a container that fills it does not hold the process so.
    pub tell: OwnedFd,
}

/// What is heard of a last process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing yet.
    Nothing,
    /// A word.
    Word(Told),
    /// Something that no last process says: a container has taken it over.
    Junk,
    /// Nobody holds the other end.
    End,
}

/// Parent: both pipes.
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
    /// The parent's ends of FIFOs, neither of which blocks: `go` open for writing, `tell` for reading.
    pub(crate) fn of(go: OwnedFd, tell: OwnedFd) -> Ends {
        let go = Some(go);
        Ends { go, tell }
    }

    /// An end that only listens, and does not block already.
    pub(crate) fn to_listen(tell: OwnedFd) -> Ends {
        Ends { go: None, tell }
    }

    /// Says `byte`. A process that is gone does not hear it, which its end tells; one that a container traces may
    /// have lost it to the container, so it is said again until the program runs.
    pub(crate) fn say(&self, byte: u8) {
        if let Some(go) = &self.go {
            let _ = write(go, &[byte]);
        }
    }

    /// Says that it may go on, with its own RLIMIT_NPROC where it shared that with its maker.
    pub(crate) fn say_go(&self) {
        self.say(SET_PROCESSES);
    }

    /// The next word.
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

    /// For poll(2): readable when there is something to hear.
    pub(crate) fn tell(&self) -> BorrowedFd<'_> {
        self.tell.as_fd()
    }
}

fn does_not_block(pipe: OwnedFd) -> Result<OwnedFd> {
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(Code::Sync, "fcntl", "a pipe")?;
    Ok(pipe)
}
