use super::*;

/// The writes (`file=value`, joined by a bar) of a JSON fragment of `linux.resources`, or its
/// problems.
fn writes(json: &str) -> Result<String, String> {
    changes(json, &Current::default())
}

/// The same for a cgroup that has these values now.
fn changes(json: &str, current: &Current) -> Result<String, String> {
    let resources = serde_json::from_str(json).expect("resources");
    let mut problems = Problems::default();
    let settings = plan(&resources, current, &mut problems);
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
        (r#"{"cpu":{"shares":1024,"idle":1}}"#, "cpu.idle=1"),
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
        (r#"{"memory":{"limit":-1,"swap":300}}"#, "memory.swap"),
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
        (r#"{"blockIO":{"weight":9}}"#, "blockIO.weight"),
        (r#"{"blockIO":{"weight":1001}}"#, "blockIO.weight"),
        (r#"{"blockIO":{"leafWeight":10}}"#, "blockIO.leafWeight"),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":10},{"major":8,"minor":0,"weight":5}]}}"#,
            "blockIO.weightDevice[1].weight",
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"leafWeight":10}]}}"#,
            "blockIO.weightDevice[0].leafWeight",
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0}]}}"#,
            "blockIO.weightDevice[0].weight",
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":4096,"minor":0,"weight":10}]}}"#,
            "blockIO.weightDevice[0].major",
        ),
        (
            r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":-1,"rate":1}]}}"#,
            "blockIO.throttleReadIOPSDevice[0].minor",
        ),
        (
            r#"{"blockIO":{"throttleWriteBpsDevice":[{"major":8,"minor":1048576,"rate":1}]}}"#,
            "blockIO.throttleWriteBpsDevice[0].minor",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":-1}]}"#,
            "hugepageLimits[0].limit",
        ),
        (r#"{"rdma":{"mlx5_1":{}}}"#, "rdma[\"mlx5_1\"]"),
        (
            r#"{"rdma":{"a hca_handle=9":{"hcaHandles":3}}}"#,
            "rdma[\"a hca_handle=9\"]",
        ),
        (r#"{"rdma":{"":{"hcaHandles":3}}}"#, "rdma[\"\"]"),
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

#[test]
fn block_io_is_written_for_bfq_or_for_the_kernels_own_weights() {
    let both = |json: &str| -> Vec<String> {
        let resources = serde_json::from_str(json).expect("resources");
        let mut problems = Problems::default();
        let settings = plan(&resources, &Current::default(), &mut problems);
        assert!(problems.is_empty());
        let texts = settings.iter().map(|it| match &it.absent {
            Absent::Instead { file, value } => {
                format!("{}={} or {file}={value}", it.file, it.value)
            }
            absent => panic!("{absent:?}"),
        });
        texts.collect()
    };
    for (weight, expected) in [(10, 1), (11, 11), (100, 910), (500, 4950), (1000, 10_000)] {
        assert_eq!(
            both(&format!(r#"{{"blockIO":{{"weight":{weight}}}}}"#)),
            [format!("io.bfq.weight={weight} or io.weight={expected}")]
        );
    }
    assert_eq!(
        both(r#"{"blockIO":{"weightDevice":[{"major":8,"minor":16,"weight":500}]}}"#),
        ["io.bfq.weight=8:16 500 or io.weight=8:16 4950"]
    );
}

#[test]
fn the_throttles_of_a_device_are_one_write() {
    let json = r#"{"blockIO":{
        "throttleReadBpsDevice":[{"major":8,"minor":16,"rate":600},{"major":8,"minor":0,"rate":0}],
        "throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":700}],
        "throttleReadIOPSDevice":[{"major":8,"minor":16,"rate":18446744073709551615}],
        "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":30}]}}"#;
    let expected = "io.max=8:0 rbps=max wiops=30\
                    |io.max=8:16 rbps=600 wbps=700 riops=18446744073709551615";
    assert_eq!(writes(json).as_deref(), Ok(expected));
}

#[test]
fn huge_pages_are_limited_in_use_and_in_reserve() {
    let json =
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304},{"pageSize":"1GB","limit":0}]}"#;
    let expected = "hugetlb.2MB.max=4194304|hugetlb.2MB.rsvd.max=4194304\
                    |hugetlb.1GB.max=0|hugetlb.1GB.rsvd.max=0";
    assert_eq!(writes(json).as_deref(), Ok(expected));
    for size in [
        "", "MB", "2mb", "2M", "2 MB", "2TB", "02MB", "-2MB", "2MB.rsvd", "../2MB",
    ] {
        let json = format!(r#"{{"hugepageLimits":[{{"pageSize":"{size}","limit":1}}]}}"#);
        let error = writes(&json).expect_err(size);
        assert!(
            error.starts_with("c: linux.resources.hugepageLimits[0].pageSize: "),
            "{error}"
        );
    }
}

