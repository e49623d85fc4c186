//! The record of a `create` that was killed before it had recorded what it has made: what it names may be somebody
//! else's by now.

use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, HostCgroup, Lab, RESCTRL, Resctrl, cases, finish};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

cases! {
    [Root, TestBuild, Fuse] => a_resctrl_group_that_the_host_makes_after_a_killed_create;
    [Root, TestBuild] => cgroups_that_the_host_makes_after_a_killed_create;
    [Root, Casulo, TestBuild] => a_create_killed_between_any_two_directories_leaves_nothing,
        a_directory_that_names_another_record_stays;
}

/// A bundle whose cgroup is the last of these three.
fn below_two_directories(lab: &Lab) -> (Bundle<'_>, [PathBuf; 3]) {
    let bundle = lab.bundle().args(&["/bin/true"]);
    let pod = format!("pod-{}", bundle.id());
    let path = format!("/{pod}/inner/{}", bundle.id());
    let directories = ["", "inner", &format!("inner/{}", bundle.id())]
        .map(|name| PathBuf::from("/sys/fs/cgroup").join(&pod).join(name));
    (bundle.set("/linux/cgroupsPath", json!(path)), directories)
}

/// `create` of the test build, killed at this step, whatever else the lab tells.
fn create_killed_at(lab: &Lab, bundle: &Bundle<'_>, step: &str) {
    let inner = bundle.command(&[], "create", &[]);
    let mut create = Command::new(lab.test_build());
    create.args(inner.get_args()).env("CASULO_FAULT", step);
    let out = finish(create, b"");
    assert_eq!(out.code, 137, "{step}: {out:?}");
    assert_eq!(bundle.status(), "stopped");
}

fn cgroups_that_the_host_makes_after_a_killed_create(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "the host makes cgroups at the paths that a create recorded, which was killed before it had made them",
        without: "own-cgroup",
    };
    zoo(lab, &attack, |lab| {
        let (bundle, directories) = below_two_directories(lab);
        create_killed_at(lab, &bundle, "cgroup:kill");
        assert!(!directories[0].exists(), "none of it was made");
        let _clean = HostCgroup::new(&format!("pod-{}", bundle.id()));
        fs::create_dir_all(&directories[2]).expect("made");
        let out = bundle.verb("delete").ok();
        let stay = directories.iter().filter(|it| it.exists()).count();
        Outcome::of(&out, stay < directories.len())
    });
}

fn a_resctrl_group_that_the_host_makes_after_a_killed_create(lab: &Lab) {
    let _resctrl = Resctrl::mount();
    let attack = Attack {
        cve: "(hardening)",
        name: "the host makes a resctrl group at the path that a create recorded, which was killed before it had made it",
        without: "own-cgroup",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab
            .bundle()
            .set("/linux/intelRdt", json!({"schemata": ["L3:0=f;1=f"]}));
        create_killed_at(lab, &bundle, "rdt-class:kill");
        let class = Path::new(RESCTRL).join(bundle.id());
        fs::create_dir(&class).expect("made");
        let out = bundle.verb("delete").ok();
        let is_gone = !class.exists();
        let _ = fs::remove_dir(&class);
        Outcome::of(&out, is_gone)
    });
}

fn a_create_killed_between_any_two_directories_leaves_nothing(lab: &Lab) {
    for made in 1..=3 {
        let (bundle, directories) = below_two_directories(lab);
        create_killed_at(lab, &bundle, &format!("hold-cgroup:kill:{made}"));
        let there = directories.iter().filter(|it| it.exists()).count();
        assert_eq!(there, made);
        bundle.verb("delete").ok();
        for directory in &directories {
            assert!(!directory.exists(), "{made}: {}", directory.display());
        }
        lab.assert_nothing_left(bundle.id());
    }
}

fn a_directory_that_names_another_record_stays(lab: &Lab) {
    let (killed, directories) = below_two_directories(lab);
    create_killed_at(lab, &killed, "cgroup:kill");
    // Another container's create makes the same directories, and its record is lost.
    let pod = format!("/pod-{}/inner", killed.id());
    let other = lab.bundle().args(&["/bin/true"]);
    let own = format!("{pod}/{}", other.id());
    let other = other.set("/linux/cgroupsPath", json!(own));
    other.run_detached();
    other.wait_stopped();
    fs::remove_dir_all(lab.root().join(other.id())).expect("the record is lost");
    fs::remove_dir(format!("/sys/fs/cgroup{own}")).expect("the cgroup is empty");
    let _clean = HostCgroup::new(&format!("pod-{}", killed.id()));
    let numbers = || {
        let number = |it: &PathBuf| fs::metadata(it).map(|it| it.ino()).ok();
        [number(&directories[0]), number(&directories[1])]
    };
    let before = numbers();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    killed.verb("delete").ok();
    assert_eq!(numbers(), before);
}
