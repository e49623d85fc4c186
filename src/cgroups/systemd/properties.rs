//! The limits of the container's cgroup as properties of its scope, so that systemd, its tools and
//! the scope's siblings know them (systemd.resource-control(5); types from
//! org.freedesktop.systemd1(5)). Pure.
//!
//! The container's own cgroup holds the exact values. A property that systemd rounds is never
//! tighter than those.

use super::Property;
use super::dbus::value::Value;
use crate::cgroups::fs::Cgroup;
use crate::cgroups::limits::{Absent, Setting};

/// Limits as systemd takes them, and those that it does not know.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Limits {
    /// Properties of the scope.
    pub(super) properties: Vec<Property>,
    /// What is written into the scope's own files instead.
    pub(super) files: Vec<Setting>,
}

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;

/// systemd keeps the quota in whole percents of a CPU: this many microseconds a second.
const PERCENT: u64 = 10_000;

/// A file of the scope that systemd writes whenever it writes a memory limit. It is no limit: who
/// dies together is settled in the container's cgroup.
const SYSTEMDS_OWN: &str = "memory.oom.group";

/// What the kernel makes of the weight of I/O that systemd is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// It has `io.weight` alone, whose scale is that of the property.
    Kernel,
    /// It has `io.bfq.weight`, too, for which systemd converts the property.
    Bfq,
}

impl Weights {
    /// Asks the scope's directory.
    pub(super) fn of(scope: &Cgroup) -> Weights {
        match scope.read(BFQ) {
            Ok(_) => Weights::Bfq,
            Err(_) => Weights::Kernel,
        }
    }
}

const BFQ: &str = "io.bfq.weight";

/// The highest number of a CPU or memory node that goes into a bit mask.
const LAST_BIT: usize = 8191;

/// Sorts the settings. The last value of a file wins, as it does in the file.
pub(super) fn of(settings: &[Setting], weights: Weights) -> Limits {
    let mut limits = Limits::default();
    for setting in settings.iter().filter(|it| it.file != SYSTEMDS_OWN) {
        let known = match (&setting.absent, weights) {
            (Absent::Instead { file, value }, Weights::Kernel) => properties(file, value),
            _ => properties(&setting.file, &setting.value),
        };
        // The file of a weight has the exact value, whichever of the two it is.
        if known.is_none() || setting.file == BFQ {
            limits.files.push(setting.clone());
        }
        for property in known.into_iter().flatten() {
            merge(&mut limits.properties, property);
        }
    }
    limits
}

/// Lists of devices grow; anything else is replaced.
fn merge(list: &mut Vec<Property>, (name, value): Property) {
    match (list.iter_mut().find(|(known, _)| *known == name), value) {
        (Some((_, Value::Array(element, all))), Value::Array(_, more)) if element == "(st)" => {
            all.extend(more);
        }
        (Some((_, known)), value) => *known = value,
        (None, value) => list.push((name, value)),
    }
}

/// None for a file that systemd has no property for, and for a value that it could not take.
fn properties(file: &str, value: &str) -> Option<Vec<Property>> {
    let amount = || match value {
        "max" => Some(INFINITY),
        value => value.parse().ok(),
    };
    let number = |name: &str, value: u64| Some(vec![(name.to_owned(), Value::Uint64(value))]);
    match file {
        "memory.max" => number("MemoryMax", amount()?),
        "memory.high" => number("MemoryHigh", amount()?),
        "memory.low" => number("MemoryLow", amount()?),
        "memory.min" => number("MemoryMin", amount()?),
        "memory.swap.max" => number("MemorySwapMax", amount()?),
        // Beside the container's first process there is one that holds the scope until that lives.
        "pids.max" => number("TasksMax", amount()?.max(2)),
        "cpu.weight" => number("CPUWeight", value.parse().ok()?),
        "cpu.max" => quota(value),
        "cpuset.cpus" => mask("AllowedCPUs", value),
        "cpuset.mems" => mask("AllowedMemoryNodes", value),
        "io.weight" => weight(value, Some),
        BFQ => weight(value, property_of_bfq),
        "io.max" => {
            let mut words = value.split_whitespace();
            let device = words.next()?;
            words.map(|word| throttle(device, word)).collect()
        }
        _ => None,
    }
}

/// `WEIGHT`, `default WEIGHT` or `MAJOR:MINOR WEIGHT` → the property, on the scale that `convert` makes of the file's.
fn weight(value: &str, convert: fn(u64) -> Option<u64>) -> Option<Vec<Property>> {
    let words: Vec<&str> = value.split_whitespace().collect();
    let number = |text: &str| convert(text.parse().ok()?);
    let property = match words.as_slice() {
        [weight] | ["default", weight] => ("IOWeight".to_owned(), Value::Uint64(number(weight)?)),
        [device, weight] => per_device("IODeviceWeight", device, number(weight)?)?,
        _ => return None,
    };
    Some(vec![property])
}

