//! The mount API by file descriptor (Linux 5.2 to 5.12, one call of 6.15): trees, new file systems, attributes.

use super::check;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    /// The `MOUNT_ATTR_*` flags to set.
    pub attr_set: u64,
    /// The `MOUNT_ATTR_*` flags to clear.
    pub attr_clr: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE` or 0.
    pub propagation: u64,
    /// The fd of a user namespace, for `MOUNT_ATTR_IDMAP`.
    pub userns_fd: u64,
}

fn owned(fd: libc::c_long) -> OwnedFd {
    #[allow(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
    // SAFETY: callers pass a descriptor that the kernel has just returned and nobody else owns.
    unsafe {
        OwnedFd::from_raw_fd(fd as i32)
    }
}

/// `int open_tree(int dirfd, const char *path, unsigned flags)`, open_tree(2), always CLOEXEC: returns an fd of
/// the mount at `path`, or with `OPEN_TREE_CLONE` of a detached copy. `flags` are `OPEN_TREE_CLONE`,
/// `AT_RECURSIVE`, `AT_EMPTY_PATH`, `AT_SYMLINK_NOFOLLOW`.
///
/// # Errors
/// The kernel's errno; EPERM without CAP_SYS_ADMIN over the mount namespace, EINVAL for a tree
/// that may not be cloned (unbindable, or with locked mounts).
pub(crate) fn open_tree(dir: BorrowedFd<'_>, path: &CStr, flags: u32) -> nix::Result<OwnedFd> {
    // SAFETY: `path` is a live C string; the rest are integers.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags | libc::OPEN_TREE_CLOEXEC,
        )
    })?;
    Ok(owned(fd))
}

/// The number of open_tree_attr(2) on every architecture; libc does not have it yet.
const SYS_OPEN_TREE_ATTR: libc::c_long = 467;

/// `int open_tree_attr(dirfd, path, flags, attr, size)`, open_tree_attr(2) (Linux 6.15): [`open_tree`], and then
/// [`mount_setattr`] of the new tree, of all of it if `flags` has `AT_RECURSIVE`. `flags` must have
/// `OPEN_TREE_CLONE`.
///
/// # Errors
/// ENOSYS on an older kernel; the errno of either call.
pub(crate) fn open_tree_attr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: u32,
    attr: &MountAttr,
) -> nix::Result<OwnedFd> {
    // SAFETY: `path` is a live C string, `attr` a live #[repr(C)] mount_attr whose own size is passed.
    let fd = check(unsafe {
        libc::syscall(
            SYS_OPEN_TREE_ATTR,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags | libc::OPEN_TREE_CLOEXEC,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(owned(fd))
}

/// Returns a detached copy of the mount at `path` with `attr`. Tries [`open_tree_attr`], and if that fails the
/// two calls that it stands for.
///
/// # Errors
/// The errno of either of the two calls.
pub(crate) fn clone_with(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: u32,
    attr: &MountAttr,
) -> nix::Result<OwnedFd> {
    let flags = flags | libc::OPEN_TREE_CLONE;
    open_tree_attr(dir, path, flags, attr).or_else(|_older_or_refused| {
        let tree = open_tree(dir, path, flags)?;
        let recursive = flags & libc::AT_RECURSIVE.cast_unsigned();
        mount_setattr(tree.as_fd(), recursive.cast_signed(), attr)?;
        Ok(tree)
    })
}

/// `int move_mount(from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)`,
/// move_mount(2): attaches the tree `from` on the object that `to` stands for.
///
/// # Errors
/// The kernel's errno; ENOTDIR when one side is a directory and the other is not.
pub(crate) fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: both paths are static empty C strings; the rest are integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            to.as_raw_fd(),
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    check(result).map(drop)
}

/// `int move_mount(from, "", directory, name, MOVE_MOUNT_F_EMPTY_PATH)`, move_mount(2): attaches the tree `from`
/// on the object `name` in `directory`. A `name` that is a symlink is not followed.
///
/// # Errors
/// The kernel's errno; ENOTDIR when one side is a directory and the other is not.
pub(crate) fn move_mount_to(
    from: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    name: &CStr,
) -> nix::Result<()> {
    // SAFETY: `name` and the other path are C strings that outlive the call; the rest are integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            directory.as_raw_fd(),
            name.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    check(result).map(drop)
}

/// `int mount_setattr(fd, "", AT_EMPTY_PATH | flags, attr, size)`, mount_setattr(2).
/// `flags` is 0 or `AT_RECURSIVE`.
///
/// # Errors
/// The kernel's errno; EPERM for a locked flag, EINVAL for a file system that cannot be idmapped.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    flags: i32,
    attr: &MountAttr,
) -> nix::Result<()> {
    // SAFETY: `attr` is a live #[repr(C)] mount_attr and its own size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// `int fsopen(const char *fsname, FSOPEN_CLOEXEC)`, fsopen(2): returns a context for a new file system.
///
/// # Errors
/// ENODEV for an unknown file system type, EPERM without CAP_SYS_ADMIN.
pub(crate) fn fsopen(fstype: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: `fstype` is a live C string.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), libc::FSOPEN_CLOEXEC) })?;
    Ok(owned(fd))
}

/// `fsconfig(fs, FSCONFIG_SET_FLAG, key)` or, with a value, `FSCONFIG_SET_STRING`, fsconfig(2): sets a
/// parameter.
///
/// # Errors
/// EINVAL for a parameter the file system does not know.
pub(crate) fn fsconfig_set(
    fs: BorrowedFd<'_>,
    key: &CStr,
    value: Option<&CStr>,
) -> nix::Result<()> {
    let (command, value) = match value {
        None => (libc::FSCONFIG_SET_FLAG, std::ptr::null()),
        Some(value) => (libc::FSCONFIG_SET_STRING, value.as_ptr()),
    };
    // SAFETY: `key` and `value` are live C strings, or `value` is null as SET_FLAG wants it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            fs.as_raw_fd(),
            command,
            key.as_ptr(),
            value,
            0,
        )
    };
    check(result).map(drop)
}

/// `fsconfig(fs, FSCONFIG_SET_FD, key, NULL, value)`, fsconfig(2): sets a parameter to a descriptor.
///
/// # Errors
/// EINVAL for a parameter the file system does not know.
pub(crate) fn fsconfig_set_fd(
    fs: BorrowedFd<'_>,
    key: &CStr,
    value: BorrowedFd<'_>,
) -> nix::Result<()> {
    // SAFETY: `key` is a live C string; SET_FD wants a null value.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            fs.as_raw_fd(),
            libc::FSCONFIG_SET_FD,
            key.as_ptr(),
            std::ptr::null::<u8>(),
            value.as_raw_fd(),
        )
    };
    check(result).map(drop)
}

/// `fsconfig(fs, FSCONFIG_CMD_CREATE)`, fsconfig(2): makes the superblock.
///
/// # Errors
/// The errno that mount(2) of this type would return.
pub(crate) fn fsconfig_create(fs: BorrowedFd<'_>) -> nix::Result<()> {
    let null = std::ptr::null::<u8>();
    // SAFETY: CMD_CREATE wants null key and value.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            fs.as_raw_fd(),
            libc::FSCONFIG_CMD_CREATE,
            null,
            null,
            0,
        )
    };
    check(result).map(drop)
}

/// `int fsmount(fs, FSMOUNT_CLOEXEC, attr)`, fsmount(2): returns a detached mount of the superblock. `attr` are
/// `MOUNT_ATTR_*`.
///
/// # Errors
/// EPERM where a user namespace may not see this file system (mount_too_revealing).
pub(crate) fn fsmount(fs: BorrowedFd<'_>, attr: u64) -> nix::Result<OwnedFd> {
    // SAFETY: integers only.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            fs.as_raw_fd(),
            libc::FSMOUNT_CLOEXEC,
            attr,
        )
    })?;
    Ok(owned(fd))
}
