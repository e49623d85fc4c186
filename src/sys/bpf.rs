//! `bpf(2)`: loads a device program, attaches it to a cgroup, and finds it there again.

use super::check;
use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// `BPF_OBJ_NAME_LEN`: the bytes of a name with its final NUL.
const NAME_LENGTH: usize = 16;

/// How often a program is loaded again. The verifier gives up with EAGAIN when a signal is pending,
/// also one that stops the process (kernel/bpf/verifier.c, `do_check`).
const ATTEMPTS: usize = 100;

/// The most programs of one kind that a cgroup can have: `BPF_CGROUP_MAX_PROGS`.
const MAX_PROGRAMS: usize = 64;

/// `union bpf_attr`, longer than that of any kernel. The kernel accepts a longer one whose tail is
/// zero, but writes past the end of one that is shorter than its own (Linux 6.17 to 7.1).
#[repr(C, align(8))]
union Attr {
    load: Load,
    attach: Attach,
    query: Query,
    by_id: u32,
    info: InfoByFd,
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
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_LENGTH],
}

/// The head of the member of `BPF_PROG_ATTACH` and `BPF_PROG_DETACH`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The head of the `BPF_PROG_QUERY` member.
#[repr(C)]
#[derive(Clone, Copy)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
}

/// The `BPF_OBJ_GET_INFO_BY_FD` member.
#[repr(C)]
#[derive(Clone, Copy)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The head of `struct bpf_prog_info`. The kernel fills as many bytes of it as `info_len` says.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; NAME_LENGTH],
}

/// `int bpf(int cmd, union bpf_attr *attr, unsigned int size)`, bpf(2).
fn bpf(command: libc::c_int, attr: &mut Attr) -> nix::Result<libc::c_long> {
    // SAFETY: `attr` is a live union of the size that is passed, larger than the kernel's own, so
    // what the kernel writes back stays inside; every address in it was made by the callers below
    // from a value that outlives this call, and stands beside that value's own length.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<Attr>()) })
}

/// Returns an address as the kernel takes it in `bpf_attr`.
fn address<T>(pointer: *const T) -> u64 {
    // Exposed: the kernel may write there, which the compiler must not rule out.
    pointer.expose_provenance() as u64
}

/// `bpf(BPF_PROG_LOAD)` for `BPF_PROG_TYPE_CGROUP_DEVICE`: verifies the program and returns its fd
/// (CLOEXEC, as all bpf fds). Each element of `program` is one `struct bpf_insn`. `name` tells the
/// program from others'; its first 15 bytes count: letters, digits, `_` and `.`. The verifier writes
/// its reasons to `log`, as a C string, unless `log` is empty.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN) in the initial user namespace, and
/// before Linux 5.11 past RLIMIT_MEMLOCK; EINVAL or EACCES for a program the verifier refuses;
/// ENOSPC when `log` is too short.
pub(crate) fn load_device_program(
    program: &[u64],
    name: &str,
    log: &mut [u8],
) -> nix::Result<OwnedFd> {
    const LICENSE: &CStr = c"Apache-2.0";
    let mut prog_name = [0; NAME_LENGTH];
    for (to, from) in prog_name.iter_mut().take(NAME_LENGTH - 1).zip(name.bytes()) {
        *to = from;
    }
    let mut attr = Attr { whole: [0; 32] };
    attr.load = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).expect("the caller has counted the instructions"),
        insns: address(program.as_ptr()),
        license: address(LICENSE.as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).expect("a buffer of the caller's"),
        log_buf: if log.is_empty() {
            0
        } else {
            address(log.as_mut_ptr())
        },
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    let mut loaded = bpf(BPF_PROG_LOAD, &mut attr);
    for _ in 0..ATTEMPTS {
        if !matches!(loaded, Err(Errno::EAGAIN)) {
            break;
        }
        loaded = bpf(BPF_PROG_LOAD, &mut attr);
    }
    loaded.map(own)
}

/// Takes ownership of the descriptor that a successful bpf(2) returned.
fn own(fd: libc::c_long) -> OwnedFd {
    #[allow(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
    // SAFETY: the kernel has just returned this new descriptor and nobody else owns it.
    unsafe {
        OwnedFd::from_raw_fd(fd as i32)
    }
}

/// `bpf(BPF_PROG_ATTACH)` with `BPF_F_ALLOW_MULTI`: attaches a device program to `cgroup`, the fd of
/// its directory (O_PATH is enough). Programs of the cgroups above it, and any that is attached to it
/// already, must allow an access too. The program lives as long as the cgroup.
///
/// With `instead_of` (`BPF_F_REPLACE`) it takes the place of that program, which must be attached:
/// every access is decided by one or the other of the two, and none by neither.
///
/// # Errors
/// EPERM without the privileges of loading, or if a cgroup above forbids it. EBADF if `cgroup` is not
/// in a cgroup v2 hierarchy. ENOENT if `instead_of` is not attached (any more).
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    instead_of: Option<BorrowedFd<'_>>,
) -> nix::Result<()> {
    let mut attr = Attr { whole: [0; 32] };
    attr.attach = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: match instead_of {
            Some(_) => BPF_F_ALLOW_MULTI | BPF_F_REPLACE,
            None => BPF_F_ALLOW_MULTI,
        },
        replace_bpf_fd: instead_of.map_or(0, |it| it.as_raw_fd().cast_unsigned()),
    };
    bpf(BPF_PROG_ATTACH, &mut attr).map(drop)
}

/// `bpf(BPF_PROG_DETACH)`: detaches a device program from a cgroup.
///
/// # Errors
/// As [`attach_device_program`]; ENOENT when it is not attached.
pub(crate) fn detach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> nix::Result<()> {
    let mut attr = Attr { whole: [0; 32] };
    attr.attach = Attach {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_bpf_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    bpf(BPF_PROG_DETACH, &mut attr).map(drop)
}

/// `bpf(BPF_PROG_QUERY)`: returns the ids of the device programs attached to the cgroup itself, in the
/// order of attaching.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN in the initial user namespace, EBADF as for
/// [`attach_device_program`].
pub(crate) fn device_programs(cgroup: BorrowedFd<'_>) -> nix::Result<Vec<u32>> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attr = Attr { whole: [0; 32] };
    attr.query = Query {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: address(ids.as_mut_ptr()),
        prog_cnt: u32::try_from(ids.len()).expect("an array of a fixed size"),
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the kernel has filled this member in; any bits are a number.
    let count = unsafe { attr.query.prog_cnt };
    Ok(ids.into_iter().take(count as usize).collect())
}

/// `bpf(BPF_PROG_GET_FD_BY_ID)`: returns a descriptor of the loaded program with this id.
///
/// # Errors
/// ENOENT when there is no such program (any more), EPERM without CAP_SYS_ADMIN in the initial
/// user namespace.
pub(crate) fn program_by_id(id: u32) -> nix::Result<OwnedFd> {
    let mut attr = Attr { whole: [0; 32] };
    attr.by_id = id;
    bpf(BPF_PROG_GET_FD_BY_ID, &mut attr).map(own)
}

/// `bpf(BPF_OBJ_GET_INFO_BY_FD)`: returns the name with which a program was loaded.
///
/// # Errors
/// None is expected for a descriptor of a program.
pub(crate) fn program_name(program: BorrowedFd<'_>) -> nix::Result<String> {
    let mut info = ProgramInfo::default();
    let mut attr = Attr { whole: [0; 32] };
    attr.info = InfoByFd {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of::<ProgramInfo>()).expect("a struct of some hundred bytes"),
        info: address(&raw mut info),
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    let name = info.name.split(|byte| *byte == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}
