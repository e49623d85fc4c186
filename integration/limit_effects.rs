//! What the limits of `linux.resources` do: processes that want more get less, or end.
//!
//! Times are only compared with what a limit makes at least of them: a busy machine is slow by itself.

use crate::support::{Bundle, Lab, cases, disk};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

cases! {
    [Root, Controller("memory")] => memory_beyond_the_limit_is_killed;
    [Root, Controller("memory"), Disk, Program("/sbin/mkswap"), Program("/sbin/swapon")] => swap_beyond_its_limit_is_not_had;
    [Root, Controller("pids")] => forks_beyond_the_limit_are_refused;
    [Root, Controller("cpu")] => a_quota_holds;
    [Root, Controller("cpu"), Controller("cpuset")] => shares_divide_a_cpu;
    [Root, Controller("cpu"), Controller("memory")] => kubernetes_resources;
    [Root, Controller("io"), Disk] => writes_are_throttled, reads_are_throttled;
    [Root, Casulo, Controller("hugetlb")] => huge_pages_beyond_the_limit_are_refused;
}

const MIB: u64 = 1 << 20;

fn limited<'lab>(lab: &'lab Lab, resources: &Value) -> Bundle<'lab> {
    let mut resources = resources.clone();
    resources["devices"] = json!([{"allow": false, "access": "rwm"}]);
    lab.bundle().set("/linux/resources", resources)
}

/// The number behind `key` in a text of such lines, as the events and the statistics have.
#[track_caller]
fn number(text: &str, key: &str) -> u64 {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    found
        .unwrap_or_else(|| panic!("no {key} in {text}"))
        .trim()
        .parse()
        .unwrap()
}

fn memory_beyond_the_limit_is_killed(lab: &Lab) {
    // Without swap, which would take what is too much.
    let resources = json!({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}});
    let out = limited(lab, &resources)
        .sh("/bin/probe allocate 4000000; /bin/probe allocate 120000000; echo $?; cat /sys/fs/cgroup/memory.events")
        .run()
        .ok();
    assert_eq!(out.lines()[..2], ["ok 4000000", "137"], "{out:?}");
    assert_eq!(number(&out.stdout, "oom_kill"), 1, "{out:?}");
    assert!(number(&out.stdout, "max") > 0, "{out:?}");
    // The same to the container's first process.
    let out = limited(lab, &resources)
        .args(&["/bin/probe", "allocate", "120000000"])
        .run();
    assert_eq!(out.code, 137, "{out:?}");
}

/// A file that the host swaps to, while this value lives.
struct Swap(PathBuf);

impl Swap {
    fn new(lab: &Lab, bytes: u64) -> Swap {
        let file = lab.join("swap");
        fs::write(&file, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
        let run = |program: &str| Command::new(program).arg(&file).output().unwrap();
        assert!(run("/sbin/mkswap").status.success());
        let on = run("/sbin/swapon");
        assert!(on.status.success(), "{on:?}");
        Swap(file)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("/sbin/swapoff").arg(&self.0).status();
    }
}

fn swap_beyond_its_limit_is_not_had(lab: &Lab) {
    // So little that a neighbour test that runs out of memory still does.
    let _swap = Swap::new(lab, 48 * MIB);
    let run = |swap: u64| {
        limited(lab, &json!({"memory": {"limit": 32 * MIB, "swap": 32 * MIB + swap}}))
            .sh("/bin/probe allocate 48000000; /bin/probe allocate 150000000; cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory.swap.events")
            .run()
    };
    let out = run(40 * MIB);
    assert_eq!(out.lines()[0], "ok 48000000", "{out:?}");
    assert_eq!(number(&out.stdout, "oom_kill"), 1, "{out:?}");
    assert!(number(&out.stdout, "fail") > 0, "{out:?}");
    let out = run(0);
    assert_eq!(number(&out.stdout, "oom_kill"), 2, "{out:?}");
}

fn forks_beyond_the_limit_are_refused(lab: &Lab) {
    let bundle = limited(lab, &json!({"pids": {"limit": 4}}))
        .sh("for i in 1 2 3 4 5 6; do sleep 1000 & done; echo unreachable");
    let out = bundle.run();
    assert_ne!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains("can't fork"), "{out:?}");
    let bundle = limited(lab, &json!({"pids": {"limit": 4}}))
        .sh("sleep 1000 & (sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000); wait");
    bundle.run_detached();
    crate::support::wait_until("a fork is refused", || {
        let events = fs::read_to_string(bundle.cgroup().join("pids.events")).unwrap();
        number(&events, "max") > 0
    });
    let current = fs::read_to_string(bundle.cgroup().join("pids.current")).unwrap();
    assert!(current.trim().parse::<u64>().unwrap() <= 4, "{current}");
}

