//! Makes the cgroup that was planned: its directory, controllers, limits and owner.
//! Parent, with the caller's privileges, before the container has a process.
//!
//! It is on the way of every `run`, so it asks the kernel for little that the kernel would say
//! anyway: whether the new cgroup has all controllers, since figures and cgroups of its own are wanted without a limit
//! too; all else about controllers only when a limit's file is missing.

use super::controllers;
use super::directories::{Directories, make_directories, remove_empty};
use super::fs::{Cgroup, Origin, read, value_of};
use super::hold::Holder;
use super::limits::{Absent, Setting};
use super::{Need, Plan, refusal};
use crate::error::{Code, Context, Error, Result};
use crate::step::{self, Step};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Uid, faccessat, fchownat};
use std::path::Path;

impl Cgroup {
    /// Parent: makes the directory (and its parents), enables controllers, writes limits, hands it to its
    /// owner. None where the plan makes no cgroup, and where an optional one cannot be made. The device
    /// rules come later: [`Cgroup::attach_devices`].
    ///
    /// A directory that exists is taken over if it has no processes, is not frozen and is not held by another
    /// record ([`super::hold`]); device
    /// programs that are attached to it stay and restrict too. After an error nothing that was
    /// made here is left. The directory's mode is 01755: the sticky bit says that casulo made it.
    ///
    /// # Errors
    /// `E_CGROUP` naming the file, the value and the controller that is missing.
    pub(crate) fn create(plan: &Plan, holder: Option<&Holder>) -> Result<Option<Cgroup>> {
        let Some(path) = &plan.path else {
            return Ok(None);
        };
        match make(plan, path, holder) {
            Err(error) if plan.need == Need::Optional => {
                log::debug!("no cgroup of its own: {error}");
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// Limits and owner.
    pub(super) fn set_up(&self, plan: &Plan) -> Result<()> {
        if plan.need == Need::Optional {
            self.check_delegation(plan)?;
        }
        controllers::enable_all(self, &plan.mount);
        step::begin(Step::Limits)?;
        self.write_all(&plan.settings, plan)?;
        step::begin(Step::CgroupOwner)?;
        match plan.owner {
            Some(uid) => self.give_to(uid),
            None => Ok(()),
        }
    }

    /// A directory that the caller can write is of no use if they may not move processes into it:
    /// that takes write permission on cgroup.procs of the nearest cgroup above both (cgroups(7),
    /// "Delegation containment"), which clone3 would only notice when it is too late to do without.
    fn check_delegation(&self, plan: &Plan) -> Result<()> {
        let above = self.path.parent().unwrap_or(&plan.mount);
        let procs = above.join("cgroup.procs");
        faccessat(AT_FDCWD, &procs, AccessFlags::W_OK, AtFlags::AT_EACCESS).context(
            Code::Cgroup,
            "write",
            procs.display(),
        )
    }

    /// Writes these limits.
    pub(super) fn write_all(&self, settings: &[Setting], plan: &Plan) -> Result<()> {
        let mut may_enable = true;
        settings
            .iter()
            .try_for_each(|setting| self.apply(setting, plan, &mut may_enable))
    }

    /// Writes one limit; where its file is missing, enables the controllers first, once.
    pub(super) fn apply(
        &self,
        setting: &Setting,
        plan: &Plan,
        may_enable: &mut bool,
    ) -> Result<()> {
        let mut result = self.set(setting);
        let is_needed = setting.absent != Absent::Skip;
        if result == Err(Errno::ENOENT) && is_needed && std::mem::take(may_enable) {
            let above = self.path.parent().unwrap_or(&plan.mount);
            controllers::enable(above, plan)?;
            result = self.set(setting);
        }
        match (result, &setting.absent) {
            (Err(Errno::ENOENT), Absent::Skip) => Ok(()),
            (result, _) => result.map_err(|errno| refusal::explain(setting, self, errno)),
        }
    }

    /// Writes one limit into its file, or into the one that does instead.
    fn set(&self, setting: &Setting) -> nix::Result<()> {
        match (self.write(&setting.file, &setting.value), &setting.absent) {
            (Err(Errno::ENOENT), Absent::Instead { file, value }) => self.write(file, value),
            (result, _) => result,
        }
    }

    /// Spec, "Cgroup ownership": the directory and the files that /sys/kernel/cgroup/delegate lists;
    /// the others hold limits that the container must not lift.
    pub(super) fn give_to(&self, uid: u32) -> Result<()> {
        let listed = read(AT_FDCWD, Path::new("/sys/kernel/cgroup/delegate"));
        let files = match &listed {
            Ok(text) => text.lines().collect(),
            Err(_) => vec!["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"],
        };
        for file in [""].into_iter().chain(files) {
            let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW;
            match fchownat(&self.directory, file, Some(Uid::from_raw(uid)), None, flags) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    let object = self.path.join(file).display().to_string();
                    let step = format!("give to uid {uid}");
                    return Err(Error::step(Code::Cgroup, step, object, errno));
                }
            }
        }
        Ok(())
    }

    /// Refuses a cgroup that somebody uses (spec, "Control groups": a container in it would be
    /// limited, frozen and killed together with them).
    fn check_unused(&self) -> Result<()> {
        let events = self.read("cgroup.events").context(
            Code::Cgroup,
            "read cgroup.events in",
            self.path.display(),
        )?;
        let why = if value_of(&events, "populated") == Some(1) {
            "container's cgroup is not empty: it has processes of somebody else"
        } else if value_of(&events, "frozen") == Some(1) {
            "container's cgroup unexpectedly frozen"
        } else {
            return Ok(());
        };
        Err(Error {
            step: "use cgroup".to_owned(),
            object: self.path.display().to_string(),
            ..Error::new(Code::Cgroup, why)
        }
        .hint("give the container a cgroupsPath of its own"))
    }
}

/// Makes the cgroup at `path` as [`Cgroup::create`] says.
pub(super) fn make(plan: &Plan, path: &Path, holder: Option<&Holder>) -> Result<Cgroup> {
    let Directories { mut made, existed } = make_directories(path, &plan.mount, holder)?;
    let origin = if existed { Origin::Found } else { Origin::Made };
    let taken = Cgroup::open(path).and_then(|cgroup| {
        if existed {
            cgroup.check_unused()?;
        }
        holder.map_or(Ok(()), |holder| cgroup.hold(holder, origin))?;
        Ok(cgroup)
    });
    let mut cgroup = match taken {
        Ok(cgroup) => Cgroup { origin, ..cgroup },
        Err(error) => {
            // The last one may be another container's by now.
            made.retain(|directory| directory != path);
            remove_empty(&made);
            return Err(error);
        }
    };
    match cgroup.set_up(plan) {
        Ok(()) => {
            made.retain(|directory| directory != path);
            cgroup.parents = made;
            Ok(cgroup)
        }
        Err(error) => {
            if existed {
                cgroup.release();
            }
            remove_empty(&made);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
