//! What config.json may look like and what is then read: the differences between oci-spec's types
//! and the specification, and the errors' texts.

use casulo::config::{parse, parse_process, parse_resources, require_process};
use casulo::error::Code;
use oci_spec::runtime::{Capability, LinuxResources, LinuxSchedulerFlag, Process, Spec};
use serde_json::{Value, json};

/// A small valid config.
fn config() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 5, "gid": 6}, "cwd": "/", "args": ["true"]},
        "linux": {"namespaces": [{"type": "mount"}]},
    })
}

/// The small config with `value` at `pointer` (RFC 6901), whose parents are made.
fn with(pointer: &str, value: Value) -> Value {
    let mut config = config();
    let mut here = &mut config;
    for name in pointer.split('/').skip(1) {
        here = &mut here[name];
    }
    *here = value;
    config
}

fn accepted(config: &Value) -> Spec {
    *parse(config.to_string().as_bytes(), "c.json").unwrap_or_else(|error| panic!("{error}"))
}

fn refused(config: &Value) -> String {
    refused_text(&config.to_string())
}

fn refused_text(text: &str) -> String {
    let error = parse(text.as_bytes(), "c.json").expect_err(text);
    assert_eq!(error.code, Code::Config, "{error}");
    error.to_string()
}

fn process(spec: &Spec) -> &Process {
    spec.process().as_ref().expect("a process")
}

#[test]
fn a_plain_config_is_taken_as_it_is() {
    let spec = accepted(&config());
    assert_eq!(spec, serde_json::from_value(config()).unwrap());
}

// What the types get wrong.

#[test]
fn scheduler_flags_are_accepted_in_the_specifications_spelling() {
    let names = [
        "SCHED_FLAG_RESET_ON_FORK",
        "SCHED_FLAG_RECLAIM",
        "SCHED_FLAG_DL_OVERRUN",
        "SCHED_FLAG_KEEP_POLICY",
        "SCHED_FLAG_KEEP_PARAMS",
        "SCHED_FLAG_UTIL_CLAMP_MIN",
        "SCHED_FLAG_UTIL_CLAMP_MAX",
    ];
    let scheduler = json!({"policy": "SCHED_OTHER", "flags": names});
    let spec = accepted(&with("/process/scheduler", scheduler));
    let scheduler = process(&spec).scheduler().as_ref().unwrap();
    assert_eq!(
        scheduler.flags().as_deref().unwrap(),
        [
            LinuxSchedulerFlag::SchedResetOnFork,
            LinuxSchedulerFlag::SchedFlagReclaim,
            LinuxSchedulerFlag::SchedFlagDLOverrun,
            LinuxSchedulerFlag::SchedFlagKeepPolicy,
            LinuxSchedulerFlag::SchedFlagKeepParams,
            LinuxSchedulerFlag::SchedFlagUtilClampMin,
            LinuxSchedulerFlag::SchedFlagUtilClampMax,
        ]
    );
}

#[test]
fn the_types_own_spelling_of_scheduler_flags_is_refused() {
    for name in ["SCHED_RESET_ON_FORK", "SCHED_FLAG_D_L_OVERRUN"] {
        let scheduler = json!({"policy": "SCHED_OTHER", "flags": [name]});
        assert_eq!(
            refused(&with("/process/scheduler", scheduler)),
            format!("c.json: process.scheduler.flags[0]: invalid flag \"{name}\"")
        );
    }
}

#[test]
fn an_unknown_capability_is_dropped_and_the_others_stay() {
    let capabilities = json!({
        "bounding": ["CAP_KILL", "CAP_FLY", "CAP_CHOWN"],
        "ambient": ["CAP_FLY"],
    });
    let spec = accepted(&with("/process/capabilities", capabilities));
    let sets = process(&spec).capabilities().as_ref().unwrap();
    let bounding = sets.bounding().as_ref().unwrap();
    assert_eq!(bounding.len(), 2);
    assert!(bounding.contains(&Capability::Kill) && bounding.contains(&Capability::Chown));
    assert!(sets.ambient().as_ref().unwrap().is_empty());
}

