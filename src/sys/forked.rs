//! For unit tests: a body run in a process of its own, so that it may leave namespaces and ids.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pipe, write};
use std::io::Read;

/// Runs `body` in a forked child with one thread and returns what it returned. A child that dies
/// is an error too. The test harness has several threads, hence the C library's fork, which keeps
/// its allocator usable in the child; a panic's text may be lost, so bodies should use `?`.
///
/// # Errors
/// The text that the body returned, or how the child ended.
pub(crate) fn in_child(body: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let (receiver, sender) = pipe().map_err(|errno| format!("pipe: {errno}"))?;
    // SAFETY: the child runs `body` and leaves by _exit; musl's fork leaves malloc usable in it,
    // and the body takes no other lock that a second thread may hold.
    match unsafe { fork() }.map_err(|errno| format!("fork: {errno}"))? {
        ForkResult::Child => {
            drop(receiver);
            let text = match body() {
                Ok(()) => String::from("ok"),
                Err(text) => format!("failed: {text}"),
            };
            let sent = write(&sender, text.as_bytes());
            super::child::leave(i32::from(sent.is_err()));
        }
        ForkResult::Parent { child } => {
            drop(sender);
            let mut text = String::new();
            let read = std::fs::File::from(receiver).read_to_string(&mut text);
            let status = waitpid(child, None).map_err(|errno| format!("waitpid: {errno}"))?;
            match (status, read) {
                (WaitStatus::Exited(_, 0), Ok(_)) if text == "ok" => Ok(()),
                (WaitStatus::Exited(_, 0), Ok(_)) => Err(text),
                (status, _) => Err(format!("the child ended with {status:?}: {text}")),
            }
        }
    }
}
