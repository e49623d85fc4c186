//! x86_64: the number in rax, arguments in rdi, rsi, rdx, r10 and r8, the result in rax.

use std::arch::asm;

/// One system call: [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; the kernel overwrites rcx and r11 and no other register.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// clone(2): [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn clone_onto(
    flags: usize,
    stack: usize,
    [parent_tid, child_tid]: [usize; 2],
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> isize {
    let result: isize;
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags, in("rsi") stack, in("rdx") parent_tid, in("r10") child_tid, in("r8") 0_usize,
            in("r12") argument, in("r13") then as usize,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// An illegal instruction: [`super`].
#[inline(always)]
pub(in super::super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    unsafe { asm!("ud2", options(noreturn, nomem, nostack)) }
}

/// Another stack: [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn go_on(
    stack: usize,
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> ! {
    // SAFETY: the caller's promise; the block is left for good.
    unsafe {
        asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "call {then}",
            "ud2",
            stack = in(reg) stack, then = in(reg) then as usize, in("rdi") argument,
            options(noreturn),
        )
    }
}
