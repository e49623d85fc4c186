//! `--trace`: where the time goes, in a file that other programs read.

use crate::support::{Lab, cases, finish};
use serde_json::Value;
use std::fs;
use std::path::Path;

cases! {
    [Root, Casulo] => run_shows_the_phases_of_both_processes, exec_shows_the_phases_of_both_processes, every_command_can_be_traced,
        failed_command_is_traced, file_that_cannot_be_made_is_named;
}

/// The complete events of a trace: name, thread, beginning and end.
fn events(file: &Path) -> Vec<(String, u64, f64, f64)> {
    let document: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let all = document["traceEvents"].as_array().unwrap();
    all.iter()
        .filter(|event| event["ph"] == "X")
        .map(|event| {
            let (from, length) = (
                event["ts"].as_f64().unwrap(),
                event["dur"].as_f64().unwrap(),
            );
            assert!(length >= 0.0, "{event}");
            let name = event["name"].as_str().unwrap().to_owned();
            (name, event["tid"].as_u64().unwrap(), from, from + length)
        })
        .collect()
}

/// The names of the phases of one process, in their order; what was before `main` is no phase.
fn phases(events: &[(String, u64, f64, f64)], thread: u64) -> Vec<&str> {
    let of_thread = events.iter().filter(|event| event.1 == thread);
    let names = of_thread.map(|event| event.0.as_str());
    names.filter(|name| *name != "starts of casulo").collect()
}

fn run_shows_the_phases_of_both_processes(lab: &Lab) {
    let file = lab.join("trace");
    let bundle = lab.bundle().sh("sleep 0.4; exit 3");
    let out = finish(
        bundle.command(&["--trace", file.to_str().unwrap()], "run", &[]),
        b"",
    );
    assert_eq!(out.code, 3);
    let events = events(&file);
    assert_eq!(
        phases(&events, 0),
        [
            "plan",
            "record",
            "cgroup",
            "open namespaces",
            "clone",
            "maps, sources, record",
            "wait for the child",
            "running",
            "clean up"
        ]
    );
    assert_eq!(
        phases(&events, 1),
        [
            "enter namespaces",
            "mounts and devices",
            "pivot",
            "masks",
            "identity",
            "last steps",
            "execve"
        ]
    );
    for thread in [0, 1] {
        // One after the other, without a gap; what was before `main` is no phase.
        let of_thread: Vec<_> = events
            .iter()
            .filter(|event| event.1 == thread && event.0 != "starts of casulo")
            .collect();
        for pair in of_thread.windows(2) {
            assert!((pair[0].3 - pair[1].2).abs() < 0.01, "{pair:#?}");
        }
    }
    let of = |name: &str| events.iter().find(|event| event.0 == name).unwrap();
    // What the process itself took is the parent's waiting, and nobody else's.
    assert!(of("running").3 - of("running").2 > 200_000.0);
    assert!(of("mounts and devices").2 > of("clone").2);
    assert!(of("execve").3 - of("execve").2 < 200_000.0);
}

fn exec_shows_the_phases_of_both_processes(lab: &Lab) {
    let file = lab.join("trace");
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let mut exec = lab.command();
    exec.arg("--trace").arg(&file);
    exec.args(["exec", bundle.id(), "/bin/true"]);
    finish(exec, b"").ok();
    let events = events(&file);
    assert_eq!(
        phases(&events, 0),
        [
            "plan",
            "clone",
            "maps, sources, record",
            "wait for the child",
            "running"
        ]
    );
    assert_eq!(
        phases(&events, 1),
        ["enter namespaces", "identity", "last steps", "execve"]
    );
}

fn every_command_can_be_traced(lab: &Lab) {
    let file = lab.join("trace");
    let traced = |verb: &str, rest: &[&str]| {
        let mut command = lab.command();
        command.arg("--trace").arg(&file).arg(verb).args(rest);
        let out = finish(command, b"");
        let first = events(&file).first().map(|event| event.0.clone());
        assert_eq!(first.as_deref(), Some("starts of casulo"), "{verb}");
        fs::remove_file(&file).unwrap();
        out
    };
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.write();
    let (path, id) = (bundle.path().to_str().unwrap(), bundle.id());
    traced("create", &["--bundle", path, id]).ok();
    traced("start", &[id]).ok();
    let out = traced("exec", &[id, "/bin/echo", "hello"]).ok();
    assert_eq!(out.text(), "hello");
    traced("state", &[id]).ok();
    traced("list", &[]).ok();
    traced("delete", &["--force", id]).ok();
}

fn failed_command_is_traced(lab: &Lab) {
    let file = lab.join("trace");
    let bundle = lab.bundle().args(&["/bin/missing"]);
    let out = finish(
        bundle.command(&["--trace", file.to_str().unwrap()], "run", &[]),
        b"",
    );
    out.fails_with(&["/bin/missing"]);
    assert!(events(&file).iter().any(|event| event.0 == "identity"));
}

fn file_that_cannot_be_made_is_named(lab: &Lab) {
    let bundle = lab.bundle();
    let out = finish(
        bundle.command(&["--trace", "/missing/trace"], "run", &[]),
        b"",
    );
    out.fails_with(&["/missing/trace", "trace"]);
    lab.assert_nothing_left(bundle.id());
}
