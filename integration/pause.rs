//! `pause` and `resume`, and what else may be done to a paused container.

use crate::support::{Bundle, Lab, Running, STUCK, StuckFs, cases, wait_until, waiting_cat};
use std::fs;
use std::time::Duration;

cases! {
    [Root] => a_paused_container_stands_still, a_paused_container_can_be_killed,
        a_paused_container_is_deleted_by_force, exec_in_a_paused_container_is_refused,
        ignore_paused_waits_for_the_resume, processes_in_nested_cgroups_freeze_too,
        signals_wait_for_the_resume;
    [Root, Casulo] => a_created_container_can_be_paused, statuses_are_named, a_stopped_container_is_not_paused,
        the_callers_cgroup_is_not_paused;
    [Root, Casulo, Fuse] => a_half_paused_container_can_be_resumed, a_process_that_does_not_freeze_is_named;
}

/// Counts up in a file.
const COUNT: &str =
    "i=0; while :; do i=$((i+1)); echo $i >/tmp/count.new; mv /tmp/count.new /tmp/count; done";

/// A container that counts.
fn counting(lab: &Lab) -> Bundle<'_> {
    let bundle = lab.bundle().sh(COUNT);
    bundle.run_detached();
    wait_until("it counts", || count(&bundle) > 0);
    bundle
}

