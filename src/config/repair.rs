//! The closer look at a text that the fast path could not take: JSON values, mended where the
//! types differ from the specification, then into the types, problem by problem.

use super::Problem;
use super::case::{self, IGNORED, join};
use super::names::{CLOSED, Closed};
use crate::error::{Code, Error, Result};
use oci_spec::runtime::Capability;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_path_to_error::Segment;

/// More wrong types than this are not looked for.
const MOST_PROBLEMS: usize = 32;

/// Parses `text` with every repair. `root` is the JSON path, with its dot, at which the text's
/// object stands in a config: `""`, `"process."` for a process.json, `"linux.resources."` for
/// resources alone.
///
/// None if the problems added are such that not even a stand-in value could be made.
///
/// # Errors
/// `E_CONFIG` if the text is no JSON object at all.
#[cold]
#[inline(never)]
pub(super) fn parse<T: DeserializeOwned>(
    text: &str,
    root: &str,
    file: &str,
    problems: &mut Vec<Problem>,
) -> Result<Option<T>> {
    let mut value: Value = serde_json::from_str(text)
        .map_err(|error| Error::new(Code::Config, format!("{file}: {error}")))?;
    if !value.is_object() {
        return Err(Error::new(
            Code::Config,
            format!("{file}: must be a JSON object, is {}", kind(&value)),
        ));
    }
    drop_nulls(&mut value);
    for (path, why) in case::rename(&mut value, root) {
        log::warn!("{file}: {path}: {why}");
    }
    if let (Value::Object(members), true) = (&mut value, root.is_empty()) {
        members.retain(|name, _| !IGNORED.contains(&name.as_str()));
    }
    find_nuls(&value, String::new(), problems);
    apply_quirks(&mut value, root);
    check_names(&mut value, root, problems);
    rename_scheduler_flags(&mut value, root);
    Ok(typed(&mut value, problems))
}

/// Go reads `"field": null` as if the field were absent, and engines written in Go send it. In an
/// array a null stays, and is a problem: dropping it would move its neighbours.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A NUL would cut the C string that the kernel gets: `/etc\0/shadow` is not what it says.
fn find_nuls(value: &Value, path: String, problems: &mut Vec<Problem>) {
    const WHY: &str = "contains a NUL byte";
    match value {
        Value::String(text) if text.contains('\0') => problems.push((path, WHY.to_owned())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_nuls(item, format!("{path}[{index}]"), problems);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let path = join(&path, &name.replace('\0', "\\u0000"));
                if name.contains('\0') {
                    problems.push((path.clone(), "the name contains a NUL byte".to_owned()));
                }
                find_nuls(member, path, problems);
            }
        }
        _ => {}
    }
}

/// What the types misread, set right; see each.
fn apply_quirks(value: &mut Value, root: &str) {
    // Go reads a missing object as one of zeros, so to runc a process without a user is root's.
    each_object(value, root, "process", &mut |process| {
        process.entry("user").or_insert(json!({"uid": 0, "gid": 0}));
    });
    // An unknown capability is a warning (config.md, "capabilities"), to the types an error.
    for set in [
        "process.capabilities.bounding",
        "process.capabilities.effective",
        "process.capabilities.inheritable",
        "process.capabilities.permitted",
        "process.capabilities.ambient",
    ] {
        each(value, root, set, &mut |path, names| {
            if let Value::Array(names) = names {
                names.retain(|name| is_capability(path, name));
            }
        });
    }
    // `""` is how a Go struct says "not set"; the types want a list of CPUs or nothing.
    each_object(value, root, "process.execCPUAffinity", &mut |affinity| {
        affinity.retain(|_, cpus| cpus.as_str() != Some(""));
    });
    each_object(value, root, "linux.resources.devices[]", &mut |rule| {
        if rule.get("type").and_then(Value::as_str) == Some("") {
            rule.remove("type");
        }
    });
    // `{}` sets no limit; to the types it is a limit of 0, which is another thing. But not to Podman,
    // whose version 4 writes 0 for `--pids-limit=-1`; the annotation tells its configs.
    let is_podmans = value.pointer("/annotations/io.container.manager") == Some(&json!("libpod"));
    each_object(value, root, "linux.resources", &mut |resources| {
        let unset = |pids: &Value| {
            pids.as_object()
                .is_some_and(|pids| match pids.get("limit") {
                    None => true,
                    Some(limit) => is_podmans && *limit == json!(0),
                })
        };
        if resources.get("pids").is_some_and(unset) {
            resources.remove("pids");
        }
    });
    // A u64 in the specification, an i64 in the types. What is above is "no limit" to the kernel,
    // and so is i64::MAX: page counters end there.
    each(
        value,
        root,
        "linux.resources.hugepageLimits[].limit",
        &mut |_, limit| {
            if limit
                .as_u64()
                .is_some_and(|bytes| i64::try_from(bytes).is_err())
            {
                *limit = json!(i64::MAX);
            }
        },
    );
}

