//! The FIFOs between `start` and a waiting init, in the container's directory: on one init waits for a byte, on the
//! other it tells, and one or two more take what startContainer hooks say. `create` makes them before init exists, and init
//! inherits them open. They hold nothing of the host: a FIFO leads to nobody else's descriptors.

use super::Dir;
use crate::error::{Code, Context, Error, Result};
use crate::sync::pipes::{Ends, TheirEnds};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, mkfifoat, unlinkat};
use std::os::fd::OwnedFd;

const START: &str = "start.fifo";
const ANSWER: &str = "answer.fifo";
const WORDS: [&str; 2] = ["words.fifo", "errors.fifo"];
/// All of them.
pub(super) const NAMES: [&str; 4] = [START, ANSWER, WORDS[0], WORDS[1]];

/// Whether startContainer hooks will speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// There are none.
    None,
    /// Into one FIFO.
    Together,
    /// stdout and stderr each into one.
    Apart,
}

/// What `create` has of the FIFOs: its own ends, init's, and where hooks write.
#[derive(Debug)]
pub(crate) struct Fifos {
    /// The parent's.
    pub ends: Ends,
    /// Init's, open for reading and writing: they have no end while nobody else has opened them.
    pub theirs: TheirEnds,
    /// Where hooks write, likewise: stdout and stderr, or both together.
    pub words: Vec<OwnedFd>,
}

/// Parent of `create`: makes the FIFOs, which the caller alone may open.
///
/// # Errors
/// `E_STATE`.
pub(crate) fn make(dir: &Dir, words: Words) -> Result<Fifos> {
    let both = |name, flags| {
        mkfifoat(&dir.fd, name, Mode::S_IRUSR | Mode::S_IWUSR)
            .and_then(|()| open(dir, name, OFlag::O_RDWR | flags))
            .context(Code::State, "make", dir.path().join(name).display())
    };
    let theirs = TheirEnds {
        go: both(START, OFlag::empty())?,
        tell: both(ANSWER, OFlag::O_NONBLOCK)?,
    };
    let count = match words {
        Words::None => 0,
        Words::Together => 1,
        Words::Apart => 2,
    };
    let words = WORDS.into_iter().take(count);
    let words = words.map(|name| both(name, OFlag::empty()));
    let words = words.collect::<Result<Vec<OwnedFd>>>()?;
    let hear = open(dir, ANSWER, OFlag::O_RDONLY | OFlag::O_NONBLOCK);
    let hear = hear.context(Code::State, "open", dir.path().join(ANSWER).display())?;
    Ok(Fifos {
        ends: Ends::to_listen(hear),
        theirs,
        words,
    })
}

/// `start`: the ends of the waiting init, and what hooks say.
///
/// # Errors
/// `E_STATUS` when nobody waits (init is gone, or was started in this moment); else `E_STATE`.
pub(crate) fn connect(dir: &Dir) -> Result<(Ends, Vec<OwnedFd>)> {
    let listen = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let opened = open(dir, START, OFlag::O_WRONLY | OFlag::O_NONBLOCK)
        .and_then(|go| Ok((go, open(dir, ANSWER, listen)?)));
    match opened {
        Ok((go, tell)) => {
            let words = WORDS.map(|name| open(dir, name, listen).ok());
            Ok((Ends::of(go, tell), words.into_iter().flatten().collect()))
        }
        // ENXIO: nobody has it open for reading.
        Err(Errno::ENOENT | Errno::ENXIO) => Err(Error::new(
            Code::Status,
            format!("container {} does not wait to be started", dir.id),
        )),
        Err(errno) => Err(Error::step(
            Code::State,
            "open",
            dir.path().join(START).display().to_string(),
            errno,
        )),
    }
}

fn open(dir: &Dir, name: &str, flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(&dir.fd, name, flags, Mode::empty())
}

/// Takes the names away: the container was started.
pub(super) fn forget(dir: &Dir) {
    for name in NAMES {
        // Missing is as good as removed, and nothing else can fail in a directory of ours.
        let _ = unlinkat(&dir.fd, name, UnlinkatFlags::NoRemoveDir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{State, Store};

    #[test]
    fn a_fifo_that_nobody_reads_starts_nobody() {
        let root = tempfile::tempdir().expect("directory");
        let dir = Store::at(root.path().to_owned())
            .reserve(&State {
                id: "web".to_owned(),
                ..State::default()
            })
            .expect("reserved");
        let none = connect(&dir).expect_err("no FIFO");
        assert_eq!(none.code, Code::Status);
        let Fifos { theirs, .. } = make(&dir, Words::None).expect("made");
        let (ends, words) = connect(&dir).expect("somebody reads");
        assert!(words.is_empty());
        ends.say_go();
        let mut byte = [0];
        assert_eq!(nix::unistd::read(&theirs.go, &mut byte), Ok(1));
        drop((theirs, ends));
        assert_eq!(connect(&dir).expect_err("gone").code, Code::Status);
    }
}
