//! File descriptors over a unix socket: `SCM_RIGHTS` of unix(7).

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recvmsg, sendmsg};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// `sendmsg(socket, {payload, SCM_RIGHTS fd}, MSG_NOSIGNAL)`, sendmsg(2): sends one message with one fd, over a
/// socket that keeps messages apart.
///
/// # Errors
/// EPIPE when the other side is gone; EMSGSIZE for a payload that is too long for a message.
pub(crate) fn send_fd(
    socket: BorrowedFd<'_>,
    payload: &[u8],
    fd: BorrowedFd<'_>,
) -> nix::Result<()> {
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    let (raw, parts) = (socket.as_raw_fd(), [IoSlice::new(payload)]);
    retried(|| sendmsg::<()>(raw, &parts, &rights, flags, None)).map(drop)
}

/// `sendmsg(socket, {payload, SCM_RIGHTS fd}, MSG_NOSIGNAL | MSG_DONTWAIT)`, sendmsg(2): sends as many bytes as a
/// stream takes now, the fd with the first of them. Returns how many were sent.
///
/// # Errors
/// EAGAIN when there is no room; EINTR; EPIPE when the other side is gone.
pub(crate) fn send_some(
    socket: BorrowedFd<'_>,
    payload: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> nix::Result<usize> {
    let numbers: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = fd.map(|_| ControlMessage::ScmRights(&numbers));
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let (raw, parts) = (socket.as_raw_fd(), [IoSlice::new(payload)]);
    sendmsg::<()>(raw, &parts, rights.as_slice(), flags, None)
}

fn retried(mut call: impl FnMut() -> nix::Result<usize>) -> nix::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// `send(socket, payload, MSG_NOSIGNAL)`, send(2): sends one message.
///
/// # Errors
/// ECONNREFUSED when the other side is gone; EMSGSIZE for a payload that is too long; EAGAIN on a nonblocking socket
/// whose other side has no room.
pub(crate) fn send(socket: BorrowedFd<'_>, payload: &[u8]) -> nix::Result<()> {
    nix::sys::socket::send(socket.as_raw_fd(), payload, MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// The content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    /// Bytes only.
    Text,
    /// Bytes and descriptors.
    Descriptors,
}

/// `recvmsg(socket, …, MSG_PEEK)`, recvmsg(2), without room for control data: reads the bytes of the first message,
/// which stays in the queue with its descriptors. No descriptor is installed. Returns the number of bytes.
///
/// # Errors
/// EAGAIN on a nonblocking socket without a message.
pub(crate) fn look(socket: BorrowedFd<'_>, payload: &mut [u8]) -> nix::Result<(usize, Brings)> {
    let mut slices = [IoSliceMut::new(payload)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, None, MsgFlags::MSG_PEEK)?;
    let brings = if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        Brings::Descriptors
    } else {
        Brings::Text
    };
    Ok((message.bytes, brings))
}

/// `recv(socket, …, MSG_DONTWAIT)`, recv(2): removes the first message from the queue. The kernel closes its
/// descriptors before the call returns, and the caller waits for that.
pub(crate) fn throw_away(socket: BorrowedFd<'_>) {
    // If there is no message, there is nothing to throw away.
    let _ = nix::sys::socket::recv(socket.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
}

/// Receives one message as [`receive_all`] does, and returns its first fd; others are closed.
///
/// # Errors
/// As [`receive_all`].
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    payload: &mut [u8],
) -> nix::Result<(usize, Option<OwnedFd>)> {
    let (length, fds) = receive_all::<1>(socket, payload)?;
    Ok((length, fds.into_iter().next()))
}

/// `recvmsg(socket, …, MSG_CMSG_CLOEXEC)`, recvmsg(2): returns the length of one message, and the descriptors that
/// came with it. The kernel closes those for which there is no room. All that it has installed are returned, also
/// from control data that was cut off. There is room for `FDS`, and by the alignment of control data for one more
/// where `FDS` is odd. A length of 0 means that the other side of a stream is gone.
///
/// # Errors
/// EAGAIN on a nonblocking socket without a message.
pub(crate) fn receive_all<const FDS: usize>(
    socket: BorrowedFd<'_>,
    payload: &mut [u8],
) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut room = nix::cmsg_space!([RawFd; FDS]);
    let mut part = libc::iovec {
        iov_base: payload.as_mut_ptr().cast(),
        iov_len: payload.len(),
    };
    // SAFETY: all-zero bytes are a valid msghdr: null pointers with lengths of 0.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = room.as_mut_ptr().cast();
    let capacity = room.capacity().try_into();
    message.msg_controllen = capacity.map_err(|_too_long| Errno::EINVAL)?;
    // SAFETY: the header points to the live payload and the live room, each with its own length.
    let length =
        unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let length = Errno::result(length)?;
    let length = usize::try_from(length).expect("it is no error");
    Ok((length, adopt_all(&message)))
}

