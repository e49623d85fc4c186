//! powerpc64le: the number in r0, arguments in r3 to r7, the result in r3, with a bit of cr0 set where it is an errno. The
//! thread pointer comes before the child's tid. A function gets its own address in r12, and 32 bytes above the stack
//! pointer that it may write to.

/// One system call.
macro_rules! call_by_registers {
    ($number:ident, [$a:ident, $b:ident, $c:ident, $d:ident, $e:ident] => $result:ident) => {
        std::arch::asm!(
            "sc",
            "bns 1f",
            "neg 3, 3",
            "1:",
            inlateout("r0") $number => _,
            inlateout("r3") $a.cast_signed() => $result,
            inlateout("r4") $b => _, inlateout("r5") $c => _, inlateout("r6") $d => _, inlateout("r7") $e => _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _, lateout("r12") _,
            lateout("cr0") _, lateout("ctr") _, lateout("xer") _,
            options(nostack),
        )
    };
}

/// clone(2), and the call of `then` in the child.
macro_rules! clone_by_registers {
    ($flags:ident, $stack:ident, [$parent_tid:ident, $child_tid:ident], $then:ident, $argument:ident => $result:ident) => {
        std::arch::asm!(
            "sc",
            "bns 1f",
            "neg 3, 3",
            "1:",
            "cmpdi 3, 0",
            "bne 2f",
            "li 0, 0",
            "stdu 0, -48(1)",
            "mr 3, 15",
            "mr 12, 16",
            "mtctr 12",
            "bctrl",
            ".long 0",
            "2:",
            inlateout("r0") libc::SYS_clone => _,
            inlateout("r3") $flags.cast_signed() => $result,
            inlateout("r4") $stack => _, inlateout("r5") $parent_tid => _, inlateout("r6") 0_usize => _,
            inlateout("r7") $child_tid => _,
            in("r15") $argument, in("r16") $then as usize,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _, lateout("r12") _,
            lateout("cr0") _, lateout("ctr") _, lateout("xer") _,
        )
    };
}

/// An instruction that is none.
macro_rules! trap_by_instruction {
    () => {
        std::arch::asm!(".long 0", options(noreturn, nomem, nostack))
    };
}

/// The call of `then` on another stack.
macro_rules! go_on_by_registers {
    ($stack:ident, $then:ident, $argument:ident) => {
        std::arch::asm!(
            "mr 1, 4",
            "li 0, 0",
            "stdu 0, -48(1)",
            "mtctr 12",
            "bctrl",
            ".long 0",
            in("r3") $argument, in("r4") $stack, in("r12") $then as usize,
            options(noreturn),
        )
    };
}
