//! What `create` and `run` say to init, or to the entrant that makes it, until that is ready. Parent.

use super::Request;
use super::hooks_outside::run_hooks;
use super::interruption::Interruption;
use super::outside::attach_device_rules;
use super::starting::{Decided, LOOK, Starting, say_start};
use super::undo::Rollback;
use crate::binary::shared::Shared;
use crate::binary::{landing, protection};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::hooks::{Kind, Spoken};
use crate::init::StartBy;
use crate::namespaces::{self, Joins};
use crate::process::last_steps::birth_failed;
use crate::procfs::ProcFs;
use crate::rootfs::Sender;
use crate::seccomp::listener::{Agent, Listener};
use crate::state::{ProcessRef, State, Status};
use crate::step::{self, Step};
use crate::sync::pipes::Ends;
use crate::sync::{Channel, Message};
use crate::sys::child::{self, WaitMode};
use crate::sys::pidfd::pidfd_open;
use crate::terminal;
use nix::errno::Errno;
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// One conversation.
pub(super) struct Conversation<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) channel: &'a Channel,
    pub(super) ends: &'a Ends,
    pub(super) agent: Option<Agent<'a>>,
    pub(super) sources: Sender<'a>,
    pub(super) shared: &'static Shared,
    /// The master of the pty, if nobody else took it.
    pub(super) console: Option<OwnedFd>,
    pub(super) interruption: Interruption<'a>,
}

/// The container's process.
pub(super) struct Born {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
}