#[test]
fn a_huge_page_limit_may_use_all_64_bits() {
    for (written, read) in [
        (json!(209_715_200), 209_715_200),
        (json!(i64::MAX), i64::MAX),
        (json!(9_223_372_036_854_775_808_u64), i64::MAX),
        (json!(u64::MAX), i64::MAX),
    ] {
        let limits = json!([{"pageSize": "2MB", "limit": written}]);
        let spec = accepted(&with("/linux/resources/hugepageLimits", limits));
        let linux = spec.linux().as_ref().unwrap();
        let limits = linux.resources().as_ref().unwrap().hugepage_limits();
        assert_eq!(limits.as_ref().unwrap()[0].limit(), read);
    }
    let limits = json!([{"pageSize": "2MB", "limit": -1}]);
    assert_eq!(
        refused(&with("/linux/resources/hugepageLimits", limits)),
        "c.json: linux.resources.hugepageLimits[0].limit: must not be negative"
    );
}

#[test]
fn a_pids_object_without_a_limit_sets_none_and_0_stays_0() {
    for (written, read) in [
        (json!({}), None),
        (json!({"limit": null}), None),
        (json!({"limit": 0}), Some(0)),
        (json!({"limit": -1}), Some(-1)),
        (json!({"limit": 7}), Some(7)),
    ] {
        let spec = accepted(&with("/linux/resources/pids", written.clone()));
        let linux = spec.linux().as_ref().unwrap();
        let pids = linux.resources().as_ref().unwrap().pids().as_ref();
        assert_eq!(pids.map(|pids| pids.limit()), read, "{written}");
    }
}

#[test]
fn podman_means_no_pids_limit_by_0() {
    for (manager, limit) in [("libpod", None), ("other", Some(0))] {
        let mut config = with("/linux/resources/pids", json!({"limit": 0}));
        config["annotations"] = json!({"io.container.manager": manager});
        let spec = accepted(&config);
        let linux = spec.linux().as_ref().unwrap();
        let pids = linux.resources().as_ref().unwrap().pids().as_ref();
        assert_eq!(pids.map(|pids| pids.limit()), limit, "{manager}");
    }
}

#[test]
fn an_io_priority_without_a_class_is_refused() {
    assert_eq!(
        refused(&with("/process/ioPriority", json!({"priority": 3}))),
        "c.json: process.ioPriority.class: missing"
    );
    accepted(&with(
        "/process/ioPriority",
        json!({"class": "IOPRIO_CLASS_RT", "priority": 3}),
    ));
}

// What stands for "not set".

#[test]
fn null_is_absent_wherever_it_stands() {
    let mut config = with(
        "/linux/resources/devices",
        json!([{"allow": null, "access": "rwm"}]),
    );
    config["hooks"] = Value::Null;
    config["process"]["terminal"] = Value::Null;
    config["process"]["user"]["umask"] = Value::Null;
    config["annotations"] = json!({"a": null, "b": "c"});
    let spec = accepted(&config);
    assert!(spec.hooks().is_none());
    let annotations = spec.annotations().as_ref().unwrap();
    assert_eq!(annotations.len(), 1);
}

#[test]
fn a_missing_user_is_root() {
    for value in [json!(null), json!({})] {
        let spec = accepted(&with("/process/user", value.clone()));
        let user = process(&spec).user();
        assert_eq!((user.uid(), user.gid()), (0, 0), "{value}");
    }
    let alone = br#"{"cwd": "/", "args": ["true"]}"#;
    let process = parse_process(alone, "p.json").expect("accepted");
    assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
}

#[test]
fn null_in_an_array_is_refused() {
    let text = refused(&with("/process/args", json!(["true", null])));
    assert!(text.starts_with("c.json: process.args[1]: "), "{text}");
}

