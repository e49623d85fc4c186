//! Unix sockets on which a caller of casulo waits for a descriptor: the console socket, the pidfd
//! socket, the seccomp agent, the service manager. Used by the parent, in the caller's mount namespace.
//!
//! Who listens there may never accept or read. casulo waits for [`timeout::CALLER_SOCKET`], and for a second at a time: the
//! foreground has signals blocked, and looks for those that ask it to end.

use crate::sys::scm;
use crate::timeout;
use crate::waiting;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_socket, setsockopt, socket,
    sockopt,
};
use nix::sys::stat::Mode;
use nix::sys::time::{TimeVal, TimeValLike};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

/// Connects to the stream socket at `path` (relative to the working directory, of any length).
///
/// # Errors
/// ENOENT or ECONNREFUSED where nobody listens; ETIMEDOUT where nobody accepts; EINTR when casulo is asked to end.
pub(crate) fn connect(path: &Path) -> nix::Result<OwnedFd> {
    connect_as(SockType::Stream, SockFlag::empty(), path)
}

/// Connects to the datagram socket of a service manager: a path of any length, or `@` and an
/// abstract name (`NOTIFY_SOCKET`, sd_notify(3)). Sending to one without room is EAGAIN.
///
/// # Errors
/// As [`connect`].
pub(crate) fn connect_datagram(name: &OsStr) -> nix::Result<OwnedFd> {
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
    if kind == SockType::Stream {
        // A full queue of connections makes connect(2) wait, for so long at a time (socket(7)).
        setsockopt(&fd, sockopt::SendTimeout, &TimeVal::seconds(1))?;
    }
    match UnixAddr::new(path) {
        Ok(address) => connect_in_time(&fd, &address)?,
        // Longer than sun_path's 108 bytes: an fd of the socket has a short name.
        Err(Errno::ENAMETOOLONG) => {
            let listener = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            let short = format!("/proc/self/fd/{}", listener.as_raw_fd());
            connect_in_time(&fd, &UnixAddr::new(short.as_str())?)?;
        }
        Err(errno) => return Err(errno),
    }
    Ok(fd)
}

/// A datagram socket that cannot be connected at once is refused at once.
fn connect_in_time(fd: &OwnedFd, address: &UnixAddr) -> nix::Result<()> {
    let last = Instant::now() + timeout::CALLER_SOCKET;
    loop {
        match connect_socket(fd.as_raw_fd(), address) {
            Err(Errno::EAGAIN | Errno::EINTR) => go_on_until(last)?,
            result => return result,
        }
    }
}

/// Whether a wait is worth another second.
fn go_on_until(last: Instant) -> nix::Result<()> {
    match waiting::asked_to_end() {
        true => Err(Errno::EINTR),
        false if Instant::now() >= last => Err(Errno::ETIMEDOUT),
        false => Ok(()),
    }
}

/// Connects to `path` and sends as [`send_fd_over`] does.
///
/// # Errors
/// As [`connect`] and [`send_fd_over`].
pub(crate) fn send_fd(path: &Path, payload: &[u8], fd: BorrowedFd<'_>) -> nix::Result<()> {
    send_fd_over(connect(path)?.as_fd(), payload, fd)
}

/// Sends `fd` with the first bytes of `payload` over a stream, then the rest of it. One of any length may be sent: the
/// other side must have taken nearly all of it in time.
///
/// # Errors
/// Those of sendmsg(2); ETIMEDOUT where nobody reads; EINTR when casulo is asked to end.
pub(crate) fn send_fd_over(
    socket: BorrowedFd<'_>,
    payload: &[u8],
    fd: BorrowedFd<'_>,
) -> nix::Result<()> {
    let last = Instant::now() + timeout::CALLER_SOCKET;
    let (mut rest, mut fd) = (payload, Some(fd));
    while !rest.is_empty() {
        match scm::send_some(socket, rest, fd) {
            Ok(sent) => (rest, fd) = (rest.get(sent..).unwrap_or_default(), None),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut room = [PollFd::new(socket, PollFlags::POLLOUT)];
                // Whatever comes of it, the next attempt says.
                let _ = poll(&mut room, 1000_u16);
                go_on_until(last)?;
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
