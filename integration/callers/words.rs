//! The words in errors that callers look for, in the case in which they look (rule 13).

use super::{Caller, process_file, text};
use crate::support::{Bundle, HostCgroup, Lab, Output, cases, finish};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

cases! {
    [Root] => missing_program_in_path, missing_program_by_path, program_without_permission, mount_of_a_file_onto_a_directory,
        verbs_of_nobody, kill_of_an_ended_container, exec_of_the_same_programs;
    // runc 1.1 says "permission denied" of it, which is 126 as well.
    [Root, Casulo] => program_that_is_a_directory, words_that_scripts_look_for;
}

fn caller(lab: &Lab) -> Caller<'_> {
    Caller::new(lab, &["--root", text(&lab.root())], &[])
}

/// What creating and starting says; engines do not care which of the two says it.
#[track_caller]
fn failure(lab: &Lab, bundle: &Bundle<'_>) -> Output {
    bundle.write();
    let out = caller(lab).call(&["create", "--bundle", text(bundle.path()), bundle.id()]);
    let out = match out.code {
        0 => caller(lab).call(&["start", bundle.id()]),
        _ => out,
    };
    assert_eq!(out.code, 1, "{out:?}");
    caller(lab).silent(&["delete", "--force", bundle.id()]);
    out
}

/// Exit code 127 of `podman run` and `docker run`.
fn missing_program_in_path(lab: &Lab) {
    failure(lab, &lab.bundle().args(&["nosuchprogram"]))
        .fails_with(&["executable file not found in"]);
}

/// Exit code 127, too.
fn missing_program_by_path(lab: &Lab) {
    failure(lab, &lab.bundle().args(&["/no/such/program"]))
        .fails_with(&["no such file or directory"]);
}

/// Exit code 126.
fn program_without_permission(lab: &Lab) {
    let bundle = lab.bundle().args(&["/etc/passwd"]);
    failure(lab, &bundle).fails_with(&["permission denied"]);
}

/// Exit code 126 of Docker.
fn program_that_is_a_directory(lab: &Lab) {
    failure(lab, &lab.bundle().args(&["/etc"])).fails_with(&["is a directory"]);
    exec_failure(lab, "/etc").fails_with(&["is a directory"]);
}

/// Docker adds a hint of its own to these words.
fn mount_of_a_file_onto_a_directory(lab: &Lab) {
    let file = lab.join("file");
    fs::write(&file, "").unwrap();
    failure(lab, &lab.bundle().bind(&file, "/etc", &[])).fails_with(&["not a directory"]);
}

/// containerd's "no such container".
fn verbs_of_nobody(lab: &Lab) {
    for args in [
        &["state", "nobody"][..],
        &["start", "nobody"],
        &["kill", "nobody", "9"],
        &["delete", "nobody"],
        &["pause", "nobody"],
        &["resume", "nobody"],
    ] {
        caller(lab).call(args).fails_with(&["does not exist"]);
    }
}

/// containerd's "process already finished", and CRI-O's.
fn kill_of_an_ended_container(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    caller(lab)
        .call(&["kill", bundle.id(), "9"])
        .fails_with(&["container not running"]);
}

/// exec's words are the same: Podman makes 126 and 127 of them for `podman exec`, too.
fn exec_of_the_same_programs(lab: &Lab) {
    for (program, word) in [
        ("nosuchprogram", "executable file not found in"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        exec_failure(lab, program).fails_with(&[word]);
    }
}

/// exec of a program that cannot be executed.
#[track_caller]
fn exec_failure(lab: &Lab, program: &str) -> Output {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let process = process_file(lab, "process", json!({"args": [program]}));
    let out = caller(lab).call(&["exec", "--process", text(&process), bundle.id()]);
    assert_eq!((out.code, out.stdout.as_str()), (255, ""));
    out
}

/// A cause of a message, and the words that it has.
type Row<'lab> = (Box<dyn Fn() -> Output + 'lab>, &'static [&'static str]);

/// What scripts look for in the messages of runc and crun, as their own tests do. Whatever stands around these words may
/// change.
fn words_that_scripts_look_for(lab: &Lab) {
    for (cause, words) in rows(lab) {
        let out = cause();
        for word in words {
            assert!(out.stderr.contains(word), "no {word:?} in {out:#?}");
        }
        for line in out.stderr.lines() {
            let ours = ["casulo: error: ", "casulo: warning: "];
            assert!(ours.iter().any(|it| line.starts_with(it)), "{line:?}");
        }
    }
}

