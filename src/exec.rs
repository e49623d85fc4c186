//! `exec`: another process in a running container.
//!
//! Three processes. The *parent* stays on the host and enters nothing. The *entrant* ([`entrant`]) is its child, in
//! the host's pid namespace, so nobody in the container can see it: it joins everything, gives up everything, and has
//! the *process* born as its sibling in the container's pid namespace ([`crate::process::last_steps`]). That one can be
//! stopped and traced from its first instruction on, and is by then what it will be. The parent looks after both
//! ([`supervise`]).

mod cgroup;
mod death;
mod entrant;
mod stop;
mod supervise;

use crate::binary::shared::Shared;
use crate::cgroups::Cgroup;
use crate::error::{Code, Context, Error, Result};
use crate::foreground::Signals;
use crate::process::asked::{Asked, Birth, Hooks};
use crate::process::schedule;
use crate::procfs::ProcFs;
use crate::seccomp::listener::Agent;
use crate::seccomp::{self, Bpf};
use crate::state::{Dir, Seen, Status};
use crate::step::{self, Step};
use crate::sync::Channel;
use crate::sync::pipes::pipes;
use crate::sys::clone::Side;
use crate::sys::signal;
use crate::waiting;
use crate::{caller_socket, pidfile, process};
use entrant::Entrant;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::Pid;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use supervise::{Supervised, Supervision};

/// What to execute, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The container's id.
    pub id: &'a str,
    /// What its record and the kernel say of it.
    pub seen: &'a Seen,
    /// The process.
    pub process: &'a process::Plan,
    /// The container's seccomp filter.
    pub filter: Option<&'a seccomp::Filter>,
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
    /// The signals that casulo has taken over: one that asks it to end does so before the process runs, too.
    pub signals: Option<&'a Signals>,
}

/// How `exec` treats a paused container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenPaused {
    /// An error.
    Refuse,
    /// The process is made, frozen as it is born, and casulo waits until it is resumed.
    Wait,
}

/// How [`exec`] came out.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The process runs.
    Executed(Executed),
    /// A signal of this number asked casulo to end before that; there is no process.
    Interrupted(i32),
}

/// The process runs.
#[derive(Debug)]
pub(crate) struct Executed {
    /// Its pid, a child of casulo.
    pub pid: Pid,
    /// The same, as a descriptor.
    pub pidfd: OwnedFd,
    /// The master of the pty, if no console socket took it.
    pub console: Option<OwnedFd>,
}

/// Executes the process in the container, whose state directory is `dir` and is closed first. Runs in the parent.
///
/// # Errors
/// `E_STATUS` unless the container is created or running; the step that failed. No process and no
/// pid file is left behind.
pub(crate) fn exec(dir: Dir, request: &Request<'_>) -> Result<Outcome> {
    // What enters the container shall hold no directory of the host (CVE-2016-9962, CVE-2024-21626).
    drop(dir);
    request.seen.expect_made("exec in")?;
    let init = match (request.seen.status, &request.seen.init) {
        (Status::Created | Status::Running, Some(pidfd)) => pidfd,
        (Status::Paused, Some(pidfd)) if request.paused == WhenPaused::Wait => pidfd,
        (Status::Paused, _) => {
            let text = format!("cannot exec in a paused container: {}", request.id);
            return Err(Error::new(Code::Status, text)
                .hint("resume it, or wait for that with --ignore-paused"));
        }
        _ => return Err(not_running(request.id)),
    };
    execute_beside(request, init).or_else(|error| match signal::ending() {
        // A wait for somebody else ended for it.
        Some(number) if error.errno == Some(Errno::EINTR) => Ok(Outcome::Interrupted(number)),
        _ if has_ended(init, &error) => Err(not_running(request.id)),
        _ => Err(error),
    })
}

/// What callers look for when there is nothing to execute in.
pub(crate) fn not_running(id: &str) -> Error {
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
fn execute_beside(request: &Request<'_>, init: &OwnedFd) -> Result<Outcome> {
    let bpf = request.filter.map(seccomp::compile).transpose()?;
    if let Some(bpf) = &bpf {
        let asked = Asked {
            birth: Birth::Sibling,
            hooks: Hooks::None,
        };
        request.process.ask_filter(bpf, asked)?;
    }
    let bpf = bpf.as_ref();
    let outcome = match attempt(request, init, bpf, None)? {
        Supervised::Came(outcome) => outcome,
        Supervised::KilledAtBirth(cgroup) => match attempt(request, init, bpf, cgroup.as_ref())? {
            Supervised::Came(outcome) => outcome,
            Supervised::KilledAtBirth(_) => return Err(death::killed()),
        },
    };
    match outcome {
        Outcome::Executed(executed) => announce(request, executed),
        interrupted => Ok(interrupted),
    }
}

/// One entrant, from its birth to the program. It is born in the container's cgroup, or where casulo is if it shall
/// move to `cgroup` itself.
fn attempt(
    request: &Request<'_>,
    init: &OwnedFd,
    bpf: Option<&Bpf>,
    cgroup: Option<&Cgroup>,
) -> Result<Supervised> {
    let agent = Agent::connect(request.filter)?;
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let (channel, parent) = Channel::pair()?;
    let (ends, their_ends) = pipes()?;
    let shared = Shared::new().context(Code::Process, "map", "a shared page")?;
    step::begin(Step::ExecClone)?;
    if let Some(affinity) = &request.process.exec_affinity {
        schedule::pin_parent(affinity)?;
    }
    let birth = match cgroup {
        Some(cgroup) => cgroup::clone_beside_cgroup(request, cgroup)?,
        None => cgroup::clone_into_cgroup(request, init, &proc)?,
    };
    let pid = match birth.side {
        Side::Child => {
            drop((channel, birth.cgroup));
            let entrant = Entrant {
                request,
                init,
                bpf,
                ends: their_ends,
                shared,
            };
            entrant.run(parent, birth.destination, proc)
        }
        Side::Parent(pid) => pid,
    };
    drop((parent, their_ends));
    let supervision = Supervision::new(request, pid, channel, ends, shared, agent, &proc)?;
    supervision.run(birth.destination, birth.cgroup)
}

/// The process runs: whoever wants to know its pid is told. An error of that ends it.
fn announce(request: &Request<'_>, executed: Executed) -> Result<Outcome> {
    let told = || -> Result<()> {
        step::begin(Step::ExecRuns)?;
        if let Some(path) = request.pidfd_socket {
            caller_socket::send_fd(path, b"pidfd", executed.pidfd.as_fd()).context(
                Code::Io,
                "send the pidfd to",
                path.display(),
            )?;
        }
        match request.pid_file {
            Some(path) => pidfile::write(path, executed.pid),
            None => Ok(()),
        }
    };
    match told() {
        Ok(()) => Ok(Outcome::Executed(executed)),
        Err(error) => {
            waiting::end(executed.pid);
            Err(error)
        }
    }
}
