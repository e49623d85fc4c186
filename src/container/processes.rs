//! `ps`: which processes a container has. Any casulo process on the host.

use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::state::{Dir, State};
use crate::sys::pidfd::pidfd_send_signal;
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};

/// All processes of the container, init and whatever is below it or was executed in it, as the
/// caller's pid namespace numbers them; in order. None of a stopped container is no error: containerd's shim
/// asks after the end, too.
///
/// # Errors
/// `E_STATUS` while it is created, and as [`processes_of`].
pub(crate) fn processes(dir: &Dir) -> Result<Vec<Pid>> {
    let seen = dir.look()?;
    seen.expect_made("list the processes of")?;
    processes_of(&seen.state)
}

/// The same from its facts; empty when there is none.
///
/// A container in the caller's cgroup is known by its pid namespace.
///
/// # Errors
/// `E_STATUS` where neither is its own: nothing tells its processes from the caller's.
pub(super) fn processes_of(state: &State) -> Result<Vec<Pid>> {
    let mut pids = match state.open_cgroup()? {
        Some(cgroup) => cgroup.pids()?,
        None if state.cgroup_is_callers => without_cgroup(state)?,
        None => Vec::new(),
    };
    pids.sort_unstable();
    Ok(pids)
}

/// What callers look for when there is nobody to act on.
pub(super) fn not_running(id: &str) -> Error {
    Error::new(Code::Status, format!("container not running: {id}"))
}

fn without_cgroup(state: &State) -> Result<Vec<Pid>> {
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let Some((init, pidfd)) = state
        .init()
        .and_then(|init| Some((init, init.open(&proc)?)))
    else {
        return Ok(Vec::new());
    };
    if !state.has_own_pids() {
        let text = format!(
            "cannot tell the processes of container {} from others",
            state.id
        );
        return Err(Error::new(Code::Status, text)
            .hint("it has neither a cgroup nor a pid namespace of its own"));
    }
    members_of(init.pid, &pidfd, || all_processes(&proc)).context(Code::State, "list", "/proc")
}

/// Who of those that `list` finds is in the pid namespace of `init`, or came from it; nobody where init has ended.
fn members_of(
    init: i32,
    pidfd: &OwnedFd,
    list: impl FnOnce() -> nix::Result<Vec<Process>>,
) -> nix::Result<Vec<Pid>> {
    let all = list()?;
    // Only then is it sure that the number was still init's: with a stranger's, all of the host would be in it.
    match pidfd_send_signal(pidfd.as_fd(), 0) {
        Err(Errno::ESRCH) => Ok(Vec::new()),
        result => result.map(|()| in_namespace_of(init, &all)),
    }
}

/// A process as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    /// Its pid namespace; None where it is not ours to know.
    namespace: Option<OsString>,
}

fn all_processes(proc: &ProcFs) -> nix::Result<Vec<Process>> {
    let directory = proc.open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let mut all = Vec::new();
    for entry in nix::dir::Dir::from_fd(directory)?.iter() {
        let name = entry?;
        let Some(pid) = name
            .file_name()
            .to_str()
            .ok()
            .and_then(|it| it.parse().ok())
        else {
            continue;
        };
        // One that has just ended is left out.
        if let Some(parent) = parent_of(pid, proc) {
            all.push(Process {
                pid,
                parent,
                // The link is read, not followed.
                namespace: readlinkat(proc.as_fd(), format!("{pid}/ns/pid").as_str()).ok(),
            });
        }
    }
    Ok(all)
}

/// Field 4 of proc_pid_stat(5).
fn parent_of(pid: i32, proc: &ProcFs) -> Option<i32> {
    let text = proc.read_to_string(&format!("{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The processes in the pid namespace of `init`, and the descendants of these in further ones.
fn in_namespace_of(init: i32, all: &[Process]) -> Vec<Pid> {
    let namespace = all
        .iter()
        .find(|process| process.pid == init)
        .and_then(|process| process.namespace.as_ref());
    let mut pids = vec![init];
    loop {
        let before = pids.len();
        for process in all {
            let is_inside = (namespace.is_some() && process.namespace.as_ref() == namespace)
                || pids.contains(&process.parent);
            if is_inside && !pids.contains(&process.pid) {
                pids.push(process.pid);
            }
        }
        if pids.len() == before {
            return pids.into_iter().map(Pid::from_raw).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_an_init_that_has_ended_leads_to_nobody() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .expect("sleep");
        let init = i32::try_from(child.id()).expect("a pid");
        let pidfd = crate::sys::pidfd::pidfd_open(Pid::from_raw(init)).expect("a pidfd");
        let process = |pid| Process {
            pid,
            parent: 1,
            namespace: Some("pid:[1]".into()),
        };
        let all = || vec![process(init), process(init + 1)];
        let found = members_of(init, &pidfd, || Ok(all())).expect("listed");
        assert_eq!(found.len(), 2);
        let found = members_of(init, &pidfd, || {
            child.kill().and_then(|()| child.wait()).expect("ended");
            // By now a stranger has the number.
            Ok(all())
        });
        assert_eq!(found.expect("listed"), []);
    }

    #[test]
    fn a_pid_namespace_holds_what_was_executed_in_it_and_what_is_nested() {
        let process = |pid, parent, namespace: &str| Process {
            pid,
            parent,
            namespace: Some(namespace.into()).filter(|it: &OsString| !it.is_empty()),
        };
        let all = [
            process(1, 0, "pid:[1]"),
            process(50, 40, "pid:[3]"), // init of a nested namespace, listed before its parent
            process(10, 1, "pid:[2]"),  // init
            process(20, 10, "pid:[2]"), // its child
            process(30, 1, "pid:[2]"),  // executed from outside
            process(40, 30, "pid:[2]"), // its child
            process(60, 50, "pid:[3]"), // a child in the nested namespace
            process(70, 1, "pid:[1]"),  // a stranger
            process(80, 70, ""),        // a stranger that may not be looked at
        ];
        let mut pids: Vec<i32> = in_namespace_of(10, &all)
            .into_iter()
            .map(Pid::as_raw)
            .collect();
        pids.sort_unstable();
        assert_eq!(pids, [10, 20, 30, 40, 50, 60]);
        // Unknown is not the same as unknown.
        assert_eq!(in_namespace_of(80, &all), [Pid::from_raw(80)]);
    }
}
