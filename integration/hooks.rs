//! The six kinds of hooks: when, where, with what, and what a failure does.

use crate::support::{Bundle, Lab, Running, cases, finish, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

cases! {
    [Root] => kinds_run_in_the_specs_order, state_is_on_stdin, arguments_and_environment, several_of_a_kind_run_in_order,
        failing_create_runtime_hook_ends_it, failing_prestart_hook_ends_it, failing_create_container_hook_ends_it,
        failing_start_container_hook_ends_it, failing_poststop_hook_is_no_failure, hook_that_is_missing,
        prestart_runs_in_the_hosts_namespaces, create_container_runs_in_the_containers, create_container_starts_in_the_mounted_root, start_container_sees_the_containers_root,
        timeout_ends_a_hook, create_runtime_sees_the_mounts_of_nobody, poststop_runs_at_delete,
        poststop_runs_after_a_start_that_failed;
    [Root, Casulo] => failing_hook_is_named, poststart_failure_ends_the_container, poststart_may_use_the_runtime, annotations_catch_the_output, a_state_of_any_length_reaches_every_hook, a_hook_of_the_image_does_not_make_run_deaf,
        status_in_the_state, hooks_inside_are_told_status_and_pid_as_the_container_sees_them, relative_hook_path_is_an_error,
        state_says_the_pid, create_container_beside_other_namespaces;
}

/// A shell hook.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin:/usr/sbin:/sbin"]})
}

/// A hook that appends a word to a file of the host.
fn note(lab: &Lab, word: &str) -> Value {
    hook(&format!("echo {word} >>{}", lab.join("notes").display()))
}

fn notes(lab: &Lab) -> Vec<String> {
    let text = fs::read_to_string(lab.join("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn with<'lab>(bundle: Bundle<'lab>, kind: &str, hook: Value) -> Bundle<'lab> {
    bundle.push(&format!("/hooks/{kind}"), hook)
}

fn create_container_beside_other_namespaces(lab: &Lab) {
    fs::write(lab.join("notes"), "").unwrap();
    let anybody = fs::Permissions::from_mode(0o666);
    fs::set_permissions(lab.join("notes"), anybody).unwrap();
    let noting = |bundle, word| with(bundle, "createContainer", note(lab, word));
    let holder = lab.bundle().args(&["/bin/sleep", "1000"]);
    holder.run_detached();
    let pids = format!("/proc/{}/ns/pid", holder.pid());
    let user = || lab.bundle().in_user_namespace();
    noting(user(), "new user namespace").run().ok();
    let joined = lab.bundle().join_namespace("pid", &pids);
    noting(joined, "joined pid namespace").run().ok();
    // The new user namespace may mount no procfs of that pid namespace.
    let both = user().join_namespace("pid", &pids).without_mount("/proc");
    noting(both, "both").run().fails_with(&[
        "hooks.createContainer",
        "a joined pid namespace and a new user namespace",
    ]);
    assert_eq!(notes(lab), ["new user namespace", "joined pid namespace"]);
}

fn kinds_run_in_the_specs_order(lab: &Lab) {
    // Inside, the notes are a bind of the host's file.
    fs::write(lab.join("notes"), "").unwrap();
    let mut bundle = lab
        .bundle()
        .bind(&lab.join("notes"), "/notes", &[])
        .sh("echo process >>/notes");
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ] {
        bundle = with(bundle, kind, note(lab, kind));
    }
    bundle = with(
        bundle,
        "startContainer",
        hook("echo startContainer >>/notes"),
    );
    bundle.create(&[]).ok();
    assert_eq!(notes(lab), ["prestart", "createRuntime", "createContainer"]);
    bundle.verb("start").ok();
    bundle.wait_stopped();
    let all = notes(lab);
    assert_eq!(all[3], "startContainer");
    let mut rest = all[4..].to_vec();
    rest.sort();
    assert_eq!(rest, ["poststart", "process"]);
    bundle.verb("delete").ok();
    assert_eq!(notes(lab).last().unwrap(), "poststop");
}

fn a_state_of_any_length_reaches_every_hook(lab: &Lab) {
    let long = "x".repeat(1 << 20);
    fs::write(lab.join("notes"), "").unwrap();
    let mut bundle = lab
        .bundle()
        .bind(&lab.join("notes"), "/notes", &[])
        .set("/annotations", json!({"long": long}));
    let kinds = [
        ("prestart", lab.join("notes")),
        ("createRuntime", lab.join("notes")),
        ("createContainer", lab.join("notes")),
        ("startContainer", "/notes".into()),
        ("poststart", lab.join("notes")),
        ("poststop", lab.join("notes")),
    ];
    for (kind, file) in &kinds {
        let script = format!("echo {kind} $(tr -cd x | wc -c) >>{}", file.display());
        bundle = with(bundle, kind, hook(&script));
    }
    bundle.run().ok();
    for ((kind, _), said) in kinds.iter().zip(notes(lab)) {
        let count = said.strip_prefix(kind).unwrap().trim();
        assert!(count.parse::<usize>().unwrap() >= long.len(), "{said}");
    }
    assert_eq!(notes(lab).len(), kinds.len());
}

fn a_hook_of_the_image_does_not_make_run_deaf(lab: &Lab) {
    let stubborn = hook("trap '' TERM; echo here >/hook; exec sleep 1000");
    let bundle = with(lab.bundle(), "startContainer", stubborn);
    let running = Running::new(bundle.command(&[], "run", &[]), b"");
    let file = bundle.rootfs().join("hook");
    wait_until("the hook runs", || file.exists());
    let began = Instant::now();
    running.signal(Signal::SIGTERM);
    running
        .wait()
        .fails_with(&["signal 15 came", "no program that runs"]);
    assert!(began.elapsed() < Duration::from_secs(4));
    lab.assert_nothing_left(bundle.id());
    // One that is quick enough is not disturbed, and the process gets the signal.
    let slow = hook("echo here >/slow; sleep 0.5");
    let bundle = with(
        lab.bundle()
            .sh("trap 'exit 7' TERM INT; while :; do sleep 0.05; done"),
        "startContainer",
        slow,
    );
    let running = Running::new(bundle.command(&[], "run", &[]), b"");
    let file = bundle.rootfs().join("slow");
    wait_until("the hook runs", || file.exists());
    running.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(1500));
    // Pid 1 does not hear of it before it has set its trap.
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code, 7);
}

