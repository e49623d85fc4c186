//! s390x: the number in r1, arguments in r2 to r6, the result in r2. clone(2) takes the stack first. A function may write to
//! the 160 bytes above the stack pointer that it gets.

use std::arch::asm;

/// One system call: [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; the kernel overwrites r2 and no other register.
    unsafe {
        asm!(
            "svc 0",
            in("r1") number,
            inlateout("r2") a.cast_signed() => result,
            in("r3") b, in("r4") c, in("r5") d, in("r6") e,
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
            "svc 0",
            "ltgr %r2, %r2",
            "jnz 2f",
            "aghi %r15, -160",
            "lgr %r2, %r8",
            "basr %r14, %r9",
            ".short 0",
            "2:",
            in("r1") libc::SYS_clone,
            inlateout("r2") stack.cast_signed() => result,
            in("r3") flags, in("r4") parent_tid, in("r5") child_tid, in("r6") 0_usize,
            in("r8") argument, in("r9") then as usize,
        );
    }
    result
}

/// An illegal instruction: [`super`].
#[inline(always)]
pub(in super::super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    unsafe { asm!(".short 0", options(noreturn, nomem, nostack)) }
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
            "lgr %r15, %r3",
            "aghi %r15, -160",
            "basr %r14, %r4",
            ".short 0",
            in("r2") argument, in("r3") stack, in("r4") then as usize,
            options(noreturn),
        )
    }
}
