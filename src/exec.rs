//! `exec`: another process in a running container. Parent and child sequence, as short as
//! [`crate::init`]'s because the container is there already.
//!
//! The parent opens a pidfd of init, makes itself non-dumpable (CVE-2016-9962: nobody inside may
//! trace or look into what enters), enters the pid namespace for its children and clones once,
//! straight into the container's cgroup. The child joins all other namespaces in one setns(2) on
//! the pidfd and then becomes the process. It holds no fd of the host but its channel, which is
//! close-on-exec.

mod birth;

use crate::capabilities::SysAdmin;
use crate::cgroups::systemd;
use crate::container::agent;
use crate::error::{Code, Context, Error, Result};
use crate::init::send_listener;
use crate::process::{Role, schedule, signals};
use crate::rootfs::root::Root;
use crate::seccomp::{self, Bpf};
use crate::state::{Dir, State, Status};
use crate::sync::{Channel, Message};
use crate::sys::child;
use crate::sys::clone::Side;
use crate::sys::exe;
use crate::sys::namespace::stop_being_dumpable;
use crate::sys::pidfd::pidfd_open;
use crate::sys::procfs::ProcFs;
use crate::testing::fault::{self, Step};
use crate::trace::{self, Phase};
use crate::{caller_socket, pidfile, process, state, terminal};
use birth::Place;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// What to execute, and where.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its facts.
    pub state: &'a State,
    /// The process.
    pub process: &'a process::Plan,
    /// The container's seccomp filter.
    pub filter: Option<&'a seccomp::Filter>,
    /// Folder of compiled filters.
    pub seccomp_cache: &'a Path,
    /// Where the pid goes, in digits; only written once the program runs.
    pub pid_file: Option<&'a Path>,
    /// Unix socket that gets the master of the pty.
    pub console_socket: Option<&'a Path>,
    /// Unix socket that gets a pidfd of the process.
    pub pidfd_socket: Option<&'a Path>,
    /// The process's cgroup, relative to the container's and below it; it must exist.
    pub cgroup: Option<&'a Path>,
    /// What happens in a paused container.
    pub paused: WhenPaused,
}

/// How `exec` treats a paused container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenPaused {
    /// An error.
    Refuse,
    /// The process is made, frozen as it is born, and casulo waits until it is resumed.
    Wait,
}

/// The process runs.
#[derive(Debug)]
pub struct Executed {
    /// Its pid, a child of casulo.
    pub pid: Pid,
    /// The master of the pty, if no console socket took it.
    pub console: Option<OwnedFd>,
}

/// Executes the process in the container, whose state directory is `dir`. Runs in the parent.
///
/// # Errors
/// `E_STATUS` unless the container is created or running; the step that failed. No process and no
/// pid file is left behind.
pub fn exec(dir: Dir, request: &Request<'_>) -> Result<Executed> {
    let (status, pidfd) = state::status(&dir, request.state)?;
    // What enters the container shall hold no folder of the host (CVE-2016-9962, CVE-2024-21626).
    drop(dir);
    let init = match (status, pidfd) {
        (Status::Created | Status::Running, Some(pidfd)) => pidfd,
        (Status::Paused, Some(pidfd)) if request.paused == WhenPaused::Wait => pidfd,
        (Status::Paused, _) => {
            let text = format!("cannot exec in container {}: it is paused", request.id);
            return Err(Error::new(Code::Status, text)
                .hint("resume it, or wait for that with --ignore-paused"));
        }
        _ => return Err(not_running(request)),
    };
    execute_beside(request, &init).map_err(|error| match has_ended(&init, &error) {
        true => not_running(request),
        false => error,
    })
}

fn not_running(request: &Request<'_>) -> Error {
    let id = &request.id;
    let text = format!("cannot exec in container {id}: container not running");
    Error::new(Code::Status, text)
}

/// Whether `error` came of the container's end. The kernel refuses to let anybody into its namespaces a moment
/// before init has ended; a program that is missing is no sign of that.
fn has_ended(init: &OwnedFd, error: &Error) -> bool {
    let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN)];
    let moment: u8 = if error.code == Code::Exec { 0 } else { 100 };
    poll(&mut fds, moment).is_ok_and(|count| count > 0)
}

