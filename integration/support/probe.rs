//! What a test cannot ask with busybox: this program itself, as `/bin/probe` in the container.
//!
//! | call | prints |
//! |---|---|
//! | `probe syscall NR ARG…` | `ok RESULT` or `errno NAME` of a raw system call with numbers |
//! | `probe keyring` | the description of the session keyring |
//! | `probe allocate BYTES` | `ok BYTES` once all of them were written |
//! | `probe huge-pages COUNT` | `ok` or `errno NAME` of mapping so many pages of 2 MB |
//! | `probe caught-exe PID FILE` | keeps an O_PATH fd of the process's program, waits for FILE, then reopens it and writes a byte: `wrote` or `errno NAME` |
//! | `probe notify TEXT` | sends TEXT to the socket that NOTIFY_SOCKET names: `sent`, or the error |
//! | `probe notify-file TEXT FILE` | the same with a descriptor of FILE |
//! | `probe notify-linger TEXT SECONDS` | the same with a TCP socket whose last close waits so long; stays |
//! | `probe open-loop FILE DEVICE…` | opens the devices again and again until FILE is there; then for each device the outcomes it saw |
//!
//! The attackers' loops are in `attacker.rs`.

#![allow(
    unsafe_code,
    reason = "the probe makes the raw calls that the tests are about"
)]

use super::attacker;
use super::lingering;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The probe's own main, inside a container.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<String> = args.map(|arg| arg.into_string().unwrap()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["syscall", numbers @ ..] => println!("{}", syscall(numbers)),
        ["keyring"] => println!("{}", keyring()),
        ["notify", text] => println!("{}", notify(text)),
        ["notify-file", text, file] => println!("{}", lingering::notify_file(text, file)),
        ["notify-linger", text, seconds] => lingering::notify_linger(text, seconds),
        ["leave-main", file] => leave_main(file),
        ["allocate", bytes] => println!("{}", allocate(bytes.parse().unwrap())),
        ["huge-pages", count] => println!("{}", huge_pages(count.parse().unwrap())),
        ["caught-exe", pid, file] => println!("{}", caught_exe(pid, file)),
        ["open-loop", file, devices @ ..] => open_loop(file, devices),
        ["swap-loop", file, a, b, rest] => attacker::swap_loop(file, a, b, rest),
        ["watch-loop", file] => attacker::watch_loop(file),
        ["write-loop", file] => attacker::write_loop(file),
        ["look", pid] => attacker::look_at(pid),
        ["attack", pid, words, needles @ ..] => attacker::attack(pid, words, needles),
        ["stopper", file, words, needles @ ..] => attacker::stopper(file, words, needles),
        other => {
            println!("probe: what is {other:?}?");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn outcome(result: i64) -> String {
    match Errno::result(result) {
        Ok(value) => format!("ok {value}"),
        Err(errno) => format!("errno {errno:?}"),
    }
}

fn syscall(numbers: &[&str]) -> String {
    let mut n = [0i64; 7];
    for (slot, text) in n.iter_mut().zip(numbers) {
        *slot = text.parse().unwrap();
    }
    // SAFETY: the tests pass plain numbers to calls that take no pointers, or null for a pointer.
    let result = unsafe { libc::syscall(n[0], n[1], n[2], n[3], n[4], n[5], n[6]) };
    outcome(result)
}

/// Ends the first thread; another one writes to the file, again and again, once that has ended.
fn leave_main(file: &str) {
    let file = file.to_owned();
    std::thread::spawn(move || {
        let first = || std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        while !first().contains(") Z ") {
            std::thread::sleep(Duration::from_millis(5));
        }
        loop {
            let mut beats = std::fs::File::options()
                .create(true)
                .append(true)
                .open(&file)
                .unwrap();
            beats.write_all(b".").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    // SAFETY: exit(2) of this thread; nothing of its stack is used by the other one.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Memory that is really used: every byte of it is written.
fn allocate(bytes: usize) -> String {
    let memory = std::hint::black_box(vec![1u8; bytes]);
    format!("ok {}", memory.len())
}

/// Maps so many huge pages of 2 MB.
fn huge_pages(count: usize) -> String {
    // SAFETY: the kernel chooses the address, and nobody touches what is mapped.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            count << 21,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return outcome(-1);
    }
    "ok".to_owned()
}

fn keyring() -> String {
    const KEYCTL_DESCRIBE: libc::c_int = 6;
    const KEY_SPEC_SESSION_KEYRING: libc::c_int = -3;
    let mut buffer = [0u8; 256];
    // SAFETY: the buffer is live and its own length is passed.
    let length = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_DESCRIBE,
            KEY_SPEC_SESSION_KEYRING,
            buffer.as_mut_ptr(),
            buffer.len(),
        )
    };
    if length < 0 {
        return outcome(length);
    }
    let end = buffer
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(buffer.len());
    String::from_utf8_lossy(&buffer[..end]).into_owned()
}

fn notify(text: &str) -> String {
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let sent = socket.send_to(text.as_bytes(), std::env::var("NOTIFY_SOCKET").unwrap());
    sent.map_or_else(|error| error.to_string(), |_| "sent".into())
}

fn caught_exe(pid: &str, file: &str) -> String {
    let caught = open(
        format!("/proc/{pid}/exe").as_str(),
        OFlag::O_PATH,
        Mode::empty(),
    );
    let caught = match caught {
        Ok(fd) => fd,
        Err(errno) => return format!("not caught: {errno:?}"),
    };
    println!("caught");
    while !Path::new(file).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    match attacker::reopened(&caught) {
        Ok(()) => "wrote".into(),
        Err(errno) => format!("errno {errno:?}"),
    }
}

fn open_loop(file: &str, devices: &[&str]) {
    let mut seen = vec![BTreeSet::new(); devices.len()];
    println!("opens");
    while !Path::new(file).exists() {
        for (device, seen) in devices.iter().zip(&mut seen) {
            let opened = open(*device, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty());
            seen.insert(opened.map_or_else(|errno| errno.to_string(), |_| "opened".to_owned()));
        }
    }
    for (device, seen) in devices.iter().zip(seen) {
        let seen: Vec<String> = seen.into_iter().collect();
        println!("{device}: {}", seen.join(" "));
    }
}
