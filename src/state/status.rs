//! Status, computed from the facts and the kernel; processes named by pid and start time.

use super::{Dir, State};
use crate::error::Result;
use crate::sys::landing;
use crate::sys::pidfd::pidfd_open;
use crate::sys::procfs::ProcFs;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;
use std::os::fd::OwnedFd;

/// The status of the spec (runtime.md, State), and `paused`, which every caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// casulo is still at it.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The cgroup is frozen.
    Paused,
    /// Init has ended.
    Stopped,
}

impl Status {
    /// The spec's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessRef {
    /// Pid in casulo's pid namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

impl ProcessRef {
    /// The process `pid` as it is now.
    ///
    /// # Errors
    /// ENOENT or ESRCH when there is none.
    pub fn of(pid: Pid, proc: &ProcFs) -> nix::Result<ProcessRef> {
        let (start, _) = stat(pid.as_raw(), proc)?;
        Ok(ProcessRef {
            pid: pid.as_raw(),
            start,
        })
    }

    /// A pidfd of the process if it still lives (a zombie does not).
    pub fn open(&self, proc: &ProcFs) -> Option<OwnedFd> {
        // The pidfd first: what is checked afterwards is then surely the same process.
        let pidfd = pidfd_open(Pid::from_raw(self.pid)).ok()?;
        let (start, state) = stat(self.pid, proc).ok()?;
        (start == self.start && !matches!(state, b'Z' | b'X')).then_some(pidfd)
    }
}

/// Start time (field 22) and state letter (field 3) of proc_pid_stat(5). The command in field 2
/// may hold anything, so the fields are counted from the last `)`.
fn stat(pid: i32, proc: &ProcFs) -> nix::Result<(u64, u8)> {
    let file = proc.open(&format!("{pid}/stat"), OFlag::O_RDONLY)?;
    let mut buffer = [0u8; 1024];
    let length = nix::unistd::read(&file, &mut buffer)?;
    parse_stat(buffer.get(..length).unwrap_or(&[])).ok_or(Errno::EINVAL)
}

fn parse_stat(text: &[u8]) -> Option<(u64, u8)> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text
        .get(end + 1..)?
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    let start = std::str::from_utf8(fields.nth(18)?)
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some((start, state))
}

/// Whether init has executed its program.
fn has_executed(init: ProcessRef, proc: &ProcFs) -> bool {
    let stat = proc.read_to_string(&format!("{}/stat", init.pid));
    let executed = stat
        .ok()
        .and_then(|stat| landing::has_executed(stat.as_bytes()));
    executed.unwrap_or(true)
}

/// The status of a container now, and a pidfd of its init if that lives.
///
/// # Errors
/// `E_STATE` when /proc cannot be opened.
pub fn status(_dir: &Dir, state: &State) -> Result<(Status, Option<OwnedFd>)> {
    use crate::error::{Code, Context};
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    let Some(init) = state.init() else {
        let (pid, start) = state.creator;
        let creating = pid > 0 && ProcessRef { pid, start }.open(&proc).is_some();
        return Ok((
            if creating {
                Status::Creating
            } else {
                Status::Stopped
            },
            None,
        ));
    };
    let Some(pidfd) = init.open(&proc) else {
        return Ok((Status::Stopped, None));
    };
    let status = if state.open_cgroup()?.is_some_and(|it| it.is_frozen()) {
        Status::Paused
    } else if has_executed(init, &proc) {
        Status::Running
    } else {
        Status::Created
    };
    Ok((status, Some(pidfd)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1 2";
        assert_eq!(parse_stat(line), Some((98765, b'S')));
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
