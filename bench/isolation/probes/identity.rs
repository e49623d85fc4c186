//! What the host is: its name, its time, its objects and its log.

use super::{Group, Probe, Proof, done, permitted, text};
use crate::isolation::facts::{Facts, Finding, KEY, NEW_NAME};
use crate::sys::{self, KEYRINGS};
use nix::errno::Errno;
use nix::unistd::sethostname;
use std::ffi::CString;
use std::fs;

probes! {
    PROBES, Identity:
    "host-name", "change the host's name", HostRenamed => host_name;
    "clock", "set the host's clock", Answer => clock;
    "uptime", "see since when the host runs", Answer => uptime;
    "cgroup", "see its own cgroup's place on the host", Answer => cgroup;
    "shared-memory", "read the host's System V memory", Secret => shared_memory;
    "keyring", "read a key of the host's keyrings", Secret => keyring;
    "kernel-log", "read the kernel's log", Answer => kernel_log;
    "kernel-memory", "read the kernel's memory in /proc/kcore", Answer => kernel_memory;
}

fn host_name(_: &Facts) -> Finding {
    done("sethostname", sethostname(NEW_NAME))
}

fn clock(_: &Facts) -> Finding {
    permitted("adjtimex", sys::impossible_tick(), Errno::EINVAL)
}

fn uptime(facts: &Facts) -> Finding {
    let seen = sys::clock(libc::CLOCK_BOOTTIME).as_secs();
    let shown = format!("CLOCK_BOOTTIME: {seen} s");
    if seen.abs_diff(facts.uptime) < 3600 {
        Finding::leaked(shown)
    } else {
        Finding::held(shown)
    }
}

fn cgroup(facts: &Facts) -> Finding {
    let seen = match fs::read_to_string("/proc/self/cgroup") {
        Ok(text) => text,
        Err(error) => return Finding::held(format!("/proc/self/cgroup: {error}")),
    };
    let line = seen.lines().find(|line| line.starts_with("0::"));
    let line = line.unwrap_or_default();
    if line.contains(&facts.cgroup) {
        Finding::leaked(line)
    } else {
        Finding::held(line)
    }
}

fn shared_memory(facts: &Facts) -> Finding {
    match sys::shared_memory(facts.memory) {
        Ok(bytes) => Finding::leaked(format!("read {:?}", text(&bytes))),
        Err(Errno::ENOSYS) => Finding::not_applicable("no System V memory in this kernel"),
        Err(errno) => Finding::held(format!("shmget: {errno:?}")),
    }
}

fn keyring(_: &Facts) -> Finding {
    let name = CString::new(KEY).unwrap_or_default();
    let mut refusals = Vec::new();
    for (ring, whose) in KEYRINGS {
        match sys::search_key(ring, &name).and_then(sys::read_key) {
            Ok(value) => {
                return Finding::leaked(format!("{:?} in the {whose} keyring", text(&value)));
            }
            Err(errno) => refusals.push(format!("{whose} keyring: {errno:?}")),
        }
    }
    Finding::held(refusals.join(", "))
}

fn kernel_log(_: &Facts) -> Finding {
    match sys::kernel_log() {
        Ok(bytes) => Finding::leaked(format!("syslog: {} bytes", bytes.len())),
        Err(errno) => Finding::held(format!("syslog: {errno:?}")),
    }
}

fn kernel_memory(_: &Facts) -> Finding {
    let mut start = [0; 4];
    let answer = fs::File::open("/proc/kcore")
        .and_then(|mut file| std::io::Read::read(&mut file, &mut start));
    match answer {
        Ok(4) if start == *b"\x7fELF" => Finding::leaked("/proc/kcore: read its ELF header"),
        Ok(length) => Finding::held(format!("/proc/kcore: {length} bytes")),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            Finding::not_applicable("this kernel has no /proc/kcore")
        }
        Err(error) => Finding::held(format!("/proc/kcore: {error}")),
    }
}
