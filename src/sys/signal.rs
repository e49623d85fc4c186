//! Signal dispositions. nix's enum has no real-time signals, and the C library's sigaction refuses
//! the two or three that it keeps for itself, which a caller may have left ignored all the same.

use super::check;

/// `rt_sigaction(number, {SIG_DFL}, null, 8)`, sigaction(2). `number` is 1 to 64.
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP.
pub fn set_default(number: i32) -> nix::Result<()> {
    // `struct sigaction` of the kernel: handler, flags, restorer, mask. SIG_DFL is 0.
    let default = [0_u64; 4];
    let previous = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel reads a sigaction, at most four words, from the live array and writes none;
    // SIG_DFL installs no handler, so no code of this program can run in signal context.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            number,
            default.as_ptr(),
            previous,
            size_of::<u64>(),
        )
    };
    check(result).map(drop)
}

/// `rt_sigaction(number, {handler, SA_RESTORER | SA_NODEFER}, null, 8)`, sigaction(2). `number` is 1 to 64.
///
/// The restorer is null: a handler that returned would crash the process.
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP.
pub(super) fn set_handler(number: i32, handler: extern "C" fn(i32)) -> nix::Result<()> {
    const SA_RESTORER: u64 = 0x0400_0000;
    // Handler, flags, restorer, mask; where an architecture has no restorer, the mask is the third.
    let action = [handler as usize as u64, SA_RESTORER, 0, 0];
    let previous = std::ptr::null_mut::<u64>();
    // SAFETY: the kernel reads a sigaction, at most four words, from the live array and writes none. The
    // only handler is `last::end_by_signal`, which calls exit_group(2) and nothing else.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            number,
            action.as_ptr(),
            previous,
            size_of::<u64>(),
        )
    };
    check(result).map(drop)
}
