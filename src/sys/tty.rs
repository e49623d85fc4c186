//! Terminals: the ioctls of pts(4) and tty_ioctl(4).

use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The rows and columns of a terminal; 0 stands for unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

fn checked(result: libc::c_int) -> nix::Result<libc::c_int> {
    Errno::result(result)
}

/// `ioctl(master, TIOCSPTLCK, &0)`: unlocks the slave so that it can be opened, as unlockpt(3)
/// does.
///
/// # Errors
/// ENOTTY if `master` is no pty master.
pub(crate) fn unlock(master: BorrowedFd<'_>) -> nix::Result<()> {
    let unlocked: libc::c_int = 0;
    // SAFETY: this request reads one int, which `unlocked` is.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) };
    checked(result).map(drop)
}

/// `ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)`, ioctl_tty(2) (Linux 4.13): opens
/// the slave without a path, so that nobody can replace it (CVE-2025-52565).
///
/// # Errors
/// EIO while the slave is locked, ENOTTY if `master` is no pty master.
pub(crate) fn open_slave(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: this request takes open flags by value.
    let fd = checked(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just returned this new descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `ioctl(master, TIOCGPTN, &number)`: returns the N of the slave's `/dev/pts/N`.
///
/// # Errors
/// ENOTTY if `master` is no pty master.
pub(crate) fn number(master: BorrowedFd<'_>) -> nix::Result<u32> {
    let mut number: libc::c_uint = 0;
    // SAFETY: this request writes one unsigned int, which `number` is.
    let result = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    checked(result).map(|_| number)
}

/// `ioctl(terminal, TIOCSCTTY, 0)`: makes `terminal` the controlling terminal of the calling
/// session leader.
///
/// # Errors
/// EPERM if the process leads no session or has a controlling terminal, or if another session has
/// this one.
pub(crate) fn make_controlling(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: this request takes an int by value.
    checked(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// `ioctl(terminal, TIOCGWINSZ, &size)`: returns the terminal's size.
///
/// # Errors
/// ENOTTY if it is no terminal.
pub(crate) fn size(terminal: BorrowedFd<'_>) -> nix::Result<Size> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: this request writes one struct winsize, which `size` is.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    checked(result).map(|_| Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// `ioctl(terminal, TIOCSWINSZ, &size)`: sets the size. The foreground processes get SIGWINCH if it
/// changed.
///
/// # Errors
/// ENOTTY if it is no terminal.
pub(crate) fn set_size(terminal: BorrowedFd<'_>, size: Size) -> nix::Result<()> {
    let size = libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: this request reads one struct winsize, which `size` is.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    checked(result).map(drop)
}