/// [`exec`] in a container whose init lives.
fn execute_beside(request: &Request<'_>, init: &OwnedFd) -> Result<Executed> {
    let bpf = request
        .filter
        .map(|filter| seccomp::compile(filter, request.seccomp_cache))
        .transpose()?;
    let agent = agent::connect(request.filter)?;
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let (channel, parent) = Channel::pair()?;
    trace::phase(Phase::Clone);

    stop_being_dumpable().context(Code::Process, "become non-dumpable", "")?;
    fault::at(Step::ExecEnterPids)?;
    let rest = enter_pid_namespace(init, request.state.namespaces)?;
    let child = Child {
        request,
        init,
        namespaces: rest,
        bpf,
        agent,
    };
    if let Some(affinity) = &request.process.exec_affinity {
        schedule::pin_parent(affinity)?;
    }
    fault::at(Step::ExecClone)?;
    let (side, place) = birth::clone_into_cgroup(request, init, &proc)?;
    let pid = match side {
        Side::Child => {
            drop((channel, proc));
            child.run(parent, &place)
        }
        Side::Parent(pid) => pid,
    };
    drop(parent);
    let moved = match &place {
        Place::Final => Ok(()),
        Place::LeftToSystemd { scope, cgroup } => fault::at(Step::ExecAttach)
            .and_then(|()| systemd::attach(scope, cgroup, pid))
            .and_then(|()| fault::at(Step::ExecAttached))
            .and_then(|()| channel.send(&Message::Release)),
    };
    match moved.and_then(|()| supervise(request, &channel, pid, &proc)) {
        Ok(console) => Ok(Executed { pid, console }),
        Err(error) => {
            child::end(pid);
            Err(error)
        }
    }
}

/// Makes the next child be born in the container's pid namespace; returns the flags of the
/// namespaces that the child must still join. An ordinary user joins the user namespace first,
/// in the parent, because it gives the privilege for the rest.
fn enter_pid_namespace(init: &OwnedFd, namespaces: u64) -> Result<CloneFlags> {
    let all = CloneFlags::from_bits_truncate(i32::try_from(namespaces).unwrap_or(0));
    let pid = all & CloneFlags::CLONE_NEWPID;
    let rest = all - CloneFlags::CLONE_NEWPID;
    if pid.is_empty() {
        return Ok(rest);
    }
    match setns(init, pid) {
        Err(Errno::EPERM) if all.contains(CloneFlags::CLONE_NEWUSER) => {
            setns(init, pid | CloneFlags::CLONE_NEWUSER).context(
                Code::Namespace,
                "join the pid namespace of",
                "init",
            )?;
            Ok(rest - CloneFlags::CLONE_NEWUSER)
        }
        result => result
            .context(Code::Namespace, "join the pid namespace of", "init")
            .map(|()| rest),
    }
}

/// Answers the child until the program runs; returns the pty's master if nobody else took it.
fn supervise(
    request: &Request<'_>,
    channel: &Channel,
    pid: Pid,
    proc: &ProcFs,
) -> Result<Option<OwnedFd>> {
    trace::phase(Phase::Outside);
    fault::at(Step::ExecGrant)?;
    request.process.grant(pid, proc, Role::Exec)?;
    let listener_state = match request.filter {
        Some(filter) if filter.listener_path.is_some() => agent::document(
            request.state,
            Status::Running,
            pid,
            filter.listener_metadata.as_deref(),
        ),
        _ => Vec::new(),
    };
    fault::at(Step::ExecGo)?;
    let go = Message::Go {
        create_state: 0,
        start_state: 0,
        listener_state: u32::try_from(listener_state.len()).unwrap_or(0),
    };
    channel
        .send(&go)
        .and_then(|()| channel.send_document(&listener_state))
        .map_err(|error| channel.reason_or(error))?;
    exe::let_go();
    trace::phase(Phase::Wait);
    let mut console = None;
    loop {
        match channel.receive()? {
            Some(Message::Terminal(master)) => match request.console_socket {
                Some(path) => terminal::send_to_console_socket(path, master.as_fd())?,
                None => console = Some(master),
            },
            Some(Message::Failed(error)) => return Err(error),
            Some(other) => {
                return Err(Error::new(
                    Code::Sync,
                    format!("the process said {other:?}"),
                ));
            }
            // Execve has closed the channel, or the process died before it could: its exit status
            // then says so, as for any command that ends at once.
            None => break,
        }
    }
    fault::at(Step::ExecRuns)?;
    if let Some(path) = request.pidfd_socket {
        let pidfd = pidfd_open(pid).context(Code::Io, "open a pidfd of", pid)?;
        caller_socket::send_fd(path, b"pidfd", pidfd.as_fd()).context(
            Code::Io,
            "send the pidfd to",
            path.display(),
        )?;
    }
    if let Some(path) = request.pid_file {
        pidfile::write(path, pid)?;
    }
    Ok(console)
}

