//! The only unsafe code, one concern a file.
//!
//! Most files are raw system calls that nix lacks: a wrapper makes one, takes borrowed fds and C strings, returns owned
//! fds or an errno, and decides nothing. The others are what casulo does with its own program: its start (`start`), its
//! memory (`arena`, `shared`), its protection (`exe`, `program`), a look at /proc (`procfs`), and the last steps of what
//! becomes a process in a container (`landing`, `area`, `last`).
#![allow(
    unsafe_code,
    reason = "the raw system calls live here and nowhere else"
)]

mod area;
pub mod arena;
pub mod bpf;
pub mod capability;
pub mod child;
pub mod clone;
pub mod exe;
pub mod fd;
pub mod flock;
#[cfg(test)]
pub(crate) mod forked;
pub mod host;
pub mod keyctl;
pub mod landing;
mod last;
pub mod link;
pub mod mempolicy;
pub mod mount;
pub mod namespace;
pub mod pidfd;
pub mod procfs;
pub mod program;
mod raw;
pub mod rename;
pub mod rlimit;
pub mod sched;
pub mod scm;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod start;
pub mod tty;
pub mod uts;
mod word;
pub mod xattr;

use nix::errno::Errno;

/// Turns the return value of a raw system call into a result.
pub(crate) fn check(result: libc::c_long) -> nix::Result<libc::c_long> {
    if result < 0 {
        Err(Errno::last())
    } else {
        Ok(result)
    }
}
