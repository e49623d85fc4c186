//! The proxy itself: two sockets, and the messages that go from one to the other.

use super::queue::{Queue, Waiting};
use super::words::{Readiness, filtered};
use super::{inside, manager_socket};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Result};
use crate::state::State;
use crate::sys::scm::{self, Brings};
use crate::{caller_socket, timeout};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, pipe2};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// The most messages that are passed on at a time.
const AT_ONCE: usize = 64;

/// The container's socket and the manager's.
#[derive(Debug)]
pub(crate) struct Proxy {
    container: Queue,
    /// None if no manager listens; the container's messages then get lost.
    manager: Option<OwnedFd>,
    init: Pid,
    /// The reason why the first message in the queue is not passed on yet.
    held: Option<Held>,
}

/// The event that the first message waits for, and the time at which it stops waiting.
#[derive(Debug)]
struct Held {
    end: Instant,
    until: Until,
}

#[derive(Debug)]
enum Until {
    /// The manager has room again. If it gets none in time, the message is lost.
    Room,
    /// The manager has read all before this barrier: the other end of the pipe is closed. The message was passed on
    /// already, with this readiness. It is taken out of the queue then, by which its sender learns of the barrier.
    Read(OwnedFd, Readiness),
}

impl Held {
    fn until(until: Until) -> Held {
        Held {
            end: Instant::now() + timeout::NOTIFY_MANAGER,
            until,
        }
    }
}

impl Proxy {
    /// Binds the container's socket, before the program runs. Returns None if the container was created without one,
    /// or casulo was given no manager's socket now. `pidfd` is that of init, whose pid the manager is told.
    ///
    /// If no manager listens, this only logs a warning: the variable stays in the environment of processes that a
    /// manager has started, also when that manager is gone.
    ///
    /// # Errors
    /// `E_IO` if the container's socket cannot be bound. If the caller may not join init's namespaces, that is only a
    /// warning.
    pub(crate) fn listen(state: &State, pidfd: BorrowedFd<'_>) -> Result<Option<Proxy>> {
        let (Some(name), Some(directory)) = (manager_socket(), &state.notify_directory) else {
            return Ok(None);
        };
        let manager = caller_socket::connect_datagram(&name)
            .map_err(|errno| {
                log::warn!(
                    "nobody listens at NOTIFY_SOCKET {}: {}",
                    name.display(),
                    errno.desc()
                );
            })
            .ok();
        let container = match inside::bound_in(pidfd, state.namespaces, directory) {
            // EPERM: an ordinary user whose init may not be traced. The container runs without the proxy.
            Err(error) if error.errno == Some(Errno::EPERM) => {
                log::warn!("{error}");
                return Ok(None);
            }
            bound => bound?,
        };
        Ok(Some(Proxy::between(
            Queue::of(container),
            manager,
            Pid::from_raw(state.init_process_pid),
        )))
    }

    fn between(container: Queue, manager: Option<OwnedFd>, init: Pid) -> Proxy {
        Proxy {
            container,
            manager,
            init,
            held: None,
        }
    }

    /// Passes on one message, if that is possible. Waits for nothing except the closing of descriptors that came with
    /// it ([`Queue::take_out`]).
    fn pass_on(&mut self) -> Result<Passed> {
        if let Some(held) = &self.held {
            if !is_over(held, self.manager.as_ref()) {
                return Ok(Passed::Nothing);
            }
            let taken_out = match held.until {
                Until::Read(_, readiness) => Some(readiness),
                Until::Room if Instant::now() >= held.end => Some(Readiness::NotYet),
                Until::Room => None,
            };
            self.held = None;
            if let Some(readiness) = taken_out {
                let brings = self.first()?.map_or(Brings::Text, |first| first.brings);
                self.container.take_out(brings);
                return Ok(Passed::Message(readiness, brings));
            }
        }
        let Some(Waiting { text, brings }) = self.first()? else {
            return Ok(Passed::Nothing);
        };
        if without(Defence::NotifyDescriptors) {
            self.pass_on_whole()?;
            return Ok(Passed::Message(Readiness::NotYet, brings));
        }
        let message = filtered(&text);
        let mut told = self.tell(&message.text);
        if told.is_ok() && message.readiness == Readiness::Ready {
            told = self.tell(format!("MAINPID={}", self.init).as_bytes());
        }
        if told.is_ok() && message.asks_for_barrier {
            match self.begin_barrier() {
                Ok(reader) => self.held = held_until_read(reader, message.readiness),
                Err(errno) => told = Err(errno),
            }
        }
        if told == Err(Errno::EAGAIN) {
            // The whole message is passed on once more later: a line that is sent twice means the same.
            self.held = Some(Held::until(Until::Room));
        }
        if self.held.is_some() {
            return Ok(Passed::Nothing);
        }
        self.container.take_out(brings);
        told.context(Code::Io, "send to", "NOTIFY_SOCKET")?;
        Ok(Passed::Message(message.readiness, brings))
    }

    fn first(&self) -> Result<Option<Waiting>> {
        let first = self.container.first();
        first.context(Code::Io, "receive from", "notify socket")
    }

