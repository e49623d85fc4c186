use super::text::{flat_keyed, limit, list, nested_keyed, number};
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The figures of a cgroup with these files, as they are printed.
fn stats(files: &[(&str, &str)]) -> Value {
    let directory = tempfile::tempdir().expect("temporary directory");
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).expect("written");
    }
    let cgroup = Cgroup::open(directory.path()).expect("open");
    serde_json::to_value(Stats::read(&cgroup)).expect("JSON")
}

#[test]
fn a_cgroup_without_controllers_has_zeros_and_no_error() {
    let stats = stats(&[("cgroup.procs", "1\n2\n"), ("cpu.stat", "usage_usec 7\n")]);
    let none = json!({"limit": 0, "usage": 0, "max": 0, "failcnt": 0});
    let expected = json!({
        "cpu": {
            "usage": {"total": 7000, "kernel": 0, "user": 0},
            "throttling": {"periods": 0, "throttledPeriods": 0, "throttledTime": 0},
            "burst": {"periods": 0, "time": 0}
        },
        "cpuset": {},
        "memory": {
            "cache": 0, "usage": none, "swap": none, "swapOnly": none, "kernel": none,
            "kernelTCP": none, "raw": {},
            "events": {"low": 0, "high": 0, "max": 0, "oom": 0, "oom_kill": 0}
        },
        "pids": {"current": 2, "limit": 0, "events": {"max": 0}},
        "blkio": {},
        "hugetlb": {},
        "rdma": {"current": {}, "limit": {}},
        "intel_rdt": {},
        "network_interfaces": []
    });
    assert_eq!(stats, expected);
}

#[test]
fn times_of_cpu_stat_become_nanoseconds() {
    let text = "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\ncore_sched.force_idle_usec 0\n\
                nr_periods 9\nnr_throttled 4\nthrottled_usec 70\nnr_bursts 2\nburst_usec 3\n";
    let stats = stats(&[
        ("cpu.stat", text),
        ("cpuset.cpus.effective", "0-2,7\n"),
        ("cpuset.mems.effective", "0\n"),
    ]);
    assert_eq!(
        stats["cpu"],
        json!({
            "usage": {"total": 1_500_000, "kernel": 500_000, "user": 1_000_000},
            "throttling": {"periods": 9, "throttledPeriods": 4, "throttledTime": 70_000},
            "burst": {"periods": 2, "time": 3000}
        })
    );
    assert_eq!(stats["cpuset"], json!({"cpus": [0, 1, 2, 7], "mems": [0]}));
}

#[test]
fn memory_and_swap_are_told_alone_and_together() {
    let stats = stats(&[
        ("memory.current", "300\n"),
        ("memory.max", "1000\n"),
        ("memory.peak", "900\n"),
        (
            "memory.events",
            "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n",
        ),
        ("memory.swap.current", "20\n"),
        ("memory.swap.max", "500\n"),
        ("memory.swap.peak", "30\n"),
        ("memory.swap.events", "high 0\nmax 8\nfail 0\n"),
        ("memory.stat", "anon 100\nfile 150\nkernel 40\nsock 10\n"),
    ]);
    let amount = |limit: u64, usage: u64, max: u64, failcnt: u64| json!({"limit": limit, "usage": usage, "max": max, "failcnt": failcnt});
    assert_eq!(
        stats["memory"],
        json!({
            "cache": 150,
            "usage": amount(1000, 300, 900, 3),
            "swap": amount(1500, 320, 0, 8),
            "swapOnly": amount(500, 20, 30, 8),
            "kernel": amount(0, 40, 0, 0),
            "kernelTCP": amount(0, 10, 0, 0),
            "raw": {"anon": 100, "file": 150, "kernel": 40, "sock": 10},
            "events": {"low": 1, "high": 2, "max": 3, "oom": 4, "oom_kill": 5}
        })
    );
}

#[test]
fn no_limit_is_the_largest_number_of_memory_and_zero_of_pids() {
    let stats = stats(&[
        ("memory.current", "300\n"),
        ("memory.max", "max\n"),
        ("memory.swap.current", "20\n"),
        ("memory.swap.max", "max\n"),
        ("pids.current", "3\n"),
        ("pids.max", "max\n"),
        ("pids.events", "max 11\n"),
    ]);
    assert_eq!(stats["memory"]["usage"]["limit"], json!(u64::MAX));
    assert_eq!(stats["memory"]["swap"]["limit"], json!(u64::MAX));
    assert_eq!(
        stats["pids"],
        json!({"current": 3, "limit": 0, "events": {"max": 11}})
    );
}

