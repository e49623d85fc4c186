use super::*;
use crate::cgroups::tests::{TestCgroup, sleeper};
use crate::skip;
use std::fs;
use std::path::PathBuf;

fn setting(file: &str, value: &str) -> Setting {
    Setting {
        file: file.into(),
        value: value.into(),
        absent: Absent::Fail,
    }
}

fn plan(mount: &Path, path: PathBuf, settings: Vec<Setting>) -> Plan {
    Plan {
        path: Some(path),
        mount: mount.to_owned(),
        settings,
        ..Plan::default()
    }
}

/// A directory like a cgroup that somebody made: `files`, all empty but cgroup.events.
fn directory(files: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(
        directory.path().join("cgroup.events"),
        "populated 0\nfrozen 0\n",
    )
    .expect("events");
    for file in files {
        fs::write(directory.path().join(file), "").expect(file);
    }
    directory
}

#[test]
fn limits_are_written_into_their_files() {
    let mount = tempfile::tempdir().expect("temporary directory");
    let above = mount.path().join("cgroup.subtree_control");
    fs::write(&above, "").expect("subtree_control");
    let leaf = mount.path().join("leaf");
    fs::rename(
        directory(&["cpu.max", "memory.max", "pids.max"]).keep(),
        &leaf,
    )
    .expect("leaf");
    let limits = [
        ("cpu.max", "50000 100000"),
        ("memory.max", "1048576"),
        ("pids.max", "5"),
    ];
    let mut settings: Vec<_> = limits.map(|(file, value)| setting(file, value)).into();
    // There is no such file, and so no such limit.
    settings.push(Setting {
        absent: Absent::Skip,
        ..setting("hugetlb.2MB.max", "max")
    });
    let cgroup = Cgroup::create(&plan(mount.path(), leaf, settings), None)
        .expect("created")
        .expect("a cgroup");
    for (file, value) in limits {
        assert_eq!(cgroup.read(file).as_deref(), Ok(value));
    }
    let enabled = fs::read_to_string(&above).expect("subtree_control");
    assert_eq!(enabled, "", "nothing was missing");
}

#[test]
fn every_controller_is_enabled_that_is_there() {
    let mount = tempfile::tempdir().expect("temporary directory");
    for (file, text) in [
        ("cgroup.controllers", "cpuset cpu memory rdma\n"),
        ("cgroup.subtree_control", ""),
    ] {
        fs::write(mount.path().join(file), text).expect(file);
    }
    let leaf = mount.path().join("leaf");
    fs::rename(directory(&[]).keep(), &leaf).expect("leaf");
    let above = mount.path().join("cgroup.subtree_control");
    let enabled = || fs::read_to_string(&above).expect("subtree_control");
    Cgroup::create(&plan(mount.path(), leaf.clone(), vec![]), None).expect("created");
    assert_eq!(enabled(), "+cpuset +cpu +memory +rdma", "at once");
    fs::write(&above, "").expect("subtree_control");
    let has = leaf.join("cgroup.controllers");
    fs::write(&has, "cpuset cpu memory rdma\n").expect("controllers");
    Cgroup::create(&plan(mount.path(), leaf.clone(), vec![]), None).expect("created");
    assert_eq!(enabled(), "", "nothing is missing");
    fs::write(&has, "").expect("controllers");
    fs::write(mount.path().join("cgroup.controllers"), "cpuset cpu pids\n").expect("controllers");
    Cgroup::create(&plan(mount.path(), leaf, vec![]), None).expect("created");
    assert_eq!(
        enabled(),
        "",
        "the cgroup above would become a threaded domain"
    );
}

#[test]
fn a_file_that_the_kernel_lacks_is_named_with_its_value() {
    let directory = directory(&["cgroup.subtree_control"]);
    let plan = plan(
        directory.path(),
        directory.path().join("leaf"),
        vec![setting("cpu.idle", "1")],
    );
    let error = Cgroup::create(&plan, None).expect_err("no such file");
    let expected = format!(
        "set cpu.idle to 1 in {}/leaf: this kernel has no such file: no such file or directory",
        directory.path().display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(!directory.path().join("leaf").is_dir(), "nothing is left");
    let enabled = fs::read_to_string(directory.path().join("cgroup.subtree_control"));
    assert_eq!(enabled.as_deref().ok(), Some("+cpu"), "it was asked for");
}

#[test]
fn a_file_that_is_missing_gives_way_to_the_one_that_does_instead() {
    let instead = Setting {
        absent: Absent::Instead {
            file: "io.weight".into(),
            value: "910".into(),
        },
        ..setting("io.bfq.weight", "100")
    };
    for (files, written) in [
        (&["io.weight"][..], "io.weight=910"),
        (&["io.bfq.weight", "io.weight"], "io.bfq.weight=100"),
    ] {
        // No cgroup.subtree_control: nothing may be enabled where one of the two is there.
        let directory = directory(files);
        let mount = directory.path().parent().expect("a parent");
        let plan = plan(mount, directory.path().to_owned(), vec![instead.clone()]);
        let cgroup = Cgroup::create(&plan, None)
            .expect("created")
            .expect("a cgroup");
        let (file, value) = written.split_once('=').expect("a pair");
        assert_eq!(cgroup.read(file).as_deref(), Ok(value));
    }
}

#[test]
fn a_cgroup_in_use_or_frozen_is_refused() {
    for (events, why) in [
        (
            "populated 1\nfrozen 0\n",
            "container's cgroup is not empty: it has processes of somebody else",
        ),
        (
            "populated 0\nfrozen 1\n",
            "container's cgroup unexpectedly frozen",
        ),
    ] {
        let directory = directory(&[]);
        fs::write(directory.path().join("cgroup.events"), events).expect("events");
        let mount = directory.path().parent().expect("a parent");
        let error = Cgroup::create(&plan(mount, directory.path().to_owned(), vec![]), None)
            .expect_err("must be refused");
        assert!(error.to_string().ends_with(why), "{error}");
        assert!(directory.path().is_dir(), "what was there stays");
    }
}

#[test]
fn without_a_path_nothing_is_made() {
    assert!(
        Cgroup::create(&Plan::default(), None)
            .expect("ok")
            .is_none()
    );
}

#[test]
fn an_optional_cgroup_that_cannot_be_made_is_done_without() {
    let mut plan = plan(Path::new("/proc"), "/proc/casulo/x".into(), vec![]);
    Cgroup::create(&plan, None).expect_err("no directory can be made in /proc");
    plan.need = Need::Optional;
    assert!(Cgroup::create(&plan, None).expect("ok").is_none());
}

#[test]
fn parents_that_were_made_go_with_the_cgroup() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let path = test.path.join("pod/container");
    let cgroup = Cgroup::create(&plan(&test.mount, path.clone(), vec![]), None)
        .expect("created")
        .expect("a cgroup");
    assert!(path.join("cgroup.procs").is_file());
    cgroup.remove().expect("removed");
    assert!(!test.path.is_dir(), "the parents are gone");
    let again = Cgroup::open(&path).expect_err("it is gone");
    assert_eq!(again.errno, Some(Errno::ENOENT));
    cgroup.remove().expect("removing twice is no error");
}

