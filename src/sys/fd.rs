//! File descriptors: the standard streams, closing many at once, marking ranges close-on-exec.

use super::check;
use crate::defence::{Defence, without};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// `int close_range(unsigned first, unsigned last, unsigned flags)`, close_range(2), with
/// `CLOSE_RANGE_CLOEXEC` (Linux 5.11): every fd from `first` on is closed by the next execve.
///
/// # Errors
/// ENOSYS or EINVAL on a kernel older than 5.11.
pub(crate) fn close_on_exec_from(first: u32) -> nix::Result<()> {
    if without(Defence::CloseOnExec) {
        return Ok(());
    }
    // SAFETY: three integers; descriptors are only marked, not closed, so no owner is surprised.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(result).map(drop)
}

/// Closes every descriptor from `first` on except those of `keep`, by close_range(2) (Linux 5.9). The owners of
/// the closed ones must not use them any more. It is for a process that becomes another one and never returns to
/// its owners.
///
/// # Errors
/// ENOSYS on a kernel older than 5.9.
pub(crate) fn close_all_but(first: u32, keep: &[RawFd]) -> nix::Result<()> {
    if without(Defence::DescriptorsClosed) {
        return Ok(());
    }
    let mut kept: Vec<u32> = keep
        .iter()
        .filter_map(|fd| u32::try_from(*fd).ok())
        .collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept.into_iter().filter(|fd| *fd >= first) {
        if from < fd {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX)
}

/// Closes every descriptor, also the standard streams, for a process that needs none.
///
/// # Errors
/// ENOSYS on a kernel older than 5.9.
pub(crate) fn close_everything() -> nix::Result<()> {
    match without(Defence::DescriptorsClosed) {
        false => close_range(0, u32::MAX),
        // The number that the next one gets is still the first.
        true => close_range(0, 0),
    }
}

fn close_range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: three integers; who owns what is closed here does not use it again, which is the caller's promise.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Closes all of `fds`. Those with successive numbers are closed by one close_range(2) (Linux 5.9).
pub(crate) fn close_all(mut fds: Vec<OwnedFd>) {
    fds.sort_unstable_by_key(AsRawFd::as_raw_fd);
    while let Some(last) = fds.pop() {
        let last = last.into_raw_fd();
        let mut first = last;
        while fds.last().is_some_and(|next| next.as_raw_fd() == first - 1) {
            fds.pop().map(IntoRawFd::into_raw_fd);
            first -= 1;
        }
        // SAFETY: three integers; every descriptor from `first` to `last` was owned by `fds`.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if result != 0 {
            // The kernel is older, or a filter around casulo refuses the call.
            for fd in first..=last {
                // SAFETY: `fds` owned it.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
}

/// Standard input, output and error, stdin(3): open from the start of casulo to its end.
pub(crate) const STREAMS: [BorrowedFd<'static>; 3] = {
    // SAFETY: `binary::start` opens what the caller has closed, and nothing in casulo owns or closes them.
    let stdin = unsafe { BorrowedFd::borrow_raw(0) };
    // SAFETY: the same.
    let stdout = unsafe { BorrowedFd::borrow_raw(1) };
    // SAFETY: the same.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    [stdin, stdout, stderr]
};

#[cfg(test)]
mod tests {
    use super::{AsRawFd, OwnedFd, RawFd, close_all};
    use crate::sys::forked::{check_in_child, is_open};
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;

    #[test]
    fn all_are_closed_and_no_other() {
        check_in_child(|| -> Result<(), String> {
            let null =
                || open("/dev/null", OFlag::O_PATH, Mode::empty()).map_err(|it| it.to_string());
            let mut fds = (0..6)
                .map(|_| null())
                .collect::<Result<Vec<OwnedFd>, _>>()?;
            let kept = fds.remove(2);
            let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            fds.reverse();
            close_all(fds);
            match (
                is_open(kept.as_raw_fd()),
                numbers.into_iter().find(|fd| is_open(*fd)),
            ) {
                (true, None) => Ok(()),
                it => Err(format!("kept, left open: {it:?}")),
            }
        });
    }
}
