//! What namespaces(7) needs beyond nix: the kind of an nsfs file, flags of a network interface, plain id
//! calls.

use super::check;
use crate::defence::{Defence, without};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IO(0xb7, 0x3)` of `<linux/nsfs.h>`; the encoding of `_IO` is the same on x86-64 and aarch64.
const NS_GET_NSTYPE: u64 = 0xb703;
/// `SIOCSIFFLAGS` of `<linux/sockios.h>`, the same on every architecture.
const SIOCSIFFLAGS: u64 = 0x8914;

/// `prctl(PR_SET_DUMPABLE, 0)`, prctl(2): for use before a namespace is joined, so that no process in it
/// may trace this one or read its files below /proc (CVE-2016-9962). execve makes the process dumpable
/// again.
///
/// # Errors
/// prctl(2) knows of none.
pub(crate) fn stop_being_dumpable() -> nix::Result<()> {
    nix::sys::prctl::set_dumpable(without(Defence::NotDumpable))
}

/// `int ioctl(int fd, NS_GET_NSTYPE)`, ioctl_nsfs(2): returns the kind of namespace that the fd stands
/// for, as its `CLONE_NEW*` flag. Ask only a descriptor whose file system is nsfs: for another kind of
/// file this number may mean something else.
///
/// # Errors
/// ENOTTY if the fd is no namespace.
#[allow(
    clippy::useless_conversion,
    reason = "a long has 32 bits on some machines"
)]
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> nix::Result<u64> {
    // SAFETY: this request takes no argument, so no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_ioctl, fd.as_raw_fd(), NS_GET_NSTYPE) };
    Ok(check(result)?.cast_unsigned().into())
}

/// `int ioctl(int fd, SIOCSIFFLAGS, struct ifreq *)`, netdevice(7): replaces the flags of the interface
/// `name` (longer names are cut at 15 bytes) in the network namespace in which `socket` was made. `flags`
/// are `IFF_*`.
///
/// # Errors
/// ENODEV if there is no such interface, EPERM without CAP_NET_ADMIN over the network namespace.
pub(crate) fn set_interface_flags(
    socket: BorrowedFd<'_>,
    name: &CStr,
    flags: libc::c_short,
) -> nix::Result<()> {
    /// `struct ifreq` with `ifr_flags`, padded to the size of its union.
    #[repr(C)]
    struct InterfaceRequest {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        flags,
        rest: [0; 22],
    };
    let room = request.name.iter_mut().take(libc::IFNAMSIZ - 1);
    for (to, from) in room.zip(name.to_bytes()) {
        *to = *from;
    }
    // SAFETY: `request` is live, laid out as struct ifreq and as long (40 bytes); its name ends in
    // a zero byte because the last one is never written.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ioctl,
            socket.as_raw_fd(),
            SIOCSIFFLAGS,
            &raw const request,
        )
    };
    check(result).map(drop)
}

/// `int setresuid(uid, uid, uid)`, setresuid(2), as a bare system call. The C library's version blocks and
/// unblocks all signals around it to reach other threads, and casulo has one thread.
///
/// # Errors
/// EINVAL for an id that the caller's user namespace does not map, and for 2^32-1, which the kernel would
/// take for "leave unchanged"; EPERM without CAP_SETUID.
pub(crate) fn set_user(uid: u32) -> nix::Result<()> {
    a_real_id(uid)?;
    // SAFETY: three integers; the process has one thread, so all of it changes its identity.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// `int setresgid(gid, gid, gid)`, setresgid(2), as a bare system call; see [`set_user`].
///
/// # Errors
/// As [`set_user`]; EPERM without CAP_SETGID.
pub(crate) fn set_group(gid: u32) -> nix::Result<()> {
    a_real_id(gid)?;
    // SAFETY: three integers; the process has one thread, so all of it changes its identity.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

fn a_real_id(id: u32) -> nix::Result<()> {
    match id {
        u32::MAX if !without(Defence::AssumedIds) => Err(nix::errno::Errno::EINVAL),
        _ => Ok(()),
    }
}

/// `int setgroups(size_t size, const gid_t *list)`, setgroups(2), as a bare system call; see [`set_user`].
///
/// # Errors
/// EPERM without CAP_SETGID or where the user namespace denies it, EINVAL for an id that it does not map.
pub(crate) fn set_groups(groups: &[u32]) -> nix::Result<()> {
    // SAFETY: the kernel reads as many ids as the live slice has; the process has one thread.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(result).map(drop)
}
