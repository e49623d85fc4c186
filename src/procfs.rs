//! Access to /proc, which all goes through a [`ProcFs`].
//!
//! A write to `/proc/self/attr/exec` or `/proc/sys/…` by path can be redirected by a process that controls the mounts
//! (CVE-2019-16884, CVE-2025-52881). A [`ProcFs`] is either a procfs mounted for this process alone, or the host's
//! own /proc, checked by its magic number. Paths in it are resolved by `openat2(RESOLVE_NO_XDEV |
//! RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH)`.

use crate::defence::{Defence, without};
use crate::sys::mount;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The root of a trusted procfs. Paths given to its methods are relative to it, without a leading slash.
#[derive(Debug)]
pub(crate) struct ProcFs(OwnedFd);

impl ProcFs {
    /// Opens the /proc of the host, for the parent, which never leaves the host's mount namespace.
    ///
    /// # Errors
    /// The errno of the open, such as ENOENT; EXDEV if /proc is not a procfs.
    pub(crate) fn host() -> nix::Result<ProcFs> {
        let fd = openat(
            AT_FDCWD,
            "/proc",
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        ProcFs::checked(fd)
    }

    /// For the child: makes a procfs of the calling process's own pid namespace, mounted nowhere. If a user namespace
    /// may not mount one (because its /proc is partly overmounted), opens the /proc of its mount namespace instead,
    /// which before the pivot is still the host's.
    ///
    /// # Errors
    /// The errno of making or mounting it, or of the fallback.
    pub(crate) fn private() -> nix::Result<ProcFs> {
        let attr = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        let fresh = mount::fsopen(c"proc").and_then(|fs| {
            mount::fsconfig_create(fs.as_fd())?;
            mount::fsmount(fs.as_fd(), attr)
        });
        match fresh {
            Ok(fd) => ProcFs::checked(fd),
            Err(Errno::EPERM | Errno::EACCES) => ProcFs::host(),
            Err(errno) => Err(errno),
        }
    }

    /// For the child: opens the directory in which the number of each of its descriptors leads to the descriptor's
    /// file. The directory is in a private procfs: others may share the child's mount namespace, and mount on /proc.
    ///
    /// # Errors
    /// As [`ProcFs::private`].
    pub(crate) fn own_descriptors() -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        if without(Defence::OwnDescriptors) {
            return openat(AT_FDCWD, "/proc/self/fd", flags, Mode::empty());
        }
        ProcFs::private()?.open("self/fd", flags)
    }

    fn checked(fd: OwnedFd) -> nix::Result<ProcFs> {
        if fstatfs(&fd)?.filesystem_type() != PROC_SUPER_MAGIC {
            return Err(Errno::EXDEV);
        }
        Ok(ProcFs(fd))
    }

    /// Opens `path` (relative, below this procfs, through no magic link) with `flags`.
    ///
    /// # Errors
    /// The kernel's errno; EXDEV or ELOOP for a path that leaves the procfs.
    pub(crate) fn open(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
            ResolveFlag::RESOLVE_NO_XDEV
                | ResolveFlag::RESOLVE_NO_MAGICLINKS
                | ResolveFlag::RESOLVE_BENEATH,
        );
        openat2(&self.0, path, how)
    }

    /// Opens the file to which the magic link at `path` leads; the link is the last component (proc_pid_root(5)).
    ///
    /// # Errors
    /// As [`ProcFs::open`]; EACCES if the caller may not trace the process.
    pub(crate) fn open_link(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        openat(&self.0, path, flags | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Returns the text of the file at `path`. Bytes that are not UTF-8, as in a command's name, are replaced.
    ///
    /// # Errors
    /// The errno of the open or of a read.
    pub(crate) fn read_to_string(&self, path: &str) -> nix::Result<String> {
        let fd = self.open(path, OFlag::O_RDONLY)?;
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match nix::unistd::read(&fd, &mut buffer)? {
                0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
                n => text.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            }
        }
    }

    /// Opens `path` for a write that may come later, when this procfs is out of reach. [`ProcFs::write`] uses it too.
    ///
    /// # Errors
    /// As [`ProcFs::open`].
    pub(crate) fn open_for_writing(&self, path: &str) -> nix::Result<OwnedFd> {
        if without(Defence::PrivateProc) {
            openat(
                AT_FDCWD,
                Path::new("/proc").join(path).as_path(),
                OFlag::O_WRONLY,
                Mode::empty(),
            )
        } else {
            self.open(path, OFlag::O_WRONLY)
        }
    }

    /// True if process `pid` has executed a program since it was born; None if it is gone.
    pub(crate) fn has_executed(&self, pid: Pid) -> Option<bool> {
        let mut buffer = [0; 1024];
        let stat = self.read_once(&format!("{pid}/stat"), &mut buffer);
        stat.ok().and_then(has_executed)
    }

    /// Returns the bytes that one read(2) gives of the file at `path`: all of it if procfs makes it in one piece and
    /// `buffer` is long enough.
    ///
    /// # Errors
    /// The errno of the open or of the read.
    pub(crate) fn read_once<'a>(&self, path: &str, buffer: &'a mut [u8]) -> nix::Result<&'a [u8]> {
        let fd = self.open(path, OFlag::O_RDONLY)?;
        let length = nix::unistd::read(&fd, buffer)?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// Writes `value` to `path` in one write(2), as procfs files demand.
    ///
    /// # Errors
    /// The errno of the open or of the write.
    pub(crate) fn write(&self, path: &str, value: &[u8]) -> nix::Result<()> {
        let fd = self.open_for_writing(path)?;
        match nix::unistd::write(&fd, value)? {
            n if n == value.len() => Ok(()),
            _ => Err(Errno::EIO),
        }
    }
}

impl AsFd for ProcFs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// True if a process has called execve(2) since it was born. `stat` is the text of its `/proc/PID/stat`: execve
/// clears the flag PF_FORKNOEXEC of linux/sched.h.
fn has_executed(stat: &[u8]) -> Option<bool> {
    const PF_FORKNOEXEC: u32 = 0x40;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat
        .get(end + 1..)?
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    let flags: u32 = std::str::from_utf8(fields.nth(6)?).ok()?.parse().ok()?;
    Some(flags & PF_FORKNOEXEC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_executed_is_told_by_its_flags() {
        let line = |flags: u32| format!("42 (a) b) (c) S 1 42 42 0 -1 {flags} 1 0 0 0");
        assert_eq!(has_executed(line(0x40_0040).as_bytes()), Some(false));
        assert_eq!(has_executed(line(0x40_0000).as_bytes()), Some(true));
        assert_eq!(has_executed(b"42 (a"), None);
    }
}
