//! For unit tests: a body run in a process of its own, so that it may change its namespaces.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pipe, write};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body` in a forked child; an error's text or a panic there makes the caller panic.
pub(crate) fn in_child(body: impl FnOnce() -> Result<(), String>) {
    let (receiver, sender) = pipe().expect("pipe");
    // SAFETY: the child runs `body` and leaves by _exit; the C library's fork leaves malloc usable.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Child => {
            drop(receiver);
            let result = catch_unwind(AssertUnwindSafe(body));
            let text = match result {
                Ok(Ok(())) => "ok".to_owned(),
                Ok(Err(text)) => text,
                Err(panic) => panic
                    .downcast_ref::<String>()
                    .cloned()
                    .unwrap_or_else(|| "panicked".to_owned()),
            };
            let _ = write(&sender, text.as_bytes());
            leave()
        }
        ForkResult::Parent { child } => {
            drop(sender);
            let mut text = String::new();
            let _ = std::fs::File::from(receiver).read_to_string(&mut text);
            let status = waitpid(child, None).expect("wait");
            assert_eq!(text, "ok");
            assert_eq!(status, WaitStatus::Exited(child, 0));
        }
    }
}

/// `void _exit(int status)`, _exit(2).
pub(crate) fn leave() -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(0) }
}
