//! The landing area of a last process ([`super::last`]): what [`super`] puts there.

use crate::sys::seccomp::Instruction;

/// One startContainer hook, all of it in the area.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Hook {
    pub(super) path: *const u8,
    pub(super) arguments: *const *const u8,
    pub(super) environment: *const *const u8,
    /// Its standard input, with the state at its beginning.
    pub(super) stdin: i32,
}

/// The filter as seccomp(2) wants it.
#[repr(C)]
pub(super) struct Program {
    pub(super) length: u16,
    pub(super) instructions: *const Instruction,
}

/// Flags of an [`Area`].
pub(super) mod wants {
    /// Says `Ready` and waits for a byte.
    pub(in super::super) const READY: u32 = 1;
    /// Waits for a byte without having said so.
    pub(in super::super) const WAIT: u32 = 1 << 1;
    /// Says `Executes`, which ends it where nobody listens any more.
    pub(in super::super) const LIVING_READER: u32 = 1 << 2;
    /// Makes a session of its own.
    pub(in super::super) const SESSION: u32 = 1 << 3;
    /// Makes its standard input its controlling terminal.
    pub(in super::super) const TERMINAL: u32 = 1 << 4;
    /// Looks whether its working directory is still inside.
    pub(in super::super) const WORKING_DIRECTORY: u32 = 1 << 5;
    /// Sets its own RLIMIT_NPROC, when it is told to by [`super::SET_PROCESSES`].
    pub(in super::super) const PROCESSES: u32 = 1 << 6;
    /// Loads the filter.
    pub(in super::super) const FILTER: u32 = 1 << 7;
    /// Hands the filter's listener over.
    pub(in super::super) const LISTENER: u32 = 1 << 8;
    /// Sets its capabilities after the filter.
    pub(in super::super) const CAPABILITIES: u32 = 1 << 9;
    /// Stops being dumpable once the listener was handed over.
    pub(in super::super) const NOT_DUMPABLE: u32 = 1 << 10;
}

/// The byte that says: go on.
pub(crate) const GO: u8 = b'g';
/// The byte that says: set RLIMIT_NPROC, and go on.
pub(crate) const SET_PROCESSES: u8 = b'n';

/// What a landing area begins with. Addresses lead into the area; null where the flag is not set.
#[repr(C)]
pub(super) struct Area {
    pub(super) wants: u32,
    /// From where it is told to go on.
    pub(super) go: i32,
    /// Where it tells.
    pub(super) tell: i32,
    /// Its own pid, as it sees it: the kernel writes it where it is born onto the area.
    pub(super) pid: i32,
    /// Ranges of addresses to unmap, from the first to the second; ends with two zeros.
    pub(super) unmap: [[usize; 2]; 8],
    pub(super) filter: Program,
    pub(super) filter_flags: u32,
    /// The listener's number and 1, in memory that the parent shares.
    pub(super) listener: *mut i32,
    /// `struct __user_cap_header_struct` and two of `__user_cap_data_struct`, capget(2).
    pub(super) capability_header: [u32; 2],
    pub(super) capabilities: [u32; 6],
    /// Soft and hard RLIMIT_NPROC.
    pub(super) processes: [u64; 2],
    pub(super) hooks: *const Hook,
    pub(super) hook_count: usize,
    /// Where hooks write.
    pub(super) hook_stdout: i32,
    pub(super) hook_stderr: i32,
    /// Descriptors from 3 to below this are the program's and not the hooks'.
    pub(super) first_closed: i32,
    pub(super) path: *const u8,
    pub(super) arguments: *const *const u8,
    pub(super) environment: *const *const u8,
    /// Where `LISTEN_PID=` ends in the environment, and room for a number; or null.
    pub(super) listen_pid: *mut u8,
    /// Test builds: what fails or hangs, and with which errno.
    pub(super) fault: [u32; 2],
    pub(super) buffer: [u8; 4096],
}

/// Test builds: the faults of an [`Area`].
pub(super) mod faults {
    /// Before the hooks.
    pub(in super::super) const HOOKS: u32 = 1;
    /// Before execve.
    pub(in super::super) const EXECUTE: u32 = 2;
    /// In place of an errno: the process ends at once.
    pub(in super::super) const KILL: u32 = 1 << 16;
    /// In place of an errno: it hangs.
    pub(in super::super) const STOP: u32 = 1 << 17;
}
