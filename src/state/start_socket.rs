//! The named channel between `start` and the waiting init.
//!
//! `create` binds a SOCK_SEQPACKET socket in the container's folder before init exists; init
//! inherits the listening end and waits in accept(2). Nothing inside the container can use it:
//! the name lies on the host, and a socket cannot be opened through `/proc/1/fd`. After `Start`
//! the same connection carries init's last error, or its end of file when execve closed it.

use super::{Dir, START_SOCKET};
use crate::error::{Code, Context, Error, Result};
use crate::sync::Channel;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect as connect_socket,
    listen as listen_socket, socket,
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The socket's address through the folder's fd: the path itself may be longer than the 107
/// bytes that an address holds.
fn address(dir: &Dir) -> nix::Result<UnixAddr> {
    UnixAddr::new(format!("/proc/self/fd/{}/{START_SOCKET}", dir.as_fd().as_raw_fd()).as_str())
}

fn new_socket() -> nix::Result<OwnedFd> {
    socket(
        AddressFamily::Unix,
        SockType::SeqPacket,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
}

/// Parent of `create`: binds the start socket; init inherits the returned listener.
///
/// # Errors
/// `E_STATE`.
pub fn listen(dir: &Dir) -> Result<OwnedFd> {
    let bound = new_socket().and_then(|fd| {
        bind(fd.as_raw_fd(), &address(dir)?)?;
        listen_socket(&fd, Backlog::new(1)?)?;
        Ok(fd)
    });
    bound.context(Code::State, "bind", dir.path().join(START_SOCKET).display())
}

/// True if somebody holds the socket, which init closes when it is told to start. Nobody is woken: a
/// connection of another type is refused before it is made, and the kernel says so only where there is
/// a socket behind the name (unix(7), EPROTOTYPE).
pub(super) fn is_open(dir: &Dir) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC;
    let connected = socket(AddressFamily::Unix, SockType::Datagram, flags, None)
        .and_then(|fd| connect_socket(fd.as_raw_fd(), &address(dir)?));
    // Any other failure is no word about the socket.
    connected != Err(Errno::ECONNREFUSED)
}

/// `start`: connects to the waiting init.
///
/// # Errors
/// `E_STATUS` when nobody waits (init is gone, or was started in this moment); else `E_STATE`.
pub fn connect(dir: &Dir) -> Result<Channel> {
    let connected = new_socket().and_then(|fd| {
        connect_socket(fd.as_raw_fd(), &address(dir)?)?;
        Ok(fd)
    });
    match connected {
        Ok(fd) => Ok(Channel::from_fd(fd)),
        Err(Errno::ENOENT | Errno::ECONNREFUSED) => Err(Error::new(
            Code::Status,
            format!("container {} does not wait to be started", dir.id),
        )),
        Err(errno) => Err(Error::step(
            Code::State,
            "connect to",
            dir.path().join(START_SOCKET).display().to_string(),
            errno,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Store;

    #[test]
    fn a_socket_that_nobody_holds_is_closed_though_it_has_a_name() {
        let root = tempfile::tempdir().expect("folder");
        let dir = Store::at(root.path().to_owned())
            .reserve("web")
            .expect("reserved");
        assert!(!dir.waits_for_start());
        let socket = listen(&dir).expect("bound");
        assert!(dir.waits_for_start());
        drop(socket);
        assert!(!dir.waits_for_start());
    }
}
