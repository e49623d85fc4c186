//! The process. (stub)

use crate::error::{Error, Problems, Result};
use crate::host::Host;
use crate::namespaces;
use crate::plan::Options;
use crate::rootfs::root::Root;
use crate::sys::procfs::ProcFs;
use nix::unistd::Pid;
use oci_spec::runtime::{Process, Spec};

/// (stub)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// no_new_privs
    pub no_new_privs: bool,
    /// Some if a terminal is wanted; (rows, columns) if given
    pub terminal: Option<Option<(u16, u16)>>,
}

/// Decides. `path` is the JSON path of the process object. Also used by exec.
pub fn plan(
    _process: &Process,
    _spec: &Spec,
    _ns: &namespaces::Plan,
    _options: &Options,
    _host: &Host,
    _path: &str,
    _problems: &mut Problems,
) -> Plan {
    Plan::default()
}

/// What will be executed: found inside the container's root.
#[derive(Debug)]
pub struct Program;

impl Plan {
    /// Parent: gives `pid` what needs the host's privileges (oom_score_adj, scheduler, ioprio, affinity, raised hard limits).
    /// # Errors
    /// E_PROCESS
    pub fn grant(&self, _pid: Pid, _proc: &ProcFs) -> Result<()> {
        Ok(())
    }
    /// Child, after the pivot: LSM exec label, personality, memory policy, keyring ... (everything without an order)
    /// # Errors
    /// E_PROCESS
    pub fn prepare(&self, _proc: &ProcFs) -> Result<()> {
        Ok(())
    }
    /// Child: enters cwd, finds argv\[0\] by PATH and HOME in the container's passwd.
    /// # Errors
    /// E_EXEC
    pub fn locate(&self, _root: &Root) -> Result<Program> {
        Ok(Program)
    }
    /// Child: umask, bounding set, groups, ids, capabilities. `keep_sys_admin`: until the filter is loaded.
    /// # Errors
    /// E_PROCESS
    pub fn become_user(&self, _keep_sys_admin: bool) -> Result<()> {
        Ok(())
    }
    /// Child, after the seccomp filter was loaded: the final capability sets.
    /// # Errors
    /// E_PROCESS
    pub fn drop_sys_admin(&self) -> Result<()> {
        Ok(())
    }
}
impl Program {
    /// Child: rlimits, fds close-on-exec.
    /// # Errors
    /// E_PROCESS
    pub fn ready(&self, _plan: &Plan) -> Result<()> {
        Ok(())
    }
    /// Child: execve; returns only the error.
    pub fn execute(&self) -> Error {
        Error::new(crate::error::Code::Exec, "stub")
    }
}
