//! `main` as the C library calls it: what casulo does before the function of [`crate::entry`], in place of the
//! standard library's start-up.
//!
//! The standard library would give the process a second stack with a guard page and two signal handlers, to report a
//! stack overflow. That takes nine system calls and three mappings each time casulo starts (docs/performance.md).
//! Without them an overflow is a SIGSEGV.

use crate::sys::child::leave;
use crate::sys::rlimit::{self, Limit};
use crate::sys::signal;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);
/// casulo makes files readable by all and writable by their owner unless it says otherwise, whatever its caller's umask
/// is.
const UMASK: Mode = Mode::from_bits_truncate(0o022);

/// The size of stack that casulo relies on, in bytes: the soft limit that Linux sets by default.
const STACK: u64 = 8 << 20;

/// The limits that casulo raises for itself, up to the hard limit. A container with many mounts takes many
/// descriptors. The kernel checks the limit of the stack whenever it grows.
static RAISED: [Raised; 2] = [
    Raised::none(libc::RLIMIT_NOFILE as u32, u64::MAX),
    Raised::none(libc::RLIMIT_STACK as u32, STACK),
];

/// A limit that is raised, with the caller's values.
struct Raised {
    resource: u32,
    wanted: u64,
    /// The caller's soft limit. It is [`u64::MAX`], which cannot be raised, if the limit was left alone or has been
    /// given back.
    soft: AtomicU64,
    hard: AtomicU64,
}

static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// Makes `fn($arguments: Vec<OsString>) -> u8` the program. The function gets the arguments without the program's
/// name and returns the exit code. For a binary with `#![no_main]`.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        /// Called by the C library.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(
            count: ::std::ffi::c_int,
            arguments: *const *const ::std::ffi::c_char,
        ) -> ! {
            // SAFETY: the C library calls it, with what it gives to a main.
            unsafe { $crate::start(count, arguments, $run) }
        }
    };
}

/// The body of the `main` that [`crate::entry`] makes.
///
/// # Safety
/// `arguments` are `count` pointers to C strings that live as long as the process, and then a null pointer, as the C
/// library gives them to `main`.
#[doc(hidden)]
pub unsafe fn run(
    count: c_int,
    arguments: *const *const c_char,
    program: impl FnOnce(Vec<OsString>) -> u8,
) -> ! {
    COUNT.store(usize::try_from(count).expect("argc"), Ordering::Relaxed);
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
    open_closed_streams();
    // A reader that has gone away is then an error of write(2), and does not kill casulo between two steps.
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let words = words().skip(1).collect();
    // No function is registered for exit(3), and what was printed was flushed.
    leave(c_int::from(program(words)))
}

/// Brings the inherited state of the process into the form that casulo relies on: a umask of 022, no blocked signal,
/// room for descriptors and stack, and the default disposition of SIGCHLD and SIGTERM. A caller that ignores SIGCHLD
/// would leave casulo no child to wait for, and one that ignores SIGTERM no way to end it. SIGHUP and SIGINT stay as
/// they are, for nohup(1) and for shells that start casulo in the background.
///
/// Parent, once, when it is not going to start itself again. The child gets the umask, dispositions and signal mask
/// of its own plan, and the caller's limits by [`restore_limits`].
pub(crate) fn normalise() {
    umask(UMASK);
    for number in [libc::SIGCHLD, libc::SIGTERM] {
        // The kernel refuses this only for SIGKILL and SIGSTOP.
        let _ = signal::set_default(number);
    }
    // The kernel refuses no signal mask.
    let _ = SigSet::empty().thread_set_mask();
    for limit in &RAISED {
        limit.raise();
    }
}

/// Sets the limits that [`normalise`] raised back to the caller's, except those for which `is_set` is true: these are
/// set by others. `is_set` gets the kernel's number (`RLIMIT_*`). Child, before it executes a program. A second call
/// changes nothing, so that a program which is executed later has the limits of the process that executes it.
///
/// # Errors
/// Those of prlimit(2): none is known for a soft limit below its hard one.
pub(crate) fn restore_limits(is_set: impl Fn(u32) -> bool) -> nix::Result<()> {
    for limit in &RAISED {
        let soft = limit.soft.swap(u64::MAX, Ordering::Relaxed);
        if soft != u64::MAX && !is_set(limit.resource) {
            let hard = limit.hard.load(Ordering::Relaxed);
            rlimit::set(Pid::from_raw(0), limit.resource, Limit { soft, hard })?;
        }
    }
    Ok(())
}

