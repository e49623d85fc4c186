//! The seccomp agent: an outside process that answers what the filter asks (`SCMP_ACT_NOTIFY`).

use crate::caller_socket;
use crate::error::{Code, Context, Result};
use crate::seccomp;
use crate::state::{State, Status};
use nix::unistd::Pid;
use std::os::fd::OwnedFd;

/// Connects to the agent that `filter` names, while host paths can still be resolved.
pub(crate) fn connect(filter: Option<&seccomp::Filter>) -> Result<Option<OwnedFd>> {
    filter
        .and_then(|filter| filter.listener_path.as_deref())
        .map(|path| {
            caller_socket::connect(path).context(
                Code::Seccomp,
                "connect to the seccomp agent at",
                path.display(),
            )
        })
        .transpose()
}

/// The container process state that a seccomp agent gets with the listener.
pub(crate) fn document(state: &State, status: Status, pid: Pid, metadata: Option<&str>) -> Vec<u8> {
    let mut document = serde_json::json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid.as_raw(),
        "state": state.document(status, state.init_process_pid),
    });
    if let Some(metadata) = metadata {
        document["metadata"] = metadata.into();
    }
    document.to_string().into_bytes()
}
