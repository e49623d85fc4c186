//! The codes of findings. Their names, severities and hints are rows of [`super::table`]; docs/check.md
//! explains each.

use super::table::{ALL, Row};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The container would not start.
    Fail,
    /// What is in the container can take over the host, or look at it, without a flaw in the kernel.
    Danger,
    /// A layer of isolation is missing.
    Weak,
}

impl Severity {
    /// Its name in the output.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Fail => "fail",
            Severity::Danger => "danger",
            Severity::Weak => "weak",
        }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "the table below and docs/check.md say what each means"
)]
pub enum Code {
    ConfigInvalid,
    HostUnable,
    KernelTooOld,
    NamespaceUnavailable,
    NamespacePath,
    IdMapDenied,
    SystemdMissing,
    CgroupInUse,
    CgroupDenied,
    ControllerMissing,
    RootMissing,
    MountSource,
    MountPointUnsafe,
    FileSystemUnknown,
    DeviceMissing,
    ProgramMissing,
    InterpreterMissing,
    ProgramForeign,
    CwdNoFolder,
    HookMissing,
    RlimitTooHigh,
    OomScoreDenied,
    ApparmorProfileMissing,
    SeccompRefused,
    ListenerMissing,
    SysctlMissing,
    NetDeviceMissing,
    ResctrlMissing,
    HostPidNamespace,
    HostNetworkNamespace,
    HostMountNamespace,
    IdMapHostRoot,
    CapabilityDangerous,
    DevicesAllAllowed,
    DeviceDangerous,
    BindHostRoot,
    BindRuntimeSocket,
    BindHostKernel,
    BindSystemFolder,
    ProcWritable,
    SysWritable,
    HostCgroupWritable,
    HostIpcNamespace,
    HostUtsNamespace,
    HostCgroupNamespace,
    HostUserNamespace,
    RootWithoutUserNamespace,
    CapabilityAdded,
    CapabilityInheritable,
    NewPrivileges,
    SeccompMissing,
    SeccompDefaultAllow,
    SeccompUnknownName,
    ApparmorUnconfined,
    SelinuxUnlabelled,
    PathUnmasked,
    PathNotReadOnly,
    CgroupWritable,
    BindAllowsSetuid,
    PropagationShared,
    HookOnHost,
    AnnotationSensitive,
    MemoryUnlimited,
    PidsUnlimited,
}

impl Code {
    fn row(self) -> Option<&'static Row> {
        ALL.iter().find(|(code, ..)| *code == self)
    }

    /// The code of a text.
    pub fn parse(text: &str) -> Option<Code> {
        let row = ALL.iter().find(|(_, name, ..)| *name == text)?;
        Some(row.0)
    }

    /// Its text.
    pub fn as_str(self) -> &'static str {
        self.row().map_or("", |(_, name, ..)| name)
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        self.row()
            .map_or(Severity::Fail, |(_, _, severity, _)| *severity)
    }

    /// What can be done about it.
    pub fn hint(self) -> &'static str {
        self.row().map_or("", |(.., hint)| hint)
    }
}