impl Raised {
    const fn none(resource: u32, wanted: u64) -> Raised {
        Raised {
            resource,
            wanted,
            soft: AtomicU64::new(u64::MAX),
            hard: AtomicU64::new(u64::MAX),
        }
    }

    /// Raises the soft limit. If that fails (a hard limit above `/proc/sys/fs/nr_open`) the caller's limit stays.
    fn raise(&self) {
        let own = Pid::from_raw(0);
        let Ok(Limit { soft, hard }) = rlimit::get(own, self.resource) else {
            return;
        };
        let raised = self.wanted.min(hard);
        if soft < raised && rlimit::set(own, self.resource, Limit { soft: raised, hard }).is_ok() {
            self.soft.store(soft, Ordering::Relaxed);
            self.hard.store(hard, Ordering::Relaxed);
        }
    }
}

/// The number of arguments and their array, as the kernel laid them out; 0 and null if the standard library has
/// started the program (tests).
pub(crate) fn arguments() -> (usize, *const *const c_char) {
    (
        COUNT.load(Ordering::Relaxed),
        ARGUMENTS.load(Ordering::Relaxed),
    )
}

fn words() -> impl Iterator<Item = OsString> {
    let (count, arguments) = arguments();
    (0..count).map(move |at| {
        // SAFETY: the C library gave `main` an array of this many strings.
        let word = unsafe { *arguments.wrapping_add(at) };
        // SAFETY: it ends in NUL and is there as long as the process.
        let word = unsafe { CStr::from_ptr(word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    })
}

/// Opens /dev/null for each of stdin, stdout and stderr that the caller has closed. Otherwise the next file that is
/// opened would take its number.
fn open_closed_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    });
    loop {
        // SAFETY: the kernel reads and writes three entries of the live array.
        let result = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
        if result >= 0 || Errno::last() != Errno::EINTR {
            break;
        }
    }
    for stream in streams {
        if stream.revents & libc::POLLNVAL != 0 {
            // The lowest free number is this stream's. It stays open to the end.
            // SAFETY: the path is a C string.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if opened != stream.fd {
                leave(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixtures::status_line;
    use crate::sys::forked::words_of_child;

    #[test]
    fn what_is_inherited_is_made_what_casulo_counts_on() {
        let result = words_of_child(|| {
            SigSet::all().thread_block().expect("block");
            for number in [libc::SIGHUP, libc::SIGCHLD, libc::SIGTERM, libc::SIGPIPE] {
                // SAFETY: SIG_IGN installs no handler.
                unsafe { libc::signal(number, libc::SIG_IGN) };
            }
            umask(Mode::from_bits_truncate(0o077));
            let resource = libc::RLIMIT_NOFILE.cast_unsigned();
            let own = Pid::from_raw(0);
            let limit = || rlimit::get(own, resource).expect("a limit");
            let hard = limit().hard;
            rlimit::set(own, resource, Limit { soft: 50, hard }).expect("lowered");
            normalise();
            assert_eq!(limit(), Limit { soft: hard, hard });
            restore_limits(|_| false).expect("given back");
            assert_eq!(limit(), Limit { soft: 50, hard });
            // Limits are given back once: a program that is executed later has those that are set by then.
            rlimit::set(own, resource, Limit { soft: 40, hard }).expect("lowered");
            restore_limits(|_| false).expect("nothing");
            assert_eq!(limit().soft, 40);
            normalise();
            restore_limits(|it| it == resource).expect("the stack alone");
            assert_eq!(limit(), Limit { soft: hard, hard });
            let ignored = u64::from_str_radix(&status_line("SigIgn"), 16).expect("a mask");
            let is_ignored = |number: i32| ignored & (1 << (number - 1)) != 0;
            Ok(format!(
                "{:?} {} {:o}",
                [libc::SIGHUP, libc::SIGPIPE, libc::SIGCHLD, libc::SIGTERM].map(is_ignored),
                status_line("SigBlk"),
                umask(Mode::empty())
            ))
        });
        assert_eq!(result, "[true, true, false, false] 0000000000000000 22");
    }
}
