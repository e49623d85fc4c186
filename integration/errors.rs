//! Errors: one line, one JSON object, a stable code, the path in the config; and nothing left.

use crate::support::{Bundle, Lab, cases, finish, wrapped};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

cases! {
    [Root] => missing_config, unknown_fields_are_ignored, missing_bundle, wrong_type_in_the_config,
        log_file_has_the_message, log_file_is_appended_to;
    [Root, Casulo] => one_line_on_stderr, one_json_line_in_the_log, keys_of_the_json_line, all_config_errors_together,
        json_path_of_a_nested_value, own_failures_are_one, no_chatter_on_success, unknown_verb, unknown_option,
        unsupported_value_is_an_error, text_log_format, errors_name_the_object, process_is_missing, root_is_missing,
        nothing_left_after_each_failure, config_that_is_no_json,
        log_in_the_journal_and_in_syslog, log_of_a_path_with_its_kind;
}

/// `create` of a bundle that fails, with a JSON log: the log's text and stderr.
fn failure(lab: &Lab, bundle: &Bundle<'_>) -> (String, String) {
    let log = lab.join("log.json");
    let _ = fs::remove_file(&log);
    let out = finish(
        bundle.command(
            &["--log", &log.to_string_lossy(), "--log-format", "json"],
            "create",
            &[],
        ),
        b"",
    );
    assert_eq!(out.code, 1, "{out:?}");
    lab.assert_nothing_left(bundle.id());
    (fs::read_to_string(&log).unwrap(), out.stderr)
}

fn missing_config(lab: &Lab) {
    let bundle = lab.bundle();
    let path = bundle.path().to_string_lossy().into_owned();
    lab.casulo(&["create", "--bundle", &path, bundle.id()])
        .fails_with(&["config.json"]);
}

fn missing_bundle(lab: &Lab) {
    lab.casulo(&["create", "--bundle", "/no/such/bundle", "someone"])
        .fails_with(&["/no/such/bundle"]);
}

fn config_that_is_no_json(lab: &Lab) {
    let bundle = lab.bundle();
    let path = bundle.path().to_string_lossy().into_owned();
    for (text, why) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("[]", "must be a JSON object, is an array"),
        ("null", "must be a JSON object, is null"),
        (
            "{\"ociVersion\": \"1.0.0\",}",
            "trailing comma at line 1 column 24",
        ),
        ("\u{feff}{}", "expected value at line 1 column 1"),
    ] {
        fs::write(bundle.path().join("config.json"), text).unwrap();
        lab.casulo(&["create", "--bundle", &path, bundle.id()])
            .fails_with(&["config.json: ", why]);
    }
    lab.assert_nothing_left(bundle.id());
}

fn wrong_type_in_the_config(lab: &Lab) {
    lab.bundle()
        .set("/process/args", json!("not a list"))
        .run()
        .fails_with(&["args"]);
}

fn unknown_fields_are_ignored(lab: &Lab) {
    lab.bundle()
        .set("/newField", json!({"a": 1}))
        .set("/process/newField", json!([1]))
        .set("/linux/newField", json!("x"))
        .set("/linux/resources/newController", json!({"limit": 1}))
        .run()
        .ok();
}

fn one_line_on_stderr(lab: &Lab) {
    let bundle = lab.bundle().set("/root/path", json!("missing"));
    let (_, stderr) = failure(lab, &bundle);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("missing"), "{stderr}");
}

fn one_json_line_in_the_log(lab: &Lab) {
    let bundle = lab.bundle().set("/root/path", json!("missing"));
    let (log, _) = failure(lab, &bundle);
    assert_eq!(log.lines().count(), 1, "{log}");
    let entry: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(entry["level"], "error");
    assert!(
        entry["msg"].as_str().unwrap().contains("missing"),
        "{entry}"
    );
    let time = entry["time"].as_str().unwrap();
    assert!(
        time.contains('T') && (time.ends_with('Z') || time.contains('+')),
        "{time}"
    );
}

fn keys_of_the_json_line(lab: &Lab) {
    let bundle = lab.bundle().bind("/no/such/source".as_ref(), "/mnt", &[]);
    let (log, _) = failure(lab, &bundle);
    let entry: Value = serde_json::from_str(&log).unwrap();
    assert!(entry["code"].as_str().unwrap().starts_with("E_"), "{entry}");
    for key in ["step", "object", "errno"] {
        assert!(entry.get(key).is_some(), "no {key} in {entry}");
    }
    assert_eq!(entry["errno"], "ENOENT");
}

