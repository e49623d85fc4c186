use super::*;
use crate::cgroups::tests::host;
use std::fs;

/// A folder like a hierarchy, and in it one like a cgroup with these files. They take any value,
/// and what is longer stays behind it; what the kernel refuses is tried in the integration tests.
fn cgroup(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
    let mount = tempfile::tempdir().expect("temporary folder");
    fs::write(mount.path().join("cgroup.subtree_control"), "").expect("subtree_control");
    let leaf = mount.path().join("leaf");
    fs::create_dir(&leaf).expect("leaf");
    for (file, text) in files {
        fs::write(leaf.join(file), text).expect(file);
    }
    let cgroup = Cgroup::open(&leaf).expect("a folder");
    (mount, cgroup)
}

fn setting(file: &str, value: &str) -> Setting {
    Setting {
        file: file.into(),
        value: value.into(),
        absent: Absent::Fail,
    }
}

fn decide(json: &str, host: &Host) -> Plan {
    let resources = serde_json::from_str(json).expect("resources");
    let mut problems = Problems::default();
    let plan = plan(&resources, &Current::default(), host, &mut problems);
    problems.into_result("u").expect("no problem");
    plan
}

#[test]
fn rules_change_only_where_they_are_spoken_of() {
    let root = host();
    assert!(decide("{}", &root).is_empty());
    assert_eq!(decide(r#"{"pids":{"limit":5}}"#, &root).devices, None);
    let none = decide(r#"{"devices":[]}"#, &root);
    assert_eq!(none.devices, Some(Policy::defaults()));
    let all = decide(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#, &root);
    assert!(all.devices.is_some_and(|it| it.allows_everything()));
    let rootless = Host {
        rootless: true,
        ..host()
    };
    assert_eq!(decide(r#"{"devices":[]}"#, &rootless).devices, None);
}

#[test]
fn check_before_update_is_asked_for() {
    for (json, check) in [
        (
            r#"{"memory":{"limit":1,"checkBeforeUpdate":true}}"#,
            Check::BeforeUpdate,
        ),
        (
            r#"{"memory":{"limit":1,"checkBeforeUpdate":false}}"#,
            Check::No,
        ),
        (r#"{"memory":{"limit":1}}"#, Check::No),
        ("{}", Check::No),
    ] {
        assert_eq!(decide(json, &host()).check, check, "{json}");
    }
}

#[test]
fn a_limit_below_the_use_is_refused_with_both_numbers() {
    let (_folder, cgroup) = cgroup(&[
        ("memory.current", "5000\n"),
        ("memory.swap.current", "300\n"),
    ]);
    for (file, value) in [
        ("memory.max", "5000"),
        ("memory.max", "max"),
        ("memory.swap.max", "300"),
        ("pids.max", "1"),
    ] {
        cgroup.check_use(&[setting(file, value)]).expect(value);
    }
    for (file, value, used) in [
        ("memory.max", "4999", "5000"),
        ("memory.swap.max", "0", "300"),
    ] {
        let error = cgroup.check_use(&[setting(file, value)]).expect_err(value);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("set {file} to {value} in ")),
            "{text}"
        );
        assert!(
            text.ends_with(&format!(": {used} bytes are in use")),
            "{text}"
        );
    }
}

#[test]
fn a_failure_brings_the_old_values_back() {
    let files = [
        ("cpu.max", "max 100000\n"),
        ("cpuset.cpus", "\n"),
        ("pids.max", "20\n"),
    ];
    let (mount, cgroup) = cgroup(&files);
    let settings = [
        setting("cpu.max", "500 100000"),
        setting("cpuset.cpus", "0"),
        // Restored from the last to the first.
        setting("pids.max", "77"),
        setting("pids.max", "88"),
        setting("cgroup.nosuch", "1"),
    ];
    let mut changes = Changes::of(&cgroup);
    let error = changes
        .write(&settings, mount.path())
        .expect_err("no such file");
    assert!(
        error.to_string().starts_with("set cgroup.nosuch to 1 in "),
        "{error}"
    );
    assert_eq!(cgroup.read("pids.max").as_deref(), Ok("88\n"));
    changes.restore();
    for (file, old) in files {
        assert_eq!(cgroup.read(file).as_deref(), Ok(old), "{file}");
    }
    // A file was missing, which may mean that its controller is off: each was asked for, once.
    let enabled = fs::read_to_string(mount.path().join("cgroup.subtree_control"));
    assert_eq!(enabled.expect("subtree_control"), "+cpu +cpuset +pids");
}
