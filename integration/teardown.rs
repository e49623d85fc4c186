//! The end of a container, whatever it is in the midst of and whatever it made of its cgroup.

use crate::support::{
    Bundle, Lab, Running, STUCK, StuckFs, cases, finish, wait_until, waiting_cat,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;

cases! {
    [Root] => frozen_container_is_deleted, frozen_nested_cgroup_is_deleted, deep_and_wide_nesting_is_deleted,
        threaded_cgroups_are_deleted, half_made_state_is_deleted;
    [Root, Casulo] => processes_without_their_init_are_deleted, kill_all_returns_when_all_have_ended, kill_all_of_a_frozen_container,
        kill_all_where_the_cgroup_is_the_callers, kill_all_above_the_limit_of_descriptors, kill_all_says_whom_it_does_not_see,
        kill_all_never_reaches_the_caller, deletes_at_once_have_a_winner;
    [Root, Casulo, Fuse] => process_that_cannot_die_is_named;
    [Root, Controller("pids")] => nested_cgroups_with_controllers_are_deleted;
}

/// A container that may change its own cgroup, running `script` and then sleeping.
fn with_cgroup<'lab>(bundle: Bundle<'lab>, script: &str) -> Bundle<'lab> {
    let bundle = bundle
        .without_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .sh(&format!(
            "cd /sys/fs/cgroup; {script}; touch /ready; exec sleep 1000"
        ));
    bundle.run_detached();
    wait_until("it is ready", || bundle.rootfs().join("ready").exists());
    bundle
}

