//! Unix sockets on which a caller of casulo waits for a descriptor: the console socket, the pidfd
//! socket, the seccomp agent, the service manager. Used by the parent, in the caller's mount namespace.

use crate::sys::scm;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_socket, socket,
};
use nix::sys::stat::Mode;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Connects to the stream socket at `path` (relative to the working directory, of any length).
///
/// # Errors
/// ENOENT or ECONNREFUSED where nobody listens.
pub fn connect(path: &Path) -> nix::Result<OwnedFd> {
    connect_as(SockType::Stream, SockFlag::empty(), path)
}

/// Connects to the datagram socket of a service manager: a path of any length, or `@` and an
/// abstract name (`NOTIFY_SOCKET`, sd_notify(3)). Sending to one without room is EAGAIN.
///
/// # Errors
/// As [`connect`].
pub fn connect_datagram(name: &OsStr) -> nix::Result<OwnedFd> {
    let Some(abstract_name) = name.as_bytes().strip_prefix(b"@") else {
        return connect_as(SockType::Datagram, SockFlag::SOCK_NONBLOCK, Path::new(name));
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let datagram = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    connect_socket(
        datagram.as_raw_fd(),
        &UnixAddr::new_abstract(abstract_name)?,
    )?;
    Ok(datagram)
}

fn connect_as(kind: SockType, flags: SockFlag, path: &Path) -> nix::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, kind, flags, None)?;
    match UnixAddr::new(path) {
        Ok(address) => connect_socket(fd.as_raw_fd(), &address)?,
        // Longer than sun_path's 108 bytes: an fd of the socket has a short name.
        Err(Errno::ENAMETOOLONG) => {
            let listener = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            let short = format!("/proc/self/fd/{}", listener.as_raw_fd());
            connect_socket(fd.as_raw_fd(), &UnixAddr::new(short.as_str())?)?;
        }
        Err(errno) => return Err(errno),
    }
    Ok(fd)
}

/// Sends `fd` in one message with `payload` to whoever listens at `path`.
///
/// # Errors
/// As [`connect`], and those of sendmsg(2).
pub fn send_fd(path: &Path, payload: &[u8], fd: BorrowedFd<'_>) -> nix::Result<()> {
    scm::send_fd(connect(path)?.as_fd(), payload, fd)
}
