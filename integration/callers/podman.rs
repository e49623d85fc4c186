//! Podman itself: the calls that it makes without conmon, in the least of environments.

use super::{Caller, log_entries, text};
use crate::support::{Bundle, Lab, cases, finish, wait_until};
use serde_json::{Value, json};
use std::fs;

cases! {
    [Root] => a_life_in_direct_calls, checkpoint_is_not_claimed, update_from_a_file;
    // runc adds a warning where the memory controller is missing, which Podman does not understand.
    [Root, Casulo] => log_is_one_object;
}

/// start, checkpoint and update get a PATH, too; all others this alone.
const ENVIRONMENT: &[(&str, &str)] = &[("XDG_RUNTIME_DIR", "")];

fn podman(lab: &Lab) -> Caller<'_> {
    Caller::new(lab, &["--root", text(&lab.root())], ENVIRONMENT)
}

fn created<'lab>(lab: &'lab Lab, script: &str) -> Bundle<'lab> {
    let bundle = lab.bundle().sh(script);
    bundle.create(&[]).ok();
    bundle
}

/// Rules 4, 6, 12: every verb, silent, with signals as numbers.
fn a_life_in_direct_calls(lab: &Lab) {
    let podman = podman(lab);
    let bundle = created(
        lab,
        "trap 'touch /usr1' USR1; touch /ready; while :; do sleep 0.02; done",
    );
    let id = bundle.id();
    podman.silent(&["start", id]);
    wait_until("the trap is set", || bundle.rootfs().join("ready").exists());
    podman.silent(&["pause", id]);
    assert_eq!(bundle.status(), "paused");
    podman.silent(&["resume", id]);
    podman.silent(&["kill", id, "10"]);
    wait_until("it arrived", || bundle.rootfs().join("usr1").exists());
    podman.silent(&["kill", "--all", id, "9"]);
    bundle.wait_stopped();
    podman.silent(&["delete", "--force", id]);
    lab.assert_nothing_left(id);
    // Podman removes what it could not create, too.
    podman.silent(&["delete", "--force", id]);
}

/// Rule 5: Podman parses the whole file as one object.
fn log_is_one_object(lab: &Lab) {
    let log = lab.join("oci-log");
    let global = [
        "--root",
        text(&lab.root()),
        "--log-format=json",
        "--log",
        text(&log),
    ]
    .map(str::to_owned);
    let mut podman = podman(lab);
    podman.global = global.to_vec();
    let bundle = lab.bundle().args(&["/no/such/program"]);
    bundle.write();
    let out = podman.call(&["create", "--bundle", text(bundle.path()), bundle.id()]);
    // Some look for the program when it is started.
    let out = match out.code {
        0 => podman.call(&["start", bundle.id()]),
        _ => out,
    };
    assert_eq!(out.code, 1);
    let entry: Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
    assert_eq!(log_entries(&log).len(), 1);
    // Exit code 127 comes from these words.
    let message = entry["msg"].as_str().unwrap().to_lowercase();
    assert!(message.contains("no such file or directory"), "{message}");
}

/// Rule 17: Podman takes success for the promise that both verbs work.
fn checkpoint_is_not_claimed(lab: &Lab) {
    let podman = podman(lab);
    let claims = |verb: &str| podman.call(&[verb, "--help"]).code == 0;
    assert_eq!(claims("checkpoint"), claims("restore"));
}

/// `update --resources=FILE`, as `podman update` calls it.
fn update_from_a_file(lab: &Lab) {
    let bundle = created(lab, "sleep 1000");
    let mut podman = podman(lab);
    podman.environment.push(("PATH", "/usr/bin:/bin".into()));
    let file = lab.join("podman123");
    fs::write(&file, json!({}).to_string()).unwrap();
    let option = format!("--resources={}", text(&file));
    let out = finish(podman.command(&["update", &option, bundle.id()]), b"");
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
}
