//! The plan: everything that will be done, decided before anything is done.
//!
//! `Plan::new` is pure: values in, values out. No fd, no path look-up, no clock. It calls each
//! domain's `plan` and collects all their problems into one error.

use crate::capabilities::SysAdmin;
use crate::defence::{Defence, without};
use crate::error::{Problems, Result};
use crate::hooks::Kind;
use crate::host::Host;
use crate::id::Id;
use crate::options::Options;
use crate::{cgroups, config, hooks, intel_rdt, namespaces, process, rootfs, seccomp};
use oci_spec::runtime::Spec;
use std::path::PathBuf;

/// All decisions, one part per domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The container's id.
    pub(crate) id: Id,
    /// `ociVersion` of the config, reported by `state`.
    pub(crate) oci_version: String,
    /// The bundle's directory, absolute.
    pub(crate) bundle: PathBuf,
    /// Annotations, as they stand in the config, sorted.
    pub(crate) annotations: Vec<(String, String)>,
    /// Unix socket that gets a pidfd of init, as crun's annotation names it.
    pub(crate) pidfd_receiver: Option<PathBuf>,
    /// Namespaces to make and to join, id maps, time offsets.
    pub(crate) namespaces: namespaces::Plan,
    /// The cgroup, its limits and device rules.
    pub(crate) cgroup: cgroups::Plan,
    /// Mounts, devices, masks, sysctls and the pivot.
    pub(crate) rootfs: rootfs::Plan,
    /// The process: identity, capabilities, limits, environment, program.
    pub(crate) process: process::Plan,
    /// The seccomp filter.
    pub(crate) seccomp: Option<seccomp::Filter>,
    /// All six kinds of hooks.
    pub(crate) hooks: hooks::Plan,
    /// Intel RDT class, where asked for.
    pub(crate) intel_rdt: Option<intel_rdt::Plan>,
}

impl Plan {
    /// Decides everything for `spec`, read from `file` (named in errors).
    ///
    /// # Errors
    /// One `E_CONFIG` error with every problem of every domain, each with its JSON path.
    pub fn new(spec: &Spec, options: &Options, host: &Host, file: &str) -> Result<Plan> {
        let mut problems = Problems::default();
        let plan = Plan::decide(spec, options, host, &mut problems);
        problems.into_result(file)?;
        Ok(plan)
    }

    /// The same, for who wants to know all that is wrong: with a problem in it the plan is good for
    /// looking at, and for nothing else.
    pub(crate) fn decide(
        spec: &Spec,
        options: &Options,
        host: &Host,
        problems: &mut Problems,
    ) -> Plan {
        config::annotations::refuse(spec, problems);
        let namespaces = namespaces::plan(spec, host, problems);
        let process = match spec.process() {
            Some(it) => process::plan(it, spec, &namespaces, options, host, "process", problems),
            None => {
                problems.add(
                    "process",
                    "missing: a container without a process cannot be started",
                );
                process::Plan::default()
            }
        };
        let cgroup = cgroups::plan(spec, &namespaces, options, host, problems);
        let mut rootfs = rootfs::plan(spec, &namespaces, options, host, problems);
        if let Some(policy) = &cgroup.devices {
            rootfs.devices.make_ahead(|device| {
                let kind = match device.kind {
                    rootfs::devices::Kind::Block => cgroups::devices::Kind::Block,
                    _ => cgroups::devices::Kind::Char,
                };
                !policy.allows_mknod(kind, device.major, device.minor)
            });
        }
        let hooks = hooks::plan(spec, problems);
        if namespaces.joins(namespaces::Kind::Mount) {
            keep_apart(&namespaces, &rootfs, &hooks, problems);
        }
        Plan {
            id: options.id.clone(),
            oci_version: spec.version().clone(),
            bundle: options.bundle.clone(),
            annotations: sorted_annotations(spec),
            pidfd_receiver: pidfd_receiver(spec, problems),
            cgroup,
            rootfs,
            seccomp: seccomp::plan(spec, problems),
            hooks,
            intel_rdt: intel_rdt::plan(spec, options, problems),
            process,
            namespaces,
        }
    }

