//! s390x: the number in r1, arguments in r2 to r6, the result in r2. clone(2) takes the stack first. A function may write to
//! the 160 bytes above the stack pointer that it gets.

/// One system call.
macro_rules! call_by_registers {
    ($number:ident, [$a:ident, $b:ident, $c:ident, $d:ident, $e:ident] => $result:ident) => {
        std::arch::asm!(
            "svc 0",
            in("r1") $number,
            inlateout("r2") $a.cast_signed() => $result,
            in("r3") $b, in("r4") $c, in("r5") $d, in("r6") $e,
            options(nostack),
        )
    };
}

/// clone(2), and the call of `then` in the child.
macro_rules! clone_by_registers {
    ($flags:ident, $stack:ident, [$parent_tid:ident, $child_tid:ident], $then:ident, $argument:ident => $result:ident) => {
        std::arch::asm!(
            "svc 0",
            "ltgr %r2, %r2",
            "jnz 2f",
            "aghi %r15, -160",
            "lgr %r2, %r8",
            "basr %r14, %r9",
            ".short 0",
            "2:",
            in("r1") libc::SYS_clone,
            inlateout("r2") $stack.cast_signed() => $result,
            in("r3") $flags, in("r4") $parent_tid, in("r5") $child_tid, in("r6") 0_usize,
            in("r8") $argument, in("r9") $then as usize,
        )
    };
}

/// An instruction that is none.
macro_rules! trap_by_instruction {
    () => {
        std::arch::asm!(".short 0", options(noreturn, nomem, nostack))
    };
}

/// The call of `then` on another stack.
macro_rules! go_on_by_registers {
    ($stack:ident, $then:ident, $argument:ident) => {
        std::arch::asm!(
            "lgr %r15, %r3",
            "aghi %r15, -160",
            "basr %r14, %r4",
            ".short 0",
            in("r2") $argument, in("r3") $stack, in("r4") $then as usize,
            options(noreturn),
        )
    };
}
