//! `linux.resources.cpu` → `cpu.*` and `cpuset.*`. Pure.

use super::{Current, Setting};
use crate::error::Problems;
use oci_spec::runtime::LinuxCpu;

/// Adds what the CPU fields say.
pub(super) fn settings(
    cpu: &LinuxCpu,
    current: &Current,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    weight(cpu, current, settings, problems);
    bandwidth(cpu, current, settings, problems);
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

/// `shares` and `idle`. An idle cgroup has the kernel's own weight and loses its own, so shares
/// beside it are not written; one that is idle no more gets the default, and then its shares.
fn weight(cpu: &LinuxCpu, current: &Current, settings: &mut Vec<Setting>, problems: &mut Problems) {
    match cpu.idle() {
        Some(1) => settings.push(Setting::new("cpu.idle", 1)),
        Some(0) if current.cpu_max.is_some() => settings.push(Setting::new("cpu.idle", 0)),
        // Nothing that is new is idle.
        None | Some(0) => {}
        Some(_) => problems.add("linux.resources.cpu.idle", "must be 0 or 1"),
    }
    if let Some(shares) = set(cpu.shares()).filter(|_| cpu.idle() != Some(1)) {
        settings.push(Setting::new("cpu.weight", weight_of_shares(shares)));
    }
}

/// `quota` and `period`, which share a file, and `burst`.
fn bandwidth(
    cpu: &LinuxCpu,
    current: &Current,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    let (quota, period) = (cpu.quota().filter(|it| *it != 0), set(cpu.period()));
    let is_changed = quota.is_some() || period.is_some();
    let now = current.cpu_max.as_deref().unwrap_or("max 100000").trim();
    let (quota_now, period_now) = now.split_once(' ').unwrap_or((now, "100000"));
    let quota = match quota {
        Some(quota) if quota > 0 => quota.to_string(),
        // As in v1, any negative quota means no limit.
        Some(_) => "max".to_owned(),
        None => quota_now.to_owned(),
    };
    let period = period.map_or(period_now.to_owned(), |period| period.to_string());
    let burst = cpu.burst();
    if quota.parse::<u64>().is_ok_and(|it| Some(it) < burst) {
        problems.add("linux.resources.cpu.burst", "larger than the quota");
    }
    // The kernel refuses a quota below the present burst, and a burst above the present quota: with
    // the burst out of the way both may go up or down.
    let has_a_burst = current.cpu_max.is_some();
    if has_a_burst && burst.is_some_and(|burst| burst == 0 || is_changed) {
        settings.push(Setting::new("cpu.max.burst", 0));
    }
    if is_changed {
        settings.push(Setting::new("cpu.max", format!("{quota} {period}")));
    }
    if let Some(burst) = set(burst) {
        settings.push(Setting::new("cpu.max.burst", burst));
    }
}

fn set(value: Option<u64>) -> Option<u64> {
    value.filter(|value| *value != 0)
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
