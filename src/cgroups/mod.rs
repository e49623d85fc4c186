//! Control groups, version 2: from `linux.cgroupsPath` and `linux.resources` to a cgroup with
//! limits that the container is born in; [`update`] changes both later.
//!
//! [`plan`] decides (pure): [`path`] the directory, [`limits`] what is written into which file,
//! [`devices`] which devices may be used. [`create`] then makes the cgroup, [`tree`] looks after it
//! (signals, removal), [`stats`] reads what it has used and [`notify`] what happens in it. All of
//! it runs in the parent with the caller's privileges; the container's first process is cloned into
//! the finished cgroup (`CLONE_INTO_CGROUP`) and never writes here.
//!
//! With the systemd driver the directory is below a scope that systemd makes ([`systemd`]); what is in
//! it is made by the same code.

mod controllers;
mod create;
mod delegate;
pub(crate) mod devices;
mod directories;
mod freeze;
pub(crate) mod fs;
pub(crate) mod hold;
pub(crate) mod limits;
pub(crate) mod notify;
pub(crate) mod path;
mod refusal;
mod signal;
pub(crate) mod stats;
pub(crate) mod systemd;
pub(crate) mod tree;
pub(crate) mod update;

pub(crate) use directories::{remove_empty, remove_unused};
pub(crate) use fs::Cgroup;
pub(crate) use signal::signal_each;

use crate::error::Problems;
use crate::host::Host;
use crate::namespaces::{self, Kind};
use crate::options::{CgroupManager, Options};
use caps::Capability;
use limits::{Current, Setting};
use oci_spec::runtime::Spec;
use std::path::{Path, PathBuf};

/// Where the container's cgroup is asked for.
const JSON: &str = "linux.cgroupsPath";

/// What will be made. Without a path and without a scope: nothing, the container stays in the
/// caller's cgroup.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Absolute host path of the cgroup's directory; None when casulo does not choose it.
    pub path: Option<PathBuf>,
    /// The scope that systemd makes, and where the cgroup is in it.
    pub scope: Option<systemd::Plan>,
    /// The cgroup below the container's that the process is in, relative to it.
    pub delegate: Option<PathBuf>,
    /// Where the hierarchy is mounted: the part of `path` that is never created or changed,
    /// except for the controllers that its root gives to the cgroups below.
    pub mount: PathBuf,
    /// What a failure means.
    pub need: Need,
    /// The limits, in the order of writing.
    pub settings: Vec<Setting>,
    /// The device rules; None where everything is allowed or rules cannot be loaded.
    pub devices: Option<devices::Policy>,
    /// Host uid that gets the cgroup's directory and its delegatable files, so that the container
    /// can make cgroups below its own.
    pub owner: Option<u32>,
}

impl Plan {
    /// The directories above the cgroup that will be made for it. They are recorded before that, and
    /// removed with the last cgroup in them; those that were there belong to somebody else, even
    /// when they are empty (an orchestrator's pod between two containers).
    pub(crate) fn missing_parents(&self) -> Vec<PathBuf> {
        self.path.as_deref().map_or_else(Vec::new, |path| {
            directories::missing_above(path, &self.mount)
        })
    }
}

/// What it means when the cgroup cannot be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Need {
    /// An error.
    #[default]
    Required,
    /// The container runs in the caller's cgroup: a rootless caller asked for no place and no
    /// limit, and nothing was delegated to them.
    Optional,
}

/// Puts the process one cgroup further down, which it may manage itself (crun's annotation).
const DELEGATE: &str = "run.oci.delegate-cgroup";

/// The path of a cgroup below another one, as an annotation names it.
fn sub_path(name: &str) -> Result<PathBuf, &'static str> {
    if name.contains(['\0', '\n']) {
        return Err("has a NUL or a newline");
    }
    match name
        .split('/')
        .find(|part| matches!(*part, "" | "." | ".."))
    {
        Some(_) => Err("must be a relative path without empty parts, `.` and `..`"),
        None => Ok(name.into()),
    }
}

