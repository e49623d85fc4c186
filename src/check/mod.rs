//! `check`: finds what would fail in a bundle on this host, and what weakens its isolation. A dry run in the
//! parent, with the caller's rights: it makes no process, file, mount or cgroup.
//!
//! ```text
//! config ─► parse_lenient ─► problems ─┐
//!             Plan::decide ──────┼─► findings      all problems that the validators of create find
//! plan ─► failures  (look.rs) ───┤                 what create would only notice while it acts
//! plan ─► weaknesses ────────────┘                 what would start, but is not well isolated
//! ```
//! A failure that it reports does happen. The opposite is not promised: `check` does not ask the kernel
//! questions that the kernel answers by acting.

mod code;
mod failures;
mod look;
mod table;
mod weaknesses;

pub(crate) use code::{Code, Severity};
pub(crate) use look::{Files, Found};
use table::ALL;

use crate::bundle::Unread;
use crate::config;
use crate::error::{Problems, Result};
use crate::host::{CgroupMount, Host};
use crate::namespaces::{self, Kind, Owner};
use crate::options::Options;
use crate::plan::Plan;
use crate::rootfs::mount::{Action, Mount};
use crate::rootfs::options::Symlink;
use caps::Capability;
use nix::errno::Errno;
use oci_spec::runtime::Spec;
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A finding: something that would fail, or that weakens the isolation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The kind of the finding.
    pub code: Code,
    /// The JSON path of its place in the config: `linux.namespaces[2].path`.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

/// Findings, in the order in which they were made.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: Code, path: impl Into<String>, message: impl Into<String>) {
        let finding = Finding {
            code,
            path: path.into(),
            message: message.into(),
        };
        if !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }
}

/// The subject of a check: the config, the plan that casulo makes of it, and the host.
struct Subject<'a> {
    /// The config as it stands in the file. The types keep no order of lists that they read as sets.
    raw: Value,
    spec: Box<Spec>,
    plan: Plan,
    host: &'a Host,
    files: &'a Files,
    /// The sources of bind mounts, each with the index of its mount.
    sources: Vec<(usize, nix::Result<Found>)>,
    /// The kinds of namespaces that are joined by path but are the caller's own.
    shared: Vec<Kind>,
}

impl Subject<'_> {
    /// True if the container has a namespace of this kind that is not the host's.
    fn has(&self, kind: Kind) -> bool {
        self.plan.namespaces.has(kind) && !self.shared.contains(&kind)
    }

    /// True if `errno` of a look-up says that `create` will fail too. A file that is closed to an ordinary
    /// user may be open to root of the container's user namespace.
    fn is_final(&self, errno: Errno) -> bool {
        errno != Errno::EACCES || self.host.has_capability(Capability::CAP_DAC_OVERRIDE)
    }

    /// True if root in the container is not root of the host.
    fn is_in_user_namespace(&self) -> bool {
        self.has(Kind::User) || self.host.in_user_namespace
    }

    /// The bind mounts whose source exists, each with its source.
    fn binds(&self) -> impl Iterator<Item = (&Mount, &Found)> {
        self.sources.iter().filter_map(|(index, found)| {
            let mut mounts = self.plan.rootfs.mounts.iter();
            Some((mounts.find(|it| it.index == *index)?, found.as_ref().ok()?))
        })
    }
}

/// Checks a bundle. Returns all findings, the worst first.
///
/// # Errors
/// `E_CONFIG` for a config that is no JSON object.
pub(crate) fn check(
    bundle: &Unread,
    options: &Options,
    host: &Host,
    files: &Files,
) -> Result<Vec<Finding>> {
    let mut findings = Findings::default();
    let (spec, problems) = config::parse_lenient(&bundle.config, &bundle.file)?;
    for (path, why) in &problems {
        findings.add(Code::ConfigInvalid, path, why);
    }
    if let Some(mut spec) = spec {
        find_root(bundle, &mut spec, &mut findings);
        let plan = decide(&spec, options, host, &problems, &mut findings);
        let subject = Subject {
            // The file was parsed above, so it is JSON.
            raw: serde_json::from_slice(&bundle.config).unwrap_or_default(),
            sources: sources(&plan, files),
            shared: shared(&plan),
            spec,
            plan,
            host,
            files,
        };
        failures::find(&subject, &mut findings);
        weaknesses::find(&subject, &mut findings);
    }
    let mut found = findings.0;
    found.sort_by_key(|it| {
        (
            it.code.severity(),
            ALL.iter().position(|row| row.0 == it.code),
        )
    });
    Ok(found)
}

/// Sets `root.path` as [`crate::bundle::Bundle::open`] does.
fn find_root(bundle: &Unread, spec: &mut Spec, findings: &mut Findings) {
    let Some(mut root) = spec.root().clone() else {
        return;
    };
    match bundle.rootfs(root.path()) {
        Ok(rootfs) => {
            root.set_path(rootfs);
            spec.set_root(Some(root));
        }
        Err(error) => {
            let text = error.to_string();
            let prefix = format!("{}: root.path: ", bundle.file);
            findings.add(
                Code::RootMissing,
                "root.path",
                text.strip_prefix(&prefix).unwrap_or(&text),
            );
        }
    }
}

/// Returns the plan, and adds its problems: those of the config, which occur on every host, and those of
/// this host.
fn decide(
    spec: &Spec,
    options: &Options,
    host: &Host,
    known: &[config::Problem],
    findings: &mut Findings,
) -> Plan {
    let mut here = Problems::default();
    let plan = Plan::decide(spec, options, host, &mut here);
    let mut everywhere = Problems::default();
    Plan::decide(spec, options, &able(host), &mut everywhere);
    let everywhere = everywhere.into_list();
    for problem in here.into_list() {
        // The value at such a path is a stand-in, see `config::parse_lenient`.
        if known
            .iter()
            .any(|(path, _)| config::is_within(&problem.0, path))
        {
            continue;
        }
        let code = if everywhere.contains(&problem) {
            Code::ConfigInvalid
        } else {
            Code::HostUnable
        };
        findings.add(code, problem.0, problem.1);
    }
    plan
}

/// Returns the same host, but able to do everything that a plan can ask for.
fn able(host: &Host) -> Host {
    Host {
        euid: 0,
        egid: 0,
        effective: u64::MAX,
        bounding: u64::MAX,
        rootless: false,
        in_user_namespace: false,
        cgroup: Some(host.cgroup.clone().unwrap_or(CgroupMount {
            path: "/sys/fs/cgroup".into(),
            own: None,
        })),
        kernel: (u32::MAX, 0),
        apparmor: true,
        selinux: true,
        ..host.clone()
    }
}

fn sources(plan: &Plan, files: &Files) -> Vec<(usize, nix::Result<Found>)> {
    let mounts = plan.rootfs.mounts.iter();
    mounts
        .filter_map(|mount| match &mount.action {
            Action::Bind(bind) => {
                let path = Path::new(std::ffi::OsStr::from_bytes(bind.source.to_bytes()));
                let found = match bind.symlinks {
                    Symlink::Follow => files.find(path),
                    Symlink::NoFollow | Symlink::Copy => files.find_itself(path),
                };
                Some((mount.index, found))
            }
            _ => None,
        })
        .collect()
}

fn shared(plan: &Plan) -> Vec<Kind> {
    let joins = plan.namespaces.join.iter();
    joins
        .filter(|join| namespaces::look_at(join) == Ok(Owner::Caller))
        .map(|join| join.kind)
        .collect()
}

#[cfg(test)]
mod tests;
