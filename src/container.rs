//! The parent's sequence: create, start, delete. Host privileges, host mount namespace.
//!
//! Each resource is recorded in the state directory before it is acquired; when a step fails,
//! everything made so far is undone in reverse and the first error is returned.

use crate::cgroups::Cgroup;
use crate::error::{Code, Context, Error, Result};
use crate::hooks::{self, Call, Kind, Output};
use crate::host::Host;
use crate::init::{self, Inheritance};
use crate::namespaces::{self, Joins, Kind as Namespace, Spawned};
use crate::plan::Plan;
use crate::process::Role;
use crate::rootfs::Sources;
use crate::state::{self, Dir, ProcessRef, State, Status, Store};
use crate::sync::{Channel, Message};
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::sys::procfs::ProcFs;
use crate::{caller_socket, intel_rdt, pidfile, seccomp, terminal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

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
    made: Made<'a>,
    state: State,
    channel: Channel,
}

/// Everything made so far, in the order of making; undone in reverse.
#[derive(Debug)]
struct Made<'a> {
    plan: &'a Plan,
    dir: Option<Dir>,
    cgroup: Option<Cgroup>,
    rdt_folders: Vec<PathBuf>,
    init: Option<Pid>,
    pid_file: Option<&'a Path>,
    /// The state that poststop hooks are told, once any hook may have run.
    hooks_ran: Option<State>,
}

/// Creates the container up to the point where its init waits.
///
/// # Errors
/// The first step that failed; nothing is left behind.
pub fn create<'a>(request: &Request<'a>) -> Result<Created<'a>> {
    let plan = request.plan;
    let bpf = match &plan.seccomp {
        Some(filter) => Some(seccomp::compile(filter, &request.store.seccomp_cache())?),
        None => None,
    };
    let agent = match plan
        .seccomp
        .as_ref()
        .and_then(|filter| filter.listener_path.as_deref())
    {
        Some(path) => Some(caller_socket::connect(path).context(
            Code::Seccomp,
            "connect to the seccomp agent at",
            path.display(),
        )?),
        None => None,
    };
    let dir = request.store.reserve(&plan.id)?;
    let mut made = Made {
        plan,
        dir: Some(dir),
        cgroup: None,
        rdt_folders: Vec::new(),
        init: None,
        pid_file: None,
        hooks_ran: None,
    };
    match build(request, bpf, agent, &mut made) {
        Ok((state, channel, console, init)) => Ok(Created {
            init,
            console,
            made,
            state,
            channel,
        }),
        Err(error) => Err(made.undo(error)),
    }
}

type Built = (State, Channel, Option<OwnedFd>, Pid);