#[test]
fn rdma_limits_are_a_line_a_device() {
    let json = r#"{"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"ib0":{"hcaObjects":0},"big":{"hcaHandles":2147483648}}}"#;
    let expected = "rdma.max=big hca_handle=max|rdma.max=ib0 hca_object=0\
                    |rdma.max=mlx5_1 hca_handle=3 hca_object=10000";
    assert_eq!(writes(json).as_deref(), Ok(expected));
}

#[test]
fn an_update_keeps_what_it_does_not_speak_of() {
    let current = |cpu: &str, memory: &str| Current {
        cpu_max: Some(format!("{cpu}\n")),
        memory_max: Some(format!("{memory}\n")),
    };
    let usual = current("25000 50000", "1000");
    for (json, current, expected) in [
        ("{}", &usual, ""),
        (r#"{"cpu":{"quota":0,"period":0,"shares":0}}"#, &usual, ""),
        (r#"{"cpu":{"quota":40000}}"#, &usual, "cpu.max=40000 50000"),
        (r#"{"cpu":{"quota":-1}}"#, &usual, "cpu.max=max 50000"),
        (r#"{"cpu":{"period":20000}}"#, &usual, "cpu.max=25000 20000"),
        (
            r#"{"cpu":{"period":20000}}"#,
            &current("max 100000", "max"),
            "cpu.max=max 20000",
        ),
        // The burst gets out of the way of a quota that falls, and waits for one that rises.
        (
            r#"{"cpu":{"quota":5000,"burst":5000}}"#,
            &usual,
            "cpu.max.burst=0|cpu.max=5000 50000|cpu.max.burst=5000",
        ),
        (r#"{"cpu":{"burst":5000}}"#, &usual, "cpu.max.burst=5000"),
        (r#"{"cpu":{"burst":0}}"#, &usual, "cpu.max.burst=0"),
        (
            r#"{"cpu":{"burst":0,"quota":5000}}"#,
            &usual,
            "cpu.max.burst=0|cpu.max=5000 50000",
        ),
        // Leaving idle resets the weight, so the shares come after it.
        (r#"{"cpu":{"idle":0}}"#, &usual, "cpu.idle=0"),
        (
            r#"{"cpu":{"idle":0,"shares":1024}}"#,
            &usual,
            "cpu.idle=0|cpu.weight=100",
        ),
        (r#"{"cpu":{"idle":1}}"#, &usual, "cpu.idle=1"),
        (r#"{"memory":{"swap":1500}}"#, &usual, "memory.swap.max=500"),
        (r#"{"memory":{"swap":1000}}"#, &usual, "memory.swap.max=0"),
        (r#"{"memory":{"swap":-1}}"#, &usual, "memory.swap.max=max"),
        (
            r#"{"memory":{"limit":1200,"swap":1500}}"#,
            &usual,
            "memory.max=1200|memory.swap.max=300",
        ),
        (r#"{"memory":{"limit":1200}}"#, &usual, "memory.max=1200"),
    ] {
        assert_eq!(changes(json, current).as_deref(), Ok(expected), "{json}");
    }
    for (json, current, path) in [
        (r#"{"memory":{"swap":999}}"#, &usual, "memory.swap"),
        (
            r#"{"memory":{"swap":999}}"#,
            &current("max 100000", "max"),
            "memory.swap",
        ),
        (r#"{"cpu":{"burst":25001}}"#, &usual, "cpu.burst"),
        (
            r#"{"cpu":{"quota":5000,"burst":5001}}"#,
            &usual,
            "cpu.burst",
        ),
    ] {
        let error = changes(json, current).expect_err(json);
        let expected = format!("c: linux.resources.{path}: ");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn the_limit_is_checked_before_an_update_that_asks_for_it() {
    for (json, expected) in [
        (
            r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#,
            Some(4096),
        ),
        (
            r#"{"memory":{"limit":4096,"checkBeforeUpdate":false}}"#,
            None,
        ),
        (r#"{"memory":{"limit":4096}}"#, None),
        (r#"{"memory":{"limit":-1,"checkBeforeUpdate":true}}"#, None),
        (r#"{"memory":{"limit":0,"checkBeforeUpdate":true}}"#, None),
        ("{}", None),
    ] {
        let resources = serde_json::from_str(json).expect("resources");
        assert_eq!(limit_to_check(&resources), expected, "{json}");
    }
}
