//! conmon, as Podman and CRI-O start it: create, and exec with `--detach`, each from a conmon of its own.

use super::shim::Shim;
use super::{
    Caller, SAYS_AND_ENDS, Scope, assert_in_cgroup_of, assert_says_and_ends, descriptors_of,
    let_go, log_entries, one_terminal, parent_of, pid_in, process_file, text,
};
use crate::support::{Bundle, Lab, Listener, cases, finish, wait_until, wrapped};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

cases! {
    [Root] => life, exec, failed_exec_leaves_no_pid_file, failed_create_is_explained, container_outlives_its_caller,
        terminal_by_console_socket, exec_with_a_terminal, without_a_pivot, oom_score_of_the_caller;
    [Root, Systemd] => scope_of_systemd;
    // runc takes LISTEN_FDS for further descriptors.
    [Root, Casulo] => sockets_of_the_service_manager;
}

/// The words that Podman has conmon put before the verb, and the little that it leaves in the environment.
fn conmon(lab: &Lab) -> Caller<'_> {
    let (root, log) = (lab.root(), log(lab));
    let global = [
        "--root",
        text(&root),
        "--log-format=json",
        "--log",
        text(&log),
    ];
    Caller::new(
        lab,
        &global,
        &[("XDG_RUNTIME_DIR", ""), ("PATH", "/usr/bin:/bin")],
    )
}

fn log(lab: &Lab) -> PathBuf {
    lab.join("oci-log")
}

/// `create` by a conmon of its own.
fn create(conmon: &Caller<'_>, bundle: &Bundle<'_>, options: &[&str]) -> Shim {
    bundle.write();
    let pid_file = bundle.path().join("pidfile");
    let mut args = vec![
        "create",
        "--bundle",
        text(bundle.path()),
        "--pid-file",
        text(&pid_file),
        "--no-new-keyring",
    ];
    args.extend(options);
    args.push(bundle.id());
    conmon.shim(&args)
}

/// Creates and starts a container that sleeps.
fn sleeping<'lab>(lab: &'lab Lab, conmon: &Caller<'_>) -> (Bundle<'lab>, Shim) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let shim = create(conmon, &bundle, &[]);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    conmon.silent(&["start", bundle.id()]);
    (bundle, shim)
}

/// `exec --detach` by a conmon of its own, with a process file of these fields; and the pid file.
fn execute(
    conmon: &Caller<'_>,
    bundle: &Bundle<'_>,
    process: Value,
    options: &[&str],
) -> (Shim, PathBuf) {
    let process = process_file(conmon.lab, "process", process);
    let pid_file = conmon.lab.join("exec_pid");
    let args = [
        "exec",
        "--pid-file",
        text(&pid_file),
        "--process",
        text(&process),
        "--detach",
    ];
    let shim = conmon.shim(&[&args[..], options, &[bundle.id()]].concat());
    (shim, pid_file)
}

/// Rules 7, 8, 11: from create to the end, seen from conmon.
fn life(lab: &Lab) {
    let conmon = conmon(lab);
    let bundle = lab.bundle().sh(SAYS_AND_ENDS);
    let shim = create(&conmon, &bundle, &[]);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    let pid = pid_in(&bundle.path().join("pidfile"));
    assert_eq!(parent_of(pid), shim.pid());
    // conmon looks there for memory.events, and only once.
    assert_in_cgroup_of(&bundle, pid);
    conmon.silent(&["start", bundle.id()]);
    assert_says_and_ends(&bundle, &shim, pid);
    assert_eq!(bundle.status(), "stopped");
    conmon.silent(&["delete", "--force", bundle.id()]);
    assert_eq!(log_entries(&log(lab)).len(), 0);
    drop(shim);
    lab.assert_nothing_left(bundle.id());
}

/// Rules 7, 8, 11: `exec --detach` with a process file. Podman's options are not repeated for it.
fn exec(lab: &Lab) {
    let conmon = conmon(lab);
    let (bundle, _shim) = sleeping(lab, &conmon);
    let script = ["/bin/sh", "-c", SAYS_AND_ENDS];
    let (shim, pid_file) = execute(&conmon, &bundle, json!({"args": script}), &[]);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    let pid = pid_in(&pid_file);
    assert_eq!(parent_of(pid), shim.pid());
    assert_in_cgroup_of(&bundle, pid);
    assert_says_and_ends(&bundle, &shim, pid);
    assert_eq!(log_entries(&log(lab)).len(), 0);
}

