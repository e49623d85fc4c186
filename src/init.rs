//! The child's sequence: from its first instruction to execve, one call a line.
//!
//! Runs in the container's namespaces and cgroup. Until `become_user` it has root's privileges in
//! its user namespace, until `pivot` it sees the host's mounts. It decides nothing: all values
//! are ready in the [`Plan`]. It leaves by execve, or by `_exit` after it has sent its error.

use crate::capabilities::SysAdmin;
use crate::error::{Code, Context, Error, Result};
use crate::hooks::{self, Call, Kind, Output};
use crate::namespaces::{Joins, NewNetwork};
use crate::plan::Plan;
use crate::process::{Program, signals};
use crate::rootfs::Sources;
use crate::rootfs::devices::Nodes;
use crate::rootfs::root::Root;
use crate::seccomp::Bpf;
use crate::sync::{Channel, Message};
use crate::sys::child;
use crate::sys::exe;
use crate::sys::fd::close_on_exec_from;
use crate::sys::procfs::ProcFs;
use crate::sys::program;
use crate::sys::scm;
use crate::testing::fault::{self, Step};
use crate::trace::{self, Phase};
use crate::{namespaces, rootfs, terminal};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{SockFlag, accept4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What init inherits from the parent.
#[derive(Debug)]
pub struct Inheritance {
    /// Opened namespaces to join.
    pub joins: Joins,
    /// The network namespace, where it is made ahead.
    pub network: Option<NewNetwork>,
    /// Device nodes that only the parent may make.
    pub nodes: Nodes,
    /// The compiled filter.
    pub bpf: Option<Bpf>,
    /// Our end of the conversation with the parent.
    pub parent: Channel,
    /// The start socket; without one the parent itself says `Start`.
    pub start: Option<OwnedFd>,
    /// A connection to the seccomp agent.
    pub agent: Option<OwnedFd>,
    /// Files that get what hooks say.
    pub output: Output,
}

/// Runs init. Never returns: the program replaces it, or it reports what failed and leaves.
pub fn run(plan: &Plan, inheritance: Inheritance) -> ! {
    let Inheritance {
        joins,
        network,
        nodes,
        bpf,
        parent,
        start,
        agent,
        output,
    } = inheritance;
    let (listener, error) = match set_up(plan, joins, network, nodes, &output, &parent) {
        Err(error) => (parent, error),
        Ok(ready) => match wait_for_start(&parent, start) {
            Err(error) => (parent, error),
            Ok(starter) => (
                starter.unwrap_or(parent),
                execute(plan, ready, bpf, agent, output),
            ),
        },
    };
    // If nobody listens any more there is nobody to tell.
    let _ = listener.send(&Message::Failed(error));
    child::leave(1)
}

/// State documents that the parent made for init, which interprets nothing.
struct Documents {
    create_state: Vec<u8>,
    start_state: Vec<u8>,
    listener_state: Vec<u8>,
}

fn set_up(
    plan: &Plan,
    joins: Joins,
    network: Option<NewNetwork>,
    nodes: Nodes,
    output: &Output,
    parent: &Channel,
) -> Result<SetUp> {
    trace::phase(Phase::Enter);
    exe::let_go();
    fault::at(Step::Unshare)?;
    namespaces::unshare(&plan.namespaces, network)?;
    let documents = if plan.needs_go() {
        wait_for_go(parent)?
    } else {
        Documents::none()
    };
    fault::at(Step::MarkDescriptors)?;
    // What the caller left open must not be reachable through /proc/self/fd (CVE-2024-21626); the
    // last steps before execve mark again what was opened since.
    close_on_exec_from(plan.process.first_closed_fd).context(
        Code::Process,
        "mark inherited descriptors close-on-exec",
        "",
    )?;
    fault::at(Step::EnterNamespaces)?;
    namespaces::enter(&plan.namespaces, &joins)?;
    drop(joins);
    end_with_parent(parent)?;
    fault::at(Step::PrivateProc)?;
    let proc = match plan.writes_proc() {
        true => Some(ProcFs::private().context(Code::Mount, "mount a private procfs", "")?),
        false => None,
    };
    fault::at(Step::EnterRoot)?;
    let mut sources = Sources::from(parent);
    let root = rootfs::enter(&plan.rootfs, &mut sources)?;
    trace::phase(Phase::Mounts);
    fault::at(Step::Mounts)?;
    let (root, late) = rootfs::populate(&plan.rootfs, root, &mut sources, &nodes)?;
    drop((sources, nodes));
    fault::at(Step::Populated)?;
    parent.send(&Message::Populated)?;
    if plan.has_hooks_before_pivot() {
        expect(parent, "hooks", |message| {
            matches!(message, Message::HooksDone)
        })?;
    }
    fault::at(Step::ContainerHooks)?;
    if plan.hooks.has(Kind::CreateContainer) {
        let env = hooks::own_environment();
        let state = &documents.create_state;
        let call = Call {
            state,
            cwd: Some(&plan.bundle),
            env: &env,
            output,
        };
        plan.hooks.run(Kind::CreateContainer, &call)?;
    }
    trace::phase(Phase::Pivot);
    fault::at(Step::Pivot)?;
    let root = rootfs::pivot(&plan.rootfs, root)?;

    let process = &plan.process;
    fault::at(Step::Session)?;
    signals::own_session()?;
    if let Some(size) = process.terminal {
        fault::at(Step::Terminal)?;
        let pty = terminal::open(&root, size)?;
        pty.mount_console(&root)?;
        pty.give_to(process.identity.uid)?;
        terminal::attach(pty.slave.as_fd())?;
        parent.send(&Message::Terminal(pty.master))?;
    }
    fault::at(Step::MakeCwd)?;
    process.make_cwd(&root)?;
    fault::at(Step::Sysctl)?;
    if let Some(proc) = &proc {
        rootfs::sysctl::write(&plan.rootfs.sysctls, proc)?;
    }
    trace::phase(Phase::Finish);
    fault::at(Step::Masks)?;
    rootfs::finish(&plan.rootfs, &root, late)?;
    trace::phase(Phase::Identity);
    fault::at(Step::Prepare)?;
    process.prepare(proc.as_ref())?;
    drop(proc);
    let entered = process.enter(&root)?;
    fault::at(Step::User)?;
    process.become_user(plan.sys_admin_until_filter())?;
    fault::at(Step::Locate)?;
    let program = process.locate(&root, entered)?;
    set_pdeathsig(None).context(Code::Process, "clear the parent-death signal", "")?;
    fault::at(Step::Ready)?;
    trace::phase(Phase::WaitForStart);
    parent.send(&Message::Ready)?;
    Ok(SetUp {
        program,
        root,
        documents,
    })
}

/// What init holds while it waits.
struct SetUp {
    program: Program,
    root: Root,
    documents: Documents,
}

impl Documents {
    fn none() -> Documents {
        Documents {
            create_state: Vec::new(),
            start_state: Vec::new(),
            listener_state: Vec::new(),
        }
    }
}

/// A runtime that is killed takes init along, whatever that is busy with (a hook, a file system that does
/// not answer): `delete` may not know init yet. After `Ready` the end of file does it. Not earlier than this,
/// because a change of ids clears the signal (PR_SET_PDEATHSIG(2const)).
fn end_with_parent(parent: &Channel) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context(Code::Process, "set the parent-death signal", "")?;
    // For a death before that the kernel sends nothing. getppid(2) knows nobody outside a pid namespace.
    match parent.is_closed() {
        false => Ok(()),
        true => Err(parent_left("container")),
    }
}

