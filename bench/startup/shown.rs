//! The starts as tables, charts and text.

use super::Results;
use super::cases::{Figure, Measured};
use super::growth::Growth;
use super::there;
use super::trial::Subject;
use crate::report::{Cell, Chart, Curve, Plot, Row, Scale, Section, Series, Table, round};
use crate::rounds::Spread;
use serde_json::{Value, json};

pub(super) fn section(subjects: &[Subject], results: &Results) -> Section {
    let timed: Vec<&Measured> = timed(results).collect();
    let weights: Vec<&Measured> = weights(results).collect();
    let rates: Vec<Measured> = results.together.iter().map(per_second).collect();
    let mut text = text(results);
    text.extend(timed.iter().chain(&weights).flat_map(|it| failures(it)));
    let figures: Vec<&Measured> = timed.iter().copied().chain(&rates).collect();
    Section {
        id: "startup".into(),
        title: "What a start costs".into(),
        text,
        tables: vec![
            ratios(subjects, &timed),
            absolute(
                "startup-figures",
                "The figures themselves",
                subjects,
                &figures,
            ),
            absolute("startup-weights", "What a start takes", subjects, &weights),
        ],
        charts: vec![
            cases(subjects, &results.alone),
            throughput(subjects, &rates),
            curves(
                subjects,
                &results.beside,
                (
                    "beside",
                    "A run beside other containers",
                    "containers on the host",
                ),
            ),
            curves(
                subjects,
                &results.mounts,
                ("mounts", "A run with bind mounts", "mounts in the config"),
            ),
        ],
        commands: vec!["make bench ARGS=\"--only startup\"".into()],
        value: value(results),
    }
}

fn timed(results: &Results) -> impl Iterator<Item = &Measured> {
    let beside = results.beside.iter().map(|(_, it)| it);
    let there = results.there.iter().filter(|it| it.id != there::LEAST);
    let here = results.alone.iter().chain(&results.together).chain(beside);
    here.chain([&results.mount]).chain(there)
}

fn weights(results: &Results) -> impl Iterator<Item = &Measured> {
    let there = results.there.iter().filter(|it| it.id == there::LEAST);
    results.weights.iter().chain(there)
}

fn text(results: &Results) -> Vec<String> {
    let scheduling = match results.real_time {
        true => {
            "They run under SCHED_FIFO, so that what else the machine does is not in their way."
        }
        false => "They run as all processes do: this machine refuses SCHED_FIFO.",
    };
    vec![
        "The floor is a C program (bench/floor.c) that makes the system calls which a default container cannot do without, \
         in the order that needs fewest, and nothing else: it reads no config, checks nothing, and keeps next to no state. Every \
         round does each case once with each of them, in a new random order, and a ratio is of two times of the same round: \
         the median, with the quartiles behind it. Less is better."
            .into(),
        format!(
            "The config is the one that casulo spec writes, and the program ends at once. With Docker's profile, the floor loads \
             the program that casulo has compiled. The three commands of create + start + delete count, and not the wait for the \
             container's end in between. {scheduling}"
        ),
        "Beside other containers means beside so many created ones of the same runtime; a ratio there is to the floor on the \
         same host. That of a mount is to the median of the floor's, because a single difference of two times is next to nothing \
         now and then. The peak memory is VmHWM of the process of run while its container waits; that of a waiting init is its PSS \
         after create. What needs systemd or the memory controller is asked in the test host, an emulated machine."
            .into(),
    ]
}

/// What could not be measured, in sentences: those who failed for the same reason share one.
fn failures(measured: &Measured) -> Vec<String> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for figure in measured.figures.iter().filter(|it| !it.failures.is_empty()) {
        let what = match figure.figure {
            Some(_) => "failed at times",
            None => "not measured",
        };
        let why = format!("{what}: {}", figure.failures.join("; "));
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(&figure.name),
            None => reasons.push((why, vec![&figure.name])),
        }
    }
    let sentence = |(why, names): (String, Vec<&str>)| {
        format!("{}, {}: {why}", names.join(", "), measured.title)
    };
    reasons.into_iter().map(sentence).collect()
}

fn head(subjects: &[Subject]) -> Vec<Cell> {
    let mut head = vec![Cell::plain("")];
    head.extend(subjects.iter().map(|it| Cell::plain(&it.name)));
    head
}

/// The floor in its unit, and the others as ratios to it.
fn ratios(subjects: &[Subject], rows: &[&Measured]) -> Table {
    let row = |measured: &&Measured| Row {
        label: Cell::plain(&measured.title),
        cells: cells(subjects, measured, |subject, figure| {
            match (subject.is_floor(), figure.figure) {
                (true, Some(spread)) => {
                    let text = format!("{} {}", round(spread.median), measured.unit);
                    Cell::plain(text).with_details(quartiles(spread, &measured.unit))
                }
                _ => Cell::ratio(figure.ratio),
            }
        }),
    };
    Table {
        id: "startup-ratios".into(),
        title: "Times the floor".into(),
        head: head(subjects),
        rows: rows.iter().map(row).collect(),
    }
}

