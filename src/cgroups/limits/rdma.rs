//! `linux.resources.rdma` → `rdma.max`. Pure.

use super::Setting;
use crate::error::Problems;
use oci_spec::runtime::LinuxRdma;
use std::collections::HashMap;

/// Adds a line a device, in the order of their names. A limit of 0 is one: no handles at all.
pub(super) fn settings(
    rdma: &HashMap<String, LinuxRdma>,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    let mut devices: Vec<_> = rdma.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limits) in devices {
        let path = format!("linux.resources.rdma[\"{name}\"]");
        let mut line = name.clone();
        for (key, limit) in [
            ("hca_handle", limits.hca_handles()),
            ("hca_object", limits.hca_objects()),
        ] {
            match limit {
                None => {}
                // The kernel counts in 31 bits, and reads no number beyond.
                Some(limit) if i32::try_from(limit).is_err() => line += &format!(" {key}=max"),
                Some(limit) => line += &format!(" {key}={limit}"),
            }
        }
        if name.is_empty() || name.contains(char::is_whitespace) {
            problems.add(path, "not the name of a device");
        } else if line == *name {
            problems.add(path, "needs hcaHandles or hcaObjects");
        } else {
            settings.push(Setting::new("rdma.max", line));
        }
    }
}