#[test]
fn the_empty_string_is_absent() {
    let mut config = with("/linux/cgroupsPath", json!(""));
    config["hostname"] = json!("");
    config["domainname"] = json!("");
    config["process"]["apparmorProfile"] = json!("");
    config["process"]["selinuxLabel"] = json!("");
    config["process"]["execCPUAffinity"] = json!({"initial": "", "final": "1"});
    config["mounts"] = json!([{"destination": "/a", "type": "", "source": ""}]);
    let linux = &mut config["linux"];
    linux["rootfsPropagation"] = json!("");
    linux["mountLabel"] = json!("");
    linux["namespaces"] = json!([{"type": "mount", "path": ""}]);
    linux["netDevices"] = json!({"eth0": {"name": ""}});
    linux["resources"] = json!({
        "cpu": {"cpus": "", "mems": ""},
        "devices": [{"allow": false, "type": ""}],
    });
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "", "listenerMetadata": "",
    });
    linux["intelRdt"] = json!({"closID": "", "l3CacheSchema": "", "memBwSchema": ""});
    linux["memoryPolicy"] = json!({"mode": "MPOL_LOCAL", "nodes": ""});
    let spec = accepted(&config);

    let mut expected = config_without_empty_strings(&config);
    expected["linux"]["netDevices"]["eth0"] = json!({});
    assert_eq!(spec, accepted(&expected));
    assert!(spec.hostname().is_none());
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.namespaces().as_ref().unwrap()[0].path().is_none());
}

fn config_without_empty_strings(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| *member != "")
            .map(|(name, member)| (name.clone(), config_without_empty_strings(member)))
            .collect(),
        Value::Array(items) => items.iter().map(config_without_empty_strings).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_last_of_two_equal_keys_wins() {
    let text = r#"{"ociVersion": "1.0.0", "root": {"path": "a"}, "root": {"path": "b"},
        "annotations": {"k": "1", "k": "2"}}"#;
    let spec = parse(text.as_bytes(), "c.json").unwrap();
    assert_eq!(spec.root().as_ref().unwrap().path().to_str(), Some("b"));
    assert_eq!(spec.annotations().as_ref().unwrap()["k"], "2");
}

// What is ignored.

#[test]
fn unknown_fields_and_other_platforms_are_ignored_whatever_they_hold() {
    let mut config = config();
    config["later"] = json!({"x": [1, 2]});
    config["linux"]["later"] = json!(7);
    config["process"]["user"]["later"] = json!(false);
    for name in ["freebsd", "solaris", "vm", "windows", "zos", "uidMappings"] {
        config[name] = json!("not even an object");
    }
    let spec = accepted(&config);
    assert!(spec.windows().is_none() && spec.vm().is_none());
}

// What is required.

#[test]
fn a_text_that_is_no_object_is_refused() {
    for (text, kind) in [
        ("[]", "an array"),
        (" [{}]", "an array"),
        ("null", "null"),
        ("\"{}\"", "a string"),
        ("1", "a number"),
        ("true", "a boolean"),
    ] {
        let expected = format!("c.json: must be a JSON object, is {kind}");
        assert_eq!(refused_text(text), expected);
    }
}

#[test]
fn what_is_missing_is_named_together() {
    assert_eq!(
        refused_text("{}"),
        "c.json: ociVersion: missing; root: missing"
    );
    assert_eq!(
        refused(&json!({"ociVersion": "2.0.0", "root": {}})),
        "c.json: ociVersion: 2.0.0 is not supported, only 1.x.y is; root.path: missing"
    );
}

#[test]
fn a_process_is_required_to_start_only() {
    let mut config = config();
    config.as_object_mut().unwrap().remove("process");
    let spec = accepted(&config);
    let error = require_process(&spec, "c.json").expect_err("no process");
    assert_eq!(
        error.to_string(),
        "c.json: process: missing, there is nothing to start"
    );
    assert!(require_process(&accepted(&self::config()), "c.json").is_ok());
}

