//! The child's sequence, one call a line: init of a container, or the entrant that makes it where a pid namespace is
//! joined. From its first instruction to its last steps.
//!
//! Runs in the container's cgroup and, by and by, in its namespaces. Until `become_user` it has root's privileges in
//! its user namespace, until `pivot` it sees the host's mounts. It decides nothing: all values are ready in the
//! [`Plan`]. It ends in its last steps ([`crate::process::last_steps`]), in which it waits to be started as what it
//! will be, or leaves by `_exit` after it has sent its error.

mod inheritance;

pub(crate) use inheritance::{Inheritance, StartBy};

use crate::binary::landing::{self, Taker};
use crate::binary::protection;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::hooks::{self, Call, Kind};
use crate::namespaces;
use crate::plan::Plan;
use crate::process::asked::Birth;
use crate::process::last_steps::{LastSteps, Wait};
use crate::process::{Caller, Entered, Program, signals};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::rootfs::{self, DeferredReadOnly, Pids, Sources};
use crate::step::{self, Step};
use crate::sync::documents::StateDocuments;
use crate::sync::{Channel, Message};
use crate::sys::child;
use crate::sys::fd::close_on_exec_from;
use crate::{lsm, terminal};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::fchdir;
use std::os::fd::{AsFd, AsRawFd};

/// Runs init. Never returns: the program replaces it, or it reports what failed and leaves.
pub(crate) fn run(plan: &Plan, inherited: Inheritance) -> ! {
    let birth = inherited.birth();
    let init = Init {
        plan,
        inherited: &inherited,
        birth,
    };
    let (parent, error) = match init.set_up() {
        Err(error) => (inherited.parent, error),
        Ok(ready) => last_steps(plan, &ready, inherited, birth),
    };
    // If nobody listens any more there is nobody to tell.
    let _ = parent.send(&Message::Failed(error));
    child::leave(1)
}

/// Init, or the entrant that makes it.
struct Init<'a> {
    plan: &'a Plan,
    inherited: &'a Inheritance,
    birth: Birth,
}

/// What init has when it is set up.
struct SetUp {
    program: Program,
    documents: StateDocuments,
}

