//! Memory that a parent and its children share.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// `mmap(MAP_SHARED | MAP_ANONYMOUS)`, mmap(2): `count` words, all 0, which this process shares with every child
/// that it clones later, until each executes a program. They are never unmapped.
///
/// # Errors
/// ENOMEM; EINVAL for a `count` of 0.
pub(crate) fn words(count: usize) -> nix::Result<&'static [AtomicU64]> {
    let length = NonZeroUsize::new(count * size_of::<AtomicU64>()).ok_or(nix::Error::EINVAL)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let memory = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?;
    // SAFETY: the mapping is page-aligned, has room for `count` words, is zeroed and never unmapped; whoever
    // else has it only uses atomics.
    Ok(unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), count) })
}

/// A page that a parent shares with the process that it sends into a container, and with no process that can be
/// seen there. The process writes numbers; the parent believes only what it can check.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    /// The pid of the sibling that the process has made, stored by the kernel; 0 before that.
    pid: AtomicI32,
    /// The number of a descriptor plus 1; the parent sets it back to 0 when it has the descriptor.
    listener: AtomicI32,
    /// The last step that has failed, and below its errno: for when the process can make no call to report it.
    step: AtomicI32,
    errno: AtomicI32,
    /// 1 once the parent has said that what the process makes may be seen.
    may_be_seen: AtomicI32,
    /// 1 once the process has started to run.
    has_begun: AtomicI32,
}

impl Shared {
    /// Makes a new page, all 0.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> nix::Result<&'static Shared> {
        const { assert!(size_of::<Shared>() == 3 * size_of::<AtomicU64>()) };
        let words = words(3)?;
        // SAFETY: the mapping is as long as a Shared, aligned to a page, zeroed and never unmapped; an atomic of
        // any value is a valid one.
        Ok(unsafe { &*words.as_ptr().cast() })
    }

    /// The pid that the kernel has stored, 0 for none.
    #[must_use]
    pub(crate) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// The number of the descriptor that the process is handing over; None if there is none.
    #[must_use]
    pub(crate) fn listener(&self) -> Option<i32> {
        match self.listener.load(Ordering::Acquire) {
            0 => None,
            number => Some(number - 1),
        }
    }

    /// Parent: tells the process that the descriptor was taken.
    pub(crate) fn listener_is_taken(&self) {
        self.listener.store(0, Ordering::Release);
    }

    /// Parent: tells the process that what it makes may be seen in the container.
    pub(crate) fn let_be_seen(&self) {
        self.may_be_seen.store(1, Ordering::Release);
    }

    /// The process: true once the parent has called [`Shared::let_be_seen`].
    #[must_use]
    pub(crate) fn may_be_seen(&self) -> bool {
        self.may_be_seen.load(Ordering::Acquire) != 0
    }

    /// The process: notes that it runs.
    pub(crate) fn begin(&self) {
        self.has_begun.store(1, Ordering::Release);
    }

    /// Parent: true if the process has run at all. One that was killed at its birth has not.
    #[must_use]
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire) != 0
    }

    /// The process: reports that this step has failed.
    pub(crate) fn fail(&self, step: i32, errno: nix::errno::Errno) {
        self.errno.store(errno as i32, Ordering::Relaxed);
        self.step.store(step, Ordering::Release);
    }

    /// Parent: returns the step that has failed and the errno; None if none has.
    #[must_use]
    pub(crate) fn failure(&self) -> Option<(i32, nix::errno::Errno)> {
        match self.step.load(Ordering::Acquire) {
            0 => None,
            step => {
                let errno = self.errno.load(Ordering::Relaxed);
                Some((step, nix::errno::Errno::from_raw(errno)))
            }
        }
    }

    pub(super) fn pid_address(&self) -> *mut i32 {
        self.pid.as_ptr()
    }

    pub(super) fn listener_address(&self) -> *mut i32 {
        self.listener.as_ptr()
    }

    /// The addresses of the page: its first byte, and the one after its last.
    pub(super) fn range(&self) -> [usize; 2] {
        let from = std::ptr::from_ref(self).addr();
        [from, from + 4096]
    }
}
