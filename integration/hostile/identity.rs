//! Who is who: the host's cgroups seen by a container's root, ids and names that are not what they seem.

use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, Lab, cases};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

cases! {
    [Root, TestBuild] => an_id_that_changes_nothing, capabilities_past_the_bounding_set, a_mask_that_root_may_not_reach, hosts_cgroups_without_a_cgroup_namespace, mounts_below_the_hosts_sys,
        mounts_below_a_bind_of_the_hosts_sys;
    [Root, Casulo] => ids_that_are_paths, ids_at_their_limits, a_bundle_that_is_a_trap;
}

/// A container whose root is the host's by number, in a user namespace: what is only kept from it by
/// owner it may do.
fn root_by_number(lab: &Lab) -> Bundle<'_> {
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    lab.bundle()
        .with_namespace("user")
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .without_mount("/sys/fs/cgroup")
}

/// Makes a cgroup beside its own in what it sees of the host's, and takes it away again. Other tests do so at
/// the same time.
fn make_cgroup(lab: &Lab) -> String {
    let name = format!("casulo-escaped-{}", lab.new_id());
    format!("cd /sys/fs/cgroup/casulo-test && mkdir {name} && echo made && rmdir {name}; true")
}

/// What an engine makes of an image's `USER 4294967295`.
fn an_id_that_changes_nothing(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-40635",
        name: "the image's user is 4294967295, -1 to the kernel: its program stays root",
        without: "planned-ids,assumed-ids",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab
            .bundle()
            .set("/process/user", json!({"uid": u32::MAX, "gid": u32::MAX}))
            .sh("id -u");
        let out = bundle.run();
        Outcome::of(&out, out.text() == "0")
    });
}

/// A config whose bounding set says what the container may have at most, and whose other sets say more.
fn capabilities_past_the_bounding_set(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "capabilities reach the program past the bounding set, by the ambient one",
        without: "within-bounding",
    };
    zoo(lab, &attack, |lab| {
        let more = ["CAP_CHOWN"];
        let bundle = lab
            .bundle()
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .set(
                "/process/capabilities",
                json!({"bounding": [], "permitted": more, "effective": more,
                    "inheritable": more, "ambient": more}),
            )
            .args(&["/bin/cat", "/proc/self/status"]);
        let out = bundle.run();
        let got = out.code == 0 && out.field("CapEff") == "0000000000000001";
        Outcome::of(&out, got)
    });
}

/// A directory of the image that belongs to nobody of the user namespace, and that a group of it may enter.
fn a_mask_that_root_may_not_reach(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a masked path below a directory that a group may enter, and root may not",
        without: "mask-or-refuse",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab
            .bundle()
            .in_user_namespace()
            .push("/linux/maskedPaths", json!("/closed/file"))
            .set("/process/user", json!({"uid": 5, "gid": 5}))
            .sh("cat /closed/file");
        bundle.write();
        let directory = bundle.rootfs().join("closed");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("file"), "content").unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o710)).unwrap();
        chown(&directory, Some(54_321), Some(100_005)).unwrap();
        let out = bundle.run();
        Outcome::of(&out, out.text() == "content")
    });
}

fn hosts_cgroups_without_a_cgroup_namespace(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2023-25809",
        name: "without a cgroup namespace the host's cgroups are writable",
        without: "cgroup-read-only",
    };
    zoo(lab, &attack, |lab| {
        let bundle = root_by_number(lab)
            .without_namespace("cgroup")
            .mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "rw"],
            )
            .sh(&make_cgroup(lab));
        let out = bundle.run();
        Outcome::of(&out, out.stdout.contains("made"))
    });
}

fn mounts_below_the_hosts_sys(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "the host's read-only `/sys` brings mounts below it that are not",
        without: "sys-read-only",
    };
    zoo(lab, &attack, |lab| {
        let out = root_by_number(lab)
            .without_namespace("network")
            .sh(&make_cgroup(lab))
            .run();
        Outcome::of(&out, out.stdout.contains("made"))
    });
}

fn mounts_below_a_bind_of_the_hosts_sys(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a read-only bind of the host's `/sys` brings mounts below it that are not",
        without: "sys-read-only",
    };
    zoo(lab, &attack, |lab| {
        let out = lab
            .bundle()
            .without_mount("/sys/fs/cgroup")
            .without_mount("/sys")
            .mount("/sys", "bind", "/sys", &["rbind", "nosuid", "nodev", "ro"])
            .sh(&make_cgroup(lab))
            .run();
        Outcome::of(&out, out.stdout.contains("made"))
    });
}

fn ids_that_are_paths(lab: &Lab) {
    lab.bundle().run().ok();
    fs::create_dir_all(lab.root()).unwrap();
    fs::create_dir(lab.join("outside")).unwrap();
    symlink("/", lab.root().join("link")).unwrap();
    for id in [
        "..",
        ".",
        "",
        "../outside",
        "a/b",
        "/",
        "/etc",
        "a\nb",
        "a b",
        "a\u{7f}",
        "ä",
        "a%2f",
        "$(id)",
        "link/etc",
    ] {
        let bundle = lab.bundle();
        bundle.write();
        for verb in [&["create", "--bundle"][..], &["run", "--bundle"]] {
            let mut command = lab.command();
            command.args(verb).arg(bundle.path()).arg("--").arg(id);
            let out = crate::support::finish(command, b"");
            assert!((1..=2).contains(&out.code), "{id:?}: {out:?}");
        }
        for verb in [
            &["state"][..],
            &["start"],
            &["kill"],
            &["delete"],
            &["delete", "--force"],
        ] {
            let out = lab.casulo(&[verb, &["--", id]].concat());
            let is_gone_anyway = verb.len() == 2 && out.code == 0;
            assert!(
                is_gone_anyway || (1..=2).contains(&out.code),
                "{verb:?} {id:?}: {out:?}"
            );
        }
    }
    assert!(lab.join("outside").exists());
    assert!(fs::symlink_metadata(lab.root().join("link")).is_ok());
}

fn ids_at_their_limits(lab: &Lab) {
    for length in [255, 1024, 4096, 70_000] {
        let bundle = lab.bundle();
        let long = "i".repeat(length);
        bundle.write();
        let mut command = lab.command();
        command
            .args(["run", "--bundle"])
            .arg(bundle.path())
            .arg(&long);
        let out = crate::support::finish(command, b"");
        assert!(out.code == 0 || out.code == 1, "{length}: {}", out.code);
        assert!(
            out.stderr.lines().count() <= 1,
            "{length}: {} lines",
            out.stderr.lines().count()
        );
        assert!(!lab.root().join(&long).exists());
    }
}

fn a_bundle_that_is_a_trap(lab: &Lab) {
    // A config that never ends, that is nothing, a directory, or a link to nothing.
    let replace = |make: &dyn Fn(&std::path::Path)| {
        let bundle = lab.bundle();
        bundle.write();
        let config = bundle.path().join("config.json");
        fs::remove_file(&config).unwrap();
        make(&config);
        let mut command = lab.command();
        command
            .args(["run", "--bundle"])
            .arg(bundle.path())
            .arg(bundle.id());
        let out = crate::support::finish(command, b"");
        assert_eq!(out.code, 1, "{out:?}");
        assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
        lab.assert_nothing_left(bundle.id());
    };
    replace(&|path| symlink("/dev/zero", path).unwrap());
    replace(&|path| symlink("/nowhere", path).unwrap());
    replace(&|path| fs::create_dir(path).unwrap());
    replace(&|path| fs::write(path, "").unwrap());
    replace(&|path| symlink("/dev/null", path).unwrap());
}