impl Init<'_> {
    /// The steps of init, in their order.
    fn set_up(&self) -> Result<SetUp> {
        let proc = self.enter_new_namespaces()?;
        let documents = self.wait_for_go()?;
        self.mark_descriptors()?;
        self.enter_joined_namespaces()?;
        let proc = self.private_proc(proc)?;
        let (root, late) = self.fill_root()?;
        self.hear_of_hooks()?;
        self.run_container_hooks(&root, &documents)?;
        let root = self.pivot(root)?;
        self.make_session()?;
        self.open_terminal(&root)?;
        self.make_cwd(&root)?;
        self.write_kernel_parameters(proc.as_ref())?;
        self.mask(&root, late)?;
        let entered = self.prepare(&root, proc)?;
        self.become_user()?;
        let program = self.locate(&root, entered)?;
        Ok(SetUp { program, documents })
    }

    /// The namespaces that the clone has not made. An entrant leaves the caller's session first of all, and keeps the
    /// procfs of its own pid namespace, which it gives back.
    fn enter_new_namespaces(&self) -> Result<Option<ProcFs>> {
        step::begin(Step::Unshare)?;
        protection::close_binary_mount();
        let (plan, inherited) = (self.plan, self.inherited);
        if self.birth == Birth::Itself {
            namespaces::unshare(&plan.namespaces)?;
            return Ok(None);
        }
        if !without(Defence::OwnSession) {
            signals::own_session()?;
        }
        let proc = ProcFs::host().context(Code::Process, "open", "/proc")?;
        plan.process.identity.leave_callers_groups()?;
        namespaces::join_as_entrant(&plan.namespaces, &inherited.joins)?;
        namespaces::unshare(&plan.namespaces)?;
        if plan.namespaces.waits_for_parent() {
            inherited.parent.send(&Message::Unmapped)?;
        }
        Ok(Some(proc))
    }

    fn wait_for_go(&self) -> Result<StateDocuments> {
        if !self.plan.needs_go() {
            return Ok(StateDocuments::default());
        }
        let documents = self.inherited.parent.receive_go()?;
        documents.ok_or_else(|| parent_left("maps"))
    }

    /// What the caller left open must not be reachable through /proc/self/fd (CVE-2024-21626); the last steps close it.
    fn mark_descriptors(&self) -> Result<()> {
        step::begin(Step::MarkDescriptors)?;
        close_on_exec_from(self.plan.process.first_closed_fd).context(
            Code::Process,
            "mark inherited descriptors close-on-exec",
            "",
        )
    }

    /// The last steps into the namespaces.
    fn enter_joined_namespaces(&self) -> Result<()> {
        step::begin(Step::EnterNamespaces)?;
        namespaces::enter(&self.plan.namespaces, &self.inherited.joins)?;
        end_with_parent(&self.inherited.parent)
    }

    /// A procfs of its own, where it writes there and has none.
    fn private_proc(&self, proc: Option<ProcFs>) -> Result<Option<ProcFs>> {
        step::begin(Step::PrivateProc)?;
        match (self.plan.writes_proc(), proc) {
            (true, None) => ProcFs::private()
                .context(Code::Mount, "mount a private procfs", "")
                .map(Some),
            (_, proc) => Ok(proc),
        }
    }

    /// The container's tree, with everything that is mounted and made in it.
    fn fill_root(&self) -> Result<(Root, DeferredReadOnly)> {
        let (plan, inherited) = (self.plan, self.inherited);
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
        rootfs::populate(&plan.rootfs, root, &mut sources, &inherited.nodes, pids)
    }

    /// The mounts and nodes are in place: whoever waits for that is told, and hooks of the runtime's namespaces run.
    fn hear_of_hooks(&self) -> Result<()> {
        let parent = &self.inherited.parent;
        step::begin(Step::Populated)?;
        if self.plan.reports_populated() {
            parent.send(&Message::Populated)?;
        }
        if !self.plan.has_hooks_before_pivot() {
            return Ok(());
        }
        match parent.receive()? {
            Some(Message::HooksDone) => Ok(()),
            _ => Err(parent_left("hooks")),
        }
    }

    /// createContainer hooks: programs of the host's, in the container's namespaces. They start in the container's
    /// root, mounts and all, as with runc.
    fn run_container_hooks(&self, root: &Root, documents: &StateDocuments) -> Result<()> {
        let plan = self.plan;
        step::begin(Step::ContainerHooks)?;
        if !plan.hooks.has(Kind::CreateContainer) {
            return Ok(());
        }
        if self.birth == Birth::Sibling && plan.namespaces.is_new(namespaces::Kind::User) {
            // It would be born among others, with the host's files in its reach.
            return Err(Error::new(
                Code::Unsupported,
                "hooks.createContainer: none can run beside a joined pid namespace and a new user namespace",
            ));
        }
        fchdir(root).context(Code::Hook, "enter", plan.rootfs.path.display())?;
        let env = hooks::own_environment();
        let call = Call {
            state: &documents.create,
            cwd: None,
            env: &env,
            output: &self.inherited.output,
        };
        plan.hooks.run(Kind::CreateContainer, &call)
    }

    /// From the host's tree to the container's.
    fn pivot(&self, root: Root) -> Result<Root> {
        step::begin(Step::Pivot)?;
        rootfs::pivot(&self.plan.rootfs, root)
    }

    fn make_session(&self) -> Result<()> {
        step::begin(Step::Session)?;
        if self.birth == Birth::Itself && !without(Defence::OwnSession) {
            signals::own_session()?;
        }
        Ok(())
    }

    fn open_terminal(&self, root: &Root) -> Result<()> {
        let process = &self.plan.process;
        let Some(size) = process.terminal else {
            return Ok(());
        };
        step::begin(Step::Terminal)?;
        let pty = terminal::open(root, size)?;
        pty.mount_console(root)?;
        pty.give_to(process.identity.uid)?;
        match self.birth {
            Birth::Itself => terminal::attach(pty.slave.as_fd())?,
            Birth::Sibling => terminal::take_streams(pty.slave.as_fd())?,
        }
        self.inherited.parent.send(&Message::Terminal(pty.master))
    }

    fn make_cwd(&self, root: &Root) -> Result<()> {
        step::begin(Step::MakeCwd)?;
        self.plan.process.make_cwd(root)
    }

    fn write_kernel_parameters(&self, proc: Option<&ProcFs>) -> Result<()> {
        step::begin(Step::Sysctl)?;
        match proc {
            Some(proc) => rootfs::sysctl::write(&self.plan.rootfs.sysctls, proc),
            None => Ok(()),
        }
    }

    /// Nothing is made in the tree any more: masks and what becomes read-only.
    fn mask(&self, root: &Root, late: DeferredReadOnly) -> Result<()> {
        step::begin(Step::Masks)?;
        rootfs::finish(&self.plan.rootfs, root, late)
    }

    /// What of the process needs root's privileges in its user namespace, its working directory last of all.
    fn prepare(&self, root: &Root, proc: Option<ProcFs>) -> Result<Entered> {
        let process = &self.plan.process;
        step::begin(Step::Prepare)?;
        let labels = match &proc {
            Some(proc) => process.labels.open(proc)?,
            None => lsm::Files::default(),
        };
        process.prepare(&labels)?;
        drop((labels, proc));
        let entered = process.enter(root)?;
        if self.birth == Birth::Sibling {
            namespaces::join_pids_for_birth(&self.plan.namespaces, &self.inherited.joins)?;
        }
        Ok(entered)
    }

    /// From root of its user namespace to the user of the config.
    fn become_user(&self) -> Result<()> {
        step::begin(Step::User)?;
        let sys_admin = self.plan.sys_admin_until_filter();
        self.plan.process.become_user(sys_admin)
    }

    fn locate(&self, root: &Root, entered: Entered) -> Result<Program> {
        let process = &self.plan.process;
        step::begin(Step::Locate)?;
        let program = process.locate(root, entered)?;
        if process.identity.changes_ids() {
            // That has cleared it.
            end_with_parent(&self.inherited.parent)?;
        }
        Ok(program)
    }
}

