//! What the kernel must have: its version, namespaces, file systems, parameters, devices, seccomp.

use crate::check::{Code, Findings, Subject};
use crate::namespaces::kind_of_spec;
use crate::namespaces::{self, Kind};
use crate::rootfs::mount::{Action, as_text};
use crate::rootfs::sysctl::Sysctl;
use crate::{intel_rdt, seccomp};
use caps::Capability;
use nix::errno::Errno;
use std::path::Path;

/// The oldest Linux that casulo supports (docs/kernel.md).
const FLOOR: (u32, u32) = (5, 14);
/// The first Linux whose cgroups have `cpu.idle`.
const CPU_IDLE: (u32, u32) = (5, 15);

/// Adds that the kernel is older than casulo's minimum, or than a limit of the config.
pub(super) fn version(subject: &Subject<'_>, findings: &mut Findings) {
    let mut needs = |path: &str, what: &str, since: (u32, u32)| {
        let (major, minor) = subject.host.kernel;
        if (major, minor) < since {
            let why = format!(
                "{what} needs Linux {}.{}, this is {major}.{minor}",
                since.0, since.1
            );
            findings.add(Code::KernelTooOld, path, why);
        }
    };
    needs("ociVersion", "casulo", FLOOR);
    if subject
        .plan
        .cgroup
        .settings
        .iter()
        .any(|it| it.file == "cpu.idle")
    {
        needs("linux.resources.cpu.idle", "cpu.idle", CPU_IDLE);
    }
}

/// Adds namespaces to make that this kernel lacks or forbids the caller, and wrong paths of those
/// to join.
pub(super) fn namespaces(subject: &Subject<'_>, findings: &mut Findings) {
    let (plan, host) = (&subject.plan.namespaces, subject.host);
    let namespaces = subject
        .spec
        .linux()
        .as_ref()
        .and_then(|it| it.namespaces().as_ref());
    for (index, namespace) in namespaces.into_iter().flatten().enumerate() {
        let kind = kind_of_spec(namespace.typ());
        let at = format!("linux.namespaces[{index}]");
        if !plan.is_new(kind) {
            continue;
        }
        let name = kind.spec_name();
        if subject
            .files
            .stat(format!("/proc/self/ns/{}", kind.proc_name()))
            == Err(Errno::ENOENT)
        {
            let why = format!("this kernel has no {name} namespaces");
            findings.add(Code::NamespaceUnavailable, &at, why);
        }
        let limit = format!("/proc/sys/user/max_{}_namespaces", kind.proc_name());
        if subject
            .files
            .text(&limit)
            .is_some_and(|text| text.trim() == "0")
        {
            let why = format!("no {name} namespace can be made: {limit} is 0");
            findings.add(Code::NamespaceUnavailable, &at, why);
        }
        let may = host.has_capability(Capability::CAP_SYS_ADMIN);
        if kind != Kind::User && !may && !plan.has(Kind::User) {
            let why = format!(
                "a new {name} namespace needs CAP_SYS_ADMIN, or a user namespace beside it"
            );
            findings.add(Code::NamespaceUnavailable, &at, why);
        }
        let switch = "/proc/sys/kernel/unprivileged_userns_clone";
        if kind == Kind::User
            && !may
            && subject
                .files
                .text(switch)
                .is_some_and(|text| text.trim() == "0")
        {
            let why = format!("an ordinary user makes no user namespace here: {switch} is 0");
            findings.add(Code::NamespaceUnavailable, &at, why);
        }
    }
    for join in &plan.join {
        let at = format!("linux.namespaces[{}].path", join.index);
        match namespaces::look_at(join) {
            Err(error) => findings.add(Code::NamespacePath, at, error.to_string()),
            Ok(_) if join.kind == Kind::Mount && subject.shared.contains(&join.kind) => {
                let why = "is the caller's own mount namespace, which no container can be put in";
                findings.add(Code::NamespacePath, at, why);
            }
            Ok(_) => {}
        }
    }
}