fn build<'a>(
    request: &Request<'a>,
    bpf: Option<seccomp::Bpf>,
    agent: Option<OwnedFd>,
    made: &mut Made<'a>,
) -> Result<Built> {
    let plan = request.plan;
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let mut state = facts(request, &proc)?;
    let dir = made
        .dir
        .as_ref()
        .ok_or_else(|| Error::new(Code::State, "no state directory"))?;
    dir.write_config(request.config)?;
    dir.write(&state)?;

    made.cgroup = Cgroup::create(&plan.cgroup)?;
    if made.cgroup.is_none() {
        (state.cgroup_paths, state.cgroup_is_callers) = (BTreeMap::new(), true);
    }
    if let Some(rdt) = &plan.intel_rdt {
        made.rdt_folders.clone_from(&state.intel_rdt_paths);
        rdt.create(intel_rdt::mount_of_host()?)?;
    }
    let joins = namespaces::open_joins(&plan.namespaces)?;
    check_shared(plan, &joins)?;
    state.namespaces &= !joins.own_flags();
    let sources = Sources::open(&plan.rootfs)?;
    let start = match request.start {
        StartBy::Socket => Some(state::listen_for_start(dir)?),
        StartBy::Parent => None,
    };
    let output = Output::open(&plan.hooks, &plan.bundle)?;
    let (channel, parent) = Channel::pair()?;
    let cgroup_fd = made.cgroup.as_ref().and_then(Cgroup::fd);
    let init = match namespaces::spawn(&plan.namespaces, &joins, cgroup_fd)? {
        Spawned::Init => {
            drop(channel);
            init::run(
                plan,
                Inheritance {
                    joins,
                    sources,
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
    made.init = Some(init);
    drop((parent, start, agent));

    let process = ProcessRef::of(init, &proc).context(Code::State, "look at init", init)?;
    (state.init_process_pid, state.init_process_start) = (process.pid, process.start);
    if let Err(error) = outside_work(request, &joins, &sources, init, &proc, &channel, &state) {
        return Err(prefer_childs_error(&channel, error));
    }
    dir.write(&state)?;
    let console = converse(request, made, &state, &channel, init)?;
    if let Some(path) = request.pid_file {
        pidfile::write(path, init)?;
        made.pid_file = Some(path);
    }
    if let Some(path) = request.pidfd_socket {
        let pidfd = pidfd_open(init).context(Code::Io, "open a pidfd of", init)?;
        caller_socket::send_fd(path, b"pidfd", pidfd.as_fd()).context(
            Code::Io,
            "send the pidfd to",
            path.display(),
        )?;
    }
    if request.start == StartBy::Socket {
        channel.send(&Message::Release)?;
    }
    Ok((state, channel, console, init))
}

/// A path in `linux.namespaces` may lead to the namespace that casulo itself is in. Then nothing may be
/// done to it that is meant for a container alone: the host would be renamed, its network tuned, its
/// root moved away.
fn check_shared(plan: &Plan, joins: &Joins) -> Result<()> {
    let rootfs = &plan.rootfs;
    let sysctl = |sysctl: &crate::rootfs::sysctl::Sysctl| {
        Some((sysctl.owner()?, format!("linux.sysctl[{:?}]", sysctl.key)))
    };
    let uses = [
        (Namespace::Mount, "root".to_owned()).into(),
        rootfs
            .hostname
            .as_ref()
            .map(|_| (Namespace::Uts, "hostname".to_owned())),
        rootfs
            .domainname
            .as_ref()
            .map(|_| (Namespace::Uts, "domainname".to_owned())),
    ];
    let uses = uses
        .into_iter()
        .flatten()
        .chain(rootfs.sysctls.iter().filter_map(sysctl));
    for (kind, field) in uses {
        if joins.is_own(kind) {
            let name = kind.spec_name();
            return Err(Error::new(
                Code::Namespace,
                format!(
                    "{field} would change the host: the {name} namespace that linux.namespaces joins is the host's own"
                ),
            ));
        }
    }
    Ok(())
}

/// What only the parent may do to init: id maps, idmapped mounts, privileges of the host.
fn outside_work(
    request: &Request<'_>,
    joins: &Joins,
    sources: &Sources,
    init: Pid,
    proc: &ProcFs,
    channel: &Channel,
    state: &State,
) -> Result<()> {
    let plan = request.plan;
    namespaces::write_maps(&plan.namespaces, init, request.host)?;
    sources.idmap_with(&plan.rootfs, init)?;
    namespaces::move_devices(&plan.namespaces, joins, init)?;
    plan.process.grant(init, proc, Role::Init)?;
    if let Some(rdt) = &plan.intel_rdt {
        rdt.join(intel_rdt::mount_of_host()?, init)?;
    }
    if plan.needs_go() {
        let hook_state =
            match plan.hooks.has(Kind::CreateContainer) || plan.hooks.has(Kind::StartContainer) {
                true => state
                    .document(Status::Creating, init.as_raw())
                    .to_string()
                    .into_bytes(),
                false => Vec::new(),
            };
        let listener_state = match &plan.seccomp {
            Some(filter) if filter.listener_path.is_some() => listener_document(
                state,
                Status::Creating,
                init,
                filter.listener_metadata.as_deref(),
            ),
            _ => Vec::new(),
        };
        channel.send(&Message::Go {
            hook_state: length(&hook_state)?,
            listener_state: length(&listener_state)?,
        })?;
        channel.send_document(&hook_state)?;
        channel.send_document(&listener_state)?;
    }
    Ok(())
}

fn length(document: &[u8]) -> Result<u32> {
    u32::try_from(document.len())
        .map_err(|_too_long| Error::new(Code::Sync, "the state document is longer than 4 GiB"))
}

/// The container process state that a seccomp agent gets with the listener.
pub(crate) fn listener_document(
    state: &State,
    status: Status,
    pid: Pid,
    metadata: Option<&str>,
) -> Vec<u8> {
    let mut document = serde_json::json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid.as_raw(),
        "state": state.document(status, state.init_process_pid),
    });
    if let Some(metadata) = metadata {
        document["metadata"] = metadata.into();
    }
    document.to_string().into_bytes()
}

/// When the parent's step fails because init has just died, init's own error says more.
fn prefer_childs_error(channel: &Channel, error: Error) -> Error {
    let mut poll = [nix::poll::PollFd::new(
        channel.as_fd(),
        nix::poll::PollFlags::POLLIN,
    )];
    let waiting = nix::poll::poll(&mut poll, nix::poll::PollTimeout::ZERO).unwrap_or(0) > 0;
    match waiting.then(|| channel.receive()) {
        Some(Ok(Some(Message::Failed(cause)))) => cause,
        _ => error,
    }
}

fn facts(request: &Request<'_>, proc: &ProcFs) -> Result<State> {
    let plan = request.plan;
    let creator =
        ProcessRef::of(Pid::this(), proc).context(Code::State, "look at", "/proc/self/stat")?;
    Ok(State {
        id: plan.id.clone(),
        oci_version: plan.oci_version.clone(),
        created: state::now(),
        bundle: plan.bundle.clone(),
        rootfs: plan.rootfs.path.clone(),
        annotations: plan.annotations.iter().cloned().collect(),
        owner: request.host.euid,
        creator: (creator.pid, creator.start),
        cgroup_paths: plan
            .cgroup
            .path
            .as_deref()
            .map(|path| (String::new(), path.to_owned()))
            .into_iter()
            .collect(),
        cgroup_is_callers: plan.cgroup.path.is_none(),
        intel_rdt_paths: match &plan.intel_rdt {
            Some(rdt) => rdt.folders(intel_rdt::mount_of_host()?),
            None => Vec::new(),
        },
        namespaces: plan.namespaces.clone_flags(),
        has_poststart: plan.hooks.has(Kind::Poststart),
        has_poststop: plan.hooks.has(Kind::Poststop),
        ..State::default()
    })
}

/// Answers init until it is ready; returns the pty's master if nobody else took it.
fn converse(
    request: &Request<'_>,
    made: &mut Made<'_>,
    state: &State,
    channel: &Channel,
    init: Pid,
) -> Result<Option<OwnedFd>> {
    let mut console = None;
    loop {
        match channel.receive()? {
            Some(Message::Populated) => {
                made.hooks_ran = Some(state.clone());
                let document = state.document(Status::Creating, init.as_raw()).to_string();
                for kind in [Kind::Prestart, Kind::CreateRuntime] {
                    run_hooks(&request.plan.hooks, kind, &document, &request.plan.bundle)?;
                }
                channel.send(&Message::HooksDone)?;
            }
            Some(Message::Terminal(master)) => match request.console_socket {
                Some(path) => terminal::send_to_console_socket(path, master.as_fd())?,
                None => console = Some(master),
            },
            Some(Message::Ready) => return Ok(console),
            Some(Message::Failed(error)) => return Err(error),
            Some(other) => return Err(Error::new(Code::Sync, format!("init said {other:?}"))),
            None => return Err(made.death_of_init(init)),
        }
    }
}

impl Created<'_> {
    /// Says `Start` and waits until the program was executed; runs the poststart hooks.
    ///
    /// # Errors
    /// The step of init that failed, or a poststart hook; the container is then undone.
    pub fn start(&mut self) -> Result<()> {
        let started =
            self.channel
                .send(&Message::Start)
                .and_then(|()| match self.channel.receive()? {
                    None => Ok(()),
                    Some(Message::Failed(error)) => Err(error),
                    Some(other) => Err(Error::new(Code::Sync, format!("init said {other:?}"))),
                });
        let poststart = |state: &State| {
            let document = state
                .document(Status::Running, state.init_process_pid)
                .to_string();
            run_hooks(
                &self.made.plan.hooks,
                Kind::Poststart,
                &document,
                &state.bundle,
            )
        };
        started
            .and_then(|()| poststart(&self.state))
            .map_err(|error| self.made.undo(error))
    }

    /// Removes what the container leaves after its process has ended (`run` in the foreground).
    ///
    /// # Errors
    /// As [`delete`].
    pub fn clean_up(mut self) -> Result<()> {
        match self.made.dir.take() {
            Some(dir) => remove(dir, &self.state),
            None => Ok(()),
        }
    }
}

impl Made<'_> {
    /// Undoes everything in reverse and hands `error` back. What cannot be undone is logged: the
    /// first error is the one that the caller needs.
    fn undo(&mut self, error: Error) -> Error {
        if let Some(init) = self.init.take() {
            if let Ok(pidfd) = pidfd_open(init) {
                // It may have ended by itself.
                let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            }
            let _ = waitpid(init, None);
        }
        if let Some(path) = self.pid_file.take() {
            let _ = std::fs::remove_file(path);
        }
        if let Some(cgroup) = self.cgroup.take() {
            for failed in [cgroup.kill(), cgroup.remove()]
                .into_iter()
                .filter_map(Result::err)
            {
                log::warn!("undo: {failed}");
            }
        }
        if let Err(failed) = intel_rdt::remove(&self.rdt_folders) {
            log::warn!("undo: {failed}");
        }
        if let Some(state) = self.hooks_ran.take() {
            let document = state.document(Status::Stopped, 0).to_string();
            run_poststop(&self.plan.hooks, &document, &self.plan.bundle);
        }
        if let Some(dir) = self.dir.take() {
            if let Err(failed) = dir.remove() {
                log::warn!("undo: {failed}");
            }
        }
        error
    }

    /// Init ended without a word: says how, and whether the memory limit did it.
    fn death_of_init(&mut self, init: Pid) -> Error {
        let status = waitpid(init, None);
        self.init = None;
        if self.cgroup.as_ref().is_some_and(Cgroup::was_oom_killed) {
            return Error::new(
                Code::OutOfMemory,
                "the container was killed by its memory limit while it was starting",
            )
            .hint("raise linux.resources.memory.limit");
        }
        let how = match status {
            Ok(WaitStatus::Exited(_, code)) => format!("exited with status {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("was killed by {signal}"),
            _ => "vanished".to_owned(),
        };
        Error::new(
            Code::Sync,
            format!("init {how} before the container was set up"),
        )
    }
}

/// `start`: tells the waiting init to execute the program; runs the poststart hooks.
///
/// # Errors
/// `E_STATUS` unless the container is created; the step of init that failed; a poststart hook, whose
/// failure ends the container: it is stopped and destroyed (runtime.md, Lifecycle, step 9).
pub fn start(dir: Dir) -> Result<()> {
    let _lock = dir.lock()?;
    let state = dir.read()?;
    match state::status(&dir, &state)? {
        (Status::Created, _) => {}
        (status, _) => {
            let text = format!(
                "cannot start container {}: it is {}, not created",
                dir.id,
                status.as_str()
            );
            return Err(Error::new(Code::Status, text));
        }
    }
    let init = state::connect_to_init(&dir)?;
    init.send(&Message::Start)?;
    let answer = init.receive();
    dir.forget_start_socket();
    if let Some(Message::Failed(error)) = answer? {
        return Err(error);
    }
    if state.has_poststart {
        let document = state
            .document(Status::Running, state.init_process_pid)
            .to_string();
        let ran = recorded_hooks(&dir)
            .and_then(|hooks| run_hooks(&hooks, Kind::Poststart, &document, &state.bundle));
        if let Err(error) = ran {
            if let Err(failed) = kill_all(&state).and_then(|()| remove(dir, &state)) {
                log::warn!("undo: {failed}");
            }
            return Err(error);
        }
    }
    Ok(())
}

fn recorded_hooks(dir: &Dir) -> Result<crate::hooks::Plan> {
    let (file, bytes) = dir.read_config()?;
    let spec = crate::config::parse(&bytes, &file)?;
    let mut problems = crate::error::Problems::default();
    let hooks = crate::hooks::plan(&spec, &mut problems);
    problems.into_result(&file)?;
    Ok(hooks)
}

/// Runs hooks of the runtime's namespaces, in the bundle, with casulo's own environment where they
/// give none.
fn run_hooks(hooks: &hooks::Plan, kind: Kind, state: &str, bundle: &Path) -> Result<()> {
    if !hooks.has(kind) {
        return Ok(());
    }
    let output = Output::open(hooks, bundle)?;
    hooks.run(
        kind,
        &runtime_call(state, bundle, &hooks::own_environment(), &output),
    )
}

/// Runs the poststop hooks, each of them: a failure is only logged (runtime.md, Lifecycle, step 13).
fn run_poststop(hooks: &hooks::Plan, state: &str, bundle: &Path) {
    if !hooks.has(Kind::Poststop) {
        return;
    }
    let env = hooks::own_environment();
    let failures = match Output::open(hooks, bundle) {
        Ok(output) => hooks.run_all(Kind::Poststop, &runtime_call(state, bundle, &env, &output)),
        Err(error) => vec![error],
    };
    for failed in failures {
        log::warn!("{failed}");
    }
}

fn runtime_call<'a>(
    state: &'a str,
    bundle: &'a Path,
    env: &'a [CString],
    output: &'a Output,
) -> Call<'a> {
    Call {
        state: state.as_bytes(),
        cwd: Some(bundle),
        env,
        output,
    }
}

