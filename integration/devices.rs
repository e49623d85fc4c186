//! Device nodes and the rules about them.

use crate::support::{Lab, cases, disk};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

cases! {
    [Root] => default_devices, links_in_dev, configured_device, fifo_is_made, block_device, device_below_a_new_directory,
        default_devices_work, unlisted_device_is_refused, listed_device_is_allowed, access_letters_count,
        other_letters_are_no_access, made_nodes_follow_the_rules, no_rules_but_deny_leaves_the_defaults,
        tun_is_a_default_device, wildcard_minor,
        device_without_numbers, device_path_is_inside, configured_device_over_a_default, rules_hold_for_exec,
        read_only_rule_refuses_writing, bound_dev_of_the_host;
    [Root, Disk] => block_device_by_rule, file_system_on_a_device_that_the_rules_forbid;
    [Root, Casulo] => init_makes_what_the_rules_forbid, rules_hold_for_hooks_inside;
    [Root, Fuse] => device_that_may_not_be_made;
    [Root, Casulo] => unknown_device_type, default_device_that_is_narrowed, mknod_that_is_denied;
}

/// A char device that no driver serves: opening it says ENXIO or ENODEV where the rules allow it.
const NOBODY: (u32, u32) = (10, 254);

fn nobodys_device(lab: &Lab, rules: serde_json::Value) -> String {
    let bundle = lab
        .bundle()
        .push(
            "/linux/devices",
            json!({"path": "/dev/nobody", "type": "c", "major": NOBODY.0, "minor": NOBODY.1}),
        )
        .set("/linux/resources/devices", rules)
        .sh("cat /dev/nobody");
    bundle.run().stderr
}

fn default_devices(lab: &Lab) {
    let out = lab
        .bundle()
        .sh("umask 0; cd /dev; for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' $d; done")
        .run()
        .ok();
    let expected = [
        "null 1:3",
        "zero 1:5",
        "full 1:7",
        "random 1:8",
        "urandom 1:9",
        "tty 5:0",
    ];
    for (line, expected) in out.lines().iter().zip(expected) {
        let (name, number) = expected.split_once(' ').unwrap();
        assert_eq!(*line, format!("{name} character special file {number} 666"));
    }
}

fn links_in_dev(lab: &Lab) {
    let out = lab
        .bundle()
        .sh("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done")
        .run()
        .ok();
    assert_eq!(
        out.lines(),
        [
            "/proc/self/fd",
            "/proc/self/fd/0",
            "/proc/self/fd/1",
            "/proc/self/fd/2",
            "pts/ptmx"
        ]
    );
}

fn default_devices_work(lab: &Lab) {
    let out = lab
        .bundle()
        .sh("head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; echo gone >/dev/null; echo x >/dev/full")
        .run();
    assert_eq!(out.lines(), ["4", "4"]);
    assert!(out.stderr.contains("No space left"), "{out:?}");
}

fn configured_device(lab: &Lab) {
    let device = json!({"path": "/dev/mine", "type": "c", "major": 1, "minor": 11, "fileMode": 0o640, "uid": 7, "gid": 8});
    let out = lab
        .bundle()
        .push("/linux/devices", device)
        .sh("stat -c '%F %t:%T %a %u %g' /dev/mine")
        .run()
        .ok();
    assert_eq!(out.text(), "character special file 1:b 640 7 8");
}

fn fifo_is_made(lab: &Lab) {
    let device = json!({"path": "/run/pipe", "type": "p", "fileMode": 0o600});
    let out = lab
        .bundle()
        .push("/linux/devices", device)
        .sh("stat -c '%F %a' /run/pipe")
        .run()
        .ok();
    assert_eq!(out.text(), "fifo 600");
}

fn block_device(lab: &Lab) {
    let device =
        json!({"path": "/dev/disk", "type": "b", "major": 7, "minor": 77, "fileMode": 0o660});
    let out = lab
        .bundle()
        .push("/linux/devices", device)
        .sh("stat -c '%F %t:%T %a' /dev/disk")
        .run()
        .ok();
    assert_eq!(out.text(), "block special file 7:4d 660");
}

