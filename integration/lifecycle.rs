//! The verbs: create, start, state, kill, delete, list, and what surrounds them.

use crate::support::{Bundle, Lab, cases, finish, wait_until};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::FileTypeExt;

cases! {
    [Root] => created_running_stopped_deleted, state_document, annotations_are_in_the_state, process_waits_for_start,
        ids_are_unique, start_happens_once, running_container_is_not_deleted, force_deletes_a_running_one,
        force_deletes_a_created_one, force_of_nothing_is_no_error, delete_of_nothing, state_of_nothing, start_of_nothing,
        kill_by_number_and_name, kill_defaults_to_term, kill_of_a_stopped_one, bad_ids, pid_file_has_digits_only, a_pid_file_that_is_no_file_stays_what_it_is,
        detached_run, list_in_all_formats, empty_list, list_of_a_root_that_is_missing, members_are_in_runcs_order, init_killed_from_outside_is_stopped, foreground_forwards_signals,
        repeated_global_options, created_container_can_be_killed, output_of_a_detached_container, poststop_state_is_gone,
        two_containers_side_by_side, config_of_a_version_of_the_spec, spec_writes_a_config_that_runs, spec_does_not_overwrite,
        bundle_defaults_to_the_working_directory, zombies_are_not_left;
    [Root, Casulo] => version_lines, features_document, completion_scripts, unknown_signal, kill_all_reaches_every_process,
        options_after_the_id, config_option, create_returns_an_orphan, failed_exec_in_start_is_reported,
        deleted_while_created_ends_init, state_gives_create_a_moment, creation_is_ended_by_kill, creation_is_ended_by_delete, state_survives_a_killed_runtime, nothing_inside_opens_the_start_channel,
        help_of_every_verb, pidfd_socket_gets_a_pidfd, pidfd_receiver_of_the_config, annotations_that_cannot_be_applied_are_refused,
        id_with_all_legal_characters, future_version_is_an_error, empty_environment, kill_by_expression, delete_by_expression,
        spec_writes_a_file_that_is_named, create_without_a_subreaper, long_options_with_one_dash;
}

fn created_running_stopped_deleted(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    assert_eq!(bundle.status(), "created");
    bundle.verb("start").ok();
    assert_eq!(bundle.status(), "running");
    bundle.call("kill", &[], &["KILL"]).ok();
    bundle.wait_stopped();
    bundle.verb("delete").ok();
    lab.assert_nothing_left(bundle.id());
    bundle.verb("state").fails_with(&["does not exist"]);
}

fn state_document(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    let state = bundle.state();
    assert_eq!(state["id"], bundle.id());
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert_eq!(state["rootfs"], json!(bundle.rootfs()));
    assert!(
        state["ociVersion"].as_str().unwrap().starts_with("1."),
        "{state}"
    );
    let created = state["created"].as_str().unwrap();
    assert!(
        created.len() >= 20 && created.contains('T') && created.ends_with('Z'),
        "{created}"
    );
    let pid = state["pid"].as_i64().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    bundle.call("kill", &[], &["KILL"]).ok();
    bundle.wait_stopped();
    assert_eq!(bundle.state()["pid"].as_i64().unwrap_or(0), 0);
}

