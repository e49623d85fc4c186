use super::*;
use crate::host::CgroupMount;
use crate::namespaces::IdMap;
use crate::skip;

/// A host as root sees it, with cgroup v2 alone.
pub(crate) fn host() -> Host {
    Host {
        cgroup: Some(CgroupMount {
            path: "/sys/fs/cgroup".into(),
            own: None,
        }),
        ..Host::of_root()
    }
}

fn rootless() -> Host {
    Host {
        euid: 1000,
        rootless: true,
        effective: 0,
        ..host()
    }
}

fn decide(json: &str, manager: CgroupManager, host: &Host) -> Result<Plan, String> {
    let spec = serde_json::from_str(json).expect("a spec");
    let options = Options {
        cgroup_manager: manager,
        ..Options::new("web1".parse().expect("an id"), "/bundle".into())
    };
    let mut problems = Problems::default();
    let plan = plan(
        &spec,
        &namespaces::Plan::default(),
        &options,
        host,
        &mut problems,
    );
    problems.into_result("c").map_err(|e| e.to_string())?;
    Ok(plan)
}

const PLAIN: &str = r#"{"ociVersion":"1.2.0","linux":{}}"#;
const LIMITED: &str = r#"{"ociVersion":"1.2.0","linux":{"resources":{"pids":{"limit":5}}}}"#;

#[test]
fn a_plain_config_gets_a_cgroup_with_the_default_device_rules() {
    let plan = decide(PLAIN, CgroupManager::Cgroupfs, &host()).expect("a plan");
    assert_eq!(plan.path, Some("/sys/fs/cgroup/web1".into()));
    assert_eq!(plan.need, Need::Required);
    assert_eq!(plan.settings, []);
    assert_eq!(plan.devices, Some(devices::Policy::defaults()));
}

#[test]
fn the_drivers_that_make_no_cgroup_say_what_they_cannot_do() {
    let none = decide(PLAIN, CgroupManager::Disabled, &host());
    assert_eq!(none, Ok(Plan::default()));
    let error = decide(LIMITED, CgroupManager::Disabled, &host()).expect_err("limits");
    assert!(error.starts_with("c: linux.resources: "), "{error}");
}

#[test]
fn with_systemd_the_directory_is_not_casulos_to_choose() {
    for host in [host(), rootless()] {
        let plan = decide(LIMITED, CgroupManager::Systemd, &host).expect("a plan");
        let scope = plan.scope.expect("a scope");
        assert_eq!(scope.scope.unit, "casulo-web1.scope");
        assert_eq!((plan.path, plan.need), (None, Need::Required));
        assert_eq!(plan.settings.len(), 1);
    }
    let no_mount = Host {
        cgroup: None,
        ..rootless()
    };
    let error = decide(PLAIN, CgroupManager::Systemd, &no_mount).expect_err("asked for");
    assert!(error.contains("no cgroup v2 hierarchy"), "{error}");
}

#[test]
fn a_cgroup_below_is_named_by_a_plain_relative_path() {
    for good in ["container", "a/b", "a.scope", "..."] {
        assert_eq!(sub_path(good), Ok(good.into()));
    }
    for bad in [
        "", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\n", "a\0",
    ] {
        sub_path(bad).expect_err(bad);
    }
    let config = |name: &str| {
        format!(
            r#"{{"ociVersion":"1.2.0","linux":{{}},
                "annotations":{{"run.oci.delegate-cgroup":"{name}"}}}}"#
        )
    };
    for manager in [CgroupManager::Cgroupfs, CgroupManager::Systemd] {
        let plan = decide(&config("payload"), manager, &host()).expect("a plan");
        assert_eq!(plan.delegate, Some("payload".into()));
        let error = decide(&config("../x"), manager, &host()).expect_err("climbs");
        assert!(
            error.contains("annotations[\"run.oci.delegate-cgroup\"]"),
            "{error}"
        );
    }
}

#[test]
fn a_host_without_the_hierarchy_is_a_problem_unless_nothing_was_asked() {
    let without = |host: Host| Host {
        cgroup: None,
        ..host
    };
    let error = decide(PLAIN, CgroupManager::Cgroupfs, &without(host())).expect_err("root");
    assert!(error.contains("no cgroup v2 hierarchy"), "{error}");
    let none = decide(PLAIN, CgroupManager::Cgroupfs, &without(rootless()));
    assert_eq!(none, Ok(Plan::default()));
    decide(LIMITED, CgroupManager::Cgroupfs, &without(rootless())).expect_err("a limit");
}

