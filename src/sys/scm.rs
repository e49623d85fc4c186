//! One file descriptor over a unix socket: `SCM_RIGHTS` of unix(7).

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `sendmsg(socket, {payload, SCM_RIGHTS fd}, MSG_NOSIGNAL)`, sendmsg(2): one message with one fd.
///
/// # Errors
/// EPIPE when the other side is gone; EMSGSIZE or EIO for a payload that does not go in one piece.
pub fn send_fd(socket: BorrowedFd<'_>, payload: &[u8], fd: BorrowedFd<'_>) -> nix::Result<()> {
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(payload)],
        &rights,
        flags,
        None,
    )?;
    if sent == payload.len() {
        Ok(())
    } else {
        Err(Errno::EIO)
    }
}

/// [`receive`] for a message that must come with an fd.
///
/// # Errors
/// EPIPE when the other side closed the socket or sent no fd.
pub fn receive_fd(socket: BorrowedFd<'_>, payload: &mut [u8]) -> nix::Result<(usize, OwnedFd)> {
    let (length, fd) = receive(socket, payload)?;
    Ok((length, fd.ok_or(Errno::EPIPE)?))
}

/// `send(socket, payload, MSG_NOSIGNAL)`, send(2): one message.
///
/// # Errors
/// ECONNREFUSED when the other side is gone; EMSGSIZE for a payload that is too long.
pub fn send(socket: BorrowedFd<'_>, payload: &[u8]) -> nix::Result<()> {
    nix::sys::socket::send(socket.as_raw_fd(), payload, MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// `recvmsg(socket, …, MSG_CMSG_CLOEXEC)`, recvmsg(2): one message, and the first fd that came with
/// it; the kernel closes others. A length of 0 means that the other side of a stream is gone.
///
/// # Errors
/// EAGAIN on a nonblocking socket without a message.
pub fn receive(
    socket: BorrowedFd<'_>,
    payload: &mut [u8],
) -> nix::Result<(usize, Option<OwnedFd>)> {
    let mut room = nix::cmsg_space!([RawFd; 1]);
    let mut slices = [IoSliceMut::new(payload)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut room), flags)?;
    let fd = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just installed this descriptor for us; `room` holds no more than one,
    // so none is lost, and nobody else owns it.
    let fd = fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((message.bytes, fd))
}
