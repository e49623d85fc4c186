//! The container's lock, on its directory: commands that change it act one after another. Any casulo process
//! on the host.
//!
//! `create` has it from the moment in which the directory gets its name to the moment in which all is done
//! ([`super::Store::reserve`], [`Dir::unlock`]). Whoever only reads needs none.

use super::{Dir, not_found};
use crate::error::{Code, Context, Error, Result};
use crate::sys::flock::{Operation, flock};
use crate::timeout;
use nix::errno::Errno;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Between two looks at the lock.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// The lock of a container that is there, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    /// A copy: the directory itself may be removed, and its descriptor closed, before.
    fd: OwnedFd,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child may have a copy of it. Nothing can be wrong with a descriptor of ours.
        let _ = flock(&self.fd, Operation::Unlock);
    }
}

impl Dir {
    /// Takes the container's lock for `command`, and waits for it, but not for `create` to be done.
    ///
    /// # Errors
    /// `E_STATUS` while the container is created.
    /// `E_NOT_FOUND` when the container was deleted meanwhile: the id may be another one's by now.
    /// `E_STATE`.
    pub(crate) fn lock(&self, command: &str) -> Result<Lock> {
        if let Some(lock) = self.lock_now()? {
            return Ok(lock);
        }
        self.look()?.expect_made(command)?;
        let lock = self.take(Operation::Exclusive)?;
        lock.ok_or_else(|| Error::new(Code::State, format!("container {} is locked", self.id)))
    }

    /// The lock, if nobody has it.
    ///
    /// # Errors
    /// As [`Dir::lock`].
    pub(crate) fn lock_now(&self) -> Result<Option<Lock>> {
        self.take(Operation::ExclusiveNow)
    }

    /// [`Dir::lock`] whoever has it, but that one may be stopped or hang: after [`timeout::LOCK`] there is none.
    ///
    /// # Errors
    /// As [`Dir::lock`].
    pub(crate) fn lock_in_time(&self) -> Result<Option<Lock>> {
        let end = Instant::now() + timeout::LOCK;
        loop {
            let lock = self.lock_now()?;
            if lock.is_some() || Instant::now() >= end {
                return Ok(lock);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// `create`: all is done, others may act. Its children may still have copies of the descriptor.
    ///
    /// # Errors
    /// `E_STATE`.
    pub(crate) fn unlock(&self) -> Result<()> {
        flock(&self.fd, Operation::Unlock).context(Code::State, "unlock", self.path.display())
    }

    /// Whether somebody has the lock for himself. The look takes nothing from whoever has it.
    pub(super) fn is_locked(&self) -> bool {
        match flock(&self.fd, Operation::SharedNow) {
            Ok(()) => {
                let _ = flock(&self.fd, Operation::Unlock);
                false
            }
            Err(_) => true,
        }
    }

    /// None where somebody else has it and it is not waited for.
    fn take(&self, how: Operation) -> Result<Option<Lock>> {
        let (step, object) = ("lock", self.path.display());
        let fd = self.fd.try_clone().context(Code::State, step, &object)?;
        match flock(&fd, how) {
            Err(Errno::EWOULDBLOCK) => return Ok(None),
            result => result.context(Code::State, step, &object)?,
        }
        let lock = Lock { fd };
        // Who has waited for the lock may have the one of a container that is gone.
        if self.is_there() {
            Ok(Some(lock))
        } else {
            Err(not_found(&self.id))
        }
    }
}
