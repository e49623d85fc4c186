//! The plain description of a [`super::Landing`]: what a last process is to become.

use super::super::shared::Shared;
use super::area::faults;
use crate::sys::rlimit::Limit;
use crate::sys::seccomp::Instruction;
use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

/// The program that a last process becomes, and what it does on the way.
#[derive(Debug)]
pub(crate) struct Last<'a> {
    /// The path for execve(2), in the process's root.
    pub path: &'a CStr,
    /// The program's argv.
    pub arguments: &'a [CString],
    /// The program's envp.
    pub environment: &'a [CString],
    /// Whether `LISTEN_PID` with the process's own pid is added to the environment.
    pub listen_pid: ListenPid,
    /// The descriptor from which the process reads the byte that tells it to go on.
    pub go: RawFd,
    /// The descriptor to which it writes each [`super::Word`].
    pub tell: RawFd,
    /// Whether it announces its wait.
    pub wait: Wait,
    /// The session in which the program runs.
    pub session: Session,
    /// Whether it checks its working directory again after the wait.
    pub working_directory: WorkingDirectory,
    /// The startContainer hooks.
    pub hooks: &'a [LastHook<'a>],
    /// Standard output of the hooks; None for the program's own.
    pub hook_stdout: Option<RawFd>,
    /// Standard error of the hooks; None for the program's own.
    pub hook_stderr: Option<RawFd>,
    /// Descriptors from 3 up to this one, exclusive, are the program's alone; hooks do not get
    /// them.
    pub first_closed: u32,
    /// The RLIMIT_NPROC that it sets itself; None if its maker needed no higher one.
    pub processes: Option<Limit>,
    /// Test builds: the fault.
    pub fault: Option<Fault>,
}

/// How a last process waits for [`super::GO`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It says `Ready` and waits for [`super::GO`].
    Announced,
    /// It waits for [`super::GO`], which may have been said before.
    Silent,
}

/// The session that a last process is in when it executes the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It leads a session already.
    Present,
    /// It makes a session.
    New,
    /// It makes a session, with its standard input as the controlling terminal.
    NewWithTerminal,
}

/// Whether a last process checks its working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkingDirectory {
    /// No: it was checked before.
    Verified,
    /// Yes, once more after the wait.
    VerifyAgain,
}

/// Whether `LISTEN_PID` is added, sd_listen_fds(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenPid {
    /// It is not added.
    AsGiven,
    /// It is added, with the process's own pid.
    Own,
}

/// One startContainer hook.
#[derive(Debug)]
pub(crate) struct LastHook<'a> {
    /// The path for execve(2).
    pub path: &'a CStr,
    /// The hook's argv.
    pub arguments: &'a [CString],
    /// The hook's envp.
    pub environment: &'a [CString],
    /// The hook's standard input.
    pub stdin: RawFd,
}

/// Test builds: a fault, and its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The place of the fault.
    pub at: FaultPlace,
    /// The kind of fault.
    pub how: FaultKind,
}

/// Where a last process can be made to fail.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "a release build has no faults")
)]
pub(crate) enum FaultPlace {
    /// Before the startContainer hooks.
    Hooks,
    /// Before execve.
    Execute,
}

/// How a last process is made to fail.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "a release build has no faults")
)]
pub(crate) enum FaultKind {
    /// The step fails with this errno.
    Errno(Errno),
    /// The process ends at once.
    Kill,
    /// The process hangs.
    Stop,
}

/// What the process does on the area before all else, if it lands there itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confinement<'a> {
    /// The filter's program, and its `SECCOMP_FILTER_FLAG_*` bits.
    pub filter: Option<(&'a [Instruction], u32)>,
    /// The page by which the process hands the filter's listener over.
    pub listener: Option<&'static Shared>,
    /// The effective, permitted and inheritable capabilities that it sets after loading the filter.
    pub capabilities: Option<[u64; 3]>,
    /// Whether the process stays dumpable.
    pub dumpable: Dumpable,
}

/// Whether a last process is dumpable, prctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dumpable {
    /// It is dumpable until the listener was taken, and then no more.
    UntilListenerIsTaken,
    /// It stays as it is.
    Unchanged,
}

impl Fault {
    pub(super) fn as_numbers(self) -> [u32; 2] {
        let at = match self.at {
            FaultPlace::Hooks => faults::HOOKS,
            FaultPlace::Execute => faults::EXECUTE,
        };
        let how = match self.how {
            FaultKind::Errno(errno) => (errno as i32).unsigned_abs(),
            FaultKind::Kill => faults::KILL,
            FaultKind::Stop => faults::STOP,
        };
        [at, how]
    }
}
