//! Scheduling of a process: policy, CPUs, I/O priority.

use super::check;
use nix::unistd::Pid;

/// `struct sched_attr` of sched_setattr(2), in its second version (with utilisation clamps).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SchedAttr {
    /// The size of this structure; [`sched_setattr`] fills it in.
    pub size: u32,
    /// One of `SCHED_*`.
    pub sched_policy: u32,
    /// `SCHED_FLAG_*` bits.
    pub sched_flags: u64,
    /// The nice value, for SCHED_OTHER and SCHED_BATCH.
    pub sched_nice: i32,
    /// The static priority, for SCHED_FIFO and SCHED_RR.
    pub sched_priority: u32,
    /// Runtime in each period in nanoseconds, for SCHED_DEADLINE.
    pub sched_runtime: u64,
    /// Deadline in nanoseconds, for SCHED_DEADLINE.
    pub sched_deadline: u64,
    /// Period in nanoseconds, for SCHED_DEADLINE.
    pub sched_period: u64,
    /// Least utilisation, with `SCHED_FLAG_UTIL_CLAMP_MIN`.
    pub sched_util_min: u32,
    /// Greatest utilisation, with `SCHED_FLAG_UTIL_CLAMP_MAX`.
    pub sched_util_max: u32,
}

/// `int sched_setattr(pid_t pid, struct sched_attr *attr, 0)`, sched_setattr(2).
///
/// # Errors
/// EPERM without CAP_SYS_NICE in the initial user namespace, or if the cgroup or the affinity
/// forbids the policy. EINVAL for parameters outside the policy's range. EBUSY if the kernel does
/// not admit a SCHED_DEADLINE process. EOPNOTSUPP for clamps on a kernel without them.
pub(crate) fn sched_setattr(pid: Pid, attr: &SchedAttr) -> nix::Result<()> {
    let mut attr = *attr;
    attr.size = u32::try_from(size_of::<SchedAttr>()).expect("56 bytes");
    // SAFETY: `attr` is a live #[repr(C)] sched_attr that states its own size; it is writable
    // because the kernel stores the size it knows there when it refuses with E2BIG.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw(), &raw mut attr, 0) };
    check(result).map(drop)
}

/// `int sched_setaffinity(pid_t pid, size_t size, const unsigned long *mask)`,
/// sched_setaffinity(2). Bit n of the mask is CPU n, word by word; pid 0 is the caller.
///
/// # Errors
/// EINVAL when no CPU of the mask is one the process may use, EPERM for another user's process.
pub(crate) fn sched_setaffinity(pid: Pid, mask: &[u64]) -> nix::Result<()> {
    // SAFETY: the kernel reads `size_of_val(mask)` bytes at most from the live slice; on the 64-bit
    // targets of this program unsigned long and u64 are the same.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            pid.as_raw(),
            size_of_val(mask),
            mask.as_ptr(),
        )
    };
    check(result).map(drop)
}

/// `int ioprio_set(IOPRIO_WHO_PROCESS, pid, ioprio)`, ioprio_set(2). `ioprio` has the class from
/// bit 13 on and the level in the bits below; pid 0 is the caller.
///
/// # Errors
/// EPERM for the real-time class without CAP_SYS_ADMIN or CAP_SYS_NICE.
pub(crate) fn ioprio_set(pid: Pid, ioprio: u16) -> nix::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: three integers, no memory is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            pid.as_raw(),
            libc::c_int::from(ioprio),
        )
    };
    check(result).map(drop)
}
