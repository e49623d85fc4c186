//! `linux.resources` → the files of the cgroup and what is written into them, in order. Pure.
//!
//! The spec speaks cgroup v1; this file holds every conversion to v2 and every refusal. A value
//! that v2 cannot express is a problem unless it asks for what v2 does anyway (spec, "Unified": "if
//! the conversion is not possible the runtime MUST generate an error"). Zero and empty mean unset,
//! as engines write them.

mod cpu;
mod memory;
mod unified;

use crate::error::Problems;
use oci_spec::runtime::{LinuxBlockIo, LinuxResources};

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The limit cannot be applied: an error.
    Fail,
    /// The limit holds without the file.
    Skip,
    /// Another file of the same controller says the same: this value is written there.
    Instead {
        /// The other file's name.
        file: String,
        /// What is written into it.
        value: String,
    },
}

/// What a running container's cgroup has now, where an update changes only a part of it. All None
/// for a new cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// Text of `cpu.max`: quota and period share that file.
    pub cpu_max: Option<String>,
    /// Text of `memory.max`: the spec's swap is counted from it.
    pub memory_max: Option<String>,
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
pub fn plan(
    resources: &LinuxResources,
    current: &Current,
    problems: &mut Problems,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(cpu) = resources.cpu() {
        cpu::settings(cpu, current, &mut settings, problems);
    }
    if let Some(memory) = resources.memory() {
        memory::settings(memory, current, &mut settings, problems);
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
        unified::settings(unified, &mut settings, problems);
    }
    not_yet(resources, problems);
    settings
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
mod tests;
