//! Plans of the root file system, as data.

mod file_systems;

use super::super::options::Symlink;
use super::*;
use crate::options::Options;
use crate::rootfs::mount::Change;
use crate::rootfs::mount::Maps;
use crate::rootfs::mount::{Content, RootMode};
use crate::rootfs::mount::{ReadOnly, SourceKind, Target};
use namespaces::IdMap;

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;

fn decide(spec: &Spec, ns: &namespaces::Plan, host: &Host) -> std::result::Result<Plan, String> {
    let options = Options::new("web1".parse().expect("an id"), "/bundle".into());
    let mut problems = Problems::default();
    let plan = plan(spec, ns, &options, host, &mut problems);
    problems
        .into_result("config")
        .map_err(|error| error.to_string())?;
    Ok(plan)
}

/// The plan of one mount in a container with a mount namespace.
fn one(mount: Value) -> Mount {
    one_in(mount, &[Kind::Mount])
}

/// The plan of one mount in a container with these namespaces.
fn one_in(mount: Value, kinds: &[Kind]) -> Mount {
    let spec = spec(json!([mount]), json!({}));
    let plan = decide(&spec, &namespaces(kinds), &host());
    plan.expect("a plan").mounts.remove(0)
}

/// What is wrong with one mount.
fn wrong(mount: Value) -> String {
    let plan = decide(
        &spec(json!([mount]), json!({})),
        &namespaces(&[Kind::Mount]),
        &host(),
    );
    plan.expect_err("a problem")
}

fn bind(options: &[&str], kinds: &[Kind]) -> Mount {
    let mount = json!({"destination": "/data", "source": "/srv", "options": options});
    one_in(mount, kinds)
}

/// Depth, set, cleared, propagation.
type Flat = (Depth, u64, u64, u64);

fn changes(mount: &Mount) -> Vec<Flat> {
    let flatten = |it: &Change| {
        (
            it.depth,
            it.attr.attr_set,
            it.attr.attr_clr,
            it.attr.propagation,
        )
    };
    mount.changes.iter().map(flatten).collect()
}

#[test]
fn a_bind_mount_is_changed_in_as_few_calls_as_can_be() {
    use Depth::{One, Tree};
    let (slave, private) = (libc::MS_SLAVE, libc::MS_PRIVATE);
    let shared = libc::MS_SHARED;
    // A word for one flag says that the mount has no other; this one no user namespace locks.
    let follow = libc::MOUNT_ATTR_NOSYMFOLLOW;
    let cases: [(&[&str], Vec<Flat>); 11] = [
        (&["bind"], vec![(One, 0, 0, slave)]),
        (&["bind", "ro"], vec![(One, RDONLY, follow, slave)]),
        (
            &["bind", "ro", "rnosuid"],
            vec![(One, RDONLY | NOSUID, follow, slave)],
        ),
        (
            &["bind", "ro", "rprivate"],
            vec![(One, RDONLY, follow, private)],
        ),
        (&["rbind"], vec![(Tree, 0, 0, slave)]),
        (
            &["rbind", "ro"],
            vec![(One, RDONLY, follow, 0), (Tree, 0, 0, slave)],
        ),
        (&["rbind", "rro"], vec![(Tree, RDONLY, 0, slave)]),
        (
            &["rbind", "rw", "rprivate"],
            vec![(One, 0, RDONLY | follow, 0), (Tree, 0, 0, private)],
        ),
        (
            &["rbind", "private"],
            vec![(Tree, 0, 0, slave), (One, 0, 0, private)],
        ),
        // Stays a peer of the host's mount, as asked.
        (&["rbind", "rshared"], vec![(Tree, 0, 0, shared)]),
        (
            &["bind", "slave", "shared"],
            vec![(One, 0, 0, slave), (One, 0, 0, shared)],
        ),
    ];
    for (options, wanted) in cases {
        let mount = bind(options, &[Kind::Mount, Kind::User]);
        assert_eq!(changes(&mount), wanted, "{options:?}");
    }
}

