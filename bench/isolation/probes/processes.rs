//! Reaching a process of the host: the victim, which nobody misses.

use super::{Group, Probe, Proof, done};
use crate::isolation::facts::{Facts, Finding, VICTIMS_VARIABLE};
use crate::sys;
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, read};
use std::fs;
use std::path::PathBuf;

probes! {
    PROBES, Processes:
    "see", "find a host process in /proc", Answer => see;
    "signal", "end a host process", VictimEnded => signal;
    "environment", "read a host process's environment", Secret => environment;
    "ptrace", "attach to a host process", Answer => ptrace;
    "inherited-fd", "read a file that the caller left open", Secret => inherited_fd;
}

/// The directories of processes in /proc.
fn processes() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir("/proc").context("/proc")?;
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<i32>().is_ok())
        .map(|entry| entry.path())
        .collect())
}

fn see(facts: &Facts) -> Finding {
    let processes = match processes() {
        Ok(processes) => processes,
        Err(why) => return Finding::held(format!("{why:#}")),
    };
    let found = processes.iter().find(|process| {
        fs::read(process.join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&facts.victims_word))
    });
    match found {
        Some(path) => Finding::leaked(format!(
            "{} is the host's, one of {} processes",
            path.display(),
            processes.len()
        )),
        None => Finding::held(format!("{} processes, none of the host", processes.len())),
    }
}

fn signal(facts: &Facts) -> Finding {
    done(
        "SIGTERM to the host's process",
        kill(Pid::from_raw(facts.victim), Signal::SIGTERM),
    )
}

fn environment(_: &Facts) -> Finding {
    let processes = match processes() {
        Ok(processes) => processes,
        Err(why) => return Finding::held(format!("{why:#}")),
    };
    let mut refused = 0;
    for process in &processes {
        let Ok(variables) = fs::read(process.join("environ")) else {
            refused += 1;
            continue;
        };
        let variables = String::from_utf8_lossy(&variables).into_owned();
        let found = variables
            .split('\0')
            .find(|variable| variable.starts_with(VICTIMS_VARIABLE));
        if let Some(variable) = found {
            return Finding::leaked(format!("{}/environ has {variable}", process.display()));
        }
    }
    Finding::held(format!(
        "{} processes, {refused} of which refused to be read",
        processes.len()
    ))
}

fn ptrace(facts: &Facts) -> Finding {
    done(
        "PTRACE_SEIZE of the host's process",
        sys::seize(facts.victim),
    )
}

fn inherited_fd(facts: &Facts) -> Finding {
    let number = facts.file_fd;
    let mut buffer = [0; 128];
    let file = sys::inherited(number);
    // The offset is shared with everybody who has the descriptor.
    let answer = nix::unistd::lseek(file, 0, nix::unistd::Whence::SeekSet)
        .and_then(|_| read(file, &mut buffer));
    match answer {
        Ok(length) => Finding::leaked(format!(
            "read {:?} from descriptor {number}",
            super::text(&buffer[..length])
        )),
        Err(errno) => Finding::held(format!("descriptor {number}: {errno:?}")),
    }
}
