//! A procfs of a pid namespace that the caller is not in, for an entrant. A procfs belongs to the pid namespace of who
//! asks for it, so an outsider would mount the host's.

use crate::sys::mount::{fsconfig_set_fd, fsopen};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{fstat, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A context of fsopen(2) for the procfs of the pid `namespace`.
///
/// # Errors
/// EINVAL from a kernel that cannot be told; EPERM where the namespace is not the caller's user namespace's.
pub(super) fn open(namespace: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let fs = fsopen(c"proc")?;
    // Linux 6.18; Documentation/filesystems/proc.rst.
    fsconfig_set_fd(fs.as_fd(), c"pidns", namespace)?;
    Ok(fs)
}

/// That `mount` is a procfs of the pid `namespace`: its process 1 is in it.
///
/// # Errors
/// EPERM where it is not.
pub(super) fn verify(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> nix::Result<()> {
    if fstatfs(mount)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::EPERM);
    }
    let (found, wanted) = (
        fstatat(mount, "1/ns/pid", AtFlags::empty())?,
        fstat(namespace)?,
    );
    match (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}
