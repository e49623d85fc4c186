//! After the parse: what the types cannot say no to, and what belongs to no domain.

use super::Problem;
use oci_spec::runtime::{LinuxNamespaceType, LinuxResources, Process, Spec};
use std::path::{Path, PathBuf};

/// Longest name that sethostname(2) and setdomainname(2) take: `__NEW_UTS_LEN`.
const MAX_UTS_NAME: usize = 64;

/// True if the types may have misread this config; [`super::repair`] then decides.
pub(super) fn is_doubtful(spec: &Spec) -> bool {
    resources_of(spec).is_some_and(is_doubtful_resources)
        || spec.process().as_ref().is_some_and(is_doubtful_process)
}

/// True if the types may have misread these resources.
pub(super) fn is_doubtful_resources(resources: &LinuxResources) -> bool {
    // 0 is a limit, but it is also what the types make of `"pids": {}`.
    let pids = resources.pids().as_ref();
    pids.is_some_and(|pids| pids.limit() == 0)
}

fn resources_of(spec: &Spec) -> Option<&LinuxResources> {
    spec.linux().as_ref()?.resources().as_ref()
}

/// True if the types may have misread this process.
pub(super) fn is_doubtful_process(process: &Process) -> bool {
    // They know flags that are misspelt, and make up a class where none is given.
    let scheduler = process.scheduler().as_ref();
    process.io_priority().is_some() || scheduler.is_some_and(|it| it.flags().is_some())
}

/// The empty string means "not set": the specification's own Go types cannot tell the two apart,
/// and engines built on them send either. Nobody behind this needs to think of it.
pub(super) fn normalise(spec: &mut Spec) {
    unset_empty(spec.hostname_mut());
    unset_empty(spec.domainname_mut());
    if let Some(process) = spec.process_mut() {
        normalise_process(process);
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        unset_empty(mount.typ_mut());
        unset_empty_path(mount.source_mut());
    }
    let Some(linux) = spec.linux_mut() else {
        return;
    };
    unset_empty_path(linux.cgroups_path_mut());
    unset_empty(linux.rootfs_propagation_mut());
    unset_empty(linux.mount_label_mut());
    for namespace in linux.namespaces_mut().iter_mut().flatten() {
        if is_empty(namespace.path()) {
            namespace.set_path(None);
        }
    }
    for device in linux
        .net_devices_mut()
        .iter_mut()
        .flat_map(|map| map.values_mut())
    {
        unset_empty(device.name_mut());
    }
    if let Some(resources) = linux.resources_mut() {
        normalise_resources(resources);
    }
    if let Some(seccomp) = linux.seccomp_mut() {
        if is_empty(seccomp.listener_path()) {
            seccomp.set_listener_path(None);
        }
        if seccomp.listener_metadata().as_deref() == Some("") {
            seccomp.set_listener_metadata(None);
        }
    }
    if let Some(rdt) = linux.intel_rdt_mut() {
        if rdt.clos_id().as_deref() == Some("") {
            rdt.set_clos_id(None);
        }
        if rdt.l3_cache_schema().as_deref() == Some("") {
            rdt.set_l3_cache_schema(None);
        }
        if rdt.mem_bw_schema().as_deref() == Some("") {
            rdt.set_mem_bw_schema(None);
        }
    }
    if let Some(policy) = linux.memory_policy_mut()
        && policy.nodes().as_deref() == Some("")
    {
        policy.set_nodes(None);
    }
}

/// [`normalise`], for resources.
pub(super) fn normalise_resources(resources: &mut LinuxResources) {
    let Some(cpu) = resources.cpu_mut() else {
        return;
    };
    if cpu.cpus().as_deref() == Some("") {
        cpu.set_cpus(None);
    }
    if cpu.mems().as_deref() == Some("") {
        cpu.set_mems(None);
    }
}

/// [`normalise`], for a process.
pub(super) fn normalise_process(process: &mut Process) {
    if process.apparmor_profile().as_deref() == Some("") {
        process.set_apparmor_profile(None);
    }
    if process.selinux_label().as_deref() == Some("") {
        process.set_selinux_label(None);
    }
}

fn unset_empty(text: &mut Option<String>) {
    text.take_if(|text| text.is_empty());
}

fn unset_empty_path(path: &mut Option<PathBuf>) {
    path.take_if(|path| path.as_os_str().is_empty());
}

fn is_empty(path: &Option<PathBuf>) -> bool {
    path.as_deref() == Some(Path::new(""))
}

