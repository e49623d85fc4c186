//! Init in a scope of systemd's.

use super::undo::Rollback;
use crate::cgroups::systemd;
use crate::error::Result;
use crate::namespaces::{self, Bridged, Joins, Kind, Spawned};
use crate::plan::Plan;
use crate::procfs::ProcFs;
use crate::step::{self, Step};

/// Parent: makes a bridge, has systemd make the scope around it, makes the container's cgroup in
/// there, and lets the bridge make init in that. Returns twice.
///
/// # Errors
/// E_SYSTEMD, E_CGROUP, E_NAMESPACE: the step that failed.
pub(super) fn spawn(
    plan: &Plan,
    scope: &systemd::Plan,
    joins: &Joins,
    proc: &ProcFs,
    rollback: &mut Rollback<'_>,
) -> Result<Spawned> {
    step::begin(Step::Bridge)?;
    let bridge = match namespaces::bridge(&plan.namespaces, joins, None)? {
        Bridged::Init => return Ok(Spawned::Init),
        Bridged::Parent(bridge) => bridge,
    };
    step::begin(Step::Scope)?;
    let holder = rollback.dir()?.holder()?;
    let started = systemd::start(scope, bridge.pid(), &holder)?;
    let started = rollback.scope.insert(started);
    step::begin(Step::FillScope)?;
    let holder = Some(&holder);
    let filled = systemd::fill(&plan.cgroup, scope, started, bridge.pid(), proc, holder)?;
    // As in a cgroup without systemd: from a foreign cgroup namespace init could not be put there, and where a pid
    // namespace is joined the bridge is the entrant.
    let init = if joins.joins(Kind::Cgroup) || joins.joins(Kind::Pid) {
        filled.cgroup.add(bridge.pid())?;
        bridge.make_init(&plan.namespaces, joins, None)
    } else {
        bridge.make_init(&plan.namespaces, joins, filled.cgroup.fd())
    };
    rollback.cgroup = Some(filled.without_bridge());
    init.map(Spawned::Parent)
}