    /// Without the defence: sends the message to the manager with the first of its descriptors.
    fn pass_on_whole(&self) -> Result<()> {
        let mut buffer = [0; super::queue::LONGEST];
        let received = scm::receive(self.container.as_fd(), &mut buffer);
        let (length, fd) = received.context(Code::Io, "receive from", "notify socket")?;
        let text = buffer.get(..length).unwrap_or_default();
        match (&self.manager, fd) {
            (Some(manager), Some(fd)) => scm::send_fd(manager.as_fd(), text, fd.as_fd()),
            _ => self.tell(text),
        }
        .context(Code::Io, "send to", "NOTIFY_SOCKET")
    }

    /// Sends `message` to the manager, if there is one; EAGAIN if the manager has no room.
    fn tell(&self, message: &[u8]) -> nix::Result<()> {
        match self.manager.as_ref().filter(|_| !message.is_empty()) {
            Some(manager) => scm::send(manager.as_fd(), message),
            None => Ok(()),
        }
    }

    /// Sends a barrier of our own. The manager closes the descriptor that comes with `BARRIER=1` when it reads it, or
    /// drops it because it knows no barrier. Then the returned end of the pipe hangs up. None without a manager.
    fn begin_barrier(&self) -> nix::Result<Option<OwnedFd>> {
        let Some(manager) = &self.manager else {
            return Ok(None);
        };
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        scm::send_fd(manager.as_fd(), b"BARRIER=1", writer.as_fd())?;
        Ok(Some(reader))
    }

    /// `start` and a detached `run`: returns when the container has sent `READY=1` and the manager has read it, when
    /// init (`pidfd`) has ended, or at once if no manager listens. The manager finds the service of a message by the
    /// cgroup of its sender, so casulo must still live when it is read.
    ///
    /// # Errors
    /// `E_IO` with the errno of the sockets.
    pub(crate) fn wait_until_ready(mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        // The most messages passed on after init's end. Without a pid namespace init may leave processes that go on
        // sending.
        let mut left = AT_ONCE;
        while self.manager.is_some() && left > 0 {
            let mut fds = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
            let timeout = self.watch(&mut fds);
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(Code::Io, "wait for", "READY=1"),
            }
            let end = fds.first().and_then(PollFd::any) == Some(true);
            left -= usize::from(end);
            match self.pass_on()? {
                Passed::Message(Readiness::Ready, _) => {
                    self.wait_for_manager();
                    return Ok(());
                }
                Passed::Nothing if end => return Ok(()),
                Passed::Message(..) | Passed::Nothing => {}
            }
        }
        Ok(())
    }

    /// Waits until the manager has read everything, or has not answered in time: it was told all the same.
    fn wait_for_manager(&mut self) {
        let end = Instant::now() + timeout::NOTIFY_MANAGER;
        loop {
            match self.begin_barrier() {
                Ok(reader) => self.held = held_until_read(reader, Readiness::Ready),
                Err(Errno::EAGAIN) => self.held = Some(Held::until(Until::Room)),
                Err(_) => return,
            }
            let mut fds = Vec::new();
            let timeout = self.watch(&mut fds);
            let _ = poll(&mut fds, timeout);
            let waits_for_room = |held: &Held| matches!(held.until, Until::Room);
            if !self.held.as_ref().is_some_and(waits_for_room) || Instant::now() >= end {
                return;
            }
        }
    }

    /// Adds the descriptors to wait for to `fds`, and returns how long to wait at most.
    pub(crate) fn watch<'f>(&'f self, fds: &mut Vec<PollFd<'f>>) -> PollTimeout {
        let Some(held) = &self.held else {
            fds.push(PollFd::new(self.container.as_fd(), PollFlags::POLLIN));
            return PollTimeout::NONE;
        };
        match (&held.until, &self.manager) {
            (Until::Read(reader, _), _) => {
                fds.push(PollFd::new(reader.as_fd(), PollFlags::empty()))
            }
            (Until::Room, Some(manager)) => {
                fds.push(PollFd::new(manager.as_fd(), PollFlags::POLLOUT));
            }
            (Until::Room, None) => {}
        }
        let left = held.end.saturating_duration_since(Instant::now());
        // Rounded up: a wait that ends just before the end would only be repeated.
        PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
    }

    /// `run` in the foreground: passes waiting messages on. A flood of messages, or of descriptors that come with
    /// them, does not keep it from other work. A manager that is gone is no reason to end the container.
    pub(crate) fn serve(&mut self) {
        for _ in 0..AT_ONCE {
            match self.pass_on() {
                Ok(Passed::Message(_, Brings::Text)) => {}
                Ok(Passed::Nothing | Passed::Message(_, Brings::Descriptors)) => return,
                Err(error) => log::info!("{error}"),
            }
        }
    }
}

/// None if no manager reads.
fn held_until_read(reader: Option<OwnedFd>, readiness: Readiness) -> Option<Held> {
    reader.map(|reader| Held::until(Until::Read(reader, readiness)))
}

/// The result of [`Proxy::pass_on`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// There is no message, or it has to wait.
    Nothing,
    /// The message was taken out of the queue.
    Message(Readiness, Brings),
}

fn is_over(held: &Held, manager: Option<&OwnedFd>) -> bool {
    let (fd, flags) = match (&held.until, manager) {
        (Until::Read(reader, _), _) => (reader, PollFlags::empty()),
        (Until::Room, Some(manager)) => (manager, PollFlags::POLLOUT),
        (Until::Room, None) => return true,
    };
    let mut fds = [PollFd::new(fd.as_fd(), flags)];
    Instant::now() >= held.end || poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests;