/// The property of which systemd makes this `io.bfq.weight`: up to 100 both are the same, and from there a straight
/// line leads to the ends, 1000 and 10000 (`BFQ_WEIGHT` in systemd's cgroup.c).
fn property_of_bfq(weight: u64) -> Option<u64> {
    match weight {
        0..=100 => Some(weight),
        101..=1000 => Some(100 + (weight - 100) * 11),
        _ => None,
    }
}

/// `QUOTA PERIOD` → microseconds of CPU a second.
fn quota(value: &str) -> Option<Vec<Property>> {
    let mut words = value.split_whitespace();
    let quota = words.next()?;
    let period: u64 = words.next().unwrap_or("100000").parse().ok()?;
    let per_second = match quota {
        "max" => INFINITY,
        quota => quota
            .parse::<u64>()
            .ok()?
            .checked_mul(1_000_000)?
            .checked_div(period)?
            .checked_next_multiple_of(PERCENT)?
            .max(PERCENT),
    };
    Some(vec![
        ("CPUQuotaPerSecUSec".to_owned(), Value::Uint64(per_second)),
        ("CPUQuotaPeriodUSec".to_owned(), Value::Uint64(period)),
    ])
}

/// A list like `0-3,7` → a bit for each, the lowest in the first byte.
fn mask(name: &str, list: &str) -> Option<Vec<Property>> {
    let mut bytes: Vec<u8> = Vec::new();
    // An empty list is no choice, in the file as in the property.
    for range in list.trim().split(',').filter(|it| !it.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last > LAST_BIT {
            return None;
        }
        for bit in first..=last {
            if bytes.len() <= bit / 8 {
                bytes.resize(bit / 8 + 1, 0);
            }
            *bytes.get_mut(bit / 8)? |= 1 << (bit % 8);
        }
    }
    Some(vec![(name.to_owned(), Value::bytes(&bytes))])
}

/// One of `rbps=… wbps=… riops=… wiops=…` of io.max.
fn throttle(device: &str, word: &str) -> Option<Property> {
    let (key, value) = word.split_once('=')?;
    let name = match key {
        "rbps" => "IOReadBandwidthMax",
        "wbps" => "IOWriteBandwidthMax",
        "riops" => "IOReadIOPSMax",
        "wiops" => "IOWriteIOPSMax",
        _ => return None,
    };
    let value = match value {
        "max" => INFINITY,
        value => value.parse().ok()?,
    };
    per_device(name, device, value)
}

