//! The last moments of a process before execve(2), when a container can already stop and trace it.
//!
//! A tracer makes the process call anything, and reads all its memory. So there is nothing to find. Of casulo only
//! the text and the constants are left, which anybody has who has the binary, and one *landing area* with the
//! process's arguments, environment and stack. Neither heap nor thread-local storage nor the caller's environment is
//! mapped, so the code here uses neither: it makes system calls by registers ([`super::raw`]), and uses numbers and
//! addresses within the area. Everything it reports is a [`Word`].
//!
//! [`super`] builds the area and leads there.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "arguments and results of system calls are registers here; a conversion that could panic has no place"
)]

mod hooks;

use super::area::{Area, GO, SET_PROCESSES, faults, wants};
use super::raw::{call, clone_onto, trap};
use super::top::lower;
use super::word::{Tells, Word};
use std::ptr::{addr_of, addr_of_mut};

/// Runs on the landing area, as the container's user, under its filter, and becomes the program. `area` is
/// the address of an [`Area`].
///
/// # Safety
/// All of the area is mapped, and this runs on its stack.
pub(super) unsafe extern "C" fn land(area: usize) -> ! {
    let area = std::ptr::with_exposed_provenance_mut::<Area>(area);
    // SAFETY: the caller's promise; nobody else has this memory.
    let it = unsafe { &mut *area };
    // SAFETY: these ranges hold nothing that is used from here on.
    unsafe { leave_all_behind(it) };
    if it.wants & wants::FILTER != 0 {
        // SAFETY: the program is in the area.
        unsafe { load_filter(it) };
    }
    if it.wants & wants::CAPABILITIES != 0 {
        let header = addr_of_mut!(it.capability_header).expose_provenance();
        let data = addr_of!(it.capabilities).expose_provenance();
        // SAFETY: both are laid out as capset(2) wants them.
        let result = unsafe { call(libc::SYS_capset, [header, data, 0, 0, 0]) };
        it.check(result, Tells::Capabilities);
    }
    if it.wants & wants::READY != 0 {
        it.tell(Tells::Ready, 0, 0);
    }
    let mut told = 0;
    if it.wants & (wants::READY | wants::WAIT) != 0 {
        told = it.wait();
    }
    it.fail_at(faults::HOOKS, Tells::HookClone);
    // SAFETY: the hooks are in the area.
    unsafe { hooks::run(it) };
    if it.wants & wants::PROCESSES != 0 && told == SET_PROCESSES {
        let limit = addr_of!(it.processes).expose_provenance();
        let resource = libc::RLIMIT_NPROC as usize;
        // SAFETY: two words, as prlimit64(2) reads them.
        let result = unsafe { call(libc::SYS_prlimit64, [0, resource, limit, 0, 0]) };
        it.check(result, Tells::Processes);
    }
    if it.wants & wants::SESSION != 0 {
        // SAFETY: no arguments.
        let result = unsafe { call(libc::SYS_setsid, [0; 5]) };
        it.check(result, Tells::Session);
    }
    if it.wants & wants::TERMINAL != 0 {
        // SAFETY: a request that takes a number.
        let result = unsafe { call(libc::SYS_ioctl, [0, libc::TIOCSCTTY as usize, 0, 0, 0]) };
        it.check(result, Tells::Terminal);
    }
    if it.wants & wants::WORKING_DIRECTORY != 0 {
        it.look_at_working_directory();
    }
    if !it.listen_pid.is_null() {
        // SAFETY: the builder left room for eleven digits and a NUL there.
        unsafe { write_number(it.listen_pid, it.pid.unsigned_abs()) };
    }
    if it.wants & wants::LIVING_READER != 0 {
        it.tell(Tells::Executes, 0, 0);
    }
    it.fail_at(faults::EXECUTE, Tells::Execute);
    let [path, arguments, environment] = [
        it.path.expose_provenance(),
        it.arguments.expose_provenance(),
        it.environment.expose_provenance(),
    ];
    // SAFETY: C strings and arrays of them that end in null, all in the area.
    let result = unsafe { call(libc::SYS_execve, [path, arguments, environment, 0, 0]) };
    it.fail(result, Tells::Execute)
}

impl Area {
    /// Writes one word, write(2). If its reader is gone, SIGPIPE ends this process, or this function does.
    fn tell(&self, what: Tells, value: isize, index: u32) {
        let word = Word {
            what: what as u32,
            value: value.unsigned_abs() as u32,
            index,
        };
        let address = addr_of!(word).expose_provenance();
        let fd = self.tell as usize;
        loop {
            // SAFETY: the word lives until the call returns.
            let result = unsafe { call(libc::SYS_write, [fd, address, Word::SIZE, 0, 0]) };
            if result == -(libc::EPIPE as isize) {
                leave(126);
            }
            if result != -(libc::EINTR as isize) {
                return;
            }
        }
    }

    fn check(&self, result: isize, what: Tells) {
        if result < 0 {
            self.fail(result, what);
        }
    }

    fn fail(&self, result: isize, what: Tells) -> ! {
        self.tell(what, result, 0);
        leave(127)
    }