fn absolute(id: &str, title: &str, subjects: &[Subject], rows: &[&Measured]) -> Table {
    let row = |measured: &&Measured| {
        let label = match measured.unit.as_str() {
            "" => measured.title.clone(),
            unit => format!("{}, {unit}", measured.title),
        };
        Row {
            label: Cell::plain(label),
            cells: cells(subjects, measured, |_, figure| match figure.figure {
                Some(spread) => Cell::plain(round(spread.median))
                    .with_details(quartiles(spread, &measured.unit)),
                None => Cell::ratio(None),
            }),
        }
    };
    Table {
        id: id.into(),
        title: title.into(),
        head: head(subjects),
        rows: rows.iter().map(row).collect(),
    }
}

/// A cell for everybody, with the reason where there is no figure, or where there are fewer.
fn cells(
    subjects: &[Subject],
    measured: &Measured,
    shown: impl Fn(&Subject, &Figure) -> Cell,
) -> Vec<Cell> {
    let cell = |subject: &Subject| {
        let figure = measured.figures.iter().find(|it| it.name == subject.name);
        let Some(figure) = figure else {
            return Cell::ratio(None).with_details("not measured for this one");
        };
        let cell = shown(subject, figure);
        let details = format!("{} {}", cell.details, figure.failures.join("; "));
        cell.with_details(details.trim())
    };
    subjects.iter().map(cell).collect()
}

fn quartiles(spread: Spread, unit: &str) -> String {
    let (low, high) = (round(spread.low), round(spread.high));
    let count = spread.count;
    format!("half of {count} rounds between {low} and {high} {unit}")
}

/// Milliseconds a container as containers a second.
fn per_second(measured: &Measured) -> Measured {
    let turned = |spread: Spread| Spread {
        low: 1e3 / spread.high,
        median: 1e3 / spread.median,
        high: 1e3 / spread.low,
        count: spread.count,
    };
    let mut rate = measured.clone();
    rate.unit = "containers a second".into();
    for figure in &mut rate.figures {
        figure.figure = figure.figure.map(turned);
        // They are told once.
        figure.failures.clear();
    }
    rate
}

/// Everybody's points of these rows.
fn series<'a>(
    subjects: impl Iterator<Item = &'a Subject>,
    rows: &[Measured],
    point: impl Fn(&Figure) -> Option<Spread>,
) -> Vec<Series> {
    let one = |subject: &Subject| Series {
        name: subject.name.clone(),
        points: rows
            .iter()
            .filter_map(|row| {
                let figure = row.figures.iter().find(|it| it.name == subject.name)?;
                Some((row.title.clone(), point(figure)?))
            })
            .collect(),
    };
    subjects.map(one).collect()
}

/// The runtimes first, and the floor after them.
fn floor_last(subjects: &[Subject]) -> impl Iterator<Item = &Subject> {
    let floor = subjects.iter().filter(|it| it.is_floor());
    subjects.iter().filter(|it| !it.is_floor()).chain(floor)
}

fn cases(subjects: &[Subject], rows: &[Measured]) -> Chart {
    let runtimes = subjects.iter().filter(|it| !it.is_floor());
    let ratios = rows.iter().flat_map(|it| &it.figures);
    let ratios = ratios.filter_map(|it| it.ratio);
    let scale = match ratios.map(|it| it.median).fold(1.0, f64::max) {
        widest if widest > 5.0 => Scale::Logarithmic,
        _ => Scale::FromZero,
    };
    Chart {
        id: "startup-cases".into(),
        title: "A start".into(),
        axis: "times the floor".into(),
        plot: Plot::Ranges {
            scale,
            base: Some(1.0),
            series: series(runtimes, rows, |it| it.ratio),
        },
    }
}

fn throughput(subjects: &[Subject], rows: &[Measured]) -> Chart {
    Chart {
        id: "startup-throughput".into(),
        title: "Throughput".into(),
        axis: "containers a second".into(),
        plot: Plot::Ranges {
            scale: Scale::FromZero,
            base: None,
            series: series(floor_last(subjects), rows, |it| it.figure),
        },
    }
}

fn curves(subjects: &[Subject], growth: &Growth, (id, title, across): (&str, &str, &str)) -> Chart {
    let curve = |subject: &Subject| Curve {
        name: subject.name.clone(),
        points: growth
            .iter()
            .filter_map(|(number, row)| {
                let figure = row.figures.iter().find(|it| it.name == subject.name)?;
                Some((f64::from(*number), figure.figure?))
            })
            .collect(),
    };
    Chart {
        id: format!("startup-{id}"),
        title: title.into(),
        axis: "ms".into(),
        plot: Plot::Curves {
            across: across.into(),
            curves: floor_last(subjects).map(curve).collect(),
        },
    }
}

fn value(results: &Results) -> Value {
    let growth = |growth: &Growth| {
        let points = growth.iter();
        json!(
            points
                .map(|(number, it)| json!({"number": number, "measured": it}))
                .collect::<Vec<_>>()
        )
    };
    json!({
        "real time": results.real_time,
        "alone": results.alone,
        "at once": results.together,
        "beside": growth(&results.beside),
        "mounts": growth(&results.mounts),
        "mount": results.mount,
        "weights": results.weights,
        "test host": results.there,
    })
}
