//! The matrix as tables and text.

use super::facts::Outcome;
use super::matrix::{Matrix, Verdict};
use super::probes::{self, Probe};
use crate::environments::Environment;
use crate::report::{Cell, Mark, Row, Section, Table};
use serde_json::json;

pub(crate) fn section(environments: &[Environment], here: &Matrix, elsewhere: &Matrix) -> Section {
    let there = elsewhere.verdicts.iter().cloned().map(|mut verdict| {
        if !elsewhere.kernel.is_empty() {
            verdict.finding.evidence = format!("In the test host: {}", verdict.finding.evidence);
        }
        verdict
    });
    let verdicts: Vec<Verdict> = here.verdicts.iter().cloned().chain(there).collect();
    let mut text = vec![
        "Each row is a small program that tries one thing from inside; each column is what it was started in. \
         ✓ held: it did not get through. ✗ leaked: it did, to something of the host's. A cell opens on what the \
         kernel answered, or on what the program saw."
            .to_owned(),
        format!(
            "The host of these probes is this machine (Linux {}), in namespaces of the benchmark's own for mounts, \
             the host's name and System V objects, so that what gets through changes nothing.",
            here.kernel
        ),
    ];
    if !elsewhere.kernel.is_empty() {
        text.push(format!(
            "What could harm a machine, what needs limits (the last two groups), and what this machine does not have \
             was asked in a virtual machine (Linux {}), the test host. The limits there are 64 MB of memory, 32 processes, \
             a fifth of a CPU and 1 MB a second to the disk; an engine sets such limits only when it is told to.",
            elsewhere.kernel
        ));
    }
    Section {
        id: "isolation".into(),
        title: "What holds".into(),
        text,
        tables: vec![matrix(environments, &verdicts), legend(environments)],
        charts: Vec::new(),
        commands: vec!["make bench ARGS=\"--only isolation\"".into()],
        value: json!({
            "kernels": {"here": here.kernel, "test host": elsewhere.kernel},
            "environments": environments.iter().map(|it| json!({
                "name": it.name, "about": it.about, "command": it.shown()
            })).collect::<Vec<_>>(),
            "probes": probes::all().iter().map(|it| json!({
                "name": it.name, "tries": it.tries, "group": it.group.title()
            })).collect::<Vec<_>>(),
            "verdicts": verdicts,
        }),
    }
}

fn matrix(environments: &[Environment], verdicts: &[Verdict]) -> Table {
    let mut rows = Vec::new();
    let mut group = None;
    for probe in probes::all() {
        if group != Some(probe.group) {
            group = Some(probe.group);
            rows.push(Row {
                label: Cell::plain(probe.group.title()),
                cells: Vec::new(),
            });
        }
        rows.push(Row {
            label: Cell::plain(probe.tries).with_details(format!("bench probe {}", probe.name)),
            cells: environments
                .iter()
                .map(|environment| cell(probe, environment, verdicts))
                .collect(),
        });
    }
    rows.push(totals(environments, verdicts));
    let mut head = vec![Cell::plain("")];
    head.extend(
        environments
            .iter()
            .map(|it| Cell::plain(&it.name).with_details(&it.about)),
    );
    Table {
        id: "matrix".into(),
        title: "Probes and what they were tried in".into(),
        head,
        rows,
    }
}

fn cell(probe: &Probe, environment: &Environment, verdicts: &[Verdict]) -> Cell {
    let verdict = verdicts
        .iter()
        .find(|it| it.probe == probe.name && it.environment == environment.name);
    let Some(verdict) = verdict else {
        return Cell {
            text: "n/a".into(),
            mark: Mark::NotApplicable,
            details: "not asked in a quick run".into(),
        };
    };
    let (text, mark) = match verdict.finding.outcome {
        Outcome::Held => ("held", Mark::Held),
        Outcome::Leaked => ("leaked", Mark::Leaked),
        Outcome::NotApplicable => ("n/a", Mark::NotApplicable),
    };
    Cell {
        text: text.into(),
        mark,
        details: verdict.finding.evidence.clone(),
    }
}

/// How much each environment holds.
fn totals(environments: &[Environment], verdicts: &[Verdict]) -> Row {
    let cells = environments.iter().map(|environment| {
        let count = |outcome| {
            verdicts
                .iter()
                .filter(|it| it.environment == environment.name && it.finding.outcome == outcome)
                .count()
        };
        let (held, leaked) = (count(Outcome::Held), count(Outcome::Leaked));
        Cell::plain(format!("{held}/{}", held + leaked))
            .with_details(format!("{held} held, {leaked} leaked"))
    });
    Row {
        label: Cell::plain("held, of those that apply"),
        cells: cells.collect(),
    }
}

fn legend(environments: &[Environment]) -> Table {
    let rows = environments.iter().map(|environment| Row {
        label: Cell::plain(&environment.name),
        cells: vec![
            Cell::plain(&environment.about),
            Cell::plain(environment.shown()),
        ],
    });
    Table {
        id: "environments".into(),
        title: "What the columns are".into(),
        head: vec![
            Cell::plain("environment"),
            Cell::plain("what it is"),
            Cell::plain("command"),
        ],
        rows: rows.collect(),
    }
}