/// The part of the time that a container's processes have had, over two seconds.
fn share_of_a_cpu(cgroups: &[PathBuf]) -> Vec<f64> {
    let used = |cgroup: &PathBuf| -> (f64, Instant) {
        let stat = fs::read_to_string(cgroup.join("cpu.stat")).unwrap();
        (number(&stat, "usage_usec") as f64, Instant::now())
    };
    let before: Vec<_> = cgroups.iter().map(used).collect();
    sleep(Duration::from_secs(2));
    let shares = cgroups.iter().zip(before).map(|(cgroup, (was, then))| {
        let (is, now) = used(cgroup);
        (is - was) / now.duration_since(then).as_micros() as f64
    });
    shares.collect()
}

/// A quarter of a CPU is never exceeded, and is had as soon as the machine has the time.
#[track_caller]
fn assert_a_quarter(bundle: &Bundle) {
    let mut seen = Vec::new();
    while seen.len() < 10 {
        let share = share_of_a_cpu(&[bundle.cgroup()])[0];
        assert!(share < 0.35, "{share} of a CPU");
        if share > 0.15 {
            let stat = fs::read_to_string(bundle.cgroup().join("cpu.stat")).unwrap();
            assert!(number(&stat, "nr_throttled") > 0, "{stat}");
            return;
        }
        seen.push(share);
    }
    panic!("parts of a CPU, in two seconds each: {seen:?}");
}

const SPIN: &str = "while :; do :; done";

fn a_quota_holds(lab: &Lab) {
    // Two spinners, so that the quota and not the number of processes is what is seen.
    let bundle = limited(lab, &json!({"cpu": {"quota": 25_000, "period": 100_000}}))
        .sh(&format!("({SPIN}) & {SPIN}"));
    bundle.run_detached();
    assert_a_quarter(&bundle);
}

fn shares_divide_a_cpu(lab: &Lab) {
    let spinner = |shares: u64| {
        let bundle = limited(lab, &json!({"cpu": {"shares": shares, "cpus": "0"}})).sh(SPIN);
        bundle.run_detached();
        bundle
    };
    let (little, much) = (spinner(102), spinner(10_240));
    let shares = share_of_a_cpu(&[little.cgroup(), much.cgroup()]);
    // Weights of 17 and 640; whatever else runs on that CPU takes from both.
    assert!(shares[1] > 4.0 * shares[0], "{shares:?}");
}

/// A pod's container with requests of cpu 100m and memory 128Mi, and limits of cpu 250m and memory
/// 256Mi, as kubelet asks for it: the memory request is nowhere in it.
fn kubernetes_resources(lab: &Lab) {
    let container = || {
        limited(
            lab,
            &json!({
                "cpu": {"shares": 102, "quota": 25_000, "period": 100_000},
                "memory": {"limit": 268_435_456}
            }),
        )
    };
    let spinner = container().sh(SPIN);
    spinner.run_detached();
    for (file, expected) in [
        ("cpu.weight", "17"),
        ("cpu.max", "25000 100000"),
        ("memory.max", "268435456"),
        ("memory.min", "0"),
        ("memory.low", "0"),
        ("memory.high", "max"),
    ] {
        let outside = fs::read_to_string(spinner.cgroup().join(file)).unwrap();
        assert_eq!(outside.trim(), expected, "{file}");
    }
    assert_a_quarter(&spinner);
    spinner.call("delete", &["--force"], &[]).ok();

    let out = container()
        .sh("cd /sys/fs/cgroup; cat cpu.weight cpu.max memory.max; /bin/probe allocate 400000000; echo $?; cat memory.events")
        .run();
    let expected = ["17", "25000 100000", "268435456", "137"];
    assert_eq!(out.lines()[..4], expected, "{out:?}");
    assert_eq!(number(&out.stdout, "oom_kill"), 1, "{out:?}");
}

