use super::*;
use crate::cgroups::Plan;
use crate::cgroups::tests::{TestCgroup, sleeper};

fn create(test: &TestCgroup) -> Cgroup {
    Cgroup::create(&Plan {
        path: Some(test.path.clone()),
        mount: test.mount.clone(),
        ..Plan::default()
    })
    .expect("created")
    .expect("a cgroup")
}

#[test]
fn frozen_processes_are_frozen_when_it_returns_and_can_be_killed() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = create(&test);
    let mut process = sleeper(&cgroup);
    cgroup.freeze(PATIENCE).expect("frozen");
    assert!(cgroup.is_frozen() && cgroup.is_freezing());
    cgroup.thaw().expect("thawed");
    assert!(!cgroup.is_frozen() && !cgroup.is_freezing());
    cgroup.freeze(PATIENCE).expect("frozen");
    cgroup.kill().expect("killed although frozen");
    process.wait().expect("reaped");
    cgroup.remove().expect("removed");
}

#[test]
fn a_process_that_does_not_freeze_is_named_and_all_run_on() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = create(&test);
    let mut process = sleeper(&cgroup);
    // No process can have done it in no time at all.
    let error = cgroup.freeze(Duration::ZERO);
    if let Err(error) = error {
        assert!(
            error.to_string().contains("not frozen after 0 s: "),
            "{error}"
        );
        assert!(!cgroup.is_freezing());
    }
    cgroup.kill().expect("killed");
    process.wait().expect("reaped");
}

#[test]
fn a_cgroup_below_a_frozen_one_cannot_be_thawed() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = create(&test);
    let path = cgroup.path().join("below");
    std::fs::create_dir(&path).expect("nested cgroup");
    let below = Cgroup::open(&path).expect("open it");
    cgroup.freeze(PATIENCE).expect("frozen");
    let error = below.thaw().expect_err("the one above is frozen");
    assert!(
        error.to_string().ends_with("a cgroup above it is frozen"),
        "{error}"
    );
    cgroup.thaw().expect("thawed");
}

#[test]
fn the_state_stands_behind_any_command() {
    for (stat, state) in [
        ("1 (sh) S 0 1", Some("S")),
        ("1 (a) D b) R 0", Some("R")),
        ("1 sh", None),
        ("", None),
    ] {
        assert_eq!(state_letter(stat), state, "{stat}");
    }
}
