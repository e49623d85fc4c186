//! The table of codes, one row for each. A code is never renamed and never changes its meaning.

use super::code::Code::{self, self as C};
use super::code::Severity::{self, Danger, Fail, Weak};

/// A row of the table: the code, its name, its severity, and a hint at what to do.
pub(super) type Row = (C, &'static str, Severity, &'static str);

/// Every code, in the order in which findings are shown.
pub(super) const ALL: &[Row] = &[
    (
        C::ConfigInvalid,
        "config-invalid",
        Fail,
        "correct the value",
    ),
    (
        C::HostUnable,
        "host-unable",
        Fail,
        "take the setting out, or give the host what it asks for",
    ),
    (
        C::KernelTooOld,
        "kernel-too-old",
        Fail,
        "use a newer kernel (docs/kernel.md)",
    ),
    (
        C::NamespaceUnavailable,
        "namespace-unavailable",
        Fail,
        "see user_namespaces(7) and /proc/sys/user, or run as root",
    ),
    (
        C::NamespacePath,
        "namespace-path",
        Fail,
        "name a namespace of this type that exists",
    ),
    (
        C::IdMapDenied,
        "id-map-denied",
        Fail,
        "give the user such a range in /etc/subuid and /etc/subgid, and install newuidmap",
    ),
    (
        C::SystemdMissing,
        "systemd-missing",
        Fail,
        "run without --systemd-cgroup, or where systemd runs",
    ),
    (
        C::CgroupInUse,
        "cgroup-in-use",
        Fail,
        "give the container a cgroupsPath of its own",
    ),
    (
        C::CgroupDenied,
        "cgroup-denied",
        Fail,
        "have the cgroup delegated to the caller, or use --systemd-cgroup",
    ),
    (
        C::ControllerMissing,
        "controller-missing",
        Fail,
        "take the limit out, or give cgroup v2 the controller (cgroup_no_v1=all)",
    ),
    (
        C::RootMissing,
        "root-missing",
        Fail,
        "put the root file system there",
    ),
    (
        C::MountSource,
        "mount-source",
        Fail,
        "make the source, or take the mount out",
    ),
    (
        C::MountPointUnsafe,
        "mount-point-unsafe",
        Fail,
        "make it a directory in the image",
    ),
    (
        C::FileSystemUnknown,
        "file-system-unknown",
        Fail,
        "load the kernel's module for it, or correct the type",
    ),
    (
        C::DeviceMissing,
        "device-missing",
        Fail,
        "take the device out, or make it on the host",
    ),
    (
        C::ProgramMissing,
        "program-missing",
        Fail,
        "correct process.args or PATH, or put the program into the image",
    ),
    (
        C::InterpreterMissing,
        "interpreter-missing",
        Fail,
        "put the interpreter or dynamic loader into the image",
    ),
    (
        C::ProgramForeign,
        "program-foreign",
        Fail,
        "use an image for this machine, or begin the script with #!",
    ),
    (
        C::CwdNoDirectory,
        "cwd-no-folder",
        Fail,
        "correct process.cwd",
    ),
    (
        C::HookMissing,
        "hook-missing",
        Fail,
        "install the program and make it executable",
    ),
    (
        C::RlimitTooHigh,
        "rlimit-too-high",
        Fail,
        "lower the hard limit, or raise the caller's",
    ),
    (
        C::OomScoreDenied,
        "oom-score-denied",
        Fail,
        "raise the score, or run as root",
    ),
    (
        C::ApparmorProfileMissing,
        "apparmor-profile-missing",
        Fail,
        "load the profile with apparmor_parser",
    ),
    (
        C::SeccompRefused,
        "seccomp-refused",
        Fail,
        "correct linux.seccomp",
    ),
    (
        C::ListenerMissing,
        "listener-missing",
        Fail,
        "start the seccomp agent first",
    ),
    (
        C::SysctlMissing,
        "sysctl-missing",
        Fail,
        "load the module that has the parameter, or take it out",
    ),
    (
        C::NetDeviceMissing,
        "net-device-missing",
        Fail,
        "make the device first",
    ),
    (
        C::ResctrlMissing,
        "resctrl-missing",
        Fail,
        "mount resctrl at /sys/fs/resctrl, or take linux.intelRdt out",
    ),
    (
        C::HostPidNamespace,
        "host-pid-namespace",
        Danger,
        "add {\"type\": \"pid\"} to linux.namespaces",
    ),
    (
        C::HostNetworkNamespace,
        "host-network-namespace",
        Danger,
        "add {\"type\": \"network\"} to linux.namespaces",
    ),
    (
        C::HostMountNamespace,
        "host-mount-namespace",
        Danger,
        "add {\"type\": \"mount\"} to linux.namespaces",
    ),
    (
        C::IdMapHostRoot,
        "id-map-host-root",
        Danger,
        "map to ids that nobody on the host has",
    ),
    (
        C::CapabilityDangerous,
        "capability-dangerous",
        Danger,
        "take it out of all five sets",
    ),
    (
        C::DevicesAllAllowed,
        "devices-all-allowed",
        Danger,
        "begin linux.resources.devices with {\"allow\": false, \"access\": \"rwm\"}",
    ),
    (
        C::DeviceDangerous,
        "device-dangerous",
        Danger,
        "take the device and its rule out",
    ),
    (
        C::BindHostRoot,
        "bind-host-root",
        Danger,
        "bind only the directories that are needed",
    ),
    (
        C::BindRuntimeSocket,
        "bind-runtime-socket",
        Danger,
        "keep the engine's socket out of the container",
    ),
    (
        C::BindHostKernel,
        "bind-host-kernel",
        Danger,
        "mount a new proc, sysfs or tmpfs instead",
    ),
    (
        C::BindSystemDirectory,
        "bind-system-folder",
        Danger,
        "bind it read-only, or another directory",
    ),
    (
        C::ProcWritable,
        "proc-writable",
        Danger,
        "name /proc/sys and /proc/sysrq-trigger in linux.readonlyPaths",
    ),
    (
        C::SysWritable,
        "sys-writable",
        Danger,
        "add `ro` to the options of the mount",
    ),
    (
        C::HostCgroupWritable,
        "host-cgroup-writable",
        Danger,
        "add {\"type\": \"cgroup\"} to linux.namespaces, or `ro` to the options of the mount",
    ),
    (
        C::HostIpcNamespace,
        "host-ipc-namespace",
        Weak,
        "add {\"type\": \"ipc\"} to linux.namespaces",
    ),
    (
        C::HostUtsNamespace,
        "host-uts-namespace",
        Weak,
        "add {\"type\": \"uts\"} to linux.namespaces",
    ),
    (
        C::HostCgroupNamespace,
        "host-cgroup-namespace",
        Weak,
        "add {\"type\": \"cgroup\"} to linux.namespaces",
    ),
    (
        C::HostUserNamespace,
        "host-user-namespace",
        Weak,
        "add {\"type\": \"user\"} to linux.namespaces, with mappings",
    ),
    (
        C::RootWithoutUserNamespace,
        "root-without-user-namespace",
        Weak,
        "run as another user, or add a user namespace with mappings",
    ),
    (
        C::CapabilityAdded,
        "capability-added",
        Weak,
        "take it out if the program runs without it",
    ),
    (
        C::CapabilityInheritable,
        "capability-inheritable",
        Weak,
        "leave process.capabilities.inheritable empty",
    ),
    (
        C::NewPrivileges,
        "new-privileges",
        Weak,
        "set process.noNewPrivileges to true",
    ),
    (
        C::SeccompMissing,
        "seccomp-missing",
        Weak,
        "add linux.seccomp, such as the engines' default profile",
    ),
    (
        C::SeccompDefaultAllow,
        "seccomp-default-allow",
        Weak,
        "list what is allowed, with SCMP_ACT_ERRNO as the default",
    ),
    (
        C::SeccompUnknownName,
        "seccomp-unknown-name",
        Weak,
        "correct the name",
    ),
    (
        C::ApparmorUnconfined,
        "apparmor-unconfined",
        Weak,
        "name a profile in process.apparmorProfile",
    ),
    (
        C::SelinuxUnlabelled,
        "selinux-unlabelled",
        Weak,
        "give a label in process.selinuxLabel",
    ),
    (
        C::PathUnmasked,
        "path-unmasked",
        Weak,
        "name it in linux.maskedPaths",
    ),
    (
        C::PathNotReadOnly,
        "path-not-read-only",
        Weak,
        "name it in linux.readonlyPaths",
    ),
    (
        C::CgroupWritable,
        "cgroup-writable",
        Weak,
        "add `ro` to the options of the mount",
    ),
    (
        C::BindAllowsSetuid,
        "bind-allows-setuid",
        Weak,
        "add `nosuid` (and `nodev`) or `ro` to the options of the mount",
    ),
    (
        C::PropagationShared,
        "propagation-shared",
        Weak,
        "use `rslave` or `rprivate`",
    ),
    (
        C::HookOnHost,
        "hook-on-host",
        Weak,
        "make sure that only root can write the program and what it reads",
    ),
    (
        C::AnnotationSensitive,
        "annotation-sensitive",
        Weak,
        "allow it only from configs that you trust",
    ),
    (
        C::MemberCase,
        "member-case",
        Weak,
        "write the name as the specification does",
    ),
    (
        C::MemoryUnlimited,
        "memory-unlimited",
        Weak,
        "set linux.resources.memory.limit",
    ),
    (
        C::PidsUnlimited,
        "pids-unlimited",
        Weak,
        "set linux.resources.pids.limit",
    ),
];

impl Code {
    fn row(self) -> Option<&'static Row> {
        ALL.iter().find(|(code, ..)| *code == self)
    }

    /// Returns the code with this name, if there is one.
    pub(crate) fn parse(text: &str) -> Option<Code> {
        let row = ALL.iter().find(|(_, name, ..)| *name == text)?;
        Some(row.0)
    }

    /// The code's name.
    pub(crate) fn as_str(self) -> &'static str {
        self.row().map_or("", |(_, name, ..)| name)
    }

    /// The severity of findings of this code.
    pub(crate) fn severity(self) -> Severity {
        self.row()
            .map_or(Severity::Fail, |(_, _, severity, _)| *severity)
    }

    /// A hint at what to do about it.
    pub(crate) fn hint(self) -> &'static str {
        self.row().map_or("", |(.., hint)| hint)
    }
}
