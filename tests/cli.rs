//! The command line as callers use it, without any privilege: exit codes, outputs, log lines and the
//! words that engines look for in errors.

use std::path::Path;
use std::process::{Command, Output};

fn casulo(root: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_casulo"))
        .arg("--root")
        .arg(root.join("state"))
        .args(args)
        .env_clear()
        .output()
        .expect("casulo can be executed")
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn log_lines(path: &Path) -> Vec<serde_json::Value> {
    std::fs::read_to_string(path)
        .expect("a log")
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect()
}

#[test]
fn an_unknown_container_does_not_exist() {
    let root = directory();
    for args in [
        &["state", "web"][..],
        &["start", "web"],
        &["kill", "web"],
        &["delete", "web"],
        &["pause", "web"],
        &["resume", "web"],
        &["update", "web"],
        &["exec", "web", "true"],
        &["ps", "web"],
        &["events", "web"],
    ] {
        let output = casulo(root.path(), args);
        assert!(
            stderr(&output).contains("container web does not exist"),
            "{args:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{args:?}");
        let expected = if args[0] == "exec" { 255 } else { 1 };
        assert_eq!(output.status.code(), Some(expected), "{args:?}");
    }
}

#[test]
fn deleting_an_unknown_container_by_force_succeeds() {
    let root = directory();
    let output = casulo(root.path(), &["delete", "--force", "web"]);
    assert_eq!(
        (output.status.code(), stderr(&output).as_str()),
        (Some(0), "")
    );
}

#[test]
fn a_failing_command_appends_exactly_one_json_line() {
    let root = directory();
    let log = root.path().join("log.json");
    let path = log.to_str().expect("utf-8");
    for _ in 0..2 {
        let output = casulo(
            root.path(),
            &["--log", path, "--log-format=json", "state", "web"],
        );
        assert_eq!(
            stderr(&output),
            "casulo: error: container web does not exist\n"
        );
    }
    let lines = log_lines(&log);
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line["level"], "error");
        assert_eq!(line["msg"], "container web does not exist");
        assert_eq!(line["code"], "E_NOT_FOUND");
        let time = line["time"].as_str().expect("a time");
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    }
}