/// True unless `name` is a text that names no capability, which is logged.
fn is_capability(path: &str, name: &Value) -> bool {
    let known = !name.is_string() || Capability::deserialize(name).is_ok();
    if !known {
        log::warn!("{path}: no capability named {name}: ignored");
    }
    known
}

/// Names that are in none of the specification's closed lists. Each is replaced by a known one
/// so that the rest can still be looked at.
fn check_names(value: &mut Value, root: &str, problems: &mut Vec<Problem>) {
    each_object(value, root, "process.ioPriority", &mut |priority| {
        // The types take a missing class for the second of the three.
        priority.entry("class").or_insert(json!(""));
    });
    for Closed { path, noun, names } in CLOSED {
        each(value, root, path, &mut |path, found| {
            let Some(name) = found.as_str() else { return };
            if names.contains(&name) {
                return;
            }
            let why = match name {
                "" => "missing".to_owned(),
                _ => format!("invalid {noun} {found}"),
            };
            problems.push((path.to_owned(), why));
            *found = json!(names.first());
        });
    }
}

/// The types spell two flags in their own way. Only the specification's spelling is accepted from
/// a config, so this runs after the names were checked.
fn rename_scheduler_flags(value: &mut Value, root: &str) {
    each(
        value,
        root,
        "process.scheduler.flags[]",
        &mut |_, flag| match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => *flag = json!("SCHED_RESET_ON_FORK"),
            Some("SCHED_FLAG_DL_OVERRUN") => *flag = json!("SCHED_FLAG_D_L_OVERRUN"),
            _ => {}
        },
    );
}

/// Calls `visit` with the path and the value of everything at `pattern`, a path from the config's
/// root in which `[]` stands for every element. What lies outside `root` is not there, but the
/// value at `root` itself is.
fn each(value: &mut Value, root: &str, pattern: &str, visit: &mut dyn FnMut(&str, &mut Value)) {
    fn descend(
        value: &mut Value,
        steps: &[&str],
        path: &str,
        visit: &mut dyn FnMut(&str, &mut Value),
    ) {
        let Some((step, rest)) = steps.split_first() else {
            return visit(path, value);
        };
        let (name, every) = match step.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (*step, false),
        };
        let path = join(path, name);
        match value.get_mut(name) {
            Some(Value::Array(items)) if every => {
                for (index, item) in items.iter_mut().enumerate() {
                    descend(item, rest, &format!("{path}[{index}]"), visit);
                }
            }
            Some(member) if !every => descend(member, rest, &path, visit),
            _ => {}
        }
    }
    if root.strip_suffix('.') == Some(pattern) {
        visit("", value);
    } else if let Some(pattern) = pattern.strip_prefix(root) {
        let steps: Vec<&str> = pattern.split('.').collect();
        descend(value, &steps, "", visit);
    }
}

/// [`each`], for objects.
fn each_object(
    value: &mut Value,
    root: &str,
    pattern: &str,
    visit: &mut dyn FnMut(&mut Map<String, Value>),
) {
    each(value, root, pattern, &mut |_, found| {
        if let Value::Object(members) = found {
            visit(members);
        }
    });
}

/// Where the types refused a value, and why.
struct Refusal {
    steps: Vec<Step>,
    why: String,
}

#[derive(PartialEq)]
enum Step {
    Member(String),
    Element(usize),
}

/// Into the types. They stop at the first wrong value; to find the others too, a stand-in is put
/// in its place and the parse is repeated.
fn typed<T: DeserializeOwned>(value: &mut Value, problems: &mut Vec<Problem>) -> Option<T> {
    for _ in 0..MOST_PROBLEMS {
        let refusal = match attempt(value) {
            Ok(parsed) => return Some(parsed),
            Err(refusal) => refusal,
        };
        let fits = put_stand_in::<T>(value, &refusal.steps);
        problems.push((path_of(&refusal.steps), refusal.why));
        if !fits {
            return None;
        }
    }
    None
}