fn rows<'lab>(lab: &'lab Lab) -> Vec<Row<'lab>> {
    let run = |change: fn(Bundle<'lab>) -> Bundle<'lab>| -> Box<dyn Fn() -> Output + 'lab> {
        Box::new(move || {
            let bundle = change(lab.bundle());
            finish(bundle.command(&[], "run", &[]), b"")
        })
    };
    let policy = |value: Value| -> Box<dyn Fn() -> Output + 'lab> {
        Box::new(move || lab.bundle().set("/linux/memoryPolicy", value.clone()).run())
    };
    let deadline = |runtime: u64, deadline: u64, period: u64| -> Box<dyn Fn() -> Output + 'lab> {
        let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period});
        Box::new(move || {
            lab.bundle()
                .set("/process/scheduler", scheduler.clone())
                .run()
        })
    };
    let mut rows: Vec<Row<'lab>> = vec![
        (
            Box::new(|| {
                let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
                bundle.run_detached();
                bundle.verb("pause").ok();
                bundle.exec("true")
            }),
            &["cannot exec in a paused container"],
        ),
        (
            Box::new(|| {
                let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
                bundle.run_detached();
                bundle.call("exec", &["--cgroup", "../up"], &["/bin/true"])
            }),
            &[
                "bad sub cgroup path",
                "`..` components are not allowed",
                "../up",
            ],
        ),
        (
            Box::new(|| {
                let bundle = lab.bundle();
                let occupied = HostCgroup::new(&format!("casulo-test/{}", bundle.id()));
                let _sleeper = occupied.sleeper();
                finish(bundle.command(&[], "run", &[]), b"")
            }),
            &["container's cgroup is not empty"],
        ),
        (
            Box::new(|| {
                let bundle = lab.bundle();
                let _frozen = HostCgroup::new(&format!("casulo-test/{}", bundle.id()));
                fs::write(bundle.cgroup().join("cgroup.freeze"), "1").unwrap();
                finish(bundle.command(&[], "run", &[]), b"")
            }),
            &["container's cgroup unexpectedly frozen"],
        ),
        (
            policy(json!({"mode": "MPOL_X"})),
            &["invalid memory policy mode"],
        ),
        (
            policy(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["F"]})),
            &["invalid memory policy flag"],
        ),
        (
            policy(json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"})),
            &["invalid memory policy node"],
        ),
        (
            policy(json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"})),
            &["mode requires 0 nodes but got 8"],
        ),
        (
            deadline(0, 2000, 0),
            &[
                "sched_setattr: `SCHED_DEADLINE` requires `runtime`",
                "sched_setattr: `SCHED_DEADLINE` runtime must be greater than 0",
            ],
        ),
        (
            deadline(2000, 0, 0),
            &["sched_setattr: `SCHED_DEADLINE` requires `deadline`"],
        ),
        (
            deadline(1023, 9000, 0),
            &[
                "sched_setattr: `SCHED_DEADLINE` runtime ",
                " must be between ",
            ],
        ),
        (
            deadline(3000, 2000, 4000),
            &[
                "sched_setattr: `SCHED_DEADLINE` runtime",
                "must be <=",
                "deadline",
            ],
        ),
        (
            deadline(2000, 3000, 2500),
            &[
                "sched_setattr: `SCHED_DEADLINE` deadline",
                "must be <=",
                "period",
            ],
        ),
        (
            Box::new(|| {
                let bundle = lab.bundle();
                fs::remove_dir_all(bundle.rootfs().join("proc")).unwrap();
                std::os::unix::fs::symlink("/tmp", bundle.rootfs().join("proc")).unwrap();
                bundle.run()
            }),
            &["must be mounted on ordinary directory"],
        ),
        (
            run(|bundle| {
                bundle.set(
                    "/linux/seccomp",
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/agent",
                        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}),
                )
            }),
            &["failed to connect with seccomp agent"],
        ),
        (
            Box::new(|| {
                let bundle = lab.bundle().args(&["/run.sh"]);
                script_without_interpreter(&bundle);
                bundle.run()
            }),
            &["exec /run.sh: no such file or directory"],
        ),
        (
            Box::new(|| {
                let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
                script_without_interpreter(&bundle);
                bundle.run_detached();
                bundle.call("exec", &[], &["/run.sh"])
            }),
            &["exec /run.sh: no such file or directory"],
        ),
        (
            run(|bundle| bundle.args(&["nosuch"])),
            &["exec: \"nosuch\": executable file not found in $PATH"],
        ),
        (
            run(|bundle| bundle.mount("/t", "tmpfs", "tmpfs", &["size=lots"])),
            &["Invalid argument"],
        ),
        (
            run(|bundle| {
                bundle
                    .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
                    .set(
                        "/process/capabilities/ambient",
                        json!(["CAP_KILL", "CAP_CHOWN"]),
                    )
            }),
            &["can't raise ambient capability CAP_CHOWN: "],
        ),
        (
            Box::new(|| {
                lab.bundle()
                    .set("/process/terminal", json!(true))
                    .create(&[])
            }),
            &["use --console-socket"],
        ),
        (
            Box::new(|| lab.casulo(&["state", "a/b"])),
            &["invalid character", "container ID"],
        ),
        (
            run(|bundle| bundle.push("/hooks/startContainer", shell_hook("kill -SYS $$"))),
            &["error running startContainer hook", "bad system call"],
        ),
        (
            run(|bundle| bundle.push("/hooks/poststop", shell_hook("exit 3"))),
            &["poststop hook failed with exit code"],
        ),
    ];
    for (kind, words) in [
        ("prestart", &["error running prestart hook #1: "]),
        ("createRuntime", &["error running createRuntime hook #1: "]),
        (
            "createContainer",
            &["error running createContainer hook #1: "],
        ),
        (
            "startContainer",
            &["error running startContainer hook #1: "],
        ),
        ("poststart", &["error running poststart hook #1: "]),
        ("poststop", &["error running poststop hook #1: "]),
    ] {
        rows.push((
            Box::new(move || {
                let place = format!("/hooks/{kind}");
                let bundle = lab.bundle().push(&place, shell_hook("true"));
                bundle.push(&place, shell_hook("exit 1")).run()
            }),
            words,
        ));
    }
    rows
}

fn shell_hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

/// Its interpreter is what is missing.
fn script_without_interpreter(bundle: &Bundle<'_>) {
    let file = bundle.rootfs().join("run.sh");
    fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}
