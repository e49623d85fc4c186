//! The parent's sequences: `create` here, those of the later verbs each below. Host privileges,
//! host mount namespace.
//!
//! Each resource is recorded in the state directory before it is acquired; when a step fails,
//! everything made so far is undone in reverse and the first error is returned.

pub(crate) mod agent;
mod created;
mod documents;
mod end;
pub mod events;
mod facts;
mod hooks_outside;
mod host_namespaces;
mod pause;
mod processes;
mod scope;
mod start;
mod survivors;
mod undo;
mod update;

pub use end::{Force, Whom, delete, kill};
pub use pause::{pause, resume};
pub use processes::processes;
pub use start::start;
pub use update::{Update, update};

use documents::Documents;

use crate::cgroups::Cgroup;
use crate::cgroups::devices::Rules;
use crate::error::{Code, Context, Error, Result};
use crate::hooks::{Kind, Output};
use crate::host::Host;
use crate::init::{self, Inheritance};
use crate::namespaces::{self, Joins, NewNetwork, Spawned};
use crate::notify::{self, Proxy};
use crate::plan::Plan;
use crate::process::Role;
use crate::rootfs::Sent;
use crate::rootfs::devices::Nodes;
use crate::state::{self, ProcessRef, State, Status, Store};
use crate::sync::{Channel, Message};
use crate::sys::exe;
use crate::sys::pidfd::pidfd_open;
use crate::sys::procfs::ProcFs;
use crate::testing::fault::{self, Step};
use crate::trace::{self, Phase};
use crate::{caller_socket, intel_rdt, pidfile, rootfs, seccomp, terminal};
use facts::{facts, record};
use hooks_outside::run_hooks;
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use undo::Made;

/// What `create` and `run` ask for, beside the plan.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
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
    /// Whether the plan mounts a notify socket.
    pub notify: notify::Socket,
}

impl Request<'_> {
    /// True if nothing is to be done between the record and the start that the process could notice: then
    /// init is told to start before it is ready, and does not wait.
    fn starts_at_once(&self) -> bool {
        self.start == StartBy::Parent
            && self.pid_file.is_none()
            && self.pidfd_socket.is_none()
            && self.notify != notify::Socket::Own
            && self.plan.process.terminal.is_none()
            && !self.plan.has_hooks_before_pivot()
    }
}

/// Who will start the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartBy {
    /// This process, by [`Created::start`].
    Parent,
    /// A later `casulo start`, over the socket in the state directory.
    Socket,
}

/// A container whose init waits to be started.
#[derive(Debug)]
pub struct Created<'a> {
    /// Init's pid.
    pub init: Pid,
    /// The master of the pty, if there is one and no console socket took it.
    pub console: Option<OwnedFd>,
    /// The proxy to the service manager, if there is one, from [`Created::start`] on.
    pub notify: Option<Proxy>,
    made: Made<'a>,
    state: State,
    channel: Channel,
    /// Whether `Start` was said already: [`Request::starts_at_once`].
    told_to_start: bool,
}

/// Creates the container up to the point where its init waits.
///
/// # Errors
/// The first step that failed; nothing is left behind.
pub fn create<'a>(request: &Request<'a>) -> Result<Created<'a>> {
    let plan = request.plan;
    // Before all else, since the kernel takes longest for it.
    let (_maker, network) = namespaces::make_network_ahead(&plan.namespaces)?.unzip();
    let dir = request.store.reserve(&plan.id)?;
    let mut made = Made {
        plan,
        dir: Some(dir),
        scope: None,
        cgroup: None,
        rdt_folders: Vec::new(),
        init: None,
        net_devices: None,
        pid_file: None,
        hooks_ran: None,
    };
    match build(request, &mut made, network) {
        Ok((state, channel, console, init)) => Ok(Created {
            init,
            console,
            notify: None,
            made,
            state,
            channel,
            told_to_start: request.starts_at_once(),
        }),
        Err(error) => {
            // Held while all is undone. Who holds it may be deleting what was begun: then whatever failed here
            // failed for that.
            let lock = made.dir()?.lock_in_time();
            let error = match &lock {
                Err(lock) if lock.code == Code::NotFound => state::deleted_meanwhile(&plan.id),
                _ => error,
            };
            Err(made.undo(error))
        }
    }
}