    /// True if init must wait for `Go`: for the parent's work on it, or for documents.
    pub(crate) fn needs_go(&self) -> bool {
        self.namespaces.waits_for_parent()
            || self.hooks.has(Kind::CreateContainer)
            || self.hooks.has(Kind::StartContainer)
            || self
                .seccomp
                .as_ref()
                .is_some_and(|filter| filter.listener_path.is_some())
    }

    /// True if the filter notifies of calls: its listener is for the agent, as soon as casulo has no more use for it.
    pub(crate) fn notifies(&self) -> bool {
        let filter = self.seccomp.as_ref();
        filter.is_some_and(seccomp::Filter::notifies)
    }

    /// True if init says when its mounts and nodes are in place: hooks run then, or the device rules begin to hold.
    pub(crate) fn reports_populated(&self) -> bool {
        self.has_hooks_before_pivot() || self.rules_wait_for_mounts()
    }

    /// True if the device rules hold from init's mounts on only: a file system is on a device that they need not allow.
    /// As a rule they hold before init has anything of the image's in its hands.
    pub(crate) fn rules_wait_for_mounts(&self) -> bool {
        self.cgroup.devices.is_some()
            && (self.rootfs.opens_devices() || without(Defence::RulesBeforeImage))
    }

    /// True if hooks run between the mounts and the pivot: init waits there until the parent has run its own.
    pub(crate) fn has_hooks_before_pivot(&self) -> bool {
        [Kind::Prestart, Kind::CreateRuntime, Kind::CreateContainer]
            .into_iter()
            .any(|kind| self.hooks.has(kind))
    }

    /// True if init writes to /proc and so needs a private procfs.
    pub(crate) fn writes_proc(&self) -> bool {
        !self.rootfs.sysctls.is_empty() || self.process.writes_proc()
    }

    /// Whether CAP_SYS_ADMIN stays until the container's filter is loaded.
    pub(crate) fn sys_admin_until_filter(&self) -> SysAdmin {
        self.process.sys_admin_until(self.seccomp.as_ref())
    }
}

/// What cannot be had in a mount namespace of others, who see every mount that is made there, and whose files are what
/// any path leads to: a program of the host's that runs with init's privileges, and a procfs that shows init from its
/// first mount on. An entrant is in no procfs.
fn keep_apart(
    namespaces: &namespaces::Plan,
    rootfs: &rootfs::Plan,
    hooks: &hooks::Plan,
    problems: &mut Problems,
) {
    if hooks.has(Kind::CreateContainer) && !without(Defence::HooksApart) {
        problems.add(
            "hooks.createContainer",
            "none can run in a joined mount namespace, where its program would be that of whoever is in it",
        );
    }
    if namespaces.joins(namespaces::Kind::Pid) || without(Defence::ProcApart) {
        return;
    }
    for mount in rootfs.mounts.iter().filter(|mount| mount.is_new(c"proc")) {
        problems.add(
            format!("mounts[{}].type", mount.index),
            "in a joined mount namespace others would see init in this procfs before it is confined: join their pid namespace, too",
        );
    }
}

/// Relative to the working directory of casulo's caller, as `--pidfd-socket` is.
fn pidfd_receiver(spec: &Spec, problems: &mut Problems) -> Option<PathBuf> {
    const RECEIVER: &str = "run.oci.pidfd_receiver";
    let path = spec.annotations().as_ref()?.get(RECEIVER)?;
    if path.is_empty() || path.contains('\0') {
        problems.add(
            format!("annotations[{RECEIVER:?}]"),
            "not the path of a socket",
        );
    }
    Some(PathBuf::from(path))
}

fn sorted_annotations(spec: &Spec) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = spec
        .annotations()
        .iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    list.sort();
    list
}
