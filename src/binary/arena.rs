//! The binary's allocator.
//!
//! A command of casulo makes some thousand small allocations and ends soon after. So memory is handed out one
//! piece after the other, from pages that stay untouched until then. Of the pieces given back only the last one
//! is used again. This takes a dozen instructions per piece where a general allocator needs a hundred, and keeps
//! no records that a child would have to copy after the clone. Allocations beyond the arena (a large config, a
//! command that runs for days) are dlmalloc's, which takes all memory back.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, UnsafeCell};

/// The arena's size in bytes. The kernel provides pages as they are touched, so unused ones cost nothing.
const SIZE: usize = 512 * 1024;

/// The arena's alignment, and the largest alignment that it serves.
const ALIGN: usize = 16;

/// The least alignment of a piece. nix lays a `cmsghdr` into a buffer of bytes for sendmsg(2), and so relies on
/// the alignment that malloc(3) promises.
const LEAST_ALIGN: usize = 8;

#[repr(align(16))]
struct Pages(UnsafeCell<[u8; SIZE]>);

/// An arena, and the allocator that takes over when it is full. The fields are in this order so that `used` lies
/// on the first page that is handed out.
#[repr(C)]
pub struct Arena {
    /// The offset of the first byte that was never handed out, or is free again up to the end.
    used: Cell<usize>,
    beyond: dlmalloc::GlobalDlmalloc,
    pages: Pages,
}

// SAFETY: casulo has one thread, always (invariant 1), so there is nobody to share with.
unsafe impl Sync for Arena {}

impl Arena {
    /// Makes an empty arena, for a static.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "half a megabyte is never to be made on a stack"
    )]
    pub const fn new() -> Arena {
        Arena {
            used: Cell::new(0),
            beyond: dlmalloc::GlobalDlmalloc,
            pages: Pages(UnsafeCell::new([0; SIZE])),
        }
    }

    /// Returns the offset of a pointer into the arena; None for a pointer of dlmalloc's.
    fn offset(&self, pointer: *mut u8) -> Option<usize> {
        let offset = pointer
            .addr()
            .wrapping_sub(self.pages.0.get().cast::<u8>().addr());
        (offset < SIZE).then_some(offset)
    }

    /// Hands out a piece of this layout. Returns its offset; None if the arena has no room or alignment for it.
    fn take(&self, layout: Layout) -> Option<usize> {
        if layout.align() > ALIGN {
            return None;
        }
        let begin = self
            .used
            .get()
            .next_multiple_of(layout.align().max(LEAST_ALIGN));
        let end = begin
            .checked_add(layout.size())
            .filter(|end| *end <= SIZE)?;
        self.used.set(end);
        Some(begin)
    }

    /// Takes back the piece at offset `begin`, if it is the last one.
    fn give(&self, begin: usize, size: usize) {
        if begin + size == self.used.get() {
            self.used.set(begin);
        }
    }
}

