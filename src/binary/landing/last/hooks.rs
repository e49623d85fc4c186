//! startContainer hooks, run by a last process under its filter. Calls clone, wait4, close, dup, execve, write and
//! exit_group.

use super::super::area::{Area, Hook};
use super::super::raw::call;
use super::super::word::Tells;
use super::leave;
use std::ptr::addr_of_mut;

/// The number that stands for no descriptor: the hook keeps the process's own stream.
const CLOSED: i32 = -1;

/// Runs the startContainer hooks, one after another.
///
/// # Safety
/// They are in the area.
pub(super) unsafe fn run(it: &Area) {
    for index in 0..it.hook_count {
        // SAFETY: there are so many.
        let hook = unsafe { &*it.hooks.wrapping_add(index) };
        let index = index as u32;
        it.tell(Tells::HookBegins, 0, index);
        // SAFETY: as fork(2): a copy of everything, this stack too.
        let pid = unsafe { call(libc::SYS_clone, [libc::SIGCHLD as usize, 0, 0, 0, 0]) };
        if pid == 0 {
            // SAFETY: this is the child.
            unsafe { become_hook(it, hook, index) };
        }
        if pid < 0 {
            it.tell(Tells::HookClone, pid, index);
            leave(127);
        }
        let mut status = 0_u32;
        let address = addr_of_mut!(status).expose_provenance();
        loop {
            // SAFETY: the kernel fills a live int.
            let result = unsafe { call(libc::SYS_wait4, [pid.unsigned_abs(), address, 0, 0, 0]) };
            if result != -(libc::EINTR as isize) {
                break;
            }
        }
        // SAFETY: the kernel may have written it.
        let status = unsafe { std::ptr::read_volatile(&raw const status) };
        if status != 0 {
            it.tell(Tells::HookEnded, (status & 0xffff) as isize, index);
            leave(127);
        }
    }
}

/// The child: sets its three streams and calls execve. Calls close, dup, execve, and after a failure write and
/// exit_group.
///
/// # Safety
/// The hook is in the area, and this process is there for it alone.
unsafe fn become_hook(it: &Area, hook: &Hook, index: u32) -> ! {
    for (number, from) in [hook.stdin, it.hook_stdout, it.hook_stderr]
        .into_iter()
        .enumerate()
    {
        if from != CLOSED {
            // dup(2) takes the lowest free number, and those below are open.
            // SAFETY: a number alone.
            unsafe { call(libc::SYS_close, [number, 0, 0, 0, 0]) };
            // SAFETY: a number alone.
            unsafe { call(libc::SYS_dup, [from as usize, 0, 0, 0, 0]) };
        }
    }
    let mut fd = 3;
    while fd < it.first_closed {
        // SAFETY: what the caller wants the container to have is none of a hook's business.
        unsafe { call(libc::SYS_close, [fd as usize, 0, 0, 0, 0]) };
        fd += 1;
    }
    let [path, arguments, environment] = [
        hook.path.expose_provenance(),
        hook.arguments.expose_provenance(),
        hook.environment.expose_provenance(),
    ];
    // SAFETY: C strings and arrays of them that end in null, all in the area.
    let result = unsafe { call(libc::SYS_execve, [path, arguments, environment, 0, 0]) };
    it.tell(Tells::HookExecute, result, index);
    leave(127)
}
