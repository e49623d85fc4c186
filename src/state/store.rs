//! `--root`: which containers there are, and the reservation of an id.

use super::{Dir, STATE, State, not_found, ownership};
use crate::error::{Code, Context, Result};
use crate::id::Id;
use crate::step::{self, Step};
use crate::sys::flock::{Operation, flock};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{Pid, UnlinkatFlags, mkdir, unlinkat};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How the name of a directory begins that is no container's yet. Ids have no leading dot.
const UNNAMED: &str = ".new-";

/// How many names are tried that somebody else takes or takes away at the same time.
const ATTEMPTS: u32 = 16;

/// `--root`: the directory that holds all containers of this caller.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root`. Nothing is made yet.
    pub(crate) fn at(root: PathBuf) -> Store {
        Store { root }
    }

    /// Makes the container's directory with `state` as its first record, and takes its lock ([`Dir::unlock`]): from now on
    /// the id is taken.
    ///
    /// The directory gets its name when all of that is there, so that nobody ever sees it without a record or finds its lock
    /// free.
    ///
    /// # Errors
    /// `E_ID`, `E_EXISTS`, or `E_STATE` when `--root` cannot be made or written, or is somebody else's. Nothing is left.
    pub(crate) fn reserve(&self, state: &State) -> Result<Dir> {
        let id: Id = state.id.parse()?;
        step::begin(Step::Reserve)?;
        let parent = match open_root(&self.root) {
            Err(Errno::ENOENT) => self.make_root()?,
            result => result.context(Code::State, "open", self.root.display())?,
        };
        // What is made in another user's no later command would believe.
        ownership::check(&parent, &self.root)?;
        let path = self.root.join(&state.id);
        let (name, fd) = make_unnamed(&parent).context(Code::State, "make", path.display())?;
        let dir = Dir {
            id,
            path,
            parent,
            fd,
        };
        match dir.begin(state, &name) {
            Ok(()) => Ok(dir),
            Err(error) => {
                // The error of before is the one to report.
                let _ = remove_unnamed(&dir.parent, &name, &dir.fd);
                Err(error)
            }
        }
    }

    /// Removes what a `create` that was killed has left before the id was reserved.
    ///
    /// # Errors
    /// `E_STATE`; a missing `--root` has nothing in it.
    pub(crate) fn remove_unnamed(&self) -> Result<()> {
        let (Ok(parent), Ok(entries)) = (open_root(&self.root), std::fs::read_dir(&self.root))
        else {
            return Ok(());
        };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(UNNAMED))
            .try_for_each(|name| remove_abandoned(&parent, &name))
            .context(Code::State, "clear", self.root.display())
    }

    fn make_root(&self) -> Result<OwnedFd> {
        let shown = self.root.display();
        if let Some(above) = self.root.parent() {
            std::fs::create_dir_all(above).context(Code::State, "make", above.display())?;
        }
        match mkdir(&self.root, Mode::S_IRWXU) {
            // Somebody was faster.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).context(Code::State, "make", &shown),
        }
        // Nobody's link to another directory, and nobody else's: whoever owns the one above can put one there.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(AT_FDCWD, &self.root, flags, Mode::empty()).context(
            Code::State,
            "open",
            &shown,
        )?;
        ownership::check(&fd, &self.root)?;
        Ok(fd)
    }

    /// Opens an existing container's directory.
    ///
    /// # Errors
    /// `E_NOT_FOUND` with the words `does not exist` that callers look for.
    pub(crate) fn open(&self, id: &Id) -> Result<Dir> {
        let gone = || not_found(id);
        let parent = match open_root(&self.root) {
            Err(Errno::ENOENT) => return Err(gone()),
            result => result.context(Code::State, "open", self.root.display())?,
        };
        match self.open_in(parent, id) {
            Err(error) if matches!(error.errno, Some(Errno::ENOENT | Errno::ENOTDIR)) => {
                Err(gone())
            }
            result => result,
        }
    }

    fn open_in(&self, parent: OwnedFd, id: &Id) -> Result<Dir> {
        let fd = open_directory(&parent, id).context(
            Code::State,
            "open",
            self.root.join(&**id).display(),
        )?;
        ownership::check(&parent, &self.root)?;
        ownership::check(&fd, &self.root.join(&**id))?;
        Ok(Dir {
            id: id.clone(),
            path: self.root.join(&**id),
            parent,
            fd,
        })
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// `E_STATE`, with ENOENT where there is no such directory.
    pub(crate) fn ids(&self) -> Result<Vec<Id>> {
        let entries = std::fs::read_dir(&self.root);
        let entries = entries.context(Code::State, "list", self.root.display())?;
        let mut ids: Vec<Id> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| name.parse().ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

fn open_root(path: &Path) -> nix::Result<OwnedFd> {
    openat(
        AT_FDCWD,
        path,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

fn open_directory(parent: &OwnedFd, name: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// An empty directory in `parent` under a name of casulo's own, open and locked.
fn make_unnamed(parent: &OwnedFd) -> nix::Result<(String, OwnedFd)> {
    for attempt in 0..ATTEMPTS {
        let name = format!("{UNNAMED}{}-{attempt}", Pid::this());
        match mkdirat(parent, name.as_str(), Mode::from_bits_truncate(0o711)) {
            // Of a create that was killed, or that has this number in another pid namespace.
            Err(Errno::EEXIST) => {
                remove_abandoned(parent, &name)?;
                continue;
            }
            result => result?,
        }
        // Until it is locked it may be taken for an abandoned one.
        let fd = match open_directory(parent, &name) {
            Err(Errno::ENOENT) => continue,
            result => result?,
        };
        match flock(&fd, Operation::ExclusiveNow) {
            Err(Errno::EWOULDBLOCK) => continue,
            result => result?,
        }
        if fstat(&fd)?.st_nlink > 0 {
            return Ok((name, fd));
        }
    }
    Err(Errno::EEXIST)
}

/// Removes `name` unless somebody is at work on it.
fn remove_abandoned(parent: &OwnedFd, name: &str) -> nix::Result<()> {
    let fd = match open_directory(parent, name) {
        Err(Errno::ENOENT) => return Ok(()),
        result => result?,
    };
    match flock(&fd, Operation::ExclusiveNow) {
        Err(Errno::EWOULDBLOCK) => Ok(()),
        Err(errno) => Err(errno),
        // Between the look and the lock it may have become a container.
        Ok(()) => match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) if named.st_ino == fstat(&fd)?.st_ino => remove_unnamed(parent, name, &fd),
            Ok(_) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        },
    }
}

/// Removes a locked directory that has no other name yet.
fn remove_unnamed(parent: &OwnedFd, name: &str, fd: &OwnedFd) -> nix::Result<()> {
    let gone = |result| match result {
        Err(Errno::ENOENT) => Ok(()),
        result => result,
    };
    gone(unlinkat(fd.as_fd(), STATE, UnlinkatFlags::NoRemoveDir))?;
    gone(unlinkat(parent, name, UnlinkatFlags::RemoveDir))
}