fn device_below_a_new_directory(lab: &Lab) {
    let device = json!({"path": "/dev/net/deep/tun", "type": "c", "major": 10, "minor": 200, "fileMode": 0o666});
    let out = lab
        .bundle()
        .push("/linux/devices", device)
        .sh("stat -c '%t:%T' /dev/net/deep/tun")
        .run()
        .ok();
    assert_eq!(out.text(), "a:c8");
}

fn device_path_is_inside(lab: &Lab) {
    let device = json!({"path": "/dev/../../../../../escaped", "type": "p"});
    let bundle = lab.bundle().push("/linux/devices", device);
    bundle.run();
    assert!(!std::path::Path::new("/escaped").exists());
}

fn configured_device_over_a_default(lab: &Lab) {
    let device = json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 3, "gid": 0});
    let out = lab
        .bundle()
        .push("/linux/devices", device)
        .sh("stat -c '%t:%T' /dev/zero")
        .run()
        .ok();
    assert_eq!(out.text(), "1:5");
}

fn unlisted_device_is_refused(lab: &Lab) {
    let said = nobodys_device(lab, json!([{"allow": false, "access": "rwm"}]));
    assert!(said.contains("not permitted"), "{said}");
}

fn listed_device_is_allowed(lab: &Lab) {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": NOBODY.0, "minor": NOBODY.1, "access": "r"}
    ]);
    let said = nobodys_device(lab, rules);
    assert!(said.contains("No such device"), "{said}");
}

/// No engine lists it, and what makes tunnels relies on it. Only the rules tell it from its neighbour.
fn tun_is_a_default_device(lab: &Lab) {
    let node =
        |path: &str, minor: u32| json!({"path": path, "type": "c", "major": 10, "minor": minor});
    let out = lab
        .bundle()
        .push("/linux/devices", node("/dev/net/tun", 200))
        .push("/linux/devices", node("/dev/net/other", 201))
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}]),
        )
        .sh("for d in tun other; do (: <>/dev/net/$d); done")
        .run();
    let said = out.stderr.lines();
    let refused: Vec<&str> = said.filter(|line| line.contains("not permitted")).collect();
    assert_eq!(refused.len(), 1, "{out:?}");
    assert!(refused[0].contains("/dev/net/other"), "{out:?}");
}

fn wildcard_minor(lab: &Lab) {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": NOBODY.0, "access": "rwm"}
    ]);
    let said = nobodys_device(lab, rules);
    assert!(said.contains("No such device"), "{said}");
}

fn access_letters_count(lab: &Lab) {
    let rules = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": NOBODY.0, "minor": NOBODY.1, "access": "w"}
    ]);
    let said = nobodys_device(lab, rules);
    assert!(said.contains("not permitted"), "{said}");
}

fn other_letters_are_no_access(lab: &Lab) {
    let said = |access: &str| {
        let rule = json!({"allow": true, "type": "c", "major": NOBODY.0, "minor": NOBODY.1, "access": access});
        nobodys_device(lab, json!([{"allow": false, "access": "rwm"}, rule]))
    };
    for (access, expected) in [
        ("ra", "No such device"),
        ("wa", "not permitted"),
        ("Rx", "not permitted"),
    ] {
        let said = said(access);
        assert!(said.contains(expected), "{access}: {said}");
    }
}

fn read_only_rule_refuses_writing(lab: &Lab) {
    let out = lab
        .bundle()
        .push(
            "/linux/devices",
            json!({"path": "/dev/nobody", "type": "c", "major": NOBODY.0, "minor": NOBODY.1}),
        )
        .set(
            "/linux/resources/devices",
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": NOBODY.0, "minor": NOBODY.1, "access": "r"}
            ]),
        )
        .sh("cat /dev/nobody; echo x >/dev/nobody; cat <>/dev/nobody")
        .run();
    let said: Vec<&str> = out.stderr.lines().collect();
    assert!(said[0].contains("No such device"), "reading: {out:?}");
    assert!(said[1].contains("not permitted"), "writing: {out:?}");
    assert!(said[2].contains("not permitted"), "both at once: {out:?}");
}

