//! User namespaces, made by root: id maps, devices, mounts and files of the container's root.

use crate::support::{Bundle, Lab, cases};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

cases! {
    [Root] => root_inside_is_nobody_outside, maps_are_written, several_extents, files_belong_to_the_mapped_id,
        devices_are_there, additional_groups, capabilities_are_the_namespaces, file_systems_can_be_mounted,
        ordinary_user_inside, unmapped_user_is_an_error, maps_without_namespace, hostname_and_sysctl,
        setgroups_is_allowed, exec_enters_the_user_namespace, source_below_a_closed_directory, rootfs_below_a_closed_directory, masks_hold,
        stdio_is_usable, read_only_root_holds;
    [Root, Casulo] => no_pivot_below_a_closed_directory, mask_below_a_closed_directory, without_maps_the_caller_is_root, one_map_alone_is_an_error, overlapping_maps_are_an_error, console_belongs_to_the_user;
}

fn root_inside_is_nobody_outside(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let status = fs::read_to_string(format!("/proc/{}/status", bundle.pid())).unwrap();
    for field in ["Uid", "Gid"] {
        let value = crate::support::field(&status, field);
        assert_eq!(value.split_whitespace().collect::<Vec<_>>(), ["100000"; 4]);
    }
    assert_eq!(bundle.exec("id -u; id -g").ok().lines(), ["0", "0"]);
}

fn maps_are_written(lab: &Lab) {
    let out = lab
        .bundle()
        .in_user_namespace()
        .args(&["/bin/cat", "/proc/self/uid_map", "/proc/self/gid_map"])
        .run()
        .ok();
    for line in out.lines() {
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["0", "100000", "65536"]
        );
    }
}

fn several_extents(lab: &Lab) {
    let map = json!([
        {"containerID": 0, "hostID": 100_000, "size": 10},
        {"containerID": 10, "hostID": 200_000, "size": 20},
        {"containerID": 1000, "hostID": 300_000, "size": 1000}
    ]);
    let out = lab
        .bundle()
        .in_user_namespace()
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .args(&["/bin/cat", "/proc/self/uid_map"])
        .run()
        .ok();
    let lines: Vec<Vec<&str>> = out
        .lines()
        .iter()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines,
        [
            ["0", "100000", "10"],
            ["10", "200000", "20"],
            ["1000", "300000", "1000"]
        ]
    );
}

fn files_belong_to_the_mapped_id(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .sh("touch /mine; stat -c %u /mine /etc/passwd");
    assert_eq!(bundle.run().ok().lines(), ["0", "65534"]);
    assert_eq!(
        fs::metadata(bundle.rootfs().join("mine")).unwrap().uid(),
        100_000
    );
}

fn devices_are_there(lab: &Lab) {
    let out = lab
        .bundle()
        .in_user_namespace()
        .sh("cd /dev; stat -c %t:%T null zero full random urandom tty; echo >null; head -c 2 zero | wc -c; readlink ptmx")
        .run()
        .ok();
    assert_eq!(
        out.lines(),
        ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "2", "pts/ptmx"]
    );
}

fn additional_groups(lab: &Lab) {
    let out = lab
        .bundle()
        .in_user_namespace()
        .set("/process/user/additionalGids", json!([10, 20]))
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(
        out.field("Groups").split_whitespace().collect::<Vec<_>>(),
        ["10", "20"]
    );
}

fn setgroups_is_allowed(lab: &Lab) {
    let out = lab
        .bundle()
        .in_user_namespace()
        .args(&["/bin/cat", "/proc/self/setgroups"])
        .run()
        .ok();
    assert_eq!(out.text(), "allow");
}

fn capabilities_are_the_namespaces(lab: &Lab) {
    let out = lab
        .bundle()
        .in_user_namespace()
        .capabilities(&["CAP_SYS_ADMIN", "CAP_CHOWN"])
        .sh(
            "grep CapEff /proc/self/status; mount -t tmpfs tmpfs /tmp && echo mounted; mkdir -p /mnt; \
            mount -t ext4 /dev/null /mnt 2>&1; grep -c ' /mnt ' /proc/self/mountinfo",
        )
        .run();
    assert_eq!(out.field("CapEff"), "0000000000200001");
    // What takes a device needs the capability over the host's user namespace (FS_USERNS_MOUNT), which the
    // kernel asks for before it looks at the source.
    let seen = &out.lines()[1..];
    assert_eq!(
        seen,
        ["mounted", "mount: permission denied (are you root?)", "0"]
    );
}

fn file_systems_can_be_mounted(lab: &Lab) {
    let out = lab
        .bundle()
        .in_user_namespace()
        .args(&["/bin/cat", "/proc/self/mountinfo"])
        .run()
        .ok();
    let table = crate::support::mounts(&out.stdout);
    let expected = [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
        ("/sys/fs/cgroup", "cgroup2"),
    ];
    for (target, kind) in expected {
        assert!(
            table.iter().any(|m| m.target == target && m.kind == kind),
            "{target}: {table:?}"
        );
    }
}

