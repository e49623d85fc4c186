//! The limits of `linux.resources`: what the container's files hold, read from inside it, from outside
//! and by another reader (the crate cgroups-rs, for what it reads right), and what is refused.

use crate::support::{Bundle, Lab, WEIGHTS, cases, disk};
use cgroups_rs::cpu::CpuController;
use cgroups_rs::cpuset::CpuSetController;
use cgroups_rs::hugetlb::HugeTlbController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use cgroups_rs::{CgroupPid, MaxValue};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::PoisonError;

cases! {
    [Root, Casulo] => what_cgroup_v2_lacks_is_refused, what_cgroup_v2_does_anyway_is_accepted,
        a_limit_of_another_type_is_refused;
    [Root, Controller("memory")] => memory_limits_are_written, unlimited_memory, swap_is_the_difference;
    [Root, Controller("cpu")] => cpu_quota_and_period, burst_is_written, shares_become_weight,
        an_idle_container_has_no_weight;
    [Root, Controller("cpuset")] => cpus_are_chosen;
    [Root, Controller("pids")] => pids_limit_minus_one_is_max, what_is_not_limited_is_counted, names_in_another_case_are_read;
    [Root, Casulo, NoController("pids")] => no_limit_needs_no_controller;
    [Root, Casulo, Controller("pids")] => pids_limit_zero_is_one, empty_pids_is_unset, limits_are_read_back_from_inside,
        processes_above_are_explained;
    [Root, Casulo, Controller("memory")] => threads_above_are_explained, unified_files_are_written_last,
        an_unknown_file_is_named;
    [Root, Controller("io"), Disk] => throttles_are_written, block_io_weight_is_written;
    [Root, Casulo, Controller("io"), Disk] => a_rate_of_zero_is_no_limit, weight_of_a_disk_is_written_or_explained;
    [Root, Casulo, Controller("io")] => an_unknown_disk_is_named;
    [Root, Controller("hugetlb")] => huge_page_limits_are_written;
    [Root, Casulo, Controller("hugetlb")] => an_unknown_page_size_is_named;
    [Root, Casulo, Controller("rdma")] => an_unknown_rdma_device_is_named;
}

const MIB: u64 = 1 << 20;

fn limited<'lab>(lab: &'lab Lab, resources: &Value) -> Bundle<'lab> {
    let mut resources = resources.clone();
    resources["devices"] = json!([{"allow": false, "access": "rwm"}]);
    lab.bundle().set("/linux/resources", resources)
}

/// A container at rest under `resources`.
fn resting<'lab>(lab: &'lab Lab, resources: &Value) -> Bundle<'lab> {
    let bundle = limited(lab, resources).args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

/// What these files of the container's cgroup hold; inside as outside.
#[track_caller]
fn values(bundle: &Bundle, files: &[&str]) -> Vec<String> {
    let script = format!(
        "cd /sys/fs/cgroup; for f in {}; do cat $f; echo =; done",
        files.join(" ")
    );
    let inside = bundle.exec(&script).ok();
    let inside: Vec<&str> = inside.text().trim_end_matches('=').split("=\n").collect();
    for (file, inside) in files.iter().zip(&inside) {
        let outside = fs::read_to_string(bundle.cgroup().join(file)).unwrap();
        assert_eq!(*inside, outside, "{file}");
    }
    inside.iter().map(|it| it.trim().to_owned()).collect()
}

/// [`values`] of a container that rests under `resources`.
#[track_caller]
fn written(lab: &Lab, resources: &Value, files: &[&str]) -> Vec<String> {
    values(&resting(lab, resources), files)
}

fn cpu_quota_and_period(lab: &Lab) {
    let bundle = resting(lab, &json!({"cpu": {"quota": 50_000, "period": 200_000}}));
    assert_eq!(values(&bundle, &["cpu.max"]), ["50000 200000"]);
    let reader = CpuController::new(bundle.cgroup(), true);
    assert_eq!(reader.cfs_quota().unwrap(), 50_000);
    assert_eq!(reader.cfs_period().unwrap(), 200_000);
    for (cpu, expected) in [
        (json!({"quota": -1}), "max 100000"),
        (json!({"period": 50_000}), "max 50000"),
    ] {
        assert_eq!(written(lab, &json!({"cpu": cpu}), &["cpu.max"]), [expected]);
    }
}

