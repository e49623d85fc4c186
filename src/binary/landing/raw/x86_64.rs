//! x86_64: the number in rax, arguments in rdi, rsi, rdx, r10 and r8, the result in rax.

/// One system call.
macro_rules! call_by_registers {
    ($number:ident, [$a:ident, $b:ident, $c:ident, $d:ident, $e:ident] => $result:ident) => {
        std::arch::asm!(
            "syscall",
            inlateout("rax") $number as isize => $result,
            in("rdi") $a, in("rsi") $b, in("rdx") $c, in("r10") $d, in("r8") $e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        )
    };
}

/// clone(2), and the call of `then` in the child.
macro_rules! clone_by_registers {
    ($flags:ident, $stack:ident, [$parent_tid:ident, $child_tid:ident], $then:ident, $argument:ident => $result:ident) => {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => $result,
            in("rdi") $flags, in("rsi") $stack, in("rdx") $parent_tid, in("r10") $child_tid, in("r8") 0_usize,
            in("r12") $argument, in("r13") $then as usize,
            lateout("rcx") _, lateout("r11") _,
        )
    };
}

/// An instruction that is none.
macro_rules! trap_by_instruction {
    () => {
        std::arch::asm!("ud2", options(noreturn, nomem, nostack))
    };
}

/// The call of `then` on another stack.
macro_rules! go_on_by_registers {
    ($stack:ident, $then:ident, $argument:ident) => {
        std::arch::asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "call {then}",
            "ud2",
            stack = in(reg) $stack, then = in(reg) $then as usize, in("rdi") $argument,
            options(noreturn),
        )
    };
}
