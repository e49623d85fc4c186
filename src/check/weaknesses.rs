//! What weakens the isolation of a container that would start, as far as the config and the plan show it.
//! The host is only asked which of the files that should be hidden it has.

mod capabilities;
mod devices;
mod mounts;
mod namespaces;
mod process;

use super::{Code, Findings, Subject};
use crate::config;

/// Adds a finding for each weakness.
pub(super) fn find(subject: &Subject<'_>, findings: &mut Findings) {
    namespaces::shared(subject, findings);
    namespaces::id_maps(subject, findings);
    capabilities::sets(subject, findings);
    devices::rules(subject, findings);
    devices::nodes(subject, findings);
    mounts::binds(subject, findings);
    mounts::kernel_files(subject, findings);
    mounts::cgroups(subject, findings);
    mounts::propagation(subject, findings);
    process::privileges(subject, findings);
    process::seccomp(subject, findings);
    process::labels(subject, findings);
    outside(subject, findings);
    limits(subject, findings);
    for (path, why) in config::case::find(&subject.raw) {
        findings.add(Code::MemberCase, path, why);
    }
}

/// The prefixes of annotations that change what casulo does to the host, as `casulo features` lists them.
const SENSITIVE: [&str; 2] = ["run.oci.", "org.systemd.property."];

/// Adds what the config makes casulo do outside the container.
fn outside(subject: &Subject<'_>, findings: &mut Findings) {
    for hook in &subject.plan.hooks.hooks {
        if hook.kind != crate::hooks::Kind::StartContainer {
            let path = hook.path.to_string_lossy();
            let why = format!("{path} runs on the host, with the rights of casulo's caller");
            let at = format!("hooks.{}[{}]", hook.kind.name(), hook.index);
            findings.add(Code::HookOnHost, at, why);
        }
    }
    for (key, _) in &subject.plan.annotations {
        if SENSITIVE.iter().any(|prefix| key.starts_with(prefix)) {
            let why = "changes what casulo does, or what systemd is told";
            findings.add(
                Code::AnnotationSensitive,
                format!("annotations[{key:?}]"),
                why,
            );
        }
    }
}

/// Adds each limit that is missing and without which one container can use up the host's memory or process
/// ids.
fn limits(subject: &Subject<'_>, findings: &mut Findings) {
    for (code, file, path, what) in [
        (
            Code::MemoryUnlimited,
            "memory.max",
            "linux.resources.memory.limit",
            "memory",
        ),
        (
            Code::PidsUnlimited,
            "pids.max",
            "linux.resources.pids.limit",
            "process ids",
        ),
    ] {
        let settings = &subject.plan.cgroup.settings;
        if !settings
            .iter()
            .any(|it| it.file == file && it.value != "max")
        {
            findings.add(
                code,
                path,
                format!("the container can use up all {what} of the host"),
            );
        }
    }
}
