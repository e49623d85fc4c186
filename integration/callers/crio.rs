//! CRI-O: what it calls itself, without conmon; above all exec with streams, in the foreground.

use super::{Caller, process_file, text};
use crate::support::{Bundle, HostCgroup, Lab, Running, Terminal, cases, finish, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;

cases! {
    [Root] => streaming_exec, streaming_exec_passes_signals_on, streaming_exec_with_a_terminal, state_document,
        kill_of_a_stopped_container, update_without_the_cgroup_manager, exec_from_another_cgroup;
}

/// exec gets XDG_RUNTIME_DIR and nothing else; the others what conmon gets.
fn crio(lab: &Lab) -> Caller<'_> {
    Caller::new(
        lab,
        &["--root", text(&lab.root())],
        &[("XDG_RUNTIME_DIR", "/run/user/0")],
    )
}

fn sleeping(lab: &Lab) -> Bundle<'_> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

/// `exec --process FILE ID` with pipes: the exit code is the process's.
fn streaming_exec(lab: &Lab) {
    let (crio, bundle) = (crio(lab), sleeping(lab));
    let script = ["/bin/sh", "-c", "cat; echo err >&2; exit 9"];
    let process = process_file(lab, "exec-process-1", json!({"args": script}));
    let exec = crio.command(&["exec", "--process", text(&process), bundle.id()]);
    let out = finish(exec, b"in");
    assert_eq!(
        (out.code, out.stdout.as_str(), out.stderr.as_str()),
        (9, "in", "err\n")
    );
}

/// A client that goes away ends what it started.
fn streaming_exec_passes_signals_on(lab: &Lab) {
    let (crio, bundle) = (crio(lab), sleeping(lab));
    let script = "trap 'exit 8' TERM; touch /ready; while :; do sleep 0.02; done";
    let process = process_file(
        lab,
        "exec-process-1",
        json!({"args": ["/bin/sh", "-c", script]}),
    );
    let exec = Running::new(
        crio.command(&["exec", "--process", text(&process), bundle.id()]),
        b"",
    );
    wait_until("the trap is set", || bundle.rootfs().join("ready").exists());
    exec.signal(Signal::SIGTERM);
    assert_eq!(exec.wait().code, 8);
}

/// `terminal` in the file alone, neither `--tty` nor a console socket: the terminal is shown on the
/// pty that CRI-O gave the runtime as its stdio.
fn streaming_exec_with_a_terminal(lab: &Lab) {
    let (crio, bundle) = (crio(lab), sleeping(lab));
    let script = "tty; stty size; read line; echo got $line; exit 5";
    let process = json!({"args": ["/bin/sh", "-c", script], "terminal": true});
    let process = process_file(lab, "exec-process-1", process);
    let exec = crio.command(&["exec", "--process", text(&process), bundle.id()]);
    let (mut terminal, mut child) = Terminal::spawn(exec, 33, 99);
    terminal.expect("/dev/pts/");
    terminal.type_in("it\r");
    terminal.expect("got it");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

/// Rule 14: what CRI-O decodes, and that a stopped container still has it.
fn state_document(lab: &Lab) {
    let crio = crio(lab);
    let bundle = lab.bundle().set("/annotations", json!({"a": "b"}));
    bundle.create(&[]).ok();
    for status in ["created", "stopped"] {
        let out = crio.call(&["state", bundle.id()]).ok();
        let state: Value = serde_json::from_str(&out.stdout).unwrap();
        assert_eq!(state["status"], status);
        assert_eq!(state["id"], bundle.id());
        assert_eq!(state["bundle"], text(bundle.path()));
        assert_eq!(state["rootfs"], text(&bundle.rootfs()));
        assert_eq!(state["annotations"]["a"], "b");
        assert!(state["ociVersion"].is_string() && state["owner"].is_string());
        let created = state["created"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(created).is_ok(), "{created}");
        assert_eq!(state["pid"] == 0, status == "stopped");
        crio.silent(&["kill", "-a", bundle.id(), "9"]);
        bundle.wait_stopped();
    }
    crio.silent(&["delete", "--force", bundle.id()]);
    crio.call(&["state", bundle.id()])
        .fails_with(&["does not exist"]);
}

/// Rule 13: CRI-O looks for one of these on stderr, in this very case.
fn kill_of_a_stopped_container(lab: &Lab) {
    let crio = crio(lab);
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    let out = crio.call(&["kill", bundle.id(), "15"]);
    assert_eq!(out.code, 1);
    let words = [
        "container not running",
        "no such process",
        "invalid process",
    ];
    assert!(
        words.iter().any(|word| out.stderr.contains(word)),
        "{out:?}"
    );
}

/// Rule 3: update comes without a word about systemd, and with the document on stdin.
fn update_without_the_cgroup_manager(lab: &Lab) {
    let (crio, bundle) = (crio(lab), sleeping(lab));
    let update = crio.command(&["update", "--resources", "-", bundle.id()]);
    let out = finish(update, b"{\"cpu\": {}}");
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
}

/// For execCPUAffinity CRI-O starts the runtime in a cgroup of its own: the process must not stay there.
fn exec_from_another_cgroup(lab: &Lab) {
    let (crio, bundle) = (crio(lab), sleeping(lab));
    let own = HostCgroup::new("casulo-test/of-crio");
    let process = process_file(
        lab,
        "exec-process-1",
        json!({"args": ["/bin/cat", "/proc/self/cgroup"]}),
    );
    let exec = crio.command(&["exec", "--process", text(&process), bundle.id()]);
    let script = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", text(own.path()));
    let out = lab.through_shell(&script, &exec).ok();
    assert!(out.lines().contains(&"0::/"), "{out:?}");
    assert_eq!(
        fs::read_to_string(own.path().join("cgroup.procs")).unwrap(),
        ""
    );
}