impl Conversation<'_> {
    /// Until init is what it will be. `state` is what is recorded of it: where an entrant made init, that is recorded
    /// anew.
    ///
    /// # Errors
    /// The step that failed, whosever it was.
    pub(super) fn lead(
        &mut self,
        rollback: &mut Rollback<'_>,
        state: &mut State,
        joins: &Joins,
        proc: &ProcFs,
    ) -> Result<Born> {
        let first = Pid::from_raw(state.init_process_pid);
        let is_entrant = joins.joins(namespaces::Kind::Pid);
        self.converse(rollback, state)?;
        let pidfd = match pidfd_open(first) {
            Err(Errno::ESRCH) => return Err(rollback.death_of_init(first)),
            opened => opened.context(Code::Io, "open a pidfd of", first)?,
        };
        let (born, listener) = if is_entrant {
            self.wait_for_birth(rollback, state, first, &pidfd, proc)?
        } else {
            let listener = self.listener_of(first, &pidfd)?;
            (Born { pid: first, pidfd }, listener)
        };
        let early = without(Defence::AgentAfterConfinement);
        let listener = match listener {
            Some(listener) if early => self.hand_over(listener, state, born.pid).map(|()| None)?,
            listener => listener,
        };
        if is_entrant || self.request.start == StartBy::Fifo || self.request.plan.notifies() {
            let starting = Starting {
                init: born.pid,
                pidfd: &born.pidfd,
                ends: self.ends,
                spoken: &Spoken::default(),
                end: self.request.end,
                decided: Decided::Plan(self.request.plan, rollback.cgroup.as_ref()),
            };
            starting.wait_until_ready(listener.as_ref())?;
        }
        if let Some(listener) = listener {
            self.hand_over(listener, state, born.pid)?;
        }
        Ok(born)
    }

    /// Answers until the last steps begin, which the end of file says.
    fn converse(&mut self, rollback: &mut Rollback<'_>, state: &State) -> Result<()> {
        let plan = self.request.plan;
        let init = Pid::from_raw(state.init_process_pid);
        if !without(Defence::OwnMountClosed) {
            protection::close_binary_mount();
        }
        self.shared.let_be_seen();
        if self.request.starts_at_once() {
            say_start(self.ends);
        }
        loop {
            match self.interruption.receive(self.channel)? {
                Some(Message::Populated) => {
                    if plan.rules_wait_for_mounts() {
                        let attached = attach_device_rules(rollback);
                        attached.map_err(|error| self.channel.reason_or(error))?;
                    }
                    if plan.has_hooks_before_pivot() {
                        self.run_hooks(rollback, state, init)?;
                    }
                }
                Some(Message::Turn) => {
                    let sent = self.sources.hear_turn();
                    sent.map_err(|error| self.why(error, rollback, init))?;
                }
                Some(Message::Found(tree)) => {
                    let sent = self.sources.hear_found(tree);
                    sent.map_err(|error| self.why(error, rollback, init))?;
                }
                Some(Message::Terminal(master)) => {
                    step::begin(Step::SendTerminal)?;
                    match self.request.console_socket {
                        Some(path) => terminal::send_to_console_socket(path, master.as_fd())?,
                        None => self.console = Some(master),
                    }
                }
                Some(Message::Failed(error)) => return Err(error),
                Some(other) => return Err(Error::new(Code::Sync, format!("init said {other:?}"))),
                None => return Ok(()),
            }
        }
    }

    /// Why something could not be sent: init's own reason, if it has left.
    fn why(&self, error: Error, rollback: &mut Rollback<'_>, init: Pid) -> Error {
        self.channel.reason_or(rollback.death_or(error, init))
    }

    fn run_hooks(&self, rollback: &mut Rollback<'_>, state: &State, init: Pid) -> Result<()> {
        let plan = self.request.plan;
        step::begin(Step::RuntimeHooks)?;
        rollback.poststop_state = Some(state.clone());
        // prestart hooks are older than `creating`: they were specified for `start`, and of a created container
        // (config.md of version 1.0.0).
        for (kind, status) in [
            (Kind::Prestart, Status::Created),
            (Kind::CreateRuntime, Status::Creating),
        ] {
            let document = state.document(status, init.as_raw()).to_string();
            run_hooks(&plan.hooks, kind, &document, &plan.bundle)?;
        }
        let sent = self.channel.send(&Message::HooksDone);
        sent.map_err(|error| rollback.death_or(error, init))
    }

    /// The listener that the process hands over, if its filter has one. It spins until then.
    fn listener_of(&mut self, pid: Pid, pidfd: &OwnedFd) -> Result<Option<Listener>> {
        if !self.request.plan.notifies() {
            return Ok(None);
        }
        loop {
            if let Some(listener) = Listener::take(self.shared, pidfd.as_fd())? {
                return Ok(Some(listener));
            }
            if self.interruption.wait_for(pidfd.as_fd(), Some(LOOK))? {
                return Err(self.left(pid));
            }
        }
    }

    fn hand_over(&mut self, listener: Listener, state: &State, pid: Pid) -> Result<()> {
        match self.agent.take() {
            Some(agent) => {
                let document = state.document(Status::Creating, state.init_process_pid);
                agent.give(listener, document, pid)
            }
            None => Ok(()),
        }
    }

    /// The entrant's end, and then init, which it has made, and the listener of its filter.
    fn wait_for_birth(
        &mut self,
        rollback: &mut Rollback<'_>,
        state: &mut State,
        entrant: Pid,
        pidfd: &OwnedFd,
        proc: &ProcFs,
    ) -> Result<(Born, Option<Listener>)> {
        let listener = self.listener_of(entrant, pidfd)?;
        let longest = listener.as_ref().map(|_| LOOK);
        while !self.interruption.wait_for(pidfd.as_fd(), longest)? {
            if let Some(listener) = &listener {
                listener.answer_for(entrant);
            }
        }
        let _ = child::wait(Some(entrant), WaitMode::Block);
        rollback.init = landing::born(self.shared);
        let Some(pid) = rollback.init else {
            return Err(self.left(entrant));
        };
        let pidfd = pidfd_open(pid).context(Code::Io, "open a pidfd of", pid)?;
        state.set_init(ProcessRef::of(pid, proc).context(Code::State, "look at init", pid)?);
        step::begin(Step::RecordInit)?;
        rollback.dir()?.keep_identity(state)?;
        rollback.dir()?.write(state)?;
        self.request.plan.process.grant_at_birth(pid)?;
        Ok((Born { pid, pidfd }, listener))
    }

    /// Why a process is gone whose last steps had begun.
    fn left(&self, pid: Pid) -> Error {
        birth_failed(self.shared).unwrap_or_else(|| {
            let text = format!("process {pid} ended before the container was ready");
            Error::new(Code::Sync, text)
        })
    }
}
