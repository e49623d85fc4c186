//! `update`: limits and device rules of a container that runs, and that a refusal changes nothing.

use crate::support::{Bundle, Lab, Output, WEIGHTS, bpf, cases, disk, finish, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::sync::PoisonError;

cases! {
    [Root] => resources_come_from_stdin, resources_come_from_a_file;
    [Root, Casulo] => nothing_to_change_is_no_error, a_refused_value_brings_back_those_before_it,
        a_stopped_container_is_refused, created_and_paused_containers_are_updated, the_callers_cgroup_is_not_changed,
        wrong_resources_are_named_by_path, a_file_wins_over_options, amounts_are_checked, no_rdt_class_to_change,
        refused_options_are_named, device_rules_change_at_once, devices_are_never_without_rules,
        one_device_program_that_goes_with_the_container, a_refused_limit_leaves_the_device_rules,
        no_key_leaves_the_device_rules;
    [Root, Casulo, NoController("memory")] => a_missing_controller_is_named;
    [Root, Controller("memory")] => memory_options, memory_swap_options;
    [Root, Casulo, Controller("memory")] => a_limit_below_the_use_is_checked;
    [Root, Controller("cpu")] => cpu_options, a_quota_keeps_the_period;
    [Root, Casulo, Controller("cpu")] => cpu_burst_and_quota_change_together, cpu_idle_and_back;
    [Root, Controller("cpuset")] => cpuset_options;
    [Root, Controller("pids")] => pids_option;
    [Root, Casulo, Controller("pids")] => zero_is_unset_but_for_pids;
    [Root, Casulo, Controller("io")] => block_io_weight_option;
    [Root, Casulo, Controller("io"), Controller("pids"), Disk] => throttles_of_a_disk_are_brought_back;
    [Root, Casulo, Controller("cpu"), Controller("memory"), Controller("pids")] =>
        the_last_value_refused_leaves_all_old_ones, limits_can_be_added_to_a_container_without;
}

/// A char device that no driver serves: opening it says ENXIO or ENODEV where the rules allow it.
const NOBODY: (u32, u32) = (10, 254);

fn sleeping(lab: &Lab) -> Bundle<'_> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

/// A container under these resources that sleeps.
fn sleeping_under<'lab>(lab: &'lab Lab, resources: &Value) -> Bundle<'lab> {
    let mut resources = resources.clone();
    resources["devices"] = json!([{"allow": false, "access": "rwm"}]);
    let bundle = lab
        .bundle()
        .set("/linux/resources", resources)
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

/// `update` with options.
#[track_caller]
fn update(bundle: &Bundle<'_>, options: &[&str]) -> Output {
    bundle.call("update", options, &[])
}

/// `update --resources -` with these on stdin.
#[track_caller]
fn update_with(lab: &Lab, bundle: &Bundle<'_>, resources: &Value) -> Output {
    let mut command = lab.command();
    command.args(["update", "--resources", "-", bundle.id()]);
    finish(command, resources.to_string().as_bytes())
}