type Built = (State, Channel, Option<OwnedFd>, Pid);

fn build<'a>(
    request: &Request<'a>,
    made: &mut Made<'a>,
    network: Option<NewNetwork>,
) -> Result<Built> {
    let plan = request.plan;
    trace::phase(Phase::Record);
    fault::at(Step::CompileFilter)?;
    // After the id is reserved: the cache lies in the folder that this makes.
    let filter = plan.seccomp.as_ref();
    let bpf = filter
        .map(|filter| seccomp::compile(filter, &request.store.seccomp_cache()))
        .transpose()?;
    fault::at(Step::ConnectAgent)?;
    let agent = agent::connect(filter)?;
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let mut state = facts(request, &proc)?;
    fault::at(Step::NotifyFolder)?;
    if request.notify == notify::Socket::Own {
        made.dir()?.make_notify_folder()?;
    }
    fault::at(Step::Record)?;
    record(made.dir()?, &state)?;

    trace::phase(Phase::Cgroup);
    fault::at(Step::Cgroup)?;
    made.cgroup = Cgroup::create(&plan.cgroup)?;
    if made.cgroup.is_none() {
        state.set_cgroup(None);
    }
    if let Some(rdt) = &plan.intel_rdt {
        fault::at(Step::RdtClass)?;
        rdt.create(intel_rdt::mount_of_host()?)?;
        made.rdt_folders.clone_from(&state.intel_rdt_paths);
    }
    trace::phase(Phase::Open);
    fault::at(Step::OpenNamespaces)?;
    let joins = namespaces::open_joins(&plan.namespaces)?;
    host_namespaces::check(&plan.rootfs, &joins)?;
    state.namespaces &= !joins.own_flags();
    let nodes = Nodes::make(&plan.rootfs.devices)?;
    fault::at(Step::StartSocket)?;
    let start = match request.start {
        StartBy::Socket => Some(state::listen_for_start(made.dir()?)?),
        StartBy::Parent => None,
    };
    fault::at(Step::HookOutput)?;
    let output = Output::open(&plan.hooks, &plan.bundle)?;
    let (channel, parent) = Channel::pair()?;
    trace::phase(Phase::Clone);
    fault::at(Step::Clone)?;
    let spawned = match &plan.cgroup.scope {
        Some(scope) => scope::spawn(plan, scope, &joins, &proc, made)?,
        None => {
            let cgroup = made.cgroup.as_ref().and_then(Cgroup::fd);
            namespaces::spawn(&plan.namespaces, &joins, cgroup)?
        }
    };
    let init = match spawned {
        Spawned::Init => {
            // What enters the container shall hold no folder of the host (CVE-2016-9962, CVE-2024-21626).
            drop((channel, proc, made.dir.take(), made.cgroup.take()));
            init::run(
                plan,
                Inheritance {
                    joins,
                    network,
                    nodes,
                    bpf,
                    parent,
                    start,
                    agent,
                    output,
                },
            )
        }
        Spawned::Parent(pid) => pid,
    };
    trace::phase(Phase::Outside);
    made.init = Some(init);
    drop((parent, start, agent, nodes, network));
    if made.scope.is_some() {
        state.set_cgroup(made.cgroup.as_ref().map(Cgroup::path));
    }
    if let (Some(cgroup), Some(name)) = (&made.cgroup, &plan.cgroup.delegate) {
        cgroup.delegate(name, init, plan.cgroup.owner)?;
    }

    state.init_process_pid = init.as_raw();
    // Until init is ready: the work of closing would disturb it.
    let _trees = match outside_work(request, &joins, made, &proc, &channel, &state) {
        Ok(trees) => trees,
        Err(error) => return Err(channel.reason_or(error)),
    };
    // While init makes its mounts.
    let process = ProcessRef::of(init, &proc).context(Code::State, "look at init", init)?;
    state.init_process_start = process.start;
    fault::at(Step::KeepConfig)?;
    made.dir()?.write_config(request.config)?;
    fault::at(Step::RecordInit)?;
    record(made.dir()?, &state)?;
    trace::phase(Phase::Wait);
    let console = converse(request, made, &state, &channel, init)?;
    fault::at(Step::PidFile)?;
    if let Some(path) = request.pid_file {
        pidfile::write(path, init)?;
        made.pid_file = Some(path);
    }
    fault::at(Step::SendPidfd)?;
    if let Some(path) = request.pidfd_socket {
        let pidfd = pidfd_open(init).context(Code::Io, "open a pidfd of", init)?;
        caller_socket::send_fd(path, b"pidfd", pidfd.as_fd()).context(
            Code::Io,
            "send the pidfd to",
            path.display(),
        )?;
    }
    if request.start == StartBy::Socket {
        fault::at(Step::Release)?;
        channel.send(&Message::Release)?;
    }
    Ok((state, channel, console, init))
}

