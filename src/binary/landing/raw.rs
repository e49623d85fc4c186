//! System calls by registers alone: no errno, no thread-local storage, no C library. For the last moments of
//! [`super::last`], when nothing of the program's own data is mapped any more. The instructions are each machine's own
//! (`raw/`).

#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of system calls are small"
)]

#[macro_use]
#[cfg_attr(target_arch = "x86_64", path = "raw/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "raw/aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "raw/riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "raw/s390x.rs")]
#[cfg_attr(target_arch = "powerpc64", path = "raw/powerpc64.rs")]
#[cfg_attr(target_arch = "arm", path = "raw/arm.rs")]
mod machine;

/// One system call with up to five arguments, syscall(2). The result is a negative errno, or what the call returns.
///
/// # Safety
/// The arguments are what the call wants; addresses stay valid for as long as the kernel uses them.
#[inline(always)]
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    let result: isize;
    // SAFETY: the caller's promise; the machine's list of registers has all that the kernel overwrites.
    unsafe { call_by_registers!(number, [a, b, c, d, e] => result) };
    result
}

/// `clone(flags, stack, parent_tid, child_tid, 0)`, clone(2), without CLONE_VM: the child runs `then(argument)` on
/// `stack`, and the caller gets the child's pid or a negative errno. `tids` are where the kernel stores the pid before
/// the child runs for the first time: for CLONE_PARENT_SETTID as the caller sees it, in the caller's memory, and for
/// CLONE_CHILD_SETTID as the child sees it, in the child's.
///
/// # Safety
/// `stack` is the upper end, aligned to 16 bytes, of memory that the child has; `then` never returns and uses nothing
/// that the child has not; each of `tids` whose flag is set is room for an int.
#[inline(always)]
pub(super) unsafe fn clone_onto(
    flags: usize,
    stack: usize,
    [parent_tid, child_tid]: [usize; 2],
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> isize {
    let result: isize;
    // SAFETY: the caller's promise; in the child nothing of this function's frame is used, for the stack pointer is
    // another from its first instruction on, and it never comes to the end of the block.
    unsafe {
        clone_by_registers!(flags, stack, [parent_tid, child_tid], then, argument => result);
    }
    result
}

/// An instruction for which the kernel ends the process, whatever its filter says and its handlers are (signal(7)).
#[inline(always)]
pub(super) fn trap() -> ! {
    // SAFETY: the block is left for good.
    unsafe { trap_by_instruction!() }
}

/// Goes on with `then(argument)` on `stack`; what is on the present one is never used again.
///
/// # Safety
/// As for [`clone_onto`].
#[inline(always)]
pub(super) unsafe fn go_on(
    stack: usize,
    then: unsafe extern "C" fn(usize) -> !,
    argument: usize,
) -> ! {
    // SAFETY: the caller's promise; the block is left for good.
    unsafe { go_on_by_registers!(stack, then, argument) }
}