/// Decides the cgroup. Pure.
///
/// Root without CAP_SYS_ADMIN gets no device program, unless the config has rules.
pub(crate) fn plan(
    spec: &Spec,
    ns: &namespaces::Plan,
    options: &Options,
    host: &Host,
    problems: &mut Problems,
) -> Plan {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|it| it.resources().as_ref());
    let cgroups_path = linux
        .and_then(|it| it.cgroups_path().as_deref())
        .filter(|path| !path.as_os_str().is_empty());
    let settings = resources.map_or_else(Vec::new, |it| {
        limits::plan(it, &Current::default(), problems)
    });
    let rules = resources.and_then(|it| it.devices().as_deref());
    let policy = devices::plan(rules.unwrap_or_default(), problems);
    match options.cgroup_manager {
        CgroupManager::Cgroupfs | CgroupManager::Systemd => {}
        // Device rules are not an error here: engines write "deny all" into every config.
        CgroupManager::Disabled => {
            if !settings.is_empty() {
                problems.add(
                    "linux.resources",
                    "limits need a cgroup, and the cgroup manager is disabled",
                );
            }
            return Plan::default();
        }
    }
    let by_systemd = options.cgroup_manager == CgroupManager::Systemd;
    let is_free = cgroups_path.is_none() && settings.is_empty() && !by_systemd;
    let need = if host.rootless && is_free {
        Need::Optional
    } else {
        Need::Required
    };
    let Some(mount) = &host.cgroup else {
        if need == Need::Required {
            problems.add(
                JSON,
                "no cgroup v2 hierarchy is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified: \
                 mount one, or use --cgroup-manager disabled",
            );
        }
        return Plan::default();
    };
    let may_load = may_load_devices(host)
        && (host.has_capability(Capability::CAP_SYS_ADMIN)
            || rules.is_some_and(|rules| !rules.is_empty()));
    let annotations = spec.annotations().clone().unwrap_or_default();
    let delegate = annotations.get(DELEGATE).filter(|name| !name.is_empty());
    let delegate = delegate.and_then(|name| {
        sub_path(name)
            .map_err(|why| problems.add(format!("annotations[\"{DELEGATE}\"]"), why))
            .ok()
    });
    let id = &options.id;
    let (path, scope) = if by_systemd {
        let scope = systemd::plan(cgroups_path, &annotations, &settings, id, host, problems);
        (None, scope)
    } else {
        (path::plan(cgroups_path, id, mount, host, problems), None)
    };
    Plan {
        path,
        scope,
        delegate,
        mount: mount.path.clone(),
        need,
        settings,
        devices: Some(policy).filter(|policy| may_load && !policy.allows_everything()),
        owner: owner(spec, ns, host),
    }
}

/// Rootless callers (see [`Host::rootless`]) get no device program, as with runc and crun: only
/// the host's root may load one, and a user namespace opens no device node anyway unless it was
/// bound in.
fn may_load_devices(host: &Host) -> bool {
    !host.rootless
}

/// Who shall own the cgroup (spec, "Cgroup ownership"): the user of the process, if the container
/// has a cgroup namespace of its own and mounts the hierarchy read-write. None also where that is
/// the owner already, and for a rootless caller, who cannot give anything away.
fn owner(spec: &Spec, ns: &namespaces::Plan, host: &Host) -> Option<u32> {
    let is_writable_mount = |mount: &oci_spec::runtime::Mount| {
        let options = mount.options().as_deref().unwrap_or_default();
        matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"))
            && mount.destination() == Path::new("/sys/fs/cgroup")
            && !options.iter().any(|option| option == "ro")
    };
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    if host.rootless || !ns.is_new(Kind::Cgroup) || !mounts.iter().any(is_writable_mount) {
        return None;
    }
    let uid = spec.process().as_ref()?.user().uid();
    let uid = if ns.is_new(Kind::User) {
        namespaces::outside_of(&ns.uid_map, uid)?
    } else if ns.has(Kind::User) {
        // The maps of a namespace that is joined are not ours to know.
        return None;
    } else {
        uid
    };
    Some(uid).filter(|uid| *uid != host.euid)
}

#[cfg(test)]
pub(crate) mod tests;
