//! The session keyring, session-keyring(7).

use super::check;
use std::ffi::CStr;

/// A keyring, by the kernel's serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serial(libc::c_long);

/// `keyctl(KEYCTL_JOIN_SESSION_KEYRING, name)`, KEYCTL_JOIN_SESSION_KEYRING(2const): joins the
/// keyring of that name as the session keyring, or makes one. Returns its serial number.
///
/// # Errors
/// EDQUOT past `/proc/sys/kernel/keys/maxkeys`, EACCES for a keyring that may not be searched,
/// ENOSYS on a kernel without keyrings, EPERM under a filter that denies keyctl.
pub(crate) fn join_session_keyring(name: &CStr) -> nix::Result<Serial> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: `name` is a live C string, the only memory this operation reads.
    let serial = check(unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
    })?;
    Ok(Serial(serial))
}

/// `keyctl(KEYCTL_SETPERM, keyring, permissions)`, KEYCTL_SETPERM(2const). `permissions` are
/// `KEY_*` bits, possessor in the highest byte, then user, group, others.
///
/// # Errors
/// EACCES for a keyring of another user.
pub(crate) fn set_permissions(keyring: Serial, permissions: u32) -> nix::Result<()> {
    const KEYCTL_SETPERM: libc::c_int = 5;
    // SAFETY: integers only.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, keyring.0, permissions) };
    check(result).map(drop)
}
