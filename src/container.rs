//! The parent's sequences: `create` here, those of the later verbs each below. Host privileges,
//! host mount namespace.
//!
//! Each resource is recorded in the state directory before it is acquired; when a step fails,
//! everything made so far is undone in reverse and the first error is returned.

mod conversation;
mod created;
mod creation;
mod delete;
mod documents;
pub(crate) mod events;
mod hooks_outside;
mod host_namespaces;
mod interruption;
mod outside;
mod pause;
mod pipes;
mod processes;
mod record;
mod request;
mod scope;
mod start;
mod starting;
mod stuck;
mod undo;
mod update;

pub(crate) use delete::{Force, KillTarget, delete, kill};
pub(crate) use pause::{pause, resume};
pub(crate) use processes::processes;
pub(crate) use request::Request;
pub(crate) use start::start;
pub(crate) use update::{Update, update};

use crate::binary::shared::Shared;
use crate::cgroups::Cgroup;
use crate::error::{Code, Context, Result};
use crate::hooks::{Output, Spoken};
use crate::init::{self, Inheritance, StartBy};
use crate::namespaces::{self, Joins, Spawned};
use crate::notify::Proxy;
use crate::process::last_steps::WorkingDirectory;
use crate::procfs::ProcFs;
use crate::rootfs::devices::Nodes;
use crate::seccomp::Bpf;
use crate::seccomp::listener::Agent;
use crate::state::{self, Identity, ProcessRef, State};
use crate::step::{self, Step};
use crate::sync::Channel;
use crate::sync::pipes::Ends;
use crate::{caller_socket, intel_rdt, pidfile, rootfs, seccomp};
use conversation::{Born, Conversation};
use interruption::Interruption;
use nix::unistd::Pid;
use pipes::Pipes;
use record::first_record;
use std::os::fd::{AsFd, OwnedFd};
use undo::Rollback;

/// A container whose init waits to be started.
#[derive(Debug)]
pub(crate) struct Created<'a> {
    /// Init's pid.
    pub init: Pid,
    /// The master of the pty, if there is one and no console socket took it.
    pub console: Option<OwnedFd>,
    /// The proxy to the service manager, if there is one, from [`Created::start`] on.
    pub notify: Option<Proxy>,
    rollback: Rollback<'a>,
    state: State,
    /// The same, as a descriptor.
    pub pidfd: OwnedFd,
    ends: Ends,
    /// What startContainer hooks say.
    spoken: Spoken,
    /// Whether init was told to go on already: [`Request::starts_at_once`].
    told_to_start: bool,
}

/// Creates the container up to the point where its init waits.
///
/// # Errors
/// The first step that failed; nothing is left behind.
pub(crate) fn create<'a>(request: &Request<'a>) -> Result<Created<'a>> {
    let plan = request.plan;
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let state = first_record(request, &proc)?;
    let dir = request.store.reserve(&state)?;
    let mut rollback = Rollback::reserved(plan, dir);
    match build(request, &mut rollback, state, proc) {
        Ok(built) => Ok(Created {
            init: built.init,
            console: built.console,
            notify: None,
            rollback,
            state: built.state,
            pidfd: built.pidfd,
            ends: built.ends,
            spoken: built.spoken,
            told_to_start: request.starts_at_once(),
        }),
        Err(error) => {
            // Whatever failed then failed for that.
            let error = if rollback.dir()?.is_deleted() {
                state::deleted_meanwhile(&plan.id)
            } else {
                error
            };
            // The lock is held while all is undone.
            Err(rollback.undo(error))
        }
    }
}

/// What [`build`] has made, beside what can be undone.
struct Built {
    state: State,
    init: Pid,
    pidfd: OwnedFd,
    ends: Ends,
    spoken: Spoken,
    console: Option<OwnedFd>,
}

/// What both processes have at the moment of the clone.
struct Both<'a> {
    proc: ProcFs,
    bpf: Option<Bpf>,
    working_directory: WorkingDirectory,
    agent: Option<Agent<'a>>,
    joins: Joins,
    nodes: Nodes,
    pipes: Pipes,
    shared: &'static Shared,
    output: Output,
}

/// What the parent keeps of it.
struct Ours<'a> {
    /// The conversation with init.
    channel: Channel,
    proc: ProcFs,
    agent: Option<Agent<'a>>,
    joins: Joins,
    pipes: pipes::Ours,
    shared: &'static Shared,
    output: Output,
}

