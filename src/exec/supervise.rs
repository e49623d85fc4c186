//! The parent of an entrant and of the process that it makes, until that runs. A container can stop, trace and flood
//! whatever of casulo's it sees, so nothing here waits for it without looking at signals and at the clock, and nothing
//! that it says is believed but numbers in range. Whether it has executed its program says the kernel.

use super::cgroup::Destination;
use super::death;
use super::stop::{Stop, Waited, held};
use super::{Executed, Outcome, Request, WhenPaused};
use crate::binary::landing::{self, GO, SET_PROCESSES, Tells};
use crate::binary::protection;
use crate::binary::shared::Shared;
use crate::cgroups::{Cgroup, systemd};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::foreground::{EndSignals, give_own_size};
use crate::procfs::ProcFs;
use crate::seccomp::listener::{Agent, Listener};
use crate::step::{self, Step};
use crate::sync::hearing::Hearing;
use crate::sync::pipes::Ends;
use crate::sync::{Channel, Message};
use crate::sys::child::{self, WaitMode};
use crate::sys::pidfd::pidfd_open;
use crate::sys::rlimit;
use crate::terminal;
use crate::timeout;
use crate::waiting::{self, Farewell};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// RLIMIT_NPROC.
const PROCESSES: u32 = 6;

/// The parent's side of one exec.
pub(super) struct Supervision<'a> {
    request: &'a Request<'a>,
    proc: &'a ProcFs,
    entrant: Pid,
    entrant_fd: OwnedFd,
    /// Its number may be another process's from then on.
    entrant_is_reaped: bool,
    /// None once the entrant has closed it.
    channel: Option<Channel>,
    ends: Ends,
    shared: &'static Shared,
    agent: Option<Agent<'a>>,
    listener: Option<Listener>,
    console: Option<OwnedFd>,
    /// Readable when a signal asks casulo to end.
    end: Option<EndSignals>,
}

/// How it came out.
pub(super) enum Supervised {
    /// So.
    Came(Outcome),
    /// The kernel has killed the entrant before its first instruction, in this cgroup.
    KilledAtBirth(Option<Cgroup>),
}

