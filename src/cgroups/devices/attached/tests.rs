use super::*;
use crate::cgroups::devices::{Access, Kind, Rule, Verdict};
use crate::cgroups::tests::{TestCgroup, hierarchy};
use crate::cgroups::{Plan, devices};
use crate::skip;

/// A cgroup under `policy`; None where no program may be loaded.
fn create(test: &TestCgroup, policy: Option<Policy>) -> Option<Cgroup> {
    let plan = Plan {
        path: Some(test.path.clone()),
        mount: test.mount.clone(),
        ..Plan::default()
    };
    let cgroup = Cgroup::create(&plan, None)
        .expect("created")
        .expect("a cgroup");
    let rules = policy.map(|policy| Rules::load(&policy)).transpose();
    match rules {
        Err(error) if error.errno == Some(Errno::EPERM) => {
            skip::because(error);
            return None;
        }
        result => {
            if let Some(rules) = result.expect("loaded") {
                cgroup.attach_devices(&rules).expect("attached");
            }
        }
    }
    Some(cgroup)
}

fn ids(cgroup: &Cgroup) -> Vec<u32> {
    bpf::device_programs(cgroup.directory.as_fd()).expect("the programs")
}

#[test]
fn the_kernel_enforces_the_device_rules() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let Some(cgroup) = create(&test, Some(Policy::defaults())) else {
        return;
    };
    // The default list has full and null but not kmsg; a closed device fails with EPERM.
    let script = "echo $$ > $1/cgroup.procs && echo x > /dev/null && head -c1 /dev/full > /dev/null \
                  && ! head -c1 /dev/kmsg 2>&1";
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(cgroup.path())
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("not permitted"), "{text}");
}

#[test]
fn a_program_that_the_verifier_refuses_comes_with_its_reason() {
    if hierarchy().is_none() {
        return;
    }
    // `exit` without a value in r0.
    match load(&[u64::from_ne_bytes([0x95, 0, 0, 0, 0, 0, 0, 0])]) {
        Err(error) if error.errno == Some(Errno::EPERM) => skip::because(error),
        Err(error) => assert!(error.detail.contains("R0"), "{error}"),
        Ok(_) => panic!("the verifier must refuse it"),
    }
}

/// The default devices and one more.
fn another() -> Policy {
    let mut policy = Policy::defaults();
    policy.rules.push(Rule {
        verdict: Verdict::Allow,
        kind: Kind::Char,
        major: Some(1),
        minor: Some(11),
        access: Access::ALL,
    });
    policy
}

fn everything() -> Policy {
    Policy {
        otherwise: devices::Verdict::Allow,
        rules: Vec::new(),
    }
}

#[test]
fn a_cgroup_has_one_program_of_ours_through_every_replacement() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let Some(cgroup) = create(&test, Some(Policy::defaults())) else {
        return;
    };
    let first = ids(&cgroup);
    assert_eq!(first.len(), 1);
    cgroup.replace_devices(&another()).expect("replaced");
    let second = ids(&cgroup);
    assert_eq!(second.len(), 1);
    assert_ne!(first, second);
    cgroup.replace_devices(&everything()).expect("detached");
    assert!(ids(&cgroup).is_empty());
    cgroup
        .replace_devices(&everything())
        .expect("nothing to do");
    cgroup
        .replace_devices(&Policy::defaults())
        .expect("attached");
    assert_eq!(ids(&cgroup).len(), 1);
}

#[test]
fn the_program_of_somebody_else_stays() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let Some(cgroup) = create(&test, None) else {
        return;
    };
    let code = program(&Policy::defaults());
    let theirs = match bpf::load_device_program(&code, "sd_devices", &mut []) {
        Err(errno) => return skip::because(errno),
        Ok(program) => program,
    };
    bpf::attach_device_program(cgroup.directory.as_fd(), theirs.as_fd(), None).expect("attached");
    let before = ids(&cgroup);
    cgroup.replace_devices(&another()).expect("attached beside");
    assert_eq!(ids(&cgroup).len(), 2);
    cgroup.replace_devices(&everything()).expect("detached");
    assert_eq!(ids(&cgroup), before);
}

#[test]
fn a_removed_cgroup_takes_its_program_along() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let Some(cgroup) = create(&test, Some(Policy::defaults())) else {
        return;
    };
    let all = ids(&cgroup);
    let id = *all.first().expect("one");
    bpf::program_by_id(id).expect("it is loaded");
    cgroup.remove().expect("removed");
    drop(cgroup);
    // The kernel frees it in the background.
    let gone = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        matches!(bpf::program_by_id(id), Err(Errno::ENOENT))
    });
    assert!(gone, "program {id} is still loaded");
}
