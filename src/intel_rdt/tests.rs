use super::*;
use std::fs;

pub(super) fn decide(json: &str) -> std::result::Result<Plan, String> {
    let json = format!(r#"{{"ociVersion":"1.3.0","linux":{{"intelRdt":{json}}}}}"#);
    let spec = serde_json::from_str(&json).expect("a spec");
    let options = Options::new("web1".parse().expect("an id"), "/bundle".into());
    let mut problems = Problems::default();
    let plan = plan(&spec, &options, &mut problems).expect("intelRdt is set");
    problems
        .into_result("c")
        .map_err(|error| error.to_string())?;
    Ok(plan)
}

/// A directory that looks like resctrl; `mkdir` makes no files in it, so classes that are written
/// to exist beforehand.
pub(super) fn resctrl(classes: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("temporary directory");
    for class in [""].iter().chain(classes) {
        let directory = root.path().join(class);
        fs::create_dir_all(directory.join("mon_groups")).expect("class");
        fs::write(
            directory.join("schemata"),
            "    MB:0=100;1=100\n    L3:0=7ff;1=00f\n",
        )
        .expect("schemata");
        fs::write(directory.join("tasks"), "").expect("tasks");
    }
    root
}

pub(super) fn text(root: &tempfile::TempDir, file: &str) -> String {
    fs::read_to_string(root.path().join(file)).expect(file)
}

#[test]
fn the_plan_orders_the_lines_as_the_spec_says() {
    let plan = decide(
        r#"{"schemata":["L2:0=f"],"memBwSchema":"MB:0=20","l3CacheSchema":"L3:0=f\nMB:0=70"}"#,
    )
    .expect("a plan");
    assert_eq!(plan.schemata, ["L3:0=f", "MB:0=20", "L2:0=f"]);
    assert_eq!(plan.must_match, 2);
    assert_eq!(plan.class, Class::Own("web1".into()));
    assert_eq!(plan.monitor, None);
}

#[test]
fn malformed_values_are_problems_with_their_paths() {
    for (json, path) in [
        (r#"{"closID":"a/b"}"#, "closID"),
        (r#"{"closID":".."}"#, "closID"),
        (r#"{"closID":"info"}"#, "closID"),
        (r#"{"memBwSchema":"L3:0=f"}"#, "memBwSchema"),
        (r#"{"schemata":["L3:0=f","a\nb"]}"#, "schemata[1]"),
    ] {
        let error = decide(json).expect_err(json);
        let expected = format!("c: linux.intelRdt.{path}: ");
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn a_class_of_the_container_is_made_and_removed_with_it() {
    let root = resctrl(&[]);
    let plan = decide("{}").expect("a plan");
    let directories = plan.directories(root.path()).expect("nobody has them");
    assert_eq!(directories, [root.path().join("web1")]);
    plan.create(root.path()).expect("made");
    assert!(root.path().join("web1").is_dir());
    plan.create(root.path()).expect_err("it exists");
    remove(&directories).expect("removed");
    assert!(!root.path().join("web1").is_dir());
    remove(&directories).expect("nothing to do");
}

#[test]
fn a_shared_class_takes_the_schemata_and_the_process_and_stays() {
    let root = resctrl(&["gold"]);
    let plan = decide(r#"{"closID":"gold","l3CacheSchema":"L3:0=7ff;1=f","schemata":["L2:0=f"]}"#)
        .expect("a plan");
    plan.create(root.path()).expect("the same configuration");
    assert!(text(&root, "gold/schemata").starts_with("L3:0=7ff;1=f\nL2:0=f\n"));
    plan.join(root.path(), Pid::from_raw(42)).expect("joined");
    assert_eq!(text(&root, "gold/tasks"), "42");
    assert_eq!(plan.directories(root.path()), Ok(Vec::new()));
}

#[test]
fn a_shared_class_with_another_configuration_is_refused() {
    let root = resctrl(&["gold"]);
    let plan = decide(r#"{"closID":"gold","l3CacheSchema":"L3:0=1"}"#).expect("a plan");
    let error = plan.create(root.path()).expect_err("L3 differs");
    assert!(
        error.to_string().contains("its L3:0 is 7ff, not 1"),
        "{error}"
    );
}

#[test]
fn a_shared_class_without_schemata_must_exist() {
    let root = resctrl(&["gold"]);
    let plan = |name: &str| decide(&format!(r#"{{"closID":"{name}"}}"#)).expect("a plan");
    plan("gold").create(root.path()).expect("it exists");
    let error = plan("tin").create(root.path()).expect_err("it does not");
    assert_eq!(error.errno, Some(Errno::ENOENT));
    assert!(!root.path().join("tin").is_dir());
}

#[test]
fn the_default_class_is_the_root() {
    let root = resctrl(&[]);
    let plan = decide(r#"{"closID":"/"}"#).expect("a plan");
    plan.create(root.path()).expect("nothing to make");
    plan.join(root.path(), Pid::from_raw(7)).expect("joined");
    assert_eq!(text(&root, "tasks"), "7");
    assert!(text(&root, "schemata").contains("MB:0=100"), "not written");
}

#[test]
fn a_monitoring_group_is_named_after_the_container() {
    let root = resctrl(&["gold"]);
    let plan = decide(r#"{"closID":"gold","enableMonitoring":true}"#).expect("a plan");
    let group = root.path().join("gold/mon_groups/web1");
    assert_eq!(plan.directories(root.path()), Ok(vec![group.clone()]));
    plan.create(root.path()).expect("made");
    assert!(group.is_dir());
    plan.create(root.path()).expect_err("it exists");
}

#[test]
fn a_directory_of_somebody_elses_is_not_recorded() {
    let root = resctrl(&["web1", "gold", "gold/mon_groups/web1"]);
    for json in ["{}", r#"{"closID":"gold","enableMonitoring":true}"#] {
        let plan = decide(json).expect("a plan");
        let error = plan.directories(root.path()).expect_err(json);
        assert_eq!(error.errno, Some(Errno::EEXIST));
    }
}

#[test]
fn a_failure_leaves_no_class_behind_and_gives_the_kernels_reason() {
    let root = resctrl(&[]);
    fs::create_dir(root.path().join("info")).expect("info");
    fs::write(
        root.path().join("info/last_cmd_status"),
        "Mask f1 has non-consecutive 1-bits\n",
    )
    .expect("status");
    // A new directory has no schemata file here, so the write fails.
    let plan = decide(r#"{"schemata":["L3:0=f1"]}"#).expect("a plan");
    let error = plan.create(root.path()).expect_err("the write fails");
    assert!(error.detail.contains("non-consecutive"), "{error}");
    assert!(!root.path().join("web1").is_dir());
}

#[test]
fn a_host_without_resctrl_says_so() {
    match mount_of_host() {
        Ok(_) => crate::skip::because("this host has resctrl"),
        Err(error) => assert!(error.to_string().contains("resctrl"), "{error}"),
    }
}
