//! `seccomp(2)`: loads a program of classic BPF as the caller's system call filter, and answers its notifications.
//!
//! The constants carry the kernel's names and values (`include/uapi/linux/seccomp.h`); musl has none.

use super::check;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction of classic BPF, `struct sock_filter` of `linux/filter.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// The operation, its size and its addressing mode.
    pub code: u16,
    /// How many instructions are skipped when the comparison holds.
    pub jt: u8,
    /// How many instructions are skipped when the comparison does not hold.
    pub jf: u8,
    /// A constant, an offset or a distance.
    pub k: u32,
}

impl Instruction {
    /// Returns the instruction as the kernel lays it out, in this machine's byte order.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let [a, b] = self.code.to_ne_bytes();
        let [e, f, g, h] = self.k.to_ne_bytes();
        [a, b, self.jt, self.jf, e, f, g, h]
    }
}

/// The most instructions of a program that the kernel takes (`BPF_MAXINSNS`).
pub(crate) const BPF_MAXINSNS: usize = 4096;

/// The filter applies to all threads of the process (Linux 3.17).
pub(crate) const FILTER_FLAG_TSYNC: u32 = 1;
/// Every action but ALLOW is logged (Linux 4.14).
pub(crate) const FILTER_FLAG_LOG: u32 = 1 << 1;
/// The filter leaves speculative store bypass as it is (Linux 4.17).
pub(crate) const FILTER_FLAG_SPEC_ALLOW: u32 = 1 << 2;
/// The call returns a fd that receives the notifications of the filter (Linux 5.0).
pub(crate) const FILTER_FLAG_NEW_LISTENER: u32 = 1 << 3;
/// If a thread cannot be synchronised the call fails with ESRCH. Without this flag it returns a positive number,
/// which next to `NEW_LISTENER` would look like a fd (Linux 5.7).
pub(crate) const FILTER_FLAG_TSYNC_ESRCH: u32 = 1 << 4;
/// Once the listener has read a notification, only a fatal signal interrupts the wait for its answer (Linux 5.19).
pub(crate) const FILTER_FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

const SECCOMP_SET_MODE_FILTER: u32 = 1;

/// `int seccomp(SECCOMP_SET_MODE_FILTER, unsigned int flags, struct sock_fprog *args)`, seccomp(2). `flags` are
/// `FILTER_FLAG_*`. With `NEW_LISTENER` the listener is returned, an fd that the kernel makes CLOEXEC. There is no
/// way back: the filter stays until the process ends.
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN and without no_new_privs; EINVAL for a program or a flag that the
/// kernel does not take; EBUSY when an earlier filter has a listener already; ENOMEM when all
/// filters of the process together are too long; ESRCH when a thread could not be synchronised.
pub(crate) fn set_mode_filter(flags: u32, program: &[Instruction]) -> nix::Result<Option<OwnedFd>> {
    #[repr(C)]
    struct SockFprog {
        len: libc::c_ushort,
        filter: *const Instruction,
    }
    let fprog = SockFprog {
        len: libc::c_ushort::try_from(program.len()).or(Err(Errno::EINVAL))?,
        filter: program.as_ptr(),
    };
    // SAFETY: `fprog` is a live #[repr(C)] sock_fprog; its pointer and length are those of
    // `program`, whose elements have the layout of sock_filter, and the kernel only reads them.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const fprog,
        )
    })?;
    if flags & FILTER_FLAG_NEW_LISTENER != 0 {
        #[allow(clippy::cast_possible_truncation, reason = "the kernel returns an int")]
        // SAFETY: with NEW_LISTENER the kernel has just returned this new descriptor and nobody
        // else owns it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(result as i32) }));
    }
    match result {
        0 => Ok(None),
        // Without TSYNC_ESRCH: the id of the thread that could not be synchronised.
        _ => Err(Errno::ESRCH),
    }
}

/// True if the kernel knows all `flags`. Makes the call of [`set_mode_filter`] without a program. The kernel looks at
/// the flags before it reads the program, so it answers EFAULT for known flags and EINVAL for others; it loads
/// nothing either way.
pub(crate) fn knows_filter_flags(flags: u32) -> bool {
    // SAFETY: a null program is what the probe is about; the kernel answers EFAULT.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::null::<u8>(),
        )
    };
    check(result) == Err(Errno::EFAULT)
}

/// `_IOWR('!', 0, struct seccomp_notif)` and `_IOWR('!', 1, struct seccomp_notif_resp)` of linux/seccomp.h.
const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`: the kernel carries the call out.
const FLAG_CONTINUE: u32 = 1;

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    /// The kernel's number for the call.
    pub id: u64,
    /// The process that made the call, as this process's pid namespace numbers it; 0 for one that is not visible
    /// there.
    pub pid: u32,
}

/// How a [`Notification`] is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel carries the call out.
    Continue,
    /// The call returns EINTR, and may be made again.
    Interrupt,
}

/// `ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV)`, seccomp_unotify(2): returns the next call that waits for an answer.
/// Blocks until there is one, so poll(2) first.
///
/// # Errors
/// ENOENT when the process that made the call is gone, EINTR.
pub(crate) fn receive_notification(listener: BorrowedFd<'_>) -> nix::Result<Notification> {
    // struct seccomp_notif: id, pid, flags, then struct seccomp_data.
    let mut notification = [0_u64; 10];
    // SAFETY: the request's size is that of the live array, which is zeroed as the kernel wants it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            NOTIF_RECV,
            notification.as_mut_ptr(),
        )
    };
    check(result)?;
    let [id, pid_and_flags, ..] = notification;
    let [a, b, c, d, ..] = pid_and_flags.to_ne_bytes();
    let pid = u32::from_ne_bytes([a, b, c, d]);
    Ok(Notification { id, pid })
}

/// `ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND)`, seccomp_unotify(2): answers a call.
///
/// # Errors
/// ENOENT when the process that made the call is gone.
pub(crate) fn answer_notification(
    listener: BorrowedFd<'_>,
    notification: Notification,
    answer: Answer,
) -> nix::Result<()> {
    #[repr(C)]
    struct Response {
        id: u64,
        val: i64,
        error: i32,
        flags: u32,
    }
    let (error, flags) = match answer {
        Answer::Continue => (0, FLAG_CONTINUE),
        Answer::Interrupt => (-libc::EINTR, 0),
    };
    let response = Response {
        id: notification.id,
        val: 0,
        error,
        flags,
    };
    // SAFETY: `response` is live and laid out as struct seccomp_notif_resp, which the kernel only reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            listener.as_raw_fd(),
            NOTIF_SEND,
            &raw const response,
        )
    };
    check(result).map(drop)
}

/// System calls for a filter's test, in a process that the filter may kill.
#[cfg(test)]
pub(crate) mod probe {
    use super::check;
    use nix::errno::Errno;

    /// Makes any system call by its number. It is for calls that take plain numbers, or that the filter answers
    /// before the kernel looks at the arguments.
    pub(crate) fn call(number: i64, args: [u64; 3]) -> nix::Result<i64> {
        // SAFETY: callers pass numbers only, never an address that the kernel could write to.
        check(unsafe { libc::syscall(number, args[0], args[1], args[2]) })
    }

    /// exit_group(2): ends the process without running code of the test harness.
    pub(crate) fn leave(code: u8) -> ! {
        loop {
            // SAFETY: ends the process; takes a number.
            let _: Result<_, Errno> =
                check(unsafe { libc::syscall(libc::SYS_exit_group, libc::c_int::from(code)) });
        }
    }
}
