//! For unit tests: runs a body in a process of its own, so that it may leave namespaces, give up
//! ids, block signals and close stdio.

use super::child::{Ended, WaitMode, fork, leave, wait};
use super::clone::Side;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, write};
use std::fmt::Display;
use std::io::Read;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// True if a descriptor with this number is open, fcntl(2).
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes no argument and changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Runs `body` in a forked child with one thread and returns what it returned, as text. The harness
/// has several threads, so this uses the C library's fork, which keeps its allocator usable in the
/// child.
///
/// # Errors
/// The text of the body's error, `panicked`, or how the child ended instead.
pub(crate) fn in_child<E: Display>(
    body: impl FnOnce() -> Result<String, E>,
) -> Result<String, String> {
    let (receiver, sender) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| format!("pipe2: {errno}"))?;
    match fork().map_err(|errno| format!("fork: {errno}"))? {
        Side::Child => {
            drop(receiver);
            let text = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(text)) => format!("+{text}"),
                Ok(Err(error)) => format!("-{error}"),
                Err(_) => "-panicked".to_owned(),
            };
            let sent = write(&sender, text.as_bytes());
            leave(i32::from(sent.is_err()));
        }
        Side::Parent(child) => {
            drop(sender);
            let mut text = String::new();
            let read = std::fs::File::from(receiver).read_to_string(&mut text);
            let ended =
                wait(Some(child), WaitMode::Block).map_err(|errno| format!("waitpid: {errno}"))?;
            read.map_err(|error| format!("read the child's words: {error}"))?;
            match (ended, text.split_at_checked(1)) {
                (Some((_, Ended::Exited(0))), Some(("+", text))) => Ok(text.to_owned()),
                (Some((_, Ended::Exited(0))), Some(("-", text))) => Err(text.to_owned()),
                // The child executed a program, which exited with 0.
                (Some((_, Ended::Exited(0))), None) => Ok(text),
                (ended, _) => Err(format!("the child ended with {ended:?}: {text}")),
            }
        }
    }
}

/// Runs `body` by [`in_child`] and fails the test with its error.
#[track_caller]
pub(crate) fn check_in_child(body: impl FnOnce() -> Result<(), String>) {
    if let Err(why) = in_child(|| body().map(|()| String::new())) {
        panic!("{why}");
    }
}

/// Runs `body` by [`in_child`] and returns the text of its result or of its error.
pub(crate) fn words_of_child(body: impl FnOnce() -> crate::error::Result<String>) -> String {
    in_child(body).unwrap_or_else(|why| why)
}
