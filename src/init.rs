//! The child's sequence, one call a line: init of a container, or the entrant that makes it where a pid namespace is
//! joined. From its first instruction to its last steps.
//!
//! Runs in the container's cgroup and, by and by, in its namespaces. Until `become_user` it has root's privileges in
//! its user namespace, until `pivot` it sees the host's mounts. It decides nothing: all values are ready in the
//! [`Plan`]. It ends in its last steps ([`crate::process::last_steps`]), in which it waits to be started as what it
//! will be, or leaves by `_exit` after it has sent its error.

use crate::binary::landing::{self, Taker};
use crate::binary::protection;
use crate::binary::shared::Shared;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::hooks::{self, Call, Kind, Output};
use crate::namespaces::{self, Joins};
use crate::plan::Plan;
use crate::process::asked::Birth;
use crate::process::last_steps::{LastSteps, Tracer, Wait, WorkingDirectory};
use crate::process::{Caller, Program, signals};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::rootfs::devices::Nodes;
use crate::rootfs::{self, Pids, Sources};
use crate::seccomp::Bpf;
use crate::step::{self, Step};
use crate::sync::pipes::TheirEnds;
use crate::sync::{Channel, Message};
use crate::sys::child;
use crate::sys::fd::close_on_exec_from;
use crate::{lsm, terminal};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Who will start the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartBy {
    /// This process, by `Created::start`.
    Parent,
    /// A later `casulo start`, over the FIFOs in the state directory.
    Fifo,
}

/// What init inherits from the parent.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// Opened namespaces to join.
    pub joins: Joins,
    /// Device nodes that only the parent may make.
    pub nodes: Nodes,
    /// The compiled filter.
    pub bpf: Option<Bpf>,
    /// Our end of the conversation with the parent.
    pub parent: Channel,
    /// The ends of the pipes for the last steps.
    pub ends: TheirEnds,
    /// The page for the last steps.
    pub shared: &'static Shared,
    /// Who says that the program is to be executed.
    pub start: StartBy,
    /// Who has to look into it until its program runs.
    pub tracer: Tracer,
    /// Files that get what hooks say.
    pub output: Output,
    /// Where startContainer hooks write: stdout and stderr, or both together.
    pub words: Vec<OwnedFd>,
}

impl Inheritance {
    fn birth(&self) -> Birth {
        if self.joins.joins(namespaces::Kind::Pid) {
            Birth::Sibling
        } else {
            Birth::Itself
        }
    }
}

/// Runs init. Never returns: the program replaces it, or it reports what failed and leaves.
pub(crate) fn run(plan: &Plan, inheritance: Inheritance) -> ! {
    let birth = inheritance.birth();
    let (parent, error) = match set_up(plan, &inheritance, birth) {
        Err(error) => (inheritance.parent, error),
        Ok(ready) => last_steps(plan, ready, inheritance, birth),
    };
    // If nobody listens any more there is nobody to tell.
    let _ = parent.send(&Message::Failed(error));
    child::leave(1)
}

/// State documents that the parent made for init, which interprets nothing.
#[derive(Default)]
struct Documents {
    create_state: Vec<u8>,
    start_state: Vec<u8>,
}

/// What init has when it is set up.
struct SetUp {
    program: Program,
    documents: Documents,
}

fn set_up(plan: &Plan, inherited: &Inheritance, birth: Birth) -> Result<SetUp> {
    let (parent, joins) = (&inherited.parent, &inherited.joins);
    protection::close_binary_mount();
    let proc = enter_namespaces(plan, inherited, birth)?;
    let documents = if plan.needs_go() {
        wait_for_go(parent)?
    } else {
        Documents::default()
    };
    step::begin(Step::MarkDescriptors)?;
    // What the caller left open must not be reachable through /proc/self/fd (CVE-2024-21626); the
    // last steps close it.
    close_on_exec_from(plan.process.first_closed_fd).context(
        Code::Process,
        "mark inherited descriptors close-on-exec",
        "",
    )?;
    step::begin(Step::EnterNamespaces)?;
    namespaces::enter(&plan.namespaces, joins)?;
    end_with_parent(parent)?;
    step::begin(Step::PrivateProc)?;
    let proc = match (plan.writes_proc(), proc) {
        (true, None) => {
            Some(ProcFs::private().context(Code::Mount, "mount a private procfs", "")?)
        }
        (_, proc) => proc,
    };
    let root = fill_root(plan, inherited, &documents, proc.as_ref(), birth)?;
    let program = become_process(plan, &root, proc, inherited, birth)?;
    Ok(SetUp { program, documents })
}

