//! Choices out of a fuzzer's bytes: the same bytes are the same choices, and when they end all are the first.

/// What is left of the bytes.
#[derive(Clone, Debug)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes(bytes)
    }

    /// The next byte; 0 at the end.
    pub(super) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// True while there are bytes.
    pub(super) fn has_more(&self) -> bool {
        !self.0.is_empty()
    }

    /// A number below `count`, which is at least 1.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let place = self.below(list.len());
        list.get(place).copied()
    }

    /// Any number: often one at which something changes.
    pub(super) fn number(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            2,
            8,
            21,
            0xffff,
            0xffff_ffff,
            1 << 32,
            (1 << 32) | 8,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ];
        match self.byte() {
            choice if choice < 160 => EDGES
                .get(usize::from(choice) % EDGES.len())
                .copied()
                .unwrap_or(0),
            choice if choice < 200 => u64::from(self.byte()),
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// The rest, as text.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}
