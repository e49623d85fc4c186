//! `bpf(2)`: loading a device program and attaching it to a cgroup.

use super::check;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// `union bpf_attr`, as large as any kernel has it and more: the kernel accepts a longer one whose
/// tail is zero, but writes past the end of one that is shorter than its own (Linux 6.17 to 7.1).
#[repr(C, align(8))]
union Attr {
    load: Load,
    attach: Attach,
    whole: [u64; 32],
}

/// The head of the `BPF_PROG_LOAD` member.
#[repr(C)]
#[derive(Clone, Copy)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// The head of the `BPF_PROG_ATTACH` member.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// `int bpf(int cmd, union bpf_attr *attr, unsigned int size)`, bpf(2).
fn bpf(command: libc::c_int, attr: &mut Attr) -> nix::Result<libc::c_long> {
    // SAFETY: `attr` is a live union of the size that is passed, larger than the kernel's own, so
    // what the kernel writes back stays inside; every address in it was made by the two callers
    // below from a slice that outlives this call.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<Attr>()) })
}

/// An address as the kernel wants it in `bpf_attr`.
fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

/// `bpf(BPF_PROG_LOAD)` for `BPF_PROG_TYPE_CGROUP_DEVICE`: verifies the program and returns its fd
/// (CLOEXEC, as all bpf fds). Each element of `program` is one `struct bpf_insn`. With a non-empty
/// `log` the verifier writes its reasons there, as a C string.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) in the initial user namespace, and
/// before Linux 5.11 past RLIMIT_MEMLOCK; EINVAL or EACCES for a program the verifier refuses;
/// ENOSPC when `log` is too short.
pub fn load_device_program(program: &[u64], log: &mut [u8]) -> nix::Result<OwnedFd> {
    const LICENSE: &CStr = c"Apache-2.0";
    let mut attr = Attr { whole: [0; 32] };
    attr.load = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: address(program.as_ptr()),
        license: address(LICENSE.as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).unwrap_or(u32::MAX),
        log_buf: if log.is_empty() {
            0
        } else {
            address(log.as_mut_ptr())
        },
    };
    let fd = bpf(BPF_PROG_LOAD, &mut attr)?;
    #[allow(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
    // SAFETY: the kernel has just returned this new descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// `bpf(BPF_PROG_ATTACH)` of a device program to the cgroup that `cgroup` (O_PATH will do) stands
/// for, with `BPF_F_ALLOW_MULTI`: programs of the cgroups above it, and any that is attached to it
/// already, must allow an access too. The program lives as long as the cgroup.
///
/// # Errors
/// EPERM without the privileges of loading or where a cgroup above forbids it, EBADF when `cgroup`
/// is not in a cgroup v2 hierarchy.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    let mut attr = Attr { whole: [0; 32] };
    attr.attach = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &mut attr).map(drop)
}