/// The steps of `create`, in their order.
fn build<'a>(
    request: &Request<'a>,
    rollback: &mut Rollback<'a>,
    mut state: State,
    proc: ProcFs,
) -> Result<Built> {
    let (bpf, agent) = compile_filter(request)?;
    make_cgroup(rollback, &mut state)?;
    make_rdt_class(rollback, &state)?;
    let joins = open_namespaces(request, &mut state)?;
    let both = Both {
        nodes: Nodes::make(&request.plan.rootfs.devices)?,
        pipes: Pipes::of(request, rollback)?,
        shared: Shared::new().context(Code::Sync, "map", "a shared page")?,
        output: open_hook_output(request)?,
        proc,
        working_directory: request.working_directory(bpf.as_ref()),
        bpf,
        agent,
        joins,
    };
    let (init, mut ours) = both.clone_init(request, rollback)?;
    state.init_process_pid = init.as_raw();
    let agent = ours.agent.take();
    let sources = work_outside(request, rollback, &ours, &mut state)?;
    // While init makes its mounts.
    record_init(request, rollback, &ours, &mut state)?;
    // Until init is ready the sources are kept: the work of closing them would disturb it.
    let (born, console, _sources) = hear(request, rollback, &ours, (agent, sources), &mut state)?;
    tell_caller(request, rollback, &born)?;
    finish(request, rollback, &mut state)?;
    Ok(Built {
        state,
        init: born.pid,
        pidfd: born.pidfd,
        ends: ours.pipes.ends,
        spoken: Spoken::of(ours.pipes.words, ours.output),
        console,
    })
}

/// The container's filter, which does not keep casulo from its own last steps, and the connection to its agent.
fn compile_filter<'a>(request: &Request<'a>) -> Result<(Option<Bpf>, Option<Agent<'a>>)> {
    let plan = request.plan;
    step::begin(Step::CompileFilter)?;
    let filter = plan.seccomp.as_ref();
    let bpf = filter.map(seccomp::compile).transpose()?;
    if let Some(bpf) = &bpf {
        plan.process.ask_filter(bpf, request.asked())?;
    }
    step::begin(Step::ConnectAgent)?;
    Ok((bpf, Agent::connect(filter)?))
}

/// The cgroup with its limits. That in a scope of systemd's is made with init.
fn make_cgroup(rollback: &mut Rollback<'_>, state: &mut State) -> Result<()> {
    step::begin(Step::Cgroup)?;
    rollback.cgroup = Cgroup::create(&rollback.plan.cgroup, Some(&rollback.dir()?.holder()?))?;
    if rollback.cgroup.is_none() {
        state.set_cgroup(None);
    }
    Ok(())
}

/// The class of resctrl, and its monitoring group.
fn make_rdt_class(rollback: &mut Rollback<'_>, state: &State) -> Result<()> {
    if let Some(rdt) = &rollback.plan.intel_rdt {
        step::begin(Step::RdtClass)?;
        rdt.create(intel_rdt::mount_of_host()?)?;
        rollback.rdt_directories.clone_from(&state.intel_rdt_paths);
    }
    Ok(())
}

/// The namespaces to join. One that is the caller's own is the container's in name only.
fn open_namespaces(request: &Request<'_>, state: &mut State) -> Result<Joins> {
    step::begin(Step::OpenNamespaces)?;
    let joins = namespaces::open_joins(&request.plan.namespaces)?;
    host_namespaces::check(&request.plan.rootfs, &joins)?;
    state.namespaces = state.namespaces.without(joins.own());
    Ok(joins)
}

/// The files that get what hooks say.
fn open_hook_output(request: &Request<'_>) -> Result<Output> {
    step::begin(Step::HookOutput)?;
    Output::open(&request.plan.hooks, &request.plan.bundle)
}

impl<'a> Both<'a> {
    /// Makes init, in the container's cgroup and those of its namespaces that a clone can make. Comes back in the
    /// parent alone.
    ///
    /// # Errors
    /// E_NAMESPACE, E_SYNC; E_SYSTEMD and E_CGROUP where systemd makes the scope.
    fn clone_init(
        self,
        request: &Request<'_>,
        rollback: &mut Rollback<'_>,
    ) -> Result<(Pid, Ours<'a>)> {
        let plan = request.plan;
        let (channel, parent) = Channel::pair()?;
        step::begin(Step::Clone)?;
        let spawned = match &plan.cgroup.scope {
            Some(scope) => scope::spawn(plan, scope, &self.joins, &self.proc, rollback)?,
            None => {
                let cgroup = rollback.cgroup.as_ref().and_then(Cgroup::fd);
                namespaces::spawn(&plan.namespaces, &self.joins, cgroup)?
            }
        };
        let pid = match spawned {
            Spawned::Init => {
                drop(channel);
                self.become_init(request, rollback, parent)
            }
            Spawned::Parent(pid) => pid,
        };
        rollback.init = Some(pid);
        let ours = Ours {
            channel,
            proc: self.proc,
            agent: self.agent,
            joins: self.joins,
            pipes: self.pipes.ours(),
            shared: self.shared,
            output: self.output,
        };
        Ok((pid, ours))
    }

