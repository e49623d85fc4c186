//! The cgroup: where it is, what is written to it, and that it goes away.

use crate::support::{Lab, cases};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

cases! {
    [Root] => process_is_in_its_cgroup, cgroup_is_gone_after_run, relative_path, missing_path_has_a_default,
        path_with_dots_stays_below_the_mount, nested_cgroups_are_removed, detached_processes_are_killed_with_it,
        exec_is_in_the_same_cgroup, devices_alone_need_no_controller;
    [Root, Casulo] => keep_leaves_the_cgroup, disabled_manager_makes_none, systemd_wants_its_own_kind_of_path,
        a_delegated_cgroup_holds_the_process, a_delegated_cgroup_stays_below,
        unsupported_resource_is_refused, an_occupied_cgroup_of_another_container, limits_of_zero_are_checked;
    [Root, Casulo, NoController("memory")] => missing_controller_is_named;
    [Root, Controller("memory")] => memory_limits_are_written, unlimited_memory, swap_is_the_difference;
    [Root, Casulo, Controller("memory")] => death_by_the_memory_limit_during_start;
    [Root, Controller("cpu")] => cpu_quota_and_period, shares_become_weight;
    [Root, Controller("cpuset")] => cpus_are_chosen;
    [Root, Controller("pids")] => pids_limit_holds, pids_limit_minus_one_is_max;
    [Root, Casulo, Controller("pids")] => pids_limit_zero_is_one, empty_pids_is_unset, limits_are_read_back_from_inside;
}

/// Runs a container under `resources` and prints these files of its own cgroup.
fn files(lab: &Lab, resources: &Value, names: &[&str]) -> Vec<String> {
    let mut resources = resources.clone();
    resources["devices"] = json!([{"allow": false, "access": "rwm"}]);
    let paths: Vec<String> = names
        .iter()
        .map(|name| format!("/sys/fs/cgroup/{name}"))
        .collect();
    let out = lab
        .bundle()
        .set("/linux/resources", resources)
        .sh(&format!("cat {}", paths.join(" ")))
        .run()
        .ok();
    out.lines().iter().map(|line| (*line).to_owned()).collect()
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

fn unsupported_resource_is_refused(lab: &Lab) {
    // Never accepted and then not applied.
    let cases = [
        (
            "hugepageLimits",
            json!([{"pageSize": "2MB", "limit": 2_097_152}]),
        ),
        ("blockIO", json!({"weight": 100})),
        ("rdma", json!({"mlx5_1": {"hcaHandles": 3}})),
        ("network", json!({"classID": 1})),
    ];
    for (name, value) in cases {
        let out = lab
            .bundle()
            .set(&format!("/linux/resources/{name}"), value)
            .run();
        out.fails_with(&[&format!("linux.resources.{name}")]);
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

fn limits_of_zero_are_checked(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/linux/resources/memory", json!({"limit": "much"}))
        .run();
    out.fails_with(&["linux.resources.memory.limit"]);
}

fn memory_limits_are_written(lab: &Lab) {
    let resources = json!({"memory": {"limit": 64 << 20, "reservation": 32 << 20}});
    let found = files(lab, &resources, &["memory.max", "memory.low"]);
    assert_eq!(found, [(64 << 20).to_string(), (32 << 20).to_string()]);
}

fn unlimited_memory(lab: &Lab) {
    let found = files(lab, &json!({"memory": {"limit": -1}}), &["memory.max"]);
    assert_eq!(found, ["max"]);
}

fn swap_is_the_difference(lab: &Lab) {
    // The spec's swap is memory and swap together; cgroup v2 counts swap alone.
    let resources = json!({"memory": {"limit": 64 << 20, "swap": 96 << 20}});
    assert_eq!(
        files(lab, &resources, &["memory.swap.max"]),
        [(32 << 20).to_string()]
    );
    let resources = json!({"memory": {"limit": 64 << 20, "swap": -1}});
    assert_eq!(files(lab, &resources, &["memory.swap.max"]), ["max"]);
}

fn death_by_the_memory_limit_during_start(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/linux/resources/memory", json!({"limit": 4096}))
        .run();
    assert!(out.stderr.contains("memory limit"), "{out:?}");
}

fn cpu_quota_and_period(lab: &Lab) {
    let found = files(
        lab,
        &json!({"cpu": {"quota": 50_000, "period": 200_000}}),
        &["cpu.max"],
    );
    assert_eq!(found, ["50000 200000"]);
    assert_eq!(
        files(lab, &json!({"cpu": {"quota": -1}}), &["cpu.max"]),
        ["max 100000"]
    );
    assert_eq!(
        files(lab, &json!({"cpu": {"period": 50_000}}), &["cpu.max"]),
        ["max 50000"]
    );
}

fn shares_become_weight(lab: &Lab) {
    let weight = |shares: u64| -> u64 {
        files(lab, &json!({"cpu": {"shares": shares}}), &["cpu.weight"])[0]
            .parse()
            .unwrap()
    };
    let (least, usual, double, most) = (weight(2), weight(1024), weight(2048), weight(262_144));
    assert_eq!((least, most), (1, 10_000));
    assert!(least < usual && usual < double && double < most);
}

fn cpus_are_chosen(lab: &Lab) {
    let resources = json!({"cpu": {"cpus": "0", "mems": "0"}});
    let found = files(
        lab,
        &resources,
        &["cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective"],
    );
    assert_eq!(found, ["0", "0", "0"]);
}

fn pids_limit_holds(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/linux/resources/pids", json!({"limit": 4}))
        .sh("cat /sys/fs/cgroup/pids.max; for i in 1 2 3 4 5 6; do sleep 5 & done; true")
        .run();
    assert_eq!(out.lines()[0], "4");
    assert!(
        out.stderr.contains("can't fork") || out.code != 0,
        "{out:?}"
    );
}

fn pids_limit_minus_one_is_max(lab: &Lab) {
    assert_eq!(
        files(lab, &json!({"pids": {"limit": -1}}), &["pids.max"]),
        ["max"]
    );
}

fn pids_limit_zero_is_one(lab: &Lab) {
    // The kernel knows no 0 here that would be useful; one process may run, and fork none.
    let out = lab
        .bundle()
        .set("/linux/resources/pids", json!({"limit": 0}))
        .args(&["/bin/cat", "/sys/fs/cgroup/pids.max"]);
    assert_eq!(out.run().ok().text(), "1");
}

fn empty_pids_is_unset(lab: &Lab) {
    assert_eq!(files(lab, &json!({"pids": {}}), &["pids.max"]), ["max"]);
}

fn limits_are_read_back_from_inside(lab: &Lab) {
    let resources = json!({
        "cpu": {"quota": 100_000, "period": 100_000, "shares": 512},
        "memory": {"limit": 128 << 20},
        "pids": {"limit": 100}
    });
    let found = files(lab, &resources, &["cpu.max", "memory.max", "pids.max"]);
    assert_eq!(found, ["100000 100000", &(128 << 20).to_string(), "100"]);
}
