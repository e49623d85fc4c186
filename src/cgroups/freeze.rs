//! Freezing and thawing (`cgroup.freeze`): `pause` and `resume`. Any casulo process on the host.
//!
//! The write only asks: each process freezes when it next returns to user mode, and
//! `cgroup.events` says when all have (cgroup-v2.rst, "cgroup.freeze"). What has frozen may still
//! be killed.

use super::fs::Cgroup;
use crate::error::{Code, Context, Error, Result};
use crate::step::{self, Step};
use std::path::Path;
use std::time::{Duration, Instant};

impl Cgroup {
    /// Freezes all processes in it and below; true once they are frozen. False if some are not at
    /// `end`: the caller then thaws it again.
    ///
    /// # Errors
    /// `E_CGROUP`
    pub(crate) fn freeze(&self, end: Instant) -> Result<bool> {
        let written = self.write("cgroup.freeze", "1");
        written.context(Code::Cgroup, "freeze", self.path.display())?;
        step::begin(Step::Frozen)?;
        Ok(self.wait_for_event("frozen", 1, end))
    }

    /// Lets the processes run again.
    ///
    /// # Errors
    /// `E_CGROUP`
    pub(crate) fn thaw(&self) -> Result<()> {
        let written = self.write("cgroup.freeze", "0");
        written.context(Code::Cgroup, "thaw", self.path.display())?;
        // The kernel waits for nobody here; only a cgroup above can keep it frozen.
        if self.wait_for_event("frozen", 0, Instant::now() + Duration::from_secs(1)) {
            return Ok(());
        }
        Err(Error {
            step: "thaw".to_owned(),
            object: self.path.display().to_string(),
            ..Error::new(Code::Cgroup, "a cgroup above it is frozen")
        })
    }

    /// Refuses a cgroup in which no process would run: one that is asked to freeze, itself or by one above it, below
    /// `mount`.
    ///
    /// # Errors
    /// `E_CGROUP` naming the one that is.
    pub(super) fn check_thawed(&self, mount: &Path) -> Result<()> {
        let directories = self.path.ancestors();
        for directory in directories.take_while(|it| *it != mount && it.starts_with(mount)) {
            if Cgroup::open(directory)?.is_freezing() {
                return Err(Error {
                    step: "use cgroup".to_owned(),
                    object: directory.display().to_string(),
                    ..Error::new(Code::Cgroup, "container's cgroup unexpectedly frozen")
                }
                .hint("thaw it (cgroup.freeze), or give the container a cgroupsPath of its own"));
            }
        }
        Ok(())
    }

    /// True if it was asked to freeze, whether or not all processes have.
    pub(crate) fn is_freezing(&self) -> bool {
        self.read("cgroup.freeze").is_ok_and(|it| it.trim() == "1")
    }
}

#[cfg(test)]
mod tests;
