//! System calls that nix lacks, one concern per file. A function makes one call, takes borrowed fds and C
//! strings, returns owned fds or an errno, and decides nothing.
#![allow(
    unsafe_code,
    reason = "the raw system calls live here and nowhere else"
)]

pub(crate) mod bpf;
pub(crate) mod capability;
pub(crate) mod child;
pub(crate) mod clone;
pub(crate) mod fd;
pub(crate) mod flock;
#[cfg(test)]
pub(crate) mod forked;
pub(crate) mod host;
pub(crate) mod keyctl;
pub(crate) mod kind;
pub(crate) mod mempolicy;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod pidfd;
pub(crate) mod regex;
pub(crate) mod rename;
pub(crate) mod rlimit;
pub(crate) mod sched;
pub(crate) mod scm;
pub(crate) mod seccomp;
pub(crate) mod signal;
pub(crate) mod stat;
pub(crate) mod tty;
pub(crate) mod uts;
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
