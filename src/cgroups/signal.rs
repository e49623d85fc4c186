//! A signal for every process of a cgroup, and of those below it. Any casulo process on the host; the container
//! may be running, and may have more processes than casulo may have descriptors.

use super::fs::Cgroup;
use crate::error::{Code, Error, Result};
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

/// How many processes are held by a pidfd at once. Each such batch costs one more look at the whole cgroup.
const BATCH: usize = 512;

/// How many descriptors a look at the cgroup takes, with some to spare.
const FOR_A_LOOK: usize = 8;

impl Cgroup {
    /// Sends `signal` to every process that is in it or below now. Frozen ones get it when thawed.
    ///
    /// # Errors
    /// `E_SIGNAL` for the first process that could not be signalled, and where the caller's pid namespace does not
    /// see some; the others still were. `E_CGROUP` when it cannot be looked at.
    pub(crate) fn signal(&self, signal: i32) -> Result<()> {
        let (unseen, pids): (Vec<Pid>, Vec<Pid>) = self
            .listed()?
            .into_iter()
            .partition(|pid| pid.as_raw() == 0);
        signal_each(pids, signal, || self.pids())?;
        self.check_none_unseen(unseen.len())
    }

    /// Those that the caller's pid namespace does not see are not passed over in silence.
    fn check_none_unseen(&self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let why = format!("{count} of them have no number in this pid namespace");
        Err(Error {
            step: "signal all processes of".to_owned(),
            object: self.path.display().to_string(),
            ..Error::new(Code::Signal, why)
        }
        .hint("run casulo in the host's pid namespace; KILL reaches them from here, too"))
    }
}

/// Sends `signal` to each of `pids` that `list` has once more.
///
/// # Errors
/// `E_SIGNAL` for the first process that could not be signalled; the others still were. Those of `list`.
pub(crate) fn signal_each(
    mut pids: Vec<Pid>,
    signal: i32,
    list: impl Fn() -> Result<Vec<Pid>>,
) -> Result<()> {
    let mut result = Ok(());
    while !pids.is_empty() {
        let mut held = hold(&mut pids)?;
        // Between the list and the pidfd a process may have ended and its number gone to a
        // stranger. Whoever is listed once more, with the pidfd open, is the container's.
        let listed = match list() {
            // There was room for the last pidfd, and not for a look beside it.
            Err(error) if is_lack_of_room(error.errno) && held.len() > FOR_A_LOOK => {
                make_room(&mut held, &mut pids);
                list()?
            }
            result => result?,
        };
        let still_here: HashSet<Pid> = listed.into_iter().collect();
        for (pid, fd) in held {
            if !still_here.contains(&pid) {
                continue;
            }
            match pidfd_send_signal(fd.as_fd(), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => result = result.and(Err(failed(pid, errno))),
            }
        }
    }
    result
}

/// Takes pids from the end of the list and opens a pidfd of each, as many as there is room for.
///
/// # Errors
/// `E_SIGNAL` where there is no room for a single one.
fn hold(pids: &mut Vec<Pid>) -> Result<Vec<(Pid, OwnedFd)>> {
    let mut held = Vec::new();
    while held.len() < BATCH
        && let Some(pid) = pids.pop()
    {
        match pidfd_open(pid) {
            Ok(fd) => held.push((pid, fd)),
            Err(Errno::ESRCH) => {}
            Err(errno) if is_lack_of_room(Some(errno)) && held.len() > FOR_A_LOOK => {
                pids.push(pid);
                make_room(&mut held, pids);
                break;
            }
            Err(errno) => return Err(failed(pid, errno)),
        }
    }
    Ok(held)
}

fn is_lack_of_room(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}

/// Lets go of as many as a look needs; their turn comes later.
fn make_room(held: &mut Vec<(Pid, OwnedFd)>, pids: &mut Vec<Pid>) {
    let rest = held.split_off(held.len() - FOR_A_LOOK);
    pids.extend(rest.into_iter().map(|(pid, _)| pid));
}

fn failed(pid: Pid, errno: Errno) -> Error {
    Error::step(Code::Signal, "signal process", pid.to_string(), errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a pid");
        (child, Pid::from_raw(pid))
    }

    #[test]
    fn a_number_that_is_a_strangers_by_now_is_not_signalled() {
        let (mut ours, our_pid) = sleeper();
        let (mut stranger, its_pid) = sleeper();
        signal_each(vec![our_pid, its_pid], libc::SIGTERM, || Ok(vec![our_pid])).expect("sent");
        let ended = ours.wait().expect("waited");
        assert_eq!(ended.signal(), Some(libc::SIGTERM));
        // What ends it first is told it.
        stranger.kill().expect("killed");
        let ended = stranger.wait().expect("waited");
        assert_eq!(ended.signal(), Some(libc::SIGKILL));
    }
}
