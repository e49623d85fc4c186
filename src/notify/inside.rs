//! The container's end of the proxy: a socket in a tmpfs that is the container's own.
//!
//! No part of the state directory is visible inside, where a process that may remount it could fill it. The tmpfs is
//! mounted with the container's other mounts and has room for nothing but the socket. The socket is bound when the
//! container is started, by a child of the parent. The child joins the container's mount namespace (and before it its
//! user namespace) and no other: it is in the host's pid namespace, so no process inside sees it.

use super::SOCKET;
use crate::error::{Code, Error, Result};
use crate::namespaces::{Kind, Kinds, become_root_of_joined};
use crate::sync::answers;
use crate::sys::child;
use crate::sys::clone::Side;
use crate::sys::mount::{MountAttr, mount_setattr, open_tree};
use crate::sys::namespace::stop_being_dumpable;
use crate::timeout;
use crate::waiting;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::setns;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::unistd::{Pid, fchdir};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The number of inodes of the tmpfs: its root, the socket, and what their labels may take.
pub(super) const INODES: u64 = 4;

/// Parent: returns the container's socket, bound in `directory`, a path in the mount namespace of the container's
/// init `pidfd`. `namespaces` are the kinds of init's namespaces that are not the caller's.
///
/// # Errors
/// `E_IO` with the step's errno: EPERM if the caller may not join init's namespaces, ETIMEDOUT if the child does not
/// answer.
pub(super) fn bound_in(
    pidfd: BorrowedFd<'_>,
    namespaces: Kinds,
    directory: &Path,
) -> Result<OwnedFd> {
    let failed = |errno| {
        let object = directory.join(SOCKET).display().to_string();
        Error::step(Code::Io, "bind the notify socket", object, errno)
    };
    let (ours, theirs) = answers::pair().map_err(failed)?;
    let parent = Pid::this();
    let pid = match child::fork().map_err(failed)? {
        Side::Child => {
            drop(ours);
            let sent = match enter_and_bind(parent, pidfd, namespaces, directory) {
                Ok(socket) => theirs.give(socket.as_fd()),
                Err(errno) => theirs.fail(errno),
            };
            // If the parent is gone, the socket or the errno is of no use.
            child::leave(i32::from(sent.is_err()));
        }
        Side::Parent(pid) => pid,
    };
    drop(theirs);
    let received = loop {
        let mut fds = [PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
        match poll(
            &mut fds,
            PollTimeout::try_from(timeout::NOTIFY_SOCKET).expect("ten seconds"),
        ) {
            Err(Errno::EINTR) => {}
            Err(errno) => break Err(errno),
            Ok(0) => break Err(Errno::ETIMEDOUT),
            Ok(_) => break ours.take(),
        }
    };
    waiting::end(pid);
    received.map_err(failed)
}

/// The child: joins the container's mount namespace, with root's privileges over it, and binds the socket.
fn enter_and_bind(
    parent: Pid,
    pidfd: BorrowedFd<'_>,
    namespaces: Kinds,
    directory: &Path,
) -> nix::Result<OwnedFd> {
    child::end_with(parent)?;
    stop_being_dumpable()?;
    let joined = namespaces.and(Kinds::from_iter([Kind::User, Kind::Mount]));
    setns(pidfd, joined.clone_flags())?;
    if joined.has(Kind::User) {
        become_root_of_joined().map_err(|error| error.errno.unwrap_or(Errno::EPERM))?;
    }
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = openat2(AT_FDCWD, directory, how)?;
    // A symlink of the image may have led the path to a file system of the host's.
    let about = fstatfs(&found)?;
    if about.filesystem_type() != TMPFS_MAGIC || about.files() != INODES {
        return Err(Errno::EXDEV);
    }
    // The mount that is visible inside stays read-only; this copy of it does not.
    let flags = libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH.cast_unsigned();
    let directory = open_tree(found.as_fd(), c"", flags)?;
    mount_setattr(
        directory.as_fd(),
        0,
        &MountAttr {
            attr_clr: libc::MOUNT_ATTR_RDONLY,
            ..MountAttr::default()
        },
    )?;
    fchdir(&directory)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(SOCKET)?)?;
    // Every user of the container may send to it.
    let everybody = Mode::from_bits_truncate(0o777);
    fchmodat(&directory, SOCKET, everybody, FchmodatFlags::FollowSymlink)?;
    Ok(fd)
}