fn burst_is_written(lab: &Lab) {
    let resources = json!({"cpu": {"quota": 50_000, "burst": 20_000}});
    assert_eq!(
        written(lab, &resources, &["cpu.max", "cpu.max.burst"]),
        ["50000 100000", "20000"]
    );
    limited(lab, &json!({"cpu": {"quota": 50_000, "burst": 60_000}}))
        .run()
        .fails_with(&["burst"]);
}

fn shares_become_weight(lab: &Lab) {
    for (shares, weight) in [(2, 1), (102, 17), (1024, 100), (262_144, 10_000)] {
        let bundle = resting(lab, &json!({"cpu": {"shares": shares}}));
        assert_eq!(values(&bundle, &["cpu.weight"]), [weight.to_string()]);
        let reader = CpuController::new(bundle.cgroup(), true);
        assert_eq!(reader.shares().unwrap(), weight);
    }
}

fn an_idle_container_has_no_weight(lab: &Lab) {
    // The kernel shows 0 as the weight of what is idle, whatever was asked for beside it.
    let resources = json!({"cpu": {"idle": 1, "shares": 1024}});
    assert_eq!(
        written(lab, &resources, &["cpu.idle", "cpu.weight"]),
        ["1", "0"]
    );
}

fn cpus_are_chosen(lab: &Lab) {
    let bundle = resting(lab, &json!({"cpu": {"cpus": "0", "mems": "0"}}));
    assert_eq!(
        values(
            &bundle,
            &["cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective"]
        ),
        ["0", "0", "0"]
    );
    let reader = CpuSetController::new(bundle.cgroup(), true).cpuset();
    assert_eq!((reader.cpus, reader.mems), (vec![(0, 0)], vec![(0, 0)]));
    let status = bundle.exec("cat /proc/self/status").ok();
    assert_eq!(status.field("Cpus_allowed_list"), "0");
    assert_eq!(status.field("Mems_allowed_list"), "0");
}