fn annotations_are_in_the_state(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/annotations", json!({"org.example.a": "1", "b": ""}))
        .args(&["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    let annotations = &bundle.state()["annotations"];
    assert_eq!(
        (
            annotations["org.example.a"].as_str(),
            annotations["b"].as_str()
        ),
        (Some("1"), Some(""))
    );
}

fn process_waits_for_start(lab: &Lab) {
    let bundle = lab.bundle().sh("touch /started");
    bundle.create(&[]).ok();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!bundle.rootfs().join("started").exists());
    bundle.verb("start").ok();
    bundle.wait_stopped();
    assert!(bundle.rootfs().join("started").exists());
}

fn ids_are_unique(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    finish(bundle.command(&[], "create", &[]), b"").fails_with(&["exist"]);
    assert_eq!(bundle.status(), "running");
}

fn start_happens_once(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle.verb("start").fails_with(&["running"]);
    assert_eq!(bundle.status(), "running");
    bundle.call("kill", &[], &["KILL"]).ok();
    bundle.wait_stopped();
    bundle.verb("start").fails_with(&["stopped"]);
}

fn running_container_is_not_deleted(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle.verb("delete").fails_with(&["running"]);
    assert_eq!(bundle.status(), "running");
}

fn force_deletes_a_running_one(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn force_deletes_a_created_one(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.create(&[]).ok();
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn deleted_while_created_ends_init(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.create(&[]).ok();
    let pid = bundle.pid();
    bundle.call("delete", &["--force"], &[]).ok();
    wait_until("init ends", || {
        fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| s.contains("Z (zombie)"))
            || !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

/// A container whose creation waits in a hook until its file `go` is there, after so many tenths of a second and a little more.
fn held_in_a_hook(lab: &Lab, tenths: u32) -> (crate::support::Bundle<'_>, crate::support::Running) {
    let script = format!(
        "touch {0}/held; for i in $(seq {tenths}); do [ -e {0}/go ] && break; sleep 0.1; done",
        lab.path().display()
    );
    let bundle = lab.bundle().push(
        "/hooks/createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script]}),
    );
    let create = crate::support::Running::new(bundle.command(&[], "create", &[]), b"");
    wait_until("the hook runs", || lab.join("held").exists());
    assert_eq!(bundle.status(), "creating");
    (bundle, create)
}

fn state_gives_create_a_moment(lab: &Lab) {
    // What is left of the creation can take longer than the moment on a loaded machine, but not each time.
    let is_created = (0..5).any(|_| {
        let (bundle, create) = held_in_a_hook(lab, 1000);
        let mut state = lab.command();
        state.args(["state", bundle.id()]);
        let state = crate::support::Running::new(state, b"");
        std::thread::sleep(std::time::Duration::from_millis(50));
        fs::write(lab.join("go"), "").unwrap();
        let told: Value = serde_json::from_str(&state.wait().ok().stdout).unwrap();
        create.wait().ok();
        for file in ["go", "held"] {
            fs::remove_file(lab.join(file)).unwrap();
        }
        told["status"] == "created"
    });
    assert!(is_created);
}

fn creation_is_ended_by_kill(lab: &Lab) {
    let (bundle, create) = held_in_a_hook(lab, 1000);
    // No program is there that could do anything else about it.
    bundle.call("kill", &[], &["TERM"]).ok();
    fs::write(lab.join("go"), "").unwrap();
    let out = create.wait().fails_with(&["init was killed"]);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    lab.assert_nothing_left(bundle.id());
}

fn creation_is_ended_by_delete(lab: &Lab) {
    // By itself, where it gets on.
    let (bundle, create) = held_in_a_hook(lab, 3);
    bundle.call("delete", &["--force"], &[]).ok();
    create
        .wait()
        .fails_with(&["was deleted while it was created"]);
    lab.assert_nothing_left(bundle.id());
    // Killed where it does not.
    fs::remove_file(lab.join("held")).unwrap();
    let (bundle, create) = held_in_a_hook(lab, 1000);
    let begin = std::time::Instant::now();
    bundle.call("delete", &["--force"], &[]).ok();
    assert!(begin.elapsed().as_secs() < 8);
    assert_eq!(create.wait().code, 137);
    // The hook's own child needs a moment more.
    wait_until("nothing is left", || lab.leftovers(bundle.id()).is_empty());
}

fn force_of_nothing_is_no_error(lab: &Lab) {
    lab.casulo(&["delete", "--force", "nobody-knows-it"]).ok();
}

fn delete_of_nothing(lab: &Lab) {
    lab.casulo(&["delete", "nobody-knows-it"])
        .fails_with(&["does not exist"]);
}

fn state_of_nothing(lab: &Lab) {
    lab.casulo(&["state", "nobody-knows-it"])
        .fails_with(&["does not exist"]);
}

fn start_of_nothing(lab: &Lab) {
    lab.casulo(&["start", "nobody-knows-it"])
        .fails_with(&["does not exist"]);
}

fn kill_by_number_and_name(lab: &Lab) {
    for signal in ["10", "USR1", "SIGUSR1"] {
        let bundle = lab
            .bundle()
            .sh("trap 'exit 33' USR1; touch /ready; while :; do sleep 0.05; done");
        let running = bundle.running();
        wait_until("the trap is set", || bundle.rootfs().join("ready").exists());
        bundle.call("kill", &[], &[signal]).ok();
        assert_eq!(running.wait().code, 33, "{signal}");
    }
}

fn kill_defaults_to_term(lab: &Lab) {
    let bundle = lab
        .bundle()
        .sh("trap 'exit 44' TERM; touch /ready; while :; do sleep 0.05; done");
    let running = bundle.running();
    wait_until("the trap is set", || bundle.rootfs().join("ready").exists());
    bundle.verb("kill").ok();
    assert_eq!(running.wait().code, 44);
}

fn unknown_signal(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    for word in ["SIGNONSENSE", "999", "-1"] {
        bundle
            .call("kill", &[], &["--", word])
            .fails_with(&["signal"]);
    }
}

fn kill_of_a_stopped_one(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    bundle.verb("kill").fails_with(&["container not running"]);
}

fn kill_all_reaches_every_process(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_namespace("pid")
        .sh("sleep 1000 & sleep 1001 & wait");
    bundle.run_detached();
    let procs = || {
        fs::read_to_string(bundle.cgroup().join("cgroup.procs"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    wait_until("three processes", || procs() == 3);
    bundle.call("kill", &["--all"], &["KILL"]).ok();
    wait_until("none is left", || procs() == 0);
    // Of a container that has ended already, --all is no error.
    bundle.wait_stopped();
    bundle.call("kill", &["--all"], &["KILL"]).ok();
}

fn bad_ids(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.write();
    for id in ["..", ".", "a/b", "", "a b", "a\u{e9}"] {
        let out = lab.casulo(&["create", "--bundle", &bundle.path().to_string_lossy(), id]);
        assert_ne!(out.code, 0, "{id:?}");
    }
    assert!(!lab.root().exists() || lab.casulo(&["list", "--quiet"]).ok().stdout.is_empty());
}

fn id_with_all_legal_characters(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/true"]);
    bundle.write();
    let id = format!("Az09_+-.{}", bundle.id());
    lab.casulo(&["run", "--bundle", &bundle.path().to_string_lossy(), &id])
        .ok();
}

fn pid_file_has_digits_only(lab: &Lab) {
    let file = lab.join("pid");
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&["--pid-file", &file.to_string_lossy()]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle.pid().to_string());
}

fn a_pid_file_that_is_no_file_stays_what_it_is(lab: &Lab) {
    // A null device of the test's own: the host's is not to be risked.
    let null = lab.join("null");
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&null, SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
    let null = null.to_str().unwrap();
    let is_there = || fs::symlink_metadata(null).is_ok_and(|it| it.file_type().is_char_device());
    lab.bundle().run_with(&["--pid-file", null], b"").ok();
    assert!(is_there());
    // A failure after it was written takes nothing away either.
    let options = ["--pid-file", null, "--pidfd-socket", "/no/socket"];
    lab.bundle().create(&options).fails_with(&["/no/socket"]);
    assert!(is_there());

    let file = lab.join("pid");
    let bundle = lab.bundle().args(&["/bin/true"]);
    let run = bundle.command(&[], "run", &["--pid-file", "/proc/self/fd/3"]);
    let to_file = format!("\"$@\" 3>{}", file.display());
    lab.through_shell(&to_file, &run).ok();
    let pid = fs::read_to_string(&file).unwrap();
    assert!(pid.parse::<u32>().is_ok(), "{pid:?}");
    let to_pipe = "{ timeout 20 \"$@\" 3>&1 >/dev/null; } | cat";
    let piped = lab.through_shell(to_pipe, &run).ok();
    assert!(piped.text().parse::<u32>().is_ok(), "{piped:?}");
}

fn detached_run(lab: &Lab) {
    let file = lab.join("pid");
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    finish(
        bundle.command(&[], "run", &["-d", "--pid-file", &file.to_string_lossy()]),
        b"",
    )
    .ok();
    assert_eq!(bundle.status(), "running");
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle.pid().to_string());
}

fn list_in_all_formats(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let other = lab.bundle();
    other.create(&[]).ok();
    let quiet = lab.casulo(&["list", "--quiet"]).ok();
    let mut ids = quiet.lines();
    ids.sort_unstable();
    let mut expected = [bundle.id(), other.id()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let table = lab.casulo(&["list"]).ok();
    assert!(
        table.lines()[0].starts_with("ID")
            && table.stdout.contains("running")
            && table.stdout.contains("created"),
        "{table:?}"
    );
    let list: Value =
        serde_json::from_str(&lab.casulo(&["list", "--format", "json"]).ok().stdout).unwrap();
    let one = list
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["id"] == bundle.id())
        .unwrap();
    assert_eq!(
        (one["status"].as_str(), one["pid"].as_i64()),
        (Some("running"), Some(i64::from(bundle.pid())))
    );
    assert_eq!(one["bundle"], json!(bundle.path()));
}

/// Where the members of the JSON text are, outermost ones and those of other objects alike.
#[track_caller]
fn assert_in_order(text: &str, members: &[&str]) {
    let place = |name: &&str| text.find(&format!("\"{name}\":"));
    let places: Vec<_> = members.iter().map(place).collect();
    assert!(places.iter().all(Option::is_some), "{members:?}: {text}");
    assert!(places.is_sorted(), "{members:?}: {text}");
}

/// Scripts match the text as it is.
fn members_are_in_runcs_order(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/annotations", json!({"colour": "blue"}))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let members = [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ];
    let state = bundle.verb("state").ok().stdout;
    assert_in_order(&state, &members);
    let list = lab.casulo(&["list", "--format", "json"]).ok().stdout;
    assert_in_order(&list, &members);
    assert!(list.starts_with("[{\"ociVersion\":\""), "{list}");
    let events = bundle.call("events", &["--stats"], &[]).ok().stdout;
    let begin = format!(
        "{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{\"cpu\":{{\"usage\":",
        bundle.id()
    );
    assert!(events.starts_with(&begin), "{events}");
    assert_in_order(
        &events,
        &[
            "cpu",
            "cpuset",
            "memory",
            "pids",
            "blkio",
            "hugetlb",
            "intel_rdt",
            "network_interfaces",
        ],
    );
    let (_, memory) = events.split_once("\"memory\":").unwrap();
    assert_in_order(
        memory,
        &["cache", "usage", "swap", "kernel", "kernelTCP", "raw"],
    );
}

fn list_of_a_root_that_is_missing(lab: &Lab) {
    let missing = lab.join("missing");
    let list = |format: &[&str]| {
        let root = missing.to_string_lossy();
        lab.casulo(&[&["--root", &*root, "list"], format].concat())
    };
    for format in [&[][..], &["--quiet"], &["--format", "json"]] {
        list(format).fails_with(&["missing", "no such file or directory"]);
    }
    assert!(!missing.exists());
}

/// Three running containers, and an expression that the ids of the first two match.
fn two_and_another(lab: &Lab) -> ([Bundle<'_>; 3], String) {
    let bundles = [(); 3].map(|()| lab.bundle().args(&["/bin/sleep", "1000"]));
    for bundle in &bundles {
        bundle.run_detached();
    }
    let [one, two, _] = bundles
        .each_ref()
        .map(|it| it.id().rsplit_once('-').unwrap().1);
    let expression = format!("({one}|{two}){{1}}$");
    (bundles, expression)
}

fn kill_by_expression(lab: &Lab) {
    let ([one, two, other], expression) = two_and_another(lab);
    lab.casulo(&["kill", "--regex", "^nobody$", "KILL"]).ok();
    lab.casulo(&["kill", "--regex", &expression, "KILL"]).ok();
    one.wait_stopped();
    two.wait_stopped();
    assert_eq!(other.status(), "running");
    // What fails is a warning, and the others are killed all the same.
    let all = lab.casulo(&["kill", "-r", "", "KILL"]).ok();
    let warnings = all.stderr.lines();
    assert_eq!(
        warnings
            .filter(|it| it.starts_with("casulo: warning: container not running"))
            .count(),
        2,
        "{all:?}"
    );
    other.wait_stopped();
    lab.casulo(&["kill", "--regex", "web("])
        .fails_with(&["invalid regular expression", "web("]);
    for bundle in [one, two, other] {
        bundle.verb("delete").ok();
    }
}

fn delete_by_expression(lab: &Lab) {
    let ([one, two, other], expression) = two_and_another(lab);
    // A running container is deleted by force alone.
    let out = lab.casulo(&["delete", "--regex", &expression]).ok();
    assert!(
        out.stderr.contains(one.id()) && out.stderr.contains(two.id()),
        "{out:?}"
    );
    assert_eq!(
        (one.status(), two.status()),
        ("running".to_owned(), "running".to_owned())
    );
    lab.casulo(&["delete", "--force", "--regex", &expression])
        .ok();
    for gone in [one, two] {
        lab.assert_nothing_left(gone.id());
    }
    assert_eq!(other.status(), "running");
}

fn create_without_a_subreaper(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/echo", "ran"]);
    bundle.create(&["--no-subreaper"]).ok();
    assert_eq!(bundle.status(), "created");
}

/// As Go's programs read and write them.
fn long_options_with_one_dash(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.write();
    let (path, pid_file) = (bundle.path().to_string_lossy(), lab.join("pid"));
    let pid_path = pid_file.to_string_lossy();
    lab.casulo(&[
        "-log-format=json",
        "create",
        "-bundle",
        &path,
        "-pid-file",
        &pid_path,
        bundle.id(),
    ])
    .ok();
    assert_eq!(
        fs::read_to_string(&pid_file).unwrap(),
        bundle.pid().to_string()
    );
    // This one is read by clap, which the line above does not need.
    let list = lab.casulo(&["list", "-format", "json"]).ok();
    assert!(list.stdout.contains(bundle.id()), "{list:?}");
    lab.casulo(&["delete", "-force", bundle.id()]).ok();
    lab.assert_nothing_left(bundle.id());
}

fn empty_list(lab: &Lab) {
    fs::create_dir_all(lab.root()).unwrap();
    assert_eq!(lab.casulo(&["list", "--quiet"]).ok().stdout, "");
    let list: Value =
        serde_json::from_str(&lab.casulo(&["list", "--format=json"]).ok().stdout).unwrap();
    assert!(list.is_null() || list == json!([]));
}

fn init_killed_from_outside_is_stopped(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(bundle.pid()), Signal::SIGKILL).unwrap();
    bundle.wait_stopped();
    bundle.verb("delete").ok();
}

fn foreground_forwards_signals(lab: &Lab) {
    let bundle = lab
        .bundle()
        .sh("trap 'echo got it; exit 6' TERM; touch /ready; while :; do sleep 0.05; done");
    let running = bundle.running();
    wait_until("the trap is set", || bundle.rootfs().join("ready").exists());
    running.signal(Signal::SIGTERM);
    let out = running.wait();
    assert_eq!((out.code, out.text()), (6, "got it"));
    lab.assert_nothing_left(bundle.id());
}

fn repeated_global_options(lab: &Lab) {
    let root = lab.root();
    let root = root.to_string_lossy();
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    // The last one wins, in both ways of writing it.
    let first = lab.join("elsewhere");
    let equals = format!("--root={root}");
    let out = finish(
        bundle.command(
            &["--root", &first.to_string_lossy(), &equals],
            "run",
            &["--detach"],
        ),
        b"",
    );
    out.ok();
    assert_eq!(bundle.status(), "running");
}

fn options_after_the_id(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.write();
    let path = bundle.path().to_string_lossy().into_owned();
    lab.casulo(&["create", bundle.id(), "--bundle", &path]).ok();
    lab.casulo(&["delete", bundle.id(), "--force"]).ok();
}

fn config_option(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/false"]);
    bundle.write();
    let text = fs::read_to_string(bundle.path().join("config.json"))
        .unwrap()
        .replace("/bin/false", "/bin/true");
    let other = lab.join("other.json");
    fs::write(&other, text).unwrap();
    bundle
        .run_with(&["--config", &other.to_string_lossy()], b"")
        .ok();
}

fn created_container_can_be_killed(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.create(&[]).ok();
    bundle.call("kill", &[], &["KILL"]).ok();
    bundle.wait_stopped();
    bundle.verb("delete").ok();
    lab.assert_nothing_left(bundle.id());
}

fn output_of_a_detached_container(lab: &Lab) {
    // The container's streams are the caller's own files, untouched by a runtime that has left.
    let file = fs::File::create(lab.join("out")).unwrap();
    let bundle = lab.bundle().sh("sleep 0.2; echo late; echo later >&2");
    let mut command = bundle.command(&[], "run", &["--detach"]);
    command
        .stdin(std::process::Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    assert!(command.status().unwrap().success());
    bundle.wait_stopped();
    assert_eq!(
        fs::read_to_string(lab.join("out")).unwrap(),
        "late\nlater\n"
    );
}

fn poststop_state_is_gone(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run().ok();
    bundle.verb("state").fails_with(&["does not exist"]);
    bundle.run().ok();
}

fn two_containers_side_by_side(lab: &Lab) {
    let (one, two) = (
        lab.bundle().args(&["/bin/sleep", "1000"]),
        lab.bundle().args(&["/bin/sleep", "1000"]),
    );
    one.run_detached();
    two.run_detached();
    one.call("delete", &["--force"], &[]).ok();
    assert_eq!(two.status(), "running");
}

fn config_of_a_version_of_the_spec(lab: &Lab) {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0"] {
        lab.bundle().set("/ociVersion", json!(version)).run().ok();
    }
}

fn future_version_is_an_error(lab: &Lab) {
    for version in ["2.0.0", "0.9.0", "one"] {
        lab.bundle()
            .set("/ociVersion", json!(version))
            .run()
            .fails_with(&["ociVersion"]);
    }
    lab.bundle()
        .remove("/ociVersion")
        .run()
        .fails_with(&["ociVersion"]);
}

fn spec_writes_a_config_that_runs(lab: &Lab) {
    let bundle = lab.bundle();
    let path = bundle.path().to_string_lossy().into_owned();
    lab.casulo(&["spec", "--bundle", &path]).ok();
    let file = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(config["process"]["terminal"], true);
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/echo", "it runs"]);
    // Where raising the limit is refused, the sample's own limit says nothing about the rest.
    config["process"]["rlimits"] = json!([]);
    config["linux"]["cgroupsPath"] = json!(format!("/casulo-test/{}", bundle.id()));
    fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();
    assert_eq!(
        lab.casulo(&["run", "--bundle", &path, bundle.id()])
            .ok()
            .text(),
        "it runs"
    );
}

fn spec_does_not_overwrite(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.write();
    let before = fs::read(bundle.path().join("config.json")).unwrap();
    lab.casulo(&["spec", "--bundle", &bundle.path().to_string_lossy()])
        .fails_with(&["exist"]);
    assert_eq!(fs::read(bundle.path().join("config.json")).unwrap(), before);
}

fn spec_writes_a_file_that_is_named(lab: &Lab) {
    let directory = lab.directory("named");
    let path = directory.to_string_lossy();
    fs::write(directory.join("other.json"), "x".repeat(1 << 16)).unwrap();
    for file in ["other.json", &format!("{path}/absolute.json")] {
        lab.casulo(&["spec", "--bundle", &path, "--file", file])
            .ok();
        let written: Value =
            serde_json::from_slice(&fs::read(directory.join(file)).unwrap()).unwrap();
        assert_eq!(written["process"]["args"], json!(["sh"]));
    }
    assert!(!directory.join("config.json").exists());
    let printed = lab.casulo(&["spec", "-f", "/proc/self/fd/1"]).ok();
    assert!(
        printed.stdout.starts_with("{\n    \"ociVersion\""),
        "{printed:?}"
    );
}

fn bundle_defaults_to_the_working_directory(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/echo", "found"]);
    bundle.write();
    let mut command = lab.command();
    command
        .args(["run", bundle.id()])
        .current_dir(bundle.path());
    assert_eq!(finish(command, b"").ok().text(), "found");
}

fn zombies_are_not_left(lab: &Lab) {
    let bundle = lab.bundle().sh("sleep 0.01 & sleep 0.02 & true");
    bundle.run().ok();
    // Children of the shell that it did not wait for end with the pid namespace.
    lab.assert_nothing_left(bundle.id());
}

fn version_lines(lab: &Lab) {
    let out = lab.casulo(&["--version"]).ok();
    let lines = out.lines();
    let number = lines[0].strip_prefix("casulo version ").unwrap();
    assert!(number.split('.').count() == 3, "{number}");
    assert!(
        lines.iter().any(|line| line.starts_with("spec: 1.3.0")),
        "{lines:?}"
    );
    assert!(
        lines[1..].iter().all(|line| !line.contains("version")),
        "{lines:?}"
    );
    assert_eq!(out.stderr, "");
}

fn features_document(lab: &Lab) {
    let out = lab.casulo(&["features"]).ok();
    assert_eq!(out.stderr, "");
    let document: Value = serde_json::from_str(&out.stdout).unwrap();
    assert!(!out.stdout.contains("null"), "{}", out.stdout);
    assert_eq!(document["ociVersionMin"], "1.0.0");
    assert_eq!(document["ociVersionMax"], "1.3.0");
    let has = |pointer: &str, word: &str| {
        let list = document
            .pointer(pointer)
            .and_then(Value::as_array)
            .unwrap_or_else(|| panic!("no {pointer}"));
        assert!(list.iter().any(|it| it == word), "no {word} in {pointer}");
    };
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        has("/hooks", kind);
    }
    for word in [
        "rro",
        "idmap",
        "ridmap",
        "tmpcopyup",
        "nosymfollow",
        "iversion",
        "silent",
    ] {
        has("/mountOptions", word);
    }
    for kind in [
        "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time",
    ] {
        has("/linux/namespaces", kind);
    }
    has("/linux/capabilities", "CAP_SYS_ADMIN");
    has("/linux/seccomp/actions", "SCMP_ACT_NOTIFY");
    has("/linux/seccomp/operators", "SCMP_CMP_MASKED_EQ");
    has("/linux/seccomp/archs", "SCMP_ARCH_X86_64");
    has(
        "/linux/seccomp/knownFlags",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    );
    for (pointer, value) in [
        ("/linux/seccomp/enabled", true),
        ("/linux/apparmor/enabled", true),
        ("/linux/selinux/enabled", true),
        ("/linux/cgroup/v2", true),
        ("/linux/cgroup/v1", false),
        ("/linux/mountExtensions/idmap/enabled", true),
        ("/linux/netDevices/enabled", true),
    ] {
        assert_eq!(document.pointer(pointer), Some(&json!(value)), "{pointer}");
    }
}

fn completion_scripts(lab: &Lab) {
    for shell in ["bash", "zsh", "fish"] {
        let out = lab.casulo(&["completion", shell]).ok();
        assert!(out.stdout.contains("casulo"), "{shell}");
    }
}

fn help_of_every_verb(lab: &Lab) {
    for verb in [
        "create",
        "start",
        "run",
        "exec",
        "state",
        "kill",
        "delete",
        "list",
        "ps",
        "events",
        "spec",
        "features",
        "completion",
    ] {
        let out = lab.casulo(&[verb, "--help"]).ok();
        assert!(out.stdout.contains(verb), "{out:?}");
    }
}

fn create_returns_an_orphan(lab: &Lab) {
    // The caller is a subreaper and waits for init itself.
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    let stat = fs::read_to_string(format!("/proc/{}/status", bundle.pid())).unwrap();
    let parent = crate::support::field(&stat, "PPid");
    let name = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap();
    assert_ne!(name.trim(), "runtime");
}

fn failed_exec_in_start_is_reported(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/true"]);
    bundle.create(&[]).ok();
    // The program vanishes between create and start.
    fs::remove_file(bundle.rootfs().join("bin/true")).unwrap();
    let out = bundle.verb("start");
    assert!(
        out.code == 0 || out.stderr.contains("o such file"),
        "{out:?}"
    );
    bundle.wait_stopped();
}

fn state_survives_a_killed_runtime(lab: &Lab) {
    // The runtime dies in the midst of create: a later delete finds and removes everything.
    let slow = json!({"path": "/bin/sleep", "args": ["sleep", "1000"]});
    let bundle = lab.bundle().push("/hooks/createRuntime", slow);
    let running = crate::support::Running::new(bundle.command(&[], "create", &[]), b"");
    wait_until("the cgroup is there", || bundle.cgroup().exists());
    running.signal(Signal::SIGKILL);
    running.wait();
    bundle.call("delete", &["--force"], &[]).ok();
    // The hook has gone with its runtime; the lab looks for it, too.
    wait_until("nothing is left", || lab.leftovers(bundle.id()).is_empty());
}

fn nothing_inside_opens_the_start_channel(lab: &Lab) {
    // Two containers share a pid namespace: the first looks for a way to start the second.
    let first = lab
        .bundle()
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])
        .args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let second = lab
        .bundle()
        .join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()))
        .sh("echo started >/started");
    second.create(&[]).ok();
    let script = "for p in /proc/[0-9]*; do for f in $p/fd/*; do timeout 1 dd if=/dev/zero of=$f bs=1 count=1 conv=notrunc; \
                  timeout 1 dd if=$f of=/dev/null bs=1 count=1; done; done 2>/dev/null; true";
    first.exec(script);
    assert_eq!(second.status(), "created");
    assert!(!second.rootfs().join("started").exists());
    second.verb("start").ok();
    second.wait_stopped();
    assert!(second.rootfs().join("started").exists());
}

fn pidfd_socket_gets_a_pidfd(lab: &Lab) {
    let listener = crate::support::Listener::new(lab.join("pidfd"));
    let path = listener.path().to_string_lossy().into_owned();
    let receiver = std::thread::spawn(move || listener.receive());
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&["--pidfd-socket", &path]).ok();
    assert_is_pidfd(&bundle, &receiver.join().unwrap());
}

