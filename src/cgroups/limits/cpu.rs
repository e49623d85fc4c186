//! `linux.resources.cpu` → `cpu.*` and `cpuset.*`. Pure.

use super::{Current, Setting};
use crate::error::Problems;
use oci_spec::runtime::LinuxCpu;

/// Adds what the CPU fields say.
pub(super) fn settings(
    cpu: &LinuxCpu,
    _current: &Current,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    let set = |value: Option<u64>| value.filter(|value| *value != 0);
    if let Some(shares) = set(cpu.shares()) {
        settings.push(Setting::new("cpu.weight", weight_of_shares(shares)));
    }
    // After the weight: the kernel refuses a weight for a cgroup that is idle.
    match cpu.idle() {
        None | Some(0) => {}
        Some(1) => settings.push(Setting::new("cpu.idle", 1)),
        Some(_) => problems.add("linux.resources.cpu.idle", "must be 0 or 1"),
    }
    // As in v1, any negative quota means no limit.
    let quota = cpu.quota().filter(|quota| *quota != 0);
    if quota.is_some() || set(cpu.period()).is_some() {
        let quota = match quota {
            Some(quota) if quota > 0 => quota.to_string(),
            _ => "max".to_owned(),
        };
        let period = set(cpu.period()).unwrap_or(100_000);
        settings.push(Setting::new("cpu.max", format!("{quota} {period}")));
    }
    if let Some(burst) = set(cpu.burst()) {
        if quota.is_some_and(|quota| quota > 0 && quota.cast_unsigned() < burst) {
            problems.add("linux.resources.cpu.burst", "larger than the quota");
        }
        settings.push(Setting::new("cpu.max.burst", burst));
    }
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        let list = list.as_deref().map_or("", str::trim);
        if !list.is_empty() {
            settings.push(Setting::new(file, list));
        }
    }
    for (field, is_set) in [
        (
            "realtimeRuntime",
            cpu.realtime_runtime().is_some_and(|it| it != 0),
        ),
        ("realtimePeriod", set(cpu.realtime_period()).is_some()),
    ] {
        if is_set {
            problems.add(
                format!("linux.resources.cpu.{field}"),
                "cgroup v2 cannot limit realtime scheduling",
            );
        }
    }
}

/// v1 shares (2 to 262144, default 1024) as a v2 weight (1 to 10000, default 100): a quadratic
/// function of the logarithm through these three points. runc and crun use the same since 2025;
/// the older straight line gave a default container a weight of 39.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "shares are below 2^18 here and the result lies between 1 and 10000"
        )]
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}
