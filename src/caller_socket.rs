//! Unix sockets on which a caller of casulo waits for a descriptor: the console socket, the pidfd
//! socket, the seccomp agent. Used by the parent, in the caller's mount namespace.

use crate::sys::scm;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_socket, socket,
};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Connects to the stream socket at `path` (relative to the working directory, of any length).
///
/// # Errors
/// ENOENT or ECONNREFUSED where nobody listens.
pub fn connect(path: &Path) -> nix::Result<OwnedFd> {
    let kind = SockType::Stream;
    let stream = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    match UnixAddr::new(path) {
        Ok(address) => connect_socket(stream.as_raw_fd(), &address)?,
        // Longer than sun_path's 108 bytes: an fd of the socket has a short name.
        Err(Errno::ENAMETOOLONG) => {
            let listener = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            let short = format!("/proc/self/fd/{}", listener.as_raw_fd());
            connect_socket(stream.as_raw_fd(), &UnixAddr::new(short.as_str())?)?;
        }
        Err(errno) => return Err(errno),
    }
    Ok(stream)
}

/// Sends `fd` in one message with `payload` to whoever listens at `path`.
///
/// # Errors
/// As [`connect`], and those of sendmsg(2).
pub fn send_fd(path: &Path, payload: &[u8], fd: BorrowedFd<'_>) -> nix::Result<()> {
    scm::send_fd(connect(path)?.as_fd(), payload, fd)
}