    /// Waits for a byte that lets the process go on, and returns it. Other bytes mean nothing. At the end of file no
    /// process is left that could write one, so this one ends.
    fn wait(&self) -> u8 {
        let mut byte = 0_u8;
        let address = addr_of_mut!(byte).expose_provenance();
        loop {
            // SAFETY: one byte of a live variable.
            let result = unsafe { call(libc::SYS_read, [self.go as usize, address, 1, 0, 0]) };
            // SAFETY: the kernel may have written it.
            let told = unsafe { std::ptr::read_volatile(&raw const byte) };
            match result {
                1 if told == GO || told == SET_PROCESSES => return told,
                1 => {}
                result if result == -(libc::EINTR as isize) => {}
                _ => leave(126),
            }
        }
    }

    /// Fails if the working directory is deleted or outside the root. The kernel prefixes the path of a directory
    /// outside the root with "(unreachable)", and has no path for a deleted one (getcwd(2); CVE-2024-21626).
    fn look_at_working_directory(&mut self) {
        let size = self.buffer.len();
        let address = addr_of_mut!(self.buffer).expose_provenance();
        // SAFETY: the kernel writes at most `size` bytes of the buffer.
        let result = unsafe { call(libc::SYS_getcwd, [address, size, 0, 0, 0]) };
        self.check(result, Tells::WorkingDirectory);
        // SAFETY: the kernel has just written it.
        let first = unsafe { std::ptr::read_volatile(addr_of!(self.buffer).cast::<u8>()) };
        if first != b'/' {
            self.fail(-(libc::ENOENT as isize), Tells::WorkingDirectory);
        }
    }

    /// Test builds: does what `CASULO_FAULT` asks for at this place.
    fn fail_at(&self, place: u32, what: Tells) {
        let [at, how] = self.fault;
        if at != place {
            return;
        }
        if how == faults::KILL {
            leave(137);
        }
        if how == faults::STOP {
            loop {
                // SAFETY: waits; takes no memory.
                unsafe { call(libc::SYS_ppoll, [0; 5]) };
            }
        }
        self.fail(-(how as isize), what);
    }
}

/// Unmaps all listed ranges, munmap(2).
///
/// # Safety
/// Nothing in the ranges is used again.
unsafe fn leave_all_behind(it: &Area) {
    let mut at = addr_of!(it.unmap).cast::<[usize; 2]>();
    loop {
        // SAFETY: the list ends in zeros, within the array.
        let [from, to] = unsafe { *at };
        if to == 0 {
            return;
        }
        let mut to = to;
        // Past the end of what this processor addresses the kernel says EINVAL.
        // SAFETY: the caller's promise.
        while unsafe { call(libc::SYS_munmap, [from, to - from, 0, 0, 0]) }
            == -(libc::EINVAL as isize)
        {
            match lower(to) {
                Some(next) if next > from => to = next,
                _ => break,
            }
        }
        at = at.wrapping_add(1);
    }
}

/// Loads the filter, seccomp(2), and hands its listener to the parent. No call is made in between: the filter may
/// notify of any, and no process answers yet.
///
/// # Safety
/// The program is in the area.
unsafe fn load_filter(it: &mut Area) {
    const SET_MODE_FILTER: usize = 1;
    let program = addr_of!(it.filter).expose_provenance();
    let flags = it.filter_flags as usize;
    // SAFETY: `filter` is laid out as a sock_fprog, whose instructions are in the area.
    let result = unsafe { call(libc::SYS_seccomp, [SET_MODE_FILTER, flags, program, 0, 0]) };
    it.check(result, Tells::Filter);
    if it.wants & wants::LISTENER == 0 {
        if result != 0 {
            it.fail(-(libc::ESRCH as isize), Tells::Filter);
        }
        return;
    }
    // SAFETY: the parent and this process share the number.
    unsafe { hand_over(it.listener, result as i32) };
    // SAFETY: the listener is this process's own.
    unsafe { call(libc::SYS_close, [result.unsigned_abs(), 0, 0, 0, 0]) };
    if it.wants & wants::NOT_DUMPABLE != 0 {
        let option = libc::PR_SET_DUMPABLE as usize;
        // SAFETY: numbers alone.
        let result = unsafe { call(libc::SYS_prctl, [option, 0, 0, 0, 0]) };
        it.check(result, Tells::NotDumpable);
    }
}

/// Stores the number of a descriptor where the parent sees it, and waits without a system call until the parent has
/// taken it. The parent looks at once. If it is gone, this ends the process some ten seconds later.
///
/// # Safety
/// `shared` is an int in memory that the parent shares.
pub(super) unsafe fn hand_over(shared: *mut i32, fd: i32) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::write_volatile(shared, fd + 1) };
    for _ in 0..1_u32 << 30 {
        // SAFETY: the caller's promise.
        if unsafe { std::ptr::read_volatile(shared) } == 0 {
            return;
        }
        std::hint::spin_loop();
    }
    leave(126)
}

/// exit_group(2). It returns only if the container's filter asks an agent about it and the agent is gone.
fn leave(code: usize) -> ! {
    // SAFETY: ends the process; takes a number.
    unsafe { call(libc::SYS_exit_group, [code, 0, 0, 0, 0]) };
    trap()
}

