//! aarch64: the number in x8, arguments in x0 to x4, the result in x0. The thread pointer comes before the child's tid.

/// One system call.
macro_rules! call_by_registers {
    ($number:ident, [$a:ident, $b:ident, $c:ident, $d:ident, $e:ident] => $result:ident) => {
        std::arch::asm!(
            "svc #0",
            in("x8") $number as isize,
            inlateout("x0") $a.cast_signed() => $result,
            in("x1") $b, in("x2") $c, in("x3") $d, in("x4") $e,
            options(nostack),
        )
    };
}

/// clone(2), and the call of `then` in the child.
macro_rules! clone_by_registers {
    ($flags:ident, $stack:ident, [$parent_tid:ident, $child_tid:ident], $then:ident, $argument:ident => $result:ident) => {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x22",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone as isize,
            inlateout("x0") $flags.cast_signed() => $result,
            in("x1") $stack, in("x2") $parent_tid, in("x3") 0_usize, in("x4") $child_tid,
            in("x21") $argument, in("x22") $then as usize,
        )
    };
}

/// An instruction that is none.
macro_rules! trap_by_instruction {
    () => {
        std::arch::asm!("brk #1", options(noreturn, nomem, nostack))
    };
}

/// The call of `then` on another stack.
macro_rules! go_on_by_registers {
    ($stack:ident, $then:ident, $argument:ident) => {
        std::arch::asm!(
            "mov sp, {stack}",
            "mov x29, xzr",
            "blr {then}",
            "brk #1",
            stack = in(reg) $stack, then = in(reg) $then as usize, in("x0") $argument,
            options(noreturn),
        )
    };
}
