//! What isolation costs: the same work in every environment, as ratios to a plain chroot.

mod kept;
mod shown;
mod work;

pub(crate) use work::{NOTHING, Work, main as work, take_input};

use crate::Options;
use crate::environments::{self, Environment};
use crate::place::Place;
use crate::report::Section;
use crate::report::progress::Progress;
use crate::rounds::{Case, Samples, alternate};
use crate::sys;
use anyhow::{Result, anyhow, bail};
use kept::Kept;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The word with which this program tells the time at which it was started.
pub(crate) const NOW: &str = "now";

/// Something that costs.
pub(crate) struct Measure {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// How often in a full run.
    rounds: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Start,
    Enter,
    Work(Work),
    Processes,
    Kernel,
}

const MEASURES: &[Measure] = &[
    measure(
        "start",
        "Start to the first instruction",
        "µs",
        40,
        Kind::Start,
    ),
    measure(
        "enter",
        "A second process, to its first instruction",
        "µs",
        30,
        Kind::Enter,
    ),
    measure(
        "syscall",
        "A system call that does nothing",
        "ns",
        20,
        Kind::Work(Work::Syscall),
    ),
    measure(
        "file",
        "Open, stat, read and close a file",
        "µs",
        20,
        Kind::Work(Work::File),
    ),
    measure(
        "spawn",
        "Fork, exec and wait",
        "µs",
        20,
        Kind::Work(Work::Spawn),
    ),
    measure(
        "pipe",
        "A megabyte through a pipe",
        "µs",
        15,
        Kind::Work(Work::Pipe),
    ),
    measure(
        "socket",
        "A megabyte through a Unix socket",
        "µs",
        15,
        Kind::Work(Work::UnixSocket),
    ),
    measure(
        "loopback",
        "A megabyte over loopback TCP",
        "µs",
        15,
        Kind::Work(Work::Loopback),
    ),
    measure(
        "processes",
        "Memory of the processes of an idle one",
        "kB",
        5,
        Kind::Processes,
    ),
    measure(
        "kernel",
        "Memory in the kernel for an idle one",
        "kB",
        7,
        Kind::Kernel,
    ),
];

const fn measure(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    rounds: usize,
    kind: Kind,
) -> Measure {
    Measure {
        id,
        title,
        unit,
        rounds,
        kind,
    }
}

/// How many idle ones the kernel's memory is shared out among.
const WEIGHED: u8 = 12;

/// Rounds of a quick run.
const QUICK: usize = 2;

/// All measures as a part of the report.
pub(crate) fn section(options: &Options, place: &Place) -> Result<Section> {
    let mut environments = environments::all(&options.runtimes);
    if options.quick {
        environments.retain(Environment::is_essential);
    }
    place.lay_facts("{}")?;
    let real_time = sys::set_real_time(Some(1)).is_ok();
    let mut results = Vec::new();
    for measure in MEASURES {
        let rounds = if options.quick { QUICK } else { measure.rounds };
        let progress = Progress::bar(measure.title, rounds);
        let samples = take(measure, &environments, place, rounds, || progress.step(""));
        progress.finish();
        results.push((measure, samples));
    }
    let _ = sys::set_real_time(None);
    Ok(shown::section(&environments, &results, real_time))
}

fn take(
    measure: &Measure,
    environments: &[Environment],
    place: &Place,
    rounds: usize,
    tick: impl FnMut(),
) -> Vec<Samples> {
    let mut kept = Vec::new();
    if matches!(measure.kind, Kind::Enter) {
        kept = environments
            .iter()
            .map(|environment| Kept::new(environment, place, 0))
            .collect();
    }
    let mut kept = kept.iter();
    let mut cases: Vec<Case<'_>> = environments
        .iter()
        .map(|environment| {
            let kept = kept.next();
            Case::new(&environment.name, move || {
                figure(measure.kind, environment, place, kept)
            })
        })
        .collect();
    alternate(&mut cases, rounds, tick)
}

fn figure(
    kind: Kind,
    environment: &Environment,
    place: &Place,
    kept: Option<&Result<Kept<'_>>>,
) -> Result<f64> {
    match kind {
        Kind::Start => since_now(environment.run(place, None, &[NOW])?),
        Kind::Enter => match kept {
            Some(Ok(kept)) => since_now(kept.enter(&[NOW])?),
            Some(Err(why)) => bail!("{why:#}"),
            None => bail!("nothing to enter"),
        },
        Kind::Work(work) => {
            let word = clap::ValueEnum::to_possible_value(&work)
                .map(|value| value.get_name().to_owned())
                .unwrap_or_default();
            let file = environment.inside(place).1;
            let words = ["work", &word, &file.to_string_lossy()];
            number(environment.run(place, None, &words)?)
        }
        Kind::Processes => Kept::new(environment, place, 0)?.memory(),
        Kind::Kernel => kernel_memory(environment, place),
    }
}

/// Microseconds from now until the program inside runs. CLOCK_MONOTONIC is the same in all these
/// environments: only the clock since boot is moved in time namespaces.
fn since_now(command: Command) -> Result<f64> {
    let before = sys::clock(libc::CLOCK_MONOTONIC);
    let after = number(command)?;
    Ok(after - before.as_secs_f64() * 1e6)
}

/// The number that the program inside has printed.
fn number(mut command: Command) -> Result<f64> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_no_number| {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().last().unwrap_or("it printed no number");
        anyhow!("{why}")
    })
}

/// Tells the time, in microseconds.
pub(crate) fn now() {
    println!("{}", sys::clock(libc::CLOCK_MONOTONIC).as_secs_f64() * 1e6);
}

/// What the kernel's own memory grows by, shared out.
fn kernel_memory(environment: &Environment, place: &Place) -> Result<f64> {
    // What earlier ones have left is freed a little later than they end.
    const SETTLES: Duration = Duration::from_millis(150);
    std::thread::sleep(SETTLES);
    let before = kept::kernel_memory()?;
    let kept: Result<Vec<Kept<'_>>> = (0..WEIGHED)
        .map(|number| Kept::new(environment, place, number.into()))
        .collect();
    std::thread::sleep(SETTLES);
    let after = kept::kernel_memory()?;
    drop(kept?);
    Ok((after - before) / f64::from(WEIGHED))
}
