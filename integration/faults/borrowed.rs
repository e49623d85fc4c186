//! What a container has of the host for a while: network devices, an RDT class, a place in the scope of an
//! ordinary user's systemd. Whatever ends it halfway, the host has it back.

use super::steps::{Attempt, Device, OwnHost, Way, errors};
use crate::support::{Lab, Output, RESCTRL, cases, finish, wait_until};
use crate::systemd::UsersContainer;
use casulo::step::Step;
use serde_json::Value;
use std::fs;
use std::path::Path;

cases! {
    [Root, Casulo, TestBuild, Veth] => device_comes_back_whatever_fails_later,
        device_of_a_killed_create_stays_in_a_joined_namespace;
    [Root, Casulo, TestBuild, Fuse] => init_is_in_its_class, events_have_the_figures_of_the_group, class_of_somebody_else_stays,
        schemata_of_a_failed_update_are_as_before;
    [Root, Casulo, TestBuild, Systemd, UserSystemd, Program("/usr/bin/setpriv")] =>
        exec_that_systemd_moves_ends_with_its_runtime;
}

#[track_caller]
fn assert_one_error(what: &str, out: &Output) {
    assert_ne!(out.code, 0, "{what}: {out:?}");
    assert_eq!(errors(out), 1, "{what}: {out:?}");
}

fn device_comes_back_whatever_fails_later(lab: &Lab) {
    let _host = OwnHost::new();
    for step in [
        Step::Grant,
        Step::Mounts,
        Step::RuntimeHooks,
        Step::Ready,
        Step::RecordInit,
        Step::PidFile,
    ] {
        let what = step.name();
        let attempt = Attempt::new(lab, Way::CreateWithDevice);
        assert_one_error(what, &finish(attempt.told(step, "ENOMEM"), b""));
        assert!(Device::of(&attempt.bundle).is_at_home(), "{what}");
        attempt.clear_away(what);
    }
    // `run` has it until the program runs.
    for step in [Step::Execute, Step::RunPoststart] {
        let attempt = Attempt::new(lab, Way::CreateWithDevice);
        lab.use_test_build("CASULO_FAULT", &format!("{}:ENOMEM", step.name()));
        let mut run = lab.command();
        run.args(["run", "--detach", "--bundle"])
            .arg(attempt.bundle.path())
            .arg(attempt.bundle.id());
        lab.use_runtime();
        assert_one_error(step.name(), &finish(run, b""));
        assert!(Device::of(&attempt.bundle).is_at_home(), "{}", step.name());
        attempt.clear_away(step.name());
    }
}

fn device_of_a_killed_create_stays_in_a_joined_namespace(lab: &Lab) {
    // The namespace is another's, and so is by then what is in it: nobody could say for whom to take it out.
    let _host = OwnHost::new();
    let other = lab.bundle().args(&["/bin/sleep", "1000"]);
    other.run_detached();
    let network = format!("/proc/{}/ns/net", other.pid());
    for (what, is_inside) in [("kill", true), ("ENOMEM", false)] {
        let attempt = Attempt::new(lab, Way::CreateWithDevice).join_network(&network);
        let out = finish(attempt.told(Step::DressDevice, what), b"");
        assert_ne!(out.code, 0, "{out:?}");
        let device = Device::of(&attempt.bundle);
        assert_eq!(device.is_at_home(), !is_inside, "{what}: {out:?}");
        let inside = other.call("exec", &[], &["ip", "link", "show", "dev", "moved"]);
        assert_eq!(inside.code == 0, is_inside, "{what}: {inside:?}");
        let deleted = lab.casulo(&["delete", "--force", attempt.bundle.id()]);
        assert_eq!(deleted.code, 0, "{deleted:?}");
        lab.assert_nothing_left(attempt.bundle.id());
        other.call(
            "exec",
            &["--cap", "CAP_NET_ADMIN"],
            &["ip", "link", "del", "moved"],
        );
    }
}

fn init_is_in_its_class(lab: &Lab) {
    let _host = OwnHost::new();
    // What the other tests of RDT rest on: the steps are those of a container that is in its class.
    let attempt = Attempt::new(lab, Way::DeleteInClass);
    let class = Path::new(RESCTRL).join(attempt.bundle.id());
    let group = class.join("mon_groups").join(attempt.bundle.id());
    for directory in [&class, &group] {
        let tasks = fs::read_to_string(directory.join("tasks")).unwrap();
        assert_eq!(tasks, attempt.bundle.pid().to_string());
    }
    let schemata = fs::read_to_string(class.join("schemata")).unwrap();
    assert!(schemata.contains("L3:0=f\n"), "{schemata}");
    attempt.clear_away("nothing failed");

    // In the class, and not yet in the group.
    for what in ["ENOMEM:2", "kill:2"] {
        let attempt = Attempt::new(lab, Way::CreateInClass);
        let out = finish(attempt.told(Step::RdtJoin, what), b"");
        assert_ne!(out.code, 0, "{what}: {out:?}");
        attempt.clear_away(what);
    }
}