fn poststop_runs_at_delete(lab: &Lab) {
    let bundle = with(lab.bundle(), "poststop", note(lab, "over"));
    bundle.run().ok();
    assert_eq!(notes(lab), ["over"]);
}

fn poststop_runs_after_a_start_that_failed(lab: &Lab) {
    let bundle = with(lab.bundle(), "poststop", note(lab, "over"));
    with(bundle, "startContainer", hook("exit 3"))
        .run()
        .fails_with(&["startContainer"]);
    assert_eq!(notes(lab), ["over"]);
}

fn several_of_a_kind_run_in_order(lab: &Lab) {
    let bundle = ["one", "two", "three"]
        .iter()
        .fold(lab.bundle(), |bundle, word| {
            with(bundle, "createRuntime", note(lab, word))
        });
    bundle.run().ok();
    assert_eq!(notes(lab), ["one", "two", "three"]);
}

fn state_is_on_stdin(lab: &Lab) {
    let file = lab.join("state.json");
    let bundle = with(
        lab.bundle(),
        "createRuntime",
        hook(&format!("cat >{}", file.display())),
    )
    .set("/annotations", json!({"org.example.colour": "blue"}));
    bundle.run().ok();
    let state: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(state["id"], bundle.id());
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert_eq!(state["annotations"]["org.example.colour"], "blue");
    assert!(
        state["ociVersion"].as_str().unwrap().starts_with("1."),
        "{state}"
    );
}

fn state_says_the_pid(lab: &Lab) {
    let file = lab.join("state.json");
    let bundle = with(
        lab.bundle(),
        "createRuntime",
        hook(&format!("cat >{}", file.display())),
    );
    bundle.create(&[]).ok();
    let state: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(state["pid"], json!(bundle.pid()));
}

