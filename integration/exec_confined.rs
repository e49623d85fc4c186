//! What the container's own process got, a further process gets too.

use crate::support::{Bundle, Lab, Output, cases};
use serde_json::json;
use std::fs;

cases! {
    [Root, Casulo] => everything_of_the_container_applies_again, a_process_file_may_say_otherwise,
        a_label_is_refused_where_there_is_no_lsm;
    [Root, Numa] => memory_policy_applies_again;
    [Root, AppArmor] => apparmor_profile_of_the_container, apparmor_option_wins, apparmor_profile_of_a_process_file;
    [Root, Selinux] => selinux_label_of_the_container_and_of_the_option;
}

/// Asks the kernel for all that a process is given.
const LOOK: &str = "umask; cut -d' ' -f19,41 /proc/self/stat; cat /proc/self/oom_score_adj; ulimit -n; uname -m; \
    mkdir /made 2>&1 | grep -o 'Operation not permitted'; ionice; \
    grep -E '^(Seccomp|NoNewPrivs|CapInh|CapBnd|CapEff):' /proc/self/status";

fn confined(lab: &Lab) -> Bundle<'_> {
    let bundle = lab
        .bundle()
        .set("/process/user/umask", json!(0o027))
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 5}),
        )
        .set(
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
        )
        .set("/process/oomScoreAdj", json!(333))
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]),
        )
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
            ]}),
        );
    bundle.sh(&format!("({LOOK}) >/own; exec sleep 1000"))
}

fn by_file(lab: &Lab, bundle: &Bundle<'_>, process: &serde_json::Value) -> Output {
    let file = lab.join("process.json");
    fs::write(&file, serde_json::to_vec(process).unwrap()).unwrap();
    bundle.call("exec", &["--process", &file.to_string_lossy()], &[])
}

fn plain_process(script: &str) -> serde_json::Value {
    json!({
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", "-c", script],
        "env": ["PATH=/bin:/usr/bin"],
        "cwd": "/"
    })
}

fn everything_of_the_container_applies_again(lab: &Lab) {
    let bundle = confined(lab);
    bundle.run_detached();
    let own = bundle.rootfs().join("own");
    crate::support::wait_until("the container has looked", || {
        fs::read_to_string(&own).is_ok_and(|text| text.contains("CapBnd"))
    });
    let own = fs::read_to_string(own).unwrap();
    for expected in [
        "0027",
        "5 3",
        "333",
        "77",
        "i686",
        "not permitted",
        "prio 6",
    ] {
        assert!(own.contains(expected), "{expected} in {own}");
    }
    assert_eq!(bundle.exec(LOOK).ok().stdout, own);
    // What a process file leaves out is the container's.
    assert_eq!(by_file(lab, &bundle, &plain_process(LOOK)).ok().stdout, own);
}

fn a_process_file_may_say_otherwise(lab: &Lab) {
    let bundle = confined(lab);
    bundle.run_detached();
    let mut process = plain_process("umask; cut -d' ' -f19,41 /proc/self/stat; ionice");
    process["user"]["umask"] = json!(0o77);
    process["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 3});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    let out = by_file(lab, &bundle, &process).ok();
    assert_eq!(out.lines()[..2], ["0077", "3 0"]);
    assert!(out.lines()[2].contains("idle"), "{out:?}");
}

fn memory_policy_applies_again(lab: &Lab) {
    let look = "head -n 1 /proc/self/numa_maps | cut -d' ' -f2";
    let bundle = lab
        .bundle()
        .set(
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0"}),
        )
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert!(bundle.exec(look).ok().text().starts_with("bind:0"));
}

fn a_label_is_refused_where_there_is_no_lsm(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let has = |path| std::path::Path::new(path).exists();
    if !has("/sys/fs/selinux/enforce") {
        bundle
            .call("exec", &["--process-label", "a:b:c:s0"], &["/bin/true"])
            .fails_with(&["selinuxLabel", "SELinux is not enabled"]);
    }
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.starts_with('Y')) {
        bundle
            .call("exec", &["--apparmor", "some"], &["/bin/true"])
            .fails_with(&["apparmorProfile", "AppArmor is not enabled"]);
    }
    assert_eq!(bundle.status(), "running");
}

const PROFILE: &str = "cat /proc/self/attr/current";

fn apparmor_profile_of_the_container(lab: &Lab) {
    crate::process::load_profile(lab, "casulo-exec");
    let bundle = lab
        .bundle()
        .set("/process/apparmorProfile", json!("casulo-exec"))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let expected = "casulo-exec (enforce)";
    assert_eq!(bundle.exec(PROFILE).ok().text(), expected);
    let out = by_file(lab, &bundle, &plain_process(PROFILE)).ok();
    assert_eq!(out.text(), expected);
}

fn apparmor_option_wins(lab: &Lab) {
    crate::process::load_profile(lab, "casulo-option");
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let with = |name| bundle.call("exec", &["--apparmor", name], &["/bin/sh", "-c", PROFILE]);
    assert_eq!(with("casulo-option").ok().text(), "casulo-option (enforce)");
    with("no-such-profile").fails_with(&["no-such-profile"]);
}

fn apparmor_profile_of_a_process_file(lab: &Lab) {
    crate::process::load_profile(lab, "casulo-file");
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let mut process = plain_process(PROFILE);
    process["apparmorProfile"] = json!("casulo-file");
    let out = by_file(lab, &bundle, &process).ok();
    assert_eq!(out.text(), "casulo-file (enforce)");
}

fn selinux_label_of_the_container_and_of_the_option(lab: &Lab) {
    let (own, other) = (
        "system_u:system_r:unconfined_t:s0",
        "system_u:system_r:unconfined_t:s0:c1",
    );
    let bundle = lab
        .bundle()
        .set("/process/selinuxLabel", json!(own))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let label = |options: &[&str]| {
        let out = bundle
            .call("exec", options, &["/bin/sh", "-c", PROFILE])
            .ok();
        out.text().trim_end_matches('\0').to_owned()
    };
    assert_eq!(label(&[]), own);
    assert_eq!(label(&["--process-label", other]), other);
}
