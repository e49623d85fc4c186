//! Using up the machine, up to a bound that hurts nobody. What a container may use is in
//! `environments::Limits`; each bound is above it.

use super::{Group, Probe, Proof};
use crate::isolation::facts::{Facts, Finding};
use crate::sys;
use nix::fcntl::OFlag;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

probes! {
    PROBES, Resources:
    "memory", "use 128 MB of memory", Answer => memory;
    "fork", "have 64 children", Answer => fork;
    "threads", "have 128 threads", Answer => threads;
    "cpu", "have a CPU for itself", Answer => cpu;
    "disk-rate", "write to the disk as fast as it can", Answer => disk_rate;
}

const MEGABYTES: usize = 128;
const CHILDREN: usize = 64;
const THREADS: usize = 128;
const SPIN: Duration = Duration::from_millis(300);
const TRIES: usize = 3;
const WRITTEN: usize = 2 << 20;
/// Bytes a second; a container may write half of this.
const SLOW: f64 = 2e6;

/// This program again.
fn again(words: &[&str]) -> std::io::Result<Child> {
    Command::new("/proc/self/exe")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

fn memory(_: &Facts) -> Finding {
    let child = again(&["use-memory", &MEGABYTES.to_string()]);
    let output = match child.and_then(Child::wait_with_output) {
        Ok(output) => output,
        Err(error) => return Finding::held(format!("cannot start a child: {error}")),
    };
    let used = output.stdout.len();
    match output.status.signal() {
        None if used == MEGABYTES => Finding::leaked(format!("used {used} MB")),
        None => Finding::held(format!("refused after {used} MB")),
        Some(signal) => Finding::held(format!("killed by signal {signal} after {used} MB")),
    }
}

/// `bench use-memory MEGABYTES`: says a byte for each that it has written to.
pub(crate) fn use_memory(megabytes: usize) {
    let mut used = Vec::new();
    for _ in 0..megabytes {
        used.push(std::hint::black_box(vec![1u8; 1 << 20]));
        print!(".");
        let _ = std::io::stdout().flush();
    }
}

fn fork(_: &Facts) -> Finding {
    let mut children = Vec::new();
    let mut refusal = None;
    while children.len() < CHILDREN && refusal.is_none() {
        match again(&["idle"]) {
            Ok(child) => children.push(child),
            Err(error) => refusal = Some(error),
        }
    }
    let count = children.len();
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    match refusal {
        None => Finding::leaked(format!("had {count} children at once")),
        Some(error) => Finding::held(format!("{count} children, then: {error}")),
    }
}

fn threads(_: &Facts) -> Finding {
    let mut refusal = None;
    let mut count = 0;
    // They end with the process.
    while count < THREADS && refusal.is_none() {
        let thread = thread::Builder::new().stack_size(64 << 10);
        match thread.spawn(|| thread::sleep(Duration::from_secs(60))) {
            Ok(_) => count += 1,
            Err(error) => refusal = Some(error),
        }
    }
    match refusal {
        None => Finding::leaked(format!("had {count} threads at once")),
        Some(error) => Finding::held(format!("{count} threads, then: {error}")),
    }
}

fn cpu(_: &Facts) -> Finding {
    // The best of several: others on a busy machine take from it as well.
    let share = (0..TRIES).map(|_| share_of_cpu()).fold(0.0, f64::max);
    let shown = format!("had {:.0} % of a CPU", share * 100.0);
    if share > 0.5 {
        Finding::leaked(shown)
    } else {
        Finding::held(shown)
    }
}

fn share_of_cpu() -> f64 {
    let begin = Instant::now();
    let used = sys::clock(libc::CLOCK_PROCESS_CPUTIME_ID);
    while begin.elapsed() < SPIN {
        std::hint::spin_loop();
    }
    let used = sys::clock(libc::CLOCK_PROCESS_CPUTIME_ID) - used;
    used.as_secs_f64() / begin.elapsed().as_secs_f64()
}

fn disk_rate(facts: &Facts) -> Finding {
    if facts.disk.is_none() {
        return Finding::not_applicable("the root file systems are on no disk");
    }
    let path = format!("/tmp/written-{}", std::process::id());
    let begin = Instant::now();
    let answer = write_directly(&path);
    let took = begin.elapsed().as_secs_f64();
    let _ = std::fs::remove_file(&path);
    match answer {
        Ok(bytes) => {
            let rate = f64::from(bytes) / took;
            let shown = format!("wrote {:.1} MB a second", rate / 1e6);
            if rate > SLOW {
                Finding::leaked(shown)
            } else {
                Finding::held(shown)
            }
        }
        Err(error) => Finding::held(format!("{path}: {error}")),
    }
}

/// Past the page cache, for which nobody is slowed down.
fn write_directly(path: &str) -> std::io::Result<u32> {
    const BLOCK: usize = 64 << 10;
    const ALIGNMENT: usize = 4096;
    let buffer = vec![0u8; BLOCK + ALIGNMENT];
    let start = buffer.as_ptr().align_offset(ALIGNMENT);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags((OFlag::O_DIRECT | OFlag::O_SYNC).bits())
        .open(path)?;
    let mut written = 0;
    while written < WRITTEN {
        written += file.write(&buffer[start..start + BLOCK])?;
    }
    Ok(u32::try_from(written).unwrap_or(u32::MAX))
}
