//! Cgroup paths, names of systemd units, device rules.

use super::bytes::Bytes;
use super::config::{assert_below_the_mount, assert_named, host, options};
use crate::cgroups::devices;
use crate::error::Problems;
use crate::options::{CgroupManager, Options};
use crate::plan::Plan;
use oci_spec::runtime::{LinuxDeviceCgroup, Spec};
use serde_json::{Value, json};

/// The first byte chooses the driver, the rest is the path, and behind a NUL an annotation's value.
pub(super) fn cgroup_path(bytes: &[u8]) {
    let mut choices = Bytes::new(bytes);
    let manager = choices.pick(&[CgroupManager::Cgroupfs, CgroupManager::Systemd]);
    let text = choices.text();
    let (path, value) = text.split_once('\0').unwrap_or((&text, ""));
    let spec = json!({
        "ociVersion": "1.3.0",
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "annotations": {
            "org.systemd.property.Description": value,
            "run.oci.delegate-cgroup": value,
            "run.oci.systemd.subgroup": value,
        },
        "linux": {"cgroupsPath": path},
    });
    let Ok(spec) = serde_json::from_value::<Spec>(spec) else {
        return;
    };
    let options = Options {
        cgroup_manager: manager.unwrap_or_default(),
        ..options()
    };
    let mut problems = Problems::default();
    let plan = Plan::decide(&spec, &options, &host(), &mut problems);
    let problems = problems.into_list();
    assert_named(&problems);
    if !problems.is_empty() {
        return;
    }
    assert_below_the_mount(&plan);
    let inside = |path: &std::path::Path| {
        let mut parts = path.components();
        assert!(
            parts.all(|it| matches!(it, std::path::Component::Normal(_))),
            "{path:?}"
        );
    };
    plan.cgroup.delegate.iter().for_each(|path| inside(path));
    if let Some(scope) = &plan.cgroup.scope {
        let unit = &scope.scope.unit;
        assert!(unit.ends_with(".scope") && unit.len() <= 255, "{unit:?}");
        assert!(
            unit.chars()
                .all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c)),
            "{unit:?}"
        );
        scope.subgroup.iter().for_each(|path| inside(path));
    }
}

/// Device rules, made of choices: the program says what the rules say.
pub(super) fn devices(bytes: &[u8]) {
    let mut choices = Bytes::new(bytes);
    let mut rules: Vec<Value> = Vec::new();
    while choices.has_more() && rules.len() < 24 {
        let mut rule = json!({
            "allow": choices.below(2) == 0,
            "access": choices.pick(&["rwm", "r", "w", "m", "rw", "rm", "wm"]),
        });
        if let Some(kind) = choices
            .pick(&[None, Some("a"), Some("b"), Some("c")])
            .flatten()
        {
            rule["type"] = json!(kind);
        }
        for field in ["major", "minor"] {
            let number = choices.pick(&[
                None,
                Some(-1),
                Some(0),
                Some(1),
                Some(3),
                Some(5),
                Some(136),
                Some(4095),
            ]);
            if let Some(number) = number.flatten() {
                rule[field] = json!(number);
            }
        }
        rules.push(rule);
    }
    let Ok(parsed) = serde_json::from_value::<Vec<LinuxDeviceCgroup>>(Value::from(rules.clone()))
    else {
        return;
    };
    let policy = devices::plan(&parsed, &mut Problems::default());
    if let Some(difference) = devices::reference::first_mismatch(&policy) {
        panic!("{difference}\n{}", Value::from(rules));
    }
}
