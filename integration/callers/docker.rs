//! dockerd: what it asks of each runtime when it starts, and its wrapper script. Containers are
//! containerd's business.

use super::{Caller, text};
use crate::support::{Lab, cases, finish};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

cases! {
    [Root] => features_without_options, wrapper_script, version_lines;
}

/// Rule 15: no option, nothing in the environment, and stderr in the same stream.
fn features_without_options(lab: &Lab) {
    let out = Caller::new(lab, &[], &[]).call(&["features"]).ok();
    assert_eq!(out.stderr, "");
    let features: Value = serde_json::from_str(&out.stdout).unwrap();
    for key in ["ociVersionMin", "ociVersionMax"] {
        assert!(
            features[key].as_str().is_some_and(|it| !it.is_empty()),
            "{key}"
        );
    }
    assert!(features["linux"].is_object());
    let kinds = features["linux"]["namespaces"].as_array().unwrap();
    assert!(kinds.iter().any(|kind| kind == "user"), "{kinds:?}");
}

/// Rule 16: Docker takes what follows the word "version" in each line that has it.
fn version_lines(lab: &Lab) {
    let out = Caller::new(lab, &[], &[]).call(&["--version"]).ok();
    let found: Vec<&str> = out
        .lines()
        .into_iter()
        .filter_map(|line| line.split_once("version"))
        .map(|(_, rest)| rest.trim())
        .collect();
    assert_eq!(found.len(), 1, "{out:?}");
    assert!(
        found[0].starts_with(|c: char| c.is_ascii_digit()),
        "{out:?}"
    );
    assert_eq!(out.stderr, "");
}

/// Rule 21: `runtimeArgs` make a script; its options stand before those of the shim.
fn wrapper_script(lab: &Lab) {
    let script = lab.join("wrapper");
    let line = format!(
        "#!/bin/sh\n\n{} --debug --root /elsewhere $@\n",
        text(&lab.runtime())
    );
    fs::write(&script, line).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let bundle = lab.bundle().args(&["/bin/echo", "a"]);
    bundle.write();
    let mut command = Command::new(&script);
    command.args([
        "--root",
        text(&lab.root()),
        "--log",
        text(&lab.join("log.json")),
    ]);
    command.args([
        "--log-format",
        "json",
        "run",
        "--bundle",
        text(bundle.path()),
        bundle.id(),
    ]);
    assert_eq!(finish(command, b"").ok().text(), "a");
}