fn status_in_the_state(lab: &Lab) {
    let mut bundle = lab.bundle();
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ] {
        let file = lab.join(kind);
        bundle = with(bundle, kind, hook(&format!("cat >{}", file.display())));
    }
    bundle.run().ok();
    let status = |kind: &str| -> String {
        let state: Value = serde_json::from_slice(&fs::read(lab.join(kind)).unwrap()).unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status("prestart"), "created");
    for kind in ["createRuntime", "createContainer"] {
        assert_eq!(status(kind), "creating", "{kind}");
    }
    assert_eq!(status("poststart"), "running");
    assert_eq!(status("poststop"), "stopped");
}

fn hooks_inside_are_told_status_and_pid_as_the_container_sees_them(lab: &Lab) {
    let file = lab.join("create.json");
    let bundle = with(
        lab.bundle().sh("cat /start.json"),
        "createContainer",
        hook(&format!("cat >{}", file.display())),
    );
    let ended = with(bundle, "startContainer", hook("cat >/start.json")).run();
    let started: Value = serde_json::from_str(ended.ok().text()).unwrap();
    assert_eq!(
        (&started["status"], &started["pid"]),
        (&json!("created"), &json!(1))
    );
    let created: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(created["pid"], json!(1));
}

fn arguments_and_environment(lab: &Lab) {
    let file = lab.join("seen");
    let script = format!(
        "(echo \"$0 $1\"; env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD=) >{}",
        file.display()
    );
    let bundle = with(
        lab.bundle(),
        "createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": ["A=b"]}),
    );
    bundle.run().ok();
    assert_eq!(fs::read_to_string(file).unwrap(), "zero one\nA=b\n");
}

fn failing_create_runtime_hook_ends_it(lab: &Lab) {
    with(lab.bundle(), "createRuntime", hook("exit 3"))
        .run()
        .fails_with(&["createRuntime", "exit status 3"]);
}

fn failing_prestart_hook_ends_it(lab: &Lab) {
    with(lab.bundle(), "prestart", hook("exit 3"))
        .run()
        .fails_with(&["prestart", "exit status 3"]);
}

fn failing_create_container_hook_ends_it(lab: &Lab) {
    with(lab.bundle(), "createContainer", hook("exit 3"))
        .run()
        .fails_with(&["createContainer", "exit status 3"]);
}

fn failing_start_container_hook_ends_it(lab: &Lab) {
    let bundle = with(
        lab.bundle().sh("echo ran"),
        "startContainer",
        hook("exit 3"),
    );
    let out = bundle
        .run()
        .fails_with(&["startContainer", "exit status 3"]);
    assert_eq!(out.stdout, "");
}