// SAFETY: a piece lies within the arena, is aligned (the arena is, and offsets are multiples), and
// overlaps no other that is in use: `used` only moves back to the beginning of a piece that is given back.
// Everything else is dlmalloc's own answer, and its pointers are never the arena's.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            // SAFETY: `begin` is at most SIZE, so the pointer stays within the array or at its end.
            Some(begin) => unsafe { self.pages.0.get().cast::<u8>().add(begin) },
            // SAFETY: the caller's own promises about `layout`.
            None => unsafe { self.beyond.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match self.offset(pointer) {
            Some(begin) => self.give(begin, layout.size()),
            // SAFETY: not of the arena, so dlmalloc has made it.
            None => unsafe { self.beyond.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(begin) = self.offset(pointer) else {
            // SAFETY: not of the arena, so dlmalloc has made it.
            return unsafe { self.beyond.realloc(pointer, layout, size) };
        };
        let is_last = begin + layout.size() == self.used.get();
        if is_last && size <= SIZE - begin {
            self.used.set(begin + size);
            return pointer;
        }
        if size <= layout.size() {
            return pointer;
        }
        // SAFETY: the caller promises that `size` is a valid one with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: `size` is more than that of the old piece, so not zero.
        let new = unsafe { self.alloc(wanted) };
        if !new.is_null() {
            // SAFETY: two different pieces, the old one of layout.size() bytes, the new one longer.
            unsafe { std::ptr::copy_nonoverlapping(pointer, new, layout.size()) };
            self.give(begin, layout.size());
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena() -> &'static Arena {
        // Zeroed memory is an empty arena. It is made on the heap, because a test's stack is too small for it.
        let layout = Layout::new::<Arena>();
        // SAFETY: the layout has a size.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        // SAFETY: all fields are valid when zero, and the memory is never given back.
        unsafe { &*memory.cast::<Arena>() }
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    /// A piece filled with `byte`.
    fn piece(arena: &Arena, layout: Layout, byte: u8) -> *mut u8 {
        // SAFETY: all layouts here have a size.
        let piece = unsafe { arena.alloc(layout) };
        assert!(!piece.is_null() && piece.addr().is_multiple_of(layout.align()));
        // SAFETY: just handed out with this size.
        unsafe { piece.write_bytes(byte, layout.size()) };
        piece
    }

    fn holds(piece: *const u8, size: usize, byte: u8) -> bool {
        // SAFETY: `size` bytes of the piece were written.
        let bytes = unsafe { std::slice::from_raw_parts(piece, size) };
        bytes.iter().all(|it| *it == byte)
    }

    #[test]
    fn pieces_are_aligned_and_do_not_overlap() {
        let arena = arena();
        let pieces: Vec<_> = [(1, 1), (24, 8), (3, 2), (100, 16), (7, 4)]
            .into_iter()
            .zip(1u8..)
            .map(|((size, align), byte)| (piece(arena, layout(size, align), byte), size, byte))
            .collect();
        for (piece, size, byte) in pieces {
            assert!(holds(piece, size, byte));
            assert_eq!(piece.addr() % LEAST_ALIGN, 0);
        }
    }

    #[test]
    fn the_last_piece_grows_where_it_is_and_its_memory_is_used_again() {
        let arena = arena();
        let small = layout(10, 1);
        let first = piece(arena, small, 1);
        // SAFETY: `first` was made with this layout.
        let grown = unsafe { arena.realloc(first, small, 1000) };
        assert_eq!((grown, holds(grown, 10, 1)), (first, true));
        // SAFETY: `grown` has this size now.
        unsafe { arena.dealloc(grown, layout(1000, 1)) };
        assert_eq!(piece(arena, small, 2), first);
    }

    #[test]
    fn another_piece_moves_when_it_grows() {
        let arena = arena();
        let small = layout(10, 1);
        let first = piece(arena, small, 1);
        let second = piece(arena, small, 2);
        // SAFETY: `first` was made with this layout.
        let moved = unsafe { arena.realloc(first, small, 20) };
        assert!(moved != first && holds(moved, 10, 1) && holds(second, 10, 2));
    }

    #[test]
    fn what_does_not_fit_is_dlmallocs() {
        let arena = arena();
        for large in [layout(SIZE + 1, 1), layout(8, 4096)] {
            let there = piece(arena, large, 1);
            assert_eq!(arena.offset(there), None);
            // SAFETY: `there` was made with this layout.
            let grown = unsafe { arena.realloc(there, large, large.size() + 4096) };
            assert!(holds(grown, large.size(), 1));
            // SAFETY: `grown` has this size now.
            unsafe { arena.dealloc(grown, layout(large.size() + 4096, large.align())) };
        }
        // This piece of the arena grows beyond it.
        let small = layout(10, 1);
        let first = piece(arena, small, 3);
        // SAFETY: `first` was made with this layout.
        let moved = unsafe { arena.realloc(first, small, SIZE + 1) };
        assert!(arena.offset(moved).is_none() && holds(moved, 10, 3));
    }
}
