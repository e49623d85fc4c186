//! `linux.resources` → the files of the cgroup and what is written into them, in order. Pure.
//!
//! The spec speaks cgroup v1; this file holds every conversion to v2 and every refusal. A value
//! that v2 cannot express is a problem unless it asks for what v2 does anyway (spec, "Unified": "if
//! the conversion is not possible the runtime MUST generate an error"). Zero and empty mean unset,
//! as engines write them.

use crate::error::Problems;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};
use std::collections::HashMap;

/// One write(2) into one file of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The file's name: `memory.max`.
    pub file: String,
    /// What is written, without a newline.
    pub value: String,
    /// What a kernel without this file means.
    pub absent: Absent,
}

/// What to do where the kernel has the controller but not this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The limit cannot be applied: an error.
    Fail,
    /// The limit holds without the file.
    Skip,
}

impl Setting {
    fn new(file: &str, value: impl ToString) -> Setting {
        Setting {
            file: file.to_owned(),
            value: value.to_string(),
            absent: Absent::Fail,
        }
    }

    /// The controller that provides the file: the text before the first dot. None for the files
    /// that every cgroup has (`cgroup.max.depth`).
    pub fn controller(&self) -> Option<&str> {
        let (controller, _) = self.file.split_once('.')?;
        (controller != "cgroup").then_some(controller)
    }
}

/// Turns the resources, except the device rules, into settings. `unified` comes last, so that it
/// wins over the v1 fields.
pub fn plan(resources: &LinuxResources, problems: &mut Problems) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(cpu) = resources.cpu() {
        cpu_settings(cpu, &mut settings, problems);
    }
    if let Some(memory) = resources.memory() {
        memory_settings(memory, &mut settings, problems);
    }
    if let Some(pids) = resources.pids() {
        // Init itself is one task, so a limit of 0 would refuse it; 1 refuses every other one.
        let limit = match pids.limit() {
            0 => Some("1".to_owned()),
            limit => amount(limit, "linux.resources.pids.limit", problems),
        };
        settings.extend(limit.map(|limit| Setting::new("pids.max", limit)));
    }
    if let Some(unified) = resources.unified() {
        unified_settings(unified, &mut settings, problems);
    }
    not_yet(resources, problems);
    settings
}

fn cpu_settings(cpu: &LinuxCpu, settings: &mut Vec<Setting>, problems: &mut Problems) {
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
fn weight_of_shares(shares: u64) -> u64 {
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

fn memory_settings(memory: &LinuxMemory, settings: &mut Vec<Setting>, problems: &mut Problems) {
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

/// A limit as the kernel reads it: -1 is `max`.
fn amount(value: i64, path: &str, problems: &mut Problems) -> Option<String> {
    match value {
        -1 => Some("max".to_owned()),
        0.. => Some(value.to_string()),
        _ => {
            problems.add(path, "must not be negative, except -1 for unlimited");
            None
        }
    }
}

fn unified_settings(
    unified: &HashMap<String, String>,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) {
    let mut entries: Vec<_> = unified.iter().collect();
    entries.sort();
    for (file, value) in entries {
        let path = format!("linux.resources.unified[\"{file}\"]");
        if let Err(why) = check_file_name(file) {
            problems.add(path, why);
        } else if value.trim().is_empty() || value.contains('\0') {
            problems.add(path, "empty, or with a NUL");
        } else {
            // Files like io.max take one line a write.
            let lines = value.lines().map(str::trim).filter(|it| !it.is_empty());
            settings.extend(lines.map(|line| Setting::new(file, line)));
        }
    }
}

/// A file that may be written for `unified`: one that belongs to a controller. The controller's
/// name is later written into cgroup.subtree_control, so it is a plain word.
fn check_file_name(file: &str) -> Result<(), &'static str> {
    let Some((controller, rest)) = file.split_once('.') else {
        return Err("not a file of a controller: CONTROLLER.NAME");
    };
    if matches!(file, "cgroup.max.depth" | "cgroup.max.descendants") {
        return Ok(());
    }
    if controller == "cgroup" {
        return Err("steers the cgroup itself (its processes, its state), not a resource");
    }
    let is_word = |text: &str, also: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || also.contains(c))
    };
    if is_word(controller, "") && is_word(rest, ".-") {
        Ok(())
    } else {
        Err("not the name of a file")
    }
}

