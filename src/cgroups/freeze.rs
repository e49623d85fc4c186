//! Freezing and thawing (`cgroup.freeze`): `pause` and `resume`. Any casulo process on the host.
//!
//! The write only asks: each process freezes when it next returns to user mode, and
//! `cgroup.events` says when all have (cgroup-v2.rst, "cgroup.freeze"). What has frozen may still
//! be killed.

use super::fs::{Cgroup, read_all, value_of};
use crate::error::{Code, Error, Result};
use crate::sys::procfs::ProcFs;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, Whence, lseek};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the processes may take to freeze: nothing but a wait that no signal ends takes longer
/// than a moment.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Frozen,
    Thawed,
}

impl Cgroup {
    /// Freezes all processes in it and below; returns once they are frozen.
    ///
    /// # Errors
    /// `E_CGROUP`. When some have not frozen after `patience` all are thawed again, and the error
    /// names those.
    pub fn freeze(&self, patience: Duration) -> Result<()> {
        self.ask(Wanted::Frozen)?;
        let result = self.wait_for(Wanted::Frozen, patience);
        if result == Ok(true) {
            return Ok(());
        }
        // Before they are let go: afterwards nobody can tell.
        let awake = self.awake();
        let thawed = self.ask(Wanted::Thawed);
        let object = self.path.display().to_string();
        let error = match result {
            Err(errno) => Error::step(Code::Cgroup, "freeze", object, errno),
            Ok(_) => Error {
                step: "freeze".to_owned(),
                object,
                ..Error::new(
                    Code::Cgroup,
                    format!("not frozen after {} s: {awake}", patience.as_secs()),
                )
            },
        };
        Err(match thawed {
            Ok(()) => error.hint(
                "a process in state D cannot freeze before its system call returns; the processes run on",
            ),
            Err(failed) => error.hint(format!("they stay half frozen: {failed}")),
        })
    }

    /// Lets the processes run again.
    ///
    /// # Errors
    /// `E_CGROUP`
    pub fn thaw(&self) -> Result<()> {
        self.ask(Wanted::Thawed)?;
        // The kernel does not wait for anybody here; only a cgroup above can keep it frozen.
        match self.wait_for(Wanted::Thawed, Duration::from_secs(1)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error {
                step: "thaw".to_owned(),
                object: self.path.display().to_string(),
                ..Error::new(Code::Cgroup, "a cgroup above it is frozen")
            }),
            Err(errno) => Err(self.failed("thaw", errno)),
        }
    }

    /// True if it was asked to freeze, whether or not all processes have.
    pub fn is_freezing(&self) -> bool {
        self.read("cgroup.freeze").is_ok_and(|it| it.trim() == "1")
    }

    fn ask(&self, wanted: Wanted) -> Result<()> {
        let (step, value) = match wanted {
            Wanted::Frozen => ("freeze", "1"),
            Wanted::Thawed => ("thaw", "0"),
        };
        self.write("cgroup.freeze", value)
            .map_err(|errno| self.failed(step, errno))
    }

    fn failed(&self, step: &str, errno: Errno) -> Error {
        Error::step(Code::Cgroup, step, self.path.display().to_string(), errno)
    }

    /// Waits until `cgroup.events` says so; false when it does not within `patience`.
    fn wait_for(&self, wanted: Wanted, patience: Duration) -> nix::Result<bool> {
        let end = Instant::now() + patience;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let events = openat(&self.folder, "cgroup.events", flags, Mode::empty())?;
        loop {
            lseek(&events, 0, Whence::SeekSet)?;
            let is_frozen = value_of(&read_all(&events)?, "frozen") == Some(1);
            if is_frozen == (wanted == Wanted::Frozen) {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // POLLPRI means that the file has changed since it was read.
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            let milliseconds = u16::try_from(left.as_millis().max(1)).unwrap_or(u16::MAX);
            match poll(&mut fds, PollTimeout::from(milliseconds)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Which processes have not frozen, for a person to read.
    fn awake(&self) -> String {
        let pids = self.pids().unwrap_or_default();
        let Ok(proc) = ProcFs::host() else {
            return format!("{} processes", pids.len());
        };
        let awake: Vec<String> = pids.iter().filter_map(|pid| awake(*pid, &proc)).collect();
        match awake.is_empty() {
            true => "one of its threads, or a process that has ended since".to_owned(),
            false => awake.join(", "),
        }
    }
}

/// The process with its state and the place in the kernel where it waits (`stat` and `wchan` of
/// proc(5)), if it is not frozen. A frozen process sleeps, and one that sleeps can freeze; what is
/// left runs or waits for something that no signal ends.
fn awake(pid: Pid, proc: &ProcFs) -> Option<String> {
    let text = |file: &str| {
        let file = proc.open(&format!("{pid}/{file}"), OFlag::O_RDONLY).ok()?;
        read_all(&file).ok()
    };
    let stat = text("stat")?;
    let state = state_letter(&stat)?;
    let place = text("wchan").filter(|place| !matches!(place.as_str(), "" | "0"));
    let place = place.map_or(String::new(), |place| format!(", in {place}"));
    matches!(state, "R" | "D").then(|| format!("process {pid} (state {state}{place})"))
}

/// Field 3 of proc_pid_stat(5): behind the command, which may hold anything, a `)` too.
fn state_letter(stat: &str) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().next()
}

#[cfg(test)]
mod tests;