/// Kills every process of the container: all of its cgroup, or init and with it its pid namespace.
fn kill_all(state: &State) -> Result<()> {
    if let Some(path) = state.cgroup() {
        match Cgroup::open(path) {
            Ok(cgroup) => cgroup.kill()?,
            Err(error) if error.errno == Some(nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    if let Some(pidfd) = state.init().and_then(|init| init.open(&proc)) {
        match pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(errno) => {
                return Err(Error::step(
                    Code::Signal,
                    "kill init",
                    state.id.clone(),
                    errno,
                ));
            }
        }
        wait_for_end(&pidfd, &state.id)?;
    }
    Ok(())
}

/// Waits until a killed process has ended; ten seconds are enough for anything but a D state.
fn wait_for_end(pidfd: &OwnedFd, id: &str) -> Result<()> {
    let mut poll = [nix::poll::PollFd::new(
        pidfd.as_fd(),
        nix::poll::PollFlags::POLLIN,
    )];
    match nix::poll::poll(&mut poll, nix::poll::PollTimeout::from(10_000u16)) {
        Ok(0) => Err(Error::new(
            Code::Signal,
            format!("init of container {id} does not end after SIGKILL"),
        )),
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::step(Code::Signal, "wait for init of", id, errno)),
    }
}

/// How `delete` treats a container that still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Kill it.
    Yes,
    /// Refuse, unless it was never started.
    No,
}

