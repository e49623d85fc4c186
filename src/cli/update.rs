//! The options of `update`.

use clap::Args;
use std::path::PathBuf;

/// `update`. An amount of bytes may have a unit: b, k, m, g, t or p, in powers of 1024.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Update {
    /// File with the resources as in linux.resources of a config, device rules too; - is stdin.
    /// The options below are not looked at then, but for the schemas and --check-before-update
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Share of the disks against the neighbours, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Period of the CPU quota, in microseconds
    #[arg(long, value_name = "TIME")]
    pub cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds; -1 is unlimited
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// CPU time saved up from earlier periods, in microseconds
    #[arg(long, value_name = "TIME")]
    pub cpu_burst: Option<u64>,
    /// Share of the CPUs against the neighbours, 2 to 262144
    #[arg(long, value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// Not in cgroup v2: anything but 0 is an error
    #[arg(long, value_name = "TIME")]
    pub cpu_rt_period: Option<u64>,
    /// Not in cgroup v2: anything but 0 is an error
    #[arg(long, value_name = "TIME", allow_negative_numbers = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// 1: run only when nobody else wants the CPU; 0: no more
    #[arg(long, value_name = "WHETHER", allow_negative_numbers = true)]
    pub cpu_idle: Option<i64>,
    /// CPUs to use, as 0-3,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use, as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// The most memory, in bytes; -1 is unlimited
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub memory: Option<String>,
    /// Refuse a memory limit below what is in use, in place of what would be killed for it
    #[arg(long)]
    pub check_before_update: bool,
    /// Memory that is left to the container as long as others have some to give, in bytes
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub memory_reservation: Option<String>,
    /// The most memory and swap together, in bytes; -1 is unlimited swap
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub memory_swap: Option<String>,
    /// Not in cgroup v2: anything but 0 and -1 is an error
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub kernel_memory: Option<String>,
    /// Not in cgroup v2: anything but 0 and -1 is an error
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub kernel_memory_tcp: Option<String>,
    /// The most tasks; -1 is unlimited
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub pids_limit: Option<i64>,
    /// Cache lines of the container's RDT class, as L3:0=7ff;1=7ff
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Memory bandwidth of the container's RDT class, as MB:0=20;1=70
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// Container id
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}
