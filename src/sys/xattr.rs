//! Extended attributes by file descriptor: xattr(7).

use super::check;
use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn length(result: libc::ssize_t) -> nix::Result<usize> {
    check(result as libc::c_long)
        .map(|length| usize::try_from(length).expect("what the call returned without an error"))
}

/// `ssize_t flistxattr(int fd, char *list, size_t size)`, flistxattr(2): writes the names, each with its NUL, to
/// `list`. Returns their length in bytes.
///
/// # Errors
/// ERANGE when `list` is too short, ENOTSUP.
pub(crate) fn flistxattr(fd: BorrowedFd<'_>, list: &mut [u8]) -> nix::Result<usize> {
    // SAFETY: the kernel writes at most `list.len()` bytes to `list`.
    length(unsafe { libc::flistxattr(fd.as_raw_fd(), list.as_mut_ptr().cast(), list.len()) })
}

/// `ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)`, fgetxattr(2): writes the value to
/// `value`. Returns its length in bytes.
///
/// # Errors
/// ERANGE when `value` is too short, ENODATA, ENOTSUP.
pub(crate) fn fgetxattr(fd: BorrowedFd<'_>, name: &CStr, value: &mut [u8]) -> nix::Result<usize> {
    // SAFETY: `name` is a live C string; the kernel writes at most `value.len()` bytes to `value`.
    length(unsafe {
        libc::fgetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    })
}

/// `int fsetxattr(int fd, const char *name, const void *value, size_t size, 0)`, fsetxattr(2): sets or replaces a
/// value.
///
/// # Errors
/// ENOTSUP where the file system has no such attributes, EPERM without the privilege.
pub(crate) fn fsetxattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> nix::Result<()> {
    // SAFETY: `name` is a live C string and `value` a live slice of the length passed.
    let result = unsafe {
        libc::fsetxattr(
            fd.as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    check(libc::c_long::from(result)).map(drop)
}

/// `int setxattr("/proc/self/fd/N", const char *name, const void *value, size_t size, XATTR_CREATE)`, setxattr(2):
/// sets an attribute only if it does not exist, so of several callers one succeeds. `fd` may be O_PATH. Needs the
/// host's /proc.
///
/// # Errors
/// EEXIST if the attribute exists, ENOENT without /proc, and those of [`fsetxattr`].
pub(crate) fn create_xattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> nix::Result<()> {
    create_xattr_at(
        Path::new(&format!("/proc/self/fd/{}", fd.as_raw_fd())),
        name,
        value,
    )
}

/// `int setxattr(const char *path, const char *name, const void *value, size_t size, XATTR_CREATE)`, setxattr(2):
/// sets an attribute only if it does not exist, so of several callers one succeeds.
///
/// # Errors
/// EEXIST if the attribute exists, ENOENT if the file does not, and those of [`fsetxattr`].
pub(crate) fn create_xattr_at(path: &Path, name: &CStr, value: &[u8]) -> nix::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL)?;
    // SAFETY: `path` and `name` are live C strings and `value` a live slice of the length passed.
    let result = unsafe {
        libc::setxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            libc::XATTR_CREATE,
        )
    };
    check(libc::c_long::from(result)).map(drop)
}

/// `int fremovexattr(int fd, const char *name)`, fremovexattr(2).
///
/// # Errors
/// ENODATA, ENOTSUP, EPERM.
pub(crate) fn fremovexattr(fd: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    // SAFETY: `name` is a live C string.
    let result = unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) };
    check(libc::c_long::from(result)).map(drop)
}
