//! The child's sequence: from its first instruction to execve, one call a line.
//!
//! Runs in the container's namespaces and cgroup. Until `become_user` it has root's privileges in
//! its user namespace, until `pivot` it sees the host's mounts. It decides nothing: all values
//! are ready in the [`Plan`]. It leaves by execve, or by `_exit` after it has sent its error.

use crate::error::{Code, Context, Error, Result};
use crate::hooks::Kind;
use crate::namespaces::Joins;
use crate::plan::Plan;
use crate::process::Program;
use crate::rootfs::Sources;
use crate::seccomp::Bpf;
use crate::sync::{Channel, Message};
use crate::sys::procfs::ProcFs;
use crate::{namespaces, rootfs, terminal};
use nix::sys::socket::{ControlMessage, MsgFlags, SockFlag, accept4, sendmsg};
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

/// What init inherits from the parent.
#[derive(Debug)]
pub struct Inheritance {
    /// Opened namespaces to join.
    pub joins: Joins,
    /// Bind sources, opened by the parent.
    pub sources: Sources,
    /// The compiled filter.
    pub bpf: Option<Bpf>,
    /// Our end of the conversation with the parent.
    pub parent: Channel,
    /// The start socket; without one the parent itself says `Start`.
    pub start: Option<OwnedFd>,
    /// A connection to the seccomp agent.
    pub agent: Option<OwnedFd>,
}

/// Runs init. Never returns: the program replaces it, or it reports what failed and leaves.
pub fn run(plan: &Plan, inheritance: Inheritance) -> ! {
    let Inheritance { joins, sources, bpf, parent, start, agent } = inheritance;
    let error = match set_up(plan, &joins, sources, &parent) {
        Err(error) => (parent, error),
        Ok((program, documents)) => match wait_for_start(&parent, start) {
            Err(error) => (parent, error),
            Ok(None) => {
                let error = execute(plan, &program, bpf, agent, &documents);
                (parent, error)
            }
            Ok(Some(starter)) => {
                drop(parent);
                let error = execute(plan, &program, bpf, agent, &documents);
                (starter, error)
            }
        },
    };
    // If nobody listens any more there is nobody to tell.
    let _ = error.0.send(&Message::Failed(error.1));
    crate::sys::process::exit_now(1)
}

/// State documents that the parent made for init, because init does not know its host pid.
struct Documents {
    hook_state: Vec<u8>,
    listener_state: Vec<u8>,
}

fn set_up(plan: &Plan, joins: &Joins, sources: Sources, parent: &Channel) -> Result<(Program, Documents)> {
    let documents = if plan.needs_go() { wait_for_go(parent)? } else { Documents::none() };
    namespaces::enter(&plan.namespaces, joins)?;
    let proc = match plan.writes_proc() {
        true => Some(ProcFs::private().context(Code::Mount, "mount a private procfs", "")?),
        false => None,
    };
    let root = rootfs::enter(&plan.rootfs, &sources)?;
    rootfs::populate(&plan.rootfs, &root, sources)?;
    if plan.has_hooks_before_pivot() {
        parent.send(&Message::Populated)?;
        expect(parent, "hooks", |message| matches!(message, Message::HooksDone))?;
    }
    plan.hooks.run(Kind::CreateContainer, &documents.hook_state)?;
    let root = rootfs::pivot(&plan.rootfs, root)?;

    let process = &plan.process;
    process.start_session()?;
    match process.terminal {
        None => terminal::own_stdio(process.user.uid)?,
        Some(size) => {
            let pty = terminal::open(&root, size, process.user.uid)?;
            terminal::attach(&pty.slave)?;
            parent.send(&Message::Terminal(pty.master))?;
        }
    }
    if let Some(proc) = &proc {
        rootfs::sysctl::write(&plan.rootfs.sysctls, proc)?;
    }
    rootfs::finish(&plan.rootfs, &root)?;
    process.prepare(proc.as_ref())?;
    let program = process.locate(&root)?;
    process.become_user(plan.filter_before_privileges_drop())?;
    parent.send(&Message::Ready)?;
    Ok((program, documents))
}

impl Documents {
    fn none() -> Documents {
        Documents { hook_state: Vec::new(), listener_state: Vec::new() }
    }
}

fn wait_for_go(parent: &Channel) -> Result<Documents> {
    match parent.receive()? {
        Some(Message::Go { hook_state, listener_state }) => Ok(Documents {
            hook_state: parent.receive_document(hook_state)?,
            listener_state: parent.receive_document(listener_state)?,
        }),
        _ => Err(parent_left("maps")),
    }
}

fn expect(parent: &Channel, what: &str, wanted: impl Fn(&Message) -> bool) -> Result<()> {
    match parent.receive()? {
        Some(message) if wanted(&message) => Ok(()),
        _ => Err(parent_left(what)),
    }
}

fn parent_left(what: &str) -> Error {
    Error::new(Code::Sync, format!("the parent left before it was done with the {what}"))
}

/// Waits to be started: by the parent itself (`None`), or by a later `casulo start` whose
/// connection is returned. A parent that dies before it has recorded the container takes init
/// with it.
fn wait_for_start(parent: &Channel, start: Option<OwnedFd>) -> Result<Option<Channel>> {
    let Some(listener) = start else {
        return expect(parent, "record", |message| matches!(message, Message::Start)).map(|()| None);
    };
    expect(parent, "record", |message| matches!(message, Message::Release))?;
    loop {
        let accepted = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)
            .context(Code::Sync, "wait for start", "")?;
        let starter = Channel::from_fd(crate::sys::fd::adopt(accepted));
        // Whoever connects and leaves without a word has not started the container.
        if let Ok(Some(Message::Start)) = starter.receive() {
            return Ok(Some(starter));
        }
    }
}

/// The last steps, after `Start`: only what the filter must allow follows the filter.
fn execute(
    plan: &Plan,
    program: &Program,
    bpf: Option<Bpf>,
    agent: Option<OwnedFd>,
    documents: &Documents,
) -> Error {
    let last_steps = || -> Result<()> {
        plan.hooks.run(Kind::StartContainer, &documents.hook_state)?;
        program.ready(&plan.process)?;
        if let Some(bpf) = bpf {
            if let (Some(listener), Some(agent)) = (bpf.load()?, agent) {
                send_listener(&agent, &listener, &documents.listener_state)?;
            }
        }
        if plan.filter_before_privileges_drop() {
            plan.process.drop_sys_admin()?;
        }
        Ok(())
    };
    match last_steps() {
        Err(error) => error,
        Ok(()) => program.execute(),
    }
}

/// Hands the listener to the agent in one message: the container process state of the spec
/// (config-linux.md, The Container Process State) with the fd beside it.
pub(crate) fn send_listener(agent: &OwnedFd, listener: &OwnedFd, state: &[u8]) -> Result<()> {
    let fds = [listener.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(agent.as_raw_fd(), &[IoSlice::new(state)], &rights, MsgFlags::MSG_NOSIGNAL, None)
        .context(Code::Seccomp, "send the listener to the agent", "")
        .map(drop)
}