/// As runc has them, by name.
fn events_have_the_figures_of_the_group(lab: &Lab) {
    let _host = OwnHost::new();
    let attempt = Attempt::new(lab, Way::DeleteInClass);
    let id = attempt.bundle.id();
    lab.use_test_build("CASULO_TEST", "no fault");
    let out = lab.casulo(&["events", "--stats", id]).ok();
    lab.use_runtime();
    let event: Value = serde_json::from_str(&out.stdout).unwrap();
    let rdt = &event["data"]["intel_rdt"];
    let class = Path::new(RESCTRL).join(id);
    let number = |file: &Path| -> u64 { fs::read_to_string(file).unwrap().trim().parse().unwrap() };
    let line = |group: &Path, resource: &str| {
        let text = fs::read_to_string(group.join("schemata")).unwrap();
        let line = text.lines().find(|it| it.trim().starts_with(resource));
        line.unwrap().trim().to_owned()
    };
    let (info, root) = (Path::new(RESCTRL).join("info"), Path::new(RESCTRL));
    assert_eq!(rdt["l3_cache_info"]["cbm_mask"], "7ff");
    for (member, directory, file) in [
        ("l3_cache_info", "L3", "min_cbm_bits"),
        ("l3_cache_info", "L3", "num_closids"),
        ("mem_bw_info", "MB", "bandwidth_gran"),
        ("mem_bw_info", "MB", "delay_linear"),
        ("mem_bw_info", "MB", "min_bandwidth"),
        ("mem_bw_info", "MB", "num_closids"),
    ] {
        assert_eq!(
            rdt[member][file],
            number(&info.join(directory).join(file)),
            "{file}"
        );
    }
    for (member, group, resource) in [
        ("l3_cache_schema_root", root, "L3"),
        ("l3_cache_schema", &class, "L3"),
        ("mem_bw_schema_root", root, "MB"),
        ("mem_bw_schema", &class, "MB"),
    ] {
        assert_eq!(rdt[member], line(group, resource), "{member}");
    }
    assert_ne!(rdt["l3_cache_schema"], rdt["l3_cache_schema_root"]);
    assert!(
        rdt["schemata"]
            .as_array()
            .unwrap()
            .contains(&rdt["l3_cache_schema"]),
        "{rdt}"
    );
    let data = class.join("mon_groups").join(id).join("mon_data");
    for (index, domain) in ["mon_L3_00", "mon_L3_01"].into_iter().enumerate() {
        for (member, file) in [
            ("mbm_stats", "mbm_total_bytes"),
            ("mbm_stats", "mbm_local_bytes"),
            ("cmt_stats", "llc_occupancy"),
        ] {
            assert_eq!(
                rdt[member][index][file],
                number(&data.join(domain).join(file)),
                "{file}"
            );
        }
    }
    attempt.clear_away("nothing failed");
}

fn class_of_somebody_else_stays(lab: &Lab) {
    let _host = OwnHost::new();
    let attempt = Attempt::new(lab, Way::CreateInClass);
    let class = Path::new(RESCTRL).join(attempt.bundle.id());
    fs::create_dir(&class).unwrap();
    let out = finish(attempt.told(Step::RdtClass, "kill"), b"").fails_with(&["File exists"]);
    assert_one_error("a class that exists", &out);
    let deleted = lab.casulo(&["delete", "--force", attempt.bundle.id()]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert!(class.exists());
    fs::remove_dir(&class).unwrap();
    attempt.clear_away("a class that exists");
}

fn schemata_of_a_failed_update_are_as_before(lab: &Lab) {
    let _host = OwnHost::new();
    let attempt = Attempt::new(lab, Way::UpdateInClass);
    let schemata = Path::new(RESCTRL)
        .join(attempt.bundle.id())
        .join("schemata");
    let before = fs::read_to_string(&schemata).unwrap();
    // The next step fails: by then they are others.
    let out = finish(attempt.told(Step::UpdateDevices, "ENOMEM"), b"");
    assert_one_error("an update", &out);
    assert_eq!(fs::read_to_string(&schemata).unwrap(), before);
    finish(attempt.told(Step::UpdateDevices, "kill"), b"");
    let after = fs::read_to_string(&schemata).unwrap();
    assert!(after.contains("L3:0=1;1=1\n"), "{after}");
    attempt.clear_away("an update");
}

fn exec_that_systemd_moves_ends_with_its_runtime(lab: &Lab) {
    let container = UsersContainer::new(lab);
    container.run();
    let id = container.bundle.id();
    // The entrant has the command line of its runtime; what is born of it has none, and is in the cgroup.
    let is_there = || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let mut lines = entries.map(|entry| fs::read(entry.path().join("cmdline")));
        lines.any(|line| line.is_ok_and(|it| String::from_utf8_lossy(&it).contains(id)))
    };
    for step in [Step::ExecAttach, Step::ExecAttached] {
        for what in ["ENOMEM", "kill"] {
            let what = format!("{}:{what}", step.name());
            lab.use_test_build("CASULO_FAULT", &what);
            let out = container.call(&["exec", id, "/bin/sleep", "1000"]);
            lab.use_runtime();
            if what.ends_with("kill") {
                assert_eq!((out.code, out.stderr.as_str()), (137, ""), "{what}")
            } else {
                assert_one_error(&what, &out)
            }
            wait_until(&what, || !is_there() && container.processes().len() == 1);
        }
    }
    container.delete();
}
