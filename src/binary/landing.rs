//! The landing area of [`last`]: one mapping that holds all memory of a last process, and the two ways onto it.
//! This process itself goes there ([`Landing::land`]), or a sibling is born there ([`Landing::bear`]).
//!
//! Either way only the program's text and constants come along of this process's other memory. Anybody who has the
//! binary has these.

mod area;
mod last;
mod raw;
mod top;
mod wanted;
mod word;

use super::remap;
use super::shared::Shared;
use crate::defence::{Defence, without};
use crate::sys::{capability, signal};
use area::{Area, Hook, Program, wants};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::unistd::{Pid, getpid};
use raw::go_on;
use std::ffi::{CStr, CString, c_void};
use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::ptr::{NonNull, null, null_mut};
use top::TOP;

pub(crate) use area::{GO, SET_PROCESSES};
pub(crate) use last::{SIBLING, Taker};
pub(crate) use wanted::{
    Confinement, Dumpable, Fault, Last, LastHook, ListenPid, Session, Wait, WorkingDirectory,
};
#[cfg(feature = "testing")]
pub(crate) use wanted::{FaultKind, FaultPlace};
pub(crate) use word::{Tells, Told, Word};

/// The size of the stack at the upper end of an area, in bytes.
const STACK: usize = 16 * 1024;

/// A landing area that is ready for its process.
#[derive(Debug)]
pub(crate) struct Landing {
    area: NonNull<Area>,
    size: usize,
    used: usize,
}

impl Landing {
    /// Maps an area and copies `last` and `confinement` there, with everything that belongs to them.
    ///
    /// # Errors
    /// ENOMEM; EINVAL for a filter that is too long, or for a `first_closed` that is no descriptor's number.
    pub(crate) fn new(last: &Last<'_>, confinement: &Confinement<'_>) -> nix::Result<Landing> {
        let mut landing = Landing::map(size_of_all(last, confinement))?;
        let hooks = landing.hooks(last.hooks);
        let mut wanted = match last.wait {
            Wait::Announced => wants::READY,
            Wait::Silent => wants::WAIT,
        };
        wanted |= match last.session {
            Session::Present => 0,
            Session::New => wants::SESSION | wants::LIVING_READER,
            Session::NewWithTerminal => wants::SESSION | wants::TERMINAL | wants::LIVING_READER,
        };
        if last.working_directory == WorkingDirectory::VerifyAgain {
            wanted |= wants::WORKING_DIRECTORY;
        }
        if last.processes.is_some() {
            wanted |= wants::PROCESSES;
        }
        let processes = last.processes.unwrap_or_default();
        let (environment, listen_pid) = landing.environment(last);
        let (filter, filter_flags) = match confinement.filter {
            None => (&[][..], 0),
            Some(it) => it,
        };
        if confinement.filter.is_some() {
            wanted |= wants::FILTER;
        }
        if confinement.listener.is_some() {
            wanted |= wants::LISTENER;
        }
        if confinement.dumpable == Dumpable::UntilListenerIsTaken {
            wanted |= wants::NOT_DUMPABLE;
        }
        if confinement.capabilities.is_some() {
            wanted |= wants::CAPABILITIES;
        }
        let [effective, permitted, inheritable] = confinement.capabilities.unwrap_or_default();
        let area = Area {
            wants: wanted,
            go: last.go,
            tell: last.tell,
            pid: getpid().as_raw(),
            unmap: [[0; 2]; 8],
            filter: Program {
                length: u16::try_from(filter.len()).or(Err(Errno::EINVAL))?,
                instructions: landing.put(filter),
            },
            filter_flags,
            listener: confinement
                .listener
                .map_or(null_mut(), Shared::listener_address),
            capability_header: capability::header(),
            capabilities: capability::data(effective, permitted, inheritable),
            processes: [processes.soft, processes.hard],
            hooks: landing.put(&hooks),
            hook_count: hooks.len(),
            hook_stdout: last.hook_stdout.unwrap_or(-1),
            hook_stderr: last.hook_stderr.unwrap_or(-1),
            first_closed: i32::try_from(last.first_closed).or(Err(Errno::EINVAL))?,
            path: landing.text(last.path),
            arguments: landing.texts(last.arguments),
            environment,
            listen_pid,
            fault: last.fault.map_or([0; 2], Fault::as_numbers),
            buffer: [0; 4096],
        };
        // SAFETY: the mapping begins with room for an Area and is aligned to a page.
        unsafe { landing.area.write(area) };
        Ok(landing)
    }

