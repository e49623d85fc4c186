//! Memory that a parent and its children share.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// `mmap(MAP_SHARED | MAP_ANONYMOUS)`, mmap(2): `count` words, all 0, for this process and every child that
/// is cloned later, until each executes something. They are never given back.
///
/// # Errors
/// ENOMEM; EINVAL for no words.
pub(crate) fn words(count: usize) -> nix::Result<&'static [AtomicU64]> {
    let length = NonZeroUsize::new(count * size_of::<AtomicU64>()).ok_or(nix::Error::EINVAL)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let memory = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?;
    // SAFETY: the mapping is page-aligned, has room for `count` words, is zeroed and never unmapped; whoever
    // else has it only uses atomics.
    Ok(unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), count) })
}

/// A page that a parent shares with the process that it sends into a container, and with nobody who can be seen
/// there. The process writes numbers; the parent believes what it can check.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    /// The pid of the sibling that the process has made, stored by the kernel; 0 before.
    pid: AtomicI32,
    /// The number of a descriptor and 1; the parent sets it back to 0 when it has the descriptor.
    listener: AtomicI32,
    /// Which of the last steps has failed, and how: where nothing can be said by a call any more.
    step: AtomicI32,
    errno: AtomicI32,
    /// 1 once the parent has said that what is made may be seen.
    may_be_seen: AtomicI32,
    /// 1 once the process has come to run at all.
    has_begun: AtomicI32,
}

impl Shared {
    /// A new page, all 0.
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

    /// The descriptor that is handed over at the moment.
    #[must_use]
    pub(crate) fn listener(&self) -> Option<i32> {
        match self.listener.load(Ordering::Acquire) {
            0 => None,
            number => Some(number - 1),
        }
    }

    /// Parent: it has been taken.
    pub(crate) fn listener_is_taken(&self) {
        self.listener.store(0, Ordering::Release);
    }

    /// Parent: what the process makes may be seen in the container.
    pub(crate) fn let_be_seen(&self) {
        self.may_be_seen.store(1, Ordering::Release);
    }

    /// The process: whether the parent has said so.
    #[must_use]
    pub(crate) fn may_be_seen(&self) -> bool {
        self.may_be_seen.load(Ordering::Acquire) != 0
    }

    /// The process: it runs.
    pub(crate) fn begin(&self) {
        self.has_begun.store(1, Ordering::Release);
    }

    /// Parent: whether the process has run at all. One that was killed at its birth has not.
    #[must_use]
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire) != 0
    }

    /// The process: this step has failed.
    pub(crate) fn fail(&self, step: i32, errno: nix::errno::Errno) {
        self.errno.store(errno as i32, Ordering::Relaxed);
        self.step.store(step, Ordering::Release);
    }

    /// Parent: which step has failed, and the errno; None where none has.
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

    /// The page's addresses.
    pub(super) fn range(&self) -> [usize; 2] {
        let from = std::ptr::from_ref(self).addr();
        [from, from + 4096]
    }
}
