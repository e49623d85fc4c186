//! Unix sockets on which a runtime sends descriptors: the console, the seccomp listener, a pidfd.

#![allow(
    unsafe_code,
    reason = "the received number becomes an owned descriptor"
)]

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use std::io::{IoSliceMut, Read as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A listening socket.
pub(crate) struct Listener {
    path: PathBuf,
    socket: UnixListener,
}

/// What one message brought.
#[derive(Debug)]
pub(crate) struct Received {
    /// The bytes beside the descriptors.
    pub(crate) text: String,
    /// All descriptors.
    pub(crate) fds: Vec<OwnedFd>,
}

impl Listener {
    /// Listens at `path`.
    pub(crate) fn new(path: PathBuf) -> Listener {
        let socket = UnixListener::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Listener { path, socket }
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts one connection and receives its only message.
    pub(crate) fn receive(&self) -> Received {
        received(&self.accept())
    }

    /// Accepts one connection and receives all that is sent before it ends, with the descriptors of the beginning.
    pub(crate) fn receive_to_end(&self) -> Received {
        let mut stream = self.accept();
        let mut received = received(&stream);
        stream.read_to_string(&mut received.text).unwrap();
        received
    }

    fn accept(&self) -> UnixStream {
        let mut stream = None;
        super::wait_until("somebody connects", || {
            stream = self.socket.accept().ok();
            stream.is_some()
        });
        let (stream, _) = stream.expect("wait_until returned");
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
    }
}

/// Receives one message.
pub(crate) fn received(socket: &impl AsRawFd) -> Received {
    let mut bytes = vec![0; 1 << 16];
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([RawFd; 8]);
    let message = recvmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .unwrap();
    let mut fds = Vec::new();
    for control in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just installed these descriptors for us alone.
            fds.extend(
                numbers
                    .into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    let length = message.bytes;
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    Received { text, fds }
}