#[test]
fn flags_of_the_source_that_the_options_do_not_name_are_cleared() {
    const ALL: u64 = RDONLY | NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    const TIME: u64 = libc::MOUNT_ATTR__ATIME | libc::MOUNT_ATTR_NODIRATIME;
    let (noatime, nodiratime) = (libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR_NODIRATIME);
    let follow = libc::MOUNT_ATTR_NOSYMFOLLOW;
    let cases: [(&[&str], u64, u64, u64); 10] = [
        (&["bind"], 0, 0, 0),
        (
            &["bind", "rro", "rnoatime"],
            RDONLY | noatime,
            libc::MOUNT_ATTR__ATIME,
            0,
        ),
        (&["bind", "rw"], 0, RDONLY | follow, ALL),
        (&["bind", "async"], 0, follow, ALL),
        (
            &["bind", "ro", "nosymfollow"],
            RDONLY | follow,
            0,
            ALL & !RDONLY,
        ),
        (
            &["bind", "nosuid", "rro"],
            RDONLY | NOSUID,
            follow,
            ALL & !RDONLY & !NOSUID,
        ),
        // The access time is kept, or chosen as a whole.
        (&["bind", "atime", "diratime"], 0, follow, ALL),
        (&["bind", "norelatime"], 0, follow, ALL),
        (
            &["bind", "noatime"],
            noatime,
            libc::MOUNT_ATTR__ATIME | follow,
            ALL | TIME & !noatime,
        ),
        (
            &["bind", "nodiratime"],
            nodiratime,
            follow,
            ALL | TIME & !nodiratime,
        ),
    ];
    for (options, set, clear, unless_locked) in cases {
        let mount = bind(options, &[Kind::Mount]);
        let [change] = mount.changes.as_slice() else {
            panic!("{options:?}: {:?}", mount.changes);
        };
        let found = (
            change.attr.attr_set,
            change.attr.attr_clr,
            change.unless_locked,
        );
        assert_eq!(found, (set, clear, unless_locked), "{options:?}");
        let locked = bind(options, &[Kind::Mount, Kind::User]);
        assert!(
            locked.changes.iter().all(|it| it.unless_locked == 0),
            "{options:?}"
        );
    }
}

#[test]
fn a_bind_mount_takes_no_word_that_is_unknown() {
    for word in ["noexce", "roo", "size=1m", "x-systemd.automount"] {
        for options in [json!(["bind", word]), json!(["rbind", "remount", word])] {
            let why = wrong(json!({"destination": "/a", "source": "/srv", "options": options}));
            assert!(
                why.contains("mounts[0].options") && why.contains(word),
                "{why}"
            );
        }
        let tmpfs = one(json!({"destination": "/a", "type": "tmpfs", "options": [word]}));
        assert!(tmpfs.is_new(c"tmpfs"), "{word}");
    }
}

#[test]
fn rootfs_propagation_is_the_default_of_bind_mounts() {
    let cases = [
        (
            "private",
            libc::MS_PRIVATE,
            RootfsPropagation::Private,
            None,
        ),
        ("rslave", libc::MS_SLAVE, RootfsPropagation::Slave, None),
        (
            "shared",
            libc::MS_SLAVE,
            RootfsPropagation::Private,
            Some((Propagation::Shared, Depth::One)),
        ),
        (
            "unbindable",
            libc::MS_PRIVATE,
            RootfsPropagation::Private,
            Some((Propagation::Unbindable, Depth::One)),
        ),
    ];
    for (word, base, clone, propagation) in cases {
        let spec = spec(
            json!([{"destination": "/data", "source": "/srv", "options": ["bind"]}]),
            json!({"linux": {"rootfsPropagation": word}}),
        );
        let ns = namespaces(&[Kind::Mount, Kind::User]);
        let plan = decide(&spec, &ns, &host()).expect(word);
        assert_eq!(plan.mounts[0].changes[0].attr.propagation, base, "{word}");
        assert_eq!(plan.clone_propagation, clone, "{word}");
        assert_eq!(plan.propagation, propagation, "{word}");
    }
    let spec = spec(json!([]), json!({"linux": {"rootfsPropagation": "loud"}}));
    let wrong = decide(&spec, &namespaces(&[Kind::Mount]), &host()).expect_err("a problem");
    assert!(wrong.contains("linux.rootfsPropagation"), "{wrong}");
}

