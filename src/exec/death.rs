//! Why an entrant has ended without a process. Parent.

use crate::binary::shared::Shared;
use crate::error::{Code, Error};
use crate::process::last_steps::birth_failed;
use crate::sys::child::Ended;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::page::LastCall;
    use nix::errno::Errno;

    #[test]
    fn an_end_is_told_apart_from_a_death_at_birth() {
        let shared = Shared::new().expect("a page");
        let pid = Pid::from_raw(7);
        let told = |how| of_entrant(how, shared).map(|error| error.to_string());
        assert_eq!(told(Ok(Some((pid, Ended::Killed(libc::SIGKILL))))), None);
        let ends = [
            (
                Ok(Some((pid, Ended::Killed(11)))),
                "was killed by signal 11",
            ),
            (Ok(Some((pid, Ended::Exited(3)))), "exited with status 3"),
            (Ok(None), "vanished"),
            (Err(Errno::ECHILD), "vanished"),
        ];
        for (how, said) in ends {
            let text = told(how).expect("an error");
            assert_eq!(
                text,
                format!("the process that enters the container {said}")
            );
        }
        shared.begin();
        let killed = told(Ok(Some((pid, Ended::Killed(libc::SIGKILL)))));
        assert!(killed.is_some_and(|text| text.contains("killed before it could begin")));
        shared.tell_failure(LastCall::Filter, Errno::EACCES);
        let failed = told(Ok(Some((pid, Ended::Exited(3))))).expect("an error");
        assert!(failed.contains("permission denied"), "{failed}");
    }
}
