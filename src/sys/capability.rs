//! Capability sets of the calling thread, capabilities(7).

use super::check;

/// `_LINUX_CAPABILITY_VERSION_3`: a set has two 32-bit words.
const VERSION_3: u32 = 0x2008_0522;

/// `int capset(cap_user_header_t hdrp, const cap_user_data_t datap)`, capset(2), on the caller.
/// Bit n of each mask is capability number n.
///
/// # Errors
/// EPERM for a permitted capability that is not held, an effective one that is not permitted, or an
/// inheritable one that is neither held nor in the bounding set.
pub(crate) fn capset(effective: u64, permitted: u64, inheritable: u64) -> nix::Result<()> {
    let mut header = header();
    let data = data(effective, permitted, inheritable);
    // SAFETY: `header` is laid out as the kernel's, writable because the kernel may store its own version there;
    // version 3 makes it read exactly the six words of `data`.
    let result = unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr()) };
    check(result).map(drop)
}

/// `struct __user_cap_header_struct` of linux/capability.h for the caller: version and pid.
pub(crate) fn header() -> [u32; 2] {
    [VERSION_3, 0]
}

/// Two `struct __user_cap_data_struct` for three masks: first the low words of effective, permitted and
/// inheritable, then their high words.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the kernel takes each mask as two 32-bit words"
)]
pub(crate) fn data(effective: u64, permitted: u64, inheritable: u64) -> [u32; 6] {
    let sets = [effective, permitted, inheritable];
    let [a, b, c] = sets.map(|set| set as u32);
    let [d, e, f] = sets.map(|set| (set >> 32) as u32);
    [a, b, c, d, e, f]
}

/// `prctl(PR_CAPBSET_DROP, cap)`, PR_CAPBSET_DROP(2const): removes `cap` from the caller's bounding set.
///
/// # Errors
/// EPERM without CAP_SETPCAP, EINVAL for a number this kernel does not know.
pub(crate) fn bounding_drop(cap: u8) -> nix::Result<()> {
    prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(cap), 0)
}

/// `prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)`, PR_CAP_AMBIENT(2const): empties the caller's ambient set.
///
/// # Errors
/// None on a kernel since 4.3.
pub(crate) fn ambient_clear() -> nix::Result<()> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::c_ulong::from(clear.unsigned_abs()),
        0,
    )
}

/// `prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap)`, PR_CAP_AMBIENT(2const).
///
/// # Errors
/// EPERM for a capability that is not both permitted and inheritable.
pub(crate) fn ambient_raise(cap: u8) -> nix::Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE;
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::c_ulong::from(raise.unsigned_abs()),
        libc::c_ulong::from(cap),
    )
}

fn prctl(option: libc::c_int, arg2: libc::c_ulong, arg3: libc::c_ulong) -> nix::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options used in this file take integers only; unused arguments must be 0.
    let result = unsafe { libc::syscall(libc::SYS_prctl, option, arg2, arg3, zero, zero) };
    check(result).map(drop)
}
