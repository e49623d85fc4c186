//! Failures of a bundle whose plan has no problem: those that `create` notices only while it acts.

mod cgroup;
mod files;
mod identity;
mod kernel;
mod program;
mod way;

use super::{Findings, Subject};

/// Adds a finding for each such failure.
pub(super) fn find(subject: &Subject<'_>, findings: &mut Findings) {
    kernel::version(subject, findings);
    kernel::namespaces(subject, findings);
    kernel::file_systems(subject, findings);
    kernel::sysctls(subject, findings);
    kernel::net_devices(subject, findings);
    kernel::resctrl(subject, findings);
    kernel::seccomp(subject, findings);
    cgroup::cgroup(subject, findings);
    identity::id_maps(subject, findings);
    identity::rlimits(subject, findings);
    identity::oom_score(subject, findings);
    identity::apparmor(subject, findings);
    files::sources(subject, findings);
    files::image(subject, findings);
    files::devices(subject, findings);
    files::hooks(subject, findings);
}
