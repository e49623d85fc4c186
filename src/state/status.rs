//! Status, computed from the facts and the kernel; processes named by pid and start time. Any casulo process on
//! the host.

use super::{Dir, Lock, PAUSE, State};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::sys::pidfd::pidfd_open;
use crate::timeout;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The status of the spec (runtime.md, State), and `paused`, which every caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// create has the container's lock and is not done.
    Creating,
    /// create is done, and the program was not executed yet.
    Created,
    /// The program was executed.
    Running,
    /// The cgroup is frozen.
    Paused,
    /// Init has ended, or create ended before it was done.
    Stopped,
}

impl Status {
    /// The spec's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A process that cannot be mistaken for a later one with the same number. In a record it is a pair of numbers, 0 and 0
/// for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i32, u64)", into = "(i32, u64)")]
pub(crate) struct ProcessRef {
    /// Pid in casulo's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

/// Which program a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// That of the process that made it: it has not called execve(2) yet.
    Makers,
    /// One that it has executed.
    Own,
}

impl From<(i32, u64)> for ProcessRef {
    fn from((pid, start): (i32, u64)) -> ProcessRef {
        ProcessRef { pid, start }
    }
}

impl From<ProcessRef> for (i32, u64) {
    fn from(process: ProcessRef) -> (i32, u64) {
        (process.pid, process.start)
    }
}

impl ProcessRef {
    /// The process `pid` as it is now.
    ///
    /// # Errors
    /// ENOENT or ESRCH when there is none.
    pub(crate) fn of(pid: Pid, proc: &ProcFs) -> nix::Result<ProcessRef> {
        Ok(ProcessRef {
            pid: pid.as_raw(),
            start: stat(pid.as_raw(), proc)?.start,
        })
    }

    /// A pidfd of the process if it still lives. A process lives as long as one of its threads does: its number can be
    /// that of a zombie, the first thread, while the others go on (pthread_exit(3) in main).
    pub(crate) fn open(&self, proc: &ProcFs) -> Option<OwnedFd> {
        self.look(proc).map(|(pidfd, _)| pidfd)
    }

    fn look(&self, proc: &ProcFs) -> Option<(OwnedFd, Program)> {
        // The pidfd first: what is checked afterwards is then surely the same process.
        let pidfd = pidfd_open(Pid::from_raw(self.pid)).ok()?;
        let stat = stat(self.pid, proc).ok()?;
        let program = match stat.flags & PF_FORKNOEXEC {
            0 => Program::Own,
            _ => Program::Makers,
        };
        let has_ended = matches!(stat.state, b'Z' | b'X') && has_ended(&pidfd);
        (stat.start == self.start && !has_ended).then_some((pidfd, program))
    }
}

/// True once the last thread of the process has ended (pidfd_open(2): the pidfd is readable then).
fn has_ended(process: &OwnedFd) -> bool {
    if without(Defence::ThreadsAreAlive) {
        return true;
    }
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// The kernel sets it at fork and clears it once execve(2) cannot fail any more, before it closes what is
/// close-on-exec (include/linux/sched.h, fs/exec.c; the number has been the same since Linux 2.6).
const PF_FORKNOEXEC: u64 = 0x40;

/// Fields of proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// Field 3.
    state: u8,
    /// Field 9.
    flags: u64,
    /// Field 22.
    start: u64,
}

fn stat(pid: i32, proc: &ProcFs) -> nix::Result<Stat> {
    let file = proc.open(&format!("{pid}/stat"), OFlag::O_RDONLY)?;
    let mut buffer = [0u8; 1024];
    let length = nix::unistd::read(&file, &mut buffer)?;
    parse_stat(buffer.get(..length).unwrap_or(&[])).ok_or(Errno::EINVAL)
}

/// The command in field 2 may hold anything, so the fields are counted from the last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text
        .get(end + 1..)?
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.trim().parse().ok();
    Some(Stat {
        state: *fields.next()?.first()?,
        flags: number(fields.nth(5)?)?,
        start: number(fields.nth(12)?)?,
    })
}

/// A container as it was at one moment.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The facts of its record.
    pub state: State,
    /// What they and the kernel make of it.
    pub status: Status,
    /// A pidfd of its init, if that lives.
    pub init: Option<OwnedFd>,
}

