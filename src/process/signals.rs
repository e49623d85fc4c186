//! What the child does about signals, sessions and its parent's death.

use crate::error::{Code, Context, Result};
use crate::sys::signal;
use nix::sys::signal::SigSet;

/// Child: a session of its own, so that the caller's terminal neither signals it nor is reachable
/// as /dev/tty. Before the terminal is set up: only a session's leader can take a controlling one.
///
/// # Errors
/// E_PROCESS; EPERM for a process that leads a process group already.
pub(crate) fn own_session() -> Result<()> {
    nix::unistd::setsid()
        .map(drop)
        .context(Code::Process, "make a session for the process", "")
}

/// Child: no signal ignored and none blocked. execve resets handlers only: what is ignored (SIGPIPE by
/// Rust's runtime, SIGHUP below nohup) stays ignored, and so does the mask. `ignored` has bit n-1 for
/// signal number n.
///
/// # Errors
/// E_PROCESS
pub(crate) fn reset(mut ignored: u64) -> Result<()> {
    while ignored != 0 {
        let number = ignored.trailing_zeros().cast_signed() + 1;
        signal::set_default(number).context(Code::Process, "reset signal", number)?;
        ignored &= ignored - 1;
    }
    SigSet::empty()
        .thread_set_mask()
        .context(Code::Process, "unblock all signals", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixtures::status_line;
    use crate::sys::forked::words_of_child;

    #[test]
    fn no_signal_stays_ignored_or_blocked() {
        let result = words_of_child(|| {
            SigSet::all().thread_block().expect("block");
            let before = status_line("SigIgn");
            reset(u64::from_str_radix(&before, 16).expect("a mask"))?;
            let zero = "0000000000000000";
            let now = [status_line("SigIgn"), status_line("SigBlk")];
            Ok(format!("{} {}", before == zero, now == [zero, zero]))
        });
        assert_eq!(
            result, "false true",
            "Rust ignores SIGPIPE; nothing is left"
        );
    }

    #[test]
    fn the_child_leads_its_own_session() {
        let result = words_of_child(|| {
            own_session()?;
            let leader = nix::unistd::getsid(None).expect("a session");
            Ok((leader == nix::unistd::getpid()).to_string())
        });
        assert_eq!(result, "true");
    }
}