    /// Goes on at the area, in this process: unmaps everything else (except `keep`), loads the filter, and in the
    /// end executes the program. Descriptors that are still owned here stay open until then.
    pub(crate) fn land(self, keep: Option<&'static Shared>) -> ! {
        let mut kept = self.kept();
        kept.extend(keep.map(Shared::range));
        let mut list = [[0; 2]; 8];
        let gone = beside(kept);
        let gone = gone.iter().filter(|_| !without(Defence::NotForked));
        for (to, from) in list.iter_mut().zip(gone) {
            *to = *from;
        }
        // SAFETY: the area is this value's own.
        unsafe { (*self.area.as_ptr()).unmap = list };
        let area = self.area.as_ptr().expose_provenance();
        // SAFETY: the stack is the upper part of the mapping; `land` uses the area alone.
        unsafe { go_on(self.top(), last::land, area) }
    }

    /// Makes a sibling of this process at the area, in the pid namespace of this process's children. The kernel
    /// stores its pid, as the parent of both sees it, in `shared` before the sibling runs. Call
    /// [`Landing::leave_the_rest`] before: it marks the memory of this process that must not come along.
    ///
    /// # Errors
    /// EAGAIN past a limit on processes, ENOMEM; any errno that a filter gives clone(2).
    pub(crate) fn bear(&self, shared: &'static Shared) -> nix::Result<()> {
        // SAFETY: the area is ready, its stack is free, and `shared` lives for ever.
        let pid = unsafe { last::be_born(self.area.as_ptr(), self.top(), shared.pid_address()) };
        born_or_errno(pid)
    }

    /// Marks everything except the text, the constants and the area as not to be copied by a clone:
    /// `madvise(MADV_DONTFORK)`, madvise(2). Memory that is mapped afterwards would come along.
    ///
    /// # Errors
    /// The errno of madvise(2), except ENOMEM.
    pub(crate) fn leave_the_rest(&self) -> nix::Result<()> {
        for [from, to] in beside(self.kept()) {
            // SAFETY: advice about forking changes nothing for this process.
            let result = unsafe {
                libc::madvise(
                    std::ptr::with_exposed_provenance_mut(from),
                    to - from,
                    libc::MADV_DONTFORK,
                )
            };
            // ENOMEM: the range has holes, or is more than this processor addresses.
            match Errno::result(result) {
                Ok(_) | Err(Errno::ENOMEM) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn kept(&self) -> Vec<[usize; 2]> {
        let from = self.area.as_ptr().addr();
        let mut kept = remap::constant_ranges();
        kept.push([from, from + self.size]);
        kept
    }

    fn top(&self) -> usize {
        self.area.as_ptr().expose_provenance() + self.size
    }

    fn map(size: usize) -> nix::Result<Landing> {
        let size = (size + STACK).next_multiple_of(4096);
        let length = NonZeroUsize::new(size).ok_or(Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let memory: NonNull<c_void> =
            unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE) }?;
        Ok(Landing {
            area: memory.cast(),
            size,
            used: size_of::<Area>().next_multiple_of(16),
        })
    }

    /// Copies `items` into the area and returns their address there.
    fn put<T: Copy>(&mut self, items: &[T]) -> *const T {
        let begin = self.used.next_multiple_of(align_of::<T>());
        self.used = begin + size_of_val(items);
        assert!(
            self.used + STACK <= self.size,
            "the area was measured by size_of_all"
        );
        let to = self.area.cast::<u8>().as_ptr().wrapping_add(begin).cast();
        // SAFETY: the mapping has room from `begin` on, aligned for T, and nobody else has it.
        unsafe { std::ptr::copy_nonoverlapping(items.as_ptr(), to, items.len()) };
        to
    }

    fn text(&mut self, text: &CStr) -> *const u8 {
        self.put(text.to_bytes_with_nul())
    }

    fn texts(&mut self, texts: &[CString]) -> *const *const u8 {
        let mut list: Vec<*const u8> = texts.iter().map(|it| self.text(it)).collect();
        list.push(null());
        self.put(&list)
    }

    fn environment(&mut self, last: &Last<'_>) -> (*const *const u8, *mut u8) {
        if last.listen_pid == ListenPid::AsGiven {
            return (self.texts(last.environment), null_mut());
        }
        const ENTRY: &[u8; 23] = b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0\0";
        let mut list: Vec<*const u8> = last.environment.iter().map(|it| self.text(it)).collect();
        let entry = self.put(ENTRY.as_slice());
        list.extend([entry, null()]);
        let number = entry.cast_mut().wrapping_add(b"LISTEN_PID=".len());
        (self.put(&list), number)
    }

    fn hooks(&mut self, hooks: &[LastHook<'_>]) -> Vec<Hook> {
        let hook = |it: &LastHook<'_>| Hook {
            path: self.text(it.path),
            arguments: self.texts(it.arguments),
            environment: self.texts(it.environment),
            stdin: it.stdin,
        };
        hooks.iter().map(hook).collect()
    }
}

/// A landing area with only a word and a stack, for the process that makes a procfs context (`last::open_proc`).
#[derive(Debug)]
pub(crate) struct MakerLanding(Landing);

impl MakerLanding {
    /// Maps the area.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> nix::Result<MakerLanding> {
        let mut landing = Landing::map(size_of::<Area>() + 64)?;
        landing.used = 0;
        landing.text(c"proc");
        Ok(MakerLanding(landing))
    }

    /// Marks the rest of this process's memory as [`Landing::leave_the_rest`] does.
    ///
    /// # Errors
    /// Those of [`Landing::leave_the_rest`].
    pub(crate) fn leave_the_rest(&self) -> nix::Result<()> {
        self.0.leave_the_rest()
    }

    /// Makes a sibling of this process at the area, as [`Landing::bear`] does, which opens a procfs context for
    /// `taker`.
    ///
    /// # Errors
    /// Those of [`Landing::bear`].
    pub(crate) fn bear(&self, shared: &'static Shared, taker: Taker) -> nix::Result<()> {
        let area = self.0.area.as_ptr().expose_provenance();
        // SAFETY: the area is ready, its stack is free, and `shared` lives for ever.
        let pid =
            unsafe { last::be_born_to_open_proc(area, self.0.top(), shared.pid_address(), taker) };
        born_or_errno(pid)
    }
}

fn born_or_errno(pid: isize) -> nix::Result<()> {
    match pid {
        1.. => Ok(()),
        errno => Err(Errno::from_raw(i32::try_from(-errno).unwrap_or(libc::EIO))),
    }
}

/// Returns an upper bound of the bytes that [`Landing::new`] puts into the area.
fn size_of_all(last: &Last<'_>, confinement: &Confinement<'_>) -> usize {
    let text = |it: &CString| it.as_bytes_with_nul().len() + size_of::<*const u8>();
    let texts = |list: &[CString]| list.iter().map(text).sum::<usize>() + 64;
    let hook = |it: &LastHook<'_>| {
        let path = it.path.to_bytes_with_nul().len();
        size_of::<Hook>() + path + texts(it.arguments) + texts(it.environment) + 64
    };
    let filter = confinement.filter.map_or(0, |(it, _)| size_of_val(it));
    size_of::<Area>()
        + last.path.to_bytes_with_nul().len()
        + texts(last.arguments)
        + texts(last.environment)
        + last.hooks.iter().map(hook).sum::<usize>()
        + filter
        + 256
}

