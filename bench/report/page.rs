//! The report as one HTML file that needs nothing else: no network, no script.

use super::charts::{self, PALETTE};
use super::{Chart, Section};
use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Serialize;
use std::fmt::Write;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// A chart, drawn.
#[derive(Serialize)]
struct Drawn {
    id: String,
    title: String,
    svg: String,
    legend: Vec<(String, &'static str)>,
}

/// The page.
pub(crate) fn render(
    facts: &[(String, String)],
    sections: &[Section],
    command: &str,
) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_template("page.html", PAGE)?;
    let drawn: Vec<Vec<Drawn>> = sections
        .iter()
        .map(|section| section.charts.iter().map(draw).collect())
        .collect();
    environment.get_template("page.html")?.render(context! {
        command,
        glyphs => context! { held => "✓", leaked => "✗" },
        facts => Serde(facts),
        sections => Serde(sections),
        drawn => Serde(&drawn),
        style => STYLE,
        dark => dark(),
    })
}

fn draw(chart: &Chart) -> Drawn {
    let names = charts::legend(chart).into_iter().enumerate();
    Drawn {
        id: chart.id.clone(),
        title: chart.title.clone(),
        svg: charts::svg(chart),
        legend: names
            .map(|(index, name)| (name, charts::series_colour(index)))
            .collect(),
    }
}

/// Rules that give each colour of a chart its counterpart in the dark.
fn dark() -> String {
    let mut rules = String::new();
    for (light, dark) in PALETTE {
        let _ = writeln!(
            rules,
            "svg [fill=\"{light}\"], .key[fill=\"{light}\"] {{ fill: {dark} }} svg [stroke=\"{light}\"] {{ stroke: {dark} }}"
        );
    }
    rules
}
