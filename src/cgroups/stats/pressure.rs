//! `*.pressure`: time in which processes were held up by the lack of something (kernel,
//! accounting/psi.rst).

use super::text::{Fields, nested_keyed};
use serde::Serialize;

/// One pressure file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Pressure {
    /// Some of the processes waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub some: Option<Stall>,
    /// All of them waited. `cpu.pressure` has this line since Linux 5.13.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<Stall>,
}

/// One line of it: percentages of the last 10, 60 and 300 seconds, and the sum in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Stall {
    /// Of 10 s.
    pub avg10: f64,
    /// Of 60 s.
    pub avg60: f64,
    /// Of 300 s.
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

impl Pressure {
    /// None for a file without such lines.
    pub(super) fn parse(text: &str) -> Option<Pressure> {
        let line = |wanted: &str| {
            nested_keyed(text)
                .find(|(key, _)| *key == wanted)
                .map(|(_, fields)| stall(fields))
        };
        let pressure = Pressure {
            some: line("some"),
            full: line("full"),
        };
        (pressure.some.is_some() || pressure.full.is_some()).then_some(pressure)
    }
}

fn stall(fields: Fields<'_>) -> Stall {
    // JSON has no infinity.
    let share = |key: &str| fields.get(key).filter(|it: &f64| it.is_finite());
    Stall {
        avg10: share("avg10").unwrap_or_default(),
        avg60: share("avg60").unwrap_or_default(),
        avg300: share("avg300").unwrap_or_default(),
        total: fields.get("total").unwrap_or_default(),
    }
}
