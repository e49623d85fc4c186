//! A connection to systemd or to a message bus: the handshake, then messages. Parent.
//!
//! Everything on it is done by one deadline: a systemd that hangs must not hang casulo. No single wait is longer than
//! a second: the foreground has signals blocked, and looks for those that ask it to end.

use super::message::{Call, FIXED, Kind, Message, length};
use super::value::Value;
use crate::waiting::Watch;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt,
};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens, or not for us.
    Connect(Errno),
    /// The other side closed the connection, or the kernel did.
    Broken(Errno),
    /// The other side does not see our processes, or not by our numbers.
    OtherPids,
    /// The deadline is over.
    TimedOut,
    /// A signal asked casulo to end meanwhile.
    AskedToEnd,
    /// The other side does not speak the protocol.
    Protocol,
    /// The call failed: the name of the error, and its text.
    Refused(String, String),
}

/// A result of this module.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    deadline: Instant,
    watch: Watch,
    serial: u32,
}

impl Connection {
    /// Connects to the socket at `path` and authenticates by what the kernel says of us.
    ///
    /// # Errors
    /// [`Failure::Connect`] where nobody listens there.
    pub(crate) fn open(path: &Path, patience: Duration) -> Result<Connection> {
        let deadline = Instant::now() + patience;
        let fd = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .map_err(Failure::Connect)?;
        let address = UnixAddr::new(path).map_err(Failure::Connect)?;
        let mut connection = Connection {
            stream: fd.into(),
            deadline,
            watch: Watch::begin(),
            serial: 0,
        };
        connection.connect(&address)?;
        // unix(7): who listens, with the pid that it has here. It is told pids, and would take them
        // for those of strangers.
        match getsockopt(&connection.stream, sockopt::PeerCredentials) {
            Ok(peer) if peer.pid() == 0 => return Err(Failure::OtherPids),
            result => result.map_err(Failure::Connect)?,
        };
        connection.authenticate()?;
        Ok(connection)
    }

    /// A full queue of connections makes connect(2) wait, by the limit for writing (socket(7)).
    fn connect(&mut self, address: &UnixAddr) -> Result<()> {
        loop {
            let left = self.time_left()?;
            self.stream.set_write_timeout(Some(left)).map_err(broken)?;
            match connect(self.stream.as_raw_fd(), address) {
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                result => return result.map_err(Failure::Connect),
            }
        }
    }

    /// "Authentication Protocol": a NUL, which carries our credentials, then EXTERNAL without
    /// saying who we are. The uid that a user namespace shows us is not the one that the other
    /// side knows.
    fn authenticate(&mut self) -> Result<()> {
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let data = self.line()?;
        let answer = self.line()?;
        match (data.as_slice(), answer.get(..3)) {
            (b"DATA", Some(b"OK ")) => Ok(()),
            _ => Err(Failure::Protocol),
        }
    }

    /// A line of the handshake, without its end. Read byte by byte: what follows is a message.
    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.len() < 256 {
            let mut byte = [0];
            self.read(&mut byte)?;
            match byte {
                [b'\n'] if line.last() == Some(&b'\r') => {
                    line.pop();
                    return Ok(line);
                }
                [byte] => line.push(byte),
            }
        }
        Err(Failure::Protocol)
    }

    /// Sends a call; returns its serial.
    ///
    /// # Errors
    /// [`Failure::Broken`], [`Failure::TimedOut`].
    pub(crate) fn send(&mut self, call: &Call<'_>) -> Result<u32> {
        self.serial += 1;
        self.write(&call.encode(self.serial))?;
        Ok(self.serial)
    }

    /// Waits for the next message, whatever it is.
    ///
    /// # Errors
    /// All but [`Failure::Refused`].
    pub(crate) fn receive(&mut self) -> Result<Message> {
        let mut fixed = [0; FIXED];
        self.read(&mut fixed)?;
        let length = length(fixed).ok_or(Failure::Protocol)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(length, 0);
        self.read(bytes.get_mut(FIXED..).unwrap_or_default())?;
        Message::decode(&bytes).ok_or(Failure::Protocol)
    }

    /// Sends a call and waits for its answer; signals that come before it are lost.
    ///
    /// # Errors
    /// All.
    pub(crate) fn call(&mut self, call: &Call<'_>) -> Result<Vec<Value>> {
        let serial = self.send(call)?;
        loop {
            if let Some(answer) = answer(&self.receive()?, serial) {
                return answer;
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let left = self.time_left()?;
            self.stream.set_write_timeout(Some(left)).map_err(broken)?;
            match self.stream.write(bytes) {
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self, mut bytes: &mut [u8]) -> Result<()> {
        while !bytes.is_empty() {
            let left = self.time_left()?;
            self.stream.set_read_timeout(Some(left)).map_err(broken)?;
            match self.stream.read(bytes) {
                Ok(0) => return Err(Failure::Broken(Errno::ECONNRESET)),
                Ok(n) => bytes = bytes.get_mut(n..).unwrap_or_default(),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(())
    }

    /// How long the next wait may be. Never zero, which would mean without a limit.
    fn time_left(&mut self) -> Result<Duration> {
        if self.watch.asked_to_end() {
            return Err(Failure::AskedToEnd);
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::TimedOut);
        }
        Ok(left.min(self.watch.left()).max(Duration::from_millis(1)))
    }
}

/// Whether a wait was over, or interrupted: [`Connection::time_left`] says whether there is another.
fn is_passing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// What `message` says to the call with `serial`; None if it is about something else.
pub(crate) fn answer(message: &Message, serial: u32) -> Option<Result<Vec<Value>>> {
    if message.answers != Some(serial) {
        return None;
    }
    match (message.kind, message.values()) {
        (Kind::Return, Some(values)) => Some(Ok(values)),
        (Kind::Error, values) => {
            let text = match values.unwrap_or_default().into_iter().next() {
                Some(Value::String(text)) => text,
                _ => String::new(),
            };
            let name = message.error.clone().unwrap_or_default();
            Some(Err(Failure::Refused(name, text)))
        }
        (Kind::Return, None) => Some(Err(Failure::Protocol)),
        _ => None,
    }
}

fn broken(error: std::io::Error) -> Failure {
    Failure::Broken(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}