/// Who is at work on a container whose create has not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Creator {
    /// create, which has the container's lock.
    AtWork,
    /// Nobody: it ended before it was done.
    Gone,
}

impl Dir {
    /// Reads the record and says what the container's status is. Takes no lock, and waits for nobody. For
    /// whoever does not hold the container's lock.
    ///
    /// # Errors
    /// `E_STATE` when the record or /proc cannot be read.
    pub(crate) fn look(&self) -> Result<Seen> {
        let seen = Seen::of(self.read()?, Creator::AtWork)?;
        // Whoever else has the lock is not in the midst of a creation.
        if seen.status != Status::Creating || self.is_locked() && seen.creator_lives()? {
            return Ok(seen);
        }
        // It may have finished since its record was read.
        Seen::of(self.read()?, Creator::Gone)
    }

    /// The same, but a `create` that is at work is given [`timeout::CREATION`] to be done.
    ///
    /// # Errors
    /// As [`Dir::look`]; `E_NOT_FOUND` when `create` has undone all meanwhile.
    pub(crate) fn look_once_made(&self) -> Result<Seen> {
        let end = Instant::now() + timeout::CREATION;
        loop {
            let seen = self.look()?;
            if seen.status != Status::Creating || Instant::now() >= end {
                return Ok(seen);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The same for whoever holds the lock: then create does not.
    ///
    /// # Errors
    /// As [`Dir::look`].
    pub(crate) fn look_locked(&self, _proof: &Lock) -> Result<Seen> {
        Seen::of(self.read()?, Creator::Gone)
    }
}

impl Seen {
    /// The same by what is kept of a record that cannot be read ([`Dir::kept_identity`]), whose create has finished.
    ///
    /// # Errors
    /// `E_STATE` when /proc cannot be read.
    pub(crate) fn of_kept(mut kept: State) -> Result<Seen> {
        kept.finished = true;
        Seen::of(kept, Creator::Gone)
    }

    /// The one place that says what a container's status is (docs/status.md).
    fn of(state: State, creator: Creator) -> Result<Seen> {
        let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
        let (init, program) = state.init().and_then(|init| init.look(&proc)).unzip();
        let status = match (program, state.finished, creator) {
            (Some(Program::Own), _, _) | (Some(Program::Makers), true, _) if is_frozen(&state) => {
                Status::Paused
            }
            // All was done before that, whether the record says so yet or not.
            (Some(Program::Own), _, _) => Status::Running,
            (Some(Program::Makers), true, _) => Status::Created,
            (Some(_), false, Creator::AtWork) if without(Defence::NotWhileCreating) => {
                Status::Created
            }
            (_, false, Creator::AtWork) => Status::Creating,
            (None, true, _) | (_, false, Creator::Gone) => Status::Stopped,
        };
        Ok(Seen {
            state,
            status,
            init,
        })
    }

    fn creator_lives(&self) -> Result<bool> {
        let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
        let creator = self.state.creator();
        Ok(creator.is_some_and(|it| it.open(&proc).is_some()))
    }

    /// Refuses `command` while the container is created.
    ///
    /// # Errors
    /// `E_STATUS`.
    pub(crate) fn expect_made(&self, command: &str) -> Result<()> {
        if self.status != Status::Creating {
            return Ok(());
        }
        let id = &self.state.id;
        let text = format!("cannot {command} container {id}: it is being created");
        Err(Error::new(Code::Status, text)
            .hint("wait until create has answered; kill and delete --force end it before that"))
    }
}

fn is_frozen(state: &State) -> bool {
    let cgroup = state.open_cgroup();
    cgroup.is_ok_and(|it| it.is_some_and(|it| it.is_frozen()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 2";
        let stat = Stat {
            state: b'S',
            flags: 4_194_560,
            start: 98765,
        };
        assert_eq!(parse_stat(line), Some(stat));
    }

    #[test]
    fn this_process_is_found_and_a_wrong_start_time_is_not() {
        let proc = ProcFs::host().expect("/proc");
        let me = ProcessRef::of(Pid::this(), &proc).expect("this process");
        assert!(me.open(&proc).is_some());
        assert!(
            ProcessRef {
                start: me.start + 1,
                ..me
            }
            .open(&proc)
            .is_none()
        );
    }
}