/// Adds what is wrong with the parts that no domain plans.
#[inline(never)]
pub(super) fn check(spec: &Spec, problems: &mut Vec<Problem>) {
    let mut add = |path: &str, why: &str| problems.push((path.to_owned(), why.to_owned()));
    if let Some(why) = version_problem(spec.version()) {
        add("ociVersion", &why);
    }
    match spec.root() {
        None => add("root", "missing"),
        Some(root) if root.path().as_os_str().is_empty() => add("root.path", "missing"),
        Some(_) => {}
    }
    for (path, name) in [
        ("hostname", spec.hostname()),
        ("domainname", spec.domainname()),
    ] {
        let Some(name) = name else { continue };
        if !has_uts_namespace(spec) {
            // Without one the host's own name would change.
            add(path, "needs a uts namespace in linux.namespaces");
        }
        if name.len() > MAX_UTS_NAME {
            add(path, &format!("longer than {MAX_UTS_NAME} bytes"));
        }
    }
    if spec
        .annotations()
        .iter()
        .flatten()
        .any(|(key, _)| key.is_empty())
    {
        add("annotations", "the name of an annotation is empty");
    }
    if let Some(resources) = resources_of(spec) {
        check_resources(resources, problems);
    }
}

/// [`check`], for resources.
pub(super) fn check_resources(resources: &LinuxResources, problems: &mut Vec<Problem>) {
    let huge = resources.hugepage_limits().as_ref();
    for (index, limit) in huge.into_iter().flatten().enumerate() {
        if limit.limit() < 0 {
            let path = format!("linux.resources.hugepageLimits[{index}].limit");
            problems.push((path, "must not be negative".to_owned()));
        }
    }
}

fn has_uts_namespace(spec: &Spec) -> bool {
    let namespaces = spec
        .linux()
        .as_ref()
        .and_then(|it| it.namespaces().as_ref());
    namespaces
        .into_iter()
        .flatten()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Uts)
}

/// Why `version` cannot be accepted, if so. The specification is compatible within a major
/// version (config.md, "Specification version"), so every 1.x.y is; what a newer minor version
/// adds are unknown fields, ignored like any other.
fn version_problem(version: &str) -> Option<String> {
    if version.is_empty() {
        return Some("missing".to_owned());
    }
    let Some(major) = semver_major(version) else {
        return Some(format!(
            "{version:?} is not a semantic version such as 1.3.0"
        ));
    };
    (major != "1").then(|| format!("{version} is not supported, only 1.x.y is"))
}

/// The major part of a semantic version 2.0.0, None if it is not one.
fn semver_major(version: &str) -> Option<&str> {
    let (version, build) = split(version, '+');
    let (core, pre_release) = split(version, '-');
    let mut numbers = core.split('.');
    let major = numbers.next()?;
    let minor = numbers.next()?;
    let patch = numbers.next()?;
    let is_number = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'))
    };
    let is_suffix = |text: &str| {
        text.split('.').all(|part| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    let well_formed = numbers.next().is_none()
        && [major, minor, patch].into_iter().all(is_number)
        && [pre_release, build].into_iter().flatten().all(is_suffix);
    well_formed.then_some(major)
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_1_is_accepted() {
        for version in [
            "1.0.0",
            "1.0.2-dev",
            "1.0.0-rc5",
            "1.1.0-rc.2",
            "1.2.0",
            "1.2.1+dev",
            "1.3.0",
            "1.3.0+dev",
            "1.3.0-1.2+a.b",
            "1.17.0",
        ] {
            assert_eq!(version_problem(version), None, "{version}");
        }
    }

    #[test]
    fn other_major_versions_are_refused_by_number() {
        for version in ["0.5.0-dev", "2.0.0", "10.0.0"] {
            let why = version_problem(version).unwrap_or_default();
            assert!(why.contains("only 1.x.y"), "{version}: {why}");
        }
    }

    #[test]
    fn what_is_no_semantic_version_is_refused_as_such() {
        for version in [
            "invalid",
            "1",
            "1.0",
            "1.0.0.0",
            "v1.0.0",
            "1.0.x",
            "1.0.0-",
            "1.0.0+",
            "1..0",
            "01.0.0",
            "1.0.0 ",
            "-1.0.0",
            "1.0.0-a..b",
            "1.0.0+a_b",
        ] {
            let why = version_problem(version).unwrap_or_default();
            assert!(why.contains("not a semantic version"), "{version}: {why}");
        }
        assert_eq!(version_problem("").as_deref(), Some("missing"));
    }
}
