//! What a cgroup has used, from its files, in the shape that `runc events` has made known (its
//! public Go package `types`): field names, units and layout are cgroup v1's. What v2 counts and
//! v1 did not has a name of its own beside them. Any casulo process on the host.
//!
//! [`Stats::read`] reads; the modules below turn the text of files into figures and are pure. A
//! controller that the cgroup lacks is no error: its figures are zero or absent.

mod cpu;
mod hugetlb;
mod io;
mod memory;
mod pids;
mod pressure;
mod rdma;
mod text;

pub(crate) use memory::Events as MemoryEvents;

use super::Cgroup;
use crate::intel_rdt;
use serde::Serialize;
use std::collections::BTreeMap;

/// `data` of an event of type `stats`. Here and below the members are in runc's order, and what runc does not
/// have follows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Stats {
    /// Time on CPUs.
    pub cpu: cpu::Cpu,
    /// CPUs and memory nodes that it may use.
    pub cpuset: cpu::CpuSet,
    /// Memory and swap.
    pub memory: memory::Memory,
    /// Processes and threads.
    pub pids: pids::Pids,
    /// Block devices.
    pub blkio: io::Io,
    /// Huge pages by size: `2MB`.
    pub hugetlb: BTreeMap<String, hugetlb::HugeTlb>,
    /// Filled in by who knows the container: resctrl is no part of the cgroup.
    pub intel_rdt: intel_rdt::stats::Stats,
    /// Always empty: runc lists interfaces that it made itself, which no config can ask for.
    pub network_interfaces: [Empty; 0],
    /// RDMA devices. Not in runc.
    pub rdma: rdma::Rdma,
}

/// An object without members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Empty {}

impl Stats {
    /// Reads all files. They are not read at one moment: the kernel has no snapshot.
    pub(crate) fn read(cgroup: &Cgroup) -> Stats {
        let read = |file: &str| cgroup.read(file).ok();
        let hugetlb = hugepage_sizes(cgroup).into_iter().map(|size| {
            let figures = hugetlb::HugeTlb::read(&size, read);
            (size, figures)
        });
        Stats {
            cpu: cpu::Cpu::read(read),
            cpuset: cpu::CpuSet::read(read),
            memory: memory::Memory::read(read),
            pids: pids::Pids::read(read),
            blkio: io::Io::read(read),
            hugetlb: hugetlb.collect(),
            rdma: rdma::Rdma::read(read),
            ..Stats::default()
        }
    }
}

/// The sizes of huge pages that the cgroup's hugetlb controller counts, from its files' names.
fn hugepage_sizes(cgroup: &Cgroup) -> Vec<String> {
    let size = |name: &str| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(".current")?;
        (!size.contains('.')).then(|| size.to_owned())
    };
    let names = cgroup.file_names().unwrap_or_default();
    names.iter().filter_map(|name| size(name)).collect()
}

#[cfg(test)]
mod tests;
