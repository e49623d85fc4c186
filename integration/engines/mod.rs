//! Real engines, with the runtime under test as their only one: what their users do every day.
//!
//! A smoke test of each belongs to every run, and so does Podman of an ordinary user; all the others are only run where
//! `CASULO_TEST_ENGINES` is set (`make engines`), since each is a second here and twenty in an
//! emulated machine. Each command is printed with its exit code.

mod alike;
mod container;
pub(crate) mod containerd;
mod cri;
mod cri_client;
mod daemon;
mod docker;
pub(crate) mod image;
mod lines;
pub(crate) mod podman;
mod rootless;

pub(crate) use daemon::end_all;

use crate::support::{Case, Output, finish};
use std::process::Command;

/// The files of tests, with all their cases or the smoke tests alone.
pub(crate) fn files() -> Vec<(&'static str, &'static [Case])> {
    let mut files = vec![
        ("podman", podman::SMOKE),
        ("containerd", containerd::SMOKE),
        ("cri", cri::SMOKE),
        ("docker", docker::SMOKE),
        ("rootless_podman", rootless::ALL),
    ];
    if std::env::var_os("CASULO_TEST_ENGINES").is_some() {
        files.extend([
            ("podman", podman::CASES),
            ("containerd", containerd::CASES),
            ("cri", cri::CASES),
            ("docker", docker::CASES),
        ]);
    }
    files
}

/// Runs a command to its end and prints what it was and how it ended.
#[track_caller]
pub(crate) fn say_and_run(command: Command, stdin: &[u8]) -> Output {
    let args: Vec<String> = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let program = command.get_program().to_string_lossy().into_owned();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let output = finish(command, stdin);
    // Where its store is is the same for all calls.
    let said: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .skip_while(|arg| {
            arg.starts_with("--")
                || arg.contains('/')
                || ["vfs", "casulo-test", "k8s.io"].contains(arg)
        })
        .collect();
    println!("  {program} {} = {}", said.join(" "), output.code);
    output
}