#[test]
fn host_and_domain_name_need_a_uts_namespace() {
    let mut config = config();
    config["hostname"] = json!("h");
    config["domainname"] = json!("d");
    assert_eq!(
        refused(&config),
        "c.json: hostname: needs a uts namespace in linux.namespaces; \
         domainname: needs a uts namespace in linux.namespaces"
    );
    for namespace in [
        json!({"type": "uts"}),
        json!({"type": "uts", "path": "/run/uts"}),
    ] {
        config["linux"]["namespaces"] = json!([namespace]);
        accepted(&config);
    }
    config["hostname"] = json!("h".repeat(65));
    assert_eq!(refused(&config), "c.json: hostname: longer than 64 bytes");
}

#[test]
fn an_annotation_needs_a_name() {
    assert_eq!(
        refused(&with("/annotations", json!({"": "x"}))),
        "c.json: annotations: the name of an annotation is empty"
    );
    accepted(&with("/annotations", json!({"x": ""})));
}

// Errors name the path.

#[test]
fn an_unknown_name_is_refused_in_our_own_words() {
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALOW",
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_Z80"],
        "flags": ["F"],
        "syscalls": [
            {"names": ["a"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["b"], "action": "KILL", "args": [{"index": 0, "value": 1, "op": "="}]},
        ],
    });
    assert_eq!(
        refused(&with("/linux/seccomp", seccomp)),
        "c.json: linux.seccomp.defaultAction: invalid action \"SCMP_ACT_ALOW\"; \
         linux.seccomp.architectures[1]: invalid architecture \"SCMP_ARCH_Z80\"; \
         linux.seccomp.flags[0]: invalid flag \"F\"; \
         linux.seccomp.syscalls[1].action: invalid action \"KILL\"; \
         linux.seccomp.syscalls[1].args[0].op: invalid operator \"=\""
    );
    for (pointer, value, expected) in [
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_X"}]),
            "process.rlimits[0].type: invalid limit \"RLIMIT_X\"",
        ),
        (
            "/process/ioPriority",
            json!({"class": "RT"}),
            "process.ioPriority.class: invalid I/O class \"RT\"",
        ),
        (
            "/process/scheduler",
            json!({"policy": "EDF"}),
            "process.scheduler.policy: invalid policy \"EDF\"",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "net"}]),
            "linux.namespaces[0].type: invalid namespace \"net\"",
        ),
        (
            "/linux/devices",
            json!([{"type": "x", "path": "/dev/x"}]),
            "linux.devices[0].type: invalid device type \"x\"",
        ),
        (
            "/linux/resources/devices",
            json!([{"allow": true, "type": "x"}]),
            "linux.resources.devices[0].type: invalid device type \"x\"",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "M"}),
            "linux.memoryPolicy.mode: invalid memory policy mode \"M\"",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "flags": ["M"]}),
            "linux.memoryPolicy.flags[0]: invalid memory policy flag \"M\"",
        ),
        (
            "/linux/personality",
            json!({"domain": "BSD"}),
            "linux.personality.domain: invalid domain \"BSD\"",
        ),
    ] {
        assert_eq!(
            refused(&with(pointer, value)),
            format!("c.json: {expected}")
        );
    }
}

