//! What only the parent may do for init, while that enters its namespaces: id maps, privileges of the host, device rules,
//! the trees that are mounted.

use super::Request;
use super::documents::Documents;
use super::interruption::Interruption;
use super::undo::Made;
use crate::cgroups::devices::Rules;
use crate::error::{Code, Error, Result};
use crate::namespaces::{self, Joins};
use crate::process::Role;
use crate::procfs::ProcFs;
use crate::state::State;
use crate::step::{self, Step};
use crate::sync::{Channel, Message};
use crate::{intel_rdt, rootfs};
use nix::unistd::Pid;

/// All of it, in this order. Without the trees, which come last, init has nothing of the image.
///
/// # Errors
/// The step that failed; E_SIGNAL.
pub(super) fn work(
    request: &Request<'_>,
    joins: &Joins,
    made: &mut Made<'_>,
    proc: &ProcFs,
    channel: &Channel,
    state: &State,
) -> Result<rootfs::Sent> {
    let plan = request.plan;
    let init = Pid::from_raw(state.init_process_pid);
    step::begin(Step::Maps)?;
    if joins.joins(namespaces::Kind::Pid) && plan.namespaces.waits_for_parent() {
        expect_unmapped(request, channel)?;
    }
    namespaces::write_maps(&plan.namespaces, init, request.host)?;
    made.net_devices = namespaces::move_devices(&plan.namespaces, joins, init)?;
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
        Documents::of(plan, state, init, proc)?.send(channel)?;
    }
    if !plan.rules_wait_for_mounts() {
        attach_device_rules(made)?;
    }
    step::begin(Step::OpenSources)?;
    rootfs::send(&plan.rootfs, init, proc, channel)
}

/// From now on the rules hold for all in the container's cgroup.
///
/// # Errors
/// E_DEVICES; with init gone, systemd may have removed the cgroup already.
pub(super) fn attach_device_rules(made: &Made<'_>) -> Result<()> {
    step::begin(Step::DeviceProgram)?;
    let policy = made.plan.cgroup.devices.as_ref();
    let rules = policy.map(Rules::load).transpose()?;
    step::begin(Step::DeviceRules)?;
    match (&made.cgroup, &rules) {
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
