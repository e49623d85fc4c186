//! Annotations that change what systemd is told: `org.systemd.property.NAME`, as runc and crun have
//! it. Pure.

use super::Property;
use super::dbus::value::Value;
use super::gvariant;
use crate::error::Problems;
use crate::testing::without::{Defence, without};
use std::collections::HashMap;

const PREFIX: &str = "org.systemd.property.";

/// What would move the scope or its processes, or take the cgroups below it away from casulo.
const OURS: [&str; 7] = [
    "PIDs",
    "Slice",
    "Controller",
    "Delegate",
    "DelegateControllers",
    "DelegateSubgroup",
    "DisableControllers",
];

/// The properties, in the order of their names.
pub(super) fn properties(
    annotations: &HashMap<String, String>,
    problems: &mut Problems,
) -> Vec<Property> {
    let mut list: Vec<(&str, &str)> = annotations
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value.as_str())))
        .collect();
    list.sort_unstable();
    let mut properties = Vec::new();
    for (name, text) in list {
        match property(name, text) {
            Ok(property) => properties.push(property),
            Err(why) => problems.add(format!("annotations[\"{PREFIX}{name}\"]"), why),
        }
    }
    properties
}

fn property(name: &str, text: &str) -> Result<Property, String> {
    let is_name = name.len() >= 3 && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    match without(Defence::PropertyNames) {
        false if !is_name => {
            return Err("not the name of a property: letters only, at least three".to_owned());
        }
        false if OURS.contains(&name) => return Err("casulo sets this property itself".to_owned()),
        _ => {}
    }
    let value = gvariant::parse(text)?;
    // Unit files say TimeoutStopSec, the D-Bus interface TimeoutStopUSec.
    let Some(stem) = name
        .strip_suffix("Sec")
        .filter(|it| it.ends_with(|c: char| c.is_ascii_lowercase()))
    else {
        return Ok((name.to_owned(), value));
    };
    let microseconds = microseconds(&value).ok_or("not a number of seconds")?;
    Ok((format!("{stem}USec"), Value::Uint64(microseconds)))
}

fn microseconds(seconds: &Value) -> Option<u64> {
    const MILLION: u64 = 1_000_000;
    let whole = match seconds {
        Value::Byte(it) => u64::from(*it),
        Value::Uint16(it) => u64::from(*it),
        Value::Uint32(it) => u64::from(*it),
        Value::Uint64(it) => *it,
        Value::Int16(it) => u64::try_from(*it).ok()?,
        Value::Int32(it) => u64::try_from(*it).ok()?,
        Value::Int64(it) => u64::try_from(*it).ok()?,
        Value::Double(it) => {
            let duration = std::time::Duration::try_from_secs_f64(*it).ok()?;
            return u64::try_from(duration.as_micros()).ok();
        }
        _ => return None,
    };
    whole.checked_mul(MILLION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_microseconds() {
        for (name, text, expected) in [
            (
                "KillSignal",
                "15",
                Ok(("KillSignal".into(), Value::Int32(15))),
            ),
            (
                "TimeoutStopUSec",
                "uint64 10000000",
                Ok(("TimeoutStopUSec".into(), Value::Uint64(10_000_000))),
            ),
            (
                "TimeoutStopSec",
                "10",
                Ok(("TimeoutStopUSec".into(), Value::Uint64(10_000_000))),
            ),
            (
                "RuntimeMaxSec",
                "1.5",
                Ok(("RuntimeMaxUSec".into(), Value::Uint64(1_500_000))),
            ),
            (
                "TimeoutStopSec",
                "-1",
                Err("not a number of seconds".to_owned()),
            ),
            (
                "TimeoutStopSec",
                "nan",
                Err("\"nan\" is not a value: text needs quotes".to_owned()),
            ),
            (
                "TimeoutStopSec",
                "uint64 18446744073709551615",
                Err("not a number of seconds".to_owned()),
            ),
        ] {
            assert_eq!(property(name, text), expected, "{name} {text}");
        }
    }

    #[test]
    fn names_are_checked_and_what_is_ours_is_refused() {
        let annotations: HashMap<String, String> = [
            "org.systemd.property.Slice",
            "org.systemd.property.PIDs",
            "org.systemd.property.Delegate",
            "org.systemd.property.ab",
            "org.systemd.property.",
            "org.systemd.property.Kill Signal",
            "org.systemd.property.Kill\nSignal",
            "org.systemd.property.KillMode",
            "org.systemd.other",
        ]
        .map(|key| (key.to_owned(), "'none'".to_owned()))
        .into();
        let mut problems = Problems::default();
        let properties = properties(&annotations, &mut problems);
        assert_eq!(properties, [("KillMode".to_owned(), Value::text("none"))]);
        let error = problems.into_result("c").expect_err("seven").to_string();
        assert_eq!(
            error.matches("annotations[\"org.systemd.property.").count(),
            7
        );
    }
}
