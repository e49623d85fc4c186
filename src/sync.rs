//! The messages between casulo's processes. All of them are written and read here and below this file. Only the
//! landing area, which has nothing of casulo's memory, writes its own ([`crate::binary::landing::Word`]).
//!
//! The parent and init have one SOCK_SEQPACKET pair until the process's last steps begin:
//!
//! ```text
//!   parent                          init, or an entrant
//!     │ ◄───────────── Unmapped ──── │   only an entrant that has made a user namespace
//!     │  ── Go ────────────────────► │   id maps are written, the documents for hooks follow ([`documents`])
//!     │                              │   (only where the plan needs any of them)
//!     │  ── trees ─────────────────► │   the rootfs, then the bind sources ([`trees`])
//!     │ ◄──── Turn or Found + fd ─── │   each time that the parent asks for it between them
//!     │ ◄──────────── Populated ──── │   the mounts and devices are in place (only if the parent waits for that)
//!     │  ── HooksDone ─────────────► │   prestart and createRuntime ran (only with hooks before the pivot)
//!     │ ◄──────── Terminal + fd ──── │   the master of the pty          (only with process.terminal)
//!     │ ◄─ Failed(error) or EOF ──── │   EOF: its last steps begin, and are told by [`pipes`]
//! ```
//! A process of exec gets `Release` first if systemd has moved it; it sends `Terminal`. Before its birth an entrant
//! waits until the page that it shares with the parent says that it may be seen ([`Channel::until_seen`]). At any
//! moment the process may send `Failed` and leave. An end of file without the last steps means that it died.
//!
//! Other processes have channels of their own: the last process ([`pipes`]), a bridge ([`bridge`]), helpers and hooks
//! ([`answers`]). A process that can make no call any more reports in a page ([`page`]).

pub(crate) mod answers;
pub(crate) mod bridge;
pub(crate) mod documents;
pub(crate) mod hearing;
pub(crate) mod page;
pub(crate) mod pipes;
pub(crate) mod trees;

use crate::binary::shared::Shared;
use crate::error::{Code, Error, Result};
use crate::sys::scm;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

/// Returns the two ends of a socket pair that keeps messages apart, close-on-exec.
///
/// # Errors
/// That of socketpair(2).
fn socket_pair() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (flags, kind) = (SockFlag::SOCK_CLOEXEC, SockType::SeqPacket);
    socketpair(AddressFamily::Unix, kind, None, flags)
}

/// The longest message in bytes; a longer error text is cut.
pub(crate) const MAX: usize = 4096;

/// A message over a [`Channel`]; see the drawing above.
#[derive(Debug)]
pub(crate) enum Message {
    /// Parent: go on; two byte strings of these lengths follow in messages of their own.
    Go {
        /// Length of the state document for createContainer hooks.
        create_state: u32,
        /// Length of the state document for startContainer hooks.
        start_state: u32,
    },
    /// An entrant: it is in its new user namespace, and the parent must write its id maps.
    Unmapped,
    /// Init, if the parent waits for it: the mounts and devices are in place, and the parent may run its hooks.
    Populated,
    /// Parent: its hooks have run.
    HooksDone,
    /// Init, asked: it has made all mounts before the next source, or has taken that itself.
    Turn,
    /// Init, asked: the clone of a source that lies in the container's root.
    Found(OwnedFd),
    /// Init: the master of the pty.
    Terminal(OwnedFd),
    /// Parent, to a process of exec: it is in its cgroup, and may begin.
    Release,
    /// Init (or the bridge): this step failed; the sender leaves.
    Failed(Error),
}

/// One end of the socket pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Returns the reason why the other process left, if it sent one, else `error`. For a step that failed because
    /// the other process was gone.
    pub(crate) fn reason_or(&self, error: Error) -> Error {
        loop {
            let mut readable = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            if poll(&mut readable, PollTimeout::ZERO).unwrap_or(0) == 0 {
                return error;
            }
            match self.receive() {
                Ok(Some(Message::Failed(cause))) => return cause,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return error,
            }
        }
    }

    /// A connected pair: the parent's end and init's.
    ///
    /// # Errors
    /// `E_SYNC` with the errno of socketpair(2).
    pub(crate) fn pair() -> Result<(Channel, Channel)> {
        let (ours, theirs) =
            socket_pair().map_err(|errno| Error::step(Code::Sync, "socketpair", "", errno))?;
        Ok((Channel(ours), Channel(theirs)))
    }

    /// Sends one message.
    ///
    /// # Errors
    /// `E_SYNC`; EPIPE when the other side is gone.
    pub(crate) fn send(&self, message: &Message) -> Result<()> {
        let (bytes, fd) = encode(message);
        self.send_bytes(&bytes, fd.as_slice())
    }

    /// Sends a byte string that is not empty, and descriptors with it. For data that is no [`Message`] but is sent
    /// between them.
    ///
    /// # Errors
    /// `E_SYNC`; EPIPE when the other side is gone.
    pub(crate) fn send_with(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        self.send_bytes(bytes, &fds)
    }

    fn send_bytes(&self, bytes: &[u8], fds: &[RawFd]) -> Result<()> {
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() {
            &rights[..0]
        } else {
            &rights[..]
        };
        loop {
            let sent = sendmsg::<()>(
                self.0.as_raw_fd(),
                &[IoSlice::new(bytes)],
                control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            );
            match sent {
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(Error::step(
                        Code::Sync,
                        "send to the other process",
                        "",
                        errno,
                    ));
                }
                Ok(_) => return Ok(()),
            }
        }
    }

    /// An entrant: waits until the parent says in `shared` that what it makes may be seen. Usually the parent has
    /// said so long before.
    ///
    /// # Errors
    /// `E_SYNC` when the parent is gone.
    pub(crate) fn until_seen(&self, shared: &Shared) -> Result<()> {
        while !shared.may_be_seen() {
            if self.is_closed() {
                return Err(Error::new(
                    Code::Sync,
                    "the parent left before the process could be seen",
                ));
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }

    /// Test builds, without the defence: sends the end of file, and leaves the socket open.
    pub(crate) fn end_and_keep(self) {
        use nix::sys::socket::{Shutdown, shutdown};
        use std::os::fd::IntoRawFd;
        let _ = shutdown(self.0.into_raw_fd(), Shutdown::Write);
    }

    /// True if the other side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        // poll(2) reports POLLHUP without being asked.
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Receives one message; `None` at the end of file.
    ///
    /// # Errors
    /// `E_SYNC` for a socket error or bytes that are no message of casulo's.
    pub(crate) fn receive(&self) -> Result<Option<Message>> {
        let mut buffer = [0u8; MAX];
        let (length, fds) = self.receive_with::<1>(&mut buffer)?;
        match length {
            0 => Ok(None),
            length => {
                let fd = fds.into_iter().next();
                decode(buffer.get(..length).unwrap_or(&[]), fd).map(Some)
            }
        }
    }

    /// Receives a byte string into `buffer`, and the descriptors with it ([`scm::receive_all`]). Returns its length,
    /// 0 at the end of file, and the descriptors.
    ///
    /// # Errors
    /// `E_SYNC` for a socket error.
    pub(crate) fn receive_with<const FDS: usize>(
        &self,
        buffer: &mut [u8],
    ) -> Result<(usize, Vec<OwnedFd>)> {
        loop {
            match scm::receive_all::<FDS>(self.0.as_fd(), buffer) {
                // ECONNRESET, once: the peer has left without reading all. Its earlier messages can still be
                // received, and then the end of file.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(errno) => {
                    return Err(Error::step(
                        Code::Sync,
                        "receive from the other process",
                        "",
                        errno,
                    ));
                }
                Ok(received) => return Ok(received),
            }
        }
    }
}

