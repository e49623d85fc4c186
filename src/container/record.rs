//! What is written down about a container while it is created, for later commands. Parent.

use super::Request;
use crate::error::{Code, Context, Result};
use crate::hooks::Kind;
use crate::intel_rdt;
use crate::notify::Socket;
use crate::procfs::ProcFs;
use crate::state::{self, ProcessRef, State};
use nix::unistd::Pid;

/// What is known before init is there. `proc` is the host's.
///
/// # Errors
/// E_STATE, or those of the mount of resctrl.
pub(super) fn first_record(request: &Request<'_>, proc: &ProcFs) -> Result<State> {
    let plan = request.plan;
    let creator =
        ProcessRef::of(Pid::this(), proc).context(Code::State, "look at", "/proc/self/stat")?;
    let mut state = State {
        id: plan.id.to_string(),
        oci_version: plan.oci_version.clone(),
        created: state::now(),
        bundle: plan.bundle.clone(),
        rootfs: plan.rootfs.path.clone(),
        annotations: plan.annotations.iter().cloned().collect(),
        owner: request.host.euid,
        creator,
        cgroup_parents: plan.cgroup.missing_parents(),
        systemd_scope: plan.cgroup.scope.as_ref().map(|it| it.scope.clone()),
        delegate_cgroup: plan.cgroup.delegate.clone(),
        intel_rdt_paths: match &plan.intel_rdt {
            Some(rdt) => rdt.directories(intel_rdt::mount_of_host()?)?,
            None => Vec::new(),
        },
        namespaces: plan.namespaces.kinds(),
        notify_directory: match request.notify {
            Socket::Own(directory) => Some(directory.clone()),
            Socket::None => None,
        },
        has_poststart: plan.hooks.has(Kind::Poststart),
        has_poststop: plan.hooks.has(Kind::Poststop),
        ..State::default()
    };
    // Where systemd will put one is not known yet.
    state.set_cgroup(plan.cgroup.path.as_deref());
    Ok(state)
}
