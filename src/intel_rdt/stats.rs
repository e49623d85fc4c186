//! What resctrl says of a container's groups, in the shape that `runc events` has made known (its public Go package
//! `types`). Any casulo process on the host.

use super::{Plan, mount_of_host};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// `data.intel_rdt` of an event of type `stats`. Empty for a container without groups. What the hardware does not have
/// is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    /// The cache that can be shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<CacheInfo>,
    /// The root's line for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema_root: Option<String>,
    /// The class's line for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// The memory bandwidth that can be shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<BandwidthInfo>,
    /// The root's line for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema_root: Option<String>,
    /// The class's line for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// All lines of the class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// The bandwidth that was used, a member for each domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<Bandwidth>>,
    /// The cache that is used, a member for each domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<Occupancy>>,
}

/// `info/L3`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CacheInfo {
    /// All bits of a mask, in hexadecimal digits.
    pub cbm_mask: String,
    /// How many of them a mask must have.
    pub min_cbm_bits: u64,
    /// How many classes there can be.
    pub num_closids: u64,
}

/// `info/MB`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BandwidthInfo {
    /// Steps of the percentage.
    pub bandwidth_gran: u64,
    /// Whether the delay is linear.
    pub delay_linear: u64,
    /// The lowest percentage.
    pub min_bandwidth: u64,
    /// How many classes there can be.
    pub num_closids: u64,
}

/// Bytes of memory bandwidth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Bandwidth {
    /// All.
    pub mbm_total_bytes: u64,
    /// Those of the domain's own memory.
    pub mbm_local_bytes: u64,
}

/// Bytes of cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Occupancy {
    /// Those that the group's processes occupy.
    pub llc_occupancy: u64,
}

/// A container's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    root: PathBuf,
    class: PathBuf,
    /// The monitoring group; without one the class, whose other users are counted, too.
    monitored: PathBuf,
}

impl Plan {
    /// The groups that were made by this plan, where the host has resctrl still.
    pub(crate) fn groups(&self) -> Option<Groups> {
        let root = mount_of_host().ok()?;
        let class = self.directory(root);
        Some(Groups {
            root: root.to_owned(),
            monitored: self
                .monitor_directory(root)
                .unwrap_or_else(|| class.clone()),
            class,
        })
    }
}

impl Groups {
    /// Reads all files.
    pub(crate) fn stats(&self) -> Stats {
        let info = self.root.join("info");
        let (all, own) = (lines(&self.root), lines(&self.class));
        let line = |lines: &[String], resource: &str| {
            let of_it = |line: &&String| line.starts_with(resource);
            lines.iter().rev().find(of_it).cloned()
        };
        let cache = info.join("L3");
        let cache = text(&cache, "cbm_mask").map(|cbm_mask| CacheInfo {
            cbm_mask,
            min_cbm_bits: number(&cache, "min_cbm_bits"),
            num_closids: number(&cache, "num_closids"),
        });
        let bandwidth = info.join("MB");
        let bandwidth = text(&bandwidth, "min_bandwidth").map(|_| BandwidthInfo {
            bandwidth_gran: number(&bandwidth, "bandwidth_gran"),
            delay_linear: number(&bandwidth, "delay_linear"),
            min_bandwidth: number(&bandwidth, "min_bandwidth"),
            num_closids: number(&bandwidth, "num_closids"),
        });
        let counted = text(&info.join("L3_MON"), "mon_features").unwrap_or_default();
        let counts = |names: &[&str]| counted.lines().any(|line| names.contains(&line));
        let domains = domains(&self.monitored);
        Stats {
            l3_cache_schema_root: cache.is_some().then(|| line(&all, "L3")).flatten(),
            l3_cache_schema: cache.is_some().then(|| line(&own, "L3")).flatten(),
            l3_cache_info: cache,
            mem_bw_schema_root: bandwidth.is_some().then(|| line(&all, "MB")).flatten(),
            mem_bw_schema: bandwidth.is_some().then(|| line(&own, "MB")).flatten(),
            mem_bw_info: bandwidth,
            schemata: own,
            mbm_stats: counts(&["mbm_total_bytes", "mbm_local_bytes"]).then(|| {
                let of = |domain: &PathBuf| Bandwidth {
                    mbm_total_bytes: number(domain, "mbm_total_bytes"),
                    mbm_local_bytes: number(domain, "mbm_local_bytes"),
                };
                domains.iter().map(of).collect()
            }),
            cmt_stats: counts(&["llc_occupancy"]).then(|| {
                let of = |domain: &PathBuf| Occupancy {
                    llc_occupancy: number(domain, "llc_occupancy"),
                };
                domains.iter().map(of).collect()
            }),
        }
    }
}

/// The lines of a group's schemata, without padding.
fn lines(group: &Path) -> Vec<String> {
    let text = text(group, "schemata").unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// The directories with a group's figures, in the order of their names.
fn domains(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group.join("mon_data"));
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

fn text(directory: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(directory.join(file)).ok()?;
    Some(text.trim().to_owned())
}

/// 0 also where the kernel has no figure just now (`Unavailable`).
fn number(directory: &Path, file: &str) -> u64 {
    let text = text(directory, file).unwrap_or_default();
    u64::from_str(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A directory with these files.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("directory");
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        root
    }

    fn said(root: &Path, monitored: &str) -> serde_json::Value {
        let groups = Groups {
            root: root.to_owned(),
            class: root.join("web"),
            monitored: root.join(monitored),
        };
        serde_json::to_value(groups.stats()).expect("JSON")
    }

    #[test]
    fn everything_that_the_hardware_has_is_told() {
        let root = tree(&[
            ("schemata", "    MB:0=100;1=100\n    L3:0=7ff;1=7ff\n"),
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            (
                "info/L3_MON/mon_features",
                "llc_occupancy\nmbm_total_bytes\n",
            ),
            ("web/schemata", "    MB:0=50;1=50\n    L3:0=f;1=f\n"),
            ("web/mon_groups/web/mon_data/mon_L3_00/llc_occupancy", "7\n"),
            (
                "web/mon_groups/web/mon_data/mon_L3_00/mbm_total_bytes",
                "9\n",
            ),
            (
                "web/mon_groups/web/mon_data/mon_L3_01/llc_occupancy",
                "Unavailable\n",
            ),
            (
                "web/mon_groups/web/mon_data/mon_L3_01/mbm_total_bytes",
                "4\n",
            ),
        ]);
        let expected = json!({
            "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=7ff;1=7ff",
            "l3_cache_schema": "L3:0=f;1=f",
            "mem_bw_info": {
                "bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8,
            },
            "mem_bw_schema_root": "MB:0=100;1=100",
            "mem_bw_schema": "MB:0=50;1=50",
            "schemata": ["MB:0=50;1=50", "L3:0=f;1=f"],
            "mbm_stats": [
                {"mbm_total_bytes": 9, "mbm_local_bytes": 0}, {"mbm_total_bytes": 4, "mbm_local_bytes": 0},
            ],
            "cmt_stats": [{"llc_occupancy": 7}, {"llc_occupancy": 0}],
        });
        assert_eq!(said(root.path(), "web/mon_groups/web"), expected);
    }

    #[test]
    fn what_the_hardware_lacks_is_absent() {
        let root = tree(&[("schemata", "L2:0=ff\n"), ("web/schemata", "L2:0=f\n")]);
        assert_eq!(said(root.path(), "web"), json!({"schemata": ["L2:0=f"]}));
    }
}
