//! The seccomp agent: an outside process that answers what the filter asks (`SCMP_ACT_NOTIFY`).

use crate::caller_socket;
use crate::error::{Code, Context, Result};
use crate::listener::Listener;
use crate::seccomp;
use crate::state::{State, Status};
use nix::unistd::Pid;
use std::os::fd::OwnedFd;

/// A connection to the agent, and what is known of the container beforehand.
pub(crate) struct Agent<'a> {
    socket: OwnedFd,
    metadata: Option<&'a str>,
    status: Status,
}

impl<'a> Agent<'a> {
    /// Connects to the agent that `filter` names, while host paths can still be resolved. It will be told that the
    /// container is in `status`.
    ///
    /// # Errors
    /// E_SECCOMP naming the socket.
    pub(crate) fn connect(
        filter: Option<&'a seccomp::Filter>,
        status: Status,
    ) -> Result<Option<Agent<'a>>> {
        let Some(filter) = filter else {
            return Ok(None);
        };
        let Some(path) = filter.listener_path.as_deref() else {
            return Ok(None);
        };
        let socket = caller_socket::connect(path).context(
            Code::Seccomp,
            "connect to the seccomp agent at",
            path.display(),
        )?;
        Ok(Some(Agent {
            socket,
            metadata: filter.listener_metadata.as_deref(),
            status,
        }))
    }

    /// Gives it the listener of the filter of process `pid`, with the container process state.
    ///
    /// # Errors
    /// E_SECCOMP.
    pub(crate) fn give(self, listener: Listener, state: &State, pid: Pid) -> Result<()> {
        let document = document(state, self.status, pid, self.metadata);
        listener.send(&self.socket, &document)
    }
}

/// The container process state that a seccomp agent gets with the listener.
fn document(state: &State, status: Status, pid: Pid, metadata: Option<&str>) -> Vec<u8> {
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
