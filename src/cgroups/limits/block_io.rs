//! `linux.resources.blockIO` → `io.bfq.weight` or `io.weight`, and `io.max`. Pure.

use super::{Absent, Setting};
use crate::error::Problems;
use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};
use std::collections::BTreeMap;

const ROOT: &str = "linux.resources.blockIO";

/// Device numbers as the kernel counts them (linux/kdev_t.h): of larger ones it takes the low bits,
/// which are those of another device.
const LAST_MAJOR: i64 = (1 << 12) - 1;
const LAST_MINOR: i64 = (1 << 20) - 1;

/// Adds what the fields of block I/O say.
pub(super) fn settings(
    block_io: &LinuxBlockIo,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    weights(block_io, settings, problems);
    throttles(block_io, settings, problems);
}

fn weights(block_io: &LinuxBlockIo, settings: &mut Vec<Setting>, problems: &mut Problems) {
    let weight = checked(block_io.weight(), block_io.leaf_weight(), ROOT, problems);
    settings.extend(weight.map(|weight| weight_of("", weight)));
    for (index, it) in block_io.weight_device().iter().flatten().enumerate() {
        let path = format!("{ROOT}.weightDevice[{index}]");
        let device = device(it.major(), it.minor(), &path, problems);
        let weight = checked(it.weight(), it.leaf_weight(), &path, problems);
        if weight.is_none() && set(it.leaf_weight()).is_none() {
            problems.add(format!("{path}.weight"), "missing");
        }
        if let (Some(device), Some(weight)) = (device, weight) {
            settings.push(weight_of(&format!("{device} "), weight));
        }
    }
}

/// The weight, if there is one; what is wrong with it becomes a problem.
fn checked(
    weight: Option<u16>,
    leaf_weight: Option<u16>,
    path: &str,
    problems: &mut Problems,
) -> Option<u16> {
    if set(leaf_weight).is_some() {
        problems.add(
            format!("{path}.leafWeight"),
            "cgroup v2 has no leaf weight: no cgroup has both processes and cgroups to share with",
        );
    }
    let weight = set(weight)?;
    if !(10..=1000).contains(&weight) {
        problems.add(format!("{path}.weight"), "must be between 10 and 1000");
    }
    Some(weight)
}

/// BFQ's weights go to 1000 as those of v1 do. Without that scheduler `io.weight` says the same, on
/// a scale to 10000: a straight line through both ends, as runc and crun have it.
fn weight_of(device: &str, weight: u16) -> Setting {
    let on_the_other_scale = 1 + u32::from(weight.saturating_sub(10)) * 9999 / 990;
    Setting {
        absent: Absent::Instead {
            file: "io.weight".to_owned(),
            value: format!("{device}{on_the_other_scale}"),
        },
        ..Setting::new("io.bfq.weight", format!("{device}{weight}"))
    }
}

fn throttles(block_io: &LinuxBlockIo, settings: &mut Vec<Setting>, problems: &mut Problems) {
    let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut read = |field: &str, key: &str, list: &Option<Vec<LinuxThrottleDevice>>| {
        for (index, it) in list.iter().flatten().enumerate() {
            let path = format!("{ROOT}.{field}[{index}]");
            // In v1 a rate of 0 takes the limit away.
            let rate = match it.rate() {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            if let Some(device) = device(it.major(), it.minor(), &path, problems) {
                let words = words.entry(device).or_default();
                words.push(format!("{key}={rate}"));
            }
        }
    };
    let it = block_io;
    read(
        "throttleReadBpsDevice",
        "rbps",
        it.throttle_read_bps_device(),
    );
    read(
        "throttleWriteBpsDevice",
        "wbps",
        it.throttle_write_bps_device(),
    );
    read(
        "throttleReadIOPSDevice",
        "riops",
        it.throttle_read_iops_device(),
    );
    read(
        "throttleWriteIOPSDevice",
        "wiops",
        it.throttle_write_iops_device(),
    );
    // One write a device.
    for (device, words) in words {
        settings.push(Setting::new(
            "io.max",
            format!("{device} {}", words.join(" ")),
        ));
    }
}

/// `MAJOR:MINOR`, as all these files name a device.
fn device(major: i64, minor: i64, path: &str, problems: &mut Problems) -> Option<String> {
    let mut is_number = true;
    for (field, value, last) in [("major", major, LAST_MAJOR), ("minor", minor, LAST_MINOR)] {
        if !(0..=last).contains(&value) {
            problems.add(format!("{path}.{field}"), "not a device number");
            is_number = false;
        }
    }
    is_number.then(|| format!("{major}:{minor}"))
}

fn set(weight: Option<u16>) -> Option<u16> {
    weight.filter(|weight| *weight != 0)
}