fn memory_limits_are_written(lab: &Lab) {
    let resources = json!({"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}});
    let bundle = resting(lab, &resources);
    assert_eq!(
        values(&bundle, &["memory.max", "memory.low"]),
        [(64 * MIB).to_string(), (32 * MIB).to_string()]
    );
    let reader = MemController::new(bundle.cgroup(), true).get_mem().unwrap();
    let bytes = |value: u64| Some(MaxValue::Value(i64::try_from(value).unwrap()));
    assert_eq!((reader.max, reader.low), (bytes(64 * MIB), bytes(32 * MIB)));
    assert_eq!((reader.high, reader.min), (Some(MaxValue::Max), bytes(0)));
}

fn unlimited_memory(lab: &Lab) {
    let resources = json!({"memory": {"limit": -1}});
    assert_eq!(written(lab, &resources, &["memory.max"]), ["max"]);
}

fn swap_is_the_difference(lab: &Lab) {
    // The spec's swap is memory and swap together; cgroup v2 counts swap alone.
    let bundle = resting(
        lab,
        &json!({"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}),
    );
    assert_eq!(
        values(&bundle, &["memory.swap.max"]),
        [(32 * MIB).to_string()]
    );
    let reader = MemController::new(bundle.cgroup(), true).memswap();
    assert_eq!(reader.limit_in_bytes.unsigned_abs(), 32 * MIB);
    for (swap, expected) in [(-1, "max"), (64 << 20, "0")] {
        let resources = json!({"memory": {"limit": 64 * MIB, "swap": swap}});
        assert_eq!(written(lab, &resources, &["memory.swap.max"]), [expected]);
    }
    limited(
        lab,
        &json!({"memory": {"limit": 64 * MIB, "swap": 32 * MIB}}),
    )
    .run()
    .fails_with(&["swap"]);
}

/// Engines show the memory of every container, and one that manages cgroups passes on what it has.
fn what_is_not_limited_is_counted(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/linux/resources", json!({}))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle
        .exec("cd /sys/fs/cgroup; cat memory.current pids.current; ls io.stat cpu.max")
        .ok();
    assert!(out.lines()[0].parse::<u64>().unwrap() > 0, "{out:?}");
    assert!(out.lines()[1].parse::<u64>().unwrap() > 0, "{out:?}");
    assert_eq!(out.lines()[2..], ["cpu.max", "io.stat"]);
}

/// As Go's decoder reads them.
fn names_in_another_case_are_read(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/linux/resources", json!({"Pids": {"LIMIT": 17}}))
        .args(&["/bin/cat", "/sys/fs/cgroup/pids.max"]);
    let out = bundle.run().ok();
    assert_eq!(out.text(), "17");
    for path in ["linux.resources.Pids: ", "linux.resources.pids.LIMIT: "] {
        assert!(out.stderr.contains(path), "{}", out.stderr);
    }
    // The right one counts.
    let both = json!({"pids": {"limit": 18}, "PIDS": {"limit": 19}});
    let bundle = lab
        .bundle()
        .set("/linux/resources", both)
        .args(&["/bin/cat", "/sys/fs/cgroup/pids.max"]);
    assert_eq!(bundle.run().ok().text(), "18");
}

fn no_limit_needs_no_controller(lab: &Lab) {
    let unlimited = json!({"pids": {"limit": -1}, "memory": {"limit": -1}});
    limited(lab, &unlimited).run().ok();
    limited(lab, &json!({"pids": {"limit": 7}}))
        .run()
        .fails_with(&["pids", "controller"]);
}

fn pids_limit_minus_one_is_max(lab: &Lab) {
    let bundle = resting(lab, &json!({"pids": {"limit": -1}}));
    assert_eq!(values(&bundle, &["pids.max"]), ["max"]);
    let reader = PidController::new(bundle.cgroup(), true);
    assert_eq!(reader.get_pid_max().unwrap(), MaxValue::Max);
}

fn pids_limit_zero_is_one(lab: &Lab) {
    // The kernel knows no 0 here that would be useful; one process may run, and fork none.
    let bundle = resting(lab, &json!({"pids": {"limit": 0}}));
    let reader = PidController::new(bundle.cgroup(), true);
    assert_eq!(reader.get_pid_max().unwrap(), MaxValue::Value(1));
    assert_eq!(reader.get_pid_current().unwrap(), 1);
}

fn empty_pids_is_unset(lab: &Lab) {
    // Its neighbour has the controller enabled, without which there is no file to look at.
    resting(lab, &json!({"pids": {"limit": 9}}));
    assert_eq!(written(lab, &json!({"pids": {}}), &["pids.max"]), ["max"]);
}

fn limits_are_read_back_from_inside(lab: &Lab) {
    let resources = json!({
        "cpu": {"quota": 100_000, "period": 100_000, "shares": 512},
        "memory": {"limit": 128 * MIB},
        "pids": {"limit": 100}
    });
    let found = written(lab, &resources, &["cpu.max", "memory.max", "pids.max"]);
    assert_eq!(found, ["100000 100000", &(128 * MIB).to_string(), "100"]);
}

/// An entry about the disk that holds the tests, with this limit.
fn of_the_disk(field: &str, value: u64) -> Value {
    let disk = disk().unwrap();
    let (major, minor) = disk.split_once(':').unwrap();
    let number = |text: &str| text.parse::<u32>().unwrap();
    json!([{"major": number(major), "minor": number(minor), field: value}])
}

fn throttles_are_written(lab: &Lab) {
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": of_the_disk("rate", MIB),
        "throttleWriteBpsDevice": of_the_disk("rate", 2 * MIB),
        "throttleReadIOPSDevice": of_the_disk("rate", 300),
        "throttleWriteIOPSDevice": of_the_disk("rate", 400)
    }});
    let disk = disk().unwrap();
    assert_eq!(
        written(lab, &resources, &["io.max"]),
        [format!(
            "{disk} rbps=1048576 wbps=2097152 riops=300 wiops=400"
        )]
    );
}

fn a_rate_of_zero_is_no_limit(lab: &Lab) {
    let resources = json!({"blockIO": {
        "throttleReadBpsDevice": of_the_disk("rate", 0),
        "throttleWriteIOPSDevice": of_the_disk("rate", 7)
    }});
    let disk = disk().unwrap();
    assert_eq!(
        written(lab, &resources, &["io.max"]),
        [format!("{disk} rbps=max wbps=max riops=max wiops=7")]
    );
}

fn has_bfq() -> bool {
    fs::read_to_string("/proc/kallsyms").is_ok_and(|it| it.contains("bfq_io_set_weight"))
}

fn block_io_weight_is_written(lab: &Lab) {
    let _alone = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    let bundle = resting(lab, &json!({"blockIO": {"weight": 500}}));
    let (file, expected) = if has_bfq() {
        ("io.bfq.weight", "default 500")
    } else {
        ("io.weight", "default 4950")
    };
    assert_eq!(values(&bundle, &[file]), [expected]);
}

fn weight_of_a_disk_is_written_or_explained(lab: &Lab) {
    let _alone = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    let disk = disk().unwrap();
    let resources = json!({"blockIO": {"weightDevice": of_the_disk("weight", 500)}});
    let out = limited(lab, &resources)
        .sh("cat /sys/fs/cgroup/io.bfq.weight 2>/dev/null || cat /sys/fs/cgroup/io.weight")
        .run();
    if out.code == 0 {
        let expected = [format!("{disk} 500"), format!("{disk} 4950")];
        let is_listed = out
            .lines()
            .iter()
            .any(|it| expected.contains(&(*it).into()));
        assert!(is_listed, "{out:?}");
    } else {
        let value = format!("io.weight to {disk} 4950");
        out.fails_with(&[&value, "not supported", "BFQ"]);
    }
}

fn an_unknown_disk_is_named(lab: &Lab) {
    let device = json!([{"major": 4095, "minor": 77, "rate": 600}]);
    limited(lab, &json!({"blockIO": {"throttleReadBpsDevice": device}}))
        .run()
        .fails_with(&["set io.max to 4095:77 rbps=600", "No such device"]);
}

fn huge_page_limits_are_written(lab: &Lab) {
    let limits = json!([{"pageSize": "2MB", "limit": 4 * MIB}]);
    let bundle = resting(lab, &json!({"hugepageLimits": limits}));
    let expected = (4 * MIB).to_string();
    assert_eq!(
        values(&bundle, &["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]),
        [expected.clone(), expected]
    );
    let reader = HugeTlbController::new(bundle.cgroup(), true);
    assert_eq!(reader.limit_in_bytes("2MB").unwrap(), 4 * MIB);
    // As kubelet writes it for a pod without huge pages; and the largest number of the spec.
    for (limit, expected) in [(0, "0"), (u64::MAX, "max")] {
        let resources = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]});
        assert_eq!(written(lab, &resources, &["hugetlb.2MB.max"]), [expected]);
    }
    // As some programs in Go write it, and Go reads it.
    let resources = json!({"hugepageLimits": [{"pagesize": "2MB", "limit": 0}]});
    assert_eq!(written(lab, &resources, &["hugetlb.2MB.max"]), ["0"]);
}

