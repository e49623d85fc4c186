//! Numbers of struct stat and struct statvfs in 64 bits: some machines with 32 bits have shorter fields.

#![allow(
    clippy::useless_conversion,
    reason = "on machines with 64 bits nothing is converted"
)]

use nix::sys::stat::FileStat;
use nix::sys::statvfs::Statvfs;

/// `st_ino`.
pub(crate) fn inode(stat: &FileStat) -> u64 {
    stat.st_ino.into()
}

/// `st_dev` and `st_ino`: which file this is, as long as it is there.
pub(crate) fn identity(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev.into(), inode(stat))
}

/// The bytes that an ordinary user may still write to a file system; None where it has no limit, as a tmpfs without
/// `size`, which says that it has no blocks.
pub(crate) fn room(size: &Statvfs) -> Option<u64> {
    let (blocks, available) = (u64::from(size.blocks()), u64::from(size.blocks_available()));
    let room = available.saturating_mul(size.fragment_size().into());
    (blocks != 0).then_some(room)
}
