//! What is asked in the test host: a virtual machine that nothing depends on, that has every controller,
//! and in which systemd is process 1.

use crate::runtimes::Runtime;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs in the machine: this program.
const SCRIPT: &str = "#!/bin/sh\nexec ./bench \"$@\" >$OUT/answer.json\n";

/// What this program prints there as JSON when it is given these words and the runtimes, or why it cannot.
/// The files are in its working directory. A runtime of a package is there as the machine's own; any other is
/// copied, and so must not need libraries that the machine lacks.
pub(crate) fn ask<T: DeserializeOwned>(
    runtimes: &[Runtime],
    files: &[&Path],
    words: &[&str],
) -> Result<T> {
    if std::env::var_os("CASULO_NO_TESTHOST").is_some() {
        bail!("CASULO_NO_TESTHOST is set");
    }
    if std::env::consts::ARCH != "x86_64" {
        bail!("the test host is for x86_64");
    }
    let dir = tempfile::tempdir()?;
    let answer = run(dir.path(), runtimes, files, words)?;
    serde_json::from_slice(&answer).context("its answer")
}

fn run(dir: &Path, runtimes: &[Runtime], files: &[&Path], words: &[&str]) -> Result<Vec<u8>> {
    let job = dir.join("files");
    let results = dir.join("results");
    fs::create_dir(&job)?;
    fs::copy("/proc/self/exe", job.join("bench"))?;
    let mut told = Vec::new();
    for runtime in runtimes {
        let (name, path) = (&runtime.name, &runtime.path);
        if runtime.is_packaged() {
            told.push(format!("--runtime={name}={}", path.display()));
        } else {
            fs::copy(path, job.join(name))?;
            told.push(format!("--runtime={name}=./{name}"));
        }
    }
    for file in files {
        fs::copy(file, job.join(file.file_name().unwrap_or_default()))?;
    }
    let script = dir.join("script");
    fs::write(&script, SCRIPT)?;

    succeeds(Command::new(tool("build")))?;
    let mut machine = Command::new(tool("run"));
    machine.args(["-t", "1200", "-d"]).arg(&job);
    machine
        .arg("-o")
        .arg(&results)
        .arg(&script)
        .args(words)
        .args(told);
    succeeds(machine)?;
    Ok(fs::read(results.join("answer.json"))?)
}

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("integration/testhost")
        .join(name)
}

fn succeeds(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let why: Vec<&str> = why.lines().rev().take(3).collect();
    bail!(
        "{}: {}: {}",
        command.get_program().display(),
        output.status,
        why.into_iter().rev().collect::<Vec<_>>().join(" / ")
    )
}