fn an_unknown_page_size_is_named(lab: &Lab) {
    limited(
        lab,
        &json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}),
    )
    .run()
    .fails_with(&["set hugetlb.3MB.max to 0", "no such file"]);
}

fn an_unknown_rdma_device_is_named(lab: &Lab) {
    limited(
        lab,
        &json!({"rdma": {"nosuch_0": {"hcaHandles": 3, "hcaObjects": 9}}}),
    )
    .run()
    .fails_with(&[
        "set rdma.max to nosuch_0 hca_handle=3 hca_object=9",
        "No such device",
    ]);
}

fn unified_files_are_written_last(lab: &Lab) {
    let resources = json!({
        "memory": {"limit": 64 * MIB},
        "unified": {"memory.max": (96 * MIB).to_string(), "memory.high": (80 * MIB).to_string(),
            "cgroup.max.descendants": "3"}
    });
    assert_eq!(
        written(
            lab,
            &resources,
            &["memory.max", "memory.high", "cgroup.max.descendants"]
        ),
        [(96 * MIB).to_string(), (80 * MIB).to_string(), "3".into()]
    );
}

fn an_unknown_file_is_named(lab: &Lab) {
    for (file, words) in [
        ("memory.nosuch", ["set memory.nosuch to 1", "no such file"]),
        (
            "nosuch.max",
            ["enable nosuch", "the nosuch controller is not"],
        ),
        (
            "memory.current",
            ["set memory.current to 1", "only reports"],
        ),
        (
            "cgroup.procs",
            ["unified[\"cgroup.procs\"]", "not a resource"],
        ),
    ] {
        limited(lab, &json!({"unified": {file: "1"}}))
            .run()
            .fails_with(&words);
    }
}