fn ordinary_user_inside(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let out = bundle.args(&["/bin/cat", "/proc/self/status"]).run().ok();
    assert_eq!(
        out.field("Uid").split_whitespace().collect::<Vec<_>>(),
        ["1000"; 4]
    );
    assert_eq!(out.field("CapEff"), "0000000000000000");
}

fn unmapped_user_is_an_error(lab: &Lab) {
    lab.bundle()
        .in_user_namespace()
        .set("/process/user/uid", json!(70_000))
        .run()
        .fails_with(&["mapped in"]);
}

fn without_maps_the_caller_is_root(lab: &Lab) {
    let out = lab
        .bundle()
        .with_namespace("user")
        .args(&["/bin/cat", "/proc/self/uid_map", "/proc/self/gid_map"])
        .run()
        .ok();
    for line in out.lines() {
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["0", "0", "1"]);
    }
}

fn one_map_alone_is_an_error(lab: &Lab) {
    lab.bundle()
        .in_user_namespace()
        .remove("/linux/gidMappings")
        .run()
        .fails_with(&["linux.gidMappings"]);
}

fn maps_without_namespace(lab: &Lab) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1}]);
    let out = lab
        .bundle()
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .args(&["/bin/cat", "/proc/self/uid_map"])
        .run();
    // Refused, or ignored as meaningless here; never applied to the host's own namespace.
    assert!(
        out.code != 0 || out.text().ends_with("4294967295"),
        "{out:?}"
    );
}

fn overlapping_maps_are_an_error(lab: &Lab) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 5, "hostID": 200_000, "size": 10}]);
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .set("/linux/uidMappings", map);
    bundle.run().fails_with(&["id"]);
}

fn hostname_and_sysctl(lab: &Lab) {
    let out = lab
        .bundle()
        .in_user_namespace()
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .sh("hostname; cat /proc/sys/net/ipv4/ip_forward")
        .run()
        .ok();
    assert_eq!(out.lines(), ["bundle", "1"]);
}

fn exec_enters_the_user_namespace(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle.exec("cat /proc/self/uid_map; for n in user pid mnt net uts ipc; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done");
    let out = out.ok();
    assert_eq!(
        out.lines()[0].split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    assert_eq!(out.lines().len(), 1, "{out:?}");
}

fn source_below_a_closed_directory(lab: &Lab) {
    // Only the host's root may enter it: the parent opens the source, not the container.
    let closed = lab.directory("closed");
    fs::create_dir(closed.join("data")).unwrap();
    fs::write(closed.join("data/file"), "reached").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .bind(&closed.join("data"), "/mnt", &["ro"]);
    assert_eq!(
        bundle.args(&["/bin/cat", "/mnt/file"]).run().ok().text(),
        "reached"
    );
}

/// A bundle whose rootfs only the host's root may reach by its path.
fn closed_off(lab: &Lab) -> Bundle<'_> {
    let closed = lab.directory("closed");
    let bundle = lab.bundle().in_user_namespace();
    let rootfs = closed.join("rootfs");
    fs::rename(bundle.rootfs(), &rootfs).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    bundle
        .set("/root/path", json!(rootfs))
        .sh("cat /etc/passwd; ls /home")
}

fn rootfs_below_a_closed_directory(lab: &Lab) {
    let out = closed_off(lab).run().ok();
    assert!(out.stdout.contains("tester:x:1000"), "{out:?}");
}

/// What is going to be moved onto `/` cannot be mounted there meanwhile: the error names what is closed.
fn no_pivot_below_a_closed_directory(lab: &Lab) {
    closed_off(lab).run_with(&["--no-pivot"], b"").fails_with(&[
        "open",
        "closed/rootfs",
        "permission denied",
    ]);
}

fn mask_below_a_closed_directory(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .set("/linux/maskedPaths", json!(["/closed/secret"]));
    let closed = bundle.rootfs().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("secret"), "").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    bundle.run().fails_with(&[
        "/closed/secret: permission denied",
        "the container's root may not enter a directory above it",
    ]);
}

fn masks_hold(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .set("/linux/maskedPaths", json!(["/etc/passwd", "/home"]))
        .set("/linux/readonlyPaths", json!(["/var"]))
        .sh("wc -c </etc/passwd; ls -A /home; touch /var/f");
    let out = bundle.run();
    assert_eq!(out.lines(), ["0"]);
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

fn read_only_root_holds(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .set("/root/readonly", json!(true))
        .sh("touch /f");
    bundle.run().fails_with(&["Read-only file system"]);
}

fn stdio_is_usable(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .sh("cat; echo said; echo warned >&2");
    let out = bundle.run_with(&[], b"heard\n").ok();
    assert_eq!(
        (out.stdout.as_str(), out.stderr.as_str()),
        ("heard\nsaid\n", "warned\n")
    );
}

fn console_belongs_to_the_user(lab: &Lab) {
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .set("/process/terminal", json!(true))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .sh("stat -c '%u' $(tty); stat -c %F /dev/console; echo end");
    let (mut terminal, mut child) =
        crate::support::Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    let text = terminal.expect("end");
    assert!(child.wait().unwrap().success());
    assert!(
        text.starts_with("1000\r\ncharacter special file"),
        "{text:?}"
    );
}