fn failing_hook_is_named(lab: &Lab) {
    let bundle = with(lab.bundle(), "createRuntime", note(lab, "first"));
    let bundle = with(
        bundle,
        "createRuntime",
        hook("echo it went wrong >&2; exit 3"),
    );
    let out = bundle
        .run()
        .fails_with(&["createRuntime", "1", "3", "it went wrong"]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
}

fn poststart_may_use_the_runtime(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let call = format!(
        "{} --root {}",
        lab.runtime().display(),
        lab.root().display()
    );
    let id = bundle.id().to_owned();
    let script = format!("{call} pause {id} && {call} resume {id} && {call} kill {id} 0");
    let bundle = with(bundle, "poststart", hook(&script));
    bundle.create(&[]).ok();
    bundle.verb("start").ok();
    assert_eq!(bundle.status(), "running");
}

fn poststart_failure_ends_the_container(lab: &Lab) {
    let bundle = with(
        lab.bundle().args(&["/bin/sleep", "1000"]),
        "poststart",
        hook("exit 4"),
    );
    bundle.run().fails_with(&["poststart", "4"]);
    let bundle = with(
        lab.bundle().args(&["/bin/sleep", "1000"]),
        "poststart",
        hook("exit 4"),
    );
    bundle.create(&[]).ok();
    bundle.verb("start").fails_with(&["poststart"]);
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn failing_poststop_hook_is_no_failure(lab: &Lab) {
    let bundle = with(lab.bundle(), "poststop", hook("exit 3"));
    let bundle = with(bundle, "poststop", note(lab, "still ran"));
    bundle.create(&[]).ok();
    bundle.verb("start").ok();
    bundle.wait_stopped();
    assert_eq!(bundle.verb("delete").code, 0);
    assert_eq!(notes(lab), ["still ran"]);
}

fn hook_that_is_missing(lab: &Lab) {
    with(
        lab.bundle(),
        "createRuntime",
        json!({"path": "/no/such/hook"}),
    )
    .run()
    .fails_with(&["/no/such/hook"]);
}

fn relative_hook_path_is_an_error(lab: &Lab) {
    with(lab.bundle(), "createRuntime", json!({"path": "bin/hook"}))
        .run()
        .fails_with(&["hooks.createRuntime[0].path"]);
}

fn prestart_runs_in_the_hosts_namespaces(lab: &Lab) {
    let file = lab.join("ns");
    let script = format!(
        "for n in mnt pid net; do readlink /proc/self/ns/$n; done >{}",
        file.display()
    );
    with(lab.bundle(), "prestart", hook(&script)).run().ok();
    let ours = ["mnt", "pid", "net"].map(|kind| {
        fs::read_link(format!("/proc/self/ns/{kind}"))
            .unwrap()
            .to_string_lossy()
            .into_owned()
    });
    assert_eq!(
        fs::read_to_string(file)
            .unwrap()
            .lines()
            .collect::<Vec<_>>(),
        ours
    );
}

fn create_runtime_sees_the_mounts_of_nobody(lab: &Lab) {
    let file = lab.join("mounts");
    let bundle = with(
        lab.bundle(),
        "createRuntime",
        hook(&format!("cat /proc/self/mountinfo >{}", file.display())),
    );
    bundle.run().ok();
    assert!(!fs::read_to_string(file).unwrap().contains(bundle.id()));
}

fn create_container_runs_in_the_containers(lab: &Lab) {
    // In the container's mount namespace, before its root has become /.
    let file = lab.join("ns");
    let script = format!(
        "readlink /proc/self/ns/mnt >{0}; pwd >>{0}; ls -d /proc/self >>{0}",
        file.display()
    );
    let bundle = with(lab.bundle(), "createContainer", hook(&script));
    bundle.run().ok();
    let text = fs::read_to_string(file).unwrap();
    let ours = fs::read_link("/proc/self/ns/mnt")
        .unwrap()
        .to_string_lossy()
        .into_owned();
    assert_ne!(text.lines().next().unwrap(), ours);
}

fn create_container_starts_in_the_mounted_root(lab: &Lab) {
    let file = lab.join("seen");
    let script = format!(
        "touch ./made; {{ pwd -P; [ -c ./dev/null ] && echo device; \
         while read -r _ _ _ _ place _; do case $place in $PWD/dev/shm) echo mounted;; esac; done </proc/self/mountinfo; }} >{}",
        file.display()
    );
    let bundle = with(
        lab.bundle().sh("ls /made"),
        "createContainer",
        hook(&script),
    );
    assert_eq!(bundle.run().ok().text(), "/made");
    let seen = fs::read_to_string(file).unwrap();
    let root = bundle.rootfs().canonicalize().unwrap();
    let root = root.to_string_lossy();
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        [&*root, "device", "mounted"]
    );
}

fn start_container_sees_the_containers_root(lab: &Lab) {
    let bundle = with(
        lab.bundle().sh("cat /seen"),
        "startContainer",
        hook("hostname >/seen"),
    );
    assert_eq!(bundle.run().ok().text(), "bundle");
}

fn timeout_ends_a_hook(lab: &Lab) {
    let mut slow = hook("exec sleep 30");
    slow["timeout"] = json!(1);
    let begin = std::time::Instant::now();
    with(lab.bundle(), "createRuntime", slow)
        .run()
        .fails_with(&["timeout of 1"]);
    assert!(begin.elapsed().as_secs() < 20);
}

fn annotations_catch_the_output(lab: &Lab) {
    let (out, err) = (lab.join("hooks.out"), lab.join("hooks.err"));
    let bundle = with(
        lab.bundle(),
        "createRuntime",
        hook("echo said; echo warned >&2"),
    )
    .set(
        "/annotations",
        json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err}),
    );
    finish(bundle.command(&[], "run", &[]), b"").ok();
    assert_eq!(fs::read_to_string(out).unwrap(), "said\n");
    assert_eq!(fs::read_to_string(err).unwrap(), "warned\n");
}
