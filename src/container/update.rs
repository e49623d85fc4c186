//! `update`: other limits, device rules and RDT schemata for a container that is there already.
//!
//! All is decided and compared before the first write. Then it goes step by step, and a step that
//! fails undoes those before it, so that a refused update leaves the container as it was.

use super::created::oom_report;
use crate::cgroups::update::{self, Changes, Plan};
use crate::cgroups::{Cgroup, systemd};
use crate::error::{Code, Error, Problems, Result};
use crate::host::Host;
use crate::options::Options;
use crate::state::{Dir, Seen, State, Status};
use crate::step::{self, Step};
use crate::{config, intel_rdt};
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};
use std::path::Path;

/// What `update` asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update<'a> {
    /// The resources that change; what is unset stays.
    pub resources: &'a LinuxResources,
    /// The schemata that change.
    pub rdt: &'a LinuxIntelRdt,
    /// What errors call the place where both stand.
    pub file: &'a str,
    /// Facts about the host.
    pub host: &'a Host,
}

/// Changes a created, running or paused container.
///
/// # Errors
/// `E_STATUS` with the words `container not running` for one that has stopped, and where the
/// cgroup is the caller's; `E_CONFIG` for values that cannot be had; the step that failed, after
/// which the old values hold.
pub(crate) fn update(dir: &Dir, request: &Update<'_>) -> Result<()> {
    let lock = dir.lock("update")?;
    let Seen { state, status, .. } = dir.look_locked(&lock)?;
    match status {
        Status::Created | Status::Running | Status::Paused => {}
        status => {
            let (id, status) = (&dir.id, status.as_str());
            let text =
                format!("cannot update container {id}: container not running: it is {status}");
            return Err(Error::new(Code::Status, text));
        }
    }
    let cgroup = state.open_cgroup()?;
    let current = cgroup.as_ref().map(Cgroup::current).unwrap_or_default();
    let mut problems = Problems::default();
    let plan = update::plan(request.resources, &current, request.host, &mut problems);
    let rdt = plan_rdt(dir, &state, request.rdt, &mut problems)?;
    problems.into_result(request.file)?;

    let Some(cgroup) = cgroup else {
        if !plan.is_empty() {
            let text = format!(
                "cannot update container {}: its cgroup is the caller's",
                dir.id
            );
            return Err(Error::new(Code::Status, text));
        }
        return write_rdt(rdt.as_ref()).map(drop);
    };
    if let Some(limit) = plan.check {
        cgroup.check_use(limit)?;
    }
    let mount = request.host.cgroup.as_ref();
    let mount = mount.map_or(Path::new("/sys/fs/cgroup"), |it| &it.path);
    let directory = match &state.systemd_scope {
        Some(scope) => Some((scope, systemd::update::directory(scope, cgroup.path())?)),
        None => None,
    };
    let mut done = Done {
        changes: Changes::of(&cgroup),
        scope: directory
            .as_ref()
            .map(|(scope, directory)| systemd::update::Update::of(scope, directory)),
        schemata: None,
    };
    let limits_memory = request.resources.memory().is_some();
    let before = limits_memory.then(|| cgroup.memory_events());
    let result = carry_out(&cgroup, &plan, mount, rdt.as_ref(), &mut done);
    match (&result, before) {
        (Err(_), _) => done.restore(),
        // The kernel has done it before the write of the limit came back.
        (Ok(()), Some(before)) => {
            let new = cgroup.memory_events().since(&before);
            if let Some(text) = oom_report(&dir.id, &new) {
                log::warn!("{text}, which the update has set; --check-before-update refuses that");
            }
        }
        (Ok(()), None) => {}
    }
    result
}

/// What was changed so far, in this order.
struct Done<'a> {
    changes: Changes<'a>,
    scope: Option<systemd::update::Update<'a>>,
    schemata: Option<intel_rdt::update::Undo>,
}

impl Done<'_> {
    /// Brings all back, in reverse.
    fn restore(self) {
        if let Some(schemata) = self.schemata {
            schemata.restore();
        }
        if let Some(scope) = self.scope {
            scope.restore(&self.changes.old());
        }
        self.changes.restore();
    }
}

/// Every step notes in `done` how it is undone.
fn carry_out(
    cgroup: &Cgroup,
    plan: &Plan,
    mount: &Path,
    rdt: Option<&intel_rdt::update::Plan>,
    done: &mut Done<'_>,
) -> Result<()> {
    done.changes.write(&plan.settings, mount)?;
    step::begin(Step::UpdateScope)?;
    if let Some(scope) = &mut done.scope {
        scope.write(&plan.settings, mount)?;
    }
    step::begin(Step::UpdateSchemata)?;
    done.schemata = write_rdt(rdt)?;
    step::begin(Step::UpdateDevices)?;
    // Last, because it is done at once or not at all.
    match &plan.devices {
        Some(policy) => cgroup.replace_devices(policy),
        None => Ok(()),
    }
}

/// The config is only read again where there is something to compare it with.
fn plan_rdt(
    dir: &Dir,
    state: &State,
    wanted: &LinuxIntelRdt,
    problems: &mut Problems,
) -> Result<Option<intel_rdt::update::Plan>> {
    if *wanted == LinuxIntelRdt::default() {
        return Ok(None);
    }
    let container = planned_rdt(dir, state)?;
    Ok(intel_rdt::update::plan(
        wanted,
        container.as_ref(),
        problems,
    ))
}

/// What was decided about RDT when the container was made, by its config. None without `linux.intelRdt`.
///
/// # Errors
/// `E_STATE`, `E_CONFIG`.
pub(super) fn planned_rdt(dir: &Dir, state: &State) -> Result<Option<intel_rdt::Plan>> {
    let (file, bytes) = dir.read_config()?;
    let spec = config::parse(&bytes, &file)?;
    let options = Options::new(state.id.parse()?, state.bundle.clone());
    // What is wrong with the config was said then.
    Ok(intel_rdt::plan(&spec, &options, &mut Problems::default()))
}

fn write_rdt(plan: Option<&intel_rdt::update::Plan>) -> Result<Option<intel_rdt::update::Undo>> {
    plan.map(|plan| plan.write(intel_rdt::mount_of_host()?))
        .transpose()
}
