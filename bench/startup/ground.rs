//! What all starts share: the floor, what is in the root file systems, the config that is varied, and
//! the filter of Docker's profile. It is all on a tmpfs.

use super::step::Steps;
use crate::containers::PROFILE;
use crate::place::{PROGRAM, Place};
use crate::runtimes::Runtime;
use anyhow::{Context, Result, anyhow, ensure};
use casulo::error::Problems;
use casulo::seccomp;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of a container that ends at once: the floor, which does so under this name.
pub(crate) const ENDS: &[&str] = &["/bin/true"];

/// That of a container that waits for its end: the benchmark.
pub(crate) const WAITS: &[&str] = &[PROGRAM, "idle"];

/// As many directories to mount on are in the root.
pub(crate) const MOST_MOUNTS: u32 = 100;

/// The containers must be gone before it is.
pub(crate) struct Ground<'a> {
    pub(crate) place: &'a Place,
    pub(crate) dir: PathBuf,
    pub(crate) steps: Steps,
    /// The program of the floor.
    pub(crate) floor: PathBuf,
    /// The config of a start.
    pub(crate) spec: Value,
    /// Docker's seccomp profile, and a file with the program that casulo made of it.
    pub(crate) profile: Value,
    pub(crate) filter: Result<PathBuf>,
    /// How many ids have been used.
    used: Cell<u32>,
    _tmpfs: Tmpfs,
}

/// A mount that goes with this value.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn on(dir: &Path) -> Result<Tmpfs> {
        fs::create_dir(dir)?;
        let none = None::<&str>;
        mount(Some("bench"), dir, Some("tmpfs"), MsFlags::empty(), none)?;
        Ok(Tmpfs(dir.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

/// Builds the floor. musl's headers lack the kernel's, so those of the system are searched after them.
pub(crate) fn build_floor(program: &Path) -> Result<()> {
    let machine = std::env::consts::ARCH;
    let output = Command::new("musl-gcc")
        .args(["-O2", "-static", "-idirafter", "/usr/include", "-idirafter"])
        .arg(format!("/usr/include/{machine}-linux-gnu"))
        .arg("-o")
        .arg(program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/floor.c"))
        .output()
        .context("musl-gcc")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "musl-gcc: {said}");
    Ok(())
}

impl<'a> Ground<'a> {
    /// `floor` is its program; the config is what the first of the runtimes calls its default.
    pub(crate) fn prepare(
        place: &'a Place,
        floor: &Path,
        runtimes: &[Runtime],
    ) -> Result<Ground<'a>> {
        let dir = place.join("startup");
        let tmpfs = Tmpfs::on(&dir)?;
        for directory in ["bundles", "floor-state", "bound"] {
            fs::create_dir(dir.join(directory))?;
        }
        for root in [place.root(), place.mapped_root()] {
            fs::copy(floor, root.join("bin/true"))?;
        }
        for number in 0..MOST_MOUNTS {
            fs::create_dir_all(place.root().join(format!("b/{number}")))?;
        }
        fs::copy(floor, dir.join("floor"))?;
        let profile: Value = serde_json::from_str(PROFILE)?;
        let mut ground = Ground {
            place,
            steps: Steps::new(dir.join("errors"))?,
            floor: dir.join("floor"),
            spec: Value::Null,
            profile: profile["linux"]["seccomp"].clone(),
            filter: Err(anyhow!("casulo is not among the runtimes")),
            used: Cell::new(0),
            dir,
            _tmpfs: tmpfs,
        };
        let first = runtimes.first().context("there is no runtime")?;
        ground.spec = ground.default_spec(first)?;
        if runtimes.iter().any(|it| it.name == "casulo") {
            ground.filter = ground.compiled_filter().context("casulo's compiled filter");
        }
        Ok(ground)
    }

    /// `spec`, without a terminal, and with a root that can be written to.
    fn default_spec(&self, runtime: &Runtime) -> Result<Value> {
        let mut command = runtime.command();
        command.arg("spec").current_dir(&self.dir);
        self.steps.time(command)?;
        let file = self.dir.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(file)?)?;
        // Older runtimes refuse a later one.
        spec["ociVersion"] = json!("1.0.2");
        spec["process"]["terminal"] = json!(false);
        spec["root"]["readonly"] = json!(false);
        Ok(spec)
    }

    /// The program that casulo makes of the profile, as the kernel takes it.
    fn compiled_filter(&self) -> Result<PathBuf> {
        let spec = json!({"ociVersion": "1.0.2", "linux": {"seccomp": self.profile}});
        let spec: Spec = serde_json::from_value(spec)?;
        let filter = seccomp::plan(&spec, &mut Problems::default());
        let bpf = seccomp::compile(&filter.context("there is no profile")?)?;
        let path = self.dir.join("filter");
        fs::write(&path, bpf.to_bytes())?;
        Ok(path)
    }

    /// Where a runtime keeps its state.
    pub(crate) fn state_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!("state-{name}"))
    }

    /// An id that no container has had.
    pub(crate) fn next_id(&self) -> String {
        self.used.set(self.used.get() + 1);
        format!("start-{}-{}", std::process::id(), self.used.get())
    }
}
