//! arm: the number in r7, which the compiler may need for itself, arguments in r0 to r4, the result in r0. The thread pointer
//! comes before the child's tid.

/// One system call.
macro_rules! call_by_registers {
    ($number:ident, [$a:ident, $b:ident, $c:ident, $d:ident, $e:ident] => $result:ident) => {
        std::arch::asm!(
            "mov {kept}, r7",
            "mov r7, {number}",
            "svc #0",
            "mov r7, {kept}",
            kept = out(reg) _, number = in(reg) $number,
            inlateout("r0") $a.cast_signed() => $result,
            in("r1") $b, in("r2") $c, in("r3") $d, in("r4") $e,
            options(nostack),
        )
    };
}

/// clone(2), and the call of `then` in the child.
macro_rules! clone_by_registers {
    ($flags:ident, $stack:ident, [$parent_tid:ident, $child_tid:ident], $then:ident, $argument:ident => $result:ident) => {
        std::arch::asm!(
            "mov {kept}, r7",
            "mov r7, {number}",
            "svc #0",
            "mov r7, {kept}",
            "cmp r0, #0",
            "bne 2f",
            "mov r0, {argument}",
            "blx {then}",
            "udf #0",
            "2:",
            kept = out(reg) _, number = in(reg) libc::SYS_clone,
            argument = in(reg) $argument, then = in(reg) $then as usize,
            inlateout("r0") $flags.cast_signed() => $result,
            in("r1") $stack, in("r2") $parent_tid, in("r3") 0_usize, in("r4") $child_tid,
        )
    };
}

/// An instruction that is none.
macro_rules! trap_by_instruction {
    () => {
        std::arch::asm!("udf #0", options(noreturn, nomem, nostack))
    };
}

/// The call of `then` on another stack.
macro_rules! go_on_by_registers {
    ($stack:ident, $then:ident, $argument:ident) => {
        std::arch::asm!(
            "mov sp, {stack}",
            "blx {then}",
            "udf #0",
            stack = in(reg) $stack, then = in(reg) $then as usize, in("r0") $argument,
            options(noreturn),
        )
    };
}
