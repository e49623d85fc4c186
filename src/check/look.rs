//! Look-ups on the host: all that `check` makes in files, none of which changes anything. Parent, with the
//! caller's rights and view. /proc is read by path here: a wrong answer is only a wrong finding, and nothing
//! is written.

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, stat};
use nix::unistd::{AccessFlags, faccessat};
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

/// The host's files. Tests use another directory instead of `/`.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

/// A file on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The file's path without symlinks.
    pub path: PathBuf,
    /// The type of the file: `S_IFDIR`, `S_IFSOCK`, …
    pub kind: SFlag,
}

impl Files {
    /// The files of this host.
    pub(crate) fn of_host() -> Files {
        Files::below("/".into())
    }

    /// The files below a directory that looks like a host.
    pub(crate) fn below(root: PathBuf) -> Files {
        Files { root }
    }

    fn at(&self, path: &Path) -> PathBuf {
        let below: PathBuf = path
            .components()
            .filter(|it| !matches!(it, Component::RootDir))
            .collect();
        self.root.join(below)
    }

    /// Returns the text of a file; None if it cannot be read, whatever the reason.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = std::fs::read(self.at(path.as_ref())).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the status of the file at a path. Symlinks are followed.
    ///
    /// # Errors
    /// The errno of stat(2): ENOENT, EACCES and the like.
    pub(crate) fn stat(&self, path: impl AsRef<Path>) -> nix::Result<FileStat> {
        stat(&self.at(path.as_ref()))
    }

    /// Returns the file at a path with its real place, which the kernel gives for its descriptor. Symlinks
    /// are followed.
    ///
    /// # Errors
    /// The errno of the open: ENOENT, EACCES and the like.
    pub(crate) fn find(&self, path: impl AsRef<Path>) -> nix::Result<Found> {
        self.find_with(path.as_ref(), OFlag::empty())
    }

    /// Does as [`Files::find`], but a symlink at the end of the path is not followed.
    ///
    /// # Errors
    /// As [`Files::find`].
    pub(crate) fn find_itself(&self, path: impl AsRef<Path>) -> nix::Result<Found> {
        self.find_with(path.as_ref(), OFlag::O_NOFOLLOW)
    }

    fn find_with(&self, path: &Path, flags: OFlag) -> nix::Result<Found> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | flags;
        let fd = open(&self.at(path), flags, Mode::empty())?;
        let kind = SFlag::from_bits_retain(fstat(&fd)?.st_mode & libc::S_IFMT);
        let name = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let path = match name.strip_prefix(&self.root) {
            Ok(below) => Path::new("/").join(below),
            Err(_) => name,
        };
        Ok(Found { path, kind })
    }

    /// Checks that the caller may use the file at a path in this way, faccessat(2).
    ///
    /// # Errors
    /// ENOENT, EACCES, EROFS and the like.
    pub(crate) fn access(&self, path: impl AsRef<Path>, how: AccessFlags) -> nix::Result<()> {
        faccessat(AT_FDCWD, &self.at(path.as_ref()), how, AtFlags::AT_EACCESS)
    }

    /// Checks that there is a file at a path that the caller may execute.
    ///
    /// # Errors
    /// ENOENT, EACCES and the like; EISDIR for a directory.
    pub(crate) fn executable(&self, path: impl AsRef<Path>) -> nix::Result<()> {
        if self.find(path.as_ref())?.kind == SFlag::S_IFDIR {
            return Err(Errno::EISDIR);
        }
        self.access(path, AccessFlags::X_OK)
    }

    /// True if a program of this name is in PATH or in /usr/bin.
    pub(crate) fn has_program(&self, name: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(["/usr/bin".into()])
            .any(|directory| self.executable(directory.join(name)).is_ok())
    }

    /// Returns the names in a directory; none if it cannot be read.
    pub(crate) fn names(&self, path: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.at(path.as_ref()));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .map(|it| it.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Returns the nearest directory at or above `path` that exists.
    pub(crate) fn nearest<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        path.ancestors().find(|it| self.stat(it).is_ok())
    }
}
