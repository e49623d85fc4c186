//! Interprets seccomp programs as the kernel does, as far as casulo's own programs need it, and returns their verdict
//! on a call. Used by the parent, which asks a filter before anything is made ([`super::asked`]), and by tests and
//! fuzzing.

use crate::sys::seccomp::Instruction;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Data {
    pub(super) nr: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Data {
    /// Returns the word at `offset`, in this machine's byte order; None if `offset` is not aligned or outside the
    /// structure.
    fn word(&self, offset: u32) -> Option<u32> {
        let half = |value: u64, low: bool| {
            let bytes = value.to_ne_bytes();
            let [a, b, c, d, e, f, g, h] = bytes;
            u32::from_ne_bytes(if low { [a, b, c, d] } else { [e, f, g, h] })
        };
        match offset {
            0 => Some(self.nr),
            4 => Some(self.arch),
            // The instruction pointer, which no condition of a profile can look at.
            8 | 12 => Some(0),
            _ if !offset.is_multiple_of(4) => None,
            _ => {
                let at = usize::try_from(offset / 8).ok()?.checked_sub(2)?;
                Some(half(*self.args.get(at)?, offset.is_multiple_of(8)))
            }
        }
    }
}

/// Runs `program` on `data` and returns its verdict (`SECCOMP_RET_*`); None for a program that the kernel would
/// refuse.
pub(super) fn run(program: &[Instruction], data: &Data) -> Option<u32> {
    run_counting(program, data).map(|(verdict, _)| verdict)
}

/// Like [`run`], but returns with the verdict how many instructions were run.
pub(super) fn run_counting(program: &[Instruction], data: &Data) -> Option<(u32, usize)> {
    let (mut a, mut pc, mut count) = (0u32, 0usize, 0usize);
    loop {
        count += 1;
        let Instruction { code, jt, jf, k } = *program.get(pc)?;
        pc += 1;
        let mut branch = |holds: bool| pc += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => a = data.word(k)?,
            0x54 => a &= k,
            0x05 => pc += usize::try_from(k).ok()?,
            0x15 => branch(a == k),
            0x25 => branch(a > k),
            0x35 => branch(a >= k),
            0x06 => return Some((k, count)),
            _ => return None,
        }
    }
}
