//! What a container process takes from another one: its memory, its descriptors, those of its sockets' peers,
//! its program; and what it makes the other say.

use super::look;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::time::{Duration, Instant};

/// A mapping of a process: a line of `/proc/N/maps`.
pub(super) struct Region {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) words: String,
}

pub(super) fn regions(pid: i32) -> Vec<Region> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let region = |line: &str| {
        let (range, words) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        Some(Region {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            words: words.to_owned(),
        })
    };
    maps.lines().filter_map(region).collect()
}

/// The needles that stand in the process's memory, and how much of it could be read.
pub(super) fn search(pid: i32, needles: &[&str]) -> Value {
    let memory = match File::open(format!("/proc/{pid}/mem")) {
        Ok(memory) => memory,
        Err(error) => return look::name_of(&error).into(),
    };
    let (mut read, mut found) = (0, Vec::new());
    for region in regions(pid) {
        let length = (region.end - region.start).min(64 << 20) as usize;
        if region.words.contains("[v") {
            continue;
        }
        let mut bytes = vec![0; length];
        // A read ends where nothing is mapped.
        let mut done = 0;
        while let Ok(more @ 1..) = memory.read_at(&mut bytes[done..], region.start + done as u64) {
            done += more;
        }
        read += done;
        for needle in needles {
            if contains(&bytes[..done], needle.as_bytes()) {
                found.push((*needle).to_owned());
            }
        }
    }
    json!({"read": read, "found": found})
}

/// The C library is fast in any build; meanwhile a process is held.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    // SAFETY: both are live, and their lengths are passed.
    let at = unsafe {
        libc::memmem(
            bytes.as_ptr().cast(),
            bytes.len(),
            needle.as_ptr().cast(),
            needle.len(),
        )
    };
    !at.is_null()
}

/// Duplicates a descriptor of another process.
fn stolen(pidfd: RawFd, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers alone; what it returns is ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, number, 0) };
    match fd {
        // SAFETY: the kernel made it for us.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers alone; what it returns is ours.
    match unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } {
        // SAFETY: the kernel made it for us.
        fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn name(fd: &OwnedFd) -> String {
    fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .map_or_else(|e| look::name_of(&e), |it| it.display().to_string())
}

/// By each socket of the process to its peer (SO_PEERPIDFD), and from there to the peer's descriptors.
pub(super) fn peers(pid: i32) -> Value {
    let process = match pidfd(pid) {
        Ok(process) => process,
        Err(error) => return look::name_of(&error).into(),
    };
    let mut found = json!({});
    for number in 0..64 {
        let Ok(socket) = stolen(process.as_raw_fd(), number) else {
            continue;
        };
        let (mut peer, mut size) = (-1_i32, 4_u32);
        // SAFETY: the kernel fills a live int, whose size is passed.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                77,
                (&raw mut peer).cast(),
                &raw mut size,
            )
        };
        if result != 0 {
            continue;
        }
        // SAFETY: the kernel made it for us.
        let peer = unsafe { OwnedFd::from_raw_fd(peer) };
        let theirs: Vec<String> = (0..64)
            .filter_map(|it| Some(name(&stolen(peer.as_raw_fd(), it).ok()?)))
            .collect();
        found[format!("{number}: {}", name(&socket))] = theirs.into();
    }
    found
}

/// Opens both directions of every pipe of `pid`, and keeps them for good. How many.
pub(super) fn pipes(pid: i32) -> usize {
    let kept = (3..64).filter(|number| {
        let path = format!("/proc/{pid}/fd/{number}");
        let is_pipe = fs::metadata(&path).is_ok_and(|it| it.file_type().is_fifo());
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK;
        is_pipe
            && open(path.as_str(), flags, Mode::empty())
                .map(std::mem::forget)
                .is_ok()
    });
    kept.count()
}

/// Nameless pipes of another process.
pub(super) struct Pipes {
    files: Vec<File>,
    fills: bool,
}

impl Pipes {
    /// Those that it writes to, to fill them at once, or those that it reads from, to empty them.
    pub(super) fn of(pid: i32, fills: bool) -> Pipes {
        let access = if fills {
            OFlag::O_WRONLY
        } else {
            OFlag::O_RDONLY
        };
        let opened = (3..64).filter_map(|number| {
            let path = format!("/proc/{pid}/fd/{number}");
            let name = fs::read_link(&path).ok()?;
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
            let flags = info.lines().find_map(|it| it.strip_prefix("flags:"))?;
            let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
            let is_it = name.to_string_lossy().starts_with("pipe:")
                && flags & libc::O_ACCMODE == access.bits();
            let flags = access | OFlag::O_NONBLOCK;
            let fd = is_it.then(|| open(path.as_str(), flags, Mode::empty()));
            fd?.ok().map(File::from)
        });
        let files: Vec<File> = opened.collect();
        for mut file in files.iter().filter(|_| fills) {
            while file.write(&[0xff; 4096]).is_ok() {}
        }
        Pipes { files, fills }
    }

    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    /// Does so for a while: as long as a byte is on its way, or longer than a command may take.
    pub(super) fn work(self) {
        let life = Duration::from_millis(if self.fills { 3000 } else { 500 });
        let begin = Instant::now();
        while begin.elapsed() < life {
            for mut file in &self.files {
                let _ = if self.fills {
                    file.write(&[0xff; 4096])
                } else {
                    file.read(&mut [0; 64])
                };
            }
        }
    }
}