/// The namespaces that the clone has not made. An entrant leaves the caller's session first of all, and keeps the
/// procfs of its own pid namespace, which it gives back.
fn enter_namespaces(plan: &Plan, inherited: &Inheritance, birth: Birth) -> Result<Option<ProcFs>> {
    step::begin(Step::Unshare)?;
    let mut proc = None;
    if birth == Birth::Sibling {
        if !without(Defence::OwnSession) {
            signals::own_session()?;
        }
        proc = Some(ProcFs::host().context(Code::Process, "open", "/proc")?);
        plan.process.identity.leave_callers_groups()?;
        namespaces::join_as_entrant(&plan.namespaces, &inherited.joins)?;
    }
    namespaces::unshare(&plan.namespaces)?;
    if birth == Birth::Sibling && plan.namespaces.waits_for_parent() {
        inherited.parent.send(&Message::Unmapped)?;
    }
    Ok(proc)
}

/// Whether this process may trace what is not dumpable: what it takes for that is lost with the caller's user namespace.
fn taker(plan: &Plan) -> Taker {
    match plan.process.caller {
        Caller::MayTrace if !plan.namespaces.has(namespaces::Kind::User) => Taker::MayTrace,
        _ => Taker::MayNot,
    }
}

/// From the host's tree to the container's, with everything that is mounted and made in it. Gives back the new root.
fn fill_root(
    plan: &Plan,
    inherited: &Inheritance,
    documents: &Documents,
    proc: Option<&ProcFs>,
    birth: Birth,
) -> Result<Root> {
    let parent = &inherited.parent;
    step::begin(Step::EnterRoot)?;
    let mut sources = Sources::from(parent);
    let root = rootfs::enter(&plan.rootfs, &mut sources)?;
    step::begin(Step::Mounts)?;
    let pids = match inherited.joins.pid_namespace() {
        Some(namespace) => {
            // A maker of its procfs can be seen.
            parent.until_seen(inherited.shared)?;
            Pids::Joined(namespace, taker(plan))
        }
        None => Pids::Own,
    };
    let (root, late) = rootfs::populate(&plan.rootfs, root, &mut sources, &inherited.nodes, pids)?;
    drop(sources);
    step::begin(Step::Populated)?;
    if plan.reports_populated() {
        parent.send(&Message::Populated)?;
    }
    if plan.has_hooks_before_pivot() {
        expect_hooks_done(parent)?;
    }
    step::begin(Step::ContainerHooks)?;
    if plan.hooks.has(Kind::CreateContainer) {
        if birth == Birth::Sibling && plan.namespaces.is_new(namespaces::Kind::User) {
            // It would be born among others, with the host's files in its reach.
            return Err(Error::new(
                Code::Unsupported,
                "hooks.createContainer: none can run beside a joined pid namespace and a new user namespace",
            ));
        }
        let env = hooks::own_environment();
        let state = &documents.create_state;
        let call = Call {
            state,
            cwd: Some(&plan.bundle),
            env: &env,
            output: &inherited.output,
        };
        plan.hooks.run(Kind::CreateContainer, &call)?;
    }
    step::begin(Step::Pivot)?;
    let root = rootfs::pivot(&plan.rootfs, root)?;

    let process = &plan.process;
    step::begin(Step::Session)?;
    if birth == Birth::Itself && !without(Defence::OwnSession) {
        signals::own_session()?;
    }
    if let Some(size) = process.terminal {
        step::begin(Step::Terminal)?;
        let pty = terminal::open(&root, size)?;
        pty.mount_console(&root)?;
        pty.give_to(process.identity.uid)?;
        match birth {
            Birth::Itself => terminal::attach(pty.slave.as_fd())?,
            Birth::Sibling => terminal::take_streams(pty.slave.as_fd())?,
        }
        parent.send(&Message::Terminal(pty.master))?;
    }
    step::begin(Step::MakeCwd)?;
    process.make_cwd(&root)?;
    step::begin(Step::Sysctl)?;
    if let Some(proc) = proc {
        rootfs::sysctl::write(&plan.rootfs.sysctls, proc)?;
    }
    step::begin(Step::Masks)?;
    rootfs::finish(&plan.rootfs, &root, late)?;
    Ok(root)
}

