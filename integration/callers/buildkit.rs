//! BuildKit: `run --keep` in the foreground is a build step.

use super::{Caller, log_entries, process_file, text};
use crate::support::{Bundle, Lab, Running, Terminal, cases, finish, wait_until};
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::Command;

cases! {
    [Root] => step_keeps_its_cgroup, exec_in_a_step, failed_step_is_in_the_log, step_with_a_terminal;
}

fn buildkit(lab: &Lab) -> Caller<'_> {
    let (root, log) = (lab.root(), lab.join("runc-log.json"));
    let global = [
        "--root",
        text(&root),
        "--log",
        text(&log),
        "--log-format",
        "json",
    ];
    Caller::new(lab, &global, &[("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
}

/// The step's call; go-runc puts it into a process group of its own.
fn step(caller: &Caller<'_>, bundle: &Bundle<'_>) -> Command {
    bundle.write();
    let mut command = caller.command(&[
        "run",
        "--bundle",
        text(bundle.path()),
        "--keep",
        bundle.id(),
    ]);
    command.process_group(0);
    command
}

/// The exit code is the step's, and the cgroup can still be asked for an OOM kill.
fn step_keeps_its_cgroup(lab: &Lab) {
    let caller = buildkit(lab);
    let bundle = lab.bundle().sh("cat; echo err >&2; exit 3");
    let out = finish(step(&caller, &bundle), b"in");
    assert_eq!(
        (out.code, out.stdout.as_str(), out.stderr.as_str()),
        (3, "in", "err\n")
    );
    assert_eq!(log_entries(&lab.join("runc-log.json")).len(), 0);
    assert!(bundle.cgroup().join("cgroup.events").exists());
    assert_eq!(bundle.status(), "stopped");
    caller.silent(&["delete", bundle.id()]);
    lab.assert_nothing_left(bundle.id());
}

/// It asks for the state until the step runs, then executes beside it, reading the bundle's config.
fn exec_in_a_step(lab: &Lab) {
    let caller = buildkit(lab);
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let step = Running::new(step(&caller, &bundle), b"");
    let mut state = Value::Null;
    wait_until("the step runs", || {
        let out = caller.call(&["state", bundle.id()]);
        state = serde_json::from_str(&out.stdout).unwrap_or_default();
        state["status"] == "running"
    });
    assert_eq!(state["bundle"], text(bundle.path()));
    let process = process_file(
        lab,
        "process",
        json!({"args": ["/bin/sh", "-c", "cat; exit 4"]}),
    );
    let pid_file = lab.join("pid");
    let exec = caller.command(&[
        "exec",
        "--process",
        text(&process),
        "--pid-file",
        text(&pid_file),
        bundle.id(),
    ]);
    let out = finish(exec, b"in");
    assert_eq!(
        (out.code, out.stdout.as_str(), out.stderr.as_str()),
        (4, "in", "")
    );
    super::pid_in(&pid_file);
    caller.silent(&["kill", bundle.id(), "9"]);
    assert_eq!(step.wait().code, 128 + 9);
    caller.silent(&["delete", bundle.id()]);
}

/// A step whose program is missing is the runtime's failure, and no container is left by it.
fn failed_step_is_in_the_log(lab: &Lab) {
    let caller = buildkit(lab);
    let bundle = lab.bundle().args(&["/no/such/program"]);
    let out = finish(step(&caller, &bundle), b"");
    assert_eq!(out.code, 1);
    let entries = log_entries(&lab.join("runc-log.json"));
    let message = entries.last().unwrap()["msg"].as_str().unwrap();
    assert!(message.contains("no such file or directory"), "{message}");
    caller.silent(&["delete", "--force", bundle.id()]);
}

/// A terminal without a console socket: the runtime shows it on its own.
fn step_with_a_terminal(lab: &Lab) {
    let caller = buildkit(lab);
    let bundle = lab
        .bundle()
        .set("/process/terminal", json!(true))
        .sh("read line; echo got $line; exit 6");
    let (mut terminal, mut child) = Terminal::spawn(step(&caller, &bundle), 24, 80);
    terminal.type_in("it\r");
    terminal.expect("got it");
    assert_eq!(child.wait().unwrap().code(), Some(6));
    caller.silent(&["delete", bundle.id()]);
}
