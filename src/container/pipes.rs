//! The pipes of a container's last steps: FIFOs of the state directory for `create`, nameless ones for `run`. Parent.

use super::undo::Made;
use super::{Request, StartBy};
use crate::error::{Code, Context, Result};
use crate::hooks::Kind;
use crate::state::{self, Fifos, Words};
use crate::sync::pipes::{Ends, TheirEnds, pipes};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use std::os::fd::OwnedFd;

/// All ends.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) ends: Ends,
    pub(super) theirs: TheirEnds,
    /// What startContainer hooks say, for `run`; `start` opens the FIFO itself.
    pub(super) words: Option<OwnedFd>,
    /// Where they say it.
    pub(super) say: Option<OwnedFd>,
}

/// The parent's ends alone.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) ends: Ends,
    pub(super) words: Option<OwnedFd>,
}

impl Pipes {
    /// Makes those that `request` needs.
    ///
    /// # Errors
    /// E_STATE, E_SYNC.
    pub(super) fn of(request: &Request<'_>, made: &Made<'_>) -> Result<Pipes> {
        let has_hooks = request.plan.hooks.has(Kind::StartContainer);
        if request.start == StartBy::Fifo {
            let words = match has_hooks {
                true => Words::OfHooks,
                false => Words::None,
            };
            let Fifos {
                ends,
                theirs,
                words,
            } = state::make_fifos(made.dir()?, words)?;
            return Ok(Pipes {
                ends,
                theirs,
                words: None,
                say: words,
            });
        }
        let (ends, theirs) = pipes()?;
        let (words, say) = match has_hooks {
            true => {
                let (words, say) = pipe2(OFlag::O_CLOEXEC).context(Code::Sync, "pipe2", "")?;
                fcntl(&words, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(
                    Code::Sync,
                    "fcntl",
                    "a pipe",
                )?;
                (Some(words), Some(say))
            }
            false => (None, None),
        };
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
