//! Why the parent of an entrant stops waiting. Parent.

use super::{Outcome, death};
use crate::error::{Code, Error, Result};
use crate::timeout;

/// Why waiting has come to its end.
pub(super) enum Stop {
    /// The entrant has never run.
    KilledAtBirth,
    /// A signal of this number.
    Signal(i32),
    /// Something failed.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

pub(super) type Waited<T> = std::result::Result<T, Stop>;

impl Stop {
    pub(super) fn into_outcome(self) -> Result<Outcome> {
        match self {
            Stop::Signal(number) => Ok(Outcome::Interrupted(number)),
            Stop::Error(error) => Err(error),
            Stop::KilledAtBirth => Err(death::killed()),
        }
    }
}

pub(super) fn held() -> Error {
    Error::new(
        Code::Process,
        format!(
            "the process did not execute its program within {} s",
            timeout::EXECVE.as_secs()
        ),
    )
    .hint("the container is frozen, or something in it stops or traces what enters it")
}
