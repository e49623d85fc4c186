//! `--trace FILE`: shows where a command's time goes, for chrome://tracing, Perfetto and the like.
//!
//! The parent and its child (init, or the process of exec) each go through phases; entering one ends the
//! one before. They note it in memory that both share. So no file is written while time counts, and the
//! child needs no descriptor. The parent writes the file when its command is over. Without the option a
//! phase costs one look at a variable.

use super::phase::{Phase, Side};
use crate::binary::shared;
use crate::error::{Code, Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most phases that are noted; later ones are left out.
const ROOM: usize = 255;

/// The bits of a note that hold its time in nanoseconds; the bits above hold the phase.
const TIME: u64 = (1 << 56) - 1;

struct Trace {
    file: PathBuf,
    command: &'static str,
    /// When `main` began, and the processor time that the process had used up to then, both in
    /// nanoseconds.
    begin: u64,
    used: u64,
    /// The number of notes, and then the notes.
    notes: &'static [AtomicU64],
}

static TRACE: OnceLock<Trace> = OnceLock::new();

/// Begins to trace `command` to `file`. Called once, before the command.
///
/// # Errors
/// E_IO if FILE cannot be made or there is no memory.
pub(crate) fn begin(file: &Path, command: &'static str) -> Result<()> {
    // If the file cannot be written, the caller must learn it before a container runs.
    File::create(file).context(Code::Io, "make the trace", file.display())?;
    let notes = shared::words(ROOM + 1).context(Code::Io, "map memory for", "the trace")?;
    let trace = Trace {
        file: file.to_owned(),
        command,
        begin: now(ClockId::CLOCK_MONOTONIC),
        used: now(ClockId::CLOCK_PROCESS_CPUTIME_ID),
        notes,
    };
    // TRACE is unset: the command line has one command, so this runs once in a process.
    let _ = TRACE.set(trace);
    phase(Phase::Plan);
    Ok(())
}

/// Notes that this process enters a phase.
pub(super) fn phase(phase: Phase) {
    if let Some(trace) = TRACE.get() {
        trace.note(phase);
    }
}

/// Writes the file if there is a trace. Parent, when the command is over.
///
/// # Errors
/// E_IO with the errno of writing the file.
pub(crate) fn end() -> Result<()> {
    let Some(trace) = TRACE.get() else {
        return Ok(());
    };
    let end = now(ClockId::CLOCK_MONOTONIC).saturating_sub(trace.begin);
    let document = document(trace.command, trace.used, &trace.read(), end);
    let file = trace.file.display();
    File::create(&trace.file)
        .and_then(|mut it| writeln!(it, "{document}"))
        .context(Code::Io, "write the trace", file)
}

fn now(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        let [seconds, rest] = [time.tv_sec(), time.tv_nsec()]
            .map(|it| u64::try_from(it).expect("Linux lets no clock be negative"));
        seconds * 1_000_000_000 + rest
    })
}

impl Trace {
    fn note(&self, phase: Phase) {
        let Some((count, notes)) = self.notes.split_first() else {
            return;
        };
        let place = count.fetch_add(1, Ordering::AcqRel);
        if let Some(note) = usize::try_from(place).ok().and_then(|it| notes.get(it)) {
            let time = now(ClockId::CLOCK_MONOTONIC).saturating_sub(self.begin);
            note.store(
                (phase as u64) << 56 | time.clamp(1, TIME),
                Ordering::Release,
            );
        }
    }

    fn read(&self) -> Vec<(Phase, u64)> {
        let notes = self.notes.iter().skip(1);
        let mut all: Vec<(Phase, u64)> = notes
            .map(|note| note.load(Ordering::Acquire))
            .filter(|note| *note != 0)
            .filter_map(|note| {
                let phase = Phase::ALL.get(usize::try_from(note >> 56).ok()?)?;
                Some((*phase, note & TIME))
            })
            .collect();
        all.sort_by_key(|(_, time)| *time);
        all
    }
}

/// Returns the trace in Chrome's Trace Event Format: complete events, times in microseconds. `used` is
/// the processor time before `main`, `end` the time at which the command was over; all in nanoseconds
/// from the beginning.
#[allow(clippy::cast_precision_loss, reason = "of a trace that lasts months")]
fn document(command: &str, used: u64, notes: &[(Phase, u64)], end: u64) -> Value {
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
    let process = std::process::id();
    let event = |name: &str, side: Side, from: f64, to: f64| {
        json!({"name": name, "cat": command, "ph": "X", "ts": from, "dur": to - from,
            "pid": process, "tid": side as u32})
    };
    let name = |kind: &str, side: Side, name: &str| json!({"name": kind, "ph": "M", "pid": process, "tid": side as u32, "args": {"name": name}});
    let mut events = vec![
        name("process_name", Side::Parent, &format!("casulo {command}")),
        name("thread_name", Side::Parent, "parent"),
    ];
    if notes.iter().any(|(phase, _)| phase.side() == Side::Child) {
        events.push(name("thread_name", Side::Child, "child"));
    }
    // The time before main, and of a first start if casulo had to start again. It is processor time,
    // because nobody notes when that began.
    events.push(event(
        "starts of casulo",
        Side::Parent,
        -microseconds(used),
        0.0,
    ));
    for (index, (phase, from)) in notes.iter().enumerate() {
        // The child's last phase ends when the parent notices the end; the parent notes its next phase
        // then.
        let next = notes
            .iter()
            .skip(index + 1)
            .find(|(next, _)| next.side() == phase.side() || *phase == Phase::Execute);
        let to = next.map_or(end, |(_, time)| *time);
        let (from, to) = (microseconds(*from), microseconds(to));
        events.push(event(phase.name(), phase.side(), from, to));
    }
    json!({"displayTimeUnit": "ns", "traceEvents": events})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_lasts_until_the_next_of_its_process() {
        let notes = [
            (Phase::Plan, 1000),
            (Phase::Clone, 3000),
            (Phase::Enter, 3500),
            (Phase::Wait, 4000),
            (Phase::Execute, 6000),
            (Phase::Running, 7000),
        ];
        let document = document("run", 500, &notes, 9000);
        let events: Vec<(&str, u64, f64, f64)> = document["traceEvents"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|event| {
                (
                    event["name"].as_str().expect("a name"),
                    event["tid"].as_u64().expect("a number"),
                    event["ts"].as_f64().expect("a time"),
                    event["dur"].as_f64().expect("a time"),
                )
            })
            .collect();
        assert_eq!(
            events,
            [
                ("starts of casulo", 0, -0.5, 0.5),
                ("plan", 0, 1.0, 2.0),
                ("clone", 0, 3.0, 1.0),
                ("enter namespaces", 1, 3.5, 2.5),
                ("wait for the child", 0, 4.0, 3.0),
                ("execve", 1, 6.0, 1.0),
                ("running", 0, 7.0, 2.0),
            ]
        );
    }

    #[test]
    fn every_phase_is_found_by_its_number() {
        for (number, phase) in Phase::ALL.iter().enumerate() {
            assert_eq!(*phase as usize, number);
        }
    }
}
