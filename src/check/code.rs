//! The codes of findings. Their names, severities and hints are the rows of [`super::table`];
//! docs/check.md explains each code.

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The container would not start.
    Fail,
    /// A program in the container can take over the host, or look into it, without a flaw in the
    /// kernel.
    Danger,
    /// A layer of isolation is missing.
    Weak,
}

impl Severity {
    /// The severity's name in the output.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Fail => "fail",
            Severity::Danger => "danger",
            Severity::Weak => "weak",
        }
    }
}

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(
    missing_docs,
    reason = "the table below and docs/check.md say what each means"
)]
pub(crate) enum Code {
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
    CwdNoDirectory,
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
    BindSystemDirectory,
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
    MemberCase,
    MemoryUnlimited,
    PidsUnlimited,
}
