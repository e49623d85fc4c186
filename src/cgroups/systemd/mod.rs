//! The systemd driver: a scope that systemd makes, and below it exactly what the cgroupfs driver
//! makes. The scope is systemd's: its attributes are properties. The cgroup below (`container`) is
//! casulo's, as `Delegate=` promises (systemd.io, "Control Group APIs and Delegation"): it holds
//! the limits and the device program, which no `systemctl daemon-reload` touches.
//!
//! [`plan`] decides (pure): [`name`] the units, [`properties`] and [`annotations`] what they are
//! like. [`start`], [`fill`], [`update`] and [`stop`] do it, in the parent. A scope begins with a process, and
//! init does not exist yet: the bridge ([`crate::namespaces::bridge`]) stands in for it.

mod annotations;
mod begun;
mod dbus;
mod gvariant;
mod job;
mod name;
mod properties;
mod unit;
pub(crate) mod update;

pub(crate) use dbus::value::Value;

use super::fs::{self, Cgroup};
use super::hold::Holder;
use super::limits::Setting;
use super::{JSON, Plan as CgroupPlan, create, sub_path};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::host::{Host, path_in};
use crate::procfs::ProcFs;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use properties::Weights;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Renames the cgroup below the scope; empty is none (crun's annotation and its usual name).
const SUBGROUP: &str = "run.oci.systemd.subgroup";
const USUAL_SUBGROUP: &str = "container";

/// Where the bridge waits, so that the scope itself has no process and can give controllers to the
/// cgroups below it (cgroups(7), "no internal processes").
const BRIDGE_CGROUP: &str = "casulo-bridge";

/// A property of a unit and its value.
pub(crate) type Property = (String, Value);

/// Whose systemd it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Manager {
    /// The host's, pid 1.
    System,
    /// An ordinary user's.
    User {
        /// `XDG_RUNTIME_DIR`, where its sockets are.
        runtime_dir: PathBuf,
    },
}

/// A scope, by its name: what is recorded of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// `libpod-1234.scope`
    pub unit: String,
    /// Who made it.
    pub manager: Manager,
    /// Which of all that have ever had the name: systemd's InvocationID, in 32 hexadecimal digits. Empty before it
    /// was started.
    #[serde(default)]
    pub invocation: String,
}

/// What systemd will be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The scope.
    pub scope: Scope,
    /// Its properties, all but the process.
    pub properties: Vec<Property>,
    /// Limits that systemd does not know, for the scope's own files.
    pub files: Vec<Setting>,
    /// The container's cgroup below the scope; None where it is the scope itself.
    pub subgroup: Option<PathBuf>,
}

/// Decides. Pure.
pub(super) fn plan(
    path: Option<&Path>,
    annotations: &HashMap<String, String>,
    settings: &[Setting],
    id: &str,
    host: &Host,
    problems: &mut Problems,
) -> Option<Plan> {
    let manager = if host.rootless {
        Manager::User {
            runtime_dir: host.runtime_dir.clone(),
        }
    } else {
        Manager::System
    };
    let names = name::plan(path, id, &manager)
        .map_err(|why| problems.add(JSON, why))
        .ok();
    let subgroup = match annotations.get(SUBGROUP).map_or(USUAL_SUBGROUP, |it| it) {
        "" => None,
        name => sub_path(name)
            .map_err(|why| problems.add(format!("annotations[\"{SUBGROUP}\"]"), why))
            .ok(),
    };
    if subgroup.is_none()
        && settings
            .iter()
            .any(|it| it.file == "pids.max" && it.value == "1")
    {
        problems.add(
            "linux.resources.pids.limit",
            format!(
                "a limit of 1 needs a cgroup below the scope, which begins with a process of \
                 casulo's: do not set {SUBGROUP}"
            ),
        );
    }
    let extra = annotations::properties(annotations, problems);
    let names = names?;
    let limits = properties::of(settings, Weights::Kernel);
    let yes = |name: &str| (name.to_owned(), Value::Bool(true));
    let no = |name: &str| (name.to_owned(), Value::Bool(false));
    let text = |name: &str, value: &str| (name.to_owned(), Value::text(value));
    let properties = [
        text("Description", &format!("casulo container {id}")),
        text("Slice", &names.slice),
        yes("Delegate"),
        no("DefaultDependencies"),
        // A scope that failed (its memory limit killed it) shall not stay.
        text("CollectMode", "inactive-or-failed"),
        yes("CPUAccounting"),
        yes("MemoryAccounting"),
        yes("TasksAccounting"),
        yes("IOAccounting"),
    ];
    Some(Plan {
        scope: Scope {
            unit: names.scope,
            manager,
            invocation: String::new(),
        },
        properties: properties
            .into_iter()
            .chain(limits.properties)
            .chain(extra)
            .collect(),
        files: limits.files,
        subgroup,
    })
}

/// Lets systemd make the scope for the record `holder`, with `process` in it; returns which it is.
///
/// # Errors
/// `E_SYSTEMD`. What systemd has begun ends with the process.
pub(crate) fn start(plan: &Plan, process: Pid, holder: &Holder) -> Result<Scope> {
    let mut properties = plan.properties.clone();
    // After those of the annotations: systemd adds one to the other.
    properties.push(begun::mark(holder));
    properties.push(("PIDs".to_owned(), pids(process)));
    let invocation = unit::start(&plan.scope, &properties)?;
    Ok(Scope {
        invocation,
        ..plan.scope.clone()
    })
}