/// What only the parent may do for init: id maps, privileges of the host, bind sources.
fn outside_work(
    request: &Request<'_>,
    joins: &Joins,
    made: &mut Made<'_>,
    proc: &ProcFs,
    channel: &Channel,
    state: &State,
) -> Result<Sent> {
    let plan = request.plan;
    let init = Pid::from_raw(state.init_process_pid);
    fault::at(Step::Maps)?;
    namespaces::write_maps(&plan.namespaces, init, request.host)?;
    made.net_devices = namespaces::move_devices(&plan.namespaces, joins, init)?;
    fault::at(Step::Grant)?;
    plan.process.grant(init, proc, Role::Init)?;
    if let Some(rdt) = &plan.intel_rdt {
        rdt.join(intel_rdt::mount_of_host()?, init)?;
    }
    if plan.needs_go() {
        fault::at(Step::Go)?;
        Documents::of(plan, state, init, proc)?.send(channel)?;
    }
    fault::at(Step::OpenSources)?;
    rootfs::send(&plan.rootfs, init, proc, channel)
}

/// Answers init until it is ready; returns the pty's master if nobody else took it.
fn converse(
    request: &Request<'_>,
    made: &mut Made<'_>,
    state: &State,
    channel: &Channel,
    init: Pid,
) -> Result<Option<OwnedFd>> {
    let devices = request.plan.cgroup.devices.as_ref();
    fault::at(Step::DeviceProgram)?;
    let rules = devices.map(Rules::load).transpose()?;
    exe::let_go();
    let mut console = None;
    loop {
        match channel.receive()? {
            Some(Message::Populated) => {
                fault::at(Step::DeviceRules)?;
                if let (Some(cgroup), Some(rules)) = (&made.cgroup, &rules) {
                    // With init gone, systemd may have removed the cgroup already.
                    let attached = cgroup.attach_devices(rules);
                    attached.map_err(|error| channel.reason_or(error))?;
                }
                if request.starts_at_once() {
                    let told = channel.send(&Message::Start);
                    told.map_err(|error| channel.reason_or(error))?;
                }
                if !request.plan.has_hooks_before_pivot() {
                    continue;
                }
                fault::at(Step::RuntimeHooks)?;
                made.hooks_ran = Some(state.clone());
                // Up to spec 1.0.2 prestart hooks ran on start, and so were told `created`.
                for (kind, status) in [
                    (Kind::Prestart, Status::Created),
                    (Kind::CreateRuntime, Status::Creating),
                ] {
                    let document = state.document(status, init.as_raw()).to_string();
                    run_hooks(&request.plan.hooks, kind, &document, &request.plan.bundle)?;
                }
                channel.send(&Message::HooksDone)?;
            }
            Some(Message::Terminal(master)) => {
                fault::at(Step::SendTerminal)?;
                match request.console_socket {
                    Some(path) => terminal::send_to_console_socket(path, master.as_fd())?,
                    None => console = Some(master),
                }
            }
            Some(Message::Ready) => return Ok(console),
            Some(Message::Failed(error)) => return Err(error),
            Some(other) => return Err(Error::new(Code::Sync, format!("init said {other:?}"))),
            None => return Err(made.death_of_init(init)),
        }
    }
}
