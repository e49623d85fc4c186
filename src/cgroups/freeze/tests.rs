use super::*;
use crate::cgroups::tests::{TestCgroup, sleeper};
use crate::timeout;

fn soon() -> Instant {
    Instant::now() + timeout::KILL
}

#[test]
fn frozen_processes_are_frozen_when_it_returns_and_can_be_killed() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let mut process = sleeper(&cgroup);
    assert!(cgroup.freeze(soon()).expect("asked"), "frozen");
    assert!(cgroup.is_frozen() && cgroup.is_freezing());
    cgroup.thaw().expect("thawed");
    assert!(!cgroup.is_frozen() && !cgroup.is_freezing());
    assert!(cgroup.freeze(soon()).expect("asked"), "frozen");
    cgroup.kill().expect("killed although frozen");
    process.wait().expect("reaped");
    cgroup.remove().expect("removed");
}

#[test]
fn a_cgroup_below_a_frozen_one_cannot_be_thawed() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let path = cgroup.path().join("below");
    std::fs::create_dir(&path).expect("nested cgroup");
    let below = Cgroup::open(&path).expect("open it");
    assert!(cgroup.freeze(soon()).expect("asked"), "frozen");
    let error = below.thaw().expect_err("the one above is frozen");
    assert!(
        error.to_string().ends_with("a cgroup above it is frozen"),
        "{error}"
    );
    cgroup.thaw().expect("thawed");
}

#[test]
fn a_cgroup_in_which_nothing_would_run_is_refused() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let below = cgroup.path().join("below");
    std::fs::create_dir(&below).expect("nested");
    let below = Cgroup::open(&below).expect("open");
    let mount = std::path::Path::new("/sys/fs/cgroup");
    below.check_thawed(mount).expect("thawed");
    assert!(cgroup.freeze(soon()).expect("asked"), "frozen");
    let error = below.check_thawed(mount).expect_err("frozen above");
    assert_eq!(error.object, cgroup.path().display().to_string());
    cgroup.thaw().expect("thawed");
    cgroup.remove().expect("removed");
}
