//! What a last process is to become: the plain description of a [`super::Landing`].

use super::super::shared::Shared;
use super::area::faults;
use crate::sys::rlimit::Limit;
use crate::sys::seccomp::Instruction;
use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

/// What a last process becomes, and on the way.
#[derive(Debug)]
pub(crate) struct Last<'a> {
    /// What execve(2) gets.
    pub path: &'a CStr,
    /// argv.
    pub arguments: &'a [CString],
    /// envp.
    pub environment: &'a [CString],
    /// Whether `LISTEN_PID` with the process's own pid is added to it.
    pub listen_pid: ListenPid,
    /// From where it is told to go on.
    pub go: RawFd,
    /// Where it tells.
    pub tell: RawFd,
    /// Whether it waits, and says so.
    pub wait: Wait,
    /// The session that it is in.
    pub session: Session,
    /// Whether its working directory is looked at again after the wait.
    pub working_directory: WorkingDirectory,
    /// startContainer hooks.
    pub hooks: &'a [LastHook<'a>],
    /// Where those write; the program's own streams where there is none.
    pub hook_stdout: Option<RawFd>,
    /// Likewise.
    pub hook_stderr: Option<RawFd>,
    /// Descriptors from 3 to below this one are the program's alone.
    pub first_closed: u32,
    /// RLIMIT_NPROC, where its siblings' maker needs one more.
    pub processes: Option<Limit>,
    /// Test builds: what fails there.
    pub fault: Option<Fault>,
}

/// Whether a last process waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It says `Ready` and waits for [`super::GO`].
    Announced,
    /// It waits for [`super::GO`], which may have been said before.
    Silent,
}

/// Which session a last process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// It leads one already.
    Present,
    /// It makes one.
    New,
    /// It makes one, with its standard input as the controlling terminal.
    NewWithTerminal,
}

/// Whether a last process looks at its working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkingDirectory {
    /// It was looked at.
    Verified,
    /// Once more, after the wait.
    VerifyAgain,
}

/// Whether `LISTEN_PID` is added, sd_listen_fds(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenPid {
    /// The environment is as it will be.
    AsGiven,
    /// It is.
    Own,
}

/// One startContainer hook.
#[derive(Debug)]
pub(crate) struct LastHook<'a> {
    /// What execve(2) gets.
    pub path: &'a CStr,
    /// argv.
    pub arguments: &'a [CString],
    /// envp.
    pub environment: &'a [CString],
    /// Its standard input.
    pub stdin: RawFd,
}

/// Test builds: what happens where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// Where.
    pub at: FaultPlace,
    /// What.
    pub how: FaultKind,
}

/// Where a last process can be made to fail.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "a release build has no faults")
)]
pub(crate) enum FaultPlace {
    /// Before its hooks.
    Hooks,
    /// Before execve.
    Execute,
}

/// How it is made to fail.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(feature = "testing"),
    expect(dead_code, reason = "a release build has no faults")
)]
pub(crate) enum FaultKind {
    /// With this errno.
    Errno(Errno),
    /// It ends at once.
    Kill,
    /// It hangs.
    Stop,
}

/// What is done on the area before all else, where the process itself lands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confinement<'a> {
    /// The filter, and `SECCOMP_FILTER_FLAG_*`.
    pub filter: Option<(&'a [Instruction], u32)>,
    /// Where the filter's listener is handed over.
    pub listener: Option<&'static Shared>,
    /// Effective, permitted and inheritable capabilities that are set after the filter.
    pub capabilities: Option<[u64; 3]>,
    /// Whether it stays dumpable.
    pub dumpable: Dumpable,
}

/// Whether a last process is dumpable, prctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dumpable {
    /// Until the listener was taken, then not.
    UntilListenerIsTaken,
    /// As it is.
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
