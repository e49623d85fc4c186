//! The pipes of a container's last steps: FIFOs of the state directory for `create`, nameless ones for `run`. Parent.

use super::Request;
use super::undo::Rollback;
use crate::error::{Code, Context, Result};
use crate::hooks::Kind;
use crate::init::StartBy;
use crate::state::{self, Fifos, Words};
use crate::step::{self, Step};
use crate::sync::pipes::{Ends, TheirEnds, pipes};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use std::os::fd::OwnedFd;

/// All ends.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) ends: Ends,
    pub(super) theirs: TheirEnds,
    /// What startContainer hooks say, for `run`; `start` opens the FIFOs itself.
    pub(super) words: Vec<OwnedFd>,
    /// Where they say it: stdout and stderr, or both together.
    pub(super) say: Vec<OwnedFd>,
}

/// The parent's ends alone.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) ends: Ends,
    pub(super) words: Vec<OwnedFd>,
}

impl Pipes {
    /// Makes those that `request` needs.
    ///
    /// # Errors
    /// E_STATE, E_SYNC.
    pub(super) fn of(request: &Request<'_>, rollback: &Rollback<'_>) -> Result<Pipes> {
        step::begin(Step::StartFifos)?;
        let hooks = &request.plan.hooks;
        let words = match (hooks.has(Kind::StartContainer), hooks.has_files()) {
            (false, _) => Words::None,
            (true, false) => Words::Together,
            (true, true) => Words::Apart,
        };
        if request.start == StartBy::Fifo {
            let Fifos {
                ends,
                theirs,
                words,
            } = state::make_fifos(rollback.dir()?, words)?;
            return Ok(Pipes {
                ends,
                theirs,
                words: Vec::new(),
                say: words,
            });
        }
        let (ends, theirs) = pipes()?;
        let count = match words {
            Words::None => 0,
            Words::Together => 1,
            Words::Apart => 2,
        };
        let (mut words, mut say) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).context(Code::Sync, "pipe2", "")?;
            fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(
                Code::Sync,
                "fcntl",
                "a pipe",
            )?;
            words.push(ours);
            say.push(theirs);
        }
        Ok(Pipes {
            ends,
            theirs,
            words,
            say,
        })
    }

    /// Closes init's ends.
    pub(super) fn ours(self) -> Ours {
        Ours {
            ends: self.ends,
            words: self.words,
        }
    }
}