/// The text of a file of the container's cgroup, on the host.
fn file(bundle: &Bundle<'_>, name: &str) -> String {
    let path = bundle.cgroup().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

// ---- what needs no controller ----------------------------------------------------------------

fn resources_come_from_stdin(lab: &Lab) {
    let bundle = sleeping(lab);
    let resources = json!({"unified": {"cgroup.max.depth": "3"}});
    update_with(lab, &bundle, &resources).ok();
    assert_eq!(file(&bundle, "cgroup.max.depth"), "3");
}

fn resources_come_from_a_file(lab: &Lab) {
    let bundle = sleeping(lab);
    let path = lab.join("resources.json");
    fs::write(&path, r#"{"unified": {"cgroup.max.depth": "3"}}"#).unwrap();
    update(&bundle, &[&format!("--resources={}", path.display())]).ok();
    assert_eq!(file(&bundle, "cgroup.max.depth"), "3");
}

fn nothing_to_change_is_no_error(lab: &Lab) {
    let bundle = sleeping(lab);
    update(&bundle, &[]).ok();
    update_with(lab, &bundle, &json!({})).ok();
    // As Docker sends what was not asked for.
    let zeros = json!({
        "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0}
    });
    update_with(lab, &bundle, &zeros).ok();
}

fn a_refused_value_brings_back_those_before_it(lab: &Lab) {
    let bundle = sleeping(lab);
    let resources = json!({"unified": {"cgroup.max.depth": "3", "cgroup.max.descendants": "many"}});
    update_with(lab, &bundle, &resources).fails_with(&[
        "cgroup.max.descendants",
        "many",
        "Invalid argument",
    ]);
    assert_eq!(file(&bundle, "cgroup.max.depth"), "max");
}

fn a_stopped_container_is_refused(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    update(&bundle, &[]).fails_with(&["container not running"]);
}

fn created_and_paused_containers_are_updated(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    update_with(lab, &bundle, &json!({"unified": {"cgroup.max.depth": "3"}})).ok();
    assert_eq!(file(&bundle, "cgroup.max.depth"), "3");
    bundle.verb("start").ok();
    bundle.verb("pause").ok();
    update_with(lab, &bundle, &json!({"unified": {"cgroup.max.depth": "4"}})).ok();
    assert_eq!(file(&bundle, "cgroup.max.depth"), "4");
    assert_eq!(bundle.status(), "paused");
}

fn the_callers_cgroup_is_not_changed(lab: &Lab) {
    let bundle = lab
        .bundle()
        .remove("/linux/resources")
        .args(&["/bin/sleep", "1000"]);
    let global = ["--cgroup-manager", "disabled"];
    finish(bundle.command(&global, "run", &["--detach"]), b"").ok();
    for resources in [json!({"pids": {"limit": 5}}), json!({"devices": []})] {
        update_with(lab, &bundle, &resources).fails_with(&["cgroup is the caller's"]);
    }
    update(&bundle, &[]).ok();
}

fn wrong_resources_are_named_by_path(lab: &Lab) {
    let bundle = sleeping(lab);
    for (resources, words) in [
        (
            json!({"memory": {"limit": "much"}}),
            "linux.resources.memory.limit",
        ),
        (
            json!({"devices": [{"allow": true, "access": "x"}]}),
            "linux.resources.devices[0].access",
        ),
        (
            json!({"unified": {"cgroup.kill": "1"}}),
            "linux.resources.unified[\"cgroup.kill\"]",
        ),
        (json!([]), "must be a JSON object"),
    ] {
        update_with(lab, &bundle, &resources).fails_with(&["stdin: ", words]);
    }
    update(&bundle, &["--resources", "/no/such"]).fails_with(&["/no/such"]);
    // `{}` is no limit of 0.
    update_with(lab, &bundle, &json!({"pids": {}})).ok();
    assert_eq!(bundle.status(), "running");
}

fn a_file_wins_over_options(lab: &Lab) {
    let bundle = sleeping(lab);
    let mut command = lab.command();
    // An option that would be refused.
    command.args([
        "update",
        "--resources=-",
        "--kernel-memory",
        "1m",
        bundle.id(),
    ]);
    finish(command, br#"{"unified": {"cgroup.max.depth": "3"}}"#).ok();
    assert_eq!(file(&bundle, "cgroup.max.depth"), "3");
}

fn amounts_are_checked(lab: &Lab) {
    let bundle = sleeping(lab);
    update(&bundle, &["--memory", "lots"]).fails_with(&["--memory lots"]);
    update(&bundle, &["--memory=-2"]).fails_with(&["--memory -2"]);
}

fn refused_options_are_named(lab: &Lab) {
    let bundle = sleeping(lab);
    for (option, field) in [
        ("--kernel-memory=1m", "linux.resources.memory.kernel"),
        ("--kernel-memory-tcp=1m", "linux.resources.memory.kernelTCP"),
        ("--cpu-rt-period=1000", "linux.resources.cpu.realtimePeriod"),
        (
            "--cpu-rt-runtime=1000",
            "linux.resources.cpu.realtimeRuntime",
        ),
    ] {
        update(&bundle, &[option]).fails_with(&[field]);
    }
    update(&bundle, &["--kernel-memory=-1", "--kernel-memory-tcp", "0"]).ok();
}

fn no_rdt_class_to_change(lab: &Lab) {
    let bundle = sleeping(lab);
    update(&bundle, &["--l3-cache-schema", "L3:0=f"])
        .fails_with(&["linux.intelRdt", "the container has no class"]);
    update(&bundle, &["--mem-bw-schema", "L3:0=f"]).fails_with(&["linux.intelRdt.memBwSchema"]);
}

fn a_missing_controller_is_named(lab: &Lab) {
    let bundle = sleeping(lab);
    let resources = json!({"unified": {"cgroup.max.depth": "3"}, "memory": {"limit": 64 << 20}});
    update_with(lab, &bundle, &resources).fails_with(&["memory controller"]);
    assert_eq!(file(&bundle, "cgroup.max.depth"), "max");
}

// ---- device rules ----------------------------------------------------------------------------

/// Whether nobody's device may be opened; its node may be made.
fn rules(nobody: bool) -> Value {
    json!([
        {"allow": false, "access": "rwm"},
        {"allow": nobody, "type": "c", "major": NOBODY.0, "minor": NOBODY.1, "access": "rw"}
    ])
}

/// A container with a node of nobody's device, which its rules forbid.
fn with_nobody<'lab>(lab: &'lab Lab, script: &str) -> Bundle<'lab> {
    let bundle = lab
        .bundle()
        .push(
            "/linux/devices",
            json!({"path": "/dev/nobody", "type": "c", "major": NOBODY.0, "minor": NOBODY.1}),
        )
        .set("/linux/resources/devices", rules(false))
        .sh(script);
    bundle.run_detached();
    bundle
}

fn is_refused(bundle: &Bundle<'_>) -> bool {
    bundle
        .exec("cat /dev/nobody")
        .stderr
        .contains("not permitted")
}

fn device_rules_change_at_once(lab: &Lab) {
    let bundle = with_nobody(
        lab,
        "while :; do cat /dev/nobody 2>/tmp/new; mv /tmp/new /tmp/result; done",
    );
    let result = bundle.rootfs().join("tmp/result");
    let running_says = |word: &str| {
        wait_until(word, || {
            fs::read_to_string(&result).is_ok_and(|text| text.contains(word))
        });
    };
    running_says("not permitted");
    assert!(is_refused(&bundle));

    update_with(lab, &bundle, &json!({"devices": rules(true)})).ok();
    assert!(!is_refused(&bundle), "a new process");
    running_says("No such device");

    // An empty list: the default devices and nothing else.
    update_with(lab, &bundle, &json!({"devices": []})).ok();
    assert!(is_refused(&bundle));
    running_says("not permitted");
    bundle
        .exec("echo gone >/dev/null && head -c1 /dev/zero")
        .ok();

    update_with(
        lab,
        &bundle,
        &json!({"devices": [{"allow": true, "access": "rwm"}]}),
    )
    .ok();
    assert!(!is_refused(&bundle));
    running_says("No such device");
    update_with(lab, &bundle, &json!({"devices": rules(false)})).ok();
    assert!(is_refused(&bundle));
}

fn devices_are_never_without_rules(lab: &Lab) {
    let bundle = with_nobody(
        lab,
        "exec /bin/probe open-loop /tmp/stop /dev/nobody /dev/zero >/tmp/seen",
    );
    let seen = bundle.rootfs().join("tmp/seen");
    let text = || fs::read_to_string(&seen).unwrap_or_default();
    wait_until("it opens", || text().contains("opens"));
    for round in 0..100 {
        // Two sets of rules that agree about these two devices.
        let mut list = rules(false);
        list.as_array_mut().unwrap().push(
            json!({"allow": round % 2 == 0, "type": "c", "major": 1, "minor": 11, "access": "r"}),
        );
        update_with(lab, &bundle, &json!({ "devices": list })).ok();
    }
    fs::write(bundle.rootfs().join("tmp/stop"), "").unwrap();
    bundle.wait_stopped();
    let text = text();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "/dev/nobody: EPERM: Operation not permitted",
            "/dev/zero: opened"
        ]
    );
}

