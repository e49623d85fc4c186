//! The container's lock, on its folder: commands that change it act one after another. Any casulo process
//! on the host.

use super::{Dir, not_found};
use crate::error::{Code, Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How long [`Dir::lock_in_time`] waits, and how long between two looks.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(10);

impl Dir {
    /// Waits for and takes the container's lock.
    /// Released when the returned value is dropped, or when casulo ends.
    ///
    /// # Errors
    /// `E_NOT_FOUND` when the container was deleted meanwhile: the id may be another one's by now.
    /// `E_STATE`.
    pub fn lock(&self) -> Result<Flock<OwnedFd>> {
        self.check_lock(self.try_lock(FlockArg::LockExclusive))
    }

    /// [`Dir::lock`], but who has the lock may be stopped or hang: after [`PATIENCE`] there is none.
    ///
    /// # Errors
    /// As [`Dir::lock`].
    pub fn lock_in_time(&self) -> Result<Option<Flock<OwnedFd>>> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.try_lock(FlockArg::LockExclusiveNonblock) {
                Err(Errno::EWOULDBLOCK) if Instant::now() >= end => return Ok(None),
                Err(Errno::EWOULDBLOCK) => std::thread::sleep(PAUSE),
                lock => return self.check_lock(lock).map(Some),
            }
        }
    }

    fn try_lock(&self, how: FlockArg) -> nix::Result<Flock<OwnedFd>> {
        let fd = self
            .fd
            .try_clone()
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        Flock::lock(fd, how).map_err(|(_, errno)| errno)
    }

    /// Who has waited for the lock may have the one of a container that is gone.
    fn check_lock(&self, lock: nix::Result<Flock<OwnedFd>>) -> Result<Flock<OwnedFd>> {
        let lock = lock.context(Code::State, "lock", self.path.display())?;
        match self.is_there() {
            true => Ok(lock),
            false => Err(not_found(&self.id)),
        }
    }
}
