//! For unit tests that can prove nothing on this machine. Each says its name and the reason on
//! stderr itself, because the harness hides what a passed test prints.

use std::io::Write;

/// Prints that the calling test is skipped, and why.
pub(crate) fn because(reason: impl std::fmt::Display) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // One write, so that lines of several tests do not mix. Without a stderr the line is lost.
    let _ = std::io::stderr().write_all(format!("skipped {name}: {reason}\n").as_bytes());
}

/// True if this process is not root; prints then that the test is skipped.
pub(crate) fn unless_root() -> bool {
    let skipped = !nix::unistd::geteuid().is_root();
    if skipped {
        because("needs root");
    }
    skipped
}