#[test]
fn a_wrong_type_is_refused_where_it_stands() {
    for (pointer, value, expected) in [
        (
            "/process/user/uid",
            json!(-1),
            "process.user.uid: invalid value: integer `-1`, expected u32",
        ),
        (
            "/process/user/gid",
            json!(4_294_967_296_u64),
            "process.user.gid: invalid value: integer `4294967296`, expected u32",
        ),
        (
            "/process/user/uid",
            json!(1.5),
            "process.user.uid: invalid type: floating point `1.5`, expected u32",
        ),
        (
            "/process/args",
            json!("true"),
            "process.args: invalid type: string \"true\", expected a sequence",
        ),
        ("/process/cwd", json!(null), "process.cwd: missing"),
        (
            "/process/execCPUAffinity",
            json!({"initial": "0-"}),
            "process.execCPUAffinity.initial: Invalid execCPUAffinity format: 0-",
        ),
        (
            "/annotations",
            json!({"a.b": 1}),
            "annotations.a.b: invalid type: integer `1`, expected a string",
        ),
        (
            "/root",
            json!("rootfs"),
            "root: invalid type: string \"rootfs\", expected struct Root",
        ),
    ] {
        assert_eq!(
            refused(&with(pointer, value)),
            format!("c.json: {expected}")
        );
    }
    let arg = json!({"index": 0, "value": "x", "op": "SCMP_CMP_EQ"});
    let call = |args: Value| json!({"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": args});
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [call(json!([])), call(json!([])), call(json!([arg]))],
    });
    assert_eq!(
        refused(&with("/linux/seccomp", seccomp)),
        "c.json: linux.seccomp.syscalls[2].args[0].value: invalid type: string \"x\", expected u64"
    );
}

#[test]
fn all_problems_are_shown_together() {
    let config = json!({
        "ociVersion": "one",
        "hostname": "h",
        "process": {"user": {"uid": -1}, "args": ["a", 1, "b", 2]},
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "nope"}],
            "uidMappings": [{"hostID": "x"}, {}, {"size": -2}],
        },
    });
    let text = refused(&config);
    for problem in [
        "ociVersion: \"one\" is not a semantic version such as 1.3.0",
        "root: missing",
        "hostname: needs a uts namespace in linux.namespaces",
        "process.user.uid: invalid value: integer `-1`, expected u32",
        "process.args[1]: invalid type: integer `1`, expected a string",
        "process.args[3]: invalid type: integer `2`, expected a string",
        "process.cwd: missing",
        "linux.namespaces[1].type: invalid namespace \"nope\"",
        "linux.uidMappings[0].hostID: invalid type: string \"x\", expected u32",
        "linux.uidMappings[2].size: invalid value: integer `-2`, expected u32",
    ] {
        assert!(text.contains(problem), "{problem}\n{text}");
    }
    assert_eq!(text.matches("; ").count(), 9, "{text}");
}

#[test]
fn a_stand_in_is_not_blamed() {
    let mut config = config();
    config["ociVersion"] = json!(1);
    config["root"]["path"] = json!(2);
    let text = refused(&config);
    assert_eq!(text.matches("; ").count(), 1, "{text}");
}

#[test]
fn a_nul_byte_is_refused_in_any_string() {
    let mut config = with("/process/args", json!(["sh", "-c", "a\0b"]));
    config["root"]["path"] = json!("rootfs\0");
    config["annotations"] = json!({"k\0": "v"});
    config[""] = json!({"": "\0"});
    let text = refused(&config);
    for problem in [
        "process.args[2]: contains a NUL byte",
        "root.path: contains a NUL byte",
        "annotations.k\\u0000: the name contains a NUL byte",
        "\"\".\"\": contains a NUL byte",
    ] {
        assert!(text.contains(problem), "{problem}\n{text}");
    }
    // A backslash before what only looks like one.
    let mut config = self::config();
    config["process"]["args"] = json!(["\\u0000", "C:\\path"]);
    let spec = accepted(&config);
    let args = process(&spec).args().as_ref().unwrap();
    assert_eq!(args[0], "\\u0000");
}

#[test]
fn broken_json_is_refused_with_its_place() {
    assert_eq!(
        refused_text("{\"ociVersion\": \"1.0.0\",\n  \"root\" }"),
        "c.json: expected `:` at line 2 column 10"
    );
    assert!(refused_text("").starts_with("c.json: EOF"));
    assert!(refused_text("{} {}").starts_with("c.json: trailing characters"));
}