/// Runs dd under a throttle and returns how much of the disk's I/O it did in which time. `word` is
/// what io.stat calls it.
fn throttled(lab: &Lab, field: &str, rate: u64, dd: &str, word: &str) -> (u64, f64) {
    let disk = disk().unwrap();
    let (major, minor) = disk.split_once(':').unwrap();
    let limit = json!([{"major": major.parse::<u32>().unwrap(), "minor": minor.parse::<u32>().unwrap(), "rate": rate}]);
    let bundle = limited(lab, &json!({"blockIO": {field: limit}})).sh(&format!(
        "cut -d' ' -f1 /proc/uptime; dd {dd} 2>/dev/null || echo failed; cut -d' ' -f1 /proc/uptime; cat /sys/fs/cgroup/io.stat"
    ));
    fs::write(bundle.rootfs().join("data"), vec![7; 1 << 20]).unwrap();
    // Otherwise the pages still wait to be written, and reading them would cost writes.
    nix::unistd::sync();
    let out = bundle.run().ok();
    let lines = out.lines();
    let [begin, end] = [lines[0], lines[1]].map(|it| it.parse::<f64>().expect("a time"));
    let prefix = format!("{disk} ");
    let stat = lines
        .iter()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("{out:?}"));
    let done = stat
        .split(' ')
        .find_map(|it| it.strip_prefix(word)?.strip_prefix('=')?.parse().ok());
    (done.unwrap_or_else(|| panic!("{out:?}")), end - begin)
}

#[track_caller]
fn assert_no_faster((done, seconds): (u64, f64), at_least: u64, rate: u64) {
    assert!(done >= at_least, "{done}");
    // The kernel lets a slice of its time go ahead.
    let speed = done as f64 / seconds;
    assert!(speed < 1.5 * rate as f64, "{speed} a second, not {rate}");
}

fn writes_are_throttled(lab: &Lab) {
    let bytes = throttled(
        lab,
        "throttleWriteBpsDevice",
        MIB / 2,
        "if=/dev/zero of=/out bs=64k count=16 oflag=direct",
        "wbytes",
    );
    assert_no_faster(bytes, MIB, MIB / 2);
    let operations = throttled(
        lab,
        "throttleWriteIOPSDevice",
        20,
        "if=/dev/zero of=/out bs=4k count=40 oflag=direct",
        "wios",
    );
    assert_no_faster(operations, 40, 20);
}

fn reads_are_throttled(lab: &Lab) {
    let bytes = throttled(
        lab,
        "throttleReadBpsDevice",
        MIB / 2,
        "if=/data of=/dev/null bs=64k count=16 iflag=direct",
        "rbytes",
    );
    assert_no_faster(bytes, MIB, MIB / 2);
    let operations = throttled(
        lab,
        "throttleReadIOPSDevice",
        20,
        "if=/data of=/dev/null bs=4k count=40 iflag=direct",
        "rios",
    );
    assert_no_faster(operations, 40, 20);
}

/// Huge pages of the host beyond what it has, while this value lives.
struct HugePages(String);

const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

impl HugePages {
    fn more(count: u64) -> HugePages {
        let before = fs::read_to_string(HUGE_PAGES).unwrap();
        let now: u64 = before.trim().parse().unwrap();
        fs::write(HUGE_PAGES, (now + count).to_string()).unwrap();
        HugePages(before)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(HUGE_PAGES, &self.0);
    }
}

fn huge_pages_beyond_the_limit_are_refused(lab: &Lab) {
    let _pages = HugePages::more(4);
    let limits = json!([{"pageSize": "2MB", "limit": 4 * MIB}]);
    let out = limited(lab, &json!({"hugepageLimits": limits}))
        .sh("/bin/probe huge-pages 2; /bin/probe huge-pages 3; cat /sys/fs/cgroup/hugetlb.2MB.rsvd.max")
        .run()
        .ok();
    assert_eq!(out.lines(), ["ok", "errno ENOMEM", "4194304"]);
    let out = limited(lab, &json!({"unified": {"hugetlb.2MB.max": "max"}}))
        .args(&["/bin/probe", "huge-pages", "3"])
        .run()
        .ok();
    assert_eq!(out.text(), "ok", "the host has them");
    assert!(Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists());
}
