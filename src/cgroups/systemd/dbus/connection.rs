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

/// More than any line of the handshake has.
const LONGEST_LINE: usize = 256;

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
    /// What has come and nobody has looked at.
    unread: Vec<u8>,
    /// Calls whose answers nobody waits for.
    unheard: Vec<u32>,
    /// A bus is on the other side: anybody on it may send signals.
    pub(crate) is_bus: bool,
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
            unread: Vec::new(),
            unheard: Vec::new(),
            is_bus: false,
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

    /// A line of the handshake, without its end.
    fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let mut line = self.read(end + 2)?;
                line.truncate(end);
                return Ok(line);
            }
            if self.unread.len() >= LONGEST_LINE {
                return Err(Failure::Protocol);
            }
            self.fill()?;
        }
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

    /// Sends a call that must succeed, without a wait: that it has failed is what a later wait says.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub(crate) fn send_unheard(&mut self, call: &Call<'_>) -> Result<()> {
        let serial = self.send(call)?;
        self.unheard.push(serial);
        Ok(())
    }

    /// Waits for the next message, whatever it is.
    ///
    /// # Errors
    /// All; [`Failure::Refused`] where it is about a call of [`Connection::send_unheard`].
    pub(crate) fn receive(&mut self) -> Result<Message> {
        while self.unread.len() < FIXED {
            self.fill()?;
        }
        let fixed = self.unread.first_chunk().ok_or(Failure::Protocol)?;
        let length = length(*fixed).ok_or(Failure::Protocol)?;
        let message = Message::decode(&self.read(length)?).ok_or(Failure::Protocol)?;
        for serial in &self.unheard {
            if let Some(Err(failure)) = answer(&message, *serial) {
                return Err(failure);
            }
        }
        Ok(message)
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

    /// The next bytes, of this length.
    fn read(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill()?;
        }
        let rest = self.unread.split_off(length);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    /// Takes what has come, and waits for a first byte of it. Much at a time: systemd tells its own connections of all
    /// that it does.
    fn fill(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        loop {
            let left = self.time_left()?;
            self.stream.set_read_timeout(Some(left)).map_err(broken)?;
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(Failure::Broken(Errno::ECONNRESET)),
                Ok(n) => {
                    self.unread.extend(bytes.get(..n).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(broken(error)),
            }
        }
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

#[cfg(test)]
pub(in crate::cgroups::systemd) mod tests {
    use super::*;

    /// A connection on which all this has come.
    pub(in crate::cgroups::systemd) fn told(said: &[u8]) -> (Connection, UnixStream) {
        let (stream, mut other) = UnixStream::pair().unwrap();
        other.write_all(said).unwrap();
        let connection = Connection {
            stream,
            deadline: Instant::now() + Duration::from_secs(10),
            watch: Watch::begin(),
            serial: 0,
            unread: Vec::new(),
            unheard: Vec::new(),
            is_bus: false,
        };
        (connection, other)
    }

    /// A message of this kind that answers the call `serial`.
    fn message(kind: u8, serial: u8) -> [u8; 24] {
        let [length, reply] = [8, 5];
        [
            b'l', kind, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0, length, 0, 0, 0, reply, 1, b'u', 0, serial,
            0, 0, 0,
        ]
    }

    const RETURN: u8 = 2;
    const ERROR: u8 = 3;

    #[test]
    fn what_comes_at_once_is_read_in_order() {
        let said = [
            b"DATA\r\nOK 12\r\n".as_slice(),
            &message(RETURN, 1),
            &message(RETURN, 2),
        ];
        let (mut connection, _other) = told(&said.concat());
        assert_eq!(connection.line(), Ok(b"DATA".to_vec()));
        assert_eq!(connection.line(), Ok(b"OK 12".to_vec()));
        assert_eq!(connection.receive().unwrap().answers, Some(1));
        assert_eq!(connection.receive().unwrap().answers, Some(2));
    }

    #[test]
    fn a_line_without_an_end_is_no_handshake() {
        let (mut connection, _other) = told(&[b'x'; 5000]);
        assert_eq!(connection.line(), Err(Failure::Protocol));
    }

    #[test]
    fn a_call_that_nobody_waits_for_must_succeed() {
        let hello = Call {
            destination: "a.b",
            path: "/",
            interface: "a.b",
            member: "Hello",
            body: &[],
        };
        let (mut connection, _other) = told(&[message(RETURN, 1), message(ERROR, 2)].concat());
        connection.send_unheard(&hello).unwrap();
        connection.send_unheard(&hello).unwrap();
        assert_eq!(connection.receive().unwrap().answers, Some(1));
        let refused = Failure::Refused(String::new(), String::new());
        assert_eq!(connection.receive().unwrap_err(), refused);
    }
}
