//! The cases that are timed: each once a round, by the floor and by every runtime.

use super::ground::{ENDS, Ground, WAITS};
use super::step::{Step, first_to_end, until};
use super::trial::{Config, Flavour, Subject, Trial, reap};
use crate::report::progress::Progress;
use crate::rounds::{Case, Samples, Spread, alternate};
use anyhow::{Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A row of the report: the same of everybody.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) figures: Vec<Figure>,
}

/// What was measured of one of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) figure: Option<Spread>,
    /// To the floor of the same round.
    pub(crate) ratio: Option<Spread>,
    pub(crate) rounds: Vec<Option<f64>>,
    pub(crate) failures: Vec<String>,
}

impl Figure {
    pub(crate) fn of(own: &Samples, floor: Option<&Samples>) -> Figure {
        // Messages have numbers in them, so that one cause may have many.
        const SHOWN: usize = 2;
        Figure {
            name: own.name.clone(),
            figure: own.spread(),
            ratio: floor.and_then(|floor| own.ratio_to(floor)),
            rounds: own.figures.clone(),
            failures: own.failures.iter().take(SHOWN).cloned().collect(),
        }
    }

    /// Of one for which nothing could be measured.
    pub(crate) fn failed(name: &str, why: &str) -> Figure {
        Figure {
            name: name.to_owned(),
            figure: None,
            ratio: None,
            rounds: Vec::new(),
            failures: vec![why.to_owned()],
        }
    }
}

impl Measured {
    pub(crate) fn of(id: &str, title: &str, unit: &str, samples: &[Samples]) -> Measured {
        let floor = samples.iter().find(|it| it.name == Subject::FLOOR);
        Measured {
            id: id.to_owned(),
            title: title.to_owned(),
            unit: unit.to_owned(),
            figures: samples.iter().map(|it| Figure::of(it, floor)).collect(),
        }
    }
}

/// A case: its word, what it is, how often it is measured in a full run.
struct Timed {
    id: &'static str,
    title: &'static str,
    rounds: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Run(Flavour),
    /// create, start and delete; the wait for the container's end in between does not count.
    Steps,
    Exec(Flavour),
    /// Milliseconds a container, with so many runtimes at work.
    AtOnce(usize),
}

const CASES: &[Timed] = &[
    Timed {
        id: "run",
        title: "run",
        rounds: 100,
        kind: Kind::Run(Flavour::Plain),
    },
    Timed {
        id: "run-seccomp",
        title: "run, Docker's seccomp",
        rounds: 100,
        kind: Kind::Run(Flavour::Seccomp),
    },
    Timed {
        id: "run-user-namespace",
        title: "run, user namespace",
        rounds: 100,
        kind: Kind::Run(Flavour::UserNamespace),
    },
    Timed {
        id: "create-start-delete",
        title: "create + start + delete",
        rounds: 100,
        kind: Kind::Steps,
    },
    Timed {
        id: "exec",
        title: "exec",
        rounds: 100,
        kind: Kind::Exec(Flavour::Plain),
    },
    Timed {
        id: "exec-seccomp",
        title: "exec, Docker's seccomp",
        rounds: 100,
        kind: Kind::Exec(Flavour::Seccomp),
    },
];

/// Those for the throughput.
const TOGETHER: &[Timed] = &[
    Timed {
        id: "at-once-2",
        title: "run, 2 at once",
        rounds: 20,
        kind: Kind::AtOnce(2),
    },
    Timed {
        id: "at-once-4",
        title: "run, 4 at once",
        rounds: 20,
        kind: Kind::AtOnce(4),
    },
];

/// Rounds of a quick run.
pub(crate) const QUICK: usize = 2;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Full,
    Quick,
}

impl Extent {
    pub(crate) fn rounds(self, full: usize) -> usize {
        match self {
            Extent::Full => full,
            Extent::Quick => full.min(QUICK),
        }
    }

    /// Containers in a row for the throughput.
    fn in_a_row(self) -> usize {
        match self {
            Extent::Full => 16,
            Extent::Quick => 4,
        }
    }
}

