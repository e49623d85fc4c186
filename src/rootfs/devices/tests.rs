use super::*;
use crate::error::Problems;
use crate::host::Host;
use crate::namespaces::{self, IdMap};
use crate::skip;
use crate::sys::forked::check_in_child;
use nix::fcntl::open;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{lstat, major, minor, mknod};
use oci_spec::runtime::Spec;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

type Outcome = std::result::Result<(), String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn map(outside: u32) -> Vec<IdMap> {
    vec![IdMap {
        inside: 0,
        outside,
        count: 1000,
    }]
}

fn planned(
    fields: &str,
    kinds: &[namespaces::Kind],
    host: &Host,
) -> std::result::Result<Plan, String> {
    let spec: Spec =
        serde_json::from_str(&format!(r#"{{"ociVersion":"1.3.0",{fields}}}"#)).map_err(text)?;
    let ns = namespaces::Plan {
        new: kinds.to_vec(),
        uid_map: map(100_000),
        gid_map: map(200_000),
        ..Default::default()
    };
    let mut problems = Problems::default();
    let plan = plan(&spec, &ns, host, None, &mut problems);
    problems.into_result("c").map_err(text)?;
    Ok(plan)
}

const ROOT: &[namespaces::Kind] = &[namespaces::Kind::Mount];
const USER: &[namespaces::Kind] = &[namespaces::Kind::Mount, namespaces::Kind::User];
const FOO: &str = r#""linux":{"devices":[
    {"path":"/dev/foo/","type":"b","major":1,"minor":5,"fileMode":111,"uid":10,"gid":11},
    {"path":"/dev/net/pipe","type":"p","fileMode":384},
    {"path":"/deep/er","type":"u","major":1,"minor":7}]}"#;

#[test]
fn default_devices_come_first_and_the_config_replaces_them() {
    let null = r#""linux":{"devices":[{"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":384}]}"#;
    let plan = planned(null, ROOT, &Host::of_root()).expect("a plan");
    assert_eq!(plan.devices.len(), 6);
    let first = plan.devices.first().expect("null");
    assert_eq!((first.mode, first.origin), (0o600, Origin::Config));
}

