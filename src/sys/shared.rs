//! Memory that a parent and its children share.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

/// `mmap(MAP_SHARED | MAP_ANONYMOUS)`, mmap(2): `count` words, all 0, for this process and every child that
/// is cloned later, until each executes something. They are never given back.
///
/// # Errors
/// ENOMEM; EINVAL for no words.
pub fn words(count: usize) -> nix::Result<&'static [AtomicU64]> {
    let length = NonZeroUsize::new(count * size_of::<AtomicU64>()).ok_or(nix::Error::EINVAL)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let memory = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?;
    // SAFETY: the mapping is page-aligned, has room for `count` words, is zeroed and never unmapped; whoever
    // else has it only uses atomics.
    Ok(unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), count) })
}
