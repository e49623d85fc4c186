//! A cgroup: its directory and its files. Parent, with the caller's privileges.

use crate::error::{Code, Context, Result};
use crate::sys::stat::inode;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::Pid;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How casulo has come to a cgroup's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It has made it.
    Made,
    /// It was there.
    Found,
}

/// A cgroup of a container, by directory fd and path.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// O_PATH: good for `CLONE_INTO_CGROUP`, for bpf(2) and as the base of `*at` calls.
    pub(super) directory: OwnedFd,
    pub(super) path: PathBuf,
    /// The directories above it that [`Cgroup::create`] made, from the top down.
    pub(super) parents: Vec<PathBuf>,
    /// Whether [`Cgroup::create`] made its directory. One that is only opened was found.
    pub(super) origin: Origin,
}

impl Cgroup {
    /// Opens an existing one by absolute host path (exec, kill, delete).
    ///
    /// # Errors
    /// `E_CGROUP`; its errno is ENOENT when there is no such cgroup (any more).
    pub(crate) fn open(path: &Path) -> Result<Cgroup> {
        Cgroup::open_at(AT_FDCWD, path, path.to_owned())
    }

    /// Opens the one at `path` below it.
    ///
    /// # Errors
    /// As for [`Cgroup::open`].
    pub(crate) fn open_below(&self, path: &Path) -> Result<Cgroup> {
        Cgroup::open_at(self.directory.as_fd(), path, self.path.join(path))
    }

    fn open_at(base: BorrowedFd<'_>, path: &Path, name: PathBuf) -> Result<Cgroup> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = openat(base, path, flags, Mode::empty()).context(
            Code::Cgroup,
            "open cgroup",
            name.display(),
        )?;
        Ok(Cgroup {
            directory,
            path: name,
            parents: Vec::new(),
            origin: Origin::Found,
        })
    }

    /// Opens its list of processes to be written: who writes `0` moves itself into it, with the rights of who has
    /// opened it (cgroups(7), "Delegation containment").
    ///
    /// # Errors
    /// `E_CGROUP`
    pub(crate) fn open_processes(&self) -> Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        openat(&self.directory, "cgroup.procs", flags, Mode::empty()).context(
            Code::Cgroup,
            "open cgroup.procs of",
            self.path.display(),
        )
    }

    /// The number that no other cgroup of this boot has had: of its directory's inode (cgroup ids are 64 bits wide
    /// since Linux 5.5, and not used again).
    ///
    /// # Errors
    /// `E_CGROUP` when the directory is not one of a cgroup.
    pub(crate) fn id(&self) -> Result<u64> {
        let look = || match fstatfs(&self.directory)?.filesystem_type() {
            CGROUP2_SUPER_MAGIC => Ok(inode(&fstat(&self.directory)?)),
            _ => Err(Errno::EINVAL),
        };
        look().context(Code::Cgroup, "look at cgroup", self.path.display())
    }

    /// For `CLONE_INTO_CGROUP`.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.directory.as_fd())
    }

    /// Absolute host path of its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a process into it.
    ///
    /// # Errors
    /// `E_CGROUP`
    pub(crate) fn add(&self, process: Pid) -> Result<()> {
        self.write("cgroup.procs", &process.to_string()).context(
            Code::Cgroup,
            &format!("move process {process} to"),
            self.path.display(),
        )
    }

    /// The text of one of its files.
    pub(super) fn read(&self, file: &str) -> nix::Result<String> {
        read(self.directory.as_fd(), Path::new(file))
    }

    /// Writes one of its files.
    pub(super) fn write(&self, file: &str, value: &str) -> nix::Result<()> {
        write(self.directory.as_fd(), Path::new(file), value)
    }

    /// Gives the directory and the files by which its processes are ended their modes back. They belong to an ordinary
    /// user, and so to the root of the user's container, who may have taken all rights away (chmod(2)). Root needs
    /// none. What fails here fails again where the right is needed.
    pub(super) fn take_rights_back(&self) {
        const MODES: [(&str, libc::mode_t); 5] = [
            ("", 0o755),
            ("cgroup.kill", 0o200),
            ("cgroup.procs", 0o644),
            ("cgroup.freeze", 0o644),
            ("cgroup.events", 0o444),
        ];
        for (file, mode) in MODES {
            let path = format!("/proc/self/fd/{}/{file}", self.directory.as_raw_fd());
            let mode = Mode::from_bits_retain(mode);
            let path = path.trim_end_matches('/');
            let _ = fchmodat(AT_FDCWD, path, mode, FchmodatFlags::FollowSymlink);
        }
    }
}

/// The number behind `key` in a flat keyed file (cgroup.events, memory.events).
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    value.parse().ok()
}

/// Writes a cgroup file: one open and one write(2), as the kernel takes a value whole.
pub(super) fn write(directory: BorrowedFd<'_>, file: &Path, value: &str) -> nix::Result<()> {
    let fd = openat(
        directory,
        file,
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    match nix::unistd::write(&fd, value.as_bytes())? {
        n if n == value.len() => Ok(()),
        _ => Err(Errno::EIO),
    }
}

/// Reads a cgroup or proc file.
pub(super) fn read(directory: BorrowedFd<'_>, file: &Path) -> nix::Result<String> {
    read_all(&openat(
        directory,
        file,
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?)
}

/// Reads a cgroup file of one line, which the kernel hands out in one piece: one open and one read(2).
pub(super) fn read_line(directory: BorrowedFd<'_>, file: &Path) -> nix::Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let fd = openat(directory, file, flags, Mode::empty())?;
    let mut buffer = [0; 1024];
    let length = nix::unistd::read(&fd, &mut buffer)?;
    let text = buffer.get(..length).unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Reads an open file from where it stands to its end.
pub(super) fn read_all(fd: &OwnedFd) -> nix::Result<String> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match nix::unistd::read(fd, &mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            n => text.extend_from_slice(buffer.get(..n).unwrap_or_default()),
        }
    }
}