/// Writes into all that the process has besides stdio, and takes out of it: records of 8 bytes, and text.
/// Returns how many descriptors it could do that to.
pub(super) fn forge(pid: i32, seed: u32) -> Value {
    let process = match pidfd(pid) {
        Ok(process) => process,
        Err(error) => return look::name_of(&error).into(),
    };
    let mut told = 0;
    for number in 3..64 {
        let Ok(channel) = stolen(process.as_raw_fd(), number) else {
            continue;
        };
        let path = format!("/proc/self/fd/{}", channel.as_raw_fd());
        let kind = fs::metadata(&path).map(|it| it.file_type());
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(number as u32);
        let mut records = Vec::new();
        for _ in 0..16 {
            // Steps that exist and others; errnos, pids, lengths.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (step, value) = ((state >> 8) % 64, state.rotate_left(7) % 5000);
            records.extend(step.to_le_bytes());
            records.extend(value.to_le_bytes());
        }
        match kind {
            Ok(kind) if kind.is_fifo() => {
                let Ok(fd) = open(
                    path.as_str(),
                    OFlag::O_RDWR | OFlag::O_NONBLOCK,
                    Mode::empty(),
                ) else {
                    continue;
                };
                let mut file = File::from(fd);
                if seed.is_multiple_of(2) {
                    let _ = file.read(&mut [0; 64]);
                }
                told += i32::from(file.write(&records).is_ok());
            }
            Ok(kind) if kind.is_socket() => {
                for record in records.chunks(8) {
                    // SAFETY: the bytes are live, and their length is passed.
                    let sent = unsafe {
                        libc::send(
                            channel.as_raw_fd(),
                            record.as_ptr().cast(),
                            record.len(),
                            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                        )
                    };
                    told += i32::from(sent > 0);
                }
            }
            _ => {}
        }
    }
    told.into()
}

/// A child with the same descriptors, in a user and mount namespace of its own: it takes the flag "read-only"
/// from a mount.
pub(super) struct Unlocker {
    pub(super) pid: i32,
    to: File,
    from: File,
}

impl Unlocker {
    pub(super) fn new() -> Unlocker {
        let pipe = || nix::unistd::pipe().map(|(r, w)| (File::from(r), File::from(w)));
        let (mut theirs, to) = pipe().unwrap();
        let (from, mut back) = pipe().unwrap();
        // SAFETY: a fork whose child shares the table of descriptors; we have one thread.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone,
                libc::CLONE_FILES | libc::SIGCHLD,
                0,
                0,
                0,
                0,
            )
        };
        if pid != 0 {
            // The child's ends are the same numbers in the same table: they stay open.
            std::mem::forget((theirs, back));
            return Unlocker {
                pid: pid as i32,
                to,
                from,
            };
        }
        // SAFETY: plain flags; the child goes on alone.
        let result = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) };
        let mut number = [0; 4];
        while theirs.read_exact(&mut number).is_ok() {
            let attributes: [u64; 4] = [0, 1, 0, 0];
            // SAFETY: both live; the structure's size is passed.
            let cleared = unsafe {
                libc::syscall(
                    libc::SYS_mount_setattr,
                    i32::from_le_bytes(number),
                    c"".as_ptr(),
                    libc::AT_EMPTY_PATH,
                    attributes.as_ptr(),
                    32,
                )
            };
            let errno = nix::errno::Errno::last_raw();
            let answer = if result != 0 {
                -1
            } else if cleared == 0 {
                0
            } else {
                errno
            };
            let _ = back.write_all(&answer.to_le_bytes());
        }
        std::process::exit(0);
    }

    /// 0, or the errno of mount_setattr(2); -1: no user namespace.
    fn unlock(&mut self, fd: &OwnedFd) -> i32 {
        let mut answer = [0; 4];
        let _ = self.to.write_all(&fd.as_raw_fd().to_le_bytes());
        let _ = self.from.read_exact(&mut answer);
        i32::from_le_bytes(answer)
    }
}

/// A program that is kept by O_PATH.
pub(super) struct Kept(OwnedFd);

/// Keeps the program of `pid`.
pub(super) fn keep(pid: i32, unlocker: &mut Unlocker) -> (Option<Kept>, Value) {
    let program = format!("/proc/{pid}/exe");
    match open(program.as_str(), OFlag::O_PATH, Mode::empty()) {
        Err(errno) => (None, format!("{errno:?}").into()),
        Ok(fd) => {
            let said = json!({"name": name(&fd), "unlocked": unlocker.unlock(&fd)});
            (Some(Kept(fd)), said)
        }
    }
}

impl Kept {
    /// Tries to open it for writing and to write a byte over its first: `written`, or the errno's name.
    pub(super) fn write(&self, unlocker: &mut Unlocker) -> String {
        unlocker.unlock(&self.0);
        super::reopened(&self.0)
            .map_or_else(|errno| format!("{errno:?}"), |()| "written".to_owned())
    }
}