fn what_cgroup_v2_lacks_is_refused(lab: &Lab) {
    for (part, field, value) in [
        ("memory", "kernel", json!(67_108_864)),
        ("memory", "kernelTCP", json!(67_108_864)),
        ("memory", "swappiness", json!(0)),
        ("memory", "disableOOMKiller", json!(true)),
        ("memory", "useHierarchy", json!(false)),
        ("cpu", "realtimeRuntime", json!(950_000)),
        ("cpu", "realtimePeriod", json!(1_000_000)),
        ("blockIO", "leafWeight", json!(100)),
        (
            "blockIO",
            "weightDevice",
            json!([{"major": 8, "minor": 0, "leafWeight": 100}]),
        ),
        ("network", "classID", json!(1)),
        (
            "network",
            "priorities",
            json!([{"name": "lo", "priority": 1}]),
        ),
    ] {
        let bundle = limited(lab, &json!({part: {field: value}}));
        let path = format!("linux.resources.{part}.{field}");
        bundle.run().fails_with(&[&path, "cgroup v2"]);
    }
}

fn a_limit_of_another_type_is_refused(lab: &Lab) {
    limited(lab, &json!({"memory": {"limit": "much"}}))
        .run()
        .fails_with(&["linux.resources.memory.limit"]);
}

fn what_cgroup_v2_does_anyway_is_accepted(lab: &Lab) {
    // Docker sends disableOOMKiller and null, and zeros for what is not set.
    let memory = json!({"kernel": -1, "kernelTCP": -1, "disableOOMKiller": false,
        "useHierarchy": true, "swappiness": null, "limit": 0, "swap": 0, "checkBeforeUpdate": true});
    let cpu = json!({"shares": 0, "quota": 0, "period": 0, "burst": 0, "idle": 0, "cpus": "", "mems": "",
        "realtimeRuntime": 0, "realtimePeriod": 0});
    let resources = json!({"memory": memory, "cpu": cpu, "blockIO": {"weight": 0, "weightDevice": null},
        "network": {"classID": 0, "priorities": []}, "hugepageLimits": [], "rdma": {}, "unified": {}});
    limited(lab, &resources).run().ok();
}

/// A cgroup of a test that no container made.
struct Above<'lab>(&'lab Lab, String);

impl Above<'_> {
    fn new(lab: &Lab) -> Above<'_> {
        let above = Above(lab, lab.new_id());
        fs::create_dir_all(lab.cgroup(&above.1)).unwrap();
        above
    }

    /// The error of a container below `directory` that wants a limit on its processes' memory.
    fn error_below(&self, directory: &str) -> crate::support::Output {
        let path = format!("/casulo-test/{}/{directory}", self.1);
        let resources = json!({"memory": {"limit": 64 * MIB}, "pids": {"limit": 10}});
        let bundle = limited(self.0, &resources).set("/linux/cgroupsPath", json!(path));
        let out = bundle.run();
        assert!(
            !Path::new("/sys/fs/cgroup")
                .join(path.trim_start_matches('/'))
                .exists()
        );
        out
    }
}

impl Drop for Above<'_> {
    fn drop(&mut self) {
        let directory = self.0.cgroup(&self.1);
        let _ = fs::write(directory.join("cgroup.kill"), "1");
        let _ = fs::remove_dir(directory.join("threads"));
        for _ in 0..100 {
            if fs::remove_dir(&directory).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn processes_above_are_explained(lab: &Lab) {
    let above = Above::new(lab);
    let mut sleeper = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let pid = CgroupPid::from(u64::from(sleeper.id()));
    fs::write(
        lab.cgroup(&above.1).join("cgroup.procs"),
        pid.pid.to_string(),
    )
    .unwrap();
    above.error_below("container").fails_with(&[
        &format!(
            "enable memory, pids below /sys/fs/cgroup/casulo-test/{}",
            above.1
        ),
        "Device or resource busy",
        "a cgroup with processes of its own",
    ]);
    drop(above);
    sleeper.wait().unwrap();
}

fn threads_above_are_explained(lab: &Lab) {
    let above = Above::new(lab);
    let threads = lab.cgroup(&above.1).join("threads");
    fs::create_dir(&threads).unwrap();
    fs::write(threads.join("cgroup.type"), "threaded").unwrap();
    above.error_below("threads/container").fails_with(&[
        "enable memory, pids below",
        "not supported",
        "threaded",
    ]);
}