/// Returns the ranges between those of `kept`, from the second page to [`TOP`].
fn beside(mut kept: Vec<[usize; 2]>) -> Vec<[usize; 2]> {
    kept.sort_unstable();
    let mut ranges = Vec::new();
    let mut from = 4096;
    for [begin, end] in kept {
        if from < begin {
            ranges.push([from, begin]);
        }
        from = from.max(end);
    }
    ranges.push([from, TOP]);
    ranges
}

/// Stores the number of the descriptor `fd` where the parent sees it, and waits without a system call until the
/// parent has taken it. For a process that may already be under a filter that notifies of every call.
pub(crate) fn hand_over(shared: &'static Shared, fd: RawFd) {
    // SAFETY: `shared` lives for ever.
    unsafe { last::hand_over(shared.listener_address(), fd) };
}

/// Lets every signal that ends other processes end this one too. The kernel ignores signals without a handler for
/// the first process of a pid namespace (pid_namespaces(7)), so this sets handlers. execve(2) removes them.
///
/// # Errors
/// None that rt_sigaction(2) knows of for these signals.
pub(crate) fn end_by_signals() -> nix::Result<()> {
    const IGNORED: [i32; 4] = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];
    const STOPPING: [i32; 5] = [
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGKILL,
    ];
    let ends = |number: &i32| !IGNORED.contains(number) && !STOPPING.contains(number);
    (1..=64)
        .filter(ends)
        .try_for_each(|number| signal::set_handler(number, last::end_by_signal))
}

/// Returns the pid that [`Landing::bear`] left, as the parent sees it; None if no process was born.
#[must_use]
pub(crate) fn born(shared: &'static Shared) -> Option<Pid> {
    Some(shared.pid()).filter(|pid| *pid > 0).map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_what_is_kept_lies_beside() {
        assert_eq!(
            beside(vec![[0x9000, 0xa000], [0x2000, 0x3000], [0x3000, 0x4000]]),
            [[0x1000, 0x2000], [0x4000, 0x9000], [0xa000, TOP]]
        );
        assert_eq!(beside(vec![[0x1000, 0x2000]]), [[0x2000, TOP]]);
    }
}