/// The parts of the resources that are not applied yet, or that v2 does not have.
fn not_yet(resources: &LinuxResources, problems: &mut Problems) {
    let mut refuse = |field: &str, is_set: bool, why: &str| {
        if is_set {
            problems.add(format!("linux.resources.{field}"), why);
        }
    };
    const LATER: &str = "not supported yet";
    if let Some(block_io) = resources.block_io() {
        for (field, is_set) in block_io_fields(block_io) {
            refuse(&format!("blockIO.{field}"), is_set, LATER);
        }
    }
    refuse(
        "hugepageLimits",
        is_filled(resources.hugepage_limits()),
        LATER,
    );
    refuse(
        "rdma",
        resources.rdma().as_ref().is_some_and(|it| !it.is_empty()),
        LATER,
    );
    if let Some(network) = resources.network() {
        let why = "cgroup v2 has no network classes and priorities";
        let class = network.class_id().is_some_and(|it| it != 0);
        refuse("network.classID", class, why);
        refuse("network.priorities", is_filled(network.priorities()), why);
    }
}

fn block_io_fields(it: &LinuxBlockIo) -> [(&'static str, bool); 7] {
    let is_set = |weight: Option<u16>| weight.is_some_and(|weight| weight != 0);
    [
        ("weight", is_set(it.weight())),
        ("leafWeight", is_set(it.leaf_weight())),
        ("weightDevice", is_filled(it.weight_device())),
        (
            "throttleReadBpsDevice",
            is_filled(it.throttle_read_bps_device()),
        ),
        (
            "throttleWriteBpsDevice",
            is_filled(it.throttle_write_bps_device()),
        ),
        (
            "throttleReadIOPSDevice",
            is_filled(it.throttle_read_iops_device()),
        ),
        (
            "throttleWriteIOPSDevice",
            is_filled(it.throttle_write_iops_device()),
        ),
    ]
}

fn is_filled<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The writes (`file=value`, joined by a bar) of a JSON fragment of `linux.resources`, or its
    /// problems.
    fn writes(json: &str) -> Result<String, String> {
        let resources = serde_json::from_str(json).expect("resources");
        let mut problems = Problems::default();
        let settings = plan(&resources, &mut problems);
        problems.into_result("c").map_err(|e| e.to_string())?;
        let lines: Vec<_> = settings
            .iter()
            .map(|it| format!("{}={}", it.file, it.value))
            .collect();
        Ok(lines.join("|"))
    }

    #[test]
    fn resources_become_writes_in_order() {
        for (json, expected) in [
            ("{}", ""),
            (
                r#"{"cpu":{"shares":0,"quota":0,"period":0,"burst":0,"idle":0,"cpus":"","realtimeRuntime":0}}"#,
                "",
            ),
            (r#"{"cpu":{"shares":1024}}"#, "cpu.weight=100"),
            (
                r#"{"cpu":{"shares":1024,"idle":1}}"#,
                "cpu.weight=100|cpu.idle=1",
            ),
            (r#"{"cpu":{"quota":50000}}"#, "cpu.max=50000 100000"),
            (r#"{"cpu":{"quota":-1}}"#, "cpu.max=max 100000"),
            (r#"{"cpu":{"period":20000}}"#, "cpu.max=max 20000"),
            (
                r#"{"cpu":{"quota":50000,"period":20000,"burst":50000}}"#,
                "cpu.max=50000 20000|cpu.max.burst=50000",
            ),
            (
                r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#,
                "cpuset.cpus=0-1,3|cpuset.mems=0",
            ),
            (r#"{"memory":{"limit":1048576}}"#, "memory.max=1048576"),
            (
                r#"{"memory":{"limit":1048576,"reservation":4096,"swap":0}}"#,
                "memory.max=1048576|memory.low=4096",
            ),
            (
                r#"{"memory":{"limit":100,"swap":300}}"#,
                "memory.max=100|memory.swap.max=200",
            ),
            (
                r#"{"memory":{"limit":100,"swap":100}}"#,
                "memory.max=100|memory.swap.max=0",
            ),
            (
                r#"{"memory":{"limit":100,"swap":-1}}"#,
                "memory.max=100|memory.swap.max=max",
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                "memory.max=max|memory.swap.max=max",
            ),
            (
                r#"{"memory":{"limit":-1,"swap":300}}"#,
                "memory.max=max|memory.swap.max=300",
            ),
            (r#"{"memory":{"swap":-1}}"#, "memory.swap.max=max"),
            (
                r#"{"memory":{"limit":0,"kernel":-1,"kernelTCP":-1,"disableOOMKiller":false,"useHierarchy":true,"checkBeforeUpdate":true}}"#,
                "",
            ),
            (r#"{"pids":{"limit":0}}"#, "pids.max=1"),
            (r#"{"pids":{"limit":-1}}"#, "pids.max=max"),
            (r#"{"pids":{"limit":64}}"#, "pids.max=64"),
            (
                r#"{"blockIO":{"weight":0,"weightDevice":[]},"hugepageLimits":[],"rdma":{},"network":{"classID":0,"priorities":[]}}"#,
                "",
            ),
            (
                r#"{"pids":{"limit":9},"unified":{"pids.max":"5","io.max":"8:0 rbps=1\n8:16 wbps=2\n","hugetlb.2MB.max":"0"}}"#,
                "pids.max=9|hugetlb.2MB.max=0|io.max=8:0 rbps=1|io.max=8:16 wbps=2|pids.max=5",
            ),
            (
                r#"{"unified":{"cgroup.max.depth":"3"}}"#,
                "cgroup.max.depth=3",
            ),
        ] {
            assert_eq!(writes(json).as_deref(), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_v2_cannot_do_is_a_problem_with_its_path() {
        for (json, path) in [
            (
                r#"{"cpu":{"realtimeRuntime":950000}}"#,
                "cpu.realtimeRuntime",
            ),
            (
                r#"{"cpu":{"realtimePeriod":1000000}}"#,
                "cpu.realtimePeriod",
            ),
            (r#"{"cpu":{"idle":2}}"#, "cpu.idle"),
            (r#"{"cpu":{"quota":10000,"burst":20000}}"#, "cpu.burst"),
            (r#"{"memory":{"limit":-2}}"#, "memory.limit"),
            (r#"{"memory":{"swap":300}}"#, "memory.swap"),
            (r#"{"memory":{"limit":300,"swap":200}}"#, "memory.swap"),
            (r#"{"memory":{"limit":300,"swap":-2}}"#, "memory.swap"),
            (r#"{"memory":{"kernel":5}}"#, "memory.kernel"),
            (r#"{"memory":{"kernelTCP":5}}"#, "memory.kernelTCP"),
            (r#"{"memory":{"swappiness":0}}"#, "memory.swappiness"),
            (
                r#"{"memory":{"disableOOMKiller":true}}"#,
                "memory.disableOOMKiller",
            ),
            (
                r#"{"memory":{"useHierarchy":false}}"#,
                "memory.useHierarchy",
            ),
            (r#"{"pids":{"limit":-7}}"#, "pids.limit"),
            (r#"{"blockIO":{"weight":10}}"#, "blockIO.weight"),
            (
                r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":1}]}}"#,
                "blockIO.throttleReadIOPSDevice",
            ),
            (
                r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#,
                "hugepageLimits",
            ),
            (r#"{"rdma":{"mlx5_1":{"hcaHandles":3}}}"#, "rdma"),
            (r#"{"network":{"classID":5}}"#, "network.classID"),
            (
                r#"{"network":{"priorities":[{"name":"eth0","priority":5}]}}"#,
                "network.priorities",
            ),
            (
                r#"{"unified":{"cgroup.procs":"1"}}"#,
                "unified[\"cgroup.procs\"]",
            ),
            (
                r#"{"unified":{"memory/max":"1"}}"#,
                "unified[\"memory/max\"]",
            ),
            (r#"{"unified":{"a/b.max":"1"}}"#, "unified[\"a/b.max\"]"),
            (
                r#"{"unified":{"memory.a/b":"1"}}"#,
                "unified[\"memory.a/b\"]",
            ),
            (
                r#"{"unified":{"io -memory.max":"1"}}"#,
                "unified[\"io -memory.max\"]",
            ),
            (
                r#"{"unified":{"memory.high":" "}}"#,
                "unified[\"memory.high\"]",
            ),
        ] {
            let error = writes(json).expect_err(json);
            let expected = format!("c: linux.resources.{path}: ");
            assert!(error.starts_with(&expected), "{error}");
            assert!(!error.contains("; "), "one problem only: {error}");
        }
    }

    #[test]
    fn shares_keep_their_minimum_default_and_maximum() {
        for (shares, weight) in [
            (1, 1),
            (2, 1),
            (3, 2),
            (10, 4),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (10_000, 627),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
    }
}
