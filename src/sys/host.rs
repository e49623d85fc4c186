//! Facts about the caller that are hard to learn from /proc.

use super::check;

/// `prctl(PR_CAPBSET_READ, cap)`, PR_CAPBSET_READ(2const): true if capability number `cap` is in
/// the caller's bounding set.
///
/// # Errors
/// EINVAL for a number above the last capability that the kernel knows.
pub(crate) fn bounding_has(cap: u8) -> nix::Result<bool> {
    let cap = libc::c_ulong::from(cap);
    // SAFETY: integers only; unused arguments are zero, as the man page asks.
    let result = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_READ, cap, 0, 0, 0) };
    check(result).map(|answer| answer == 1)
}
