//! The state documents that init is given with `Go`. Parent.

use crate::error::{Code, Context, Error, Result};
use crate::hooks::Kind;
use crate::plan::Plan;
use crate::procfs::ProcFs;
use crate::state::{State, Status};
use crate::sync::documents::StateDocuments;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, read};

/// What `plan` needs, for the process `init`. `proc` is the host's.
///
/// Hooks that run in the container are told init's pid as the container sees it, all others the
/// pid of the runtime's namespace (runtime.md, State).
///
/// # Errors
/// E_STATE
pub(super) fn for_hooks_inside(
    plan: &Plan,
    state: &State,
    init: Pid,
    proc: &ProcFs,
) -> Result<StateDocuments> {
    let hooks = |kind, status| -> Result<Vec<u8>> {
        if !plan.hooks.has(kind) {
            return Ok(Vec::new());
        }
        let pid = innermost_pid(init, proc)?;
        Ok(state.document(status, pid).to_string().into_bytes())
    };
    Ok(StateDocuments {
        create: hooks(Kind::CreateContainer, Status::Creating)?,
        start: hooks(Kind::StartContainer, Status::Created)?,
    })
}

/// The pid that `pid` has in its own pid namespace: the last one of `NSpid`, proc_pid_status(5).
fn innermost_pid(pid: Pid, proc: &ProcFs) -> Result<i32> {
    let (step, object) = ("look up the inner pid of", format!("process {pid}"));
    let file = proc
        .open(&format!("{pid}/status"), OFlag::O_RDONLY)
        .context(Code::State, step, &object)?;
    // About 1500 bytes, which procfs hands out in one piece.
    let mut buffer = [0; 8192];
    let length = read(&file, &mut buffer).context(Code::State, step, &object)?;
    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
    innermost_of(&text)
        .ok_or_else(|| Error::new(Code::State, format!("/proc/{pid}/status has no NSpid")))
}

fn innermost_of(status: &str) -> Option<i32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::innermost_of;

    #[test]
    fn the_inner_pid_is_the_last_of_the_line() {
        for (status, pid) in [
            ("Name:\tx\nNSpid:\t4242\t17\t1\nNSpgid:\t0\n", Some(1)),
            ("NSpid:\t4242\n", Some(4242)),
            ("Name:\tx\n", None),
        ] {
            assert_eq!(innermost_of(status), pid, "{status:?}");
        }
    }
}
