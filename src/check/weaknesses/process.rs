//! The process: new privileges, system calls, labels.

use crate::check::{Code, Findings, Subject};
use crate::seccomp::{self, Action};

/// Adds that the process may gain privileges by set-user-ID programs and file capabilities.
pub(super) fn privileges(subject: &Subject<'_>, findings: &mut Findings) {
    if !subject.plan.process.no_new_privs && subject.spec.process().is_some() {
        let why = "set-user-ID programs and file capabilities in the image give the process what it was not given";
        findings.add(Code::NewPrivileges, "process.noNewPrivileges", why);
    }
}

/// Adds what the system call filter lacks.
pub(super) fn seccomp(subject: &Subject<'_>, findings: &mut Findings) {
    let path = "linux.seccomp";
    let Some(filter) = &subject.plan.seccomp else {
        let why = "no filter: the whole system call interface of the kernel is open";
        findings.add(Code::SeccompMissing, path, why);
        return;
    };
    if filter.default.lets_pass() {
        let refused = filter
            .rules
            .iter()
            .filter(|it| it.action != filter.default)
            .count();
        let why = format!(
            "lets every call pass but those of {refused} rules, new ones of later kernels too"
        );
        findings.add(
            Code::SeccompDefaultAllow,
            format!("{path}.defaultAction"),
            why,
        );
    }
    for (rule, place, name) in seccomp::unknown_names(filter) {
        let what = match filter.rules.get(rule).map(|it| it.action) {
            Some(Action::Allow | Action::Log) => "is allowed",
            _ => "is refused",
        };
        let why = format!("no architecture has a system call {name:?}: nothing {what} by it");
        findings.add(
            Code::SeccompUnknownName,
            format!("{path}.syscalls[{rule}].names[{place}]"),
            why,
        );
    }
}

/// Adds what is missing of mandatory access control, if the host has it.
pub(super) fn labels(subject: &Subject<'_>, findings: &mut Findings) {
    let process = subject.spec.process().as_ref();
    let profile = process.and_then(|it| it.apparmor_profile().as_deref());
    if profile == Some("unconfined") || (profile.is_none() && subject.host.apparmor) {
        let why = "AppArmor does not confine the process";
        findings.add(Code::ApparmorUnconfined, "process.apparmorProfile", why);
    }
    let label = process.and_then(|it| it.selinux_label().as_deref());
    if label.is_none() && subject.host.selinux {
        let why = "the process keeps the SELinux label of casulo's caller";
        findings.add(Code::SelinuxUnlabelled, "process.selinuxLabel", why);
    }
}