#[test]
fn a_bind_on_dev_means_no_devices_and_a_bind_on_one_means_not_that_one() {
    for options in [r#"["rbind"]"#, r#"["bind","ro"]"#] {
        let mounts =
            format!(r#""mounts":[{{"destination":"/dev/","source":"/dev","options":{options}}}]"#);
        let plan = planned(&mounts, ROOT, &Host::of_root()).expect("a plan");
        assert_eq!((plan.dev, plan.devices.len()), (Dev::Mounted, 0));
    }
    let one = r#""mounts":[{"destination":"/dev/random","type":"bind","source":"/dev/urandom"}]"#;
    let plan = planned(one, ROOT, &Host::of_root()).expect("a plan");
    assert_eq!((plan.dev, plan.devices.len()), (Dev::Ours, 5));
    let tmpfs = r#""mounts":[{"destination":"/dev","type":"tmpfs","source":"tmpfs"}]"#;
    let plan = planned(tmpfs, ROOT, &Host::of_root()).expect("a plan");
    assert_eq!((plan.dev, plan.devices.len()), (Dev::Ours, 6));
}

#[test]
fn wrong_devices_are_named_by_their_path() {
    let rows = [
        (
            r#"{"path":"dev/x","type":"c","major":1,"minor":1}"#,
            "path: \"dev/x\" is not",
        ),
        (
            r#"{"path":"/dev/../x","type":"c","major":1,"minor":1}"#,
            "path: ",
        ),
        (
            r#"{"path":"/dev","type":"c","major":1,"minor":1}"#,
            "path: ",
        ),
        (
            r#"{"path":"/dev/x","type":"a","major":1,"minor":1}"#,
            "type: ",
        ),
        (
            r#"{"path":"/dev/x","type":"c","major":-1,"minor":1}"#,
            "major: -1 is not",
        ),
        (
            r#"{"path":"/dev/x","type":"c","major":1,"minor":1048576}"#,
            "minor: ",
        ),
        (
            r#"{"path":"/dev/x","type":"p","fileMode":1048576}"#,
            "fileMode: ",
        ),
        (
            r#"{"path":"/dev/x","type":"p","uid":4294967295}"#,
            "uid: 4294967295 is nobody's",
        ),
        (
            r#"{"path":"/dev/x","type":"p","gid":4294967295}"#,
            "gid: 4294967295 is nobody's",
        ),
    ];
    for (device, why) in rows {
        let fields = format!(r#""linux":{{"devices":[{device}]}}"#);
        let error = planned(&fields, ROOT, &Host::of_root()).expect_err(device);
        assert!(
            error.starts_with(&format!("c: linux.devices[0].{why}")),
            "{error}"
        );
    }
    let two = r#""linux":{"devices":[{"path":"/x","type":"p"},{"path":"/x","type":"p","uid":1}]}"#;
    let error = planned(two, ROOT, &Host::of_root()).expect_err("twice");
    assert_eq!(error, "c: linux.devices[1].path: /x is given twice");
}

#[test]
fn in_a_user_namespace_the_parent_makes_what_it_may() {
    let plan = planned(FOO, USER, &Host::of_root()).expect("a plan");
    let premade: Vec<_> = plan.devices.iter().filter_map(|d| d.premade).collect();
    assert_eq!(plan.source, NodeSource::Bind);
    assert_eq!(
        premade,
        [(100_010, 200_011), (100_000, 200_000)],
        "not the fifo"
    );
    let rootless = Host {
        euid: 1000,
        rootless: true,
        effective: 0,
        ..Host::of_root()
    };
    let plan = planned(FOO, USER, &rootless).expect("a plan");
    assert!(plan.devices.iter().all(|d| d.premade.is_none()));
    let far = r#""linux":{"devices":[{"path":"/x","type":"c","major":1,"minor":3,"uid":5000}]}"#;
    let error = planned(far, USER, &Host::of_root()).expect_err("unmapped");
    assert!(
        error.starts_with("c: linux.devices[0].uid: 5000 has no place"),
        "{error}"
    );
}

/// Runs `body` in a mount namespace, as root there, with an empty tmpfs as the container's root.
fn in_a_root(flags: CloneFlags, body: impl FnOnce(&Path, &Root) -> Outcome) {
    if skip::unless_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directory");
    check_in_child(|| {
        let none = None::<&str>;
        unshare(flags | CloneFlags::CLONE_NEWNS).map_err(text)?;
        if flags.contains(CloneFlags::CLONE_NEWUSER) {
            fs::write("/proc/self/setgroups", "deny").map_err(text)?;
            fs::write("/proc/self/uid_map", "0 0 1").map_err(text)?;
            fs::write("/proc/self/gid_map", "0 0 1").map_err(text)?;
        }
        let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        mount(none, "/", none, slave, none).map_err(text)?;
        let top = directory.path();
        mount(none, top, Some("tmpfs"), MsFlags::empty(), none).map_err(text)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(top, flags, Mode::empty()).map_err(text)?;
        // The mask of the caller must not reach the nodes.
        umask(Mode::from_bits_truncate(0o077));
        body(top, &Root::from_fd(fd))
    });
}

/// `c 1:3 666 0:0` of a node.
fn shown(path: PathBuf) -> std::result::Result<String, String> {
    let stat = lstat(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFCHR => "c",
        libc::S_IFBLK => "b",
        libc::S_IFIFO => "p",
        _ => "?",
    };
    Ok(format!(
        "{kind} {}:{} {:o} {}:{}",
        major(stat.st_rdev),
        minor(stat.st_rdev),
        stat.st_mode & 0o7777,
        stat.st_uid,
        stat.st_gid
    ))
}

fn expect(path: PathBuf, wanted: &str) -> Outcome {
    match shown(path.clone())? {
        found if found == wanted => Ok(()),
        found => Err(format!("{}: {found}, not {wanted}", path.display())),
    }
}

fn refused(result: Result<()>, code: Code) -> Outcome {
    match result {
        Err(error) if error.code == code => Ok(()),
        other => Err(format!("not {code:?}: {other:?}")),
    }
}

#[test]
fn nodes_have_the_mode_and_the_owner_of_the_config() {
    in_a_root(CloneFlags::empty(), |top, root| {
        let plan = planned(FOO, ROOT, &Host::of_root())?;
        make(&plan, root, &Nodes::default()).map_err(text)?;
        expect(top.join("dev/null"), "c 1:3 666 0:0")?;
        expect(top.join("dev/tty"), "c 5:0 666 0:0")?;
        expect(top.join("dev/foo"), "b 1:5 157 10:11")?;
        expect(top.join("dev/net/pipe"), "p 0:0 600 0:0")?;
        expect(top.join("deep/er"), "c 1:7 666 0:0")?;
        let links = [
            ("fd", "/proc/self/fd"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ];
        for (name, wanted) in links {
            let found = fs::read_link(top.join("dev").join(name)).map_err(text)?;
            if found != Path::new(wanted) {
                return Err(format!("{name} -> {}", found.display()));
            }
        }
        if fs::symlink_metadata(top.join("dev/core")).is_ok() {
            return Err("a link to a /proc/kcore that is not there".to_owned());
        }
        // All is there already, as in a root that is used a second time.
        make(&plan, root, &Nodes::default()).map_err(text)
    });
}

#[test]
fn a_user_namespace_gets_binds_of_verified_nodes() {
    in_a_root(CloneFlags::CLONE_NEWUSER, |top, root| {
        let plan = planned(r#""linux":{}"#, USER, &Host::of_root())?;
        make(&plan, root, &Nodes::default()).map_err(text)?;
        expect(top.join("dev/null"), &shown(PathBuf::from("/dev/null"))?)?;
        fs::write(top.join("dev/null"), "swallowed").map_err(text)?;
        let missing =
            r#""linux":{"devices":[{"path":"/dev/null","type":"c","major":240,"minor":77}]}"#;
        let mut plan = planned(missing, USER, &Host::of_root())?;
        for device in &mut plan.devices {
            device.premade = None;
        }
        refused(make(&plan, root, &Nodes::default()), Code::Device)
    });
}

#[test]
fn premade_nodes_are_bound_with_the_owner_of_the_config() {
    let plan = planned(FOO, USER, &Host::of_root()).expect("a plan");
    in_a_root(CloneFlags::empty(), |top, root| {
        let nodes = Nodes::make(&plan).map_err(text)?;
        make(&plan, root, &nodes).map_err(text)?;
        expect(top.join("dev/foo"), "b 1:5 157 100010:200011")?;
        expect(top.join("deep/er"), "c 1:7 666 100000:200000")
    });
}

#[test]
fn links_of_a_hostile_image_are_not_followed() {
    in_a_root(CloneFlags::empty(), |top, root| {
        let plan = planned(FOO, ROOT, &Host::of_root())?;
        fs::create_dir(top.join("elsewhere")).map_err(text)?;
        symlink("/elsewhere", top.join("dev")).map_err(text)?;
        refused(make(&plan, root, &Nodes::default()), Code::UnsafePath)?;
        fs::remove_file(top.join("dev")).map_err(text)?;
        fs::create_dir(top.join("dev")).map_err(text)?;
        symlink("/elsewhere", top.join("dev/net")).map_err(text)?;
        refused(make(&plan, root, &Nodes::default()), Code::UnsafePath)?;
        fs::remove_file(top.join("dev/net")).map_err(text)?;
        fs::remove_file(top.join("dev/null")).map_err(text)?;
        symlink("/elsewhere/null", top.join("dev/null")).map_err(text)?;
        refused(make(&plan, root, &Nodes::default()), Code::UnsafePath)?;
        match fs::read_dir(top.join("elsewhere")).map_err(text)?.count() {
            0 => Ok(()),
            _ => Err("something was made through a link".to_owned()),
        }
    });
}

#[test]
fn another_file_in_the_place_of_a_configured_device_is_an_error() {
    in_a_root(CloneFlags::empty(), |top, root| {
        let plan = planned(FOO, ROOT, &Host::of_root())?;
        fs::create_dir(top.join("dev")).map_err(text)?;
        fs::write(top.join("dev/zero"), "an image's own").map_err(text)?;
        fs::write(top.join("dev/foo"), "something else").map_err(text)?;
        refused(make(&plan, root, &Nodes::default()), Code::Device)?;
        // A default device is supplied all the same.
        expect(top.join("dev/zero"), &shown(PathBuf::from("/dev/zero"))?)
    });
}

#[test]
fn a_mounted_dev_must_have_the_configured_devices() {
    in_a_root(CloneFlags::empty(), |top, root| {
        let fields =
            format!(r#""mounts":[{{"destination":"/dev","type":"bind","source":"/dev"}}],{FOO}"#);
        let plan = planned(&fields, ROOT, &Host::of_root())?;
        fs::create_dir_all(top.join("dev/net")).map_err(text)?;
        refused(make(&plan, root, &Nodes::default()), Code::Device)?;
        let mode = Mode::from_bits_truncate(0o600);
        let dev = makedev(1, 5);
        mknod(&top.join("dev/foo"), SFlag::S_IFBLK, mode, dev).map_err(text)?;
        mknod(&top.join("dev/net/pipe"), SFlag::S_IFIFO, mode, 0).map_err(text)?;
        make(&plan, root, &Nodes::default()).map_err(text)?;
        match fs::symlink_metadata(top.join("dev/null")) {
            Err(_) => Ok(()),
            Ok(_) => Err("made in a /dev that is not ours".to_owned()),
        }
    });
}

#[test]
fn the_images_ptmx_is_replaced() {
    in_a_root(CloneFlags::empty(), |top, root| {
        let plan = planned(r#""linux":{}"#, ROOT, &Host::of_root())?;
        fs::create_dir(top.join("dev")).map_err(text)?;
        symlink("/elsewhere", top.join("dev/ptmx")).map_err(text)?;
        make(&plan, root, &Nodes::default()).map_err(text)?;
        match fs::read_link(top.join("dev/ptmx")).map_err(text)? {
            found if found == Path::new("pts/ptmx") => Ok(()),
            found => Err(found.display().to_string()),
        }
    });
}
