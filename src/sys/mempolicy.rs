//! NUMA memory policy.

use super::check;

/// `long set_mempolicy(int mode, const unsigned long *nodemask, unsigned long maxnode)`,
/// set_mempolicy(2): sets the caller's policy, which fork and execve keep. `mode` has the flags or-ed
/// in. Bit n of `nodes` is node n; an empty slice is the null mask.
///
/// # Errors
/// EINVAL for a mode that needs nodes or allows none, or nodes that are not online or not allowed by
/// the cpuset; ENOSYS on a kernel without NUMA.
pub(crate) fn set_mempolicy(mode: i32, nodes: &[u64]) -> nix::Result<()> {
    let (mask, bits) = if nodes.is_empty() {
        (std::ptr::null(), 0)
    } else {
        // The kernel reads one bit less than it is told (set_mempolicy(2), NOTES of get_mempolicy(2)).
        (nodes.as_ptr(), size_of_val(nodes) * 8 + 1)
    };
    // SAFETY: the kernel reads `bits - 1` bits, which is the length of the live slice, or nothing
    // from a null mask.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    check(result).map(drop)
}