fn attempt<T: DeserializeOwned>(value: &Value) -> std::result::Result<T, Refusal> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut steps: Vec<Step> = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                Segment::Map { key } => Some(Step::Member(key.clone())),
                Segment::Seq { index } => Some(Step::Element(*index)),
                Segment::Enum { .. } | Segment::Unknown => None,
            })
            .collect();
        let mut why = error.inner().to_string();
        // This error stands at the object; the reader looks for the member.
        let missing = why
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        if let Some(name) = missing {
            steps.push(Step::Member(name.to_owned()));
            why = "missing".to_owned();
        }
        Refusal { steps, why }
    })
}

/// Puts a value at `steps` that the types do not refuse there. False if none of the simple ones
/// will do.
fn put_stand_in<T: DeserializeOwned>(value: &mut Value, steps: &[Step]) -> bool {
    for candidate in [json!(0), json!(""), json!(false), json!([]), json!({})] {
        let Some(place) = place(value, steps) else {
            return false;
        };
        *place = candidate;
        match attempt::<T>(value) {
            Err(refusal) if refusal.steps.starts_with(steps) => {}
            _ => return true,
        }
    }
    false
}

/// The value at `steps`; a missing last member is made.
fn place<'a>(value: &'a mut Value, steps: &[Step]) -> Option<&'a mut Value> {
    let mut here = value;
    for (index, step) in steps.iter().enumerate() {
        here = match step {
            Step::Element(element) => here.get_mut(element)?,
            Step::Member(name) if index + 1 == steps.len() => {
                here.as_object_mut()?.entry(name).or_insert(Value::Null)
            }
            Step::Member(name) => here.get_mut(name)?,
        };
    }
    Some(here)
}

fn path_of(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Member(name) => join(&path, name),
        Step::Element(index) => format!("{path}[{index}]"),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(value: &mut Value, root: &str, pattern: &str) -> Vec<String> {
        let mut paths = Vec::new();
        each(value, root, pattern, &mut |path, _| {
            paths.push(path.to_owned())
        });
        paths
    }

    #[test]
    fn a_pattern_visits_every_element_and_names_it() {
        let mut value = json!({"a": [{"b": [1, 2]}, {"c": 3}, {"b": [4]}]});
        assert_eq!(
            visited(&mut value, "", "a[].b[]"),
            ["a[0].b[0]", "a[0].b[1]", "a[2].b[0]"]
        );
        assert_eq!(visited(&mut value, "", "a[].c"), ["a[1].c"]);
    }

    #[test]
    fn a_pattern_that_meets_another_shape_visits_nothing() {
        let mut value = json!({"a": {"b": 1}, "s": "text"});
        for pattern in ["a[]", "a[].b", "s.b", "s[]", "x.y", "b"] {
            assert!(visited(&mut value, "", pattern).is_empty(), "{pattern}");
        }
    }

    #[test]
    fn a_document_that_starts_lower_is_visited_by_what_lies_below_it() {
        let mut value = json!({"rlimits": [{"type": "x"}]});
        assert_eq!(
            visited(&mut value, "process.", "process.rlimits[].type"),
            ["rlimits[0].type"]
        );
        assert!(visited(&mut value, "process.", "linux.rlimits[].type").is_empty());
        assert_eq!(visited(&mut value, "process.", "process"), [""]);
    }

    #[test]
    fn nulls_go_from_objects_and_stay_in_arrays() {
        let mut value = json!({"a": null, "b": {"c": null, "d": 1}, "e": [null, {"f": null}]});
        drop_nulls(&mut value);
        assert_eq!(value, json!({"b": {"d": 1}, "e": [null, {}]}));
    }

    #[test]
    fn a_nul_is_found_in_values_and_in_names() {
        let mut problems = Vec::new();
        let value = json!({"a": ["x", "y\0"], "b": {"n\0m": "z"}});
        find_nuls(&value, String::new(), &mut problems);
        let paths: Vec<&str> = problems.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["a[1]", "b.n\\u0000m"]);
    }
}