/// systemd wants the path of a node where the kernel has numbers; udev's names are made of them.
fn per_device(name: &str, device: &str, value: u64) -> Option<Property> {
    let (major, minor) = device.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    let pair = Value::Struct(vec![
        Value::String(format!("/dev/block/{major}:{minor}")),
        Value::Uint64(value),
    ]);
    Some((name.to_owned(), Value::Array("(st)".to_owned(), vec![pair])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(file: &str, value: &str) -> Setting {
        Setting {
            file: file.into(),
            value: value.into(),
            absent: Absent::Fail,
        }
    }

    fn device(name: &str, path: &str, value: u64) -> Property {
        let pair = Value::Struct(vec![Value::text(path), Value::Uint64(value)]);
        (name.into(), Value::Array("(st)".into(), vec![pair]))
    }

    #[test]
    fn files_that_systemd_knows_become_properties() {
        let number = |name: &str, value| (name.to_owned(), Value::Uint64(value));
        for (file, value, expected) in [
            ("memory.max", "4096", vec![number("MemoryMax", 4096)]),
            ("memory.max", "max", vec![number("MemoryMax", u64::MAX)]),
            ("memory.high", "1", vec![number("MemoryHigh", 1)]),
            ("memory.low", "1", vec![number("MemoryLow", 1)]),
            ("memory.min", "1", vec![number("MemoryMin", 1)]),
            ("memory.swap.max", "0", vec![number("MemorySwapMax", 0)]),
            ("pids.max", "100", vec![number("TasksMax", 100)]),
            ("pids.max", "1", vec![number("TasksMax", 2)]),
            ("cpu.weight", "17", vec![number("CPUWeight", 17)]),
            (
                "cpu.max",
                "25000 100000",
                vec![
                    number("CPUQuotaPerSecUSec", 250_000),
                    number("CPUQuotaPeriodUSec", 100_000),
                ],
            ),
            // A third of a CPU: up to the next percent, never down.
            (
                "cpu.max",
                "10000 30000",
                vec![
                    number("CPUQuotaPerSecUSec", 340_000),
                    number("CPUQuotaPeriodUSec", 30_000),
                ],
            ),
            (
                "cpu.max",
                "max 50000",
                vec![
                    number("CPUQuotaPerSecUSec", u64::MAX),
                    number("CPUQuotaPeriodUSec", 50_000),
                ],
            ),
            (
                "cpuset.cpus",
                "0-2,9",
                vec![("AllowedCPUs".into(), Value::bytes(&[0b111, 0b10]))],
            ),
            (
                "cpuset.cpus",
                "\n",
                vec![("AllowedCPUs".into(), Value::bytes(&[]))],
            ),
            (
                "cpuset.mems",
                "0",
                vec![("AllowedMemoryNodes".into(), Value::bytes(&[1]))],
            ),
            ("io.weight", "default 50", vec![number("IOWeight", 50)]),
            ("io.weight", "50", vec![number("IOWeight", 50)]),
            (
                "io.weight",
                "8:0 50",
                vec![device("IODeviceWeight", "/dev/block/8:0", 50)],
            ),
            (
                "io.max",
                "8:0 rbps=1 wbps=2 riops=3 wiops=max",
                vec![
                    device("IOReadBandwidthMax", "/dev/block/8:0", 1),
                    device("IOWriteBandwidthMax", "/dev/block/8:0", 2),
                    device("IOReadIOPSMax", "/dev/block/8:0", 3),
                    device("IOWriteIOPSMax", "/dev/block/8:0", u64::MAX),
                ],
            ),
        ] {
            let limits = of(&[setting(file, value)], Weights::Kernel);
            assert_eq!(limits.properties, expected, "{file} {value}");
            assert_eq!(limits.files, [], "{file} {value}");
        }
    }

    #[test]
    fn what_systemd_does_not_know_is_written_into_the_scopes_files() {
        for (file, value) in [
            ("cpu.max.burst", "1000"),
            ("cpu.idle", "1"),
            ("hugetlb.2MB.max", "0"),
            ("rdma.max", "mlx5_0 hca_handle=1"),
            ("memory.zswap.max", "1"),
            ("memory.max", "64M"),
            ("cpu.max", "1 0"),
            ("cpuset.cpus", "0-99999999"),
            ("cpuset.cpus", "all"),
            ("io.weight", "sda 50"),
            ("io.max", "8:0 rbps=1 ctrl=user"),
        ] {
            let setting = setting(file, value);
            let limits = of(std::slice::from_ref(&setting), Weights::Kernel);
            assert_eq!(limits.properties, [], "{file} {value}");
            assert_eq!(limits.files, [setting]);
        }
    }

    #[test]
    fn what_systemd_keeps_for_itself_is_left_alone() {
        assert_eq!(
            of(&[setting("memory.oom.group", "1")], Weights::Kernel),
            Limits::default()
        );
    }

    #[test]
    fn a_weight_is_told_so_that_the_kernel_hears_what_the_file_says() {
        for (weight, instead, kernels, bfqs) in [
            ("500", "4950", 4950, 4500),
            ("111", "1021", 1021, 221),
            ("1000", "10000", 10000, 10000),
            ("20", "102", 102, 20),
        ] {
            let setting = Setting {
                absent: Absent::Instead {
                    file: "io.weight".into(),
                    value: instead.into(),
                },
                ..setting("io.bfq.weight", weight)
            };
            for (weights, expected) in [(Weights::Kernel, kernels), (Weights::Bfq, bfqs)] {
                let limits = of(std::slice::from_ref(&setting), weights);
                let expected = ("IOWeight".to_owned(), Value::Uint64(expected));
                assert_eq!(limits.properties, [expected]);
                assert_eq!(limits.files, std::slice::from_ref(&setting));
            }
        }
        // That file was asked for, so it is there.
        let limits = of(&[setting("io.bfq.weight", "8:0 200")], Weights::Kernel);
        let expected = device("IODeviceWeight", "/dev/block/8:0", 1200);
        assert_eq!(limits.properties, [expected]);
    }

    #[test]
    fn the_last_value_wins_and_devices_add_up() {
        let limits = of(
            &[
                setting("memory.max", "1"),
                setting("io.max", "8:0 rbps=1"),
                setting("io.max", "8:16 rbps=2"),
                setting("memory.max", "2"),
            ],
            Weights::Kernel,
        );
        let (_, one) = device("IOReadBandwidthMax", "/dev/block/8:0", 1);
        let (_, two) = device("IOReadBandwidthMax", "/dev/block/8:16", 2);
        let (Value::Array(element, mut both), Value::Array(_, two)) = (one, two) else {
            panic!("arrays");
        };
        both.extend(two);
        assert_eq!(
            limits.properties,
            [
                ("MemoryMax".to_owned(), Value::Uint64(2)),
                ("IOReadBandwidthMax".to_owned(), Value::Array(element, both)),
            ]
        );
    }
}