/// The list of this one process.
fn pids(process: Pid) -> Value {
    let pid = u32::try_from(process.as_raw()).expect("the pid of one process is positive");
    Value::Array("u".to_owned(), vec![Value::Uint32(pid)])
}

/// Stops the scope and waits until it is gone. No error when it was gone already, whoever has its name now.
///
/// # Errors
/// `E_SYSTEMD`
pub(crate) fn stop(scope: &Scope) -> Result<()> {
    unit::stop(scope)
}

/// The same for what the record `holder` says of its scope. Without an invocation it is not known whether casulo
/// made it or found its name taken: then only one that says itself that it is of this record is stopped ([`begun`]).
///
/// # Errors
/// `E_SYSTEMD`
pub(crate) fn stop_recorded(scope: &Scope, holder: &Holder) -> Result<()> {
    match scope.invocation.as_str() {
        "" if !without(Defence::OwnCgroup) => begun::stop(scope, holder),
        _ => unit::stop(scope),
    }
}

/// Lets systemd move a process into the scope, to the cgroup at `path` in it.
///
/// # Errors
/// `E_SYSTEMD`, also when the scope is gone.
pub(crate) fn attach(scope: &Scope, path: &Path, process: Pid) -> Result<()> {
    let names = path.iter().skip_while(|name| *name != scope.unit.as_str());
    let below: PathBuf = ["/".as_ref()].into_iter().chain(names.skip(1)).collect();
    unit::attach(scope, &below, process)
}

/// The cgroup of a container in its scope.
#[derive(Debug)]
pub(crate) struct ScopeCgroups {
    /// Where init will be born.
    pub cgroup: Cgroup,
    /// Where the bridge waits, if not in the scope itself.
    bridge_cgroup: Option<PathBuf>,
}

/// Makes the container's cgroup in the scope that `bridge` was put into, by the fs driver's means. `started` is the
/// scope as systemd has made it.
///
/// # Errors
/// As [`Cgroup::create`], and `E_SYSTEMD` where the bridge is not in the scope.
pub(crate) fn fill(
    plan: &CgroupPlan,
    scope: &Plan,
    started: &Scope,
    bridge: Pid,
    proc: &ProcFs,
    holder: Option<&Holder>,
) -> Result<ScopeCgroups> {
    let path = directory_of(&scope.scope.unit, &plan.mount, bridge, proc)?;
    let directory = Cgroup::open(&path)?;
    // A scope takes over a cgroup of its name that somebody has left. In a frozen one the bridge would wait, and
    // casulo for it.
    directory.check_thawed(&plan.mount)?;
    directory.write_all(&scope.files, plan)?;
    // Which weights there are can be seen only now that there is a cgroup with the controller.
    let weights = properties::of(&scope.files, Weights::Bfq).properties;
    if !weights.is_empty() && Weights::of(&directory) == Weights::Bfq {
        unit::set(started, &weights)?;
    }
    let Some(subgroup) = &scope.subgroup else {
        directory.set_up(plan)?;
        return Ok(ScopeCgroups {
            cgroup: directory,
            bridge_cgroup: None,
        });
    };
    let bridge_cgroup = path.join(BRIDGE_CGROUP);
    nix::unistd::mkdir(&bridge_cgroup, Mode::from_bits_truncate(0o755)).context(
        Code::Cgroup,
        "make cgroup",
        bridge_cgroup.display(),
    )?;
    Cgroup::open(&bridge_cgroup)?.add(bridge)?;
    Ok(ScopeCgroups {
        cgroup: create::make(plan, &path.join(subgroup), holder)?,
        bridge_cgroup: Some(bridge_cgroup),
    })
}

impl ScopeCgroups {
    /// The container's cgroup, once the bridge has ended.
    pub(crate) fn without_bridge(self) -> Cgroup {
        if let Some(directory) = self.bridge_cgroup {
            // If it stays it is an empty directory, which goes with the scope.
            let _ = std::fs::remove_dir(directory);
        }
        self.cgroup
    }
}

/// The scope's directory: where systemd has put the bridge. casulo may see less of the hierarchy than
/// systemd does, so what systemd calls the path need not be one here.
fn directory_of(unit: &str, mount: &Path, bridge: Pid, proc: &ProcFs) -> Result<PathBuf> {
    let file = proc
        .open(&format!("{bridge}/cgroup"), OFlag::O_RDONLY)
        .context(Code::Cgroup, "read the cgroup of", bridge)?;
    let text = fs::read_all(&file).context(Code::Cgroup, "read the cgroup of", bridge)?;
    let path = path_in(&text).filter(|path| path.ends_with(unit));
    let path = path.ok_or_else(|| {
        Error::new(
            Code::Systemd,
            format!("start {unit}: systemd has not moved the process into it"),
        )
        .hint("casulo must see the host's cgroup hierarchy and its own place in it")
    })?;
    Ok(mount.join(path.strip_prefix("/").unwrap_or(&path)))
}

#[cfg(test)]
mod tests;
