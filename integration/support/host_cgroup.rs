//! Cgroups that a test makes outside any container.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A cgroup that goes away with this value, with all that is in it.
pub(crate) struct HostCgroup(PathBuf);

impl HostCgroup {
    /// The cgroup at `path` below the mount.
    pub(crate) fn new(path: &str) -> HostCgroup {
        let path = Path::new("/sys/fs/cgroup").join(path);
        fs::create_dir_all(&path).unwrap();
        HostCgroup(path)
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A process in it.
    pub(crate) fn sleeper(&self) -> Sleeper {
        let sleeper = Sleeper(Command::new("sleep").arg("1000").spawn().unwrap());
        fs::write(self.0.join("cgroup.procs"), sleeper.0.id().to_string()).unwrap();
        sleeper
    }
}

impl Drop for HostCgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        super::lab::remove_cgroup(&self.0);
    }
}

/// A process that sleeps until this value goes away.
pub(crate) struct Sleeper(Child);

impl Sleeper {
    /// Its number.
    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// True unless somebody has killed it.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
