//! `linux.resources.memory` → `memory.*`. Pure.

use super::{Absent, Current, Setting, amount};
use crate::error::Problems;
use oci_spec::runtime::LinuxMemory;

/// Adds what the memory fields say.
pub(super) fn settings(
    memory: &LinuxMemory,
    _current: &Current,
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
    let swap = swap(
        memory.limit().unwrap_or(0),
        memory.swap().unwrap_or(0),
        &path("swap"),
        problems,
    );
    settings.extend(swap.map(|swap| Setting {
        // Without swap accounting there is nothing to forbid and nothing to lift.
        absent: match swap.as_str() {
            "0" | "max" => Absent::Skip,
            _ => Absent::Fail,
        },
        ..Setting::new("memory.swap.max", swap)
    }));
    settings.extend(reservation.map(|low| Setting::new("memory.low", low)));

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
    // checkBeforeUpdate asks to refuse a limit below the present use: a new container uses nothing.
}

/// v1 limits memory and swap together, v2 swap alone: the difference. None is unset.
fn swap(limit: i64, total: i64, path: &str, problems: &mut Problems) -> Option<String> {
    match (limit, total) {
        // In v1 unlimited memory had unlimited swap with it.
        (-1, 0) | (_, -1) => Some("max".to_owned()),
        (_, i64::MIN..=0) => None,
        (-1, total) => Some(total.to_string()),
        (0, _) => {
            problems.add(path, "needs memory.limit: it is the limit of both together");
            None
        }
        (limit, total) if total < limit => {
            problems.add(
                path,
                "less than memory.limit: it is the limit of both together",
            );
            None
        }
        (limit, total) => Some(total.saturating_sub(limit).to_string()),
    }
}