fn all_config_errors_together(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_PATIENCE", "soft": 1, "hard": 1}]),
        )
        .push(
            "/linux/seccomp/syscalls",
            json!({"names": ["mkdir"], "action": "SCMP_ACT_SIGH"}),
        )
        .set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
    assert_named(
        lab,
        &bundle,
        &["process.rlimits[0]", "linux.seccomp.syscalls[0].action"],
    );
    let bundle = lab
        .bundle()
        .with_namespace("ipc")
        .set("/linux/rootfsPropagation", json!("public"))
        .set("/linux/sysctl", json!({"vm.swappiness": "1"}));
    assert_named(
        lab,
        &bundle,
        &[
            "linux.namespaces[6]",
            "linux.rootfsPropagation",
            "linux.sysctl",
        ],
    );
}

/// Fails unless one E_CONFIG error names all these paths, on one line.
fn assert_named(lab: &Lab, bundle: &Bundle<'_>, paths: &[&str]) {
    let (log, stderr) = failure(lab, bundle);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for path in paths {
        assert!(stderr.contains(path), "no {path} in {stderr}");
    }
    assert!(stderr.contains("; "), "{stderr}");
    let entry: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(entry["code"], "E_CONFIG");
}

fn json_path_of_a_nested_value(lab: &Lab) {
    let bundle = lab.bundle().set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": "one", "op": "SCMP_CMP_EQ"}]}
        ]}),
    );
    let (_, stderr) = failure(lab, &bundle);
    assert!(
        stderr.contains("linux.seccomp.syscalls[1].args[0].value"),
        "{stderr}"
    );
}

fn own_failures_are_one(lab: &Lab) {
    assert_eq!(lab.casulo(&["state", "nobody-knows-it"]).code, 1);
    assert_eq!(
        lab.bundle().set("/root/path", json!("missing")).run().code,
        1
    );
    assert_eq!(lab.bundle().args(&["/no/such/program"]).run().code, 1);
}

fn no_chatter_on_success(lab: &Lab) {
    let log = lab.join("log.json");
    let bundle = lab.bundle().args(&["/bin/true"]);
    let out = finish(
        bundle.command(
            &["--log", &log.to_string_lossy(), "--log-format=json"],
            "run",
            &[],
        ),
        b"",
    )
    .ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "");
}

fn log_file_has_the_message(lab: &Lab) {
    let log = lab.join("log.json");
    let log_name = log.to_string_lossy().into_owned();
    lab.casulo(&[
        "--log",
        &log_name,
        "--log-format",
        "json",
        "state",
        "nobody-knows-it",
    ])
    .fails_with(&["does not exist"]);
    let text = fs::read_to_string(&log).unwrap();
    let entry: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(entry["level"], "error");
    assert!(
        entry["msg"].as_str().unwrap().contains("does not exist"),
        "{entry}"
    );
}

fn log_file_is_appended_to(lab: &Lab) {
    let log = lab.join("log.json");
    fs::write(
        &log,
        "{\"level\":\"info\",\"msg\":\"first\",\"time\":\"2026-01-01T00:00:00Z\"}\n",
    )
    .unwrap();
    lab.casulo(&[
        "--log",
        &log.to_string_lossy(),
        "--log-format",
        "json",
        "state",
        "nobody-knows-it",
    ])
    .fails_with(&["nobody-knows-it", "does not exist"]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("{\"level\":\"info\""), "{text}");
    assert_eq!(text.lines().count(), 2);
}

