//! For tests and fuzzing: the kernel's machine for seccomp programs, as strict as its checker.

use crate::sys::seccomp::Instruction;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Data {
    pub(super) nr: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Data {
    /// The aligned word at `offset`, as this machine lays the structure out.
    fn word(&self, offset: u32) -> u32 {
        let mut bytes = Vec::new();
        bytes.extend(self.nr.to_ne_bytes());
        bytes.extend(self.arch.to_ne_bytes());
        bytes.extend(0u64.to_ne_bytes());
        for arg in self.args {
            bytes.extend(arg.to_ne_bytes());
        }
        let start = offset as usize;
        assert_eq!(start % 4, 0, "the kernel refuses unaligned loads");
        u32::from_ne_bytes(bytes[start..start + 4].try_into().expect("four bytes"))
    }
}

/// Runs `program` and returns its verdict. Panics for whatever the kernel would refuse to load.
pub(super) fn run(program: &[Instruction], data: &Data) -> u32 {
    let (mut a, mut x, mut pc) = (0u32, 0u32, 0usize);
    let mut memory = [0u32; 16];
    loop {
        let Instruction { code, jt, jf, k } = program[pc];
        pc += 1;
        let mut branch = |holds: bool| pc += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => a = data.word(k),
            0x00 => a = k,
            0x01 => x = k,
            0x60 => a = memory[k as usize],
            0x02 => memory[k as usize] = a,
            0x07 => x = a,
            0x87 => a = x,
            0x54 => a &= k,
            0x05 => pc += k as usize,
            0x15 => branch(a == k),
            0x25 => branch(a > k),
            0x35 => branch(a >= k),
            0x45 => branch(a & k != 0),
            0x06 => return k,
            other => panic!("opcode {other:#x} at {}", pc - 1),
        }
    }
}
