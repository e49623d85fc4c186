use super::*;
use crate::cgroups::tests::host;
use std::fs;

/// A directory like a hierarchy, and in it one like a cgroup with these files. They take any value,
/// and what is longer stays behind it; what the kernel refuses is tried in the integration tests.
fn cgroup(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
    let mount = tempfile::tempdir().expect("temporary directory");
    fs::write(mount.path().join("cgroup.subtree_control"), "").expect("subtree_control");
    let leaf = mount.path().join("leaf");
    fs::create_dir(&leaf).expect("leaf");
    for (file, text) in files {
        fs::write(leaf.join(file), text).expect(file);
    }
    let cgroup = Cgroup::open(&leaf).expect("a directory");
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
fn a_limit_below_the_use_is_refused_with_both_numbers() {
    let (_mount, busy) = cgroup(&[("memory.current", "5000\n")]);
    for limit in [5000, 5001] {
        busy.check_use(limit).expect("enough");
    }
    let error = busy.check_use(4999).expect_err("less than is in use");
    let text = error.to_string();
    assert!(text.starts_with("set memory.max to 4999 in "), "{text}");
    assert!(text.ends_with(": 5000 bytes are in use"), "{text}");
    let (_mount, without) = cgroup(&[]);
    without.check_use(1).expect("nothing to compare with");
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

#[test]
fn controllers_are_left_alone_where_every_file_or_its_substitute_is_there() {
    let (mount, cgroup) = cgroup(&[("io.weight", "default 100\n"), ("pids.max", "20\n")]);
    let settings = [
        Setting {
            absent: Absent::Instead {
                file: "io.weight".into(),
                value: "default 200".into(),
            },
            ..setting("io.bfq.weight", "500")
        },
        Setting {
            absent: Absent::Skip,
            ..setting("memory.swap.max", "max")
        },
        setting("pids.max", "30"),
    ];
    let mut changes = Changes::of(&cgroup);
    changes.write(&settings, mount.path()).expect("written");
    assert_eq!(cgroup.read("io.weight").as_deref(), Ok("default 200\n"));
    let enabled = fs::read_to_string(mount.path().join("cgroup.subtree_control"));
    assert_eq!(enabled.expect("subtree_control"), "");
    changes.restore();
    assert_eq!(cgroup.read("io.weight").as_deref(), Ok("default 100\n"));
    assert_eq!(cgroup.read("pids.max").as_deref(), Ok("20\n"));
}
