//! `main` as the C library calls it: what casulo does before [`crate::entry`]'s function, in place of the
//! standard library's start-up.
//!
//! That would give the process a second stack with a guard page and two signal handlers, to say that a stack
//! has overflowed: nine system calls and three mappings each time casulo starts (docs/performance.md). Without
//! them an overflow is a SIGSEGV.

use nix::errno::Errno;
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static COUNT: AtomicUsize = AtomicUsize::new(0);
static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// Makes `fn($arguments: Vec<OsString>) -> u8` the program: it gets the arguments without the program's name
/// and returns the exit code. For a binary with `#![no_main]`.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        /// Called by the C library.
        #[unsafe(no_mangle)]
        pub extern "C" fn main(
            count: ::std::ffi::c_int,
            arguments: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            $crate::sys::start::run(count, arguments, $run)
        }
    };
}

/// What [`crate::entry`] makes of `main`.
#[doc(hidden)]
pub fn run(
    count: c_int,
    arguments: *const *const c_char,
    program: impl FnOnce(Vec<OsString>) -> u8,
) -> c_int {
    COUNT.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
    open_closed_streams();
    // So that a reader who has left is an error of write(2), and no death between two steps.
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let words = words().skip(1).collect();
    c_int::from(program(words))
}

/// The arguments' number and array, as the kernel laid them out; 0 and null where the standard library has
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

/// What the caller has closed of stdin, stdout and stderr becomes /dev/null, or the next file that is opened
/// would take its place.
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
            // The lowest free number is this one. It stays open to the end.
            // SAFETY: the path is a C string.
            let opened = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            if opened != stream.fd {
                super::child::leave(1);
            }
        }
    }
}
