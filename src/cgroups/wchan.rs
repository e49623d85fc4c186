//! What a process is and what it waits for, for a person to read: the command, the state and the
//! place in the kernel (`stat` and `wchan` of proc(5)). For errors about processes that do not do
//! what was asked of them. Any casulo process on the host.

use crate::sys::procfs::ProcFs;
use nix::fcntl::OFlag;
use nix::unistd::Pid;
use std::fmt;

/// A process by its thread that nothing can wake, if there is one, else by its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pid: i32,
    command: String,
    /// `R` runs, `S` sleeps, `D` sleeps and cannot be woken: proc_pid_stat(5).
    pub state: char,
    /// A function of the kernel; None where it waits for nothing, or we may not know.
    place: Option<String>,
}

impl Waiting {
    /// None for a process that has ended.
    pub fn of(pid: Pid, proc: &ProcFs) -> Option<Waiting> {
        let read = |thread: String| {
            let stat = proc.read_to_string(&format!("{thread}/stat")).ok()?;
            let wchan = proc.read_to_string(&format!("{thread}/wchan"));
            Waiting::parse(pid, &stat, &wchan.unwrap_or_default())
        };
        let mut threads: Vec<Waiting> = threads(pid, proc).into_iter().filter_map(read).collect();
        let chosen = threads.iter().position(|thread| thread.state == 'D');
        (!threads.is_empty()).then(|| threads.swap_remove(chosen.unwrap_or(0)))
    }

    fn parse(pid: Pid, stat: &str, wchan: &str) -> Option<Waiting> {
        // The command may itself have parentheses.
        let (_, rest) = stat.split_once('(')?;
        let (command, fields) = rest.rsplit_once(')')?;
        let place = wchan.trim();
        Some(Waiting {
            pid: pid.as_raw(),
            // The container chose it: it shall not write on the reader's terminal.
            command: command.escape_debug().to_string(),
            state: fields.trim_start().chars().next()?,
            place: (!matches!(place, "" | "0")).then(|| place.to_owned()),
        })
    }
}

impl fmt::Display for Waiting {
    /// `123 (cat, state D in request_wait_answer)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, state {}", self.pid, self.command, self.state)?;
        match &self.place {
            Some(place) => write!(f, " in {place})"),
            None => f.write_str(")"),
        }
    }
}

/// The folders of its threads, the first thread's first.
fn threads(pid: Pid, proc: &ProcFs) -> Vec<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let folder = proc.open(&format!("{pid}/task"), flags);
    let Ok(mut folder) = folder.and_then(nix::dir::Dir::from_fd) else {
        return Vec::new();
    };
    folder
        .iter()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str().ok()?.parse::<u32>().ok())
        .map(|thread| format!("{pid}/task/{thread}"))
        .collect()
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
            let waiting = Waiting::parse(Pid::from_raw(7), stat, wchan);
            let text = waiting.map(|it| it.to_string());
            assert_eq!(text.as_deref(), expected, "{stat:?}");
        }
    }

    #[test]
    fn a_live_process_is_found_and_one_that_has_ended_is_not() {
        let proc = ProcFs::host().expect("/proc");
        let me = Waiting::of(Pid::this(), &proc).expect("this process");
        assert!(me.to_string().starts_with(&format!("{} (", Pid::this())));
        assert_eq!(Waiting::of(Pid::from_raw(i32::MAX), &proc), None);
    }
}