fn one_device_program_that_goes_with_the_container(lab: &Lab) {
    let bundle = sleeping(lab);
    let first = bpf::device_programs(&bundle.cgroup());
    assert_eq!(first.len(), 1);
    update_with(lab, &bundle, &json!({"devices": rules(true)})).ok();
    let second = bpf::device_programs(&bundle.cgroup());
    assert_eq!(second.len(), 1);
    wait_until("the old program is gone", || !bpf::is_loaded(first[0]));
    assert!(bpf::is_loaded(second[0]));
    // Everything allowed needs no program; rules after that need one again.
    update_with(
        lab,
        &bundle,
        &json!({"devices": [{"allow": true, "access": "rwm"}]}),
    )
    .ok();
    assert_eq!(bpf::device_programs(&bundle.cgroup()).len(), 0);
    update_with(lab, &bundle, &json!({"devices": rules(false)})).ok();
    let last = bpf::device_programs(&bundle.cgroup());
    assert_eq!(last.len(), 1);
    bundle.call("delete", &["--force"], &[]).ok();
    wait_until("the program is gone", || !bpf::is_loaded(last[0]));
}

fn a_refused_limit_leaves_the_device_rules(lab: &Lab) {
    let bundle = with_nobody(lab, "sleep 1000");
    let before = bpf::device_programs(&bundle.cgroup());
    let resources = json!({"unified": {"cgroup.max.depth": "deep"}, "devices": rules(true)});
    update_with(lab, &bundle, &resources).fails_with(&["cgroup.max.depth"]);
    assert_eq!(bpf::device_programs(&bundle.cgroup()), before);
    assert!(is_refused(&bundle));
}

