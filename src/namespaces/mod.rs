//! Namespaces: which to make, which to join, id maps, time offsets. (stub)

use crate::error::{Problems, Result};
use crate::host::Host;
use nix::unistd::Pid;
use oci_spec::runtime::Spec;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// The eight kinds of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// .
    User,
    /// .
    Mount,
    /// .
    Pid,
    /// .
    Network,
    /// .
    Ipc,
    /// .
    Uts,
    /// .
    Cgroup,
    /// .
    Time,
}

/// One line of uid_map or gid_map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// first id inside
    pub inside: u32,
    /// first id outside
    pub outside: u32,
    /// how many
    pub count: u32,
}

/// (stub)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Kinds to make anew.
    pub new: Vec<Kind>,
    /// Kinds to join by path, absolute on the host.
    pub join: Vec<(Kind, PathBuf)>,
    /// uid map of a new user namespace.
    pub uid_map: Vec<IdMap>,
    /// gid map of a new user namespace.
    pub gid_map: Vec<IdMap>,
}

impl Plan {
    /// True if the container has a namespace of this kind that is not the caller's own.
    pub fn has(&self, kind: Kind) -> bool {
        self.is_new(kind) || self.join.iter().any(|(k, _)| *k == kind)
    }
    /// True if a new namespace of this kind is made.
    pub fn is_new(&self, kind: Kind) -> bool {
        self.new.contains(&kind)
    }
}

/// Decides the namespaces. Pure.
pub fn plan(_spec: &Spec, _host: &Host, _problems: &mut Problems) -> Plan {
    Plan::default()
}

/// What the parent opened for the joins.
#[derive(Debug, Default)]
pub struct Joins;

/// Parent: opens and type-checks the namespaces to join.
/// # Errors
/// E_NAMESPACE with path
pub fn open_joins(_plan: &Plan) -> Result<Joins> {
    Ok(Joins)
}

/// Which process this is after [`spawn`].
#[derive(Debug)]
pub enum Spawned {
    /// the parent, with init's pid
    Parent(Pid),
    /// init
    Init,
}

/// Parent: makes init in its namespaces and cgroup, with a bridge process where one clone cannot.
/// # Errors
/// E_NAMESPACE
pub fn spawn(_plan: &Plan, _joins: &Joins, _cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    Ok(Spawned::Init)
}

/// Parent: writes setgroups, uid_map, gid_map of init.
/// # Errors
/// E_ID_MAP
pub fn write_maps(_plan: &Plan, _pid: Pid, _host: &Host) -> Result<()> {
    Ok(())
}

/// Init, right after the parent's Go: joins what is left to join, becomes root of its user namespace,
/// time offsets, loopback up.
/// # Errors
/// E_NAMESPACE
pub fn enter(_plan: &Plan, _joins: &Joins) -> Result<()> {
    Ok(())
}
