//! The seccomp agent's side of a filter that notifies: its listener, and an agent that lets every call be made.

#![allow(
    unsafe_code,
    reason = "the listener's side of a notification is two ioctls"
)]

use super::sockets::received;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The kernel's `struct seccomp_notif`, seccomp_unotify(2).
#[repr(C)]
#[derive(Default)]
pub(crate) struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    /// The number of the call.
    pub(crate) number: i32,
    arch: u32,
    instruction_pointer: u64,
    args: [u64; 6],
}

/// The kernel's `struct seccomp_notif_resp`.
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// What becomes of a call.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// It is not made, and returns this.
    Value(i64),
    /// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`: it is made.
    Continue,
}

/// `SECCOMP_IOCTL_NOTIF_RECV`: `_IOWR('!', 0, struct seccomp_notif)`.
const RECEIVE: u32 = 0xc050_2100;
/// `SECCOMP_IOCTL_NOTIF_SEND`: `_IOWR('!', 1, struct seccomp_notif_resp)`.
const SEND: u32 = 0xc018_2101;

/// The next call that waits; None if who has made it is gone.
pub(crate) fn next_call(listener: &OwnedFd) -> Option<Notification> {
    let mut notification = Notification::default();
    let fd = listener.as_raw_fd();
    // SAFETY: the struct has the kernel's layout and is live; RECEIVE names its size.
    let result = unsafe { libc::ioctl(fd, RECEIVE as libc::Ioctl, &raw mut notification) };
    (result == 0).then_some(notification)
}

/// Answers it; false if who has made it is gone.
pub(crate) fn answer(listener: &OwnedFd, call: &Notification, answer: Answer) -> bool {
    let (value, flags) = match answer {
        Answer::Value(value) => (value, 0),
        Answer::Continue => (0, 1),
    };
    let response = Response {
        id: call.id,
        value,
        error: 0,
        flags,
    };
    let fd = listener.as_raw_fd();
    // SAFETY: as above, for SEND and the response.
    let result = unsafe { libc::ioctl(fd, SEND as libc::Ioctl, &raw const response) };
    result == 0
}

/// What an agent has heard.
#[derive(Default)]
struct Heard {
    /// The documents that came with a listener, in their order.
    documents: Vec<Value>,
    /// The numbers of the calls that were notified of.
    calls: BTreeSet<i64>,
    has_ended: bool,
}

/// An agent that notes every call, and lets it be made unless it is told otherwise.
pub(crate) struct Agent {
    path: PathBuf,
    heard: Arc<Mutex<Heard>>,
}

impl Agent {
    /// Listens at `path`, for everybody.
    pub(crate) fn new(path: PathBuf) -> Agent {
        Agent::that_answers(path, |_| Answer::Continue)
    }

    /// The same; `answers` says what becomes of each number of a call.
    pub(crate) fn that_answers(path: PathBuf, answers: fn(i64) -> Answer) -> Agent {
        let socket = UnixListener::bind(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let agent = Agent {
            path,
            heard: Arc::clone(&heard),
        };
        std::thread::spawn(move || {
            for connection in socket.incoming() {
                if heard.lock().unwrap().has_ended {
                    return;
                }
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || serve(&connection.unwrap(), &heard, answers));
            }
        });
        agent
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until it was told something: the container process states.
    pub(crate) fn told(&self) -> Vec<Value> {
        super::wait_until("the agent is told", || {
            !self.heard.lock().unwrap().documents.is_empty()
        });
        self.heard().0
    }

    /// What it was told since the last call: the container process states, and the numbers of calls.
    pub(crate) fn heard(&self) -> (Vec<Value>, BTreeSet<i64>) {
        let mut heard = self.heard.lock().unwrap();
        let documents = std::mem::take(&mut heard.documents);
        (documents, std::mem::take(&mut heard.calls))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Ok(mut heard) = self.heard.lock() {
            heard.has_ended = true;
        }
        // Wakes who accepts.
        let _ = UnixStream::connect(&self.path);
    }
}

/// One listener, until nobody is under its filter any more.
fn serve(connection: &UnixStream, heard: &Mutex<Heard>, answers: fn(i64) -> Answer) {
    let message = received(connection);
    // A runtime that fails hangs up.
    let Some(listener) = message.fds.into_iter().next() else {
        return;
    };
    let document = serde_json::from_str(&message.text).unwrap();
    heard.lock().unwrap().documents.push(document);
    loop {
        let mut fds = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).unwrap();
        if fds[0].revents() != Some(PollFlags::POLLIN) {
            return;
        }
        if let Some(call) = next_call(&listener) {
            heard.lock().unwrap().calls.insert(call.number.into());
            answer(&listener, &call, answers(call.number.into()));
        }
    }
}
