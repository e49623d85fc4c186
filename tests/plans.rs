//! The plan of every sample bundle, as text, so that a change of what is done shows in review.
//!
//! `CASULO_BLESS=1 cargo test --test plans` writes the texts anew; look at the diff.
//!
//! System calls have other numbers elsewhere, so the texts are those of one architecture.
#![cfg(target_arch = "x86_64")]

mod given;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn snapshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots")
}

/// Names of the bundles.
fn names() -> BTreeSet<String> {
    fs::read_dir(given::bundles())
        .expect("the directory of bundles")
        .map(|entry| entry.expect("an entry of it").path())
        // A directory without one holds bundles of its own, which are made to fail.
        .filter(|path| path.join("config.json").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect()
}

/// The first line in which two texts differ.
fn difference(was: &str, is: &str) -> String {
    let lines = was.lines().count().max(is.lines().count());
    (0..lines)
        .map(|number| (number, was.lines().nth(number), is.lines().nth(number)))
        .find(|(_, was, is)| was != is)
        .map(|(number, was, is)| {
            let [was, is] = [was, is].map(|line| line.unwrap_or("(nothing)").trim());
            format!("line {}: was {was}, is {is}", number + 1)
        })
        .unwrap_or_default()
}

#[test]
fn every_bundle_is_planned_as_recorded() {
    let bless = std::env::var_os("CASULO_BLESS").is_some();
    let mut wrong = Vec::new();
    for name in names() {
        let config = fs::read(given::bundles().join(&name).join("config.json"))
            .unwrap_or_else(|error| panic!("{name}/config.json: {error}"));
        let plan = given::plan(&name, &config).unwrap_or_else(|error| panic!("{name}: {error}"));
        let text = format!("{plan:#?}\n");
        let file = snapshots().join(format!("{name}.txt"));
        if bless {
            fs::write(&file, text).expect("write a snapshot");
            continue;
        }
        let recorded = fs::read_to_string(&file).unwrap_or_default();
        if recorded != text {
            wrong.push(format!("{name}: {}", difference(&recorded, &text)));
        }
    }
    assert!(
        wrong.is_empty(),
        "plans changed; CASULO_BLESS=1 records them:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_snapshot_is_left_without_its_bundle() {
    for entry in fs::read_dir(snapshots()).expect("the directory of snapshots") {
        let path = entry.expect("an entry of it").path();
        let name = path.file_stem().and_then(|name| name.to_str());
        assert!(
            name.is_some_and(|name| names().contains(name)),
            "{}",
            path.display()
        );
    }
}