#[test]
fn a_parent_that_others_use_stays() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let create = |name: &str| {
        Cgroup::create(&plan(&test.mount, test.path.join(name), vec![]), None)
            .expect("created")
            .expect("a cgroup")
    };
    let (first, second) = (create("a"), create("b"));
    first.remove().expect("removed");
    assert!(second.path().is_dir());
    second.remove().expect("removed");
    assert!(test.path.is_dir(), "only the one who made it removes it");
}

#[test]
fn a_controller_that_v2_does_not_have_is_named_and_nothing_is_left() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let controllers = fs::read_to_string(test.mount.join("cgroup.controllers")).expect("read");
    let Some((missing, file)) = [("memory", "memory.max"), ("pids", "pids.max")]
        .into_iter()
        .find(|(name, _)| !controllers.split_whitespace().any(|it| it == *name))
    else {
        skip::because("cgroup v2 has all controllers here");
        return;
    };
    let path = test.path.join("x");
    let error = Cgroup::create(&plan(&test.mount, path, vec![setting(file, "5")]), None)
        .expect_err("there is no such controller");
    assert!(
        error
            .to_string()
            .contains(&format!("the {missing} controller is ")),
        "{error}"
    );
    assert!(!test.path.is_dir(), "nothing is left");
}

#[test]
fn the_controllers_are_enabled_all_the_way_down() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let controllers = fs::read_to_string(test.mount.join("cgroup.controllers")).expect("read");
    let wanted = ["cpu", "memory", "pids"];
    if !wanted
        .iter()
        .all(|name| controllers.split_whitespace().any(|it| it == *name))
    {
        skip::because("cgroup v2 does not have cpu, memory and pids here");
        return;
    }
    let settings = vec![
        setting("cpu.weight", "50"),
        setting("memory.max", "67108864"),
        setting("pids.max", "20"),
    ];
    let cgroup = Cgroup::create(&plan(&test.mount, test.path.join("a/b"), settings), None)
        .expect("created")
        .expect("a cgroup");
    assert_eq!(cgroup.read("memory.max").as_deref(), Ok("67108864\n"));
    assert_eq!(cgroup.read("pids.max").as_deref(), Ok("20\n"));
    assert_eq!(cgroup.read("cpu.weight").as_deref(), Ok("50\n"));
    cgroup.remove().expect("removed");

    // A cgroup with processes cannot give controllers to those below.
    let busy = Cgroup::create(&plan(&test.mount, test.path.clone(), vec![]), None)
        .expect("created")
        .expect("a cgroup");
    let mut process = sleeper(&busy);
    let below = plan(
        &test.mount,
        test.path.join("x"),
        vec![setting("memory.max", "9999999")],
    );
    let error = Cgroup::create(&below, None).expect_err("there are processes above");
    assert_eq!(error.errno, Some(Errno::EBUSY), "{error}");
    assert!(error.hint.is_some_and(|it| it.contains("with processes")));
    busy.kill().expect("killed");
    process.wait().expect("reaped");
    busy.remove().expect("removed");
}

#[test]
fn the_owner_gets_the_delegatable_files_only() {
    use std::os::unix::fs::MetadataExt;
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = Cgroup::create(
        &Plan {
            owner: Some(4711),
            ..plan(&test.mount, test.path.clone(), vec![])
        },
        None,
    )
    .expect("created")
    .expect("a cgroup");
    for (file, uid) in [
        ("", 4711),
        ("cgroup.procs", 4711),
        ("cgroup.subtree_control", 4711),
        ("cgroup.max.depth", 0),
        ("cgroup.freeze", 0),
    ] {
        let metadata = fs::metadata(test.path.join(file)).expect(file);
        assert_eq!(metadata.uid(), uid, "{file}");
    }
    cgroup.remove().expect("removed");
}
