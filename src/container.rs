//! The parent's sequences: `create` here, those of the later verbs each below. Host privileges,
//! host mount namespace.
//!
//! Each resource is recorded in the state directory before it is acquired; when a step fails,
//! everything made so far is undone in reverse and the first error is returned.

mod conversation;
mod created;
mod creation;
mod documents;
mod end;
pub(crate) mod events;
mod facts;
mod hooks_outside;
mod host_namespaces;
mod interruption;
mod outside;
mod pause;
mod pipes;
mod processes;
mod scope;
mod start;
mod starting;
mod survivors;
mod undo;
mod update;

pub(crate) use end::{Force, Whom, delete, kill};
pub(crate) use pause::{pause, resume};
pub(crate) use processes::processes;
pub(crate) use start::start;
pub(crate) use update::{Update, update};

use crate::binary::shared::Shared;
use crate::cgroups::Cgroup;
use crate::error::{Code, Context, Result};
use crate::foreground::EndSignals;
use crate::hooks::{Kind, Output, Spoken};
use crate::host::Host;
use crate::init::{self, Inheritance, StartBy};
use crate::namespaces::{self, Spawned};
use crate::notify::{self, Proxy};
use crate::plan::Plan;
use crate::process::asked::{Asked, Birth, Hooks};
use crate::process::last_steps::{Tracer, WorkingDirectory};
use crate::procfs::ProcFs;
use crate::rootfs::devices::Nodes;
use crate::seccomp::listener::Agent;
use crate::state::{self, Identity, ProcessRef, State, Store};
use crate::step::{self, Step};
use crate::sync::Channel;
use crate::sync::pipes::Ends;
use crate::{caller_socket, intel_rdt, pidfile, seccomp};
use conversation::Conversation;
use facts::facts;
use interruption::Interruption;
use nix::unistd::Pid;
use pipes::{Ours, Pipes};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use undo::Made;

/// What `create` and `run` ask for, beside the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// All decisions.
    pub plan: &'a Plan,
    /// config.json as read; a copy is kept for `exec` and late hooks.
    pub config: &'a [u8],
    /// Facts about the host.
    pub host: &'a Host,
    /// `--root`.
    pub store: &'a Store,
    /// Who will say `Start`.
    pub start: StartBy,
    /// Where the pid goes, in digits.
    pub pid_file: Option<&'a Path>,
    /// Unix socket that gets the master of the pty; without one it is returned.
    pub console_socket: Option<&'a Path>,
    /// Unix socket that gets a pidfd of init.
    pub pidfd_socket: Option<&'a Path>,
    /// Readable when a signal asks casulo to end; none where that ends it anyway.
    pub end: Option<&'a EndSignals>,
    /// Whether the plan mounts a notify socket.
    pub notify: &'a notify::Socket,
}

impl Request<'_> {
    /// What the filter is asked about.
    fn asked(&self) -> Asked {
        Asked {
            birth: if self.plan.namespaces.joins(namespaces::Kind::Pid) {
                Birth::Sibling
            } else {
                Birth::Itself
            },
            hooks: if self.plan.hooks.has(Kind::StartContainer) {
                Hooks::Some
            } else {
                Hooks::None
            },
            working_directory: match self.start {
                StartBy::Fifo => WorkingDirectory::VerifyAgain,
                StartBy::Parent => WorkingDirectory::Verified,
            },
        }
    }

    /// Who looks into init while it waits: `exec`, and who binds the notify socket.
    fn tracer(&self) -> Tracer {
        match (self.start, self.notify) {
            (StartBy::Parent, notify::Socket::None) => Tracer::for_listener(&self.plan.process),
            _ => Tracer::while_waiting(&self.plan.process),
        }
    }

    /// True if nothing is to be done between the record and the start that the process could notice: then
    /// init is told to start before it is ready, and does not wait.
    fn starts_at_once(&self) -> bool {
        self.start == StartBy::Parent
            && self.pid_file.is_none()
            && self.pidfd_socket.is_none()
            && *self.notify == notify::Socket::None
            && self.plan.process.terminal.is_none()
            && !self.plan.reports_populated()
            && !self.plan.notifies()
            && !self.plan.namespaces.joins(namespaces::Kind::Pid)
    }
}

