//! System calls by registers alone: no errno, no thread-local storage, no C library. For the last moments of
//! [`super::last`], when nothing of the program's own data is mapped any more. Each machine has four functions.
//!
//! ```text
//! unsafe fn call(number, arguments) -> isize
//! ```
//! One system call with up to five arguments, syscall(2). The result is a negative errno, or what the call returns.
//! Safety: the arguments are what the call wants; addresses stay valid for as long as the kernel uses them.
//!
//! ```text
//! unsafe fn clone_onto(flags, stack, tids, then, argument) -> isize
//! ```
//! `clone(flags, stack, parent_tid, child_tid, 0)`, clone(2), without CLONE_VM: the child runs `then(argument)` on
//! `stack`, and the caller gets the child's pid or a negative errno. `tids` are where the kernel stores the pid before
//! the child runs for the first time: for CLONE_PARENT_SETTID as the caller sees it, in the caller's memory, and for
//! CLONE_CHILD_SETTID as the child sees it, in the child's.
//! Safety: `stack` is the upper end, aligned to 16 bytes, of memory that the child has; `then` never returns and uses
//! nothing that the child has not; each of `tids` whose flag is set is room for an int. In the child nothing of the
//! calling function's frame is used: the stack pointer is another from its first instruction on, and it never comes to
//! the end of the block.
//!
//! ```text
//! fn trap() -> !
//! ```
//! An instruction for which the kernel ends the process, whatever its filter says and its handlers are (signal(7)).
//!
//! ```text
//! unsafe fn go_on(stack, then, argument) -> !
//! ```
//! Goes on with `then(argument)` on `stack`; what is on the present one is never used again. Safety: as for
//! `clone_onto`.

#![allow(
    clippy::cast_possible_truncation,
    reason = "numbers of system calls are small"
)]

#[cfg_attr(target_arch = "x86_64", path = "raw/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "raw/aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "raw/riscv64.rs")]
#[cfg_attr(target_arch = "s390x", path = "raw/s390x.rs")]
#[cfg_attr(target_arch = "powerpc64", path = "raw/powerpc64.rs")]
#[cfg_attr(target_arch = "arm", path = "raw/arm.rs")]
mod machine;

pub(super) use machine::{call, clone_onto, go_on, trap};
