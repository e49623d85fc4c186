//! What a start takes beside time: system calls, page faults, memory.

use super::cases::{Extent, Measured};
use super::ground::{Ground, WAITS};
use super::step::until;
use super::trial::{Config, Flavour, Subject, Trial};
use crate::report::progress::Progress;
use crate::rounds::{Case, alternate};
use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
use std::process::Command;

/// What is weighed.
#[derive(Clone, Copy)]
enum Kind {
    SystemCalls,
    PageFaults,
    /// Of the runtime.
    Peak(Flavour),
    /// Of the process that waits for `start`.
    Init,
}

const KINDS: &[(&str, &str, &str, Kind)] = &[
    (
        "system-calls",
        "system calls of a run",
        "",
        Kind::SystemCalls,
    ),
    ("page-faults", "page faults of a run", "", Kind::PageFaults),
    (
        "peak",
        "peak memory of the runtime",
        "MB",
        Kind::Peak(Flavour::Plain),
    ),
    (
        "peak-seccomp",
        "peak memory, Docker's seccomp",
        "MB",
        Kind::Peak(Flavour::Seccomp),
    ),
    ("init", "memory of a waiting init", "MB", Kind::Init),
];

pub(crate) fn weigh(ground: &Ground<'_>, subjects: &[Subject], extent: Extent) -> Vec<Measured> {
    const ROUNDS: usize = 5;
    let progress = Progress::bar("what a start takes", KINDS.len());
    let take = |(id, title, unit, kind): &(&str, &str, &str, Kind)| {
        let mut cases: Vec<Case<'_>> = subjects
            .iter()
            .map(|it| Case::new(&it.name, move || figure(*kind, ground, it)))
            .collect();
        let samples = alternate(&mut cases, extent.rounds(ROUNDS), || {});
        progress.step(title);
        Measured::of(id, title, unit, &samples)
    };
    let measured = KINDS.iter().map(take).collect();
    progress.finish();
    measured
}

fn figure(kind: Kind, ground: &Ground<'_>, subject: &Subject) -> Result<f64> {
    match kind {
        Kind::SystemCalls => system_calls(ground, subject),
        Kind::PageFaults => page_faults(ground, subject),
        Kind::Peak(flavour) => peak(ground, subject, flavour),
        Kind::Init => init(ground, subject),
    }
}

/// As strace(1) counts them, in the runtime and in all that it starts.
fn system_calls(ground: &Ground<'_>, subject: &Subject) -> Result<f64> {
    let trial = Trial::new(ground, subject, Config::of(Flavour::Plain))?;
    let traced = trial.run_command();
    let counts = ground.dir.join("counts");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]);
    strace.arg(&counts);
    for (name, value) in traced.get_envs() {
        let mut setting = name.to_owned();
        setting.push("=");
        setting.push(value.unwrap_or_default());
        strace.arg("-E").arg(setting);
    }
    strace.arg(traced.get_program()).args(traced.get_args());
    ground.steps.time(strace)?;
    trial.has_run();
    let text = fs::read_to_string(counts)?;
    let total = text.lines().find_map(|line| line.strip_suffix(" total"));
    total
        .and_then(|count| count.trim().parse().ok())
        .context("strace prints no total")
}

/// Of all processes that the runtime has waited for, as the kernel counts them.
fn page_faults(ground: &Ground<'_>, subject: &Subject) -> Result<f64> {
    let trial = Trial::new(ground, subject, Config::of(Flavour::Plain))?;
    let faults = || -> Result<i32> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        Ok(usage.minor_page_faults().try_into()?)
    };
    let before = faults()?;
    trial.run()?;
    Ok(f64::from(faults()? - before))
}

/// proc(5), VmHWM of a `run` in the foreground while its container waits. What getrusage(2) says of it
/// has the memory of this program in it, from before the execve(2).
fn peak(ground: &Ground<'_>, subject: &Subject, flavour: Flavour) -> Result<f64> {
    let program = WAITS;
    let trial = Trial::new(ground, subject, Config { flavour, program })?;
    let runtime = ground.steps.begin(trial.run_command())?;
    until("the container's program", || {
        (trial.has_program() || runtime.has_ended()).then_some(())
    })?;
    if runtime.has_ended() {
        runtime.finish(&ground.steps)?;
        bail!("it did not wait for its container");
    }
    let figure = megabytes(&format!("/proc/{}/status", runtime.pid()), "VmHWM:");
    drop(trial);
    runtime.wait()?;
    figure
}

/// proc(5), Pss in smaps_rollup of the process that `create` leaves.
fn init(ground: &Ground<'_>, subject: &Subject) -> Result<f64> {
    let trial = Trial::new(ground, subject, Config::of(Flavour::Plain))?;
    trial.create()?;
    megabytes(&format!("/proc/{}/smaps_rollup", trial.pid()?), "Pss:")
}

/// A line of kilobytes in a file of /proc.
fn megabytes(file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .map(|kilobytes| kilobytes / 1024.0)
        .with_context(|| format!("{file} has no {name}"))
}