/// Writes the digits of `number` and a NUL.
///
/// # Safety
/// There is room for eleven bytes.
unsafe fn write_number(to: *mut u8, number: u32) {
    let mut divisor = 1_000_000_000;
    let mut at = to;
    while divisor > 0 {
        let digit = (number / divisor % 10) as u8;
        if digit != 0 || at != to || divisor == 1 {
            // SAFETY: the caller's promise: ten digits at most.
            unsafe { std::ptr::write_volatile(at, b'0' + digit) };
            at = at.wrapping_add(1);
        }
        divisor /= 10;
    }
    // SAFETY: as above.
    unsafe { std::ptr::write_volatile(at, 0) };
}

/// Whether the process that takes a descriptor by pidfd_getfd(2) may trace the one that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// It has CAP_SYS_PTRACE in the user namespace in which this program was executed.
    MayTrace,
    /// It has not, so it may take a descriptor only from a dumpable process.
    MayNot,
}

/// The maker of a procfs context, born in another pid namespace. It opens a context there, waits until that was
/// taken, and ends. `name` is the address of `proc` and a NUL. Calls fsopen, nanosleep and exit_group.
///
/// # Safety
/// The area is mapped, and this runs on its stack.
unsafe extern "C" fn open_proc(name: usize) -> ! {
    // SAFETY: the caller's promise.
    unsafe { call(libc::SYS_fsopen, [name, 0, 0, 0, 0]) };
    wait_until_taken()
}

/// Does the same for a taker without CAP_SYS_PTRACE, and becomes dumpable for it, PR_SET_DUMPABLE(2const). Calls
/// prctl, too.
///
/// # Safety
/// As for [`open_proc`].
unsafe extern "C" fn open_proc_for_all(name: usize) -> ! {
    // SAFETY: the caller's promise.
    unsafe { call(libc::SYS_fsopen, [name, 0, 0, 0, 0]) };
    let dumpable = [libc::PR_SET_DUMPABLE as usize, 1, 0, 0, 0];
    // SAFETY: takes numbers.
    unsafe { call(libc::SYS_prctl, dumpable) };
    wait_until_taken()
}

fn wait_until_taken() -> ! {
    let life: [i64; 2] = [10, 0];
    // SAFETY: a timespec that lives until the call returns.
    unsafe {
        call(
            libc::SYS_nanosleep,
            [addr_of!(life).expose_provenance(), 0, 0, 0, 0],
        )
    };
    leave(0)
}

/// Makes a process as [`be_born`] does, which runs [`open_proc`] or [`open_proc_for_all`].
///
/// # Safety
/// `area` holds a name, and its stack's upper end is `stack`; `number` is room for an int.
pub(super) unsafe fn be_born_to_open_proc(
    area: usize,
    stack: usize,
    number: *mut i32,
    taker: Taker,
) -> isize {
    let flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID;
    let tids = [number.expose_provenance(), 0];
    let from = match taker {
        Taker::MayTrace => open_proc,
        Taker::MayNot => open_proc_for_all,
    };
    // SAFETY: the caller's promise; neither returns, and they use nothing but the area.
    unsafe { clone_onto(flags as usize, stack, tids, from, area) }
}

/// The handler for all signals that end other processes: it ends this one, which may be a process 1, for which the
/// kernel ignores signals without a handler. It works under any filter, and execve removes it.
pub(super) extern "C" fn end_by_signal(number: i32) {
    leave(128 + number.unsigned_abs() as usize)
}

/// The flags with which [`be_born`] clones.
pub(crate) const SIBLING: u64 =
    (libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID) as u64;

/// Makes a sibling of this process that goes on at `area`, on the area's stack: `clone(CLONE_PARENT |
/// CLONE_PARENT_SETTID | CLONE_CHILD_SETTID)`. The kernel stores its pid, as the parent sees it, at `number` before
/// it runs. Returns the pid, or a negative errno.
///
/// # Safety
/// `area` is an [`Area`] with its stack's upper end at `stack`; `number` is room for an int.
pub(super) unsafe fn be_born(area: *mut Area, stack: usize, number: *mut i32) -> isize {
    // SAFETY: the area is the caller's, and nobody else has it.
    let pid = unsafe { addr_of_mut!((*area).pid) };
    let tids = [number.expose_provenance(), pid.expose_provenance()];
    let area = area.expose_provenance();
    // SAFETY: the caller's promise; `land` never returns and uses nothing but the area.
    unsafe { clone_onto(SIBLING as usize, stack, tids, land, area) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_digits() {
        for number in [1_u32, 7, 10, 4_194_304, 1_000_000_000, u32::MAX] {
            let mut room = [b'x'; 12];
            // SAFETY: room for eleven bytes.
            unsafe { write_number(room.as_mut_ptr(), number) };
            let text = std::ffi::CStr::from_bytes_until_nul(&room).expect("a NUL");
            assert_eq!(text.to_str(), Ok(number.to_string().as_str()));
        }
    }
}
