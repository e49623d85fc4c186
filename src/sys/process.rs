//! Leaving a process that was cloned, not started.

/// `void _exit(int status)`, _exit(2): ends the child without running what the parent registered
/// for its own end (destructors, buffered output).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    unsafe { libc::_exit(status) }
}
