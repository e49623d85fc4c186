//! System calls by registers only: no errno, no thread-local storage, no C library. For the last moments of
//! [`super::last`], when none of the program's own data is mapped any more.

#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of system calls are small"
)]

/// Makes one system call with up to five arguments, syscall(2). Returns the kernel's result: a negative errno, or
/// the value of the call.
///
/// # Safety
/// The arguments are what the call wants; addresses stay valid for as long as the kernel uses them.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result;
    // SAFETY: the caller's promise; the kernel overwrites rcx and r11 and no other register.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The version for aarch64.
///
/// # Safety
/// As on x86_64.
#[inline(always)]
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; the kernel overwrites x0 and no other register.
    unsafe {
        std::arch::asm!(
            "svc #0",
            in("x8") number as isize,
            inlateout("x0") a.cast_signed() => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack),
        );
    }
    result
}

/// `clone(flags, stack, parent_tid, child_tid, 0)`, clone(2), without CLONE_VM. The child runs `then(argument)` on
/// `stack`, and the caller gets the child's pid or a negative errno. `tids` are the addresses at which the kernel
/// stores the pid before the child runs: for CLONE_PARENT_SETTID as the caller sees it, in the caller's memory, and
/// for CLONE_CHILD_SETTID as the child sees it, in the child's.
///
/// # Safety
/// `stack` is the upper end, aligned to 16 bytes, of memory that the child has; `then` never returns and uses
/// nothing that the child has not; each of `tids` whose flag is set is room for an int.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone_onto(
    flags: usize,
    stack: usize,
    [parent_tid, child_tid]: [usize; 2],
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> isize {
    let result;
    // SAFETY: the caller's promise; in the child nothing of this function's frame is used, for the stack
    // pointer is another from its first instruction on, and it never comes to the end of the block.
    unsafe {
        std::arch::asm!(
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

/// The version for aarch64.
///
/// # Safety
/// As on x86_64.
#[inline(always)]
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone_onto(
    flags: usize,
    stack: usize,
    [parent_tid, child_tid]: [usize; 2],
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> isize {
    let result: isize;
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
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

/// Executes an instruction for which the kernel ends the process, whatever its filter and its handlers are
/// (signal(7)).
#[inline(always)]
pub(super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("ud2", options(noreturn, nomem, nostack))
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("brk #1", options(noreturn, nomem, nostack))
    }
}

/// Goes on with `then(argument)` on `stack`. The present stack is never used again.
///
/// # Safety
/// As for [`clone_onto`].
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn go_on(
    stack: usize,
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> ! {
    // SAFETY: the caller's promise; the block is left for good.
    unsafe {
        std::arch::asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "call {then}",
            "ud2",
            stack = in(reg) stack, then = in(reg) then as usize, in("rdi") argument,
            options(noreturn),
        )
    }
}

/// The version for aarch64.
///
/// # Safety
/// As on x86_64.
#[inline(always)]
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn go_on(
    stack: usize,
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> ! {
    // SAFETY: the caller's promise; the block is left for good.
    unsafe {
        std::arch::asm!(
            "mov sp, {stack}",
            "mov x29, xzr",
            "blr {then}",
            "brk #1",
            stack = in(reg) stack, then = in(reg) then as usize, in("x0") argument,
            options(noreturn),
        )
    }
}
