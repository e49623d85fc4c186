//! Changes the limits and device rules of a cgroup that is in use. Any casulo process on the host
//! that holds the container's lock; the container may be running.
//!
//! [`plan`] decides (pure). [`Changes`] then writes the files, keeps what they said before, and
//! brings it back when a later step fails: a refused update changes nothing.

mod undo;

use super::devices::{self, Policy};
use super::fs::Cgroup;
use super::limits::{self, Absent, Current, Setting};
use super::{Plan as CgroupPlan, controllers, may_load_devices};
use crate::error::{Code, Error, Problems, Result};
use crate::host::Host;
use crate::step::{self, Step};
use nix::errno::Errno;
use oci_spec::runtime::LinuxResources;
use std::path::Path;

/// What will be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The limits, in the order of writing.
    pub settings: Vec<Setting>,
    /// The new device rules; None leaves those that hold.
    pub devices: Option<Policy>,
    /// A memory limit that is refused while more is in use.
    pub check: Option<u64>,
}

/// Decides. Pure. Without the key `devices` the rules stay; an empty list is what it is at create:
/// the default devices and nothing else.
pub(crate) fn plan(
    resources: &LinuxResources,
    current: &Current,
    host: &Host,
    problems: &mut Problems,
) -> Plan {
    let rules = resources.devices().as_deref();
    let devices = rules.map(|rules| devices::plan(rules, problems));
    Plan {
        settings: limits::plan(resources, current, problems),
        devices: devices.filter(|_| may_load_devices(host)),
        check: limits::limit_to_check(resources),
    }
}

impl Plan {
    /// True if there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.devices.is_none()
    }
}

impl Cgroup {
    /// What [`plan`] must know of the cgroup as it is.
    pub(crate) fn current(&self) -> Current {
        Current {
            cpu_max: self.read("cpu.max").ok(),
            memory_max: self.read("memory.max").ok(),
        }
    }

    /// Refuses a memory limit below what is in use (spec, `checkBeforeUpdate`). A use that cannot
    /// be read refuses nothing: without the controller the limit itself will fail.
    ///
    /// # Errors
    /// `E_CGROUP` naming both numbers.
    pub(crate) fn check_use(&self, limit: u64) -> Result<()> {
        let used = self.read("memory.current").ok();
        let used = used.and_then(|text| text.trim().parse::<u64>().ok());
        match used {
            Some(used) if limit < used => Err(Error {
                step: format!("set memory.max to {limit} in"),
                object: self.path.display().to_string(),
                ..Error::new(
                    Code::Cgroup,
                    format!(
                        "checkBeforeUpdate: rejecting memory limit {limit}: {used} bytes are in use"
                    ),
                )
            }),
            _ => Ok(()),
        }
    }
}

/// The files that were changed, in order, and what they said before.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    cgroup: &'a Cgroup,
    done: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    file: String,
    written: String,
    old: String,
}

impl<'a> Changes<'a> {
    /// Nothing yet.
    pub(crate) fn of(cgroup: &'a Cgroup) -> Changes<'a> {
        Changes {
            cgroup,
            done: Vec::new(),
        }
    }

    /// Writes the settings; controllers that are missing for them are enabled first, in the
    /// cgroups below `mount`. After an error the caller calls [`Changes::restore`].
    ///
    /// # Errors
    /// `E_CGROUP` naming the file and the value that was refused.
    pub(crate) fn write(&mut self, settings: &[Setting], mount: &Path) -> Result<()> {
        let plan = CgroupPlan {
            path: Some(self.cgroup.path.clone()),
            mount: mount.to_owned(),
            settings: settings.to_vec(),
            ..CgroupPlan::default()
        };
        // Enabled here and not by `apply`: the old text of a file can be read only once it exists.
        let is_missing = |file: &str| self.cgroup.read(file) == Err(Errno::ENOENT);
        let needs_more = |it: &Setting| match &it.absent {
            Absent::Fail => is_missing(&it.file),
            Absent::Instead { file, .. } => is_missing(&it.file) && is_missing(file),
            Absent::Skip => false,
        };
        if settings.iter().any(needs_more) {
            let above = self.cgroup.path.parent().unwrap_or(mount);
            controllers::enable(above, &plan)?;
        }
        settings
            .iter()
            .try_for_each(|setting| self.change(setting, &plan))
    }

    fn change(&mut self, setting: &Setting, plan: &CgroupPlan) -> Result<()> {
        step::begin(Step::UpdateLimit)?;
        let instead = match &setting.absent {
            Absent::Instead { file, value } => Some((file, value)),
            Absent::Fail | Absent::Skip => None,
        };
        // Noted before it is written, the file that may be written instead too: restoring what
        // did not change does nothing.
        for (file, value) in [(&setting.file, &setting.value)].into_iter().chain(instead) {
            if undo::is_a_command(file) {
                continue;
            }
            if let Ok(old) = self.cgroup.read(file) {
                self.done.push(Change {
                    file: file.clone(),
                    written: value.clone(),
                    old,
                });
            }
        }
        let mut may_enable = false;
        self.cgroup.apply(setting, plan, &mut may_enable)
    }

    /// What would bring back the values of before.
    pub(crate) fn old(&self) -> Vec<Setting> {
        let old = |it: &Change| Setting {
            file: it.file.clone(),
            value: undo::undo(&it.file, &it.written, &it.old),
            absent: Absent::Fail,
        };
        self.done.iter().rev().map(old).collect()
    }

    /// Brings back the values of before, the last change first. What the kernel does not take
    /// back is logged: the error that led here is the one to report.
    pub(crate) fn restore(self) {
        for Change { file, written, old } in self.done.iter().rev() {
            if self.cgroup.read(file).as_ref() == Ok(old) {
                continue;
            }
            let value = undo::undo(file, written, old);
            if let Err(errno) = self.cgroup.write(file, &value)
                // With the cgroup its files have gone.
                && !matches!(errno, Errno::ENOENT | Errno::ENODEV)
            {
                let path = self.cgroup.path.display();
                let value = value.trim_end();
                log::warn!("undo: set {file} to {value:?} again in {path}: {errno}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
