//! A /proc and a /sys that are not what the runtime takes them for.

use super::{Attack, Outcome, Prey, zoo};
use crate::support::{Bundle, Lab, cases, finish};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

cases! {
    [Root, TestBuild] => volume_over_proc, sysctl_into_a_fake_proc, late_read_only_root;
    [Root, TestBuild, AppArmor] => label_into_a_fake_proc;
    [Root, Casulo] => tmpfs_over_proc;
    [Root, TestBuild, Program("/usr/bin/unshare")] => propagation_of_the_hosts_root;
}

fn without_proc(lab: &Lab) -> Bundle<'_> {
    lab.bundle()
        .without_mount("/proc")
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
}

fn volume_over_proc(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2019-16884",
        name: "a volume of the image lies on `/proc`",
        without: "proc-targets",
    };
    zoo(lab, &attack, |lab| {
        let bundle = without_proc(lab)
            .mount("/proc", "tmpfs", "tmpfs", &[])
            .sh("ls /proc | wc -l");
        let out = bundle.run();
        Outcome::of(&out, out.text() == "0")
    });
}

fn tmpfs_over_proc(lab: &Lab) {
    // Writes of labels and limits must not land in a fake /proc: there is none, by whatever name.
    for proc in ["/proc", "/proc/", "//proc", "/tmp/../proc", "proc"] {
        let bundle = without_proc(lab)
            .mount(proc, "tmpfs", "tmpfs", &[])
            .set("/process/oomScoreAdj", json!(321));
        bundle
            .create(&[])
            .fails_with(&["only a procfs can be mounted on /proc"]);
        lab.assert_nothing_left(bundle.id());
    }
}

fn sysctl_into_a_fake_proc(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2025-52881, CVE-2025-62596",
        name: "a write to `/proc/sys` lands in a file of the attacker's",
        without: "proc-targets,private-proc",
    };
    zoo(lab, &attack, |lab| {
        let fake = Prey::new(lab).directory;
        fs::create_dir_all(fake.join("sys/net/core")).unwrap();
        let file = fake.join("sys/net/core/somaxconn");
        fs::write(&file, "untouched").unwrap();
        let bundle = without_proc(lab)
            .bind(&fake, "/proc", &[])
            .set("/linux/sysctl", json!({"net.core.somaxconn": "1234"}));
        let out = bundle.run();
        Outcome::of(&out, fs::read_to_string(&file).unwrap() != "untouched")
    });
}

fn label_into_a_fake_proc(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2025-52881, CVE-2019-16884",
        name: "the container covers its `/proc`: the label of `exec` goes nowhere, the process is unconfined",
        without: "private-proc",
    };
    let profile = lab.join("profile");
    let name = "casulo-hostile";
    fs::write(&profile, format!("profile {name} flags=(attach_disconnected) {{ file, capability, mount, umount, signal, ptrace, }}\n")).unwrap();
    let parser = |option: &str| {
        let mut command = Command::new("/sbin/apparmor_parser");
        command.args([option, "-K"]).arg(&profile);
        finish(command, b"").ok();
    };
    parser("-r");
    zoo(lab, &attack, |lab| {
        let cover = "mkdir -p /fake/self/attr/apparmor && ln -s self /fake/thread-self && touch /fake/self/attr/exec /fake/self/attr/apparmor/exec \
                     && mount -o bind /fake /proc && touch /ready; exec sleep 1000";
        let bundle = lab.bundle().capabilities(&["CAP_SYS_ADMIN"]).sh(cover);
        bundle.run_detached();
        crate::support::wait_until("it has covered /proc", || {
            bundle.rootfs().join("ready").exists()
        });
        let process = json!({
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/",
            "apparmorProfile": name
        });
        let (file, pid_file) = (lab.join("process.json"), lab.join("exec.pid"));
        let _ = fs::remove_file(&pid_file);
        fs::write(&file, process.to_string()).unwrap();
        let (file, pid) = (file.to_string_lossy(), pid_file.to_string_lossy());
        let out = bundle.call(
            "exec",
            &["--detach", "--pid-file", &pid, "--process", &file],
            &[],
        );
        if out.code != 0 {
            return Outcome::Refused(out.stderr);
        }
        let pid = fs::read_to_string(&pid_file).unwrap();
        let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap();
        Outcome::of(&out, !label.starts_with(name))
    });
    parser("-R");
}

fn late_read_only_root(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2026-115521",
        name: "`/proc/self/fd` of the image leads elsewhere: the root stays writable",
        without: "read-only-by-fd",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        let bundle = without_proc(lab)
            .bind(&prey.directory, "/volume", &[])
            .set("/root/readonly", json!(true))
            .sh("touch /written && echo written; true");
        let fds = bundle.rootfs().join("proc/self/fd");
        fs::create_dir_all(&fds).unwrap();
        for number in 3..64 {
            symlink("/volume", fds.join(number.to_string())).unwrap();
        }
        let out = bundle.run();
        Outcome::of(&out, out.stdout.contains("written"))
    });
}

fn propagation_of_the_hosts_root(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a container without a mount namespace changes the propagation of the host's `/`",
        without: "",
    };
    zoo(lab, &attack, |lab| {
        let bundle = [
            "/proc",
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
            "/dev",
            "/sys/fs/cgroup",
            "/sys",
        ]
        .into_iter()
        .fold(lab.bundle(), Bundle::without_mount)
        .without_namespace("mount")
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
        // A mount namespace that the test can spoil, with a root that is shared as systemd has it.
        let script = "exec unshare --mount --propagation unchanged sh -c \
            'mount --make-rshared /; \"$@\"; code=$?; cat /proc/self/mountinfo; exit $code' sh \"$@\"";
        let out = lab.through_shell(script, &bundle.command(&[], "run", &[]));
        let mounts = crate::support::mounts(&out.stdout);
        let root = mounts.iter().find(|mount| mount.target == "/").unwrap();
        let is_shared = root.propagation.iter().any(|it| it.starts_with("shared:"));
        Outcome::of(&out, !is_shared)
    });
}
