//! Whose a record is. What somebody else may write is not believed: a record names processes to kill and directories
//! to remove, and a config names programs that are run as the caller.

use super::Dir;
use crate::config;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::geteuid;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// Refuses an open directory or file that belongs neither to the caller nor to root.
///
/// # Errors
/// `E_STATE` with the owner, and how to go on.
pub(super) fn check(fd: impl AsFd, path: &Path) -> Result<()> {
    let owner = fstat(fd)
        .context(Code::State, "look at", path.display())?
        .st_uid;
    let euid = geteuid().as_raw();
    if owner == euid || owner == 0 || without(Defence::OwnRecords) {
        return Ok(());
    }
    let text = format!(
        "{} belongs to uid {owner}, and casulo runs as uid {euid}: what it says is not believed",
        path.display()
    );
    Err(Error::new(Code::State, text)
        .hint("run casulo as that user, or remove the directory and what it speaks of by hand"))
}

impl Dir {
    /// The bytes of one of the record's files. No link is followed, and nothing is waited for: only a regular file
    /// of the caller's own is read.
    ///
    /// # Errors
    /// `E_STATE`, with ENOENT where it is missing.
    pub(super) fn read_file(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty()).context(
            Code::State,
            "read",
            path.display(),
        )?;
        let stat = fstat(&fd).context(Code::State, "look at", path.display())?;
        if SFlag::from_bits_retain(stat.st_mode & libc::S_IFMT) != SFlag::S_IFREG {
            let text = format!("{} is not a regular file", path.display());
            return Err(Error::new(Code::State, text));
        }
        check(&fd, &path)?;
        config::read(File::from(fd)).context(Code::State, "read", path.display())
    }
}
