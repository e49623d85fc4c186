//! `--root`: which containers there are, and the reservation of an id.

use super::{Dir, deleted_meanwhile, not_found, ownership};
use crate::error::{Code, Context, Error, Result};
use crate::testing::fault::{self, Step};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// `--root`: the folder that holds all containers of this caller.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// Checks a container id: `[A-Za-z0-9_+.-]+`, not `.` or `..`, at most 1024 bytes, no leading dot
/// (folders that begin with one are casulo's own).
///
/// # Errors
/// `E_ID`.
pub fn check_id(id: &str) -> Result<()> {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "_+.-".contains(*c);
    let why = match id.chars().find(|c| !allowed(c)) {
        Some(c) => format!("invalid character {c:?}"),
        None if id.is_empty() => "it is empty".to_owned(),
        None if id.len() > 1024 => "it is longer than 1024 characters".to_owned(),
        None if id.starts_with('.') => "it begins with a dot".to_owned(),
        None => return Ok(()),
    };
    let shown: String = id.chars().take(64).collect();
    let text = format!("invalid container ID {shown:?}: {why}");
    Err(Error::new(Code::Id, text)
        .hint("letters, digits and _ + . - are allowed, and no leading dot"))
}

impl Store {
    /// The store at `root`. Nothing is made yet.
    pub fn at(root: PathBuf) -> Store {
        Store { root }
    }

    /// The folder of compiled seccomp filters.
    pub fn seccomp_cache(&self) -> PathBuf {
        self.root.join(".cache/seccomp")
    }

    /// Makes the container's folder: from now on the id is taken.
    ///
    /// # Errors
    /// `E_ID`, `E_EXISTS`, or `E_STATE` when `--root` cannot be made or written.
    pub fn reserve(&self, id: &str) -> Result<Dir> {
        check_id(id)?;
        fault::at(Step::Reserve)?;
        let parent = match open_folder(&self.root) {
            Err(Errno::ENOENT) => self.make_root()?,
            result => result.context(Code::State, "open", self.root.display())?,
        };
        match mkdirat(&parent, id, Mode::from_bits_truncate(0o711)) {
            Err(Errno::EEXIST) => {
                return Err(Error::new(
                    Code::Exists,
                    format!("container {id} already exists"),
                ));
            }
            result => result.context(Code::State, "make", self.root.join(id).display())?,
        }
        match self.open_in(parent, id) {
            Err(error) if error.errno == Some(Errno::ENOENT) => Err(deleted_meanwhile(id)),
            result => result,
        }
    }

    fn make_root(&self) -> Result<OwnedFd> {
        std::fs::create_dir_all(&self.root).context(Code::State, "make", self.root.display())?;
        let fd = open_folder(&self.root).context(Code::State, "open", self.root.display())?;
        fchmod(&fd, Mode::from_bits_truncate(0o700)).context(
            Code::State,
            "chmod",
            self.root.display(),
        )?;
        Ok(fd)
    }

    /// Opens an existing container's folder.
    ///
    /// # Errors
    /// `E_ID`; `E_NOT_FOUND` with the words `does not exist` that callers look for.
    pub fn open(&self, id: &str) -> Result<Dir> {
        check_id(id)?;
        let gone = || not_found(id);
        let parent = match open_folder(&self.root) {
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

    fn open_in(&self, parent: OwnedFd, id: &str) -> Result<Dir> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&parent, id, flags, Mode::empty()).context(
            Code::State,
            "open",
            self.root.join(id).display(),
        )?;
        ownership::check(&parent, &self.root)?;
        ownership::check(&fd, &self.root.join(id))?;
        Ok(Dir {
            id: id.to_owned(),
            path: self.root.join(id),
            parent,
            fd,
        })
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// `E_STATE`; a missing `--root` is an empty list.
    pub fn ids(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.context(Code::State, "list", self.root.display())?,
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| check_id(name).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

fn open_folder(path: &Path) -> nix::Result<OwnedFd> {
    openat(
        AT_FDCWD,
        path,
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}