/// Takes ownership of every descriptor in the control data of a message that recvmsg(2) has just filled.
fn adopt_all(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut all = Vec::new();
    // SAFETY: the header is recvmsg's: its control data is live, and as long as it says.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: the kernel has written a whole header there, or CMSG_NXTHDR would have given null.
        let part = unsafe { header.read_unaligned() };
        if (part.cmsg_level, part.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: arithmetic on the header's address, within its part.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
            // SAFETY: arithmetic on a number.
            let empty = unsafe { libc::CMSG_LEN(0) } as usize;
            // The length of a part that was cut off counts the bytes that are there.
            let count = (part.cmsg_len as usize).saturating_sub(empty) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: the kernel has written so many numbers from `data` on.
                let fd = unsafe { data.wrapping_add(index).read_unaligned() };
                // SAFETY: the kernel has just installed it, for whoever receives it.
                all.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: as for the first; null after the last.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::{check_in_child, is_open};
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nix::sys::stat::Mode;
    use std::os::fd::AsFd;

    /// Sends `count` descriptors in one message, and receives them with room for `FDS`. Returns how many came, and
    /// how many more than before are open once those were dropped.
    fn received<const FDS: usize>(count: usize) -> Result<(usize, usize), String> {
        let text = |errno: Errno| errno.to_string();
        let flags = SockFlag::SOCK_CLOEXEC;
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).map_err(text)?;
        let null = open("/dev/null", OFlag::O_PATH, Mode::empty()).map_err(text)?;
        let fds = vec![null.as_raw_fd(); count];
        let rights = [ControlMessage::ScmRights(&fds)];
        let payload = [IoSlice::new(b"x")];
        sendmsg::<()>(one.as_raw_fd(), &payload, &rights, MsgFlags::empty(), None).map_err(text)?;
        let open_now = || (0..1000).filter(|fd| is_open(*fd)).count();
        let before = open_now();
        let (length, fds) = receive_all::<FDS>(other.as_fd(), &mut [0; 8]).map_err(text)?;
        let close_on_exec =
            |fd: &OwnedFd| fcntl(fd, FcntlArg::F_GETFD) == Ok(FdFlag::FD_CLOEXEC.bits());
        if length != 1 || !fds.iter().all(close_on_exec) {
            return Err(format!("{length} bytes, or not close-on-exec: {fds:?}"));
        }
        let came = fds.len();
        drop(fds);
        Ok((came, open_now() - before))
    }

    #[test]
    fn every_descriptor_that_the_kernel_has_installed_is_owned() {
        check_in_child(|| {
            for (got, expected) in [
                (received::<1>(1)?, 1),
                // Control data beyond the room is cut off.
                (received::<1>(2)?, 2),
                (received::<1>(3)?, 2),
                (received::<1>(253)?, 2),
                (received::<2>(3)?, 2),
                (received::<4>(3)?, 3),
                (received::<0>(3)?, 0),
            ] {
                if got != (expected, 0) {
                    return Err(format!("{got:?}, not {expected}"));
                }
            }
            Ok(())
        });
    }
}
