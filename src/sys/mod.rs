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
pub(crate) mod arena;
pub(crate) mod bpf;
pub(crate) mod capability;
pub(crate) mod child;
pub(crate) mod clone;
pub(crate) mod exe;
pub(crate) mod fd;
pub(crate) mod flock;
#[cfg(test)]
pub(crate) mod forked;
pub(crate) mod host;
pub(crate) mod keyctl;
pub(crate) mod landing;
mod last;
pub(crate) mod link;
pub(crate) mod mempolicy;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod pidfd;
pub(crate) mod procfs;
pub(crate) mod program;
mod raw;
pub(crate) mod rename;
pub(crate) mod rlimit;
pub(crate) mod sched;
pub(crate) mod scm;
pub(crate) mod seccomp;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod tty;
pub(crate) mod uts;
mod word;
pub(crate) mod xattr;

use nix::errno::Errno;

/// Turns the return value of a raw system call into a result.
pub(crate) fn check(result: libc::c_long) -> nix::Result<libc::c_long> {
    if result < 0 {
        Err(Errno::last())
    } else {
        Ok(result)
    }
}
