//! The formats of cgroup files (cgroup-v2.rst, "Format"). Pure. Lines that are not in the format,
//! as a later kernel may have them, are passed over.

use std::str::FromStr;

/// Flat keyed: `KEY VALUE` a line.
pub(super) fn flat_keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, number(value)?))
    })
}

/// Nested keyed: `KEY SUBKEY=VALUE SUBKEY=VALUE…` a line.
pub(super) fn nested_keyed(text: &str) -> impl Iterator<Item = (&str, Fields<'_>)> {
    text.lines().filter_map(|line| {
        let (key, fields) = line.split_once(' ')?;
        Some((key, Fields(fields)))
    })
}

/// The `SUBKEY=VALUE` of one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// All pairs, in order.
    pub(super) fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .split_ascii_whitespace()
            .filter_map(|field| field.split_once('='))
    }

    /// The value of one key; None where it is missing or of another type.
    pub(super) fn get<T: FromStr>(self, key: &str) -> Option<T> {
        let (_, value) = self.pairs().find(|(name, _)| *name == key)?;
        value.parse().ok()
    }
}

/// A file with one value.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// A file with one limit. No limit, `max`, is the largest number, as runc prints it.
pub(super) fn limit(text: &str) -> Option<u64> {
    match text.trim_end() {
        "max" => Some(u64::MAX),
        text => number(text),
    }
}

/// A list of CPUs or memory nodes: `0-3,7`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim_end()
        .split(',')
        .filter_map(range)
        .flatten()
        .collect()
}