fn block_device_by_rule(lab: &Lab) {
    // A disk with a driver behind it: it can be read, and the container could write it, were it not
    // for the rule.
    let (major, minor) = disk_of_tests();
    let bundle = |allow: bool| {
        lab.bundle()
            .push(
                "/linux/devices",
                json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor}),
            )
            .set(
                "/linux/resources/devices",
                json!([
                    {"allow": false, "access": "rwm"},
                    // The same numbers of the other type are another device.
                    {"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"},
                    {"allow": allow, "type": "b", "major": major, "minor": minor, "access": "r"}
                ]),
            )
            .sh("dd if=/dev/disk bs=512 count=1 | wc -c; dd if=/dev/zero of=/dev/disk count=0")
    };
    let out = bundle(true).run();
    assert_eq!(out.text(), "512", "{out:?}");
    assert!(out.stderr.contains("not permitted"), "{out:?}");
    let out = bundle(false).run();
    assert_eq!(out.text(), "0", "{out:?}");
    assert_eq!(out.stderr.matches("not permitted").count(), 2, "{out:?}");
}

fn file_system_on_a_device_that_the_rules_forbid(lab: &Lab) {
    // As with runc: it is casulo that opens it.
    let (major, minor) = disk_of_tests();
    let (fstype, source) = file_system_of(lab.path());
    let out = lab
        .bundle()
        .mount("/mnt", &fstype, &source, &[])
        .push(
            "/linux/devices",
            json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor}),
        )
        .sh("grep -c ' /mnt ' /proc/self/mountinfo; dd if=/dev/disk bs=512 count=1")
        .run();
    assert_eq!(out.lines(), ["1"], "{out:?}");
    assert!(out.stderr.contains("not permitted"), "{out:?}");
}

/// The numbers of the disk that the tests' directory is on.
fn disk_of_tests() -> (u32, u32) {
    let disk = disk().unwrap();
    let (major, minor) = disk.split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

/// Type and device of the file system that has `path`.
fn file_system_of(path: &Path) -> (String, String) {
    let device = std::fs::metadata(path).unwrap().dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut mounts = mounts.lines().filter_map(|line| line.split_once(" - "));
    let (_, about) = mounts
        .find(|(place, _)| place.split(' ').nth(2) == Some(&number))
        .unwrap();
    let mut about = about.split(' ').map(str::to_owned);
    (about.next().unwrap(), about.next().unwrap())
}

fn default_device_that_is_narrowed(lab: &Lab) {
    let out = lab
        .bundle()
        .push(
            "/linux/resources/devices",
            json!({"allow": false, "type": "c", "major": 1, "minor": 3, "access": "w"}),
        )
        .sh("cat /dev/null && echo read; echo x >/dev/null; echo x >/dev/zero && echo written")
        .run();
    assert_eq!(out.lines(), ["read", "written"], "{out:?}");
    assert_eq!(out.stderr.matches("not permitted").count(), 1, "{out:?}");
}

/// As Docker's `--device /dev/fuse:/dev/mine:r`: its own rules forbid all of this device first.
fn device_that_may_not_be_made(lab: &Lab) {
    let rule = |allow: bool, access: &str| json!({"allow": allow, "type": "c", "major": 10, "minor": 229, "access": access});
    let out = lab
        .bundle()
        .push(
            "/linux/devices",
            json!({"path": "/dev/mine", "type": "c", "major": 10, "minor": 229}),
        )
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}, rule(false, "rwm"), rule(true, "r")]),
        )
        .sh("(: </dev/mine) && echo read; (: >/dev/mine) || echo refused")
        .run();
    assert_eq!(out.lines(), ["read", "refused"], "{out:?}");
}