impl<'a> Supervision<'a> {
    pub(super) fn new(
        request: &'a Request<'a>,
        entrant: Pid,
        channel: Channel,
        ends: Ends,
        shared: &'static Shared,
        agent: Option<Agent<'a>>,
        proc: &'a ProcFs,
    ) -> Result<Supervision<'a>> {
        let opened = pidfd_open(entrant).context(Code::Process, "open a pidfd of", "the entrant");
        let end = request.signals.map(EndSignals::of).transpose();
        let (entrant_fd, end) = match (opened, end) {
            (Ok(fd), Ok(end)) => (fd, end),
            (Err(error), _) | (_, Err(error)) => {
                waiting::end(entrant);
                return Err(error);
            }
        };
        Ok(Supervision {
            request,
            proc,
            entrant,
            entrant_fd,
            entrant_is_reaped: false,
            channel: Some(channel),
            ends,
            shared,
            agent,
            listener: None,
            console: None,
            end,
        })
    }

    /// From the entrant's birth to the moment at which the program runs. After an error there is no process, but for
    /// one that a tracer in the container keeps although it was killed.
    pub(super) fn run(
        mut self,
        destination: Destination,
        cgroup: Option<Cgroup>,
    ) -> Result<Supervised> {
        let born = self
            .lead(&destination)
            .and_then(|()| self.wait_for_entrant());
        drop(destination);
        match born {
            Ok(pid) => self.follow(pid).map(Supervised::Came),
            Err(Stop::KilledAtBirth) => Ok(Supervised::KilledAtBirth(cgroup)),
            Err(stop) => self.end_entrant(stop).map(Supervised::Came),
        }
    }

    /// From the process's birth on.
    fn follow(mut self, pid: Pid) -> Result<Outcome> {
        let process = match pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                farewell(pid);
                return Err(errno).context(Code::Process, "open a pidfd of", "the process");
            }
        };
        let ran = self
            .let_go_on(pid)
            .and_then(|go| self.wait_for_execve(pid, &process, go));
        match ran {
            Ok(()) => Ok(Outcome::Executed(Executed {
                pid,
                pidfd: process,
                console: self.console,
            })),
            Err(stop) => {
                farewell(pid);
                stop.into_outcome()
            }
        }
    }

    /// What the entrant waits for.
    fn lead(&self, destination: &Destination) -> Waited<()> {
        step::begin(Step::ExecSupervise)?;
        let Some(channel) = &self.channel else {
            return Ok(());
        };
        if let Destination::SystemdsMove { scope, cgroup } = destination {
            step::begin(Step::ExecAttach)?;
            systemd::attach(scope, cgroup, self.entrant)?;
            step::begin(Step::ExecAttached)?;
            let released = channel.send(&Message::Release);
            released.map_err(|error| channel.reason_or(error))?;
        }
        if !without(Defence::OwnMountClosed) {
            protection::close_binary_mount();
        }
        step::begin(Step::ExecGo)?;
        self.shared.let_be_seen();
        Ok(())
    }

    /// Hears the entrant to its end; the pid of the process that it has made.
    fn wait_for_entrant(&mut self) -> Waited<Pid> {
        let mut failed = None;
        let deadline = self.deadline();
        loop {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(held().into());
            }
            let expects = self.agent.is_some() && self.listener.is_none();
            let look: u16 = if expects { 1 } else { 1000 };
            let (ended, heard) = self.poll_entrant(PollTimeout::from(look))?;
            if heard && let Some(channel) = &self.channel {
                match channel.receive()? {
                    Some(Message::Terminal(master)) => match self.request.console_socket {
                        Some(path) => terminal::send_to_console_socket(path, master.as_fd())?,
                        None => {
                            // Raw it becomes once the program runs: until then control-C is ours.
                            give_own_size(master.as_fd());
                            self.console = Some(master);
                        }
                    },
                    Some(Message::Failed(error)) => failed = Some(error),
                    Some(other) => {
                        let text = format!("the entrant said {other:?}");
                        return Err(Error::new(Code::Sync, text).into());
                    }
                    None => self.channel = None,
                }
            }
            if expects {
                self.listener = Listener::take(self.shared, self.entrant_fd.as_fd())?;
            }
            if let Some(listener) = &self.listener {
                listener.answer_for(self.entrant);
            }
            if ended && !heard {
                break;
            }
        }
        let how = child::wait(Some(self.entrant), WaitMode::Block);
        self.entrant_is_reaped = how.is_ok();
        match (landing::born(self.shared), failed) {
            (Some(pid), _) => Ok(pid),
            (None, Some(error)) => Err(error.into()),
            (None, None) => match death::of_entrant(how, self.shared) {
                Some(error) => Err(error.into()),
                None => Err(Stop::KilledAtBirth),
            },
        }
    }

    /// Waits until the entrant has said something or has ended: whether it has, and whether it has. Only one that
    /// opens a terminal says something before its end.
    fn poll_entrant(&self, timeout: PollTimeout) -> Waited<(bool, bool)> {
        let mut fds = vec![readable(&self.entrant_fd)];
        let speaks = self.request.process.terminal.is_some();
        fds.extend(self.channel.iter().filter(|_| speaks).map(readable));
        let channel = fds.len() - 1;
        fds.extend(self.listener.iter().map(readable));
        fds.extend(self.end.iter().map(readable));
        wait(&mut fds, timeout)?;
        let any = |at: usize| fds.get(at).and_then(PollFd::any) == Some(true);
        let ended = any(0);
        let heard = if speaks {
            channel > 0 && any(channel)
        } else {
            ended && self.channel.is_some()
        };
        let end = self.end.is_some() && any(fds.len() - 1);
        drop(fds);
        if end {
            self.look_for_end()?;
        }
        Ok((ended, heard))
    }

    /// Whether a signal has come that asks casulo to end.
    fn look_for_end(&self) -> Waited<()> {
        match self.end.as_ref().and_then(EndSignals::arrived) {
            Some(number) => Err(Stop::Signal(number)),
            None => Ok(()),
        }
    }

    /// The entrant is reaped and counts in no limit any more: gives the process what a clone would have lost, and
    /// its listener to the agent. The byte that lets it go on.
    fn let_go_on(&mut self, pid: Pid) -> Waited<u8> {
        self.request.process.grant_at_birth(pid)?;
        if let (Some(listener), Some(agent)) = (self.listener.take(), self.agent.take()) {
            let seen = &self.request.seen;
            let document = seen
                .state
                .document(seen.status, seen.state.init_process_pid);
            agent.give(listener, document, pid)?;
        }
        let lowered = self
            .request
            .process
            .process_limit()
            .map(|limit| rlimit::set(pid, PROCESSES, limit));
        Ok(match lowered {
            // It is the container's user already, and casulo may not.
            Some(Err(Errno::EPERM)) => SET_PROCESSES,
            _ => GO,
        })
    }

    /// Lets the process go on once it is there, and waits until it has executed its program.
    fn wait_for_execve(&self, pid: Pid, process: &OwnedFd, go: u8) -> Waited<()> {
        let deadline = self.deadline();
        let mut hearing = Hearing::begin();
        let mut failure = None;
        // Once it goes on, its end of the pipe or a failure's end wakes casulo; what it says meanwhile does not.
        let mut wakes = PollFlags::POLLIN;
        loop {
            let ended = self.wait_for_process(process, &hearing, wakes)?;
            for told in hearing.hear(&self.ends) {
                if told.what == Tells::Ready {
                    self.ends.say(go);
                    wakes = PollFlags::empty();
                    continue;
                }
                let told = self.request.process.explain(told);
                if let (Some(_), true) = (&told, without(Defence::FailureEnds)) {
                    return told.map_or(Ok(()), |error| Err(error.into()));
                }
                failure = failure.or(told);
            }
            // How one that has ended has ended its exit status says, as for any command that ends at once. One that fails
            // before that ends by itself; whoever traces it can only say so.
            if ended {
                return match failure {
                    Some(error) if self.proc.has_executed(pid) != Some(true) => Err(error.into()),
                    // Its words are lost where the container fills the pipe.
                    None if self.proc.has_executed(pid) == Some(false) => {
                        Err(death::killed().into())
                    }
                    _ => Ok(()),
                };
            }
            if hearing.is_time_to_look() {
                if self.proc.has_executed(pid).unwrap_or(false) {
                    return Ok(());
                }
                // Whoever fills the pipe keeps `Ready` out of it; said early it waits there.
                self.ends.say(go);
                hearing.has_looked();
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(held().into());
            }
        }
    }

    /// Waits until the process has ended, until its pipe `wakes`, or until it is time to look. Whether it has ended.
    fn wait_for_process(
        &self,
        process: &OwnedFd,
        hearing: &Hearing,
        wakes: PollFlags,
    ) -> Waited<bool> {
        let mut fds = vec![readable(process)];
        if hearing.goes_on() {
            fds.push(PollFd::new(self.ends.tell(), wakes));
        }
        fds.extend(self.end.iter().map(readable));
        let timeout = PollTimeout::try_from(hearing.longest_wait()).unwrap_or(PollTimeout::MAX);
        wait(&mut fds, timeout)?;
        let is_ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any) == Some(true);
        let (ended, asked) = (
            is_ready(fds.first()),
            self.end.is_some() && is_ready(fds.last()),
        );
        drop(fds);
        if asked {
            self.look_for_end()?;
        }
        Ok(ended)
    }

    /// Until when casulo waits for whoever it is that a container can hold: it freezes its cgroup, or stops the process.
    fn deadline(&self) -> Option<Instant> {
        match self.request.paused {
            WhenPaused::Refuse => Some(Instant::now() + timeout::EXECVE),
            WhenPaused::Wait => None,
        }
    }

    fn end_entrant(&self, stop: Stop) -> Result<Outcome> {
        if !self.entrant_is_reaped {
            farewell(self.entrant);
        }
        // What it made before it ended.
        if let Some(pid) = landing::born(self.shared) {
            farewell(pid);
        }
        stop.into_outcome()
    }
}

/// For poll(2).
fn readable(fd: &impl AsFd) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}

fn wait(fds: &mut [PollFd<'_>], timeout: PollTimeout) -> Result<()> {
    match poll(fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).context(Code::Signal, "wait for", "the process"),
    }
}

/// Kills a process, and waits for its end while nobody keeps it.
fn farewell(pid: Pid) {
    if waiting::end(pid) == Farewell::Kept {
        log::warn!("process {pid} was killed, but something in the container keeps it");
    }
}
