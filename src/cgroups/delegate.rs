//! `run.oci.delegate-cgroup`: a cgroup below the container's in which its processes are. Limits stay
//! on the upper one, which is also the root of the container's cgroup namespace; the lower one is
//! the payload's to manage. Parent, right after init was born in the upper one.

use super::controllers;
use super::directories::make_directories;
use super::fs::Cgroup;
use crate::error::Result;
use nix::unistd::Pid;
use std::path::Path;

impl Cgroup {
    /// Makes the cgroup `name` below this one, with all controllers that this one has, gives it to
    /// `owner` and moves init into it.
    ///
    /// # Errors
    /// `E_CGROUP`
    pub(crate) fn delegate(&self, name: &Path, init: Pid, owner: Option<u32>) -> Result<()> {
        let path = self.path.join(name);
        make_directories(&path, &self.path, None)?;
        let below = Cgroup::open(&path)?;
        if let Some(uid) = owner {
            below.give_to(uid)?;
        }
        below.add(init)?;
        // Only now: a cgroup with a process gives no controllers to those below it. One that
        // cannot be had is missing below, as it is to the container anyway.
        let _ = controllers::give(&self.path, &controllers::controllers_of(&self.path));
        Ok(())
    }
}
