//! The measures as tables and charts.

use super::Measure;
use crate::environments::Environment;
use crate::report::{Cell, Chart, Plot, Row, Scale, Section, Series, Table, round};
use crate::rounds::Samples;
use serde_json::{Value, json};

/// What everything is compared to.
const BASE: &str = "chroot";

type Result<'a> = (&'a Measure, Vec<Samples>);

pub(crate) fn section(
    environments: &[Environment],
    results: &[Result<'_>],
    real_time: bool,
) -> Section {
    let scheduling = match real_time {
        true => {
            "Timed processes run under SCHED_FIFO, so that what else the machine does is not in their way."
        }
        false => "Timed processes run as all others do: this machine refuses SCHED_FIFO.",
    };
    Section {
        id: "cost".into(),
        title: "What it costs".into(),
        text: vec![
            "The same work in every environment, as a ratio to the same in a plain chroot in the same round: the median, \
             with the quartiles behind it. Every round does each once, in a new random order. Less is better."
                .into(),
            "chroot(1), unshare(1) and nsenter(1) are dynamically linked: most of the time to the first instruction there is \
             the start of that program itself. Nothing, the first row, is fork and execve alone."
                .into(),
            scheduling.into(),
            "The memory of processes is their PSS, in which a page that several have counts in parts; that of the kernel \
             is what Slab, KernelStack, PageTables and Percpu in /proc/meminfo grow by."
                .into(),
        ],
        tables: vec![ratios(environments, results), figures(environments, results)],
        charts: results.iter().map(chart).collect(),
        commands: vec!["make bench ARGS=\"--only cost\"".into()],
        value: results
            .iter()
            .map(|(measure, samples)| (measure.id.to_owned(), numbers(measure, samples)))
            .collect::<serde_json::Map<String, Value>>()
            .into(),
    }
}

fn base(samples: &[Samples]) -> Option<&Samples> {
    samples.iter().find(|it| it.name == BASE)
}

fn numbers(measure: &Measure, samples: &[Samples]) -> Value {
    let environments = samples.iter().map(|own| {
        let ratio = base(samples).and_then(|base| own.ratio_to(base));
        let value = json!({
            "figure": own.spread(), "ratio": ratio, "rounds": own.figures, "failures": own.failures
        });
        (own.name.clone(), value)
    });
    json!({
        "title": measure.title,
        "unit": measure.unit,
        "environments": environments.collect::<serde_json::Map<String, Value>>(),
    })
}

fn head(environments: &[Environment]) -> Vec<Cell> {
    let mut head = vec![Cell::plain("")];
    head.extend(
        environments
            .iter()
            .map(|it| Cell::plain(&it.name).with_details(&it.about)),
    );
    head
}

fn ratios(environments: &[Environment], results: &[Result<'_>]) -> Table {
    let rows = results.iter().map(|(measure, samples)| Row {
        label: Cell::plain(measure.title),
        cells: samples
            .iter()
            .map(|own| {
                let ratio = base(samples).and_then(|base| own.ratio_to(base));
                or_failure(Cell::ratio(ratio), own)
            })
            .collect(),
    });
    Table {
        id: "cost-ratios".into(),
        title: "Times a plain chroot".into(),
        head: head(environments),
        rows: rows.collect(),
    }
}

fn figures(environments: &[Environment], results: &[Result<'_>]) -> Table {
    let rows = results.iter().map(|(measure, samples)| Row {
        label: Cell::plain(format!("{}, {}", measure.title, measure.unit)),
        cells: samples
            .iter()
            .map(|own| {
                let cell = own.spread().map(|spread| {
                    Cell::plain(round(spread.median)).with_details(format!(
                        "half of {} rounds between {} and {} {}",
                        spread.count,
                        round(spread.low),
                        round(spread.high),
                        measure.unit
                    ))
                });
                or_failure(cell.unwrap_or_else(|| Cell::ratio(None)), own)
            })
            .collect(),
    });
    Table {
        id: "cost-figures".into(),
        title: "The figures themselves".into(),
        head: head(environments),
        rows: rows.collect(),
    }
}

/// Why there is no figure, or why there are fewer.
fn or_failure(cell: Cell, samples: &Samples) -> Cell {
    match samples.failures.is_empty() {
        true => cell,
        false => {
            let details = format!("{} {}", cell.details, samples.failures.join("; "));
            cell.with_details(details.trim())
        }
    }
}

fn chart((measure, samples): &Result<'_>) -> Chart {
    let points = samples.iter().filter_map(|own| {
        let ratio = own.ratio_to(base(samples)?)?;
        Some((own.name.clone(), ratio))
    });
    let points: Vec<_> = points.collect();
    let widest = points.iter().map(|(_, it)| it.median).fold(1.0, f64::max);
    Chart {
        id: format!("cost-{}", measure.id),
        title: measure.title.into(),
        axis: "times a plain chroot".into(),
        plot: Plot::Ranges {
            scale: if widest > 5.0 {
                Scale::Logarithmic
            } else {
                Scale::FromZero
            },
            base: Some(1.0),
            series: vec![Series {
                name: measure.title.into(),
                points,
            }],
        },
    }
}