/// Adds types of file systems that neither the kernel nor its modules have.
pub(super) fn file_systems(subject: &Subject<'_>, findings: &mut Findings) {
    // If the list cannot be read, nothing is known.
    let Some(known) = subject.files.text("/proc/filesystems") else {
        return;
    };
    for mount in &subject.plan.rootfs.mounts {
        let fstype = match &mount.action {
            Action::FileSystem(it) => as_text(&it.fstype),
            Action::MountCall(it) => as_text(&it.fstype),
            Action::Bind(_) | Action::Remount(_) => continue,
        };
        // A type may have a subtype after a dot (fuse.sshfs): mount(8).
        let name = fstype.split('.').next().unwrap_or_default();
        let is_known = known
            .lines()
            .any(|line| line.split_whitespace().last() == Some(name));
        if !name.is_empty() && !is_known && !has_module(subject, name) {
            findings.add(
                Code::FileSystemUnknown,
                format!("mounts[{}].type", mount.index),
                format!("this kernel has no file system {fstype}"),
            );
        }
    }
}

/// True if a module would be loaded for the file system, by its name or by the alias `fs-NAME`.
fn has_module(subject: &Subject<'_>, name: &str) -> bool {
    let files = subject.files;
    let release = files.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let directory = Path::new("/lib/modules").join(release.trim());
    let lists = |file: &str, what: &str| {
        let text = files.text(directory.join(file));
        text.is_some_and(|text| text.contains(what))
    };
    lists("modules.dep", &format!("/{name}.ko"))
        || lists("modules.alias", &format!("alias fs-{name} "))
}

/// Adds kernel parameters that this kernel lacks. Those of one network device are left out, because
/// the container's devices are not the host's.
pub(super) fn sysctls(subject: &Subject<'_>, findings: &mut Findings) {
    let of_a_device = |it: &&Sysctl| !it.path.contains("/conf/") && !it.path.contains("/neigh/");
    for sysctl in subject.plan.rootfs.sysctls.iter().filter(of_a_device) {
        let file = Path::new("/proc").join(&sysctl.path);
        if subject.files.stat(&file) == Err(Errno::ENOENT) {
            findings.add(
                Code::SysctlMissing,
                format!("linux.sysctl[{:?}]", sysctl.key),
                format!("{} does not exist", file.display()),
            );
        }
    }
}

/// Adds network devices that the host lacks.
pub(super) fn net_devices(subject: &Subject<'_>, findings: &mut Findings) {
    for device in &subject.plan.namespaces.net_devices {
        let directory = Path::new("/sys/class/net").join(&device.host_name);
        if subject.files.stat(&directory) == Err(Errno::ENOENT) {
            findings.add(
                Code::NetDeviceMissing,
                format!("linux.netDevices[{:?}]", device.host_name),
                format!("the host has no network device {}", device.host_name),
            );
        }
    }
}

/// Adds that resctrl is not mounted, if the config asks for an RDT class.
pub(super) fn resctrl(subject: &Subject<'_>, findings: &mut Findings) {
    if subject.plan.intel_rdt.is_some()
        && let Err(error) = intel_rdt::mount_of_host()
    {
        findings.add(Code::ResctrlMissing, "linux.intelRdt", error.to_string());
    }
}

/// Adds why the filter cannot be compiled, as `create` will do it, and that its listener's socket
/// is missing.
pub(super) fn seccomp(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(filter) = &subject.plan.seccomp else {
        return;
    };
    if let Err(error) = seccomp::compile(filter) {
        findings.add(Code::SeccompRefused, "linux.seccomp", error.to_string());
    }
    // A relative path starts at the working directory of `create`.
    if let Some(path) = filter.listener_path.as_ref().filter(|it| it.is_absolute())
        && let Err(errno) = subject.files.stat(path)
    {
        findings.add(
            Code::ListenerMissing,
            "linux.seccomp.listenerPath",
            format!("{}: {}", path.display(), crate::error::errno_text(errno)),
        );
    }
}
