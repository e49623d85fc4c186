use super::*;

/// The writes (`file=value`, joined by a bar) of a JSON fragment of `linux.resources`, or its
/// problems.
fn writes(json: &str) -> Result<String, String> {
    let resources = serde_json::from_str(json).expect("resources");
    let mut problems = Problems::default();
    let settings = plan(&resources, &Current::default(), &mut problems);
    problems.into_result("c").map_err(|e| e.to_string())?;
    let lines: Vec<_> = settings
        .iter()
        .map(|it| format!("{}={}", it.file, it.value))
        .collect();
    Ok(lines.join("|"))
}

#[test]
fn resources_become_writes_in_order() {
    for (json, expected) in [
        ("{}", ""),
        (
            r#"{"cpu":{"shares":0,"quota":0,"period":0,"burst":0,"idle":0,"cpus":"","realtimeRuntime":0}}"#,
            "",
        ),
        (r#"{"cpu":{"shares":1024}}"#, "cpu.weight=100"),
        (
            r#"{"cpu":{"shares":1024,"idle":1}}"#,
            "cpu.weight=100|cpu.idle=1",
        ),
        (r#"{"cpu":{"quota":50000}}"#, "cpu.max=50000 100000"),
        (r#"{"cpu":{"quota":-1}}"#, "cpu.max=max 100000"),
        (r#"{"cpu":{"period":20000}}"#, "cpu.max=max 20000"),
        (
            r#"{"cpu":{"quota":50000,"period":20000,"burst":50000}}"#,
            "cpu.max=50000 20000|cpu.max.burst=50000",
        ),
        (
            r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#,
            "cpuset.cpus=0-1,3|cpuset.mems=0",
        ),
        (r#"{"memory":{"limit":1048576}}"#, "memory.max=1048576"),
        (
            r#"{"memory":{"limit":1048576,"reservation":4096,"swap":0}}"#,
            "memory.max=1048576|memory.low=4096",
        ),
        (
            r#"{"memory":{"limit":100,"swap":300}}"#,
            "memory.max=100|memory.swap.max=200",
        ),
        (
            r#"{"memory":{"limit":100,"swap":100}}"#,
            "memory.max=100|memory.swap.max=0",
        ),
        (
            r#"{"memory":{"limit":100,"swap":-1}}"#,
            "memory.max=100|memory.swap.max=max",
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            "memory.max=max|memory.swap.max=max",
        ),
        (
            r#"{"memory":{"limit":-1,"swap":300}}"#,
            "memory.max=max|memory.swap.max=300",
        ),
        (r#"{"memory":{"swap":-1}}"#, "memory.swap.max=max"),
        (
            r#"{"memory":{"limit":0,"kernel":-1,"kernelTCP":-1,"disableOOMKiller":false,"useHierarchy":true,"checkBeforeUpdate":true}}"#,
            "",
        ),
        (r#"{"pids":{"limit":0}}"#, "pids.max=1"),
        (r#"{"pids":{"limit":-1}}"#, "pids.max=max"),
        (r#"{"pids":{"limit":64}}"#, "pids.max=64"),
        (
            r#"{"blockIO":{"weight":0,"weightDevice":[]},"hugepageLimits":[],"rdma":{},"network":{"classID":0,"priorities":[]}}"#,
            "",
        ),
        (
            r#"{"pids":{"limit":9},"unified":{"pids.max":"5","io.max":"8:0 rbps=1\n8:16 wbps=2\n","hugetlb.2MB.max":"0"}}"#,
            "pids.max=9|hugetlb.2MB.max=0|io.max=8:0 rbps=1|io.max=8:16 wbps=2|pids.max=5",
        ),
        (
            r#"{"unified":{"cgroup.max.depth":"3"}}"#,
            "cgroup.max.depth=3",
        ),
    ] {
        assert_eq!(writes(json).as_deref(), Ok(expected), "{json}");
    }
}

#[test]
fn what_v2_cannot_do_is_a_problem_with_its_path() {
    for (json, path) in [
        (
            r#"{"cpu":{"realtimeRuntime":950000}}"#,
            "cpu.realtimeRuntime",
        ),
        (
            r#"{"cpu":{"realtimePeriod":1000000}}"#,
            "cpu.realtimePeriod",
        ),
        (r#"{"cpu":{"idle":2}}"#, "cpu.idle"),
        (r#"{"cpu":{"quota":10000,"burst":20000}}"#, "cpu.burst"),
        (r#"{"memory":{"limit":-2}}"#, "memory.limit"),
        (r#"{"memory":{"swap":300}}"#, "memory.swap"),
        (r#"{"memory":{"limit":300,"swap":200}}"#, "memory.swap"),
        (r#"{"memory":{"limit":300,"swap":-2}}"#, "memory.swap"),
        (r#"{"memory":{"kernel":5}}"#, "memory.kernel"),
        (r#"{"memory":{"kernelTCP":5}}"#, "memory.kernelTCP"),
        (r#"{"memory":{"swappiness":0}}"#, "memory.swappiness"),
        (
            r#"{"memory":{"disableOOMKiller":true}}"#,
            "memory.disableOOMKiller",
        ),
        (
            r#"{"memory":{"useHierarchy":false}}"#,
            "memory.useHierarchy",
        ),
        (r#"{"pids":{"limit":-7}}"#, "pids.limit"),
        (r#"{"blockIO":{"weight":10}}"#, "blockIO.weight"),
        (
            r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":1}]}}"#,
            "blockIO.throttleReadIOPSDevice",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#,
            "hugepageLimits",
        ),
        (r#"{"rdma":{"mlx5_1":{"hcaHandles":3}}}"#, "rdma"),
        (r#"{"network":{"classID":5}}"#, "network.classID"),
        (
            r#"{"network":{"priorities":[{"name":"eth0","priority":5}]}}"#,
            "network.priorities",
        ),
        (
            r#"{"unified":{"cgroup.procs":"1"}}"#,
            "unified[\"cgroup.procs\"]",
        ),
        (
            r#"{"unified":{"memory/max":"1"}}"#,
            "unified[\"memory/max\"]",
        ),
        (r#"{"unified":{"a/b.max":"1"}}"#, "unified[\"a/b.max\"]"),
        (
            r#"{"unified":{"memory.a/b":"1"}}"#,
            "unified[\"memory.a/b\"]",
        ),
        (
            r#"{"unified":{"io -memory.max":"1"}}"#,
            "unified[\"io -memory.max\"]",
        ),
        (
            r#"{"unified":{"memory.high":" "}}"#,
            "unified[\"memory.high\"]",
        ),
    ] {
        let error = writes(json).expect_err(json);
        let expected = format!("c: linux.resources.{path}: ");
        assert!(error.starts_with(&expected), "{error}");
        assert!(!error.contains("; "), "one problem only: {error}");
    }
}

#[test]
fn shares_keep_their_minimum_default_and_maximum() {
    for (shares, weight) in [
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (10_000, 627),
        (262_143, 10_000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(cpu::weight_of_shares(shares), weight, "{shares}");
    }
}