/// Without a node of the host that could be bound instead.
fn init_makes_what_the_rules_forbid(lab: &Lab) {
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_MKNOD"])
        .push(
            "/linux/devices",
            json!({"path": "/dev/nobody", "type": "c", "major": NOBODY.0, "minor": NOBODY.1}),
        )
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}, {"allow": false, "type": "c", "access": "m"}]),
        )
        .sh("stat -c '%F %t:%T' /dev/nobody; cat /dev/nobody; mknod /other c 10 253 || echo refused");
    let out = bundle.run();
    assert_eq!(
        out.lines(),
        ["character special file a:fe", "refused"],
        "{out:?}"
    );
    assert_eq!(out.stderr.matches("not permitted").count(), 2, "{out:?}");
}

fn rules_hold_for_hooks_inside(lab: &Lab) {
    let file = lab.join("said");
    let node = lab.join("node");
    let script = format!(
        "mknod {} c 10 253 2>&1 || echo refused; exit 0",
        node.display()
    );
    let script = format!("({script}) >{}", file.display());
    let hook =
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]});
    lab.bundle()
        .push("/hooks/createContainer", hook)
        .set(
            "/linux/resources/devices",
            json!([{"allow": false, "access": "rwm"}, {"allow": false, "type": "c", "access": "m"}]),
        )
        .run()
        .ok();
    let said = std::fs::read_to_string(file).unwrap();
    assert!(said.ends_with("refused\n"), "{said}");
    assert!(!node.exists());
}

fn mknod_that_is_denied(lab: &Lab) {
    let out = lab
        .bundle()
        .capabilities(&["CAP_MKNOD"])
        .push(
            "/linux/resources/devices",
            json!({"allow": false, "type": "b", "access": "m"}),
        )
        .sh("mknod /char c 10 253 && echo made; mknod /block b 7 7 || echo refused")
        .run();
    assert_eq!(out.lines(), ["made", "refused"], "{out:?}");
    assert!(out.stderr.contains("not permitted"), "{out:?}");
}

fn made_nodes_follow_the_rules(lab: &Lab) {
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_MKNOD"])
        .set(
            "/linux/resources/devices",
            json!([
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": NOBODY.0, "minor": NOBODY.1, "access": "rw"}
            ]),
        )
        .sh("mknod /good c 10 254; mknod /bad c 10 253; cat /good; cat /bad");
    let out = bundle.run();
    // A node is harmless; opening it is what the rules are about.
    assert!(out.stderr.contains("/good': No such device"), "{out:?}");
    assert!(
        out.stderr.contains("/bad': Operation not permitted"),
        "{out:?}"
    );
}

fn no_rules_but_deny_leaves_the_defaults(lab: &Lab) {
    lab.bundle()
        .sh("head -c 1 /dev/random >/dev/null; : >/dev/null; true </dev/zero")
        .run()
        .ok();
}

fn rules_hold_for_exec(lab: &Lab) {
    let bundle = lab
        .bundle()
        .push(
            "/linux/devices",
            json!({"path": "/dev/nobody", "type": "c", "major": NOBODY.0, "minor": NOBODY.1}),
        )
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
        .exec("cat /dev/nobody")
        .fails_with(&["not permitted"]);
}

fn unknown_device_type(lab: &Lab) {
    lab.bundle()
        .push(
            "/linux/devices",
            json!({"path": "/dev/odd", "type": "q", "major": 1, "minor": 1}),
        )
        .run()
        .fails_with(&["linux.devices[0]"]);
}

fn device_without_numbers(lab: &Lab) {
    // The spec: major and minor are required unless the type is p.
    let out = lab
        .bundle()
        .push("/linux/devices", json!({"path": "/dev/odd", "type": "c"}))
        .run();
    assert!(out.code != 0 || out.stderr.is_empty(), "{out:?}");
}

fn bound_dev_of_the_host(lab: &Lab) {
    let bundle = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(lab.bundle(), crate::support::Bundle::without_mount)
        .bind("/dev".as_ref(), "/dev", &["rbind"]);
    let before = std::fs::read_dir("/dev").unwrap().count();
    bundle.sh("test -c /dev/null").run().ok();
    assert_eq!(std::fs::read_dir("/dev").unwrap().count(), before);
}