/// A container whose init waits to be started.
#[derive(Debug)]
pub(crate) struct Created<'a> {
    /// Init's pid.
    pub init: Pid,
    /// The master of the pty, if there is one and no console socket took it.
    pub console: Option<OwnedFd>,
    /// The proxy to the service manager, if there is one, from [`Created::start`] on.
    pub notify: Option<Proxy>,
    made: Made<'a>,
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
    let state = facts(request, &proc)?;
    let dir = request.store.reserve(&state)?;
    let mut made = Made {
        plan,
        dir: Some(dir),
        scope: None,
        cgroup: None,
        rdt_directories: Vec::new(),
        init: None,
        net_devices: None,
        pid_file: None,
        hooks_ran: None,
    };
    match build(request, &mut made, state, proc) {
        Ok(built) => Ok(Created {
            init: built.init,
            console: built.console,
            notify: None,
            made,
            state: built.state,
            pidfd: built.pidfd,
            ends: built.ends,
            spoken: built.spoken,
            told_to_start: request.starts_at_once(),
        }),
        Err(error) => {
            // Whatever failed then failed for that.
            let error = if made.dir()?.is_deleted() {
                state::deleted_meanwhile(&plan.id)
            } else {
                error
            };
            // The lock is held while all is undone.
            Err(made.undo(error))
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

fn build<'a>(
    request: &Request<'a>,
    made: &mut Made<'a>,
    mut state: State,
    proc: ProcFs,
) -> Result<Built> {
    let plan = request.plan;
    step::begin(Step::CompileFilter)?;
    let filter = plan.seccomp.as_ref();
    let bpf = filter.map(seccomp::compile).transpose()?;
    if let Some(bpf) = &bpf {
        plan.process.ask_filter(bpf, request.asked())?;
    }
    step::begin(Step::ConnectAgent)?;
    let agent = Agent::connect(filter)?;

    step::begin(Step::Cgroup)?;
    made.cgroup = Cgroup::create(&plan.cgroup, Some(&made.dir()?.holder()?))?;
    if made.cgroup.is_none() {
        state.set_cgroup(None);
    }
    if let Some(rdt) = &plan.intel_rdt {
        step::begin(Step::RdtClass)?;
        rdt.create(intel_rdt::mount_of_host()?)?;
        made.rdt_directories.clone_from(&state.intel_rdt_paths);
    }
    step::begin(Step::OpenNamespaces)?;
    let joins = namespaces::open_joins(&plan.namespaces)?;
    host_namespaces::check(&plan.rootfs, &joins)?;
    state.namespaces &= !joins.own_flags();
    let nodes = Nodes::make(&plan.rootfs.devices)?;
    step::begin(Step::StartFifos)?;
    let pipes = Pipes::of(request, made)?;
    let shared = Shared::new().context(Code::Sync, "map", "a shared page")?;
    step::begin(Step::HookOutput)?;
    let output = Output::open(&plan.hooks, &plan.bundle)?;
    let (channel, parent) = Channel::pair()?;
    step::begin(Step::Clone)?;
    let spawned = match &plan.cgroup.scope {
        Some(scope) => scope::spawn(plan, scope, &joins, &proc, made)?,
        None => {
            let cgroup = made.cgroup.as_ref().and_then(Cgroup::fd);
            namespaces::spawn(&plan.namespaces, &joins, cgroup)?
        }
    };
    let init = match spawned {
        Spawned::Init => {
            // What enters the container shall hold no directory of the host (CVE-2016-9962, CVE-2024-21626).
            drop((channel, proc, made.dir.take(), made.cgroup.take(), agent));
            init::run(
                plan,
                Inheritance {
                    joins,
                    nodes,
                    bpf,
                    parent,
                    ends: pipes.theirs,
                    shared,
                    start: request.start,
                    tracer: request.tracer(),
                    output,
                    words: pipes.say,
                },
            )
        }
        Spawned::Parent(pid) => pid,
    };
    made.init = Some(init);
    let Ours { ends, words } = pipes.ours();
    drop((parent, nodes));
    if made.scope.is_some() {
        state.set_cgroup(made.cgroup.as_ref().map(Cgroup::path));
        state.systemd_scope.clone_from(&made.scope);
    }
    if let (Some(cgroup), Some(name)) = (&made.cgroup, &plan.cgroup.delegate) {
        cgroup.delegate(name, init, plan.cgroup.owner)?;
    }

    state.init_process_pid = init.as_raw();
    // Until init is ready: the work of closing would disturb it.
    let _trees = match outside::work(request, &joins, made, &proc, &channel, &state) {
        Ok(trees) => trees,
        Err(error) => return Err(channel.reason_or(made.death_or(error, init))),
    };
    // While init makes its mounts.
    let process = ProcessRef::of(init, &proc).context(Code::State, "look at init", init)?;
    state.init_process_start = process.start;
    state.identity = Some(Identity::of(&state, made.cgroup.as_ref())?);
    step::begin(Step::KeepConfig)?;
    made.dir()?.write_config(request.config)?;
    step::begin(Step::RecordInit)?;
    made.dir()?.keep_identity(&state)?;
    made.dir()?.write(&state)?;
    step::begin(Step::Hear)?;
    let mut conversation = Conversation {
        request,
        channel: &channel,
        ends: &ends,
        agent,
        shared,
        console: None,
        interruption: Interruption::by(request.end),
    };
    let born = conversation.lead(made, &mut state, &joins, &proc)?;
    let (init, pidfd) = (born.pid, born.pidfd);
    let console = conversation.console;
    step::begin(Step::PidFile)?;
    if let Some(path) = request.pid_file {
        pidfile::write(path, init)?;
        made.pid_file = Some(path);
    }
    step::begin(Step::SendPidfd)?;
    if let Some(path) = request.pidfd_socket {
        caller_socket::send_fd(path, b"pidfd", pidfd.as_fd()).context(
            Code::Io,
            "send the pidfd to",
            path.display(),
        )?;
    }
    if request.start == StartBy::Fifo {
        step::begin(Step::Release)?;
    }
    step::begin(Step::Finish)?;
    state.finished = true;
    made.dir()?.write(&state)?;
    made.dir()?.unlock()?;
    Ok(Built {
        state,
        init,
        pidfd,
        ends,
        spoken: Spoken::of(words, output),
        console,
    })
}