/// `delete`: everything that the container made on the host goes away.
///
/// # Errors
/// `E_STATUS` when it runs and `force` is [`Force::No`]; the step that failed, after which `delete` can be repeated.
pub fn delete(dir: Dir, force: Force) -> Result<()> {
    let lock = dir.lock()?;
    let state = match dir.read() {
        // Half-written facts name nothing that could be cleaned up.
        Err(_) if force == Force::Yes => State {
            id: dir.id.clone(),
            ..State::default()
        },
        result => result?,
    };
    let (status, _) = state::status(&dir, &state)?;
    if force == Force::No && !matches!(status, Status::Stopped | Status::Created) {
        let text = format!(
            "cannot delete container {}: it is {}, not stopped",
            dir.id,
            status.as_str()
        );
        return Err(Error::new(Code::Status, text).hint("kill it first, or use --force"));
    }
    kill_all(&state)?;
    let removed = remove(dir, &state);
    drop(lock);
    removed
}

/// Removes cgroup, RDT group and state directory of a container whose processes have ended, and runs
/// its poststop hooks (whose failures are only logged: runtime.md, Lifecycle, step 13).
fn remove(dir: Dir, state: &State) -> Result<()> {
    if let Some(path) = state.cgroup() {
        match Cgroup::open(path) {
            Ok(cgroup) => {
                cgroup.kill()?;
                cgroup.remove()?;
            }
            Err(error) if error.errno == Some(nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    intel_rdt::remove(&state.intel_rdt_paths)?;
    if state.has_poststop {
        let document = state.document(Status::Stopped, 0).to_string();
        match recorded_hooks(&dir) {
            Ok(hooks) => run_poststop(&hooks, &document, &state.bundle),
            Err(failed) => log::warn!("poststop hooks are not run: {failed}"),
        }
    }
    dir.remove()
}

/// `kill`: sends `signal` to init, or to every process of the container.
///
/// # Errors
/// `E_STATUS` with the words `container not running` that callers look for; `E_SIGNAL`.
pub fn kill(dir: &Dir, signal: i32, all: bool) -> Result<()> {
    let state = dir.read()?;
    let (status, pidfd) = state::status(dir, &state)?;
    let own_pids = state.namespaces & (libc::CLONE_NEWPID as u64) != 0;
    // Without a pid namespace of its own, init's death does not take the others along.
    if all || (signal == libc::SIGKILL && !own_pids) {
        if let Some(path) = state.cgroup() {
            return match Cgroup::open(path) {
                Ok(cgroup) if signal == libc::SIGKILL => cgroup.kill(),
                Ok(cgroup) => cgroup.signal(signal),
                Err(error) if all && error.errno == Some(nix::errno::Errno::ENOENT) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if all && state.cgroup_is_callers && pidfd.is_some() && !own_pids {
            let text = format!(
                "cannot signal all of container {}: its cgroup is the caller's",
                dir.id
            );
            return Err(Error::new(Code::Status, text));
        }
    }
    let Some(pidfd) = pidfd else {
        if all && status == Status::Stopped {
            return Ok(());
        }
        return Err(Error::new(
            Code::Status,
            format!("container not running: {}", dir.id),
        ));
    };
    match pidfd_send_signal(pidfd.as_fd(), signal) {
        Err(nix::errno::Errno::ESRCH) => Err(Error::new(
            Code::Status,
            format!("container not running: {}", dir.id),
        )),
        result => result.context(Code::Signal, "send a signal to container", &dir.id),
    }
}
