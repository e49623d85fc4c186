//! Processes that SIGKILL has not ended: the one line of error that `kill` and `delete` give of
//! them. Any casulo process on the host.

use crate::cgroups::PATIENCE;
use crate::cgroups::wchan::Waiting;
use crate::error::{Code, Error};
use crate::sys::procfs::ProcFs;
use nix::unistd::Pid;

/// How many are named.
const NAMED: usize = 8;

/// The error that names them.
pub(super) fn error(id: &str, pids: &[Pid]) -> Error {
    let mut names: Vec<String> = pids.iter().take(NAMED).map(|pid| name(*pid)).collect();
    if pids.len() > NAMED {
        names.push(format!("and {} more", pids.len() - NAMED));
    }
    let message = format!(
        "container {id} still has processes {} s after SIGKILL: {}",
        PATIENCE.as_secs(),
        names.join(", ")
    );
    Error::new(Code::Signal, message).hint(
        "one in state D dies when its system call returns, and not before; delete --force again \
         after that",
    )
}

fn name(pid: Pid) -> String {
    let waiting = ProcFs::host().ok().and_then(|it| Waiting::of(pid, &it));
    waiting.map_or_else(|| format!("{pid} (just ended)"), |it| it.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let text = error("web", &[Pid::this(); NAMED + 2]).to_string();
        let named = text.matches(", state ").count();
        assert_eq!(named, NAMED, "{text}");
        assert!(text.ends_with(", and 2 more"), "{text}");
    }
}
