//! The words in errors that callers look for, in the case in which they look (rule 13).

use super::{Caller, process_file, text};
use crate::support::{Bundle, Lab, Output, cases};
use serde_json::json;
use std::fs;

cases! {
    [Root] => missing_program_in_path, missing_program_by_path, program_without_permission, mount_of_a_file_onto_a_directory,
        verbs_of_nobody, kill_of_an_ended_container, exec_of_the_same_programs;
    // runc 1.1 says "permission denied" of it, which is 126 as well.
    [Root, Casulo] => program_that_is_a_directory;
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
