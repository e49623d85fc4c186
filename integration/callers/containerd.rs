//! containerd's shim through go-runc, which is Docker's and Kubernetes' way, too.

use super::shim::Shim;
use super::{
    Caller, SAYS_AND_ENDS, Scope, assert_in_cgroup_of, assert_says_and_ends, let_go, log_entries,
    one_terminal, parent_of, pid_in, process_file, text,
};
use crate::support::{Bundle, Lab, Listener, cases, finish};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

cases! {
    [Root] => life, exec, exec_with_a_console_socket, pid_file_is_replaced, log_of_many_calls, kill_all_after_the_end,
        kill_all_without_init, streams_of_an_ordinary_user, delete_of_nobody, ps_as_json, update_from_stdin, list_as_json,
        without_a_pivot, rootless_in_words;
    [Root, Systemd] => scope_of_systemd;
    // Neither is in runc 1.1, or not without controllers.
    [Root, Casulo] => statistics_once, descriptor_for_the_pidfd_socket;
}

/// The shim's calls for one container: its log is in the bundle.
fn shim_of<'lab>(lab: &'lab Lab, bundle: &Bundle<'_>) -> Caller<'lab> {
    bundle.write();
    let (root, log) = (lab.root(), bundle.path().join("log.json"));
    let global = [
        "--root",
        text(&root),
        "--log",
        text(&log),
        "--log-format",
        "json",
    ];
    let environment = [
        ("PATH", "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("MAX_SHIM_VERSION", "2"),
        ("TTRPC_ADDRESS", "/run/containerd/containerd.sock.ttrpc"),
        ("GOMAXPROCS", "4"),
        ("LC_ALL", "C.UTF-8"),
        ("XDG_RUNTIME_DIR", "/run/user/0"),
    ];
    let mut caller = Caller::new(lab, &global, &environment);
    caller.directory = bundle.path().to_path_buf();
    caller
}

fn create(caller: &Caller<'_>, bundle: &Bundle<'_>) -> Shim {
    create_with(caller, bundle, &[])
}

fn create_with(caller: &Caller<'_>, bundle: &Bundle<'_>, options: &[&str]) -> Shim {
    let pid_file = bundle.path().join("init.pid");
    let args = [
        "create",
        "--bundle",
        text(bundle.path()),
        "--pid-file",
        text(&pid_file),
    ];
    caller.shim(&[&args[..], options, &[bundle.id()]].concat())
}

/// `exec --detach` with a process file of these fields; and the pid file.
fn execute(
    caller: &Caller<'_>,
    bundle: &Bundle<'_>,
    process: Value,
    options: &[&str],
) -> (Shim, PathBuf) {
    let process = process_file(caller.lab, "runc-process123", process);
    let pid_file = bundle.path().join("exec1.pid");
    let first = ["exec", "--process", text(&process)];
    let last = ["--detach", "--pid-file", text(&pid_file), bundle.id()];
    let shim = caller.shim(&[&first[..], options, &last].concat());
    (shim, pid_file)
}

/// A container that sleeps, and its callers.
fn sleeping(lab: &Lab) -> (Bundle<'_>, Caller<'_>, Shim) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let caller = shim_of(lab, &bundle);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    caller.silent(&["start", bundle.id()]);
    (bundle, caller, shim)
}

/// Rules 4, 5, 7, 8, 11 from create to delete.
fn life(lab: &Lab) {
    let bundle = lab.bundle().sh(SAYS_AND_ENDS);
    let caller = shim_of(lab, &bundle);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    let pid = pid_in(&bundle.path().join("init.pid"));
    assert_eq!(parent_of(pid), shim.pid());
    // The shim loads the cgroup from there at once, to watch for OOM.
    assert_in_cgroup_of(&bundle, pid);
    caller.silent(&["start", bundle.id()]);
    assert_says_and_ends(&bundle, &shim, pid);
    caller.silent(&["delete", bundle.id()]);
    assert_eq!(log_entries(&bundle.path().join("log.json")).len(), 0);
    drop(shim);
    lab.assert_nothing_left(bundle.id());
    // Its Stop does this in any case, and without the option for systemd.
    caller.silent(&["delete", "--force", bundle.id()]);
}

/// Rules 7, 8, 11 for exec, which is a probe of Kubernetes, too.
fn exec(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let script = ["/bin/sh", "-c", SAYS_AND_ENDS];
    let (exec, pid_file) = execute(&caller, &bundle, json!({"args": script}), &[]);
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    let pid = pid_in(&pid_file);
    assert_eq!(parent_of(pid), exec.pid());
    assert_in_cgroup_of(&bundle, pid);
    let_go(&bundle);
    assert_eq!(exec.ended(pid), 7);
    assert_eq!(exec.stdout_to_its_end(), "out\n");
    assert_eq!(exec.stderr_to_its_end(), "err\n");
}

