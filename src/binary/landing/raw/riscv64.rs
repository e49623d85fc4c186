//! riscv64: the number in a7, arguments in a0 to a4, the result in a0. The thread pointer comes before the child's tid.

/// One system call.
macro_rules! call_by_registers {
    ($number:ident, [$a:ident, $b:ident, $c:ident, $d:ident, $e:ident] => $result:ident) => {
        std::arch::asm!(
            "ecall",
            in("a7") $number,
            inlateout("a0") $a.cast_signed() => $result,
            in("a1") $b, in("a2") $c, in("a3") $d, in("a4") $e,
            options(nostack),
        )
    };
}

/// clone(2), and the call of `then` in the child.
macro_rules! clone_by_registers {
    ($flags:ident, $stack:ident, [$parent_tid:ident, $child_tid:ident], $then:ident, $argument:ident => $result:ident) => {
        std::arch::asm!(
            "ecall",
            "bnez a0, 2f",
            "mv s0, zero",
            "mv a0, s2",
            "jalr s3",
            "unimp",
            "2:",
            in("a7") libc::SYS_clone,
            inlateout("a0") $flags.cast_signed() => $result,
            in("a1") $stack, in("a2") $parent_tid, in("a3") 0_usize, in("a4") $child_tid,
            in("s2") $argument, in("s3") $then as usize,
        )
    };
}

/// An instruction that is none.
macro_rules! trap_by_instruction {
    () => {
        std::arch::asm!("unimp", options(noreturn, nomem, nostack))
    };
}

/// The call of `then` on another stack.
macro_rules! go_on_by_registers {
    ($stack:ident, $then:ident, $argument:ident) => {
        std::arch::asm!(
            "mv sp, {stack}",
            "mv s0, zero",
            "jalr {then}",
            "unimp",
            stack = in(reg) $stack, then = in(reg) $then as usize, in("a0") $argument,
            options(noreturn),
        )
    };
}
