//! `linux.resources` → the files of the cgroup and what is written into them, in order. Pure.
//!
//! The spec speaks cgroup v1; the files here hold every conversion to v2 and every refusal. A value
//! that v2 cannot express is a problem unless it asks for what v2 does anyway (spec, "Unified": "if
//! the conversion is not possible the runtime MUST generate an error"). Zero and empty mean unset,
//! as engines write them, but where zero is a limit that somebody may want.

mod block_io;
mod cpu;
mod hugetlb;
mod memory;
mod rdma;
mod unified;

pub(crate) use memory::limit_to_check;

use crate::error::Problems;
use oci_spec::runtime::{LinuxNetwork, LinuxResources};

/// One write(2) into one file of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The file's name: `memory.max`.
    pub file: String,
    /// What is written, without a newline.
    pub value: String,
    /// What a kernel without this file means.
    pub absent: Absent,
}

/// What to do where the kernel has the controller but not this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
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
pub(crate) struct Current {
    /// Text of `cpu.max`: quota and period share that file.
    pub cpu_max: Option<String>,
    /// Text of `memory.max`: the spec's swap is counted from it.
    pub memory_max: Option<String>,
}

impl Setting {
    /// A limit that must be applied; but where there is no file to lift it in, there is none.
    fn new(file: &str, value: impl ToString) -> Setting {
        let value = value.to_string();
        Setting {
            file: file.to_owned(),
            absent: match value.as_str() {
                "max" => Absent::Skip,
                _ => Absent::Fail,
            },
            value,
        }
    }

    /// One for which `max` is more than no limit, or a file that somebody has named.
    fn must(file: &str, value: impl ToString) -> Setting {
        Setting {
            absent: Absent::Fail,
            ..Setting::new(file, value)
        }
    }

    /// The controller that provides the file: the text before the first dot. None for the files
    /// that every cgroup has (`cgroup.max.depth`).
    pub(crate) fn controller(&self) -> Option<&str> {
        let (controller, _) = self.file.split_once('.')?;
        (controller != "cgroup").then_some(controller)
    }
}

/// Turns the resources, except the device rules, into settings. `unified` comes last, so that it
/// wins over the v1 fields.
pub(crate) fn plan(
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
    if let Some(block_io) = resources.block_io() {
        block_io::settings(block_io, &mut settings, problems);
    }
    if let Some(limits) = resources.hugepage_limits() {
        hugetlb::settings(limits, &mut settings, problems);
    }
    if let Some(rdma) = resources.rdma() {
        rdma::settings(rdma, &mut settings, problems);
    }
    if let Some(it) = resources.network() {
        network(it, problems);
    }
    if let Some(unified) = resources.unified() {
        unified::settings(unified, &mut settings, problems);
    }
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

fn network(network: &LinuxNetwork, problems: &mut Problems) {
    let class = network.class_id().is_some_and(|it| it != 0);
    let priorities = network
        .priorities()
        .as_ref()
        .is_some_and(|it| !it.is_empty());
    for (field, is_set) in [("classID", class), ("priorities", priorities)] {
        if is_set {
            problems.add(
                format!("linux.resources.network.{field}"),
                "cgroup v2 has no network classes and priorities",
            );
        }
    }
}

#[cfg(test)]
mod tests;
