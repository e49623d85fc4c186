//! The system calls of probes and measurements that have no wrapper with types. Each is one call.

#![allow(
    unsafe_code,
    reason = "probes ask the kernel for what only raw system calls ask"
)]

use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

type Answer<T = i64> = Result<T, Errno>;

/// Special keyrings of keyctl(2): the session's, the user's, the user's session.
pub(crate) const KEYRINGS: [(i32, &str); 3] = [(-3, "session"), (-4, "user"), (-5, "user session")];

/// clock_gettime(2)
pub(crate) fn clock(which: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a live timespec that the kernel fills.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// sched_setscheduler(2) of this process: round by round the first to run, or as everybody.
pub(crate) fn set_real_time(priority: Option<i32>) -> Answer {
    // SAFETY: sched_param is plain numbers, for which zero is a value.
    let mut parameter: libc::sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = priority.unwrap_or(0);
    let policy = match priority {
        Some(_) => libc::SCHED_FIFO,
        None => libc::SCHED_OTHER,
    };
    // SAFETY: `parameter` is live. The raw call, since musl's function refuses to make it.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            policy,
            &raw const parameter,
        )
    })
}

/// pidfd_open(2): becomes readable when the process ends.
pub(crate) fn pidfd(pid: u32) -> Answer<OwnedFd> {
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// `struct file_handle` with the longest handle there is.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; 128],
}

/// name_to_handle_at(2): a file's handle, as its type and its bytes.
pub(crate) fn file_handle(path: &CStr) -> Answer<(i32, Vec<u8>)> {
    let mut handle = FileHandle {
        bytes: 128,
        kind: 0,
        handle: [0; 128],
    };
    let mut mount = 0i32;
    // SAFETY: all pointers are to live values, and `bytes` says how long the handle may become.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw mut handle,
            &raw mut mount,
            0,
        )
    };
    Errno::result(result)?;
    let length = usize::try_from(handle.bytes).unwrap_or(0).min(128);
    Ok((handle.kind, handle.handle[..length].to_vec()))
}

/// open_by_handle_at(2), for reading.
pub(crate) fn open_handle(mount: BorrowedFd<'_>, kind: i32, bytes: &[u8]) -> Answer<OwnedFd> {
    let mut handle = FileHandle {
        bytes: 0,
        kind,
        handle: [0; 128],
    };
    let length = bytes.len().min(128);
    handle.handle[..length].copy_from_slice(&bytes[..length]);
    handle.bytes = u32::try_from(length).unwrap_or(0);
    // SAFETY: `handle` is live and says its own length.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut handle,
            libc::O_RDONLY,
        )
    };
    owned(fd)
}

fn owned(fd: i64) -> Answer<OwnedFd> {
    let fd = Errno::result(fd)?;
    let fd = i32::try_from(fd).map_err(|_overflow| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// ptrace(2), PTRACE_SEIZE: attaches without stopping the process. The probe's end detaches.
pub(crate) fn seize(pid: i32) -> Answer {
    const PTRACE_SEIZE: i32 = 0x4206;
    // SAFETY: PTRACE_SEIZE takes no pointers.
    Errno::result(unsafe { libc::syscall(libc::SYS_ptrace, PTRACE_SEIZE, pid, 0, 0) })
}

/// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: a new session keyring without a name.
pub(crate) fn join_session_keyring() -> Answer {
    // SAFETY: a null name asks for an anonymous keyring.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, 1, 0) })
}

/// add_key(2): a user key.
pub(crate) fn add_key(name: &CStr, value: &[u8], ring: i32) -> Answer {
    // SAFETY: the strings end with NUL, and the value's own length is passed.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            value.as_ptr(),
            value.len(),
            ring,
        )
    })
}

/// keyctl(2), KEYCTL_UNLINK
pub(crate) fn unlink_key(key: i64, ring: i32) -> Answer {
    // SAFETY: KEYCTL_UNLINK takes two numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, 9, key, ring) })
}

/// keyctl(2), KEYCTL_SEARCH: a user key by its name.
pub(crate) fn search_key(ring: i32, name: &CStr) -> Answer {
    // SAFETY: both strings end with NUL.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            10,
            ring,
            c"user".as_ptr(),
            name.as_ptr(),
            0,
        )
    })
}

/// keyctl(2), KEYCTL_READ
pub(crate) fn read_key(key: i64) -> Answer<Vec<u8>> {
    let mut buffer = vec![0u8; 256];
    // SAFETY: the buffer is live and its own length is passed.
    let length = Errno::result(unsafe {
        libc::syscall(libc::SYS_keyctl, 11, key, buffer.as_mut_ptr(), buffer.len())
    })?;
    buffer.truncate(usize::try_from(length).unwrap_or(0));
    Ok(buffer)
}

