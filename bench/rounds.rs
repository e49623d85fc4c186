//! Paired measurements: every round runs each case once, in a new random order, and what counts is
//! the ratio of two figures of the same round. What slows the machine for a while slows both.

use anyhow::Result;
use std::collections::HashSet;

/// What is measured: once a round, by its function.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    /// Returns one figure, in whatever unit the caller likes; or why there is none.
    pub(crate) measure: Box<dyn FnMut() -> Result<f64> + 'a>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        measure: impl FnMut() -> Result<f64> + 'a,
    ) -> Case<'a> {
        Case {
            name: name.into(),
            measure: Box::new(measure),
        }
    }
}

/// The figures of a case: one a round, in the order of the rounds; none where it failed.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub(crate) name: String,
    pub(crate) figures: Vec<Option<f64>>,
    /// What went wrong, each message once.
    pub(crate) failures: Vec<String>,
}

/// The first rounds fill caches and are thrown away.
const WARM_UP: usize = 2;

/// Runs all cases for so many rounds; one that fails in all that are thrown away is given up. `tick` is called after each round.
pub(crate) fn alternate(
    cases: &mut [Case<'_>],
    rounds: usize,
    mut tick: impl FnMut(),
) -> Vec<Samples> {
    let mut samples: Vec<Samples> = cases
        .iter()
        .map(|case| Samples {
            name: case.name.clone(),
            figures: Vec::new(),
            failures: Vec::new(),
        })
        .collect();
    let mut order: Vec<usize> = (0..cases.len()).collect();
    let mut seen = HashSet::new();
    let mut misses = vec![0; cases.len()];
    for round in 0..WARM_UP + rounds {
        fastrand::shuffle(&mut order);
        for &index in &order {
            // What never works may take its whole limit of time to say so.
            if misses[index] == WARM_UP {
                samples[index].figures.push(None);
                continue;
            }
            let figure = (cases[index].measure)();
            if figure.is_err() && round < WARM_UP {
                misses[index] += 1;
            }
            if let Err(why) = &figure {
                let why = format!("{why:#}");
                if seen.insert((index, why.clone())) {
                    samples[index].failures.push(why);
                }
            }
            if round >= WARM_UP {
                samples[index].figures.push(figure.ok());
            }
        }
        tick();
    }
    samples
}

/// A median with the two quartiles around it.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
    /// How many figures these are of.
    pub(crate) count: usize,
}

impl Spread {
    /// None if there is no figure at all.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(Spread {
            low: sorted[last / 4],
            median: sorted[last / 2],
            high: sorted[last - last / 4],
            count: sorted.len(),
        })
    }
}

impl Samples {
    /// The figures themselves.
    pub(crate) fn spread(&self) -> Option<Spread> {
        Spread::of(self.figures.iter().flatten().copied())
    }

    /// The ratios to `base`, round by round.
    pub(crate) fn ratio_to(&self, base: &Samples) -> Option<Spread> {
        Spread::of(
            self.figures
                .iter()
                .zip(&base.figures)
                .filter_map(|(ours, theirs)| Some(ours.as_ref()? / theirs.as_ref()?)),
        )
    }
}
