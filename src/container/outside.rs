//! What only the parent may do for init, while that enters its namespaces: id maps, privileges of the host, device rules,
//! the trees that are mounted.

use super::documents;
use super::interruption::Interruption;
use super::undo::Rollback;
use super::{Ours, Request};
use crate::cgroups::Cgroup;
use crate::cgroups::devices::Rules;
use crate::error::{Code, Error, Result};
use crate::namespaces;
use crate::process::Role;
use crate::state::State;
use crate::step::{self, Step};
use crate::sync::{Channel, Message};
use crate::{intel_rdt, rootfs};
use nix::unistd::Pid;

/// All of it, in this order. Without the trees, which come last, init has nothing of the image.
///
/// # Errors
/// The step that failed; E_SIGNAL.
pub(super) fn work<'a>(
    request: &Request<'a>,
    rollback: &mut Rollback<'_>,
    ours: &'a Ours<'_>,
    state: &mut State,
) -> Result<rootfs::Sender<'a>> {
    let Ours {
        channel,
        proc,
        joins,
        ..
    } = ours;
    let plan = request.plan;
    let init = Pid::from_raw(state.init_process_pid);
    step::begin(Step::Maps)?;
    settle_cgroup(rollback, init, state)?;
    if joins.joins(namespaces::Kind::Pid) && plan.namespaces.waits_for_parent() {
        expect_unmapped(request, channel)?;
    }
    namespaces::write_maps(&plan.namespaces, init, request.host)?;
    rollback.net_devices = namespaces::move_devices(&plan.namespaces, joins, init)?;
    step::begin(Step::Grant)?;
    let role = if joins.joins(namespaces::Kind::Pid) {
        Role::Entrant
    } else {
        Role::Init
    };
    plan.process.grant(init, proc, role)?;
    if let Some(rdt) = &plan.intel_rdt {
        rdt.join(intel_rdt::mount_of_host()?, init)?;
    }
    if plan.needs_go() {
        step::begin(Step::Go)?;
        channel.send_go(&documents::for_hooks_inside(plan, state, init, proc)?)?;
    }
    if !plan.rules_wait_for_mounts() {
        attach_device_rules(rollback)?;
    }
    step::begin(Step::OpenSources)?;
    rootfs::Sender::begin(&plan.rootfs, init, proc, channel)
}

/// Where init's cgroup is says systemd, if that has made it; init may be in one below it.
fn settle_cgroup(rollback: &Rollback<'_>, init: Pid, state: &mut State) -> Result<()> {
    if rollback.scope.is_some() {
        state.set_cgroup(rollback.cgroup.as_ref().map(Cgroup::path));
        state.systemd_scope.clone_from(&rollback.scope);
    }
    let plan = &rollback.plan.cgroup;
    match (&rollback.cgroup, &plan.delegate) {
        (Some(cgroup), Some(name)) => cgroup.delegate(name, init, plan.owner),
        _ => Ok(()),
    }
}

/// From now on the rules hold for all in the container's cgroup.
///
/// # Errors
/// E_DEVICES; with init gone, systemd may have removed the cgroup already.
pub(super) fn attach_device_rules(rollback: &Rollback<'_>) -> Result<()> {
    step::begin(Step::DeviceProgram)?;
    let policy = rollback.plan.cgroup.devices.as_ref();
    let rules = policy.map(Rules::load).transpose()?;
    step::begin(Step::DeviceRules)?;
    match (&rollback.cgroup, &rules) {
        (Some(cgroup), Some(rules)) => cgroup.attach_devices(rules),
        _ => Ok(()),
    }
}

/// An entrant has made its user namespace.
fn expect_unmapped(request: &Request<'_>, channel: &Channel) -> Result<()> {
    match Interruption::by(request.end).receive(channel)? {
        Some(Message::Unmapped) => Ok(()),
        Some(Message::Failed(error)) => Err(error),
        _ => Err(Error::new(
            Code::Sync,
            "the entrant left before it was mapped",
        )),
    }
}