/// Rule 9: the order of options that go-runc writes.
fn exec_with_a_console_socket(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let process = json!({"args": ["/bin/sh", "-c", "tty; exit 5"], "terminal": true});
    let listener = Listener::new(lab.join("pty.sock"));
    let options = ["--console-socket", text(listener.path())];
    let (exec, pid_file) = execute(&caller, &bundle, process, &options);
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    let mut terminal = one_terminal(&listener);
    terminal.expect("/dev/pts/");
    assert_eq!(exec.ended(pid_in(&pid_file)), 5);
}

/// Rule 7: who reads the file while it is written sees the old or the new one, whole.
fn pid_file_is_replaced(lab: &Lab) {
    let bundle = lab.bundle();
    let caller = shim_of(lab, &bundle);
    let file = bundle.path().join("init.pid");
    fs::write(&file, "old").unwrap();
    let old = fs::File::open(&file).unwrap();
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    pid_in(&file);
    assert_ne!(
        old.metadata().unwrap().ino(),
        fs::metadata(&file).unwrap().ino()
    );
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    let others: Vec<String> = fs::read_dir(bundle.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["config.json", "init.pid", "rootfs", "log.json"].contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Rule 5: all calls share one file, and the last error is what go-runc reports.
fn log_of_many_calls(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let log = bundle.path().join("log.json");
    caller
        .call(&["start", bundle.id()])
        .fails_with(&["running"]);
    let first = fs::read_to_string(&log).unwrap();
    caller.silent(&["kill", bundle.id(), "9"]);
    bundle.wait_stopped();
    caller
        .call(&["kill", bundle.id(), "15"])
        .fails_with(&["container not running"]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with(&first) && text.len() > first.len());
    let entries = log_entries(&log);
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert_eq!(entries[1]["level"], "error");
    let message = entries[1]["msg"].as_str().unwrap();
    assert!(message.contains("container not running"), "{message}");
}

/// `no_pivot_root` in containerd's settings.
fn without_a_pivot(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/test", "-e", "/here"]);
    fs::write(bundle.rootfs().join("here"), "").unwrap();
    let caller = shim_of(lab, &bundle);
    let shim = create_with(&caller, &bundle, &["--no-pivot"]);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    caller.silent(&["start", bundle.id()]);
    assert_eq!(shim.ended(pid_in(&bundle.path().join("init.pid"))), 0);
    caller.silent(&["delete", bundle.id()]);
}

/// Rule 1: go-runc leaves `--rootless` out or says true or false. Root may be told either.
fn rootless_in_words(lab: &Lab) {
    for option in ["--rootless=true", "--rootless=false"] {
        let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
        let mut caller = shim_of(lab, &bundle);
        caller.global.push(option.into());
        let shim = create(&caller, &bundle);
        assert_eq!(shim.code(), 0, "{option}: {:?}", shim.said());
        let pid = pid_in(&bundle.path().join("init.pid"));
        assert_in_cgroup_of(&bundle, pid);
        caller.silent(&["start", bundle.id()]);
        let process = process_file(lab, "runc-process123", json!({"args": ["/bin/true"]}));
        caller.silent(&["exec", "--process", text(&process), bundle.id()]);
        caller.silent(&["kill", bundle.id(), "9"]);
        assert_eq!(shim.ended(pid), 128 + 9);
        caller.silent(&["delete", bundle.id()]);
        drop(shim);
        lab.assert_nothing_left(bundle.id());
    }
}

/// Rule 3: all calls say `--systemd-cgroup`, but for the `delete --force` of the shim's Stop.
fn scope_of_systemd(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let (scope, bundle) = Scope::of(bundle, "system.slice", "cri-containerd");
    let mut caller = shim_of(lab, &bundle);
    caller.global.push("--systemd-cgroup".into());
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    scope.assert_holds(pid_in(&bundle.path().join("init.pid")));
    caller.silent(&["start", bundle.id()]);
    let process = json!({"args": ["/bin/sleep", "1001"]});
    let (exec, pid_file) = execute(&caller, &bundle, process, &[]);
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    scope.assert_holds(pid_in(&pid_file));
    caller.global.pop();
    caller.silent(&["delete", "--force", bundle.id()]);
    scope.wait_gone();
}

/// Rule 12: `--all` with 9 is how the shim cleans up after init.
fn kill_all_after_the_end(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    caller.silent(&["kill", "--all", bundle.id(), "9"]);
    bundle.wait_stopped();
    caller.silent(&["kill", "--all", bundle.id(), "9"]);
    caller.silent(&["delete", bundle.id()]);
}

/// Rule 12: in a shared pid namespace processes outlive init, and hold its streams.
fn kill_all_without_init(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("pid")
        .sh("sleep 1000 & exit 5");
    let caller = shim_of(lab, &bundle);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    caller.silent(&["start", bundle.id()]);
    assert_eq!(shim.ended(pid_in(&bundle.path().join("init.pid"))), 5);
    caller.silent(&["kill", "--all", bundle.id(), "9"]);
    shim.stdout_to_its_end();
    caller.silent(&["delete", bundle.id()]);
}

/// Rule 8: the shim's pipes are root's and for their owner alone; a user can open them again by name.
fn streams_of_an_ordinary_user(lab: &Lab) {
    let script = "echo out >/dev/stdout; echo err >/dev/stderr";
    let user = json!({"uid": 1000, "gid": 1000});
    let bundle = lab.bundle().set("/process/user", user.clone()).sh(script);
    let caller = shim_of(lab, &bundle);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    caller.silent(&["start", bundle.id()]);
    assert_eq!(shim.stdout_to_its_end(), "out\n");
    assert_eq!(shim.stderr_to_its_end(), "err\n");
    assert_eq!(shim.ended(pid_in(&bundle.path().join("init.pid"))), 0);
    let (bundle, caller, _shim) = sleeping(lab);
    let process = json!({"args": ["/bin/sh", "-c", script], "user": user});
    let (exec, _) = execute(&caller, &bundle, process, &[]);
    assert_eq!(exec.stdout_to_its_end(), "out\n");
    assert_eq!(exec.stderr_to_its_end(), "err\n");
    assert_eq!(exec.code(), 0);
    // What no container may have: the null device is everybody's.
    assert_eq!(fs::metadata("/dev/null").unwrap().uid(), 0);
}

/// Rules 13, 18: what the shim takes for success.
fn delete_of_nobody(lab: &Lab) {
    let bundle = lab.bundle();
    let caller = shim_of(lab, &bundle);
    caller
        .call(&["delete", bundle.id()])
        .fails_with(&["does not exist"]);
    let entries = log_entries(&bundle.path().join("log.json"));
    let message = entries.last().unwrap()["msg"].as_str().unwrap();
    assert!(message.contains("does not exist"), "{message}");
    caller
        .call(&["kill", bundle.id(), "9"])
        .fails_with(&["does not exist"]);
    caller.silent(&["delete", "--force", bundle.id()]);
}

/// `ps --format json`: a list of pids of the host.
fn ps_as_json(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let out = caller.call(&["ps", "--format", "json", bundle.id()]).ok();
    let pids: Vec<i32> = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(pids, [bundle.pid()]);
}

/// `update --resources=-`: the document comes on standard input.
fn update_from_stdin(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let out = finish(
        caller.command(&["update", "--resources=-", bundle.id()]),
        b"{}",
    );
    assert_eq!((out.code, out.stderr.as_str()), (0, ""));
}

/// `list --format=json`, decoded into go-runc's struct.
fn list_as_json(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let out = caller.call(&["list", "--format=json"]).ok();
    let list: Vec<Value> = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["id"], bundle.id());
    assert_eq!(list[0]["bundle"], text(bundle.path()));
    let created = list[0]["created"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(created).is_ok(), "{created}");
    for key in ["pid", "status", "rootfs"] {
        assert!(list[0].get(key).is_some(), "{key}");
    }
}

/// `events --stats`: one envelope.
fn statistics_once(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let out = caller.call(&["events", "--stats", bundle.id()]).ok();
    assert_eq!(out.lines().len(), 1);
    let event: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(
        (&event["type"], &event["id"]),
        (&json!("stats"), &json!(bundle.id()))
    );
    assert!(event["data"].is_object(), "{event}");
}

/// `exec --pidfd-socket`, which newer shims use.
fn descriptor_for_the_pidfd_socket(lab: &Lab) {
    let (bundle, caller, _shim) = sleeping(lab);
    let process = json!({"args": ["/bin/sleep", "1001"]});
    let listener = Listener::new(lab.join("pidfd.sock"));
    let options = ["--pidfd-socket", text(listener.path())];
    let (exec, pid_file) = execute(&caller, &bundle, process, &options);
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    let received = listener.receive();
    let number = std::os::fd::AsRawFd::as_raw_fd(&received.fds[0]);
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    assert_eq!(
        crate::support::field(&info, "Pid"),
        pid_in(&pid_file).to_string()
    );
}
