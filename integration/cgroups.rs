//! The cgroup: where it is, what is written to it, and that it goes away.

use crate::support::{Lab, cases};
use serde_json::json;
use std::fs;
use std::path::Path;

cases! {
    [Root] => process_is_in_its_cgroup, cgroup_is_gone_after_run, relative_path, missing_path_has_a_default,
        path_with_dots_stays_below_the_mount, nested_cgroups_are_removed, detached_processes_are_killed_with_it,
        exec_is_in_the_same_cgroup, devices_alone_need_no_controller;
    [Root, Casulo] => keep_leaves_the_cgroup, disabled_manager_makes_none, systemd_wants_its_own_kind_of_path,
        a_delegated_cgroup_holds_the_process, a_delegated_cgroup_stays_below,
        an_occupied_cgroup_of_another_container;
    [Root, Casulo, NoController("memory")] => missing_controller_is_named;
    [Root, Casulo, Controller("memory")] => death_by_the_memory_limit_during_start;
}

fn process_is_in_its_cgroup(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let procs = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).unwrap();
    assert_eq!(procs.trim(), bundle.pid().to_string());
}

fn cgroup_is_gone_after_run(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run().ok();
    assert!(!bundle.cgroup().exists());
}

fn exec_is_in_the_same_cgroup(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("cgroup")
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle
        .exec("cat /proc/1/cgroup /proc/self/cgroup | grep ^0 | sort -u")
        .ok();
    assert_eq!(out.lines().len(), 1, "{out:?}");
}

fn relative_path(lab: &Lab) {
    let bundle = lab.bundle().without_namespace("cgroup");
    let path = format!("casulo-test/{}", bundle.id());
    let out = bundle
        .set("/linux/cgroupsPath", json!(path))
        .sh("grep '^0:' /proc/self/cgroup")
        .run()
        .ok();
    assert!(out.text().ends_with(&path), "{out:?}");
}

fn missing_path_has_a_default(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("cgroup")
        .remove("/linux/cgroupsPath");
    let out = bundle.sh("grep '^0:' /proc/self/cgroup").run().ok();
    let path = out.text().trim_start_matches("0::").to_owned();
    assert!(
        !Path::new(&format!("/sys/fs/cgroup{path}")).exists() || path == "/",
        "{path}"
    );
}

fn path_with_dots_stays_below_the_mount(lab: &Lab) {
    let bundle = lab.bundle();
    let outside = Path::new("/casulo-test").join(bundle.id());
    let path = format!("/../../../casulo-test/{}", bundle.id());
    let out = bundle
        .without_namespace("cgroup")
        .set("/linux/cgroupsPath", json!(path))
        .sh("grep '^0:' /proc/self/cgroup")
        .run();
    assert!(
        out.code != 0 || out.text().starts_with("0::/casulo-test/"),
        "{out:?}"
    );
    assert!(!outside.exists());
}

fn nested_cgroups_are_removed(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .sh("mkdir -p /sys/fs/cgroup/a/b/c /sys/fs/cgroup/d");
    bundle.run().ok();
    assert!(!bundle.cgroup().exists());
}

fn detached_processes_are_killed_with_it(lab: &Lab) {
    // Without a pid namespace nothing but the cgroup knows the second process.
    let bundle = lab
        .bundle()
        .without_namespace("pid")
        .sh("setsid sleep 1000 </dev/null >/dev/null 2>&1 & exec sleep 1001");
    bundle.run_detached();
    crate::support::wait_until("two processes", || {
        fs::read_to_string(bundle.cgroup().join("cgroup.procs"))
            .unwrap()
            .lines()
            .count()
            == 2
    });
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn devices_alone_need_no_controller(lab: &Lab) {
    lab.bundle()
        .set(
            "/linux/resources",
            json!({"devices": [{"allow": true, "access": "rwm"}]}),
        )
        .run()
        .ok();
    lab.bundle().remove("/linux/resources").run().ok();
}

fn keep_leaves_the_cgroup(lab: &Lab) {
    let bundle = lab.bundle().sh("exit 3");
    let out = crate::support::finish(bundle.command(&[], "run", &["--keep"]), b"");
    assert_eq!(out.code, 3);
    assert!(bundle.cgroup().exists());
    assert_eq!(bundle.status(), "stopped");
    bundle.verb("delete").ok();
    lab.assert_nothing_left(bundle.id());
}

fn disabled_manager_makes_none(lab: &Lab) {
    let bundle = lab
        .bundle()
        .remove("/linux/resources")
        .without_namespace("cgroup")
        .sh("grep '^0:' /proc/self/cgroup");
    let out = crate::support::finish(
        bundle.command(&["--cgroup-manager", "disabled"], "run", &[]),
        b"",
    )
    .ok();
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap();
    let ours = ours
        .lines()
        .find(|line| line.starts_with("0:"))
        .unwrap()
        .to_owned();
    assert_eq!(out.text(), ours);
}

fn systemd_wants_its_own_kind_of_path(lab: &Lab) {
    let bundle = lab.bundle();
    let out = crate::support::finish(bundle.command(&["--systemd-cgroup"], "run", &[]), b"");
    out.fails_with(&["linux.cgroupsPath", "slice:prefix:name"]);
    lab.assert_nothing_left(bundle.id());
}

fn a_delegated_cgroup_holds_the_process(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .set("/annotations/run.oci.delegate-cgroup", json!("payload/x"))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle
        .exec("cat /proc/1/cgroup /proc/self/cgroup | grep ^0; ls /sys/fs/cgroup | grep payload")
        .ok();
    assert_eq!(out.lines(), ["0::/payload/x", "0::/payload/x", "payload"]);
    // The payload may move on; exec then follows.
    let script = "cd /sys/fs/cgroup/payload/x && mkdir leaf && echo 1 >leaf/cgroup.procs && \
        echo $$ >leaf/cgroup.procs && cat cgroup.controllers | tr ' ' '\\n' | sed s/^/+/ >cgroup.subtree_control || true";
    bundle.exec(script).ok();
    bundle.exec("true").ok();
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn a_delegated_cgroup_stays_below(lab: &Lab) {
    for name in ["../x", "/x", "a//b"] {
        let bundle = lab
            .bundle()
            .set("/annotations/run.oci.delegate-cgroup", json!(name));
        bundle.run().fails_with(&["run.oci.delegate-cgroup"]);
    }
}

fn missing_controller_is_named(lab: &Lab) {
    let limit = json!({"limit": 64 << 20});
    lab.bundle()
        .set("/linux/resources/memory", limit)
        .run()
        .fails_with(&["memory", "controller"]);
    // Without a limit there is nothing to miss.
    lab.bundle()
        .set("/linux/resources/memory", json!({}))
        .run()
        .ok();
}

fn an_occupied_cgroup_of_another_container(lab: &Lab) {
    let first = lab.bundle().args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let path = format!("/casulo-test/{}", first.id());
    let second = lab.bundle().set("/linux/cgroupsPath", json!(path));
    second.run();
    // Whatever the second one's fate: its end must not be the first one's.
    assert_eq!(first.status(), "running");
}

fn death_by_the_memory_limit_during_start(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/linux/resources/memory", json!({"limit": 4096}))
        .run();
    assert!(out.stderr.contains("memory limit"), "{out:?}");
}
