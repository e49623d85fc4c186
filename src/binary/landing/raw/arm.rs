//! arm: the number in r7, which the compiler may need for itself, arguments in r0 to r4, the result in r0. The thread pointer
//! comes before the child's tid.

use std::arch::asm;

/// One system call: [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; the kernel overwrites r0 and no other register.
    unsafe {
        asm!(
            "mov {kept}, r7",
            "mov r7, {number}",
            "svc #0",
            "mov r7, {kept}",
            kept = out(reg) _, number = in(reg) number,
            inlateout("r0") a.cast_signed() => result,
            in("r1") b, in("r2") c, in("r3") d, in("r4") e,
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
            argument = in(reg) argument, then = in(reg) then as usize,
            inlateout("r0") flags.cast_signed() => result,
            in("r1") stack, in("r2") parent_tid, in("r3") 0_usize, in("r4") child_tid,
        );
    }
    result
}

/// An illegal instruction: [`super`].
#[inline(always)]
pub(in super::super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    unsafe { asm!("udf #0", options(noreturn, nomem, nostack)) }
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
            "blx {then}",
            "udf #0",
            stack = in(reg) stack, then = in(reg) then as usize, in("r0") argument,
            options(noreturn),
        )
    }
}
