//! `linux.resources.memory` → `memory.*`. Pure.

use super::{Absent, Current, Setting, amount};
use crate::error::Problems;
use oci_spec::runtime::{LinuxMemory, LinuxResources};

/// Adds what the memory fields say.
pub(super) fn settings(
    memory: &LinuxMemory,
    current: &Current,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    let path = |field: &str| format!("linux.resources.memory.{field}");
    let mut read = |value: Option<i64>, field: &str| {
        let value = value.filter(|value| *value != 0)?;
        amount(value, &path(field), problems)
    };
    let limit = read(memory.limit(), "limit");
    let reservation = read(memory.reservation(), "reservation");
    read(memory.swap(), "swap");

    settings.extend(limit.map(|limit| Setting::new("memory.max", limit)));
    let swap = swap(memory, current, &path("swap"), problems);
    settings.extend(swap.map(|swap| Setting {
        // Without swap accounting there is nothing to forbid and nothing to lift.
        absent: match swap.as_str() {
            "0" | "max" => Absent::Skip,
            _ => Absent::Fail,
        },
        ..Setting::new("memory.swap.max", swap)
    }));
    settings.extend(reservation.map(|low| Setting::must("memory.low", low)));

    // v2 counts kernel and TCP memory as memory; only a limit of their own cannot be had. The
    // spec's example writes -1 here, and that is what v2 does.
    for (field, value) in [
        ("kernel", memory.kernel()),
        ("kernelTCP", memory.kernel_tcp()),
    ] {
        if value.is_some_and(|value| !matches!(value, 0 | -1)) {
            problems.add(
                path(field),
                "cgroup v2 has no limit for kernel memory alone: it counts towards limit",
            );
        }
    }
    if memory.swappiness().is_some() {
        problems.add(
            path("swappiness"),
            "cgroup v2 has no swappiness of a cgroup",
        );
    }
    if memory.disable_oom_killer() == Some(true) {
        problems.add(
            path("disableOOMKiller"),
            "cgroup v2 cannot disable the OOM killer",
        );
    }
    if memory.use_hierarchy() == Some(false) {
        problems.add(path("useHierarchy"), "cgroup v2 is always hierarchical");
    }
    // checkBeforeUpdate is about the present use, which a plan does not know: see `limit_to_check`.
}

/// v1 limits memory and swap together, v2 swap alone: the difference. None is unset.
fn swap(
    memory: &LinuxMemory,
    current: &Current,
    path: &str,
    problems: &mut Problems,
) -> Option<String> {
    let total = match (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0)) {
        // In v1 unlimited memory had unlimited swap with it.
        (-1, 0) | (_, -1) => return Some("max".to_owned()),
        (_, total) => u64::try_from(total).ok().filter(|total| *total != 0)?,
    };
    // None where memory has no limit.
    let limit: Option<u64> = match memory.limit().unwrap_or(0) {
        0 => current
            .memory_max
            .as_ref()
            .and_then(|it| it.trim().parse().ok()),
        limit => limit.try_into().ok(),
    };
    let swap = limit.map(|limit| total.checked_sub(limit));
    match swap {
        Some(Some(swap)) => return Some(swap.to_string()),
        Some(None) => problems.add(
            path,
            "less than memory.limit: it is the limit of both together",
        ),
        None => problems.add(path, "needs memory.limit: it is the limit of both together"),
    }
    None
}

/// The limit that an update may not set while more is in use: `checkBeforeUpdate` asks for that. On
/// v2 the kernel itself would not refuse but reclaim and then kill.
pub(crate) fn limit_to_check(resources: &LinuxResources) -> Option<u64> {
    let memory = resources.memory().as_ref()?;
    let limit = u64::try_from(memory.limit()?).ok()?;
    (memory.check_before_update() == Some(true) && limit != 0).then_some(limit)
}
