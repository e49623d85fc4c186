//! The dangerous rows, asked in the test host: a virtual machine that nothing depends on and that has
//! every controller.

use super::matrix::Matrix;
use super::probes::Probe;
use crate::runtimes::Runtime;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs in the machine: this program with casulo beside it, and the image's own crun and runc.
const SCRIPT: &str = "#!/bin/sh\nexec ./bench cells \"$@\" >$OUT/cells.json\n";

/// The cells of these rows, or why there are none.
pub(crate) fn matrix(
    runtimes: &[Runtime],
    probes: &[&Probe],
    quick: bool,
) -> Result<Matrix, String> {
    let casulo = runtimes
        .iter()
        .find(|runtime| runtime.name == "casulo")
        .ok_or("casulo is not among the runtimes")?;
    if std::env::var_os("CASULO_NO_TESTHOST").is_some() {
        return Err("CASULO_NO_TESTHOST is set".into());
    }
    if std::env::consts::ARCH != "x86_64" {
        return Err("the test host is for x86_64".into());
    }
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut words: Vec<&str> = probes.iter().map(|probe| probe.name).collect();
    if quick {
        words.push("--quick");
    }
    run(dir.path(), &casulo.path, &words).map_err(|error| error.to_string())
}

fn run(dir: &Path, casulo: &Path, words: &[&str]) -> io::Result<Matrix> {
    let files = dir.join("files");
    let results = dir.join("results");
    fs::create_dir(&files)?;
    fs::copy("/proc/self/exe", files.join("bench"))?;
    fs::copy(casulo, files.join("casulo"))?;
    let script = dir.join("script");
    fs::write(&script, SCRIPT)?;

    succeeds(Command::new(tool("build")))?;
    let mut machine = Command::new(tool("run"));
    machine.args(["-t", "1200", "-d"]).arg(&files);
    machine.arg("-o").arg(&results).arg(&script).args(words);
    succeeds(machine)?;
    let text = fs::read(results.join("cells.json"))?;
    Ok(serde_json::from_slice(&text)?)
}

fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("integration/testhost")
        .join(name)
}

fn succeeds(mut command: Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let why: Vec<&str> = why.lines().rev().take(3).collect();
    Err(io::Error::other(format!(
        "{}: {}: {}",
        command.get_program().display(),
        output.status,
        why.into_iter().rev().collect::<Vec<_>>().join(" / ")
    )))
}
