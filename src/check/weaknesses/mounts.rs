//! Mounts that show files of the host, or files of the kernel that are not masked.

use crate::check::{Code, Findings, Found, Subject};
use crate::namespaces::Kind;
use crate::rootfs::mount::{Action, Mount};
use crate::rootfs::options::{self, Options, Propagation};
use nix::sys::stat::SFlag;
use std::path::Path;

/// Sockets through which a container can make an engine start another one, with all rights.
const SOCKETS: [&str; 8] = [
    "/run/buildkit/buildkitd.sock",
    "/run/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
];

/// Directories that hold only the host's own programs, settings or kernel.
const SYSTEM: [&str; 9] = [
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/sbin",
    "/usr",
    "/var/spool",
];

/// Directories that hold such directories beside others that may well be a volume's.
const ABOVE_SYSTEM: [&str; 10] = [
    "/home",
    "/opt",
    "/root",
    "/run",
    "/var",
    "/var/lib",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
];

/// Files in which the kernel shows the whole host, and which the engines hide.
const MASKED: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];

/// Files of the kernel in which one write makes the writer root of the host.
const SWITCHES: [&str; 2] = ["/proc/sys", "/proc/sysrq-trigger"];
/// Other files that act on the whole host.
const READ_ONLY: [&str; 3] = ["/proc/bus", "/proc/fs", "/proc/irq"];

fn words(subject: &Subject<'_>, index: usize) -> Options {
    let mounts = subject.spec.mounts().as_deref().unwrap_or_default();
    let words = mounts.get(index).and_then(|it| it.options().as_deref());
    options::parse(words.unwrap_or_default())
}

fn has_attribute(options: &Options, bit: u64) -> bool {
    options.attributes.then(options.tree_attributes).set & bit != 0
}

fn is_read_only(subject: &Subject<'_>, mount: &Mount) -> bool {
    has_attribute(&words(subject, mount.index), libc::MOUNT_ATTR_RDONLY)
}

/// Adds the bind mounts of files of the host that are dangerous.
pub(super) fn binds(subject: &Subject<'_>, findings: &mut Findings) {
    for (mount, found) in subject.binds() {
        let at = format!("mounts[{}].source", mount.index);
        let shown = found.path.display();
        let writable = !is_read_only(subject, mount);
        if found.path == Path::new("/") {
            findings.add(
                Code::BindHostRoot,
                &at,
                "all files of the host are in the container",
            );
            continue;
        }
        if let Some(socket) = SOCKETS.iter().find(|it| reaches(found, it)) {
            let why = format!(
                "{shown} has {socket}, by which the container can start others with all rights"
            );
            findings.add(Code::BindRuntimeSocket, &at, why);
            continue;
        }
        let is_kernels = found.path == Path::new("/proc")
            || found.path == Path::new("/dev")
            || (writable
                && ["/proc", "/sys"]
                    .iter()
                    .any(|it| found.path.starts_with(it)));
        if is_kernels {
            let why = format!("{shown} is the host's own, with all that is in it");
            findings.add(Code::BindHostKernel, &at, why);
            continue;
        }
        let is_system = SYSTEM.iter().any(|it| found.path.starts_with(it))
            || ABOVE_SYSTEM.iter().any(|it| found.path == Path::new(it));
        if writable && is_system {
            let why = format!(
                "{shown} is writable: what is put there decides what root of the host runs"
            );
            findings.add(Code::BindSystemDirectory, &at, why);
            continue;
        }
        let options = words(subject, mount.index);
        let is_directory = found.kind == SFlag::S_IFDIR;
        let nosuid = has_attribute(&options, libc::MOUNT_ATTR_NOSUID);
        if writable && is_directory && !nosuid && !subject.is_in_user_namespace() {
            let why = format!(
                "root of the container can leave a set-user-ID program in {shown} for users of the host"
            );
            findings.add(
                Code::BindAllowsSetuid,
                format!("mounts[{}].options", mount.index),
                why,
            );
        }
    }
}

/// True if the source of the bind is the socket, or the directory that holds it.
fn reaches(found: &Found, socket: &str) -> bool {
    match found.kind {
        SFlag::S_IFDIR => Path::new(socket)
            .parent()
            .is_some_and(|it| it == found.path),
        _ => found.path == Path::new(socket),
    }
}

