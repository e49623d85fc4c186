//! Namespaces: those to make, those to join, id maps, clock offsets, network devices.
//!
//! [`plan`] turns `linux.namespaces`, `uidMappings`, `gidMappings`, `timeOffsets` and `netDevices`
//! into data. The parent then opens what is to be joined ([`open_joins`]), makes init
//! ([`spawn()`]), writes its id maps ([`write_maps`]) and moves network devices to it
//! ([`move_devices`]); init makes the rest meanwhile ([`unshare`]), and takes the last steps itself ([`enter()`]).
//!
//! ```text
//! made by                  what
//! one clone3               user, pid, cgroup, time without offsets, network that takes over devices
//! init's unshare(2)        mount, network, ipc, uts; time with offsets, which it then writes and enters
//! an entrant               user, where a pid namespace is joined; then cgroup by its unshare(2)
//!
//! user namespace      other namespaces are joined by
//! none                init; the entrant, where a pid namespace is among them
//! new, others too     a bridge process, before it clones init, or as the entrant
//! joined              the same
//! ```
//! A bridge is needed where the order matters. A namespace belongs to the user namespace in which it was made. A
//! foreign one can be joined only with the privileges that the process has before (or after) it changes its user
//! namespace. In a scope of systemd's there always is a bridge, see [`mod@bridge`]. See namespaces(7),
//! user_namespaces(7).

mod bridge;
mod create;
mod enter;
pub(crate) mod idmap;
mod join;
mod netlink;
mod network;
mod spawn;
mod time;

pub(crate) use bridge::{Bridged, bridge};
pub(crate) use enter::{become_root_of_joined, enter};
pub(crate) use idmap::{IdMap, NO_ID, Need, check_id, outside_of, write_maps};
pub(crate) use join::{Joins, Owner, look_at, not_shared_with, open_joins};
pub(crate) use network::{MovedDevices, NetDevice, move_devices};
pub(crate) use spawn::{Spawned, join_as_entrant, join_pids_for_birth, spawn, unshare};
pub(crate) use time::TimeOffset;

pub(crate) use crate::sys::kind::{Kind, Kinds};

use crate::error::Problems;
use crate::host::Host;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Returns the kind that an entry of `linux.namespaces` names.
pub(crate) fn kind_of_spec(kind: LinuxNamespaceType) -> Kind {
    match kind {
        LinuxNamespaceType::User => Kind::User,
        LinuxNamespaceType::Mount => Kind::Mount,
        LinuxNamespaceType::Pid => Kind::Pid,
        LinuxNamespaceType::Network => Kind::Network,
        LinuxNamespaceType::Ipc => Kind::Ipc,
        LinuxNamespaceType::Uts => Kind::Uts,
        LinuxNamespaceType::Cgroup => Kind::Cgroup,
        LinuxNamespaceType::Time => Kind::Time,
    }
}

/// A namespace to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    /// The kind that the namespace must be of.
    pub kind: Kind,
    /// The namespace's nsfs file, absolute on the host.
    pub path: PathBuf,
    /// The entry's index in `linux.namespaces`, for errors.
    pub index: usize,
}

/// The namespaces that are made and those that are joined. A kind in neither list stays the caller's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Kinds to make anew, in the config's order.
    pub new: Vec<Kind>,
    /// Kinds to join by path, in the config's order.
    pub join: Vec<Join>,
    /// The uid map of a new user namespace. For a joined one, the map that it must have, unless this is empty.
    pub uid_map: Vec<IdMap>,
    /// The gid map, with the same meaning.
    pub gid_map: Vec<IdMap>,
    /// The clock offsets of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
    /// The network devices of the host that the container takes over, sorted by their host name, templates last.
    pub net_devices: Vec<NetDevice>,
}

impl Plan {
    /// True if the config gives the container a namespace of this kind. One that is joined by path may still turn out
    /// to be the caller's own: ask [`Joins::is_own`] before relying on it.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.is_new(kind) || self.joins(kind)
    }

    /// Returns the kinds that the config gives the container: those that `exec` joins.
    pub(crate) fn kinds(&self) -> Kinds {
        let has = |kind: &Kind| self.has(*kind);
        Kind::ALL.into_iter().filter(has).collect()
    }

    /// True if init must wait until the parent has written its id maps.
    pub(crate) fn waits_for_parent(&self) -> bool {
        self.is_new(Kind::User)
    }

    /// True if a new namespace of this kind is made.
    pub(crate) fn is_new(&self, kind: Kind) -> bool {
        self.new.contains(&kind)
    }

    /// True if a namespace of this kind is joined by path.
    pub(crate) fn joins(&self, kind: Kind) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }
}

/// Turns `linux.namespaces` and the fields that belong to it into a plan. Pure. Problems carry their JSON path.
pub(crate) fn plan(spec: &Spec, host: &Host, problems: &mut Problems) -> Plan {
    let mut plan = Plan::default();
    let Some(linux) = spec.linux() else {
        return plan;
    };
    for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let kind = kind_of_spec(namespace.typ());
        if plan.has(kind) {
            let name = kind.spec_name();
            problems.add(
                format!("linux.namespaces[{index}].type"),
                format!("a second {name} namespace; a container has one of each type"),
            );
            continue;
        }
        // Callers that write an empty path mean none.
        match namespace
            .path()
            .as_ref()
            .filter(|it| !it.as_os_str().is_empty())
        {
            None => plan.new.push(kind),
            Some(path) => {
                if !path.is_absolute() {
                    problems.add(
                        format!("linux.namespaces[{index}].path"),
                        format!("{} is not absolute", path.display()),
                    );
                }
                if path.as_os_str().as_bytes().contains(&0) {
                    problems.add(
                        format!("linux.namespaces[{index}].path"),
                        "holds a zero byte",
                    );
                }
                plan.join.push(Join {
                    kind,
                    path: path.clone(),
                    index,
                });
            }
        }
    }
    idmap::plan(linux, host, &mut plan, problems);
    time::plan(linux, &mut plan, problems);
    network::plan(linux, host, &mut plan, problems);
    plan
}

#[cfg(test)]
mod tests;
