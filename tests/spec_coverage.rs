//! docs/spec.md says what happens with every field of config.json; this holds it to that.
//!
//! Each leaf of `bundles/everything` is taken away in turn: the plan must change or become an
//! error. A field that casulo does not support must be an error that names it, and one that it
//! ignores must leave the plan as it is.

mod given;

use casulo::config;
use casulo::error::Code;
use casulo::plan::Plan;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Applied,
    Rejected,
    Ignored,
}

/// A row of docs/spec.md.
#[derive(Debug)]
struct Row {
    field: String,
    status: Status,
}

/// A step from a JSON value to one inside it.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Member(String),
    Element(usize),
}

fn source_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of every row of docs/spec.md that begins with a name.
fn tables() -> Vec<Vec<String>> {
    let text = fs::read_to_string(source_directory().join("docs/spec.md")).expect("docs/spec.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells = line.trim_matches('|').split(" |");
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// The rows of all tables of fields: those with a status in the second of three columns or more.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for cells in tables() {
        let [field, status, _, ..] = &cells[..] else {
            continue;
        };
        let status = match status.as_str() {
            "applied" => Status::Applied,
            "rejected" => Status::Rejected,
            "ignored" => Status::Ignored,
            other => panic!("docs/spec.md: no status named {other}: {cells:?}"),
        };
        let field = field.trim_matches('`').to_owned();
        rows.push(Row { field, status });
    }
    assert!(rows.len() > 150, "docs/spec.md: the tables were not found");
    rows
}

impl Row {
    /// True if the row is about the value at `steps`: `[]` is any element, `*` any key.
    fn covers(&self, steps: &[Step]) -> bool {
        let mut steps = steps.iter();
        for part in self.field.split('.') {
            let name = part.trim_end_matches("[]");
            match steps.next() {
                Some(Step::Member(found)) if name == "*" || name == found => {}
                _ => return false,
            }
            if part != name && !matches!(steps.next(), Some(Step::Element(_))) {
                return false;
            }
        }
        steps.next().is_none()
    }
}

fn text_of(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Member(name) if text.is_empty() => text.push_str(name),
            Step::Member(name) => text.push_str(&format!(".{name}")),
            Step::Element(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// All values that hold no others, by their steps.
fn leaves(value: &Value) -> Vec<(Vec<Step>, &Value)> {
    fn collect<'a>(value: &'a Value, steps: &[Step], found: &mut Vec<(Vec<Step>, &'a Value)>) {
        let below = |step| [steps, &[step]].concat();
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    collect(member, &below(Step::Member(name.clone())), found);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    collect(item, &below(Step::Element(index)), found);
                }
            }
            leaf => found.push((steps.to_vec(), leaf)),
        }
    }
    let mut found = Vec::new();
    collect(value, &[], &mut found);
    found
}

fn at<'a>(value: &'a mut Value, steps: &[Step]) -> &'a mut Value {
    steps.iter().fold(value, |here, step| match step {
        Step::Member(name) => &mut here[name],
        Step::Element(index) => &mut here[index],
    })
}

fn without(value: &Value, steps: &[Step]) -> Value {
    let mut value = value.clone();
    let (last, parents) = steps.split_last().expect("the config itself is no leaf");
    let parent = at(&mut value, parents);
    match last {
        Step::Member(name) => drop(parent.as_object_mut().expect("an object").remove(name)),
        Step::Element(index) => drop(parent.as_array_mut().expect("an array").remove(*index)),
    }
    value
}

/// `value` with another leaf at `steps`.
fn with_another(value: &Value, steps: &[Step]) -> Value {
    let mut value = value.clone();
    let leaf = at(&mut value, steps);
    *leaf = match leaf {
        Value::Bool(it) => json!(!*it),
        Value::Number(it) => json!(it.as_i64().expect("a small number") + 1),
        other => panic!("{}: {other} cannot be what absence says", text_of(steps)),
    };
    value
}

/// JSON merge patch, RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

