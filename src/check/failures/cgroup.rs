//! Whether the cgroup can be made and can have its limits.

use crate::cgroups::Need;
use crate::cgroups::systemd::Manager;
use crate::check::{Code, Findings, Subject};
use crate::error::errno_text;
use nix::errno::Errno;
use nix::unistd::AccessFlags;
use std::path::{Path, PathBuf};

const PATH: &str = "linux.cgroupsPath";

/// Adds why the cgroup, or systemd's scope for it, could not be made.
pub(super) fn cgroup(subject: &Subject<'_>, findings: &mut Findings) {
    let plan = &subject.plan.cgroup;
    if let Some(scope) = &plan.scope {
        systemd(subject, &scope.scope.manager, findings);
        controllers(subject, &plan.mount, findings);
    }
    let Some(path) = &plan.path else {
        return;
    };
    if plan.need == Need::Optional {
        return;
    }
    let Some(nearest) = subject.files.nearest(path) else {
        return;
    };
    if nearest == path {
        in_use(subject, path, findings);
    } else if let Err(errno) = subject.files.access(nearest, AccessFlags::W_OK) {
        let why = format!(
            "no cgroup can be made in {}: {}",
            nearest.display(),
            errno_text(errno)
        );
        findings.add(Code::CgroupDenied, PATH, why);
    }
    let above = if nearest == path {
        path.parent()
    } else {
        Some(nearest)
    };
    controllers(subject, above.unwrap_or(&plan.mount), findings);
}

fn systemd(subject: &Subject<'_>, manager: &Manager, findings: &mut Findings) {
    let sockets: Vec<PathBuf> = match manager {
        Manager::System => vec![
            "/run/systemd/private".into(),
            "/run/dbus/system_bus_socket".into(),
        ],
        Manager::User { runtime_dir } => {
            vec![runtime_dir.join("systemd/private"), runtime_dir.join("bus")]
        }
    };
    if sockets.iter().all(|path| subject.files.stat(path).is_err()) {
        let names: Vec<String> = sockets.iter().map(|it| it.display().to_string()).collect();
        let why = format!(
            "systemd cannot be reached: there is no {}",
            names.join(" and no ")
        );
        findings.add(Code::SystemdMissing, PATH, why);
    }
}

/// Adds that the cgroup is in use: one that exists must be empty and not frozen.
fn in_use(subject: &Subject<'_>, path: &Path, findings: &mut Findings) {
    let events = subject
        .files
        .text(path.join("cgroup.events"))
        .unwrap_or_default();
    let says = |line: &str| events.lines().any(|it| it == line);
    let why = if says("populated 1") {
        "container's cgroup is not empty"
    } else if says("frozen 1") {
        "container's cgroup unexpectedly frozen"
    } else {
        return;
    };
    findings.add(
        Code::CgroupInUse,
        PATH,
        format!("{}: {why}", path.display()),
    );
}

/// Adds the controllers of limits that are missing: in the cgroup `above` the container's, or further
/// up, from where they are passed on.
fn controllers(subject: &Subject<'_>, above: &Path, findings: &mut Findings) {
    let plan = &subject.plan.cgroup;
    let mut seen: Vec<&str> = Vec::new();
    for setting in &plan.settings {
        let Some(controller) = setting.controller() else {
            continue;
        };
        // Without the controller there is no limit to lift, so the setting needs none.
        if setting.absent == crate::cgroups::limits::Absent::Skip || seen.contains(&controller) {
            continue;
        }
        seen.push(controller);
        let at = json_path(subject, &setting.file, controller);
        let up = above
            .ancestors()
            .take_while(|it| it.starts_with(&plan.mount));
        let mut denied = None;
        let mut found = false;
        for directory in up {
            let has = |file: &str| {
                let list = subject.files.text(directory.join(file)).unwrap_or_default();
                list.split_whitespace().any(|it| it == controller)
            };
            if has("cgroup.subtree_control") {
                found = true;
                break;
            }
            let file = directory.join("cgroup.subtree_control");
            if let Err(errno) = subject.files.access(&file, AccessFlags::W_OK) {
                denied = denied.or(Some((file, errno)));
            }
            if has("cgroup.controllers") {
                found = true;
                break;
            }
        }
        match (found, denied) {
            (false, _) => {
                let why = format!(
                    "cgroup v2 has no {controller} controller here, which {} needs",
                    setting.file
                );
                findings.add(Code::ControllerMissing, at, why);
            }
            (true, Some((file, errno))) if errno != Errno::ENOENT => {
                let why = format!(
                    "the {controller} controller cannot be passed on by {}: {}",
                    file.display(),
                    errno_text(errno)
                );
                findings.add(Code::CgroupDenied, at, why);
            }
            (true, _) => {}
        }
    }
}

/// Returns the JSON path of the setting that is written into a cgroup file.
fn json_path(subject: &Subject<'_>, file: &str, controller: &str) -> String {
    let linux = subject.spec.linux().as_ref();
    let resources = linux.and_then(|it| it.resources().as_ref());
    let unified = resources.and_then(|it| it.unified().as_ref());
    if unified.is_some_and(|it| it.contains_key(file)) {
        return format!("linux.resources.unified[{file:?}]");
    }
    let field = match controller {
        "cpu" => "cpu",
        "cpuset" if file == "cpuset.mems" => "cpu.mems",
        "cpuset" => "cpu.cpus",
        "io" => "blockIO",
        "hugetlb" => "hugepageLimits",
        other => other,
    };
    format!("linux.resources.{field}")
}
