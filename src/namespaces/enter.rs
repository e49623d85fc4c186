//! The last steps into the namespaces, taken by init itself.

use super::join::Joins;
use super::{IdMap, Kind, Plan, time};
use crate::error::{Code, Context, Result};
use crate::sys::namespace::{set_group, set_user, stop_being_dumpable};
use nix::errno::Errno;

/// Init, right after the parent has told it to go on (so its id maps are written) and while /proc is still the
/// host's. Sets the clocks of a time namespace, stops being dumpable, joins the namespaces that are left to join, and
/// becomes root of its user namespace.
///
/// The supplementary groups stay those of casulo's caller: the process plan decides whether they are kept or replaced
/// (`run.oci.keep_original_groups`).
///
/// # Errors
/// E_NAMESPACE or E_ID_MAP: the step and the errno.
pub(crate) fn enter(plan: &Plan, joins: &Joins) -> Result<()> {
    // First, because the files below /proc/self belong to the host's root once init is not dumpable.
    if !plan.time_offsets.is_empty() {
        time::enter(&plan.time_offsets)?;
    }
    // Also where nothing is joined: another container may join this one's namespaces and so see init while it still
    // holds descriptors of the host (CVE-2016-9962). execve makes it dumpable again.
    stop_being_dumpable().context(Code::Namespace, "prctl", "PR_SET_DUMPABLE")?;
    // A bridge or an entrant has joined already.
    if !joins.need_bridge(plan) && !joins.joins(Kind::Pid) {
        joins.enter()?;
    }
    if plan.is_new(Kind::User) || joins.get(Kind::User).is_some() {
        become_root(plan)?;
    }
    Ok(())
}

/// Sets init's gid and uid to 0. In a new user namespace a process keeps the ids that it had outside. They are often
/// not mapped inside, and what the process made would belong to nobody. It has all capabilities there in any case,
/// and keeps them.
fn become_root(plan: &Plan) -> Result<()> {
    if plan.is_new(Kind::User) {
        if maps_root(&plan.gid_map) {
            set_group(0).context(Code::IdMap, "setresgid", 0)?;
        }
        if maps_root(&plan.uid_map) {
            set_user(0).context(Code::IdMap, "setresuid", 0)?;
        }
        return Ok(());
    }
    become_root_of_joined()
}

/// Sets gid and uid to 0 in a process that has joined a user namespace. The map of that namespace is not known here:
/// EINVAL says that it does not map 0, and the ids stay.
///
/// # Errors
/// E_ID_MAP with any other errno of setresgid(2) or setresuid(2).
pub(crate) fn become_root_of_joined() -> Result<()> {
    match set_group(0) {
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => return Err(errno).context(Code::IdMap, "setresgid", 0),
    }
    match set_user(0) {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).context(Code::IdMap, "setresuid", 0),
    }
}

fn maps_root(map: &[IdMap]) -> bool {
    map.iter().any(|line| line.inside == 0)
}