pub(crate) fn alone(ground: &Ground<'_>, subjects: &[Subject], extent: Extent) -> Vec<Measured> {
    let timed = CASES.iter();
    timed.map(|it| it.take(ground, subjects, extent)).collect()
}

pub(crate) fn together(ground: &Ground<'_>, subjects: &[Subject], extent: Extent) -> Vec<Measured> {
    let timed = TOGETHER.iter();
    timed.map(|it| it.take(ground, subjects, extent)).collect()
}

impl Timed {
    fn take(&self, ground: &Ground<'_>, subjects: &[Subject], extent: Extent) -> Measured {
        let rounds = extent.rounds(self.rounds);
        let progress = Progress::bar(self.title, rounds);
        let kept: Vec<Result<Trial<'_>>> = match self.kind {
            Kind::Exec(flavour) => subjects
                .iter()
                .map(|subject| keep(ground, subject, flavour))
                .collect(),
            _ => Vec::new(),
        };
        let mut kept = kept.iter();
        let mut cases: Vec<Case<'_>> = subjects
            .iter()
            .map(|subject| {
                let kept = kept.next();
                Case::new(&subject.name, move || match (self.kind, kept) {
                    (Kind::Run(flavour), _) => run(ground, subject, flavour),
                    (Kind::Steps, _) => steps(ground, subject),
                    (Kind::AtOnce(many), _) => at_once(ground, subject, many, extent.in_a_row()),
                    (Kind::Exec(_), Some(Ok(kept))) => kept.exec(),
                    (Kind::Exec(_), Some(Err(why))) => Err(anyhow!("{why:#}")),
                    (Kind::Exec(_), None) => bail!("there is no container"),
                })
            })
            .collect();
        let samples = alternate(&mut cases, rounds, || progress.step(""));
        progress.finish();
        Measured::of(self.id, self.title, "ms", &samples)
    }
}

pub(crate) fn run(ground: &Ground<'_>, subject: &Subject, flavour: Flavour) -> Result<f64> {
    Trial::new(ground, subject, Config::of(flavour))?.run()
}

fn steps(ground: &Ground<'_>, subject: &Subject) -> Result<f64> {
    let trial = Trial::new(ground, subject, Config::of(Flavour::Plain))?;
    let created = trial.create()?;
    let pid = trial.pid()?;
    let started = trial.start()?;
    reap(pid)?;
    Ok(created + started + trial.delete()?)
}

/// A container whose program waits.
fn keep<'a>(ground: &'a Ground<'a>, subject: &'a Subject, flavour: Flavour) -> Result<Trial<'a>> {
    let program = WAITS;
    let trial = Trial::new(ground, subject, Config { flavour, program })?;
    trial.create()?;
    trial.start()?;
    until("the container's program", || {
        trial.has_program().then_some(())
    })?;
    Ok(trial)
}

/// So many in a row, of which as many run at once.
fn at_once(ground: &Ground<'_>, subject: &Subject, many: usize, count: usize) -> Result<f64> {
    let config = Config {
        flavour: Flavour::Plain,
        program: ENDS,
    };
    let trials: Vec<Trial<'_>> = (0..count)
        .map(|_| Trial::new(ground, subject, config))
        .collect::<Result<_>>()?;
    let commands: Vec<_> = trials.iter().map(Trial::run_command).collect();
    let mut commands = commands.into_iter();
    let mut running: Vec<Step> = Vec::new();
    let begin = Instant::now();
    loop {
        while running.len() < many
            && let Some(command) = commands.next()
        {
            running.push(ground.steps.begin(command)?);
        }
        if running.is_empty() {
            break;
        }
        let ended = first_to_end(&running)?;
        running.swap_remove(ended).finish(&ground.steps)?;
    }
    let took = begin.elapsed().as_secs_f64() * 1e3;
    trials.iter().for_each(Trial::has_run);
    Ok(took / f64::from(u32::try_from(count)?))
}