fn pidfd_receiver_of_the_config(lab: &Lab) {
    let listener = crate::support::Listener::new(lab.join("pidfd"));
    let path = json!(listener.path());
    let receiver = std::thread::spawn(move || listener.receive());
    let bundle = lab
        .bundle()
        .set("/annotations", json!({"run.oci.pidfd_receiver": path}))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert_is_pidfd(&bundle, &receiver.join().unwrap());
    // Nobody is there any more.
    let bundle = lab
        .bundle()
        .set("/annotations", json!({"run.oci.pidfd_receiver": path}));
    bundle.run().fails_with(&["send the pidfd to"]);
    lab.assert_nothing_left(bundle.id());
}

fn annotations_that_cannot_be_applied_are_refused(lab: &Lab) {
    for (key, value) in [
        ("run.oci.handler", "krun"),
        ("run.oci.handler", "wasm"),
        ("module.wasm.image/variant", "compat"),
        ("run.oci.seccomp.plugins", "/lib/plugin.so"),
        ("run.oci.seccomp_bpf_data", "BgAAAAAA/38="),
        ("run.oci.systemd.force_cgroup_v1", "/sys/fs/cgroup/systemd"),
    ] {
        let bundle = lab.bundle().set("/annotations", json!({ key: value }));
        bundle.run().fails_with(&[&format!("annotations[{key:?}]")]);
    }
    // A pod's containers have them all, and only modules are meant.
    let pod = json!({"run.oci.handler": "wasm-smart", "module.wasm.image/variant": "compat-smart"});
    let bundle = lab.bundle().set("/annotations", pod).sh("echo runs");
    assert_eq!(bundle.run().ok().text(), "runs");
}

#[track_caller]
fn assert_is_pidfd(bundle: &Bundle<'_>, received: &crate::support::Received) {
    assert_eq!(received.fds.len(), 1);
    let number = std::os::fd::AsRawFd::as_raw_fd(&received.fds[0]);
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    assert_eq!(
        crate::support::field(&info, "Pid"),
        bundle.pid().to_string()
    );
}

fn empty_environment(lab: &Lab) {
    // Engines call delete and kill with next to nothing, and as root with XDG_RUNTIME_DIR empty.
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let mut command = bundle.command(&[], "run", &["--detach"]);
    command.env_clear();
    finish(command, b"").ok();
    for verb in [
        ["kill", bundle.id(), "KILL"],
        ["delete", "--force", bundle.id()],
    ] {
        let mut command = lab.command();
        command.env_clear().env("XDG_RUNTIME_DIR", "").args(verb);
        finish(command, b"").ok();
    }
}
