//! aarch64: the number in x8, arguments in x0 to x4, the result in x0. The thread pointer comes before the child's tid.

use std::arch::asm;

/// One system call: [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; the kernel overwrites x0 and no other register.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number as isize,
            inlateout("x0") a.cast_signed() => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
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
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x22",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone as isize,
            inlateout("x0") flags.cast_signed() => result,
            in("x1") stack, in("x2") parent_tid, in("x3") 0_usize, in("x4") child_tid,
            in("x21") argument, in("x22") then as usize,
        );
    }
    result
}

/// An illegal instruction: [`super`].
#[inline(always)]
pub(in super::super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    unsafe { asm!("brk #1", options(noreturn, nomem, nostack)) }
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
            "mov sp, {stack}",
            "mov x29, xzr",
            "blr {then}",
            "brk #1",
            stack = in(reg) stack, then = in(reg) then as usize, in("x0") argument,
            options(noreturn),
        )
    }
}
