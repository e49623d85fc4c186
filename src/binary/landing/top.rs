//! How far the addresses of a process reach: a landing unmaps all of them but its own.

/// The upper end of the addresses that a process can map, where that is largest.
#[cfg(target_arch = "x86_64")]
pub(super) const TOP: usize = 0x7fff_ffff_f000;
/// The upper end of the addresses that a process can map: 48 bits.
#[cfg(all(target_pointer_width = "64", not(target_arch = "x86_64")))]
pub(super) const TOP: usize = 1 << 48;
/// The upper end of the addresses that a process can map: all but the last page.
#[cfg(target_pointer_width = "32")]
pub(super) const TOP: usize = 0xffff_f000;

/// The next lower end that a kernel may have, or none: with one bit of addresses less, or for 32 bits another split
/// between processes and kernel.
pub(super) const fn lower(top: usize) -> Option<usize> {
    #[cfg(target_pointer_width = "64")]
    let (next, least) = (top / 2, 1 << 32);
    #[cfg(target_pointer_width = "32")]
    let (next, least) = (top - (1 << 24), 1 << 30);
    if next > least { Some(next) } else { None }
}
