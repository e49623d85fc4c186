//! The runtimes that are compared.

use anyhow::{Context, Error, Result, anyhow};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// Where Debian's packages have them, here and in the test host.
const CRUN: &str = "/usr/bin/crun";
const RUNC: &str = "/usr/sbin/runc";

/// A runtime's command, under the name that the report gives it.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// What it needs to run here at all; see `ignore-memlock.c`.
    pub(crate) preload: Option<PathBuf>,
}

impl FromStr for Runtime {
    type Err = Error;

    /// `NAME=PATH`
    fn from_str(text: &str) -> Result<Runtime> {
        let (name, path) = text.split_once('=').context("expected NAME=PATH")?;
        let path = std::path::absolute(path)?;
        let runtime = Runtime {
            name: name.to_owned(),
            path,
            preload: None,
        };
        match runtime.path.metadata() {
            Ok(_) => Ok(runtime),
            // In one piece: clap prints the outermost of a chain alone.
            Err(error) => Err(anyhow!("{}: {error}", runtime.path.display())),
        }
    }
}

impl Runtime {
    /// Our own binary, and those of Debian's packages that are installed.
    pub(crate) fn defaults() -> Vec<Runtime> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("bin/casulo");
        [
            ("casulo", own.as_path()),
            ("crun", Path::new(CRUN)),
            ("runc", Path::new(RUNC)),
        ]
        .into_iter()
        .filter_map(|(name, path)| format!("{name}={}", path.display()).parse().ok())
        .collect()
    }

    /// True for one that the test host has, too.
    pub(crate) fn is_packaged(&self) -> bool {
        [CRUN, RUNC].map(Path::new).contains(&self.path.as_path())
    }

    /// The runtime, to be given arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(library) = &self.preload {
            command.env("LD_PRELOAD", library);
        }
        command
    }

    /// The first line of `--version`.
    pub(crate) fn version(&self) -> String {
        // Anything may be given as a runtime, also what waits for ever.
        let output = Command::new("timeout")
            .args(["--signal=KILL", "10"])
            .arg(&self.path)
            .arg("--version")
            .output();
        let text = output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&output.stdout).into_owned(),
        );
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// Gives crun what it needs where CAP_SYS_RESOURCE is missing; `dir` is where that is built.
pub(crate) fn equip(runtimes: &mut [Runtime], dir: &Path) {
    const CAP_SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|it| it.strip_prefix("CapEff:\t"));
    if effective
        .and_then(|set| u64::from_str_radix(set, 16).ok())
        .is_some_and(|set| set & CAP_SYS_RESOURCE != 0)
    {
        return;
    }
    let library = dir.join("ignore-memlock.so");
    let built = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&library)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/ignore-memlock.c"))
        .status();
    if built.is_ok_and(|status| status.success()) {
        for runtime in runtimes.iter_mut().filter(|it| it.name == "crun") {
            runtime.preload = Some(library.clone());
        }
    }
}
