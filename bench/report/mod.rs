//! What a part of the benchmark hands over to be shown: text, tables and charts. The terminal, the
//! page and the JSON file are made of the same values.

mod charts;
pub(crate) mod check;
pub(crate) mod numbers;
pub(crate) mod page;
pub(crate) mod progress;
pub(crate) mod terminal;

use crate::rounds::Spread;
use serde::Serialize;

/// A part of the report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Section {
    /// A word for links and keys: `isolation`, `cost`, `startup`.
    pub(crate) id: String,
    pub(crate) title: String,
    /// Paragraphs above the tables: what was done, and how to read it.
    pub(crate) text: Vec<String>,
    pub(crate) tables: Vec<Table>,
    pub(crate) charts: Vec<Chart>,
    /// Command lines with which a reader can repeat it.
    pub(crate) commands: Vec<String>,
    /// The numbers themselves, for other programs; the page does not show them.
    #[serde(skip)]
    pub(crate) value: serde_json::Value,
}

/// A table: a head, and rows of as many cells.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) head: Vec<Cell>,
    pub(crate) rows: Vec<Row>,
}

/// A row; a row without cells is a heading for those below it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) label: Cell,
    pub(crate) cells: Vec<Cell>,
}

/// What a table shows in one place.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) mark: Mark,
    /// What is behind it; shown when the reader asks. May be empty.
    pub(crate) details: String,
}

/// How a cell is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mark {
    #[default]
    Plain,
    /// Isolation held: good.
    Held,
    /// Something got through.
    Leaked,
    /// The question has no answer there.
    NotApplicable,
}

/// A picture of numbers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Chart {
    pub(crate) id: String,
    pub(crate) title: String,
    /// What the numbers count, with their unit: `times the floor`, `ms`.
    pub(crate) axis: String,
    pub(crate) plot: Plot,
}

/// The kinds of pictures.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Plot {
    /// A line of the picture per label, and in it a mark per series: the median between the quartiles.
    Ranges {
        scale: Scale,
        /// A line through the picture at this value: what the others are compared to.
        base: Option<f64>,
        series: Vec<Series>,
    },
    /// How a number grows with another.
    Curves {
        /// What the other number counts.
        across: String,
        curves: Vec<Curve>,
    },
}

/// How far apart numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scale {
    FromZero,
    Logarithmic,
}

/// One colour of a picture of ranges: `(label, figure)`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(String, Spread)>,
}

/// One colour of a picture of curves: `(across, figure)`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, Spread)>,
}

impl Cell {
    /// Plain text with nothing behind it.
    pub(crate) fn plain(text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            ..Cell::default()
        }
    }

    /// The same with more behind it.
    pub(crate) fn with_details(self, details: impl Into<String>) -> Cell {
        Cell {
            details: details.into(),
            ..self
        }
    }

    /// A ratio, `1.52`, with its quartiles behind it.
    pub(crate) fn ratio(spread: Option<Spread>) -> Cell {
        let Some(spread) = spread else {
            return Cell {
                text: "–".into(),
                mark: Mark::NotApplicable,
                details: String::new(),
            };
        };
        Cell::plain(round(spread.median)).with_details(format!(
            "half of {} ratios between {} and {}",
            spread.count,
            round(spread.low),
            round(spread.high)
        ))
    }
}

/// Three digits that count, without an exponent.
pub(crate) fn round(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 || value == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
