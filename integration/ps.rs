//! `ps`: the processes of a container, as pids and as a table of the host's ps.

use crate::support::{Bundle, Lab, cases, finish, wait_until};
use serde_json::Value;
use std::fs;

cases! {
    [Root] => pids_are_those_of_the_cgroup, created_container_has_its_init, process_of_exec_is_listed, ps_of_nothing,
        table_has_the_header_and_its_own_lines, arguments_go_to_ps;
    [Root, Casulo] => processes_of_nested_cgroups_are_listed, stopped_container_has_none, table_without_pids_is_an_error,
        unknown_argument_is_reported, pid_namespace_tells_where_the_cgroup_is_the_callers,
        nothing_tells_them_from_the_callers;
}

fn pids(bundle: &Bundle<'_>) -> Vec<i32> {
    let out = bundle.call("ps", &["--format", "json"], &[]).ok();
    let value: Value = serde_json::from_str(&out.stdout).unwrap();
    let list = value.as_array().unwrap().iter();
    let mut pids: Vec<i32> = list.map(|it| it.as_i64().unwrap() as i32).collect();
    pids.sort_unstable();
    pids
}

/// The first words of the lines behind the header.
fn first_column(table: &str) -> Vec<i32> {
    let lines = table.lines().skip(1);
    let mut pids: Vec<i32> = lines
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    pids.sort_unstable();
    pids
}

fn procs(bundle: &Bundle<'_>, below: &str) -> Vec<i32> {
    let file = bundle.cgroup().join(below).join("cgroup.procs");
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().map(|line| line.parse().unwrap()).collect();
    pids.sort_unstable();
    pids
}

/// A running container with three processes.
fn three<'lab>(lab: &'lab Lab) -> Bundle<'lab> {
    let bundle = lab.bundle().sh("sleep 1000 & sleep 1001 & wait");
    bundle.run_detached();
    wait_until("three processes", || procs(&bundle, "").len() == 3);
    bundle
}

fn pids_are_those_of_the_cgroup(lab: &Lab) {
    let bundle = three(lab);
    let listed = pids(&bundle);
    assert_eq!(listed, procs(&bundle, ""));
    assert!(listed.contains(&bundle.pid()));
    // The short option, too.
    let out = bundle.call("ps", &["-f", "json"], &[]).ok();
    assert_eq!(out.lines().len(), 1, "{out:?}");
}

fn created_container_has_its_init(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.create(&[]).ok();
    assert_eq!(pids(&bundle), [bundle.pid()]);
}

fn process_of_exec_is_listed(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let file = lab.join("pid");
    let path = file.to_string_lossy().into_owned();
    bundle
        .call(
            "exec",
            &["--detach", "--pid-file", &path],
            &["/bin/sleep", "1001"],
        )
        .ok();
    let executed: i32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    let mut expected = [bundle.pid(), executed];
    expected.sort_unstable();
    assert_eq!(pids(&bundle), expected);
}

fn ps_of_nothing(lab: &Lab) {
    lab.casulo(&["ps", "nobody-knows-it"])
        .fails_with(&["does not exist"]);
}

fn table_has_the_header_and_its_own_lines(lab: &Lab) {
    let bundle = three(lab);
    let out = bundle.verb("ps").ok();
    let lines = out.lines();
    // ps -ef, for which nobody need ask.
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(header[..3], ["UID", "PID", "PPID"], "{out:?}");
    assert_eq!(lines.len(), 4, "{out:?}");
    assert!(
        lines[1..].iter().all(|line| line.contains("sleep")),
        "{out:?}"
    );
}

fn arguments_go_to_ps(lab: &Lab) {
    let bundle = three(lab);
    for arguments in [
        &["-eo", "pid,ppid,comm"][..],
        &["-e", "-o", "pid", "-o", "args"],
    ] {
        let out = bundle.call("ps", &[], arguments).ok();
        assert_eq!(first_column(&out.stdout), procs(&bundle, ""), "{out:?}");
    }
    // What casulo itself would understand belongs to ps behind the id.
    let out = bundle.call("ps", &[], &["-f", "-e"]).ok();
    assert_eq!(out.lines().len(), 4, "{out:?}");
}

fn processes_of_nested_cgroups_are_listed(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"])
        .sh("cd /sys/fs/cgroup; mkdir -p a/b; echo $$ >a/b/cgroup.procs; sleep 1000 & wait");
    bundle.run_detached();
    wait_until("two processes below", || procs(&bundle, "a/b").len() == 2);
    assert_eq!(pids(&bundle), procs(&bundle, "a/b"));
}

/// containerd's shim asks after the end, too.
fn stopped_container_has_none(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    assert_eq!(pids(&bundle), Vec::<i32>::new());
    let table = bundle.verb("ps").ok();
    assert_eq!(table.lines().len(), 1, "{table:?}");
    assert!(table.stdout.starts_with("UID"), "{table:?}");
}

fn table_without_pids_is_an_error(lab: &Lab) {
    let bundle = three(lab);
    let out = bundle.call("ps", &[], &["-eo", "comm"]);
    let out = out.fails_with(&["no column PID"]);
    assert_eq!(out.stdout, "");
}

fn unknown_argument_is_reported(lab: &Lab) {
    let bundle = three(lab);
    bundle
        .call("ps", &[], &["--no-such-option"])
        .fails_with(&["ps --no-such-option", "unknown gnu long option"]);
    // go-runc's one argument when nobody asked for anything.
    let out = bundle.call("ps", &["--format", "table"], &[""]).ok();
    assert_eq!(out.lines().len(), 4, "{out:?}");
}

fn pid_namespace_tells_where_the_cgroup_is_the_callers(lab: &Lab) {
    let bundle = lab.bundle().sh("sleep 1000 & wait");
    let run = bundle.command(&["--cgroup-manager", "disabled"], "run", &["--detach"]);
    finish(run, b"").ok();
    // Executed from outside: no descendant of init.
    bundle
        .call("exec", &["--detach"], &["/bin/sleep", "1001"])
        .ok();
    wait_until("all three are listed", || pids(&bundle).len() == 3);
    let out = bundle.call("ps", &[], &["-eo", "pid,args"]).ok();
    assert_eq!(first_column(&out.stdout), pids(&bundle));
    assert!(out.stdout.contains("sleep 1001"), "{out:?}");
    assert!(!pids(&bundle).contains(&(std::process::id() as i32)));
}

fn nothing_tells_them_from_the_callers(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("pid")
        .args(&["/bin/sleep", "1000"]);
    let run = bundle.command(&["--cgroup-manager", "disabled"], "run", &["--detach"]);
    finish(run, b"").ok();
    bundle.call("ps", &["--format", "json"], &[]).fails_with(&[
        "cannot tell the processes",
        "neither a cgroup nor a pid namespace",
    ]);
}