/// Whether this process may trace what is not dumpable: what it takes for that is lost with the caller's user namespace.
fn taker(plan: &Plan) -> Taker {
    match plan.process.caller {
        Caller::MayTrace if !plan.namespaces.has(namespaces::Kind::User) => Taker::MayTrace,
        _ => Taker::MayNot,
    }
}

/// From here on init is what it will be, and an entrant's work is done but for the birth. Returns only what failed.
fn last_steps(
    plan: &Plan,
    ready: &SetUp,
    inherited: Inheritance,
    birth: Birth,
) -> (Channel, Error) {
    let hooks = step::begin(Step::Ready).and_then(|()| plan.hooks.inside(&ready.documents.start));
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(error) => return (inherited.parent, error),
    };
    let steps = LastSteps {
        program: &ready.program,
        bpf: inherited.bpf.as_ref(),
        sys_admin: plan.sys_admin_until_filter(),
        go: inherited.ends.go.as_fd(),
        tell: inherited.ends.tell.as_fd(),
        wait: match (inherited.start, birth) {
            (StartBy::Parent, Birth::Itself) if !plan.notifies() => Wait::Silent,
            _ => Wait::Announced,
        },
        working_directory: inherited.working_directory,
        shared: inherited.shared,
        tracer: inherited.tracer,
        hooks: &hooks,
        hook_output: inherited.hook_output(),
        execute: Step::Execute,
    };
    match (be_ready(plan, &steps, &inherited, birth), birth) {
        (Err(error), _) => (inherited.parent, error),
        (Ok(()), Birth::Itself) => steps.land(&plan.process, inherited.parent),
        (Ok(()), Birth::Sibling) => steps.bear(&plan.process, inherited.parent),
    }
}

/// Signals, descriptors and limits of the process, and what binds it to the parent's life no longer.
fn be_ready(
    plan: &Plan,
    steps: &LastSteps<'_>,
    inherited: &Inheritance,
    birth: Birth,
) -> Result<()> {
    let parent = &inherited.parent;
    step::begin(Step::ResourceLimits)?;
    let mut keep = steps.descriptors();
    keep.push(parent.as_fd().as_raw_fd());
    let program = steps.program;
    program.ready(&plan.process, &keep, birth.siblings())?;
    step::begin(Step::LoadFilter)?;
    if birth == Birth::Sibling {
        return parent.until_seen(inherited.shared);
    }
    // Until it is recorded as created its parent lives; then it waits for whoever starts it.
    set_pdeathsig(None).context(Code::Process, "clear the parent-death signal", "")?;
    if inherited.start == StartBy::Fifo && plan.namespaces.is_new(namespaces::Kind::Pid) {
        landing::end_by_signals().context(Code::Signal, "handle", "signals")?;
    }
    Ok(())
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

fn parent_left(what: &str) -> Error {
    Error::new(
        Code::Sync,
        format!("the parent left before it was done with the {what}"),
    )
}