fn count(bundle: &Bundle<'_>) -> u64 {
    let text = fs::read_to_string(bundle.rootfs().join("tmp/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn event(bundle: &Bundle<'_>, key: &str) -> String {
    let text = fs::read_to_string(bundle.cgroup().join("cgroup.events")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap().trim().to_owned()
}

fn a_paused_container_stands_still(lab: &Lab) {
    let bundle = counting(lab);
    bundle.verb("pause").ok();
    // It is frozen when the command returns, not some time later.
    assert_eq!(event(&bundle, "frozen"), "1");
    assert_eq!(bundle.status(), "paused");
    let before = count(&bundle);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(count(&bundle), before);
    bundle.verb("resume").ok();
    assert_eq!(event(&bundle, "frozen"), "0");
    assert_eq!(bundle.status(), "running");
    wait_until("it counts on", || count(&bundle) > before);
}

fn a_created_container_can_be_paused(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    bundle.verb("pause").ok();
    assert_eq!(bundle.status(), "paused");
    bundle.verb("start").fails_with(&["paused"]);
    bundle.verb("resume").ok();
    assert_eq!(bundle.status(), "created");
    bundle.verb("start").ok();
    assert_eq!(bundle.status(), "running");
}

fn statuses_are_named(lab: &Lab) {
    let bundle = counting(lab);
    bundle
        .verb("resume")
        .fails_with(&["cannot resume", "container not paused", "running"]);
    bundle.verb("pause").ok();
    bundle
        .verb("pause")
        .fails_with(&["cannot pause", "paused already"]);
    assert_eq!(bundle.status(), "paused", "the refusal thaws nothing");
}

fn a_stopped_container_is_not_paused(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    bundle
        .verb("pause")
        .fails_with(&["container not running", "stopped"]);
    bundle
        .verb("resume")
        .fails_with(&["container not paused", "stopped"]);
}

fn a_paused_container_can_be_killed(lab: &Lab) {
    let bundle = counting(lab);
    bundle.verb("pause").ok();
    bundle.call("kill", &[], &["KILL"]).ok();
    bundle.wait_stopped();
    bundle.verb("delete").ok();
    lab.assert_nothing_left(bundle.id());
}

fn a_paused_container_is_deleted_by_force(lab: &Lab) {
    let bundle = counting(lab);
    bundle.verb("pause").ok();
    bundle.verb("delete").fails_with(&["paused"]);
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn signals_wait_for_the_resume(lab: &Lab) {
    let bundle = lab
        .bundle()
        .sh("trap 'echo got >/tmp/got; exit' TERM; echo up >/tmp/up; while :; do sleep 0.01; done");
    bundle.run_detached();
    wait_until("it is up", || bundle.rootfs().join("tmp/up").exists());
    bundle.verb("pause").ok();
    bundle.call("kill", &[], &["TERM"]).ok();
    std::thread::sleep(Duration::from_millis(50));
    assert!(!bundle.rootfs().join("tmp/got").exists());
    bundle.verb("resume").ok();
    bundle.wait_stopped();
    assert!(bundle.rootfs().join("tmp/got").exists());
}

fn exec_in_a_paused_container_is_refused(lab: &Lab) {
    let bundle = counting(lab);
    bundle.verb("pause").ok();
    bundle.exec("true").fails_with(&["paused"]);
}

fn ignore_paused_waits_for_the_resume(lab: &Lab) {
    let bundle = counting(lab);
    bundle.verb("pause").ok();
    let mut command = lab.command();
    command.args(["exec", "--ignore-paused", bundle.id(), "echo", "thawed"]);
    let exec = Running::new(command, b"");
    // The process is there, and as frozen as the others.
    wait_until("its process is born", || {
        let procs = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).unwrap();
        procs.lines().count() >= 2 && event(&bundle, "frozen") == "1"
    });
    assert_eq!(exec.stdout(), "");
    bundle.verb("resume").ok();
    assert_eq!(exec.wait().ok().text(), "thawed");
}

fn processes_in_nested_cgroups_freeze_too(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .sh("mkdir /sys/fs/cgroup/below; echo 1 >/sys/fs/cgroup/below/cgroup.procs; echo up >/tmp/up; sleep 1000");
    bundle.run_detached();
    wait_until("it is up", || bundle.rootfs().join("tmp/up").exists());
    bundle.verb("pause").ok();
    let below = bundle.cgroup().join("below/cgroup.events");
    assert!(fs::read_to_string(below).unwrap().contains("frozen 1"));
    bundle.verb("resume").ok();
}

fn the_callers_cgroup_is_not_paused(lab: &Lab) {
    let bundle = lab
        .bundle()
        .remove("/linux/resources")
        .args(&["/bin/sleep", "1000"]);
    let global = ["--cgroup-manager", "disabled"];
    crate::support::finish(bundle.command(&global, "run", &["--detach"]), b"").ok();
    for verb in ["pause", "resume"] {
        bundle.verb(verb).fails_with(&["cgroup is the caller's"]);
    }
    // Nothing of the tests' own cgroup is frozen, or nobody would say so.
    assert_eq!(bundle.status(), "running");
}

/// A container that counts, and has a process that cannot freeze: it waits for a file system that
/// never answers. Also the number of that process.
fn counting_and_stuck<'lab>(lab: &'lab Lab) -> (Bundle<'lab>, StuckFs, String) {
    let fs = StuckFs::mount(&lab.directory("fuse"));
    let bundle = lab
        .bundle()
        .bind(&lab.join("fuse"), "/fuse", &[])
        .sh(&format!("cat /fuse/{STUCK} & {COUNT}"));
    bundle.run_detached();
    fs.wait_until_asked();
    let cat = waiting_cat(&bundle.cgroup());
    wait_until("it counts", || count(&bundle) > 0);
    (bundle, fs, cat)
}

fn counts_on(bundle: &Bundle<'_>) {
    let before = count(bundle);
    wait_until("it counts on", || count(bundle) > before);
}

fn a_half_paused_container_can_be_resumed(lab: &Lab) {
    // A pause that is killed before the processes froze leaves only the wish.
    let (bundle, fs, _) = counting_and_stuck(lab);
    fs::write(bundle.cgroup().join("cgroup.freeze"), "1").unwrap();
    assert_eq!(bundle.status(), "running");
    bundle.verb("resume").ok();
    counts_on(&bundle);
    drop(fs);
}

fn a_process_that_does_not_freeze_is_named(lab: &Lab) {
    let (bundle, fs, cat) = counting_and_stuck(lab);
    let named = format!("{cat} (cat, state D");
    let out = bundle
        .verb("pause")
        .fails_with(&["not frozen after", &named]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    assert!(!out.stderr.contains("(sh,"), "those that froze: {out:?}");
    // All run on.
    assert_eq!(bundle.status(), "running");
    let freeze = fs::read_to_string(bundle.cgroup().join("cgroup.freeze")).unwrap();
    assert_eq!(freeze.trim(), "0");
    counts_on(&bundle);
    drop(fs);
}
