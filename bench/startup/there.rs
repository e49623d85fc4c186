//! What needs systemd, or the memory controller: asked in the test host.

use super::cases::{Extent, Figure, Measured, run};
use super::ground::Ground;
use super::trial::{Flavour, Subject};
use crate::report::progress::Progress;
use crate::rounds::{Case, Samples, alternate};
use crate::runtimes::Runtime;
use crate::testhost;
use anyhow::Result;
use std::path::Path;

const SYSTEMD: &str = "run-systemd";
const SYSTEMD_TITLE: &str = "run --systemd-cgroup (test host)";

pub(crate) const LEAST: &str = "least-memory";
const LEAST_TITLE: &str = "smallest memory.max (test host)";

/// Why a row may be empty.
pub(crate) const MISSING: &str = "there is no test host";

/// The rows of the test host, or rows that say why there are none.
pub(crate) fn ask(runtimes: &[Runtime], floor: &Path, extent: Extent) -> Vec<Measured> {
    let progress = Progress::spinner("what needs systemd and controllers, in the test host");
    let mut words = vec!["starts"];
    if extent == Extent::Quick {
        words.push("--quick");
    }
    let answer = testhost::ask(runtimes, &[floor], &words);
    progress.finish();
    answer.unwrap_or_else(|why| {
        let why = format!("{MISSING}: {why:#}");
        let row = |id: &str, title: &str, unit: &str| Measured {
            id: id.into(),
            title: title.into(),
            unit: unit.into(),
            figures: Subject::all(runtimes)
                .iter()
                .map(|subject| Figure::failed(&subject.name, &why))
                .collect(),
        };
        vec![
            row(SYSTEMD, SYSTEMD_TITLE, "ms"),
            row(LEAST, LEAST_TITLE, "MB"),
        ]
    })
}

/// In the test host.
pub(crate) fn answer(ground: &Ground<'_>, subjects: &[Subject], extent: Extent) -> Vec<Measured> {
    const ROUNDS: usize = 15;
    let mut cases: Vec<Case<'_>> = subjects
        .iter()
        .map(|it| Case::new(&it.name, move || run(ground, it, Flavour::Systemd)))
        .collect();
    let samples = alternate(&mut cases, extent.rounds(ROUNDS), || {});
    let least: Vec<Samples> = subjects
        .iter()
        .filter(|subject| !subject.is_floor())
        .map(|subject| {
            let (figure, failures) = match least_memory(ground, subject, extent) {
                Ok(figure) => (Some(figure), Vec::new()),
                Err(why) => (None, vec![format!("{why:#}")]),
            };
            Samples {
                name: subject.name.clone(),
                figures: vec![figure],
                failures,
            }
        })
        .collect();
    vec![
        Measured::of(SYSTEMD, SYSTEMD_TITLE, "ms", &samples),
        Measured::of(LEAST, LEAST_TITLE, "MB", &least),
    ]
}

/// Halves the distance between a limit that is too small and one that is enough.
fn least_memory(ground: &Ground<'_>, subject: &Subject, extent: Extent) -> Result<f64> {
    const MOST: u64 = 64 << 20;
    // A limit is good if it is so every time, since what is charged when varies.
    let tries = match extent {
        Extent::Full => 5,
        Extent::Quick => 1,
    };
    let starts = |bytes| {
        (0..tries)
            .map(|_| run(ground, subject, Flavour::Memory(bytes)))
            .collect::<Result<Vec<f64>>>()
    };
    starts(MOST)?;
    let near = match extent {
        Extent::Full => 16,
        Extent::Quick => 2,
    };
    let (mut least, mut too_small) = (MOST, 0);
    while least - too_small > (least / near).max(16 << 10) {
        let middle = (least + too_small) / 2;
        match starts(middle) {
            Ok(_) => least = middle,
            Err(_) => too_small = middle,
        }
    }
    let kilobytes = u32::try_from(least >> 10)?;
    Ok(f64::from(kilobytes) / 1024.0)
}