#[test]
fn what_is_not_utf_8_is_refused() {
    let error = parse(b"{\"hostname\": \"\xff\"}", "c.json").unwrap_err();
    assert_eq!(error.to_string(), "c.json: not UTF-8 at byte 14");
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = format!("{}{}", "{\"a\":".repeat(200), "[".repeat(100_000));
    assert!(refused_text(&deep).contains("recursion limit exceeded"));
    let large = vec![b' '; casulo::config::MAX_BYTES + 1];
    let error = parse(&large, "c.json").unwrap_err();
    assert_eq!(error.to_string(), "c.json: larger than 16 MiB");
}

// process.json

#[test]
fn a_process_alone_is_repaired_like_one_in_a_config() {
    let text = json!({
        "user": {"uid": 1, "gid": 2},
        "cwd": "/",
        "apparmorProfile": "",
        "terminal": null,
        "capabilities": {"bounding": ["CAP_FLY"]},
        "scheduler": {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_DL_OVERRUN"]},
    });
    let process = parse_process(text.to_string().as_bytes(), "p.json").unwrap();
    assert_eq!(process.user().uid(), 1);
    assert!(process.apparmor_profile().is_none());
    assert!(process.scheduler().is_some());
}

#[test]
fn paths_in_a_process_alone_start_there() {
    let text = json!({
        "user": {"uid": -1},
        "rlimits": [{"type": "RLIMIT_X"}],
        "args": ["a\0"],
    });
    let error = parse_process(text.to_string().as_bytes(), "p.json").unwrap_err();
    let text = error.to_string();
    for problem in [
        "args[0]: contains a NUL byte",
        "rlimits[0].type: invalid limit \"RLIMIT_X\"",
        "user.uid: invalid value",
        "cwd: missing",
    ] {
        assert!(text.contains(problem), "{problem}\n{text}");
    }
    assert!(!text.contains("process."), "{text}");
    assert!(parse_process(b"[]", "p.json").is_err());
}

/// A section that is ignored, whatever it holds, sends a config the long way.
#[test]
fn both_ways_through_the_parser_read_the_same() {
    for bundle in ["hello", "limited", "rootless", "userns"] {
        let file = format!(
            "{}/bundles/{bundle}/config.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let straight = accepted(&config);
        config["windows"] = json!(1);
        assert_eq!(accepted(&config), straight, "{bundle}");
    }
}

fn resources(value: Value) -> Result<LinuxResources, String> {
    parse_resources(value.to_string().as_bytes(), "r.json").map_err(|error| error.to_string())
}

#[test]
fn resources_alone_get_the_same_repairs() {
    let found = resources(json!({
        "pids": {},
        "cpu": {"cpus": "", "mems": null, "shares": 5},
        "hugepageLimits": [{"pageSize": "2MB", "limit": u64::MAX}],
        "devices": [{"allow": false, "type": "", "access": "rwm"}]
    }))
    .unwrap();
    assert!(found.pids().is_none());
    let cpu = found.cpu().clone().unwrap();
    assert_eq!((cpu.cpus(), cpu.shares()), (&None, Some(5)));
    assert_eq!(
        found.hugepage_limits().as_ref().unwrap()[0].limit(),
        i64::MAX
    );
    assert_eq!(found.devices().as_ref().unwrap()[0].typ(), None);
    let zero = resources(json!({"pids": {"limit": 0}})).unwrap();
    assert_eq!(zero.pids().unwrap().limit(), 0);
}

#[test]
fn problems_of_resources_alone_have_the_paths_of_a_config() {
    let error = resources(json!({
        "memory": {"limit": "much"},
        "hugepageLimits": [{"pageSize": "2MB", "limit": -1}]
    }));
    let error = error.unwrap_err();
    for part in [
        "r.json: ",
        "linux.resources.memory.limit: ",
        "linux.resources.hugepageLimits[0].limit: must not be negative",
    ] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    assert!(
        resources(json!([1]))
            .unwrap_err()
            .contains("must be a JSON object")
    );
}
