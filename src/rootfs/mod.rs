//! The container's root file system. (stub)

pub mod devices;
pub mod masks;
pub mod root;
pub mod sysctl;

use crate::error::{Problems, Result};
use crate::host::Host;
use crate::namespaces;
use crate::plan::Options;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use root::Root;
use std::path::PathBuf;

/// (stub)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Root file system, absolute on the host.
    pub path: PathBuf,
}

/// Decides. Pure.
pub fn plan(
    _spec: &Spec,
    _ns: &namespaces::Plan,
    _options: &Options,
    _host: &Host,
    _problems: &mut Problems,
) -> Plan {
    Plan::default()
}

/// Bind sources as trees.
#[derive(Debug, Default)]
pub struct Sources;

impl Sources {
    /// Parent, before clone: opens every bind source, makes holders of a mount's own user namespace.
    /// # Errors
    /// E_MOUNT
    pub fn open(_plan: &Plan) -> Result<Sources> {
        Ok(Sources)
    }
    /// Parent, after the id maps are written: idmaps the trees that use the container's own maps. The trees are
    /// shared with init by the fd it inherited.
    /// # Errors
    /// E_MOUNT
    pub fn idmap_with(&self, _plan: &Plan, _init: Pid) -> Result<()> {
        Ok(())
    }
}

/// Child: propagation of /, the rootfs as a mount of its own, opened.
/// # Errors
/// E_MOUNT
pub fn enter(_plan: &Plan) -> Result<Root> {
    Err(crate::error::Error::new(crate::error::Code::Mount, "stub"))
}

/// Child, before the hooks: all mounts, devices, links.
/// # Errors
/// E_MOUNT
pub fn populate(_plan: &Plan, _root: &Root, _sources: Sources) -> Result<()> {
    Ok(())
}

/// Child, after the createContainer hooks: pivot_root (or move + chroot, or chroot); the old root is gone. Returns the
/// new root, opened from inside.
/// # Errors
/// E_MOUNT
pub fn pivot(_plan: &Plan, root: Root) -> Result<Root> {
    Ok(root)
}

/// Child, after the pivot: masks, read-only paths and root, late read-only mounts, sysctls, host name.
/// # Errors
/// E_MOUNT
pub fn finish(_plan: &Plan, _root: &Root) -> Result<()> {
    Ok(())
}
