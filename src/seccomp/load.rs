//! Loads a program into the kernel. The child does so last before execve, and looks nothing up
//! here.

use crate::error::{Code, Error, Result};
use crate::sys::seccomp::{self as kernel, Instruction};
use nix::errno::Errno;
use std::os::fd::OwnedFd;

/// A flag of seccomp(2) that a profile may name.
#[derive(Debug)]
pub(super) struct Flag {
    /// The flag's name in the spec.
    pub(super) name: &'static str,
    value: u32,
    /// The first Linux version that has the flag.
    since: &'static str,
}

/// All flags that a profile may name.
pub(super) const FLAGS: &[Flag] = &[
    Flag {
        name: "SECCOMP_FILTER_FLAG_TSYNC",
        value: kernel::FILTER_FLAG_TSYNC,
        since: "3.17",
    },
    Flag {
        name: "SECCOMP_FILTER_FLAG_LOG",
        value: kernel::FILTER_FLAG_LOG,
        since: "4.14",
    },
    Flag {
        name: "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        value: kernel::FILTER_FLAG_SPEC_ALLOW,
        since: "4.17",
    },
    Flag {
        name: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        value: kernel::FILTER_FLAG_WAIT_KILLABLE_RECV,
        since: "5.19",
    },
];

impl Flag {
    /// Asks the running kernel. It accepts `WAIT_KILLABLE_RECV` only together with `NEW_LISTENER`.
    pub(super) fn is_supported(&self) -> bool {
        let companion = if self.value == kernel::FILTER_FLAG_WAIT_KILLABLE_RECV {
            kernel::FILTER_FLAG_NEW_LISTENER
        } else {
            0
        };
        kernel::knows_filter_flags(self.value | companion)
    }
}

/// Parent: checks that the kernel knows all `flags`, before anything has been made. Makes one
/// system call if it does.
///
/// # Errors
/// E_SECCOMP naming the first flag that the kernel does not know.
pub(super) fn check_flags(flags: u32) -> Result<()> {
    if kernel::knows_filter_flags(flags) {
        return Ok(());
    }
    let unsupported = FLAGS
        .iter()
        .find(|flag| flags & flag.value != 0 && !flag.is_supported());
    let (name, since) = match unsupported {
        Some(flag) => (flag.name, flag.since),
        None if flags & kernel::FILTER_FLAG_TSYNC_ESRCH != 0 => {
            ("SECCOMP_FILTER_FLAG_TSYNC next to SCMP_ACT_NOTIFY", "5.7")
        }
        None if flags & kernel::FILTER_FLAG_NEW_LISTENER != 0 => ("SCMP_ACT_NOTIFY", "5.0"),
        None => ("the seccomp filter mode", "3.17"),
    };
    Err(Error::new(
        Code::Seccomp,
        format!("linux.seccomp.flags: {name} needs Linux {since}, built with seccomp filters"),
    ))
}

/// A compiled filter, ready for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bpf {
    program: Vec<Instruction>,
    flags: u32,
}

impl Bpf {
    pub(super) fn new(program: Vec<Instruction>, flags: u32) -> Bpf {
        Bpf { program, flags }
    }

    /// The program as the kernel takes it, one `struct sock_filter` after the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.program.iter().flat_map(|it| it.to_bytes()).collect()
    }

    /// The program's instructions, for a process that loads it.
    pub(crate) fn program(&self) -> &[Instruction] {
        &self.program
    }

    /// The `SECCOMP_FILTER_FLAG_*` bits for seccomp(2).
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// True if loading the filter makes a listener.
    pub(crate) fn has_listener(&self) -> bool {
        self.flags & kernel::FILTER_FLAG_NEW_LISTENER != 0
    }

    /// Child: puts the filter on the calling process for good. Needs CAP_SYS_ADMIN in the user
    /// namespace, or no_new_privs. Returns the listener, which is CLOEXEC, if the filter has a
    /// notify action: it must be sent away before any process waits for its answer.
    ///
    /// Allocates nothing. From the return of this function on, the filter applies to the calling
    /// process too.
    ///
    /// # Errors
    /// The errno of seccomp(2), which [`refused`] explains.
    pub(crate) fn load(&self) -> nix::Result<Option<OwnedFd>> {
        kernel::set_mode_filter(self.flags, &self.program)
    }
}

/// Explains the errno with which seccomp(2) refused a filter, as E_SECCOMP.
pub(crate) fn refused(errno: Errno) -> Error {
    let error = Error::step(Code::Seccomp, "load", "the seccomp filter", errno);
    match errno {
        Errno::EACCES => {
            error.hint("loading a filter needs CAP_SYS_ADMIN or process.noNewPrivileges")
        }
        Errno::EBUSY => error
            .hint("casulo itself runs under a filter with a listener, and the kernel allows one"),
        _ => error,
    }
}
