//! What weakens the isolation of a container that would start: seen in the config and the plan. The host is
//! only asked which of the files that should be hidden it has.

mod capabilities;
mod devices;
mod mounts;
mod namespaces;
mod process;

use super::{Code, Findings, Subject};

/// Adds all of it.
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
}

/// Annotations that change what casulo does to the host, with the words of `casulo features`.
const SENSITIVE: [&str; 2] = ["run.oci.", "org.systemd.property."];

/// What the config has casulo do outside the container.
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

/// Limits without which one container can take the host's memory or process ids from the others.
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