fn no_key_leaves_the_device_rules(lab: &Lab) {
    let bundle = with_nobody(lab, "sleep 1000");
    let before = bpf::device_programs(&bundle.cgroup());
    update_with(lab, &bundle, &json!({"unified": {"cgroup.max.depth": "3"}})).ok();
    assert_eq!(bpf::device_programs(&bundle.cgroup()), before);
}

// ---- limits, read back from the kernel -------------------------------------------------------

fn memory_options(lab: &Lab) {
    let bundle = sleeping_under(lab, &json!({"memory": {"limit": 64 << 20}}));
    for (options, name, expected) in [
        (&["--memory", "128M"][..], "memory.max", "134217728"),
        (&["--memory", "33554432"], "memory.max", "33554432"),
        (&["--memory-reservation", "16m"], "memory.low", "16777216"),
        (&["--memory", "-1"], "memory.max", "max"),
    ] {
        update(&bundle, options).ok();
        assert_eq!(file(&bundle, name), expected, "{options:?}");
    }
}

fn memory_swap_options(lab: &Lab) {
    // Memory and swap together, as v1 counts.
    let bundle = sleeping_under(
        lab,
        &json!({"memory": {"limit": 64 << 20, "swap": 64 << 20}}),
    );
    assert_eq!(file(&bundle, "memory.swap.max"), "0");
    update(&bundle, &["--memory", "64m", "--memory-swap", "96m"]).ok();
    assert_eq!(file(&bundle, "memory.swap.max"), (32 << 20).to_string());
    update(&bundle, &["--memory-swap", "-1"]).ok();
    assert_eq!(file(&bundle, "memory.swap.max"), "max");
    assert_eq!(file(&bundle, "memory.max"), (64 << 20).to_string());
}

fn a_limit_below_the_use_is_checked(lab: &Lab) {
    let bundle = sleeping_under(
        lab,
        &json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 50}}),
    );
    let resources =
        json!({"pids": {"limit": 40}, "memory": {"limit": 4096, "checkBeforeUpdate": true}});
    let out = update_with(lab, &bundle, &resources).fails_with(&["4096"]);
    let used: Vec<u64> = out
        .stderr
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(used.iter().any(|number| *number > 4096), "{out:?}");
    assert_eq!(file(&bundle, "memory.max"), (64 << 20).to_string());
    assert_eq!(
        file(&bundle, "pids.max"),
        "50",
        "nothing was written before"
    );
    assert_eq!(bundle.status(), "running");
    let resources = json!({"memory": {"limit": 32 << 20, "checkBeforeUpdate": true}});
    update_with(lab, &bundle, &resources).ok();
    assert_eq!(file(&bundle, "memory.max"), (32 << 20).to_string());
    // As an option, before the kernel would kill for it; and what it did without.
    update(&bundle, &["--memory", "1", "--check-before-update"]).fails_with(&["bytes are in use"]);
    assert_eq!(bundle.status(), "running");
    let out = update(&bundle, &["--memory", "1"]).ok();
    assert!(
        out.stderr.contains(bundle.id()) && out.stderr.contains("killed by its memory limit"),
        "{out:?}"
    );
    bundle.wait_stopped();
}

