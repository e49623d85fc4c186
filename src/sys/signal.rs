//! Signal dispositions, and pending signals. nix's enum has no real-time signals. The C library's sigaction refuses
//! the two or three that it keeps for itself, and these too can be ignored by the time that casulo starts.

use super::check;
use super::child::ignores;
use std::ffi::CStr;
use std::mem::MaybeUninit;

/// Signals that ask a program to end, and by default end it.
pub(crate) const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// `int sigpending(sigset_t *set)`, sigpending(2): returns the first of [`ENDING`] that is blocked and pending, and
/// leaves it pending. A signal that this process ignores does not count.
pub(crate) fn ending() -> Option<i32> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: `set` is room for one sigset_t, which the kernel fills.
    let result = unsafe { libc::sigpending(set.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid sigset_t, and the call may have filled them.
    let set = unsafe { set.assume_init() };
    let waits = |number: i32| {
        // SAFETY: the call reads the live set.
        let is_in = unsafe { libc::sigismember(&raw const set, number) };
        is_in == 1 && !ignores(number)
    };
    ENDING.into_iter().find(|it| result == 0 && waits(*it))
}

/// `char *strsignal(int sig)`, strsignal(3), in small letters, as Go writes it.
pub(crate) fn text(number: i32) -> String {
    // SAFETY: the C library returns a text for every number, or null. It may be overwritten by the next call, and
    // casulo has one thread.
    let text = unsafe { libc::strsignal(number) };
    if text.is_null() {
        return format!("signal {number}");
    }
    // SAFETY: a C string, which nothing changes before it is copied.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().to_lowercase()
}

/// `rt_sigaction(number, {SIG_DFL}, null, 8)`, sigaction(2): sets the default disposition. `number` is 1 to 64.
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP.
pub(crate) fn set_default(number: i32) -> nix::Result<()> {
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

/// `rt_sigaction(number, {handler, SA_RESTORER}, null, 8)`, sigaction(2): installs `handler`. `number` is 1 to 64.
///
/// The restorer is null: a handler that returned would crash the process.
///
/// # Errors
/// EINVAL for SIGKILL and SIGSTOP.
pub(crate) fn set_handler(number: i32, handler: extern "C" fn(i32)) -> nix::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::words_of_child;
    use nix::sys::signal::{SigHandler, SigSet, Signal, raise, signal};

    #[test]
    fn a_signal_that_ends_waits_where_it_is_blocked_and_not_ignored() {
        let result = words_of_child(|| {
            SigSet::all().thread_block().expect("block");
            let mut said = vec![ending()];
            // By default it ends no process.
            raise(Signal::SIGCHLD).expect("raise");
            said.push(ending());
            // SAFETY: no code of this program runs in signal context.
            unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }.expect("signal");
            raise(Signal::SIGHUP).expect("raise");
            said.push(ending());
            raise(Signal::SIGTERM).expect("raise");
            // A second call returns the same: the signal stays pending.
            said.extend([ending(), ending()]);
            Ok(format!("{said:?}"))
        });
        assert_eq!(result, "[None, None, None, Some(15), Some(15)]");
    }
}