impl std::os::fd::AsFd for Channel {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

pub(crate) fn encode(message: &Message) -> (Vec<u8>, Option<RawFd>) {
    match message {
        Message::Go {
            create_state,
            start_state,
        } => {
            let mut bytes = vec![b'G'];
            bytes.extend(create_state.to_le_bytes());
            bytes.extend(start_state.to_le_bytes());
            (bytes, None)
        }
        Message::Unmapped => (vec![b'U'], None),
        Message::Populated => (vec![b'P'], None),
        Message::HooksDone => (vec![b'H'], None),
        Message::Turn => (vec![b'N'], None),
        Message::Found(fd) => (vec![b'D'], Some(fd.as_raw_fd())),
        Message::Terminal(fd) => (vec![b'T'], Some(fd.as_raw_fd())),
        Message::Release => (vec![b'L'], None),
        Message::Failed(error) => (encode_error(error), None),
    }
}

/// Writes `F`, and then the fields with NUL between them; a NUL inside a field becomes a space.
fn encode_error(error: &Error) -> Vec<u8> {
    let errno = error.errno.map_or(0, |errno| errno as i32).to_string();
    let hint = error.hint.as_deref().unwrap_or("");
    let fields = [
        error.code.as_str(),
        &errno,
        &error.step,
        &error.object,
        hint,
        &error.detail,
    ];
    let clean: Vec<String> = fields
        .iter()
        .map(|field| field.replace('\0', " "))
        .collect();
    let mut bytes = vec![b'F'];
    bytes.extend(clean.join("\0").into_bytes());
    bytes.truncate(MAX);
    bytes
}

/// Reads one message; `fd` is the descriptor that came with it.
///
/// # Errors
/// `E_SYNC` for anything that [`encode`] cannot have made.
pub(crate) fn decode(bytes: &[u8], fd: Option<OwnedFd>) -> Result<Message> {
    let unknown = || Error::new(Code::Sync, "a message that is none of casulo's");
    let number = |at: usize| -> Result<u32> {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map(u32::from_le_bytes).ok_or_else(unknown)
    };
    match (bytes.first(), fd) {
        (Some(b'G'), _) => Ok(Message::Go {
            create_state: number(1)?,
            start_state: number(5)?,
        }),
        (Some(b'U'), _) => Ok(Message::Unmapped),
        (Some(b'P'), _) => Ok(Message::Populated),
        (Some(b'H'), _) => Ok(Message::HooksDone),
        (Some(b'N'), _) => Ok(Message::Turn),
        (Some(b'D'), Some(fd)) => Ok(Message::Found(fd)),
        (Some(b'T'), Some(fd)) => Ok(Message::Terminal(fd)),
        (Some(b'L'), _) => Ok(Message::Release),
        (Some(b'F'), _) => decode_error(bytes.get(1..).unwrap_or(&[]))
            .ok_or_else(unknown)
            .map(Message::Failed),
        _ => Err(unknown()),
    }
}

fn decode_error(bytes: &[u8]) -> Option<Error> {
    let text = String::from_utf8_lossy(bytes);
    let mut fields = text.splitn(6, '\0');
    let code = Code::parse(fields.next()?);
    let errno = match fields.next()?.parse().ok()? {
        0 => None,
        raw => Some(Errno::from_raw(raw)),
    };
    let step = fields.next()?.to_owned();
    // From here on a message may have been cut: see [`MAX`].
    let object = fields.next().unwrap_or("").to_owned();
    let hint = fields
        .next()
        .filter(|hint| !hint.is_empty())
        .map(str::to_owned);
    let detail = fields.next().unwrap_or("").to_owned();
    Some(Error {
        code,
        step,
        object,
        errno,
        detail,
        hint,
    })
}

#[cfg(test)]
mod tests;