fn cpu_options(lab: &Lab) {
    let bundle = sleeping_under(lab, &json!({"cpu": {"shares": 1024}}));
    for (options, name, expected) in [
        (&["--cpu-share", "2"][..], "cpu.weight", "1"),
        (&["--cpu-share", "262144"], "cpu.weight", "10000"),
        (
            &["--cpu-period", "50000", "--cpu-quota", "20000"],
            "cpu.max",
            "20000 50000",
        ),
        (
            &["--cpu-quota", "-1", "--cpu-period", "50000"],
            "cpu.max",
            "max 50000",
        ),
    ] {
        update(&bundle, options).ok();
        assert_eq!(file(&bundle, name), expected, "{options:?}");
    }
}

fn a_quota_keeps_the_period(lab: &Lab) {
    let bundle = sleeping_under(lab, &json!({"cpu": {"quota": 20_000, "period": 50_000}}));
    update(&bundle, &["--cpu-quota", "30000"]).ok();
    assert_eq!(file(&bundle, "cpu.max"), "30000 50000");
    update(&bundle, &["--cpu-period", "60000"]).ok();
    assert_eq!(file(&bundle, "cpu.max"), "30000 60000");
    update(&bundle, &["--cpu-quota", "-1"]).ok();
    assert_eq!(file(&bundle, "cpu.max"), "max 60000");
}

fn cpu_burst_and_quota_change_together(lab: &Lab) {
    // The kernel refuses a quota below the burst, and a burst above the quota.
    let cpu = json!({"quota": 50_000, "period": 100_000, "burst": 40_000});
    let bundle = sleeping_under(lab, &json!({ "cpu": cpu }));
    update(&bundle, &["--cpu-quota", "20000", "--cpu-burst", "10000"]).ok();
    assert_eq!(file(&bundle, "cpu.max"), "20000 100000");
    assert_eq!(file(&bundle, "cpu.max.burst"), "10000");
    update(&bundle, &["--cpu-quota", "80000", "--cpu-burst", "70000"]).ok();
    assert_eq!(file(&bundle, "cpu.max"), "80000 100000");
    assert_eq!(file(&bundle, "cpu.max.burst"), "70000");
    update(&bundle, &["--cpu-burst", "5000"]).ok();
    assert_eq!(file(&bundle, "cpu.max.burst"), "5000");
}

fn cpu_idle_and_back(lab: &Lab) {
    let bundle = sleeping_under(lab, &json!({"cpu": {"shares": 1024}}));
    update(&bundle, &["--cpu-idle", "1"]).ok();
    assert_eq!(file(&bundle, "cpu.idle"), "1");
    // An idle cgroup takes no weight.
    update(&bundle, &["--cpu-share", "2"]).fails_with(&["cpu.weight"]);
    assert_eq!(file(&bundle, "cpu.idle"), "1");
    update(&bundle, &["--cpu-idle", "0", "--cpu-share", "2"]).ok();
    assert_eq!(file(&bundle, "cpu.idle"), "0");
    assert_eq!(file(&bundle, "cpu.weight"), "1");
}