#[test]
fn io_is_told_by_device_and_operation() {
    let text = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=7\n\
                254:0 cost.usage=9\n8:32\n";
    let stats = stats(&[
        ("io.stat", text),
        (
            "io.pressure",
            "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n",
        ),
    ]);
    let row = |op: &str, value: u64| json!({"major": 8, "minor": 16, "op": op, "value": value});
    assert_eq!(
        stats["blkio"],
        json!({
            "ioServiceBytesRecursive": [
                row("Read", 1_459_200), row("Write", 314_773_504), row("Discard", 0)
            ],
            "ioServicedRecursive": [row("Read", 192), row("Write", 353), row("Discard", 7)],
            "psi": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 77}}
        })
    );
}

#[test]
fn pressure_has_both_lines_where_the_kernel_has() {
    let text = "some avg10=0.12 avg60=3.00 avg300=100.00 total=19025341\n\
                full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
    let stats = stats(&[("cpu.pressure", text), ("memory.pressure", "\n")]);
    assert_eq!(
        stats["cpu"]["psi"],
        json!({
            "some": {"avg10": 0.12, "avg60": 3.0, "avg300": 100.0, "total": 19_025_341},
            "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 1}
        })
    );
    assert_eq!(stats["memory"].get("psi"), None);
}

#[test]
fn huge_pages_of_every_size_are_counted_with_the_reserved_ones() {
    let stats = stats(&[
        ("hugetlb.2MB.current", "2097152\n"),
        ("hugetlb.2MB.rsvd.current", "4194304\n"),
        ("hugetlb.2MB.events", "max 3\n"),
        ("hugetlb.1GB.current", "1073741824\n"),
    ]);
    assert_eq!(
        stats["hugetlb"],
        json!({
            "2MB": {"usage": 4_194_304, "failcnt": 3},
            "1GB": {"usage": 1_073_741_824, "failcnt": 0}
        })
    );
}

#[test]
fn rdma_devices_have_their_names() {
    let stats = stats(&[
        ("rdma.current", "mlx4_0 hca_handle=1 hca_object=20\n"),
        ("rdma.max", "mlx4_0 hca_handle=2 hca_object=max\n"),
    ]);
    assert_eq!(
        stats["rdma"],
        json!({
            "current": {"mlx4_0": {"hcaHandles": 1, "hcaObjects": 20}},
            "limit": {"mlx4_0": {"hcaHandles": 2}}
        })
    );
}

#[test]
fn single_values_and_lists() {
    for (text, expected) in [
        ("7\n", Some(7)),
        ("max\n", Some(u64::MAX)),
        ("18446744073709551616\n", None),
        ("", None),
    ] {
        assert_eq!(limit(text), expected, "{text:?}");
    }
    for (text, expected) in [
        ("0-1,5\n", vec![0, 1, 5]),
        ("\n", vec![]),
        ("3-1,x,2", vec![2]),
        ("0-70000", vec![]),
    ] {
        assert_eq!(list(text), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in "([a-z0-9:=.,\\- \\n]|max|avg10=|inf|\\PC){0,80}") {
        let file = |_: &str| Some(text.clone());
        let all = (
            cpu::Cpu::read(file),
            cpu::CpuSet::read(file),
            memory::Memory::read(file),
            (pids::Pids::read(file), io::Io::read(file)),
            (hugetlb::HugeTlb::read("2MB", file), rdma::Rdma::read(file)),
        );
        let printed = serde_json::to_string(&all).expect("JSON");
        prop_assert!(!printed.contains("null"));
    }

    #[test]
    fn what_the_kernel_writes_is_read_back(
        values in proptest::collection::btree_map("[a-z_]{1,8}", any::<u64>(), 0..8),
    ) {
        let flat: String = values.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        let read: BTreeMap<_, _> = flat_keyed(&flat)
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        prop_assert_eq!(&read, &values);
        let fields: String = values.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let nested = format!("device{fields}\n");
        for (device, fields) in nested_keyed(&nested) {
            prop_assert_eq!(device, "device");
            for (key, value) in &values {
                prop_assert_eq!(fields.get(key), Some(*value));
            }
        }
        for value in values.values() {
            prop_assert_eq!(number(&format!("{value}\n")), Some(*value));
        }
    }
}