/// What the child inherits.
struct Child<'a> {
    request: &'a Request<'a>,
    init: &'a OwnedFd,
    namespaces: CloneFlags,
    bpf: Option<Bpf>,
    agent: Option<OwnedFd>,
}

impl Child<'_> {
    fn run(self, parent: Channel, place: &Place) -> ! {
        let error = match self.become_process(&parent, place) {
            Err(error) | Ok(error) => error,
        };
        // If nobody listens any more there is nobody to tell.
        let _ = parent.send(&Message::Failed(error));
        crate::sys::child::leave(1)
    }

    /// From the clone to execve; returns execve's error.
    fn become_process(self, parent: &Channel, place: &Place) -> Result<Error> {
        trace::phase(Phase::Enter);
        exe::let_go();
        let process = self.request.process;
        if matches!(place, Place::LeftToSystemd { .. }) && parent.receive()?.is_none() {
            return Err(Error::new(
                Code::Sync,
                "the parent left before the process could start",
            ));
        }
        fault::at(Step::ExecJoin)?;
        if !self.namespaces.is_empty() {
            setns(self.init, self.namespaces).context(
                Code::Namespace,
                "join the namespaces of",
                self.request.id,
            )?;
        }
        if self.request.state.namespaces & (libc::CLONE_NEWUSER as u64) != 0 {
            crate::namespaces::become_root_of_joined()?;
        }
        // The labels are written through a procfs that nobody inside can cover, mounted only now: a
        // descriptor of the host's would be within the container's reach.
        let proc = match process.writes_proc() {
            true => Some(ProcFs::private().context(Code::Process, "mount a private procfs", "")?),
            false => None,
        };
        let root = open(
            "/",
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .context(Code::Process, "open", "/")?;
        let root = Root::from_fd(root);
        signals::own_session()?;
        if let Some(size) = process.terminal {
            fault::at(Step::ExecTerminal)?;
            let pty = terminal::open(&root, size)?;
            pty.give_to(process.identity.uid)?;
            terminal::attach(pty.slave.as_fd())?;
            parent.send(&Message::Terminal(pty.master))?;
        }
        trace::phase(Phase::Identity);
        process.prepare(proc.as_ref())?;
        drop(proc);
        let entered = process.enter(&root)?;
        fault::at(Step::ExecWait)?;
        trace::phase(Phase::WaitForStart);
        // Before the user changes: the parent may grant things to a process of its own user only.
        let listener_state = match parent.receive()? {
            Some(Message::Go { listener_state, .. }) => parent.receive_document(listener_state)?,
            _ => {
                return Err(Error::new(
                    Code::Sync,
                    "the parent left before the process could start",
                ));
            }
        };
        trace::phase(Phase::LastSteps);
        let sys_admin = process.sys_admin_until(self.request.filter);
        fault::at(Step::ExecUser)?;
        process.become_user(sys_admin)?;
        let program = process.locate(&root, entered)?;
        drop(root);
        program.ready(process)?;
        fault::at(Step::ExecFilter)?;
        if let Some(bpf) = &self.bpf
            && let (Some(listener), Some(agent)) = (bpf.load()?, &self.agent)
        {
            send_listener(agent, &listener, &listener_state)?;
        }
        if sys_admin == SysAdmin::Keep {
            process.drop_sys_admin()?;
        }
        fault::at(Step::ExecExecute)?;
        trace::phase(Phase::Execute);
        Ok(program.execute())
    }
}
