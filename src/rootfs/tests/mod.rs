//! Plans as data, and their effects in namespaces of a child's own.

mod bound;
mod case;
mod decided;
mod made;

use super::*;
use serde_json::{Value, json};

/// A privileged caller on a host with cgroup v2.
fn host() -> Host {
    Host {
        cgroup: Some(crate::host::CgroupMount {
            path: "/sys/fs/cgroup".into(),
            own: Some("/".into()),
        }),
        ..Host::of_root()
    }
}

/// Namespaces of these kinds, all new.
fn namespaces(kinds: &[Kind]) -> namespaces::Plan {
    namespaces::Plan {
        new: kinds.to_vec(),
        ..Default::default()
    }
}

/// A config of these mounts, with more top-level fields.
fn spec(mounts: Value, more: Value) -> Spec {
    let mut config = json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "mounts": mounts});
    let more = more.as_object().cloned().unwrap_or_default();
    config.as_object_mut().expect("an object").extend(more);
    serde_json::from_value(config).expect("a config")
}
