//! Renaming without replacing an existing file: renameat2(2).

use super::check;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};

/// `int renameat2(int olddirfd, const char *old, int newdirfd, const char *new, RENAME_NOREPLACE)`, renameat2(2):
/// renames `old` to `new`, both in `directory`.
///
/// # Errors
/// EEXIST if `new` exists, ENOENT if `old` does not; EINVAL on a file system without this flag.
pub(crate) fn rename_noreplace(directory: impl AsFd, old: &str, new: &str) -> nix::Result<()> {
    let string = |name: &str| CString::new(name).map_err(|_nul| nix::errno::Errno::EINVAL);
    let (old, new) = (string(old)?, string(new)?);
    let directory = directory.as_fd().as_raw_fd();
    // SAFETY: both strings end in NUL and outlive the call; the rest are integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            directory,
            old.as_ptr(),
            directory,
            new.as_ptr(),
            libc::RENAME_NOREPLACE,
        )
    };
    check(result).map(drop)
}
