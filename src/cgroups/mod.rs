//! Control groups. (stub)

use crate::error::{Problems, Result};
use crate::host::Host;
use crate::namespaces;
use crate::plan::Options;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// (stub)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Absolute host path of the cgroup's folder; None when no cgroup is made.
    pub path: Option<PathBuf>,
}

/// Decides the cgroup. Pure.
pub fn plan(
    _spec: &Spec,
    _ns: &namespaces::Plan,
    _options: &Options,
    _host: &Host,
    _problems: &mut Problems,
) -> Plan {
    Plan::default()
}

/// A cgroup of a container, by directory fd and path.
#[derive(Debug)]
pub struct Cgroup;

impl Cgroup {
    /// Parent: makes the folder (and its parents), enables controllers, writes limits, attaches device rules.
    /// # Errors
    /// E_CGROUP
    pub fn create(_plan: &Plan) -> Result<Option<Cgroup>> {
        Ok(None)
    }
    /// Opens an existing one by absolute host path (exec, kill, delete).
    /// # Errors
    /// E_CGROUP
    pub fn open(_path: &Path) -> Result<Cgroup> {
        Ok(Cgroup)
    }
    /// For CLONE_INTO_CGROUP.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Pids in it and below.
    /// # Errors
    /// E_CGROUP
    pub fn pids(&self) -> Result<Vec<Pid>> {
        Ok(vec![])
    }
    /// cgroup.kill, or by signals where missing.
    /// # Errors
    /// E_CGROUP
    pub fn kill(&self) -> Result<()> {
        Ok(())
    }
    /// Sends a signal to all.
    /// # Errors
    /// E_CGROUP
    pub fn signal(&self, _signal: i32) -> Result<()> {
        Ok(())
    }
    /// Removes the whole subtree, waiting for it to become empty.
    /// # Errors
    /// E_CGROUP
    pub fn remove(&self) -> Result<()> {
        Ok(())
    }
    /// cgroup.events frozen 1
    pub fn is_frozen(&self) -> bool {
        false
    }
    /// memory.events oom_kill > 0
    pub fn was_oom_killed(&self) -> bool {
        false
    }
}