#[test]
fn a_rootless_cgroup_is_optional_until_something_is_asked_of_it() {
    for (json, need) in [
        (PLAIN, Need::Optional),
        (LIMITED, Need::Required),
        (
            r#"{"ociVersion":"1.2.0","linux":{"cgroupsPath":"/x"}}"#,
            Need::Required,
        ),
        (
            r#"{"ociVersion":"1.2.0","linux":{"cgroupsPath":""}}"#,
            Need::Optional,
        ),
    ] {
        let plan = decide(json, CgroupManager::Cgroupfs, &rootless()).expect("a plan");
        assert_eq!(plan.need, need, "{json}");
        assert_eq!(plan.devices, None, "{json}");
    }
}

#[test]
fn root_without_the_capability_needs_a_program_only_for_rules_of_the_config() {
    let weak = Host {
        effective: 0,
        ..host()
    };
    let plan = decide(PLAIN, CgroupManager::Cgroupfs, &weak).expect("a plan");
    assert_eq!(plan.devices, None);
    let denies = r#"{"ociVersion":"1.2.0","linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}]}}}"#;
    let plan = decide(denies, CgroupManager::Cgroupfs, &weak).expect("a plan");
    assert_eq!(plan.devices, Some(devices::Policy::defaults()));
}

#[test]
fn a_writable_hierarchy_is_given_to_the_user_of_the_process() {
    let own = namespaces::Plan {
        new: vec![Kind::Cgroup],
        ..namespaces::Plan::default()
    };
    let mapped = namespaces::Plan {
        new: vec![Kind::Cgroup, Kind::User],
        uid_map: vec![IdMap {
            inside: 0,
            outside: 100_000,
            count: 1000,
        }],
        ..namespaces::Plan::default()
    };
    for (options, uid, ns, expected) in [
        ("", 7, &own, Some(7)),
        ("", 0, &own, None),
        ("\"ro\"", 7, &own, None),
        ("", 7, &namespaces::Plan::default(), None),
        ("", 0, &mapped, Some(100_000)),
        ("", 999, &mapped, Some(100_999)),
        ("", 1000, &mapped, None),
    ] {
        let spec = serde_json::from_str(&format!(
            r#"{{"ociVersion":"1.2.0",
                "process":{{"cwd":"/","args":["sh"],"user":{{"uid":{uid},"gid":0}}}},
                "mounts":[{{"destination":"/sys/fs/cgroup","type":"cgroup","options":[{options}]}}]}}"#
        ))
        .expect("a spec");
        assert_eq!(owner(&spec, ns, &host()), expected, "{options} {uid}");
    }
}

/// The host's hierarchy, if this process may make cgroups in it.
pub(crate) fn hierarchy() -> Option<CgroupMount> {
    if skip::unless_root() {
        return None;
    }
    let mount = crate::host::mount_of_host();
    if mount.is_none() {
        skip::because("no cgroup v2 hierarchy is mounted");
    }
    mount
}

/// A place for a cgroup that no other test uses; whatever is left there goes with this value.
pub(crate) struct TestCgroup {
    pub(crate) mount: PathBuf,
    pub(crate) path: PathBuf,
}

impl TestCgroup {
    pub(crate) fn new() -> Option<TestCgroup> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mount = hierarchy()?.path;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = mount.join(format!("casulo-test-{}-{count}", std::process::id()));
        Some(TestCgroup { mount, path })
    }

    /// The cgroup, without limits and rules.
    pub(crate) fn create(&self) -> Cgroup {
        Cgroup::create(
            &Plan {
                path: Some(self.path.clone()),
                mount: self.mount.clone(),
                ..Plan::default()
            },
            None,
        )
        .expect("created")
        .expect("a cgroup")
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        if let Ok(cgroup) = Cgroup::open(&self.path) {
            let _ = cgroup.kill();
            let _ = cgroup.remove();
        }
    }
}

/// A process that sleeps in `cgroup`. The caller ends and reaps it.
pub(crate) fn sleeper(cgroup: &Cgroup) -> std::process::Child {
    let child = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .expect("sleep runs");
    std::fs::write(cgroup.path().join("cgroup.procs"), child.id().to_string()).expect("moved");
    child
}