fn cpuset_options(lab: &Lab) {
    let bundle = sleeping(lab);
    update(&bundle, &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
    assert_eq!(file(&bundle, "cpuset.cpus"), "0");
    assert_eq!(file(&bundle, "cpuset.mems"), "0");
    let out = update(&bundle, &["--cpuset-cpus", "9999"]);
    assert_ne!(out.code, 0);
    assert_eq!(file(&bundle, "cpuset.cpus"), "0");
}

fn pids_option(lab: &Lab) {
    let bundle = sleeping_under(lab, &json!({"pids": {"limit": 20}}));
    update(&bundle, &["--pids-limit", "30"]).ok();
    assert_eq!(file(&bundle, "pids.max"), "30");
    update(&bundle, &["--pids-limit", "-1"]).ok();
    assert_eq!(file(&bundle, "pids.max"), "max");
}

fn zero_is_unset_but_for_pids(lab: &Lab) {
    let bundle = sleeping_under(lab, &json!({"pids": {"limit": 20}}));
    update_with(lab, &bundle, &json!({"pids": {}})).ok();
    assert_eq!(file(&bundle, "pids.max"), "20");
    update_with(lab, &bundle, &json!({"pids": {"limit": 0}})).ok();
    assert_eq!(file(&bundle, "pids.max"), "1");
}

fn the_last_value_refused_leaves_all_old_ones(lab: &Lab) {
    let old = json!({
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000},
        "memory": {"limit": 64 << 20, "reservation": 1 << 20},
        "pids": {"limit": 20}
    });
    let bundle = sleeping_under(lab, &old);
    let files = [
        "cpu.weight",
        "cpu.max",
        "memory.max",
        "memory.low",
        "pids.max",
        "cgroup.max.depth",
    ];
    let before = files.map(|name| file(&bundle, name));
    let new = json!({
        "cpu": {"shares": 2048, "quota": 70_000, "period": 200_000},
        "memory": {"limit": 128 << 20, "reservation": 2 << 20},
        "pids": {"limit": 40},
        "unified": {"cgroup.max.depth": "5", "pids.max": "nonsense"}
    });
    update_with(lab, &bundle, &new).fails_with(&["pids.max", "nonsense"]);
    assert_eq!(files.map(|name| file(&bundle, name)), before);
}

fn limits_can_be_added_to_a_container_without(lab: &Lab) {
    // Its cgroup has no file of a controller until somebody asks.
    let bundle = sleeping(lab);
    update(
        &bundle,
        &[
            "--memory",
            "64m",
            "--pids-limit",
            "20",
            "--cpu-quota",
            "50000",
        ],
    )
    .ok();
    assert_eq!(file(&bundle, "memory.max"), (64 << 20).to_string());
    assert_eq!(file(&bundle, "pids.max"), "20");
    assert_eq!(file(&bundle, "cpu.max"), "50000 100000");
    let out = bundle.exec("cat /sys/fs/cgroup/pids.max").ok();
    assert_eq!(out.text(), "20", "read from inside");
}

fn block_io_weight_option(lab: &Lab) {
    let _alone = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    let bundle = sleeping(lab);
    update(&bundle, &["--blkio-weight", "500"]).ok();
    // BFQ has a file of its own, and counts as v1 did.
    let bfq = fs::read_to_string(bundle.cgroup().join("io.bfq.weight"));
    match bfq {
        Ok(text) => assert_eq!(text.trim(), "default 500"),
        Err(_) => assert_eq!(file(&bundle, "io.weight"), "default 4950"),
    }
    update(&bundle, &["--blkio-weight", "9"]).fails_with(&["linux.resources.blockIO.weight"]);
}

fn throttles_of_a_disk_are_brought_back(lab: &Lab) {
    let disk = disk().unwrap();
    let bundle = sleeping(lab);
    let refused = |throttle: &str| {
        let resources = json!({"unified": {
            "io.max": format!("{disk} {throttle}"), "pids.max": "nonsense"
        }});
        update_with(lab, &bundle, &resources).fails_with(&["pids.max", "nonsense"]);
    };
    // A disk without throttles has no line in the file.
    refused("wbps=1048576 riops=100");
    assert_eq!(file(&bundle, "io.max"), "");
    let resources = json!({"unified": {"io.max": format!("{disk} rbps=4194304")}});
    update_with(lab, &bundle, &resources).ok();
    let before = file(&bundle, "io.max");
    assert_eq!(
        before,
        format!("{disk} rbps=4194304 wbps=max riops=max wiops=max")
    );
    refused("rbps=1048576 wbps=1048576");
    assert_eq!(file(&bundle, "io.max"), before);
}