/// Returns the mount of a new file system of this type at `place`. None if there is none, or if a later
/// mount covers it.
fn file_system<'a>(subject: &'a Subject<'_>, place: &str, fstype: &str) -> Option<&'a Mount> {
    let mut mounts = subject.plan.rootfs.mounts.iter();
    let last = mounts.rfind(|it| it.destination == Path::new(place))?;
    let is_type = match &last.action {
        Action::FileSystem(it) => it.fstype.to_bytes() == fstype.as_bytes(),
        Action::MountCall(it) => it.fstype.to_bytes() == fstype.as_bytes(),
        Action::Bind(_) | Action::Remount(_) => false,
    };
    is_type.then_some(last)
}

/// Adds what mounts of proc and sysfs must not show, or must not let the container write.
pub(super) fn kernel_files(subject: &Subject<'_>, findings: &mut Findings) {
    // Without a mount namespace nothing is mounted; there is another finding for that.
    let masks = &subject.plan.rootfs.masks;
    let covers = |list: &[std::path::PathBuf], path: &str| {
        list.iter().any(|it| Path::new(path).starts_with(it))
    };
    let proc = file_system(subject, "/proc", "proc");
    let sys = file_system(subject, "/sys", "sysfs");
    let is_there = |path: &&str| {
        if path.starts_with("/proc") {
            proc.is_some()
        } else {
            sys.is_some() || binds_sys(subject)
        }
    };
    let of_host = !subject.is_in_user_namespace();
    let shown: Vec<&str> = MASKED
        .into_iter()
        .filter(|path| is_there(path) && !covers(&masks.masked, path))
        .filter(|path| subject.files.stat(path).is_ok())
        .collect();
    if !shown.is_empty() {
        let why = format!("the container sees {}", shown.join(", "));
        findings.add(Code::PathUnmasked, "linux.maskedPaths", why);
    }
    if let Some(proc) = proc.filter(|it| !is_read_only(subject, it)) {
        let open = |list: &[&'static str]| -> Vec<&'static str> {
            let list = list.iter().copied();
            list.filter(|path| !covers(&masks.readonly, path) && !covers(&masks.masked, path))
                .collect()
        };
        let mut rest = open(&READ_ONLY);
        let switches = open(&SWITCHES);
        if of_host && !switches.is_empty() {
            let why = format!(
                "{} in mounts[{}] can be written: one line there makes the host's kernel run a program as root, or stop",
                switches.join(" and "),
                proc.index
            );
            findings.add(Code::ProcWritable, "linux.readonlyPaths", why);
        } else {
            rest.extend(switches);
        }
        if !rest.is_empty() {
            let why = format!("the container can write {}", rest.join(", "));
            findings.add(Code::PathNotReadOnly, "linux.readonlyPaths", why);
        }
    }
    if let Some(sys) = sys.filter(|it| of_host && !is_read_only(subject, it)) {
        let why = "a writable sysfs: its devices and drivers are the host's";
        findings.add(
            Code::SysWritable,
            format!("mounts[{}].options", sys.index),
            why,
        );
    }
}

fn binds_sys(subject: &Subject<'_>) -> bool {
    subject
        .binds()
        .any(|(_, found)| found.path == Path::new("/sys"))
}

/// Adds writable mounts of cgroups.
pub(super) fn cgroups(subject: &Subject<'_>, findings: &mut Findings) {
    for mount in &subject.plan.rootfs.mounts {
        let is_cgroup = match &mount.action {
            Action::FileSystem(it) => it.fstype.as_c_str() == c"cgroup2",
            Action::MountCall(it) => it.fstype.as_c_str() == c"cgroup2",
            Action::Bind(_) | Action::Remount(_) => false,
        };
        if !is_cgroup || is_read_only(subject, mount) {
            continue;
        }
        let at = format!("mounts[{}].options", mount.index);
        if subject.has(Kind::Cgroup) || subject.is_in_user_namespace() {
            let why = "the container can make cgroups and move its processes between them";
            findings.add(Code::CgroupWritable, at, why);
        } else {
            let why = "the cgroups of the whole host can be written: limits lifted, others frozen or killed";
            findings.add(Code::HostCgroupWritable, at, why);
        }
    }
}

/// Adds mounts that propagate to the host.
pub(super) fn propagation(subject: &Subject<'_>, findings: &mut Findings) {
    let why = "what is mounted there in the container appears on the host too";
    for (mount, _) in subject.binds() {
        let words = words(subject, mount.index).propagation;
        if words.iter().any(|(kind, _)| *kind == Propagation::Shared) {
            findings.add(
                Code::PropagationShared,
                format!("mounts[{}].options", mount.index),
                why,
            );
        }
    }
    if matches!(
        subject.plan.rootfs.propagation,
        Some((Propagation::Shared, _))
    ) {
        let why = "mounts below the container's root are shared with whoever it hands them to";
        findings.add(Code::PropagationShared, "linux.rootfsPropagation", why);
    }
}