#[test]
fn without_a_log_file_json_goes_to_stderr() {
    let root = directory();
    let output = casulo(root.path(), &["--log-format", "json", "state", "web"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON object");
    assert_eq!(line["msg"], "container web does not exist");
}

#[test]
fn the_last_root_wins() {
    let root = directory();
    let elsewhere = root.path().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("web")).expect("a container's directory");
    let elsewhere = elsewhere.to_str().expect("utf-8");
    let output = casulo(
        root.path(),
        &[
            "--root",
            elsewhere,
            "--systemd-cgroup",
            "--systemd-cgroup",
            "list",
            "-q",
        ],
    );
    assert_eq!(
        (stdout(&output).as_str(), output.status.code()),
        ("web\n", Some(0))
    );
}

#[test]
fn an_empty_list_is_a_header_or_an_empty_array() {
    let root = directory();
    std::fs::create_dir(root.path().join("state")).expect("a root");
    assert!(stdout(&casulo(root.path(), &["list"])).starts_with("ID          PID         STATUS"));
    assert_eq!(
        stdout(&casulo(root.path(), &["list", "--format=json"])),
        "[]\n"
    );
    assert_eq!(stdout(&casulo(root.path(), &["list", "-q"])), "");
}

#[test]
fn bad_ids_are_refused_before_anything_is_made() {
    let root = directory();
    for id in ["", ".", "..", "a/b", "a b", "-x\n", "../../x"] {
        let output = casulo(root.path(), &["state", "--", id]);
        assert_eq!(output.status.code(), Some(1), "{id:?}");
        assert!(
            stderr(&output).contains("invalid container ID"),
            "{id:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(std::fs::read_dir(root.path()).expect("list").count(), 0);
}

#[test]
fn a_missing_bundle_is_named() {
    let root = directory();
    for verb in ["create", "run"] {
        let output = casulo(
            root.path(),
            &[verb, "--bundle", "/nonexistent/bundle", "web"],
        );
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("/nonexistent/bundle"),
            "{}",
            stderr(&output)
        );
        assert_eq!(stderr(&output).lines().count(), 1);
    }
}

#[test]
fn the_first_version_line_has_name_and_number() {
    let root = directory();
    for flag in ["--version", "-v", "-V"] {
        let output = casulo(root.path(), &[flag]);
        let text = stdout(&output);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            concat!("casulo version ", env!("CARGO_PKG_VERSION"))
        );
        assert!(lines[1].starts_with("commit: "), "{text}");
        assert_eq!(lines[2], "spec: 1.3.0");
        assert_eq!(
            lines.last(),
            Some(&"+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF")
        );
        assert_eq!(
            text.matches("version").count(),
            1,
            "engines split on that word"
        );
        assert_eq!(
            (stderr(&output).as_str(), output.status.code()),
            ("", Some(0))
        );
    }
}

#[test]
fn help_of_every_command_succeeds() {
    let root = directory();
    for verb in [
        "create",
        "start",
        "run",
        "exec",
        "state",
        "kill",
        "delete",
        "list",
        "check",
        "spec",
        "features",
        "completion",
    ] {
        let output = casulo(root.path(), &[verb, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{verb}");
        assert!(stdout(&output).contains("Usage: casulo"), "{verb}");
    }
}

#[test]
fn completions_are_printed_for_three_shells() {
    let root = directory();
    for shell in ["bash", "zsh", "fish"] {
        let output = casulo(root.path(), &["completion", shell]);
        assert!(stdout(&output).contains("casulo"), "{shell}");
        assert_eq!(output.status.code(), Some(0), "{shell}");
    }
}

#[test]
fn exec_users_with_trailing_junk_are_refused() {
    let root = directory();
    std::fs::create_dir_all(root.path().join("state/web")).expect("a container's directory");
    std::fs::write(root.path().join("state/web/state.json"), r#"{"id":"web"}"#).expect("facts");
    let config = r#"{"ociVersion":"1.0.2","root":{"path":"rootfs"},"process":{"cwd":"/","args":["sh"],"user":{"uid":0,"gid":0}}}"#;
    std::fs::write(root.path().join("state/web/config.json"), config).expect("a config");
    for user in ["1x", "1:", "1:2:3", "-1", "4294967296"] {
        let output = casulo(
            root.path(),
            &["exec", &format!("--user={user}"), "web", "id"],
        );
        assert_eq!(output.status.code(), Some(255), "{user}");
        assert!(
            stderr(&output).contains("invalid user"),
            "{user}: {}",
            stderr(&output)
        );
    }
    let output = casulo(root.path(), &["exec", "web", "id"]);
    assert!(
        stderr(&output).contains("container not running"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_stopped_container_answers_state_and_not_kill() {
    let root = directory();
    std::fs::create_dir_all(root.path().join("state/web")).expect("a container's directory");
    // Pid 1 exists, but did not start at clock tick 1 with this record.
    let facts = r#"{"id":"web","oci_version":"1.2.0","init_process_pid":1,"init_process_start":99999999999,"bundle":"/b"}"#;
    std::fs::write(root.path().join("state/web/state.json"), facts).expect("facts");
    let output = casulo(root.path(), &["state", "web"]);
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&state["status"], &state["pid"]),
        (&"stopped".into(), &0.into())
    );
    for key in [
        "ociVersion",
        "id",
        "bundle",
        "rootfs",
        "created",
        "annotations",
        "owner",
    ] {
        assert!(!state[key].is_null(), "{key}");
    }
    assert!(state.get("systemd-scope").is_none(), "it is in no scope");
    for signal in ["TERM", "SIGKILL", "9"] {
        let output = casulo(root.path(), &["kill", "web", signal]);
        assert!(
            stderr(&output).contains("container not running"),
            "{}",
            stderr(&output)
        );
        assert_eq!(output.status.code(), Some(1));
    }
    assert_eq!(
        casulo(root.path(), &["kill", "--all", "web", "9"])
            .status
            .code(),
        Some(0)
    );
    assert_eq!(
        casulo(root.path(), &["delete", "web"]).status.code(),
        Some(0)
    );
    assert!(stderr(&casulo(root.path(), &["state", "web"])).contains("does not exist"));
}

#[test]
fn a_line_of_text_says_whose_it_is_and_how_bad() {
    let root = directory();
    for args in [
        &["state", "web"][..],
        &["state", "--no-such-option", "web"],
        &["--root", "/", "list"],
        &["levitate"],
        &["--log", "/nonexistent/log", "list"],
        &[],
    ] {
        let output = casulo(root.path(), args);
        let said = stderr(&output);
        assert!(said.starts_with("casulo: error: "), "{args:?}: {said}");
        assert!(!said.contains("error: error: "), "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn an_unnamed_root_may_be_missing_and_a_named_one_not() {
    let root = directory();
    let list = |with: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_casulo"));
        command.args(with).arg("list").env_clear();
        command.env("XDG_RUNTIME_DIR", root.path());
        command.output().expect("casulo can be executed")
    };
    let unnamed = list(&[]);
    assert_eq!(unnamed.status.code(), Some(0), "{unnamed:?}");
    assert!(stdout(&unnamed).starts_with("ID "), "{unnamed:?}");
    let missing = root.path().join("missing").display().to_string();
    let named = list(&["--root", &missing]);
    assert_eq!(
        (named.status.code(), stdout(&named).as_str()),
        (Some(1), "")
    );
    assert!(stderr(&named).contains(&missing), "{named:?}");
}