/// From root of its user namespace to the user of the config.
fn become_process(
    plan: &Plan,
    root: &Root,
    proc: Option<ProcFs>,
    inherited: &Inheritance,
    birth: Birth,
) -> Result<Program> {
    let (process, parent) = (&plan.process, &inherited.parent);
    step::begin(Step::Prepare)?;
    let labels = match &proc {
        Some(proc) => process.labels.open(proc)?,
        None => lsm::Files::default(),
    };
    process.prepare(&labels)?;
    drop((labels, proc));
    let entered = process.enter(root)?;
    if birth == Birth::Sibling {
        namespaces::join_pids_for_birth(&plan.namespaces, &inherited.joins)?;
    }
    step::begin(Step::User)?;
    process.become_user(plan.sys_admin_until_filter())?;
    step::begin(Step::Locate)?;
    let program = process.locate(root, entered)?;
    if process.identity.changes_ids() {
        // That has cleared it.
        end_with_parent(parent)?;
    }
    Ok(program)
}

/// From here on init is what it will be, and an entrant's work is done but for the birth. Returns only what failed.
fn last_steps(plan: &Plan, ready: SetUp, inherited: Inheritance, birth: Birth) -> (Channel, Error) {
    let Inheritance {
        parent,
        bpf,
        ends,
        shared,
        start,
        tracer,
        output,
        words,
        ..
    } = inherited;
    let process = &plan.process;
    let hooks = match plan.hooks.inside(&ready.documents.start_state) {
        Ok(hooks) => hooks,
        Err(error) => return (parent, error),
    };
    let word = |at: usize| words.get(at).or(words.last()).map(AsRawFd::as_raw_fd);
    let steps = LastSteps {
        program: &ready.program,
        bpf: bpf.as_ref(),
        sys_admin: plan.sys_admin_until_filter(),
        go: ends.go.as_fd(),
        tell: ends.tell.as_fd(),
        wait: match (start, birth) {
            (StartBy::Parent, Birth::Itself) if !plan.notifies() => Wait::Silent,
            _ => Wait::Announced,
        },
        working_directory: match start {
            StartBy::Parent => WorkingDirectory::Verified,
            StartBy::Fifo if without(Defence::CwdInside) => WorkingDirectory::Verified,
            StartBy::Fifo => WorkingDirectory::VerifyAgain,
        },
        shared,
        tracer,
        hooks: &hooks,
        hook_output: if without(Defence::HookPipes) {
            output.descriptors()
        } else {
            [word(0), word(1)]
        },
        execute: Step::Execute,
    };
    let prepare = || -> Result<()> {
        step::begin(Step::Ready)?;
        step::begin(Step::ResourceLimits)?;
        let mut keep = steps.descriptors();
        keep.push(parent.as_fd().as_raw_fd());
        steps.program.ready(process, &keep, birth.siblings())?;
        step::begin(Step::LoadFilter)?;
        match birth {
            Birth::Sibling => parent.until_seen(shared),
            Birth::Itself => {
                // Until it is recorded as created its parent lives; then it waits for whoever starts it.
                set_pdeathsig(None).context(Code::Process, "clear the parent-death signal", "")?;
                if start == StartBy::Fifo && plan.namespaces.is_new(namespaces::Kind::Pid) {
                    landing::end_by_signals().context(Code::Signal, "handle", "signals")?;
                }
                Ok(())
            }
        }
    };
    match (prepare(), birth) {
        (Err(error), _) => (parent, error),
        (Ok(()), Birth::Itself) => steps.land(process, parent),
        (Ok(()), Birth::Sibling) => steps.bear(process, parent),
    }
}

/// A runtime that is killed takes init along, whatever that is busy with (a hook, a file system that does
/// not answer): `delete` may not know init yet. A change of ids clears the signal (PR_SET_PDEATHSIG(2const)).
fn end_with_parent(parent: &Channel) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context(Code::Process, "set the parent-death signal", "")?;
    // For a death before that the kernel sends nothing. getppid(2) knows nobody outside a pid namespace.
    if parent.is_closed() {
        Err(parent_left("container"))
    } else {
        Ok(())
    }
}

fn wait_for_go(parent: &Channel) -> Result<Documents> {
    match parent.receive()? {
        Some(Message::Go {
            create_state,
            start_state,
        }) => Ok(Documents {
            create_state: parent.receive_document(create_state)?,
            start_state: parent.receive_document(start_state)?,
        }),
        _ => Err(parent_left("maps")),
    }
}

fn expect_hooks_done(parent: &Channel) -> Result<()> {
    match parent.receive()? {
        Some(Message::HooksDone) => Ok(()),
        _ => Err(parent_left("hooks")),
    }
}

fn parent_left(what: &str) -> Error {
    Error::new(
        Code::Sync,
        format!("the parent left before it was done with the {what}"),
    )
}
