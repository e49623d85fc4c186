//! Processes that SIGKILL has not ended, or that do not freeze: who they are and what they wait for,
//! for the one line of error that `kill`, `delete` and `pause` give. Any casulo process on the host.

use crate::error::{Code, Error};
use crate::procfs::ProcFs;
use crate::timeout;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

/// How many are named.
const NAMED: usize = 8;

/// The error that names them.
pub(super) fn error(id: &str, pids: &[Pid]) -> Error {
    let names = ProcFs::host().map(|proc| describe(pids, &proc));
    let message = format!(
        "container {id} still has processes {} s after SIGKILL: {}",
        timeout::KILL.as_secs(),
        names.unwrap_or_default().join(", ")
    );
    Error::new(Code::Signal, message).hint(
        "one in state D dies when its system call returns, and not before; delete --force again \
         after that",
    )
}

/// The error that names those of `pids` that run or cannot be interrupted: a frozen process sleeps.
pub(super) fn not_frozen(id: &str, pids: &[Pid]) -> Error {
    let names = ProcFs::host().map(|proc| {
        let awake: Vec<Pid> = pids
            .iter()
            .copied()
            .filter(|pid| is_awake(*pid, &proc))
            .collect();
        describe(&awake, &proc)
    });
    let message = format!(
        "container {id} is not frozen after {} s, and runs on: {}",
        timeout::KILL.as_secs(),
        names.unwrap_or_default().join(", ")
    );
    Error::new(Code::Cgroup, message)
        .hint("one in state D freezes when its system call returns, and not before")
}

fn is_awake(pid: Pid, proc: &ProcFs) -> bool {
    threads(pid, proc).iter().any(|thread| {
        let stat = proc.read_to_string(&format!("{thread}/stat"));
        let stat = stat.unwrap_or_default();
        command_and_state(&stat).is_some_and(|(_, state)| matches!(state, 'D' | 'R'))
    })
}

fn describe(pids: &[Pid], proc: &ProcFs) -> Vec<String> {
    let mut names: Vec<String> = pids
        .iter()
        .take(NAMED)
        .map(|pid| name(*pid, proc).unwrap_or_else(|| format!("{pid} (just ended)")))
        .collect();
    if pids.len() > NAMED {
        names.push(format!("and {} more", pids.len() - NAMED));
    }
    names
}

/// The process by its thread that cannot die, or by its first one.
fn name(pid: Pid, proc: &ProcFs) -> Option<String> {
    let threads = threads(pid, proc);
    let of = |thread: &String| {
        let stat = proc.read_to_string(&format!("{thread}/stat")).ok()?;
        let wchan = proc.read_to_string(&format!("{thread}/wchan"));
        Some((stat, wchan.unwrap_or_default()))
    };
    let texts: Vec<(String, String)> = threads.iter().filter_map(of).collect();
    let cannot_die = texts
        .iter()
        .find(|(stat, _)| command_and_state(stat).is_some_and(|(_, state)| state == 'D'));
    let (stat, wchan) = cannot_die.or(texts.first())?;
    one(pid.as_raw(), stat, wchan)
}

fn threads(pid: Pid, proc: &ProcFs) -> Vec<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let directory = proc.open(&format!("{pid}/task"), flags);
    let Ok(mut directory) = directory.and_then(nix::dir::Dir::from_fd) else {
        return Vec::new();
    };
    directory
        .iter()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().ok()?.parse::<u32>().ok())
        .map(|thread| format!("{pid}/task/{thread}"))
        .collect()
}

/// `123 (cat, state D in request_wait_answer)` from the texts of proc_pid_stat(5) and
/// proc_pid_wchan(5).
fn one(pid: i32, stat: &str, wchan: &str) -> Option<String> {
    let (command, state) = command_and_state(stat)?;
    // The container chose the name: it shall not write on the reader's terminal.
    let command = command.escape_debug();
    // 0: it waits for nothing, or we may not know.
    Some(match wchan.trim() {
        "" | "0" => format!("{pid} ({command}, state {state})"),
        place => format!("{pid} ({command}, state {state} in {place})"),
    })
}

/// The command may itself have parentheses.
fn command_and_state(stat: &str) -> Option<(&str, char)> {
    let (_, rest) = stat.split_once('(')?;
    let (command, fields) = rest.rsplit_once(')')?;
    Some((command, fields.trim_start().chars().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_command_state_and_wait_channel() {
        for (stat, wchan, expected) in [
            (
                "7 (cat) D 1 7 7 0",
                "request_wait_answer",
                Some("7 (cat, state D in request_wait_answer)"),
            ),
            ("7 (cat) R 1 7 7 0", "0", Some("7 (cat, state R)")),
            ("7 (a) D (b) Z 1 7", "", Some("7 (a) D (b, state Z)")),
            (
                "7 (\u{1b}[2Jx\n) S 1",
                "pipe_read",
                Some("7 (\\u{1b}[2Jx\\n, state S in pipe_read)"),
            ),
            ("", "", None),
            ("7 (cat)", "", None),
        ] {
            assert_eq!(one(7, stat, wchan).as_deref(), expected, "{stat:?}");
        }
    }

    #[test]
    fn a_live_process_is_found_in_proc_and_a_long_list_is_cut() {
        let proc = ProcFs::host().expect("/proc");
        let names = describe(&[Pid::this(); NAMED + 2], &proc);
        let own = format!("{} (", Pid::this());
        assert!(names[0].starts_with(&own), "{names:?}");
        assert!(names[0].contains(", state "), "{names:?}");
        assert_eq!(names.len(), NAMED + 1);
        assert_eq!(names[NAMED], "and 2 more");
    }
}