    /// The child: gives up what is the parent's.
    fn become_init(self, request: &Request<'_>, rollback: &mut Rollback<'_>, parent: Channel) -> ! {
        // What enters the container shall hold no directory of the host (CVE-2016-9962, CVE-2024-21626).
        drop((
            self.proc,
            rollback.dir.take(),
            rollback.cgroup.take(),
            self.agent,
        ));
        init::run(
            request.plan,
            Inheritance {
                joins: self.joins,
                nodes: self.nodes,
                working_directory: self.working_directory,
                bpf: self.bpf,
                parent,
                ends: self.pipes.theirs,
                shared: self.shared,
                start: request.start,
                tracer: request.tracer(),
                output: self.output,
                words: self.pipes.say,
            },
        )
    }
}

/// What only the parent may do for init. Where that fails because init has, init's own reason is the one.
fn work_outside<'a>(
    request: &Request<'a>,
    rollback: &mut Rollback<'_>,
    ours: &'a Ours<'_>,
    state: &mut State,
) -> Result<rootfs::Sender<'a>> {
    let init = Pid::from_raw(state.init_process_pid);
    outside::work(request, rollback, ours, state)
        .map_err(|error| ours.channel.reason_or(rollback.death_or(error, init)))
}

/// From now on other commands know init.
fn record_init(
    request: &Request<'_>,
    rollback: &Rollback<'_>,
    ours: &Ours<'_>,
    state: &mut State,
) -> Result<()> {
    let init = Pid::from_raw(state.init_process_pid);
    state.set_init(ProcessRef::of(init, &ours.proc).context(Code::State, "look at init", init)?);
    state.identity = Some(Identity::of(state, rollback.cgroup.as_ref())?);
    step::begin(Step::KeepConfig)?;
    rollback.dir()?.write_config(request.config)?;
    step::begin(Step::RecordInit)?;
    rollback.dir()?.keep_identity(state)?;
    rollback.dir()?.write(state)
}

/// Until init is what it will be: the container's process, the master of its pty if nobody else took that, and what it
/// was sent.
fn hear<'a>(
    request: &'a Request<'a>,
    rollback: &mut Rollback<'_>,
    ours: &'a Ours<'_>,
    (agent, sources): (Option<Agent<'a>>, rootfs::Sender<'a>),
    state: &mut State,
) -> Result<(Born, Option<OwnedFd>, rootfs::Sender<'a>)> {
    step::begin(Step::Hear)?;
    let mut conversation = Conversation {
        request,
        channel: &ours.channel,
        ends: &ours.pipes.ends,
        agent,
        sources,
        shared: ours.shared,
        console: None,
        interruption: Interruption::by(request.end),
    };
    let born = conversation.lead(rollback, state, &ours.joins, &ours.proc)?;
    Ok((born, conversation.console, conversation.sources))
}

/// Whoever wants to know the process: by a pid file, by a pidfd.
fn tell_caller<'a>(request: &Request<'a>, rollback: &mut Rollback<'a>, born: &Born) -> Result<()> {
    step::begin(Step::PidFile)?;
    if let Some(path) = request.pid_file {
        pidfile::write(path, born.pid)?;
        rollback.pid_file = Some(path);
    }
    step::begin(Step::SendPidfd)?;
    for path in request.pidfd_sockets() {
        caller_socket::send_fd(path, b"pidfd", born.pidfd.as_fd()).context(
            Code::Io,
            "send the pidfd to",
            path.display(),
        )?;
    }
    Ok(())
}

/// The record says that all is done, and other commands may begin.
fn finish(request: &Request<'_>, rollback: &Rollback<'_>, state: &mut State) -> Result<()> {
    if request.start == StartBy::Fifo {
        step::begin(Step::Release)?;
    }
    step::begin(Step::Finish)?;
    state.finished = true;
    rollback.dir()?.write(state)?;
    rollback.dir()?.unlock()
}
