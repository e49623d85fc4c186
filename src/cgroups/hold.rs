//! Whose a cgroup is: an extended attribute of its directory names the record of the container that uses it, from
//! before anything is written there until the directory is removed. The kernel lets one of several set it. Parent.
//!
//! The directories above that are made for it name the record, too, so that it is known whose they are when `create` was
//! killed before it recorded which it has made ([`crate::state::Identity`]).
//!
//! A look at the processes is not enough: between the look and the birth of init another `create` may look, too,
//! and a container that has ended has none, though its record still stands for the cgroup.

use super::fs::{Cgroup, Origin};
use crate::error::{Code, Context, Error, Result};
use crate::mark;
use crate::step::{self, Step};
use crate::sys::stat::identity;
use crate::sys::xattr::{create_xattr, create_xattr_at, fgetxattr, fremovexattr};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, fstat, lstat};
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The attribute, and the one for callers without CAP_SYS_ADMIN on the host (xattr(7)). What is inside a
/// container cannot read or set the first.
const NAMES: [&CStr; 2] = [c"trusted.casulo.record", c"user.casulo.record"];

/// More than a path and two numbers.
const MOST: usize = 8192;

/// A container's record: its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Absolute on the host.
    pub path: PathBuf,
    /// `st_dev` and `st_ino`: another record may come to have the path.
    pub directory: (u64, u64),
}

impl Holder {
    /// True while the record is there.
    fn is_live(&self) -> bool {
        lstat(&self.path).is_ok_and(|it| identity(&it) == self.directory)
    }
}

/// Names `holder` on a directory above its cgroup, which was made just now. Where that fails the directory's mode still says
/// that casulo made it.
pub(super) fn hold_parent(directory: &Path, holder: &Holder) {
    if let Ok(text) = serde_json::to_vec(holder) {
        let _ = NAMES
            .iter()
            .find(|name| create_xattr_at(directory, name, &text).is_ok());
    }
}

impl Cgroup {
    /// Takes the cgroup for the record `holder`, or refuses it. `existed` where casulo has not made the directory
    /// just now: then the hold of a record that is gone gives way.
    ///
    /// Nobody holds where the kernel keeps no such attributes (user.* before Linux 5.7), and where the caller has
    /// no right to set either of them: an ordinary user, to whom the list of processes of a cgroup was given
    /// and not its directory, may use it all the same.
    ///
    /// # Errors
    /// `E_CGROUP` when another live record holds it, or it cannot be held.
    pub(super) fn hold(&self, holder: &Holder, directories: Origin) -> Result<()> {
        let failed = |errno| {
            let object = self.path.display().to_string();
            Error::step(Code::Cgroup, "hold cgroup", object, errno)
        };
        let _lock = match directories {
            Origin::Made => None,
            Origin::Found => Some(self.give_way(holder)?),
        };
        let text = serde_json::to_vec(holder).map_err(|_a_path| failed(Errno::EILSEQ))?;
        for name in NAMES {
            let set = || create_xattr(self.directory.as_fd(), name, &text);
            match step::begin_or_errno(Step::HoldCgroup).and_then(|()| set()) {
                Ok(()) => return Ok(()),
                Err(Errno::EPERM | Errno::EACCES | Errno::EOPNOTSUPP) => {}
                Err(Errno::EEXIST) => return Err(self.is_held(self.holder().as_ref())),
                Err(errno) => {
                    if directories == Origin::Made && self.holder().is_none() {
                        let _ = std::fs::remove_dir(&self.path);
                    }
                    return Err(failed(errno));
                }
            }
        }
        log::debug!("{} is not held", self.path.display());
        Ok(())
    }

    /// Takes the hold of a record that is gone away, one casulo at a time: the lock is for the caller to keep
    /// until it holds the cgroup.
    fn give_way(&self, holder: &Holder) -> Result<Flock<OwnedFd>> {
        let file = self
            .lockable()
            .context(Code::Cgroup, "open cgroup", self.path.display())?;
        // Who has it does as little as this.
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_locked| self.is_held(None))?;
        match self.holder() {
            Some(other) if other != *holder && other.is_live() => Err(self.is_held(Some(&other))),
            _ => {
                // Nobody's, or not ours to remove: then it cannot be set, either.
                self.release();
                Ok(lock)
            }
        }
    }

    /// Gives a cgroup back that stays.
    pub(crate) fn release(&self) {
        if let Ok(directory) = self.readable() {
            for name in NAMES {
                let _ = fremovexattr(directory.as_fd(), name);
            }
        }
    }

    /// The record that holds it, by the attribute.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let directory = self.readable().ok()?;
        let mut text = [0; MOST];
        let length = NAMES
            .iter()
            .find_map(|name| fgetxattr(directory.as_fd(), name, &mut text).ok())?;
        serde_json::from_slice(text.get(..length)?).ok()
    }

    /// Whether casulo has made its directory, by the mode that it has from the first moment on.
    pub(crate) fn was_made(&self) -> bool {
        fstat(&self.directory).is_ok_and(|stat| mark::is_on(&stat))
    }

    /// What of it is locked: a file that only who may kill all in it can open. Everybody can open the directory, and lock
    /// it then; it stands in for a caller to whom no more than the directory was given.
    fn lockable(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        openat(&self.directory, "cgroup.kill", flags, Mode::empty()).or_else(|_| self.readable())
    }

    fn readable(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.directory, ".", flags, Mode::empty())
    }

    fn is_held(&self, holder: Option<&Holder>) -> Error {
        let why = match holder {
            Some(holder) => format!("is that of the container in {}", holder.path.display()),
            None => "is just being taken by another container".to_owned(),
        };
        Error {
            step: "use cgroup".to_owned(),
            object: self.path.display().to_string(),
            ..Error::new(Code::Cgroup, why)
        }
        .hint("delete that container, or give this one a cgroupsPath of its own")
    }
}