fn text_log_format(lab: &Lab) {
    let log = lab.join("log");
    lab.casulo(&["--log", &log.to_string_lossy(), "state", "nobody-knows-it"])
        .fails_with(&["nobody-knows-it", "does not exist"]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(
        text.lines().count() == 1 && text.contains("does not exist"),
        "{text}"
    );
}

/// The sockets are the test's own, in a mount namespace where they stand in the places of the host's.
fn log_in_the_journal_and_in_syslog(lab: &Lab) {
    let sockets = lab.directory("sockets");
    let listen = |name: &str| UnixDatagram::bind(sockets.join(name)).unwrap();
    let (journal, syslog) = (listen("socket"), listen("log"));
    for socket in [&journal, &syslog] {
        socket.set_nonblocking(true).unwrap();
    }
    let places = format!(
        "mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
         mount --bind {0} /run/systemd/journal && mount -t tmpfs none /dev && : >/dev/log && \
         mount --bind {0}/log /dev/log && exec \"$@\"",
        sockets.display()
    );
    let said = |socket: &UnixDatagram, global: &[&str], args: &[&str]| {
        let mut inner = lab.command();
        inner.args(global).args(args);
        let mut outer = Command::new("unshare");
        outer.args(["-m", "sh", "-c", &places, "sh"]);
        let out = finish(wrapped(outer, &inner), b"").fails_with(&["casulo: error: "]);
        let mut message = [0; 4096];
        let length = socket.recv(&mut message).expect("a message");
        assert!(socket.recv(&mut [0; 1]).is_err(), "one message: {out:?}");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let nobody = "container nobody does not exist";
    assert_eq!(
        said(&journal, &["--log", "journald:me"], &["state", "nobody"]),
        format!("SYSLOG_IDENTIFIER=me\nID=nobody\nPRIORITY=3\nMESSAGE={nobody}\n")
    );
    assert_eq!(
        said(&syslog, &["--log=syslog:me"], &["state", "nobody"]),
        format!("<11>me: {nobody}")
    );
    assert_eq!(
        said(&syslog, &["--log", "syslog:"], &["state", "nobody"]),
        format!("<11>nobody: {nobody}")
    );
    let json = said(
        &syslog,
        &["--log-format=json", "--log=syslog:me"],
        &["state", "nobody"],
    );
    let entry: Value = serde_json::from_str(json.strip_prefix("<11>me: ").unwrap()).unwrap();
    assert_eq!(entry["msg"], nobody);
}

fn log_of_a_path_with_its_kind(lab: &Lab) {
    let log = lab.join("a:log");
    for destination in [log.display().to_string(), format!("file:{}", log.display())] {
        lab.casulo(&["--log", &destination, "state", "nobody-knows-it"])
            .fails_with(&["does not exist"]);
    }
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2);
}

fn unknown_verb(lab: &Lab) {
    lab.casulo(&["levitate", "someone"])
        .fails_with(&["levitate"]);
}

fn unknown_option(lab: &Lab) {
    lab.casulo(&["state", "--upside-down", "someone"])
        .fails_with(&["--upside-down"]);
}

fn unsupported_value_is_an_error(lab: &Lab) {
    let cases = [
        (
            "/process/scheduler",
            json!({"policy": "SCHED_LATER"}),
            "process.scheduler",
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_VIP", "priority": 1}),
            "process.ioPriority",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_RANDOM"}),
            "linux.memoryPolicy",
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "a/b"}),
            "linux.intelRdt",
        ),
    ];
    for (pointer, value, path) in cases {
        lab.bundle().set(pointer, value).run().fails_with(&[path]);
    }
}

fn errors_name_the_object(lab: &Lab) {
    let bundle = lab
        .bundle()
        .mount("/somewhere", "tmpfs", "tmpfs", &["size=lots"]);
    bundle.run().fails_with(&["/somewhere"]);
    lab.bundle()
        .bind("/no/such/source".as_ref(), "/mnt", &[])
        .run()
        .fails_with(&["/no/such/source"]);
}

fn process_is_missing(lab: &Lab) {
    // Without a process a container may be created, but there is nothing to start.
    lab.bundle()
        .remove("/process")
        .run()
        .fails_with(&["process"]);
}

fn root_is_missing(lab: &Lab) {
    lab.bundle().remove("/root").run().fails_with(&["root"]);
}

fn nothing_left_after_each_failure(lab: &Lab) {
    // One failure per stage of a start; run() itself checks that nothing is left.
    let absent = "no such file or directory";
    let plain = || lab.bundle();
    let failing: [(Bundle<'_>, &str, &str); 9] = [
        (
            plain().join_namespace("network", "/no/such/namespace"),
            "/no/such/namespace",
            absent,
        ),
        (
            plain().bind("/no/such/source".as_ref(), "/mnt", &[]),
            "/no/such/source",
            absent,
        ),
        (
            plain().mount("/t", "nosuchfs", "none", &[]),
            "nosuchfs on /t",
            "No such device",
        ),
        (
            plain().push("/hooks/createRuntime", json!({"path": "/bin/false"})),
            "createRuntime",
            "exit status 1",
        ),
        (
            plain().push("/hooks/createContainer", json!({"path": "/bin/false"})),
            "createContainer",
            "exit status 1",
        ),
        (
            plain().set("/linux/sysctl", json!({"net.no.such.key": "1"})),
            "net.no.such.key",
            absent,
        ),
        (
            plain().set("/process/cwd", json!("/etc/passwd")),
            "/etc/passwd",
            "not a directory",
        ),
        (
            plain().args(&["/no/such/program"]),
            "/no/such/program",
            absent,
        ),
        (
            plain().push("/hooks/startContainer", json!({"path": "/no/such/hook"})),
            "/no/such/hook",
            absent,
        ),
    ];
    for (bundle, object, why) in failing {
        bundle.run().fails_with(&[object, why]);
    }
}