#[track_caller]
fn delete_by_force(lab: &Lab, bundle: &Bundle<'_>) {
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn is_populated(bundle: &Bundle<'_>) -> bool {
    fs::read_to_string(bundle.cgroup().join("cgroup.events"))
        .is_ok_and(|text| text.contains("populated 1"))
}

fn freeze(bundle: &Bundle<'_>) {
    fs::write(bundle.cgroup().join("cgroup.freeze"), "1").unwrap();
    wait_until("it is frozen", || bundle.status() == "paused");
}

fn frozen_container_is_deleted(lab: &Lab) {
    let bundle = lab.bundle().sh("sleep 1000 & sleep 1001");
    bundle.run_detached();
    freeze(&bundle);
    bundle.verb("delete").fails_with(&["paused"]);
    delete_by_force(lab, &bundle);
}

fn frozen_nested_cgroup_is_deleted(lab: &Lab) {
    let script = "mkdir -p a/b; sleep 1001 & echo $! >a/b/cgroup.procs; echo 1 >a/cgroup.freeze";
    let bundle = with_cgroup(lab.bundle(), script);
    delete_by_force(lab, &bundle);
}

fn deep_and_wide_nesting_is_deleted(lab: &Lab) {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do mkdir -p $i/a/b/c/d/e/f/g/h; \
                  sleep 1001 & echo $! >$i/a/b/c/d/e/f/g/h/cgroup.procs; done; \
                  i=0; while [ $i -lt 200 ]; do mkdir wide$i; i=$((i+1)); done";
    let bundle = with_cgroup(lab.bundle(), script);
    assert!(bundle.cgroup().join("9/a/b/c/d/e/f/g/h").exists());
    assert!(bundle.cgroup().join("wide199").exists());
    delete_by_force(lab, &bundle);
}

fn threaded_cgroups_are_deleted(lab: &Lab) {
    // The container's own cgroup becomes the domain of the threads below.
    let script = "mkdir t t/u; echo threaded >t/cgroup.type; echo threaded >t/u/cgroup.type; \
                  sleep 1001 & echo $! >t/u/cgroup.threads";
    let bundle = with_cgroup(lab.bundle(), script);
    let kind = fs::read_to_string(bundle.cgroup().join("t/u/cgroup.type")).unwrap();
    assert_eq!(kind.trim(), "threaded");
    assert_ne!(
        fs::read_to_string(bundle.cgroup().join("t/u/cgroup.threads")).unwrap(),
        ""
    );
    delete_by_force(lab, &bundle);
}

fn nested_cgroups_with_controllers_are_deleted(lab: &Lab) {
    let script = "mkdir -p a/b; echo $$ >a/b/cgroup.procs; echo +pids >cgroup.subtree_control; \
                  echo +pids >a/cgroup.subtree_control";
    let limited = lab
        .bundle()
        .set("/linux/resources/pids", json!({"limit": 100}));
    let bundle = with_cgroup(limited, script);
    assert!(bundle.cgroup().join("a/b/pids.max").exists());
    delete_by_force(lab, &bundle);
}

fn processes_without_their_init_are_deleted(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("pid")
        .sh("setsid sleep 1000 </dev/null >/dev/null 2>&1 & exec sleep 1001");
    bundle.run_detached();
    let procs = bundle.cgroup().join("cgroup.procs");
    let count = || fs::read_to_string(&procs).unwrap().lines().count();
    wait_until("two processes", || count() == 2);
    kill(Pid::from_raw(bundle.pid()), Signal::SIGKILL).unwrap();
    bundle.wait_stopped();
    assert_eq!(count(), 1);
    delete_by_force(lab, &bundle);
}

fn half_made_state_is_deleted(lab: &Lab) {
    // A creator that died before it wrote anything leaves an empty directory.
    let id = lab.new_id();
    fs::create_dir_all(lab.root().join(&id)).unwrap();
    lab.casulo(&["delete", "--force", &id]).ok();
    lab.assert_nothing_left(&id);
}

fn kill_all_returns_when_all_have_ended(lab: &Lab) {
    for without in ["pid", "network"] {
        let bundle = lab
            .bundle()
            .without_namespace(without)
            .sh("sleep 1000 & sleep 1001 & sleep 1002 & wait");
        bundle.run_detached();
        bundle.call("kill", &["--all"], &["KILL"]).ok();
        assert!(!is_populated(&bundle), "without a {without} namespace");
    }
}

fn kill_all_of_a_frozen_container(lab: &Lab) {
    let bundle = lab.bundle().sh("sleep 1000 & sleep 1001");
    bundle.run_detached();
    freeze(&bundle);
    bundle.call("kill", &["--all"], &["KILL"]).ok();
    assert!(!is_populated(&bundle));
    bundle.wait_stopped();
    bundle.verb("delete").ok();
    lab.assert_nothing_left(bundle.id());
}

fn kill_all_where_the_cgroup_is_the_callers(lab: &Lab) {
    let script = "trap 'touch /first' USR1; sh -c 'trap \"touch /second\" USR1; touch /ready; \
                  while :; do sleep 0.05; done' & while :; do sleep 0.05; done";
    let bundle = lab.bundle().sh(script);
    let run = bundle.command(&["--cgroup-manager", "disabled"], "run", &["--detach"]);
    finish(run, b"").ok();
    let exists = |name: &str| bundle.rootfs().join(name).exists();
    wait_until("the trap is set", || exists("ready"));
    bundle.call("kill", &["--all"], &["USR1"]).ok();
    wait_until("both got it", || exists("first") && exists("second"));
    bundle.call("kill", &["--all"], &["KILL"]).ok();
    bundle.wait_stopped();
}

fn kill_all_above_the_limit_of_descriptors(lab: &Lab) {
    const PROCESSES: usize = 100;
    let script = format!(
        "for i in $(seq {PROCESSES}); do sh -c 'trap \"touch /got-$$; exit\" USR1; touch /ready-$$; \
         while :; do sleep 0.1; done' & done; trap '' USR1; while :; do sleep 1; done"
    );
    let bundle = lab.bundle().sh(&script);
    bundle.run_detached();
    let count = |prefix: &str| {
        let names = std::fs::read_dir(bundle.rootfs()).expect("rootfs");
        let names = names.map(|it| it.expect("entry").file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with(prefix))
            .count()
    };
    wait_until("all are ready", || count("ready-") == PROCESSES);
    let kill = lab.command();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -Sn 40; ulimit -Hn 40; exec \"$@\"", "sh"]);
    limited.arg(kill.get_program()).args(kill.get_args()).args([
        "kill",
        "--all",
        bundle.id(),
        "USR1",
    ]);
    finish(limited, b"").ok();
    wait_until("all got it", || count("got-") == PROCESSES);
    bundle.call("kill", &["--all"], &["KILL"]).ok();
    bundle.wait_stopped();
}