/// Rule 7: a missing pid file is how conmon knows that the runtime failed and not the command.
fn failed_exec_leaves_no_pid_file(lab: &Lab) {
    let conmon = conmon(lab);
    let (bundle, _shim) = sleeping(lab, &conmon);
    let process = json!({"args": ["/no/such/program"]});
    let (shim, pid_file) = execute(&conmon, &bundle, process, &[]);
    assert_ne!(shim.code(), 0);
    assert!(!pid_file.exists());
    let said = shim.stderr_to_its_end();
    assert!(said.contains("no such file or directory"), "{said}");
    assert_eq!(shim.stdout_to_its_end(), "");
    let left: Vec<_> = fs::read_dir(lab.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("exec_pid"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Rules 5, 6: stderr fits conmon's one buffer, and the log says the same in one object.
fn failed_create_is_explained(lab: &Lab) {
    let conmon = conmon(lab);
    let bundle = lab.bundle().bind("/no/such/source".as_ref(), "/mnt", &[]);
    let shim = create(&conmon, &bundle, &[]);
    assert_eq!(shim.code(), 1);
    let said = shim.stderr_to_its_end();
    assert!(
        said.contains("/no/such/source") && said.len() < 8192,
        "{said}"
    );
    assert_eq!(shim.stdout_to_its_end(), "");
    let entries = log_entries(&log(lab));
    let error = entries.last().unwrap();
    assert_eq!(error["level"], "error");
    assert!(
        said.contains(error["msg"].as_str().unwrap()),
        "{said} {error}"
    );
    assert!(!bundle.path().join("pidfile").exists());
    drop(shim);
    lab.assert_nothing_left(bundle.id());
}

/// Rule 10: conmon gives the runtime a death signal; the container does not die of it.
fn container_outlives_its_caller(lab: &Lab) {
    let conmon = conmon(lab);
    let (bundle, mut shim) = sleeping(lab, &conmon);
    let process = json!({"args": ["/bin/sleep", "1001"]});
    let (mut exec, exec_file) = execute(&conmon, &bundle, process, &[]);
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    shim.dies();
    exec.dies();
    // A death signal is sent before the caller can be waited for.
    assert_eq!(bundle.status(), "running");
    let executed = fs::read_to_string(format!("/proc/{}/stat", pid_in(&exec_file))).unwrap();
    assert!(!executed.contains(") Z "), "{executed}");
}

/// Rule 9: the terminal hangs up with the container, so nobody else holds its other side.
fn terminal_by_console_socket(lab: &Lab) {
    let conmon = conmon(lab);
    let bundle = lab
        .bundle()
        .set("/process/terminal", json!(true))
        .sh("read line; echo got $line; exit 5");
    let listener = Listener::new(lab.join("console"));
    let options = ["--console-socket", text(listener.path())];
    let shim = create(&conmon, &bundle, &options);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    // The runtime has nothing to do with its own stdio then.
    assert_eq!(shim.stderr_to_its_end(), "");
    let mut terminal = one_terminal(&listener);
    conmon.silent(&["start", bundle.id()]);
    terminal.type_in("it\r");
    terminal.expect("got it");
    assert_eq!(shim.ended(pid_in(&bundle.path().join("pidfile"))), 5);
    terminal.expect_hangup();
}

/// Rule 9 for exec: the process file wants the terminal, no `--tty` says so.
fn exec_with_a_terminal(lab: &Lab) {
    let conmon = conmon(lab);
    let (bundle, _shim) = sleeping(lab, &conmon);
    let script = "tty; read line; echo got $line; exit 5";
    let process = json!({"args": ["/bin/sh", "-c", script], "terminal": true});
    let listener = Listener::new(lab.join("console"));
    let options = ["--console-socket", text(listener.path())];
    let (shim, pid_file) = execute(&conmon, &bundle, process, &options);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    let mut terminal = one_terminal(&listener);
    terminal.expect("/dev/pts/");
    terminal.type_in("it\r");
    terminal.expect("got it");
    assert_eq!(shim.ended(pid_in(&pid_file)), 5);
    terminal.expect_hangup();
}

/// The command, in its environment, after what conmon does in the child that becomes the runtime: a
/// script that ends with `exec "$@"`.
fn after(script: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script, "sh"]).env_clear();
    wrapped(shell, command)
}

/// `--no-pivot` is Podman's for a root file system that cannot be left.
fn without_a_pivot(lab: &Lab) {
    let conmon = conmon(lab);
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    fs::write(bundle.rootfs().join("here"), "").unwrap();
    let shim = create(&conmon, &bundle, &["--no-pivot"]);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    conmon.silent(&["start", bundle.id()]);
    let process = process_file(
        lab,
        "process",
        json!({"args": ["/bin/test", "-e", "/here"]}),
    );
    conmon.silent(&["exec", "--process", text(&process), bundle.id()]);
    conmon.silent(&["kill", bundle.id(), "9"]);
    assert_eq!(shim.ended(pid_in(&bundle.path().join("pidfile"))), 128 + 9);
    conmon.silent(&["delete", "--force", bundle.id()]);
    drop(shim);
    lab.assert_nothing_left(bundle.id());
}

/// conmon protects itself, and gives the runtime back what it was started with. The container keeps
/// that, unless its config says otherwise; so does what is executed in it.
fn oom_score_of_the_caller(lab: &Lab) {
    const OF_THE_CALLER: &str = "echo 300 >/proc/self/oom_score_adj; exec \"$@\"";
    for (wanted, expected) in [(None, 300), (Some(700), 700)] {
        let conmon = conmon(lab);
        let mut bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
        if let Some(score) = wanted {
            bundle = bundle.set("/process/oomScoreAdj", json!(score));
        }
        bundle.write();
        let pid_file = bundle.path().join("pidfile");
        let create = conmon.command(&[
            "create",
            "--bundle",
            text(bundle.path()),
            "--pid-file",
            text(&pid_file),
            bundle.id(),
        ]);
        let shim = Shim::start(&after(OF_THE_CALLER, &create), lab.path(), &[]);
        assert_eq!(shim.code(), 0, "{:?}", shim.said());
        conmon.silent(&["start", bundle.id()]);
        let score = |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(score(pid_in(&pid_file)), format!("{expected}\n"));
        let mut process = json!({"args": ["/bin/cat", "/proc/self/oom_score_adj"]});
        if let Some(score) = wanted {
            process["oomScoreAdj"] = json!(score);
        }
        let process = process_file(lab, "process", process);
        let exec = conmon.command(&["exec", "--process", text(&process), bundle.id()]);
        let out = finish(after(OF_THE_CALLER, &exec), b"").ok();
        assert_eq!(out.text(), expected.to_string());
    }
}

/// Rule 3: with `-s` conmon says so before create alone. exec, kill and delete find the scope.
fn scope_of_systemd(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let (scope, bundle) = Scope::of(bundle, "machine.slice", "libpod");
    let mut conmon = conmon(lab);
    conmon.global.insert(0, "--systemd-cgroup".into());
    let shim = create(&conmon, &bundle, &[]);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    conmon.global.remove(0);
    let pid = pid_in(&bundle.path().join("pidfile"));
    scope.assert_holds(pid);
    conmon.silent(&["start", bundle.id()]);
    let process = json!({"args": ["/bin/sleep", "1001"]});
    let (exec, pid_file) = execute(&conmon, &bundle, process, &[]);
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    scope.assert_holds(pid_in(&pid_file));
    conmon.silent(&["kill", bundle.id(), "9"]);
    assert_eq!(shim.ended(pid), 128 + 9);
    conmon.silent(&["delete", "--force", bundle.id()]);
    scope.wait_gone();
}

/// Rule 19: Podman passes the same sockets by LISTEN_FDS and by `--preserve-fds`; conmon puts the
/// runtime's pid into LISTEN_PID. A hole among them stays one, and nothing above them is passed.
fn sockets_of_the_service_manager(lab: &Lab) {
    let bundle = lab.bundle().sh(
        "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; while ! [ -e /go ]; do sleep 0.02; done",
    );
    bundle.write();
    let mut caller = conmon(lab);
    caller.environment.push(("LISTEN_FDS", "3".into()));
    caller.environment.push(("LISTEN_FDNAMES", "a:b:c".into()));
    let pid_file = bundle.path().join("pidfile");
    let create = caller.command(&[
        "create",
        "--bundle",
        text(bundle.path()),
        "--pid-file",
        text(&pid_file),
        "--preserve-fds",
        "3",
        bundle.id(),
    ]);
    let command = after("LISTEN_PID=$$ exec \"$@\"", &create);
    let fds = ["3</etc/passwd", "5</etc/group", "7</etc/hostname"];
    let shim = Shim::start(&command, lab.path(), &fds);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    caller.environment.clear();
    caller.silent(&["start", bundle.id()]);
    wait_until("it says what it got", || !shim.said().0.is_empty());
    assert_eq!(shim.said().0, "3 1 a:b:c\n");
    let pid = pid_in(&pid_file);
    assert_eq!(descriptors_of(pid), [0, 1, 2, 3, 5]);
    let target = |n: u32| fs::read_link(format!("/proc/{pid}/fd/{n}")).unwrap();
    assert!(target(3).ends_with("etc/passwd") && target(5).ends_with("etc/group"));
    let_go(&bundle);
    assert_eq!(shim.ended(pid), 0);
    shim.stdout_to_its_end();
}
