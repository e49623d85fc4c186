//! A mount namespace that is joined is full of somebody else's files, and shows him every mount.

use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, Lab, cases};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

cases! {
    [Root, TestBuild] => hook_of_the_host, init_before_it_is_confined, what_is_copied, what_gets_a_mode;
}

/// A container that runs `script`, and one that joins its mount namespace.
fn host_and_guest<'a>(lab: &'a Lab, script: &str) -> (Bundle<'a>, Bundle<'a>) {
    let host = lab.bundle().set("/root/readonly", json!(false)).sh(script);
    host.run_detached();
    let mounts = format!("/proc/{}/ns/mnt", host.pid());
    let guest = lab.bundle().join_namespace("mount", &mounts);
    (host, guest)
}

fn hook_of_the_host(lab: &Lab) {
    let attack = Attack {
        cve: "hardening",
        name: "a container whose mount namespace is joined has a program where a createContainer hook of the host's is",
        without: "hooks-apart",
    };
    zoo(lab, &attack, |lab| {
        let (host, guest) = host_and_guest(lab, "sleep 1000");
        // The hook as the host has it, and below the rootfs under the same name.
        let hook = lab.join("hook");
        let inside = host.rootfs().join(hook.strip_prefix("/").unwrap());
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        for (file, script) in [
            (&hook, "#!/bin/sh\n"),
            (&inside, "#!/bin/sh\ncat /proc/self/status >/won\n"),
        ] {
            fs::write(file, script).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // None of the procfs either, which is another attack.
        let out = guest
            .without_mount("/proc")
            .push("/hooks/createContainer", json!({"path": hook}))
            .create(&[]);
        let won = fs::read_to_string(host.rootfs().join("won"));
        host.call("delete", &["--force"], &[]).ok();
        Outcome::of(&out, won.is_ok())
    });
}

fn init_before_it_is_confined(lab: &Lab) {
    let attack = Attack {
        cve: "hardening",
        name: "a container whose mount namespace is joined looks at the other's init in the procfs that this mounts",
        without: "proc-apart",
    };
    zoo(lab, &attack, |lab| {
        // Its own process 1 must not be taken for the other's.
        let script = "word=--bun; while :; do read -r line </proc/1/cmdline; case $line in *${word}dle*) echo seen >&3;; esac; done 3>/seen 2>/dev/null";
        let (host, guest) = host_and_guest(lab, script);
        let masked = guest.rootfs().join("masked");
        fs::create_dir(&masked).unwrap();
        // Time to look.
        let paths: Vec<String> = (0..2000).map(|it| format!("/masked/{it}")).collect();
        for path in &paths {
            fs::write(guest.rootfs().join(path.trim_start_matches('/')), "").unwrap();
        }
        let out = guest.set("/linux/maskedPaths", json!(paths)).create(&[]);
        let seen = fs::read_to_string(host.rootfs().join("seen"));
        host.call("delete", &["--force"], &[]).ok();
        Outcome::of(&out, seen.is_ok_and(|it| !it.is_empty()))
    });
}

/// A container with links of its own where a process looks for its descriptors. They lead to its file `/mine`.
fn with_descriptors(lab: &Lab) -> Bundle<'_> {
    let host = lab
        .bundle()
        .without_mount("/proc")
        .remove("/linux/maskedPaths")
        .remove("/linux/readonlyPaths")
        .sh("sleep 1000");
    let descriptors = host.rootfs().join("proc/self/fd");
    fs::create_dir_all(&descriptors).unwrap();
    fs::write(host.rootfs().join("mine"), "mine").unwrap();
    for number in 3..60 {
        symlink("/mine", descriptors.join(number.to_string())).unwrap();
    }
    host.run_detached();
    host
}

fn what_is_copied(lab: &Lab) {
    let attack = Attack {
        cve: "hardening",
        name: "a container whose mount namespace is joined has files of its own where `tmpcopyup` opens those of the image",
        without: "own-descriptors",
    };
    zoo(lab, &attack, |lab| {
        let host = with_descriptors(lab);
        let guest = lab
            .bundle()
            .join_namespace("mount", &format!("/proc/{}/ns/mnt", host.pid()))
            .without_mount("/proc")
            .mount("/copied", "tmpfs", "tmpfs", &["tmpcopyup"])
            .args(&["/bin/cat", "/copied/file"]);
        let image = guest.rootfs().join("copied");
        fs::create_dir(&image).unwrap();
        fs::write(image.join("file"), "image").unwrap();
        let out = guest.run();
        host.call("delete", &["--force"], &[]).ok();
        Outcome::of(&out, out.stdout.contains("mine"))
    });
}

fn what_gets_a_mode(lab: &Lab) {
    let attack = Attack {
        cve: "hardening",
        name: "a container whose mount namespace is joined has files of its own where a node of the other's gets its mode",
        without: "own-descriptors",
    };
    zoo(lab, &attack, |lab| {
        let host = with_descriptors(lab);
        // The owner takes the set-user-id bit away, so the mode is set once more.
        let pipe = json!({"path": "/run/pipe", "type": "p", "fileMode": 0o4640, "uid": 7});
        let out = lab
            .bundle()
            .join_namespace("mount", &format!("/proc/{}/ns/mnt", host.pid()))
            .without_mount("/proc")
            .push("/linux/devices", pipe)
            .args(&["/bin/stat", "-c", "%a", "/run/pipe"])
            .run();
        let mode = fs::metadata(host.rootfs().join("mine")).unwrap().mode();
        host.call("delete", &["--force"], &[]).ok();
        let got_through = mode & 0o7777 == 0o4640;
        assert!(got_through || out.text() == "4640", "{out:?}");
        Outcome::of(&out, got_through)
    });
}