fn kill_all_says_whom_it_does_not_see(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let kill = |signal: &str| {
        let inner = lab.command();
        let mut outer = std::process::Command::new("unshare");
        outer.args(["--pid", "--fork", "--mount-proc"]);
        outer.arg(inner.get_program()).args(inner.get_args()).args([
            "kill",
            "--all",
            bundle.id(),
            signal,
        ]);
        finish(outer, b"")
    };
    kill("USR1").fails_with(&["1 of them have no number in this pid namespace"]);
    kill("KILL").ok();
    assert!(!is_populated(&bundle));
    bundle.wait_stopped();
}

fn kill_all_never_reaches_the_caller(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("pid")
        .args(&["/bin/sleep", "1000"]);
    let run = bundle.command(&["--cgroup-manager", "disabled"], "run", &["--detach"]);
    finish(run, b"").ok();
    for signal in ["KILL", "TERM"] {
        bundle
            .call("kill", &["--all"], &[signal])
            .fails_with(&["neither a cgroup nor a pid namespace"]);
    }
    assert_eq!(bundle.status(), "running");
    bundle.call("kill", &[], &["KILL"]).ok();
    bundle.wait_stopped();
}

fn deletes_at_once_have_a_winner(lab: &Lab) {
    for options in [&["--force"][..], &[]] {
        let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
        bundle.run_detached();
        if options.is_empty() {
            bundle.call("kill", &[], &["KILL"]).ok();
            bundle.wait_stopped();
        }
        let delete = || {
            let mut command = lab.command();
            command.arg("delete").args(options).arg(bundle.id());
            Running::new(command, b"")
        };
        let racers: Vec<Running> = (0..6).map(|_| delete()).collect();
        let ended: Vec<_> = racers.into_iter().map(Running::wait).collect();
        let lost = ended.iter().filter(|out| out.code != 0);
        for out in lost.clone() {
            assert!(out.stderr.contains("does not exist"), "{out:?}");
        }
        let winners = ended.len() - lost.count();
        // By force it is as good as deleted for everybody.
        let expected = if options.is_empty() { 1 } else { 6 };
        assert_eq!(winners, expected, "{ended:#?}");
        lab.assert_nothing_left(bundle.id());
    }
}

fn process_that_cannot_die_is_named(lab: &Lab) {
    let fs = StuckFs::mount(&lab.directory("fuse"));
    let bundle = lab
        .bundle()
        .bind(&lab.join("fuse"), "/fuse", &[])
        .sh(&format!("cat /fuse/{STUCK} & wait"));
    bundle.run_detached();
    fs.wait_until_asked();
    let cat = waiting_cat(&bundle.cgroup());
    let out = bundle.call("kill", &["--all"], &["KILL"]);
    let wchan = fs::read_to_string(format!("/proc/{cat}/wchan")).unwrap();
    let place = if wchan == "0" { "" } else { &wchan };
    let named = format!("{cat} (cat, state D");
    let out = out.fails_with(&[bundle.id(), &named, place]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");

    let out = bundle.call("delete", &["--force"], &[]);
    let out = out.fails_with(&[bundle.id(), &named, place]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    // Nothing is forgotten, so that the next delete can finish.
    assert!(lab.root().join(bundle.id()).join("state.json").exists());
    assert!(bundle.cgroup().exists());
    drop(fs);
    delete_by_force(lab, &bundle);
}