fn wait_for_go(parent: &Channel) -> Result<Documents> {
    match parent.receive()? {
        Some(Message::Go {
            create_state,
            start_state,
            listener_state,
        }) => Ok(Documents {
            create_state: parent.receive_document(create_state)?,
            start_state: parent.receive_document(start_state)?,
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
    Error::new(
        Code::Sync,
        format!("the parent left before it was done with the {what}"),
    )
}

/// Waits to be started: by the parent itself (`None`), or by a later `casulo start` whose
/// connection is returned. A parent that dies before it has recorded the container takes init
/// with it.
fn wait_for_start(parent: &Channel, start: Option<OwnedFd>) -> Result<Option<Channel>> {
    let Some(listener) = start else {
        return expect(parent, "record", |message| {
            matches!(message, Message::Start)
        })
        .map(|()| None);
    };
    expect(parent, "record", |message| {
        matches!(message, Message::Release)
    })?;
    // It may be long before somebody starts the container.
    program::give_back();
    loop {
        let accepted = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC).context(
            Code::Sync,
            "wait for start",
            "",
        )?;
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
    ready: SetUp,
    bpf: Option<Bpf>,
    agent: Option<OwnedFd>,
    output: Output,
) -> Error {
    let SetUp {
        program,
        root,
        documents,
    } = ready;
    trace::phase(Phase::LastSteps);
    let last_steps = || -> Result<()> {
        fault::at(Step::StartHooks)?;
        // Nothing of the host's environment is shown inside.
        let env = program.environment();
        let call = Call {
            state: &documents.start_state,
            cwd: None,
            env,
            output: &output,
        };
        plan.hooks.run(Kind::StartContainer, &call)?;
        drop(output);
        program.look_again(&plan.process, root)?;
        fault::at(Step::ResourceLimits)?;
        program.ready(&plan.process)?;
        fault::at(Step::LoadFilter)?;
        if let Some(bpf) = bpf
            && let (Some(listener), Some(agent)) = (bpf.load()?, agent)
        {
            send_listener(&agent, &listener, &documents.listener_state)?;
        }
        if plan.sys_admin_until_filter() == SysAdmin::Keep {
            plan.process.drop_sys_admin()?;
        }
        fault::at(Step::Execute)
    };
    match last_steps() {
        Err(error) => error,
        Ok(()) => {
            trace::phase(Phase::Execute);
            program.execute()
        }
    }
}

/// Hands the listener to the agent in one message: the container process state of the spec
/// (config-linux.md, The Container Process State) with the fd beside it.
pub(crate) fn send_listener(agent: &OwnedFd, listener: &OwnedFd, state: &[u8]) -> Result<()> {
    scm::send_fd(agent.as_fd(), state, listener.as_fd()).context(
        Code::Seccomp,
        "send the listener to the agent",
        "",
    )
}
