//! The closed lists of names in the specification: what a config may say and `features` reports.

/// `linux.namespaces[].type`.
pub(crate) const NAMESPACES: &[&str] = &[
    "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
];

/// The members of `hooks`.
pub(crate) const HOOKS: &[&str] = &[
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// `process.rlimits[].type`: getrlimit(2).
pub(crate) const RLIMITS: &[&str] = &[
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

/// `process.ioPriority.class`.
pub(crate) const IO_CLASSES: &[&str] = &["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];

/// `process.scheduler.policy`.
pub(crate) const SCHEDULER_POLICIES: &[&str] = &[
    "SCHED_OTHER",
    "SCHED_FIFO",
    "SCHED_RR",
    "SCHED_BATCH",
    "SCHED_ISO",
    "SCHED_IDLE",
    "SCHED_DEADLINE",
];

/// `process.scheduler.flags[]`.
pub(crate) const SCHEDULER_FLAGS: &[&str] = &[
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

/// The types of `linux.devices[]` and of the rules in `linux.resources.devices[]`. Which of them
/// each of the two takes is for its own domain to say.
pub(crate) const DEVICE_TYPES: &[&str] = &["a", "b", "c", "p", "u"];

/// `linux.seccomp.defaultAction` and `syscalls[].action`.
pub(crate) const SECCOMP_ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// `linux.seccomp.syscalls[].args[].op`.
pub(crate) const SECCOMP_OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

/// `linux.seccomp.architectures[]`. `SCMP_ARCH_NATIVE` is libseccomp's own word for "this one".
pub(crate) const SECCOMP_ARCHES: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_NATIVE",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

/// `linux.seccomp.flags[]`.
pub(crate) const SECCOMP_FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// `linux.memoryPolicy.mode`.
pub(crate) const MEMORY_MODES: &[&str] = &[
    "MPOL_DEFAULT",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_WEIGHTED_INTERLEAVE",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_LOCAL",
];

/// `linux.memoryPolicy.flags[]`.
pub(crate) const MEMORY_FLAGS: &[&str] = &[
    "MPOL_F_NUMA_BALANCING",
    "MPOL_F_RELATIVE_NODES",
    "MPOL_F_STATIC_NODES",
];

/// `linux.personality.domain`.
pub(crate) const PERSONALITIES: &[&str] = &["LINUX", "LINUX32"];

/// A place in the config that takes only names of a list.
#[derive(Debug)]
pub(super) struct Closed {
    /// JSON path; `[]` stands for every element.
    pub(super) path: &'static str,
    /// What the names name, for `no action named "…"`.
    pub(super) noun: &'static str,
    /// The names.
    pub(super) names: &'static [&'static str],
}

/// All such places.
#[rustfmt::skip]
pub(super) const CLOSED: &[Closed] = &[
    Closed { path: "process.rlimits[].type", noun: "limit", names: RLIMITS },
    Closed { path: "process.ioPriority.class", noun: "I/O class", names: IO_CLASSES },
    Closed { path: "process.scheduler.policy", noun: "policy", names: SCHEDULER_POLICIES },
    Closed { path: "process.scheduler.flags[]", noun: "flag", names: SCHEDULER_FLAGS },
    Closed { path: "linux.namespaces[].type", noun: "namespace", names: NAMESPACES },
    Closed { path: "linux.devices[].type", noun: "device type", names: DEVICE_TYPES },
    Closed { path: "linux.resources.devices[].type", noun: "device type", names: DEVICE_TYPES },
    Closed { path: "linux.seccomp.defaultAction", noun: "action", names: SECCOMP_ACTIONS },
    Closed { path: "linux.seccomp.architectures[]", noun: "architecture", names: SECCOMP_ARCHES },
    Closed { path: "linux.seccomp.flags[]", noun: "flag", names: SECCOMP_FLAGS },
    Closed { path: "linux.seccomp.syscalls[].action", noun: "action", names: SECCOMP_ACTIONS },
    Closed { path: "linux.seccomp.syscalls[].args[].op", noun: "operator", names: SECCOMP_OPERATORS },
    Closed { path: "linux.memoryPolicy.mode", noun: "memory policy mode", names: MEMORY_MODES },
    Closed { path: "linux.memoryPolicy.flags[]", noun: "memory policy flag", names: MEMORY_FLAGS },
    Closed { path: "linux.personality.domain", noun: "domain", names: PERSONALITIES },
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A list longer than what the types know would end in an error of the parser's own words.
    #[test]
    fn every_listed_name_is_known_to_the_parser() {
        fn known<T: serde::de::DeserializeOwned>(names: &[&str]) {
            for name in names {
                serde_json::from_value::<T>(json!(name))
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
        use oci_spec::runtime as oci;
        known::<oci::LinuxNamespaceType>(NAMESPACES);
        known::<oci::PosixRlimitType>(RLIMITS);
        known::<oci::IOPriorityClass>(IO_CLASSES);
        known::<oci::LinuxSchedulerPolicy>(SCHEDULER_POLICIES);
        known::<oci::LinuxDeviceType>(DEVICE_TYPES);
        known::<oci::LinuxSeccompAction>(SECCOMP_ACTIONS);
        known::<oci::LinuxSeccompOperator>(SECCOMP_OPERATORS);
        known::<oci::Arch>(SECCOMP_ARCHES);
        known::<oci::LinuxSeccompFilterFlag>(SECCOMP_FLAGS);
        known::<oci::MemoryPolicyModeType>(MEMORY_MODES);
        known::<oci::MemoryPolicyFlagType>(MEMORY_FLAGS);
        known::<oci::LinuxPersonalityDomain>(PERSONALITIES);
    }
}
