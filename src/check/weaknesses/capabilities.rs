//! Capabilities beyond those that engines give by default.

use crate::capabilities::{mask, names};
use crate::check::{Code, Findings, Subject};
use oci_spec::runtime::{Capabilities, LinuxCapabilities};
use serde_json::Value;

/// The capabilities that Docker, Podman and containerd give every container.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Capabilities that give power over the host, or nearly, if no user namespace narrows them:
/// capabilities(7).
const DANGEROUS: [(&str, &str); 17] = [
    ("CAP_AUDIT_CONTROL", "turns the host's audit off"),
    (
        "CAP_BPF",
        "loads programs into the kernel that read all of its memory, with CAP_PERFMON",
    ),
    (
        "CAP_CHECKPOINT_RESTORE",
        "chooses process ids and reads what /proc keeps to the owner",
    ),
    (
        "CAP_DAC_READ_SEARCH",
        "opens any file of a mounted file system by its handle",
    ),
    (
        "CAP_LINUX_IMMUTABLE",
        "changes files that were made immutable",
    ),
    ("CAP_MAC_ADMIN", "changes the rules of AppArmor or Smack"),
    ("CAP_MAC_OVERRIDE", "goes past mandatory access control"),
    (
        "CAP_NET_ADMIN",
        "changes routes and filters; with the host's network those of the host",
    ),
    ("CAP_PERFMON", "samples all processes and the kernel"),
    ("CAP_SYSLOG", "reads the kernel's log and addresses"),
    (
        "CAP_SYS_ADMIN",
        "mounts, and most of what only root of the host should do",
    ),
    ("CAP_SYS_BOOT", "restarts the host"),
    ("CAP_SYS_MODULE", "loads code into the kernel"),
    (
        "CAP_SYS_PTRACE",
        "reads and writes the memory of every process it can see",
    ),
    (
        "CAP_SYS_RAWIO",
        "reads and writes ports and memory of the machine",
    ),
    ("CAP_SYS_RESOURCE", "lifts quotas and limits"),
    ("CAP_SYS_TIME", "sets the host's clock"),
];

/// The name of a set in the config, and its getter.
type Set = (
    &'static str,
    fn(&LinuxCapabilities) -> &Option<Capabilities>,
);

const SETS: [Set; 5] = [
    ("effective", LinuxCapabilities::effective),
    ("permitted", LinuxCapabilities::permitted),
    ("bounding", LinuxCapabilities::bounding),
    ("ambient", LinuxCapabilities::ambient),
    ("inheritable", LinuxCapabilities::inheritable),
];

/// Adds each capability once, at the first set that has it.
pub(super) fn sets(subject: &Subject<'_>, findings: &mut Findings) {
    let process = subject.spec.process().as_ref();
    let Some(given) = process.and_then(|it| it.capabilities().as_ref()) else {
        return;
    };
    let mut seen = 0;
    for (set, get) in SETS {
        let wanted = mask(get(given));
        for name in names(wanted & !seen) {
            let at = place(&subject.raw, set, &name);
            let danger = DANGEROUS.iter().find(|(it, _)| *it == name);
            match danger {
                Some((_, why)) if !subject.is_in_user_namespace() => {
                    findings.add(Code::CapabilityDangerous, at, format!("{name}: {why}"));
                }
                _ if DEFAULT.contains(&name.as_str()) => {}
                Some(_) => {
                    let why = format!(
                        "{name}: over its own user namespace, which opens much of the kernel to it"
                    );
                    findings.add(Code::CapabilityAdded, at, why);
                }
                None => {
                    let why = format!("{name}: not among the 14 that engines give by default");
                    findings.add(Code::CapabilityAdded, at, why);
                }
            }
        }
        seen |= wanted;
    }
    let inheritable = names(mask(given.inheritable()));
    if !inheritable.is_empty() {
        let why = format!(
            "{}: a file's inheritable capabilities would give them to any user (CVE-2022-29162)",
            inheritable.join(", ")
        );
        findings.add(
            Code::CapabilityInheritable,
            "process.capabilities.inheritable",
            why,
        );
    }
}

/// Returns the JSON path of a capability in a set. The index comes from the raw config: the types
/// keep no order.
fn place(raw: &Value, set: &str, name: &str) -> String {
    let path = format!("process.capabilities.{set}");
    let list = raw["process"]["capabilities"][set].as_array();
    let index = list.and_then(|list| list.iter().position(|it| it.as_str() == Some(name)));
    match index {
        Some(index) => format!("{path}[{index}]"),
        None => path,
    }
}
