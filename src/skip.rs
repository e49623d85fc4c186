//! For unit tests that prove nothing on this machine: each names itself and says why, on stderr
//! itself, because the harness keeps what a passed test prints.

use std::io::Write;

/// Says that the calling test is skipped, and why.
pub(crate) fn because(reason: impl std::fmt::Display) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // One write: lines of several tests do not mix. Without a stderr nobody reads it.
    let _ = std::io::stderr().write_all(format!("skipped {name}: {reason}\n").as_bytes());
}

/// True where this process is not root, which is said.
pub(crate) fn unless_root() -> bool {
    let skipped = !nix::unistd::geteuid().is_root();
    if skipped {
        because("needs root");
    }
    skipped
}