#[test]
fn sources_start_at_the_bundle_and_destinations_at_the_root() {
    let mount = one(json!({"destination": "a/./b/../c//", "source": "data", "type": "bind"}));
    assert_eq!(mount.destination, Path::new("/a/c"));
    let Action::Bind(bind) = mount.action else {
        panic!("a bind mount")
    };
    assert_eq!(bind.source.as_c_str(), c"/bundle/data");
    assert_eq!(bind.symlinks, Symlink::Follow);
}

#[test]
fn proc_is_covered_by_nothing_but_a_procfs_and_a_few_files() {
    let proc = one(json!({"destination": "/proc", "type": "proc", "source": "proc"}));
    assert_eq!(proc.target, Target::RealDirectory);
    let bound = one(json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]}));
    assert_eq!(bound.target, Target::RealDirectory);
    assert!(matches!(&bound.action, Action::Bind(it) if it.kind == SourceKind::Proc));
    for file in [
        "/proc/cpuinfo",
        "/proc/net/dev",
        "/proc/pressure",
        "/proc/pressure/memory",
        "/proc/x/../stat",
    ] {
        let mount = one(json!({"destination": file, "source": "/srv", "options": ["bind"]}));
        assert_eq!(mount.target, Target::ProcFile, "{file}");
    }
    for (destination, fstype) in [
        ("/proc", "tmpfs"),
        ("/proc/self/attr", "tmpfs"),
        ("/proc/pressure/self", "bind"),
        ("/a/../proc/acpi", "tmpfs"),
        ("/proc/sys", "bind"),
    ] {
        let why = wrong(json!({"destination": destination, "type": fstype, "source": "/srv"}));
        assert!(
            why.contains("mounts[0].destination"),
            "{destination}: {why}"
        );
    }
}

