//! The mark of a directory that casulo has made in a file system of the kernel's (cgroup2, resctrl): the sticky bit,
//! which means nothing there. It is on the directory from mkdir(2) on, so it says whose it is also where casulo was
//! killed before it could write that down. Parent.

use nix::sys::stat::{FileStat, Mode};

/// The mode of such a directory.
pub(crate) const MODE: Mode = Mode::from_bits_truncate(0o1755);

/// Whether `stat` is of one.
pub(crate) fn is_on(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_ISVTX != 0
}
