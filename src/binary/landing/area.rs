//! The layout of a last process's landing area ([`super::last`]), which [`super`] fills.

use crate::sys::seccomp::Instruction;

/// One startContainer hook. All its addresses lead into the area.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Hook {
    pub(super) path: *const u8,
    pub(super) arguments: *const *const u8,
    pub(super) environment: *const *const u8,
    /// The hook's standard input, a file with the container's state, read from its beginning.
    pub(super) stdin: i32,
}

/// The filter, laid out as `struct sock_fprog` of seccomp(2).
#[repr(C)]
pub(super) struct Program {
    pub(super) length: u16,
    pub(super) instructions: *const Instruction,
}

/// Flags of an [`Area`]: what its process does on its way to execve.
pub(super) mod wants {
    /// Says `Ready` and waits for a byte.
    pub(in super::super) const READY: u32 = 1;
    /// Waits for a byte without having said so.
    pub(in super::super) const WAIT: u32 = 1 << 1;
    /// Says `Executes`. If nobody reads that any more, the process ends.
    pub(in super::super) const LIVING_READER: u32 = 1 << 2;
    /// Makes a session of its own.
    pub(in super::super) const SESSION: u32 = 1 << 3;
    /// Makes its standard input its controlling terminal.
    pub(in super::super) const TERMINAL: u32 = 1 << 4;
    /// Checks that its working directory is still inside the root.
    pub(in super::super) const WORKING_DIRECTORY: u32 = 1 << 5;
    /// Sets its own RLIMIT_NPROC if the byte is [`super::SET_PROCESSES`].
    pub(in super::super) const PROCESSES: u32 = 1 << 6;
    /// Loads the filter.
    pub(in super::super) const FILTER: u32 = 1 << 7;
    /// Hands the filter's listener over to the parent.
    pub(in super::super) const LISTENER: u32 = 1 << 8;
    /// Sets its capabilities after the filter.
    pub(in super::super) const CAPABILITIES: u32 = 1 << 9;
    /// Stops being dumpable once the listener was handed over.
    pub(in super::super) const NOT_DUMPABLE: u32 = 1 << 10;
}

/// The byte that tells a last process to go on.
pub(crate) const GO: u8 = b'g';
/// The byte that tells a last process to set RLIMIT_NPROC and go on.
pub(crate) const SET_PROCESSES: u8 = b'n';

/// The beginning of a landing area. Addresses lead into the area; they are null if the flag is not
/// set.
#[repr(C)]
pub(super) struct Area {
    pub(super) wants: u32,
    /// The descriptor from which the process reads the byte that tells it to go on.
    pub(super) go: i32,
    /// The descriptor to which it writes each [`super::Word`].
    pub(super) tell: i32,
    /// The process's pid, as it sees it. The kernel writes it here when a process is born onto the
    /// area.
    pub(super) pid: i32,
    /// The ranges of addresses to unmap: the first byte, and the one after the last. Two zeros end
    /// the list.
    pub(super) unmap: [[usize; 2]; 8],
    pub(super) filter: Program,
    pub(super) filter_flags: u32,
    /// Where the process stores the listener's number plus 1: memory that the parent shares.
    pub(super) listener: *mut i32,
    /// `struct __user_cap_header_struct` and two of `__user_cap_data_struct`, capget(2).
    pub(super) capability_header: [u32; 2],
    pub(super) capabilities: [u32; 6],
    /// The soft and the hard RLIMIT_NPROC.
    pub(super) processes: [u64; 2],
    pub(super) hooks: *const Hook,
    pub(super) hook_count: usize,
    /// The descriptors to which hooks write; -1 for the process's own streams.
    pub(super) hook_stdout: i32,
    pub(super) hook_stderr: i32,
    /// Descriptors from 3 up to this one, exclusive, are the program's; hooks do not get them.
    pub(super) first_closed: i32,
    pub(super) path: *const u8,
    pub(super) arguments: *const *const u8,
    pub(super) environment: *const *const u8,
    /// The place after `LISTEN_PID=` in the environment, with room for a number; or null.
    pub(super) listen_pid: *mut u8,
    /// Test builds: the place that fails or hangs, and the errno.
    pub(super) fault: [u32; 2],
    pub(super) buffer: [u8; 4096],
}

/// Test builds: the faults of an [`Area`].
pub(super) mod faults {
    /// Before the hooks.
    pub(in super::super) const HOOKS: u32 = 1;
    /// Before execve.
    pub(in super::super) const EXECUTE: u32 = 2;
    /// Instead of an errno: the process ends at once.
    pub(in super::super) const KILL: u32 = 1 << 16;
    /// Instead of an errno: the process hangs.
    pub(in super::super) const STOP: u32 = 1 << 17;
}