/// syslog(2), SYSLOG_ACTION_READ_ALL: the end of the kernel's log.
pub(crate) fn kernel_log() -> Answer<Vec<u8>> {
    let mut buffer = vec![0u8; 4096];
    // SAFETY: the buffer is live and its own length is passed.
    let length = Errno::result(unsafe {
        libc::syscall(libc::SYS_syslog, 3, buffer.as_mut_ptr(), buffer.len())
    })?;
    buffer.truncate(usize::try_from(length).unwrap_or(0));
    Ok(buffer)
}

/// adjtimex(2) with a tick that is out of range: EINVAL from whoever may set the clock.
pub(crate) fn impossible_tick() -> Answer {
    // SAFETY: timex is plain numbers, for which zero is a value.
    let mut time: libc::timex = unsafe { std::mem::zeroed() };
    time.modes = libc::ADJ_TICK;
    // SAFETY: `time` is a live timex.
    Errno::result(unsafe { libc::syscall(libc::SYS_adjtimex, &raw mut time) })
}

/// init_module(2) of an image of no bytes: ENOEXEC to whoever may load modules.
pub(crate) fn empty_module() -> Answer {
    // SAFETY: no byte of the image is read, and the parameters are an empty string.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_init_module, c"".as_ptr(), 0usize, c"".as_ptr())
    })
}

/// kexec_load(2) with flags that do not exist: EINVAL to whoever may load a kernel.
pub(crate) fn impossible_kexec() -> Answer {
    // SAFETY: there are no segments to be read.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_kexec_load, 0usize, 0usize, 0usize, 0xff00usize)
    })
}

/// reboot(2) with a second magic number that is none: EINVAL to whoever may reboot.
pub(crate) fn impossible_reboot() -> Answer {
    // SAFETY: numbers only; the call is refused because of the second.
    Errno::result(unsafe { libc::syscall(libc::SYS_reboot, 0xfee1_dead_u32, 0, 0, 0) })
}

/// bpf(2), BPF_PROG_LOAD of a device program that says yes; it is attached to nothing.
pub(crate) fn load_bpf() -> Answer<OwnedFd> {
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u64 = 15;
    // r0 = 1; exit
    let program: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];
    let license = c"Apache-2.0";
    let mut attr = [0u64; 16];
    attr[0] = BPF_PROG_TYPE_CGROUP_DEVICE | 2 << 32;
    attr[1] = program.as_ptr() as u64;
    attr[2] = license.as_ptr() as u64;
    // SAFETY: the attributes are as long as is said, and what they point to outlives the call.
    owned(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            attr.as_mut_ptr(),
            size_of_val(&attr),
        )
    })
}

/// io_uring_setup(2) of a ring with one entry.
pub(crate) fn io_uring() -> Answer<OwnedFd> {
    let mut parameters = [0u32; 30];
    // SAFETY: struct io_uring_params has 120 bytes, of which the kernel fills some.
    owned(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })
}

/// userfaultfd(2) that also catches the kernel's own faults.
pub(crate) fn userfaultfd() -> Answer<OwnedFd> {
    // SAFETY: the only argument is a number.
    owned(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) })
}

/// shmget(2) and shmat(2): a page of System V memory that others may read, with this in it.
pub(crate) fn share_memory(key: i32, value: &[u8]) -> Answer {
    // SAFETY: numbers only.
    let id = Errno::result(unsafe { libc::shmget(key, 4096, libc::IPC_CREAT | 0o644) })?;
    // SAFETY: the kernel chooses the address.
    let address = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    Errno::result(address as i64)?;
    // SAFETY: the page at `address` is ours, and the value is shorter than it.
    unsafe {
        std::ptr::copy_nonoverlapping(value.as_ptr(), address.cast::<u8>(), value.len().min(4096));
    }
    Ok(i64::from(id))
}

/// shmget(2) and shmat(2) for reading: what another process has put there.
pub(crate) fn shared_memory(key: i32) -> Answer<Vec<u8>> {
    // SAFETY: numbers only.
    let id = Errno::result(unsafe { libc::shmget(key, 4096, 0) })?;
    // SAFETY: the kernel chooses the address.
    let address = unsafe { libc::shmat(id, std::ptr::null(), libc::SHM_RDONLY) };
    Errno::result(address as i64)?;
    // SAFETY: the page stays attached until the process ends.
    let page = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), 4096) };
    Ok(page.iter().copied().take_while(|it| *it != 0).collect())
}

/// A descriptor that the caller of this program may have left open.
pub(crate) fn inherited(number: i32) -> BorrowedFd<'static> {
    // SAFETY: the number is not -1, and nobody here closes it; where it is not open, the kernel says so
    // to whatever is asked of it.
    unsafe { BorrowedFd::borrow_raw(number.max(0)) }
}

/// fcntl(2), F_DUPFD: the same with a number from 100, and inherited by every child.
pub(crate) fn left_open(fd: BorrowedFd<'_>) -> Answer<OwnedFd> {
    // SAFETY: F_DUPFD takes a number.
    owned(i64::from(unsafe {
        libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, 100)
    }))
}
