//! The scope's side of an update: its properties in one call, and its own files for what systemd does
//! not know. Any casulo process on the host that holds the container's lock.

use super::properties::Weights;
use super::{Scope, properties, unit};
use crate::cgroups::fs::Cgroup;
use crate::cgroups::limits::Setting;
use crate::cgroups::update::Changes;
use crate::error::Result;
use crate::step::{self, Step};
use std::path::Path;

/// A scope whose limits change.
#[derive(Debug)]
pub(crate) struct Update<'a> {
    scope: &'a Scope,
    directory: &'a Cgroup,
    files: Changes<'a>,
    told: bool,
}

/// The scope's directory, from that of the container's cgroup in it.
///
/// # Errors
/// `E_CGROUP`
pub(crate) fn directory(scope: &Scope, cgroup: &Path) -> Result<Cgroup> {
    let directory = cgroup.ancestors().find(|path| path.ends_with(&scope.unit));
    Cgroup::open(directory.unwrap_or(cgroup))
}

impl<'a> Update<'a> {
    /// Nothing yet.
    pub(crate) fn of(scope: &'a Scope, directory: &'a Cgroup) -> Update<'a> {
        Update {
            scope,
            directory,
            files: Changes::of(directory),
            told: false,
        }
    }

    /// Writes the files and tells systemd, which takes all properties or none. After an error the
    /// caller calls [`Update::restore`].
    ///
    /// # Errors
    /// `E_CGROUP`, `E_SYSTEMD`
    pub(crate) fn write(&mut self, settings: &[Setting], mount: &Path) -> Result<()> {
        let limits = properties::of(settings, Weights::of(self.directory));
        // A burst (a file) may not be above the quota (a property): which goes first depends on
        // whether they rise or fall.
        let early = self.files.write(&limits.files, mount);
        if !limits.properties.is_empty() {
            unit::set(self.scope, &limits.properties)?;
            self.told = true;
            step::begin(Step::ScopeUpdated)?;
        }
        early.or_else(|_too_early| self.files.write(&limits.files, mount))
    }

    /// Brings back the limits of before, which are those that the container's cgroup had.
    pub(crate) fn restore(self, old: &[Setting]) {
        if self.told
            && let limits = properties::of(old, Weights::of(self.directory))
            && let Err(failed) = unit::set(self.scope, &limits.properties)
        {
            log::warn!("undo: {failed}");
        }
        self.files.restore();
    }
}
