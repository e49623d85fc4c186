//! What grows: a `run` beside so many other containers, and one with so many mounts.

use super::cases::{Extent, Figure, Measured, run};
use super::ground::{Ground, MOST_MOUNTS};
use super::trial::{Config, Flavour, Subject, Trial};
use crate::report::progress::Progress;
use crate::rounds::{Case, Samples, Spread, alternate};
use anyhow::{Context, Result};
use std::time::Duration;

/// Figures of `run`, by how many there were of something.
pub(crate) type Growth = Vec<(u32, Measured)>;

/// `run` on a host with so many containers of the same runtime. The floor runs in the same rounds, on
/// the same host.
pub(crate) fn beside(ground: &Ground<'_>, subjects: &[Subject], extent: Extent) -> Growth {
    let numbers: &[u32] = match extent {
        Extent::Full => &[1, 100, 500],
        Extent::Quick => &[1, 10],
    };
    let progress = Progress::bar("run beside others", numbers.len() * subjects.len());
    let take = |number: u32| {
        let figures = subjects.iter().map(|subject| {
            progress.step(&format!("{number} of {}", subject.name));
            let figure = beside_others(ground, subjects, subject, number, extent);
            figure.unwrap_or_else(|why| Figure::failed(&subject.name, &format!("{why:#}")))
        });
        Measured {
            id: format!("beside-{number}"),
            title: format!("run beside {number} containers"),
            unit: "ms".into(),
            figures: figures.collect(),
        }
    };
    let growth = numbers.iter().map(|it| (*it, take(*it))).collect();
    progress.finish();
    growth
}

fn beside_others(
    ground: &Ground<'_>,
    subjects: &[Subject],
    subject: &Subject,
    number: u32,
    extent: Extent,
) -> Result<Figure> {
    const ROUNDS: usize = 25;
    let create = |_| {
        let trial = Trial::new(ground, subject, Config::of(Flavour::Plain))?;
        trial.create().map(|_| trial)
    };
    let others: Vec<Trial<'_>> = (0..number).map(create).collect::<Result<_>>()?;
    // The kernel is done with what it does later.
    std::thread::sleep(Duration::from_millis(200));
    let mut cases: Vec<Case<'_>> = subjects
        .iter()
        .filter(|it| it.is_floor() || it.name == subject.name)
        .map(|it| Case::new(&it.name, move || run(ground, it, Flavour::Plain)))
        .collect();
    let samples = alternate(&mut cases, extent.rounds(ROUNDS), || {});
    drop(others);
    // Network namespaces go one after the other, long after their processes.
    std::thread::sleep(Duration::from_millis(10) * number);
    let floor = samples.iter().find(|it| it.name == Subject::FLOOR);
    let own = samples.iter().find(|it| it.name == subject.name);
    own.map(|own| Figure::of(own, floor))
        .context("it did not run")
}

/// `run` with so many bind mounts, and the microseconds of one of them.
pub(crate) fn mounts(
    ground: &Ground<'_>,
    subjects: &[Subject],
    extent: Extent,
) -> (Growth, Measured) {
    const ROUNDS: usize = 200;
    let numbers: &[u32] = match extent {
        Extent::Full => &[0, MOST_MOUNTS / 2, MOST_MOUNTS],
        Extent::Quick => &[0, MOST_MOUNTS],
    };
    let rounds = extent.rounds(ROUNDS);
    let progress = Progress::bar("run with mounts", rounds);
    let mut cases = Vec::new();
    for number in numbers {
        for subject in subjects {
            cases.push(Case::new(&subject.name, move || {
                run(ground, subject, Flavour::Mounts(*number))
            }));
        }
    }
    let samples = alternate(&mut cases, rounds, || progress.step(""));
    progress.finish();
    let by_number: Vec<&[Samples]> = samples.chunks(subjects.len()).collect();
    let growth = numbers.iter().zip(&by_number).map(|(number, samples)| {
        let id = format!("mounts-{number}");
        let title = format!("run with {number} bind mounts");
        (*number, Measured::of(&id, &title, "ms", samples))
    });
    let without = by_number.first().copied().unwrap_or_default();
    let with = by_number.last().copied().unwrap_or_default();
    let slopes: Vec<Samples> = without
        .iter()
        .zip(with)
        .map(|(without, with)| slope(without, with))
        .collect();
    let mut slope = Measured::of("mount", "a bind mount, of 100", "µs", &slopes);
    compare_medians(&mut slope);
    (growth.collect(), slope)
}

/// A difference of two times of a round is the floor's now and then next to nothing, or less. So here a ratio is to
/// the median of the floor's differences.
fn compare_medians(slope: &mut Measured) {
    let floor = slope.figures.iter().find(|it| it.name == Subject::FLOOR);
    let Some(floor) = floor.and_then(|it| it.figure) else {
        return;
    };
    for figure in &mut slope.figures {
        let ratios = figure.rounds.iter().flatten().map(|own| own / floor.median);
        figure.ratio = Spread::of(ratios);
    }
}

/// Microseconds of a mount, from the difference within each round.
fn slope(without: &Samples, with: &Samples) -> Samples {
    let figures = without.figures.iter().zip(&with.figures);
    let each = |(without, with): (&Option<f64>, &Option<f64>)| {
        Some(((*with)? - (*without)?) * 1e3 / f64::from(MOST_MOUNTS))
    };
    Samples {
        name: with.name.clone(),
        figures: figures.map(each).collect(),
        failures: with.failures.clone(),
    }
}
