//! riscv64: the number in a7, arguments in a0 to a4, the result in a0. The thread pointer comes before the child's tid.

use std::arch::asm;

/// One system call: [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; the kernel overwrites a0 and no other register.
    unsafe {
        asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") a.cast_signed() => result,
            in("a1") b, in("a2") c, in("a3") d, in("a4") e,
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
            "ecall",
            "bnez a0, 2f",
            "mv s0, zero",
            "mv a0, s2",
            "jalr s3",
            "unimp",
            "2:",
            in("a7") libc::SYS_clone,
            inlateout("a0") flags.cast_signed() => result,
            in("a1") stack, in("a2") parent_tid, in("a3") 0_usize, in("a4") child_tid,
            in("s2") argument, in("s3") then as usize,
        );
    }
    result
}

/// An illegal instruction: [`super`].
#[inline(always)]
pub(in super::super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    unsafe { asm!("unimp", options(noreturn, nomem, nostack)) }
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
            "mv sp, {stack}",
            "mv s0, zero",
            "jalr {then}",
            "unimp",
            stack = in(reg) stack, then = in(reg) then as usize, in("a0") argument,
            options(noreturn),
        )
    }
}
