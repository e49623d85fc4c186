//! `casulo features`: what casulo implements, for engines to ask before they make a config
//! (runtime-spec, features.md and features-linux.md).
//!
//! The document tells of casulo, not of this host, and is the same for every caller: it needs no
//! privileges and reads no file. Only which seccomp flags there are is asked of the kernel.

use crate::config::names;
use crate::seccomp;
use serde_json::{Value, json};

/// The first version of the specification that a config may name.
const OCI_VERSION_MIN: &str = "1.0.0";

/// The last version of the specification of which every property is known.
pub(super) const OCI_VERSION_MAX: &str = "1.3.0";

/// The features document. It holds no nulls, and a member for every property of the
/// specification: engines decode some of them without looking whether they are there.
pub fn document() -> Value {
    json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION_MAX,
        "hooks": names::HOOKS,
        "mountOptions": crate::rootfs::options::WORDS.as_slice(),
        "linux": {
            "namespaces": names::NAMESPACES,
            "capabilities": capabilities(),
            "cgroup": {
                "v1": false,
                "v2": true,
                "systemd": true,
                "systemdUser": true,
                "rdma": true,
            },
            "seccomp": {
                "enabled": true,
                "actions": seccomp::actions(),
                "operators": seccomp::operators(),
                "archs": seccomp::archs(),
                "knownFlags": seccomp::known_flags(),
                // The filter is loaded by our own seccomp(2), so libseccomp's age sets no limit.
                "supportedFlags": seccomp::supported_flags(),
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "memoryPolicy": {"modes": names::MEMORY_MODES, "flags": names::MEMORY_FLAGS},
            "mountExtensions": {"idmap": {"enabled": true}},
            "netDevices": {"enabled": true},
        },
        "annotations": annotations(),
        // Engines that let users set annotations keep these from them. A dot at the end makes a
        // prefix of it.
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property.", "run.oci."],
    })
}

/// Names of all capabilities, in the kernel's order.
fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

/// Facts about this build. `CASULO_COMMIT` is set by the build where the commit is known.
fn annotations() -> Value {
    let mut annotations = json!({
        "run.oci.casulo.version": env!("CARGO_PKG_VERSION"),
        // `casulo check` is there, and its JSON document has this version.
        "run.oci.casulo.check.version": super::check::VERSION.to_string(),
    });
    if let Some(commit) = option_env!("CASULO_COMMIT").filter(|commit| !commit.is_empty()) {
        annotations["run.oci.casulo.commit"] = json!(commit);
    }
    if let Ok(version) = libseccomp::ScmpVersion::current() {
        annotations["io.github.seccomp.libseccomp.version"] = json!(version.to_string());
    }
    annotations
}
