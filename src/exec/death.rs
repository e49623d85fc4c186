//! Why an entrant has ended without a process. Parent.

use crate::error::{Code, Error};
use crate::process::last_steps::birth_failed;
use crate::sys::child::Ended;
use crate::sys::shared::Shared;
use nix::unistd::Pid;

/// `how` is what wait(2) said. None where the kernel has killed it before its first instruction: since Linux 6.14 it
/// does that to whatever is cloned into a cgroup that was killed at any time before (cgroup.kill), unless the parent's
/// own was killed as often. The cgroup may be alive nevertheless: a process 1 that writes 1 there survives.
pub(super) fn of_entrant(how: nix::Result<Option<(Pid, Ended)>>, shared: &Shared) -> Option<Error> {
    if let Some(error) = birth_failed(shared) {
        return Some(error);
    }
    let how = match how {
        Ok(Some((_, Ended::Killed(libc::SIGKILL)))) => {
            return shared.has_begun().then(killed);
        }
        Ok(Some((_, Ended::Killed(number)))) => format!("was killed by signal {number}"),
        Ok(Some((_, Ended::Exited(code)))) => format!("exited with status {code}"),
        _ => "vanished".to_owned(),
    };
    let text = format!("the process that enters the container {how}");
    Some(Error::new(Code::Sync, text))
}

/// The error of one that somebody has killed.
pub(super) fn killed() -> Error {
    let text = "the process was killed before it could begin";
    Error::new(Code::Process, text)
        .hint("its cgroup was killed (cgroup.kill), or has no memory left (memory.events)")
}
