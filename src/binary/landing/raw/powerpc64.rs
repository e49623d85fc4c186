//! powerpc64le: the number in r0, arguments in r3 to r7, the result in r3, with a bit of cr0 set where it is an errno. The
//! thread pointer comes before the child's tid. A function gets its own address in r12, and 32 bytes above the stack
//! pointer that it may write to.

use std::arch::asm;

/// One system call: [`super`].
///
/// # Safety
/// [`super`]
#[inline(always)]
pub(in super::super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; what the kernel may overwrite is listed.
    unsafe {
        asm!(
            "sc",
            "bns 1f",
            "neg 3, 3",
            "1:",
            inlateout("r0") number => _,
            inlateout("r3") a.cast_signed() => result,
            inlateout("r4") b => _, inlateout("r5") c => _, inlateout("r6") d => _, inlateout("r7") e => _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _, lateout("r12") _,
            lateout("cr0") _, lateout("ctr") _, lateout("xer") _,
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
            inlateout("r3") flags.cast_signed() => result,
            inlateout("r4") stack => _, inlateout("r5") parent_tid => _, inlateout("r6") 0_usize => _,
            inlateout("r7") child_tid => _,
            in("r15") argument, in("r16") then as usize,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _, lateout("r12") _,
            lateout("cr0") _, lateout("ctr") _, lateout("xer") _,
        );
    }
    result
}

/// An illegal instruction: [`super`].
#[inline(always)]
pub(in super::super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    unsafe { asm!(".long 0", options(noreturn, nomem, nostack)) }
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
            "mr 1, 4",
            "li 0, 0",
            "stdu 0, -48(1)",
            "mtctr 12",
            "bctrl",
            ".long 0",
            in("r3") argument, in("r4") stack, in("r12") then as usize,
            options(noreturn),
        )
    }
}
