//! `probe look [PID]`: all that a container process sees of another one (or of itself), as one JSON object.
//!
//! What the kernel refuses is its errno's name as a string. Nothing here needs a privilege.

use nix::errno::Errno;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Looks at `pid` (a number or `self`) and returns what was seen.
pub(super) fn look(pid: &str) -> Value {
    let status = read(pid, "status");
    let field = |name: &str| crate::support::field(&status, name);
    let stat = Stat::of(pid);
    let mut seen = json!({
        "pid": pid,
        "ppid": stat.ppid, "pgrp": stat.pgrp, "session": stat.session, "tty": stat.tty,
        "state": stat.state.to_string(), "before_execve": stat.before_execve(),
        "exe": link(pid, "exe"), "root": place(pid, "root/"), "cwd": place(pid, "cwd/"),
        "net": inode(pid, "net/dev"), "mountinfo": read(pid, "mountinfo"),
        "cmdline": read(pid, "cmdline"), "environ": read(pid, "environ"),
        "autogroup": read(pid, "autogroup").split(' ').next(),
        "fds": descriptors(pid), "root_entries": entries(pid),
    });
    if pid == "self" {
        seen["number"] = std::process::id().into();
    }
    for name in [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
    ] {
        seen[name] = field(name).into();
    }
    let kinds = [
        "user",
        "mnt",
        "pid_for_children",
        "net",
        "ipc",
        "uts",
        "cgroup",
        "time",
        "pid",
    ];
    seen["ns"] = kinds
        .iter()
        .map(|kind| ((*kind).to_owned(), link(pid, &format!("ns/{kind}"))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    seen
}

/// What `/proc/PID/stat` says of a process.
pub(super) struct Stat {
    pub(super) state: char,
    pub(super) ppid: i32,
    pub(super) pgrp: i32,
    pub(super) session: i32,
    pub(super) tty: i32,
    flags: u32,
}

impl Stat {
    pub(super) fn of(pid: &str) -> Stat {
        let text = read(pid, "stat");
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let words: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|it| it.parse().ok()).unwrap_or(-1);
        Stat {
            state: words
                .first()
                .and_then(|it| it.chars().next())
                .unwrap_or('-'),
            ppid: number(1),
            pgrp: number(2),
            session: number(3),
            tty: number(4),
            flags: words.get(6).and_then(|it| it.parse().ok()).unwrap_or(0),
        }
    }

    /// `PF_FORKNOEXEC`: it was cloned, and executed nothing since.
    pub(super) fn before_execve(&self) -> bool {
        self.flags & 0x40 != 0
    }

    /// Stopped, by a signal or by its tracer.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// It has ended, or is gone.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | '-')
    }

    /// Its parent is in no pid namespace that we see: somebody brought it here.
    pub(super) fn is_from_outside(&self) -> bool {
        self.ppid == 0
    }
}

fn read(pid: &str, file: &str) -> String {
    match fs::read(format!("/proc/{pid}/{file}")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => name_of(&error),
    }
}

fn link(pid: &str, file: &str) -> Value {
    match fs::read_link(format!("/proc/{pid}/{file}")) {
        Ok(target) => target.to_string_lossy().into(),
        Err(error) => name_of(&error).into(),
    }
}

/// Device and inode of what a name leads to.
fn place(pid: &str, file: &str) -> Value {
    match fs::metadata(format!("/proc/{pid}/{file}")) {
        Ok(it) => format!("{}:{}", it.dev(), it.ino()).into(),
        Err(error) => name_of(&error).into(),
    }
}

/// The inode alone: each mount of procfs is a device of its own.
fn inode(pid: &str, file: &str) -> Value {
    match fs::metadata(format!("/proc/{pid}/{file}")) {
        Ok(it) => it.ino().to_string().into(),
        Err(error) => name_of(&error).into(),
    }
}

fn descriptors(pid: &str) -> Value {
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries.flatten(),
        Err(error) => return name_of(&error).into(),
    };
    let mut found: Vec<Value> = Vec::new();
    for entry in entries {
        let number = entry.file_name().to_string_lossy().into_owned();
        let kind = fs::metadata(entry.path()).map_or("gone", |it| kind_of(it.file_type()));
        found.push(json!({
            "fd": number.parse::<i32>().unwrap_or(-1), "kind": kind,
            "to": link(pid, &format!("fd/{number}")), "info": read(pid, &format!("fdinfo/{number}")),
        }));
    }
    found.into()
}

/// How many names its root has.
fn entries(pid: &str) -> Value {
    match fs::read_dir(format!("/proc/{pid}/root/")) {
        Ok(entries) => entries.count().into(),
        Err(error) => name_of(&error).into(),
    }
}

fn kind_of(kind: fs::FileType) -> &'static str {
    match kind {
        it if it.is_fifo() => "fifo",
        it if it.is_socket() => "socket",
        it if it.is_dir() => "directory",
        it if it.is_char_device() => "device",
        it if it.is_file() => "file",
        _ => "other",
    }
}

pub(super) fn name_of(error: &io::Error) -> String {
    format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