#[test]
fn what_cannot_be_is_said_with_its_place() {
    for (mount, place) in [
        (
            json!({"destination": "/a", "options": ["bind"]}),
            "mounts[0].source",
        ),
        (json!({"destination": "/a"}), "mounts[0].type"),
        (
            json!({"destination": "/a", "type": "none", "options": ["rprivate"]}),
            "mounts[0].type",
        ),
        (
            json!({"destination": "", "type": "tmpfs"}),
            "mounts[0].destination",
        ),
        (json!({"destination": "/a", "type": "tmp\0fs"}), "mounts[0]"),
        (
            json!({"destination": "/a", "type": "proc", "options": ["tmpcopyup"]}),
            "mounts[0].options",
        ),
        (
            json!({"destination": "/", "type": "tmpfs", "options": ["tmpcopyup"]}),
            "mounts[0].options",
        ),
        (
            json!({"destination": "/a", "type": "tmpfs", "options": ["idmap"]}),
            "mounts[0].options",
        ),
        (
            json!({"destination": "/a", "source": "/b", "options": ["bind", "idmap"]}),
            "mounts[0].options",
        ),
        (
            json!({"destination": "/a", "source": "/b", "options": ["bind"],
                "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}),
            "mounts[0]",
        ),
    ] {
        let why = wrong(mount.clone());
        assert!(why.contains(&format!("{place}: ")), "{mount}: {why}");
    }
}

#[test]
fn an_id_map_is_the_mount_s_own_or_the_container_s() {
    let map = IdMap {
        inside: 0,
        outside: 1000,
        count: 10,
    };
    let ns = namespaces::Plan {
        new: vec![Kind::Mount, Kind::User],
        uid_map: vec![map],
        gid_map: vec![map],
        ..Default::default()
    };
    let decided = |mount: Value| {
        let plan = decide(&spec(json!([mount]), json!({})), &ns, &host()).expect("a plan");
        match plan.mounts.into_iter().next().map(|it| it.action) {
            Some(Action::Bind(bind)) => bind.idmap.map(|it| (it.depth, it.maps)),
            _ => None,
        }
    };
    let mount = |host_id: u32, options: &[&str]| {
        let lines = json!([{"containerID": 0, "hostID": host_id, "size": 10}]);
        json!({"destination": "/a", "source": "/b", "options": options,
            "uidMappings": lines, "gidMappings": lines})
    };
    assert_eq!(
        decided(mount(1000, &["rbind"])),
        Some((Depth::One, Maps::Container))
    );
    assert_eq!(
        decided(mount(1000, &["rbind", "ridmap"])),
        Some((Depth::Tree, Maps::Container))
    );
    let own = Maps::Own {
        uids: vec![IdMap { outside: 5, ..map }],
        gids: vec![IdMap { outside: 5, ..map }],
    };
    assert_eq!(
        decided(mount(5, &["bind", "idmap"])),
        Some((Depth::One, own))
    );
    assert_eq!(
        decided(json!({"destination": "/a", "source": "/b", "options": ["bind", "idmap"]})),
        Some((Depth::One, Maps::Container))
    );
    assert_eq!(
        decided(json!({"destination": "/a", "source": "/b", "options": ["bind"]})),
        None
    );

    let mut rootless = host();
    rootless.effective = 0;
    let spec = spec(json!([mount(5, &["bind"])]), json!({}));
    assert!(decide(&spec, &ns, &rootless).is_err());
}

#[test]
fn a_remount_changes_what_is_there() {
    let mount =
        one(json!({"destination": "/a", "type": "tmpfs", "options": ["remount", "ro", "size=1m"]}));
    let Action::Remount(Some(mount_call)) = mount.action else {
        panic!("a remount")
    };
    assert_eq!(mount_call.flags, libc::MS_REMOUNT | libc::MS_RDONLY);
    let mount = one(json!({"destination": "/a", "options": ["remount", "bind", "ro", "rnosuid"]}));
    assert_eq!(mount.action, Action::Remount(None));
    assert_eq!(mount.changes.len(), 2);
    assert!(mount.changes.iter().all(|it| it.attr.propagation == 0));
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted() {
    let mounts = json!([{"destination": "/proc", "type": "proc"}]);
    let plan = decide(&spec(mounts, json!({})), &namespaces(&[]), &host()).expect("a plan");
    assert_eq!(plan.switch, RootSwitch::Chroot);
    assert_eq!(plan.mounts, []);
    let readonly = json!({"root": {"path": "rootfs", "readonly": true}});
    let plan = decide(&spec(json!([]), readonly), &namespaces(&[]), &host()).expect("a plan");
    assert!(!plan.readonly);
}

#[test]
fn the_host_s_root_is_refused() {
    let spec = spec(json!([]), json!({"root": {"path": "/"}}));
    let why = decide(&spec, &namespaces(&[Kind::Mount]), &host()).expect_err("a problem");
    assert!(why.contains("root.path"), "{why}");
}

#[test]
fn the_parent_clones_what_init_cannot() {
    let cloner = |options: &[&str], ns: &namespaces::Plan| {
        let mount = json!({"destination": "/data", "source": "/srv", "options": options});
        let spec = spec(json!([mount]), json!({}));
        decide(&spec, ns, &host()).expect("a plan").cloner
    };
    let own = namespaces(&[Kind::Mount, Kind::Pid]);
    for options in [&["bind"][..], &["rbind", "ro", "rslave"]] {
        assert_eq!(cloner(options, &own), Cloner::Init, "{options:?}");
        let users = namespaces(&[Kind::Mount, Kind::User]);
        assert_eq!(cloner(options, &users), Cloner::Parent, "{options:?}");
    }
    for options in [
        &["bind", "shared"][..],
        &["rbind", "rshared"],
        &["bind", "idmap=uids=0-1-2;gids=0-1-2"],
    ] {
        assert_eq!(cloner(options, &own), Cloner::Parent, "{options:?}");
    }
}