fn everything(file: &str) -> Value {
    let file = given::bundles().join("everything").join(file);
    let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The config and its variants, with what each is for.
fn documents() -> Vec<(String, Value)> {
    let base = everything("config.json");
    let mut documents = vec![("config.json".to_owned(), base.clone())];
    for variant in everything("variants.json").as_array().expect("a list") {
        let purpose = variant["purpose"].as_str().expect("a purpose").to_owned();
        let mut document = base.clone();
        merge(&mut document, &variant["patch"]);
        documents.push((purpose, document));
    }
    documents
}

fn plan(config: &Value) -> casulo::error::Result<Plan> {
    given::plan("everything", config.to_string().as_bytes())
}

/// A leaf that says what its absence says too, such as an id of 0, cannot be missed; then
/// another value must make the difference.
fn has_effect(document: &Value, steps: &[Step], plan_of_document: &Plan) -> bool {
    let parsed = |config: &Value| config::parse(config.to_string().as_bytes(), "config.json").ok();
    let mut other = without(document, steps);
    if parsed(&other).is_some_and(|spec| Some(spec) == parsed(document)) {
        other = with_another(document, steps);
    }
    plan(&other).map_or(true, |plan| plan != *plan_of_document)
}

#[test]
fn every_leaf_that_is_taken_away_is_missed() {
    let rows = rows();
    let documents = documents();
    let base: Vec<(Vec<Step>, &Value)> = leaves(&documents[0].1);
    let mut wrong = Vec::new();
    for (index, (purpose, document)) in documents.iter().enumerate() {
        let whole = match plan(document) {
            Ok(plan) => plan,
            Err(error) => {
                wrong.push(format!("{purpose}: {error}"));
                continue;
            }
        };
        for (steps, leaf) in leaves(document) {
            let is_known = index > 0 && base.contains(&(steps.clone(), leaf));
            let row = rows.iter().find(|row| row.covers(&steps));
            match row.map(|row| row.status) {
                _ if is_known => {}
                None => wrong.push(format!("{}: no row in docs/spec.md", text_of(&steps))),
                Some(Status::Applied) if !has_effect(document, &steps, &whole) => {
                    wrong.push(format!("{}: not missed ({purpose})", text_of(&steps)));
                }
                Some(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_unsupported_field_is_an_error_that_names_it() {
    let mut wrong = Vec::new();
    for entry in everything("rejected.json").as_array().expect("a list") {
        let name = entry["names"].as_str().expect("a path");
        let mut config = everything("config.json");
        merge(&mut config, &entry["patch"]);
        match plan(&config) {
            Err(error) if error.code == Code::Config && error.to_string().contains(name) => {}
            Err(error) => wrong.push(format!("{name}: other error: {error}")),
            Ok(_) => wrong.push(format!("{name}: accepted")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_ignored_field_leaves_the_plan_as_it_is() {
    let config = everything("config.json");
    let whole = plan(&config).expect("the bundle with everything");
    for row in rows() {
        if row.status != Status::Ignored {
            continue;
        }
        let steps: Vec<Step> = row
            .field
            .split('.')
            .map(|name| Step::Member(name.to_owned()))
            .collect();
        let plans = [json!("text"), json!(true), json!({"any": [1]})].map(|value| {
            let mut config = config.clone();
            *at(&mut config, &steps) = value;
            plan(&config)
        });
        let accepted: Vec<&Plan> = plans.iter().filter_map(|plan| plan.as_ref().ok()).collect();
        assert!(!accepted.is_empty(), "{}: an error, not ignored", row.field);
        assert!(
            accepted.iter().all(|plan| **plan == whole),
            "{}: has an effect",
            row.field
        );
    }
}

#[test]
fn every_row_has_its_proof() {
    let rows = rows();
    let documents = documents();
    let rejected = everything("rejected.json");
    let rejected = rejected.as_array().expect("a list");
    let mut wrong = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if rows[..index].iter().any(|other| other.field == row.field) {
            wrong.push(format!("{}: two rows", row.field));
        }
        let has = |value: &Value| leaves(value).iter().any(|(steps, _)| row.covers(steps));
        let is_proven = match row.status {
            Status::Applied => documents.iter().any(|(_, document)| has(document)),
            Status::Rejected => rejected.iter().any(|entry| {
                let name = entry["names"].as_str().expect("a path");
                row.field.starts_with(name) && has(&entry["patch"])
            }),
            Status::Ignored => true,
        };
        if !is_proven {
            wrong.push(format!(
                "{}: {:?}, but in no file of the bundle",
                row.field, row.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The text of every Rust file below these directories.
fn sources(directories: &[&str]) -> String {
    let mut left: Vec<_> = directories
        .iter()
        .map(|it| source_directory().join(it))
        .collect();
    let mut text = String::new();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory");
            left.extend(entries.map(|entry| entry.expect("an entry of it").path()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            text += &fs::read_to_string(&path).expect("a source file");
        }
    }
    text
}

#[test]
fn every_resource_has_its_tests() {
    let sources = sources(&["src", "tests", "integration"]);
    let mut count = 0;
    let mut wrong = Vec::new();
    for cells in tables() {
        let [field, _, _, _, _, tests] = &cells[..] else {
            assert!(
                !cells[0].starts_with("`linux.resources."),
                "no columns for file and test: {cells:?}"
            );
            continue;
        };
        count += 1;
        let names: Vec<&str> = tests.split(", ").map(|it| it.trim_matches('`')).collect();
        if names == [""] {
            wrong.push(format!("{field}: no test"));
            continue;
        }
        for name in names {
            if !sources.contains(&format!("fn {name}(")) {
                wrong.push(format!("{field}: no test is called {name}"));
            }
        }
    }
    assert!(
        count > 40,
        "docs/spec.md: the table of resources was not found"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
