//! `cpu.stat`, `cpu.pressure` and the effective cpuset.

use super::pressure::Pressure;
use super::text::{flat_keyed, list};
use serde::Serialize;

/// Time on CPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cpu {
    /// Time that was used.
    pub usage: Usage,
    /// Time that the quota took away.
    pub throttling: Throttling,
    /// Time that was waited for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
    /// Time above the quota. Not in runc.
    pub burst: Burst,
}

/// Nanoseconds on all CPUs together; v2 does not count them by CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    /// All.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In user mode.
    pub user: u64,
}

/// The quota at work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Throttling {
    /// Periods that have passed.
    pub periods: u64,
    /// Periods in which the quota was used up.
    pub throttled_periods: u64,
    /// Nanoseconds that processes were held back.
    pub throttled_time: u64,
}

/// What `cpu.max.burst` gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Burst {
    /// Periods in which more than the quota was used.
    pub periods: u64,
    /// Nanoseconds above the quota.
    pub time: u64,
}

/// What the cgroup may really use, after all cgroups above it. runc's flags of cgroup v1 have no
/// counterpart in v2 and are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CpuSet {
    /// Numbers of CPUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// Numbers of memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
}

impl Cpu {
    pub(super) fn read(file: impl Fn(&str) -> Option<String>) -> Cpu {
        let mut cpu = Cpu::default();
        let (usage, throttling, burst) = (&mut cpu.usage, &mut cpu.throttling, &mut cpu.burst);
        for (key, value) in flat_keyed(&file("cpu.stat").unwrap_or_default()) {
            let nanoseconds = value.saturating_mul(1000);
            match key {
                "usage_usec" => usage.total = nanoseconds,
                "user_usec" => usage.user = nanoseconds,
                "system_usec" => usage.kernel = nanoseconds,
                "nr_periods" => throttling.periods = value,
                "nr_throttled" => throttling.throttled_periods = value,
                "throttled_usec" => throttling.throttled_time = nanoseconds,
                "nr_bursts" => burst.periods = value,
                "burst_usec" => burst.time = nanoseconds,
                _ => {}
            }
        }
        cpu.psi = file("cpu.pressure").as_deref().and_then(Pressure::parse);
        cpu
    }
}

impl CpuSet {
    pub(super) fn read(file: impl Fn(&str) -> Option<String>) -> CpuSet {
        let numbers = |name: &str| list(&file(name).unwrap_or_default());
        CpuSet {
            cpus: numbers("cpuset.cpus.effective"),
            mems: numbers("cpuset.mems.effective"),
        }
    }
}
