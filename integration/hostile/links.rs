//! Images with links where directories, devices and mount points are expected.

use super::{Attack, Outcome, Prey, image_dev, linked, with_own_dev, zoo};
use crate::support::{Bundle, Lab, Terminal, cases, wait_until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases! {
    [Root, TestBuild] => procfs_through_a_link, sysfs_through_a_link, devices_through_a_link, target_behind_a_link,
        proc_behind_a_link, mask_of_a_replaced_null, console_through_a_link, console_of_a_replaced_pty,
        mount_point_in_a_read_only_source, terminal_of_exec_in_a_covered_dev;
    [Root, Casulo] => proc_is_a_link, sys_is_a_link, dev_is_a_link, dev_console_is_a_link,
        dev_is_a_link_without_a_mount, target_is_a_link_to_the_host, target_file_is_a_link_to_the_host, link_in_the_middle,
        dangling_link_as_target, masked_path_is_a_link, rootfs_is_a_link,
        absolute_link_of_a_link, mount_over_the_root, target_with_dots, etc_passwd_is_a_link,
        passwd_is_a_device, dev_pts_is_a_link, dev_null_is_a_regular_file, state_of_a_link_name, fifo_as_passwd;
}

/// The image's `place` is a link to a directory of its own: is `kind` mounted there?
fn mounted_through(lab: &Lab, place: &str, kind: &str) -> Outcome {
    let bundle =
        linked(lab.bundle(), place, Path::new("/elsewhere")).sh("cat /proc/self/mountinfo");
    fs::create_dir(bundle.rootfs().join("elsewhere")).unwrap();
    let out = bundle.run();
    let mounts = crate::support::mounts(&out.stdout);
    let elsewhere =
        |mount: &crate::support::Mount| mount.target == "/elsewhere" && mount.kind == kind;
    Outcome::of(&out, mounts.iter().any(elsewhere))
}

fn procfs_through_a_link(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867",
        name: "`/proc` of the image is a link",
        without: "no-symlinks",
    };
    zoo(lab, &attack, |lab| mounted_through(lab, "proc", "proc"));
}

fn sysfs_through_a_link(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2019-19921, CVE-2025-54867",
        name: "`/sys` of the image is a link",
        without: "no-symlinks",
    };
    zoo(lab, &attack, |lab| mounted_through(lab, "sys", "sysfs"));
}

fn devices_through_a_link(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2026-41579, CVE-2026-47766",
        name: "`/dev` of the image is a link into a volume: devices made on the host",
        without: "dev-no-follow",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        let bundle = linked(
            with_own_dev(lab).bind(&prey.directory, "/volume", &[]),
            "dev",
            Path::new("/volume"),
        );
        Outcome::of(&bundle.run(), !prey.is_untouched())
    });
}

fn target_behind_a_link(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2019-18837, CVE-2024-45310",
        name: "a link leads to the mount's target: files and directories made on the host",
        without: "in-root",
    };
    zoo(lab, &attack, |lab| {
        let (prey, source) = (Prey::new(lab), lab.join("source"));
        fs::write(&source, "bound").unwrap();
        let file = lab.bundle().bind(&source, "/a/link/new", &[]);
        let out = linked(file, "a/link", &prey.directory).run();
        let directory = lab
            .bundle()
            .mount("/a/link/new/deep", "tmpfs", "tmpfs", &[]);
        let more = linked(directory, "a/link", &prey.directory).run();
        Outcome::of(
            if out.code == 0 { &more } else { &out },
            !prey.is_untouched(),
        )
    });
}

fn proc_behind_a_link(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2019-16884",
        name: "a link leads the mount onto a directory of /proc",
        without: "no-symlinks",
    };
    zoo(lab, &attack, |lab| {
        let bundle = lab
            .bundle()
            .mount("/volume", "tmpfs", "tmpfs", &[])
            .sh("ls /proc/sys | wc -l");
        let out = linked(bundle, "volume", Path::new("/proc/sys")).run();
        Outcome::of(&out, out.text() == "0")
    });
}

fn mask_of_a_replaced_null(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2025-31133, CVE-2025-62161",
        name: "`/dev/null` is a link: the mask shows what it leads to, writable",
        without: "null-device",
    };
    zoo(lab, &attack, |lab| {
        // A volume on /dev, in which nothing is made: what is there is what masks are made of.
        let dev = Prey::new(lab).directory;
        symlink("/bait", dev.join("null")).unwrap();
        let bundle = with_own_dev(lab)
            .bind(&dev, "/dev", &[])
            .set("/linux/maskedPaths", json!(["/etc/passwd"]))
            .sh("cat /etc/passwd");
        fs::write(bundle.rootfs().join("bait"), "taken").unwrap();
        let out = bundle.run();
        Outcome::of(&out, out.text() == "taken")
    });
}

/// Runs it on a terminal; then, what is in `file` of its rootfs.
fn run_on_a_terminal(bundle: &Bundle<'_>, file: &str) -> (i32, Option<String>) {
    let (_terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    let status = child.wait().unwrap();
    (
        status.code().unwrap_or(-1),
        fs::read_to_string(bundle.rootfs().join(file)).ok(),
    )
}

fn terminal_outcome(code: i32, evidence: Option<String>) -> Outcome {
    match (evidence, code) {
        (Some(evidence), _) => Outcome::GotThrough(evidence),
        (None, 0) => Outcome::Held,
        (None, _) => Outcome::Refused(String::new()),
    }
}

/// A bundle with a terminal, where /dev/console of the image is a link.
fn image_console<'lab>(lab: &'lab Lab, target: &Path) -> Bundle<'lab> {
    let bundle = ["/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(lab.bundle(), Bundle::without_mount);
    linked(bundle, "dev/console", target).set("/process/terminal", json!(true))
}

fn console_through_a_link(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2026-88264",
        name: "`/dev/console` is a link: a file is made where it leads",
        without: "console-no-follow",
    };
    zoo(lab, &attack, |lab| {
        let bundle = image_console(lab, Path::new("made"));
        let (code, made) = run_on_a_terminal(&bundle, "dev/made");
        terminal_outcome(code, made)
    });
}

fn console_of_a_replaced_pty(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2025-52565",
        name: "`/dev/pts/0` is a link: /dev/console shows what it leads to",
        without: "console-by-fd",
    };
    zoo(lab, &attack, |lab| {
        let devpts = ["newinstance", "ptmxmode=0666", "mode=0620"];
        let bundle = image_dev(lab, "pts/ptmx", Path::new("/real/ptmx"))
            .mount("/real", "devpts", "devpts", &devpts);
        let bundle = linked(bundle, "dev/pts/0", Path::new("/bait"))
            .set("/process/terminal", json!(true))
            .sh("[ -c /dev/console ] || cp /dev/console /shown");
        fs::write(bundle.rootfs().join("bait"), "taken").unwrap();
        let (code, shown) = run_on_a_terminal(&bundle, "shown");
        terminal_outcome(code, shown.filter(|it| it == "taken"))
    });
}

fn terminal_of_exec_in_a_covered_dev(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2025-52565",
        name: "the container covers `/dev/pts`: the terminal of `exec --tty` is a file of the attacker's",
        without: "",
    };
    zoo(lab, &attack, |lab| {
        let cover = "echo -n taken >/bait; mount -t tmpfs none /dev/pts; ln -s /bait /dev/pts/ptmx; \
                     ln -s /bait /dev/pts/0; touch /ready; exec sleep 1000";
        let bundle = lab.bundle().capabilities(&["CAP_SYS_ADMIN"]).sh(cover);
        bundle.run_detached();
        let file = |name: &str| bundle.rootfs().join(name);
        wait_until("it has covered /dev/pts", || file("ready").exists());
        let mut exec = lab.command();
        exec.args([
            "exec",
            "--tty",
            bundle.id(),
            "/bin/sh",
            "-c",
            "echo secret; stat -Lc %F /dev/fd/1 >/said",
        ]);
        let (_terminal, mut child) = Terminal::spawn(exec, 24, 80);
        let code = child.wait().unwrap().code().unwrap_or(-1);
        let bait = fs::read_to_string(file("bait")).unwrap();
        let said = fs::read_to_string(file("said")).unwrap_or_default();
        let won = bait != "taken" || said.starts_with("regular");
        terminal_outcome(code, won.then(|| format!("{bait:?} {said:?}")))
    });
}

fn mount_point_in_a_read_only_source(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "a mount's target lies in a read-only bind: a mount point made in its source",
        without: "",
    };
    zoo(lab, &attack, |lab| {
        let prey = Prey::new(lab);
        let bundle = lab.bundle().bind(&prey.directory, "/data", &["ro"]).mount(
            "/data/new",
            "tmpfs",
            "tmpfs",
            &[],
        );
        let out = bundle.run();
        Outcome::of(&out, !prey.is_untouched())
    });
}

/// Runs it: either it fails, or what the script prints proves it harmless.
#[track_caller]
fn fails_or_prints(bundle: &Bundle<'_>, harmless: &str) {
    let out = bundle.run();
    assert!(out.code != 0 || out.text() == harmless, "{out:?}");
}

fn proc_is_a_link(lab: &Lab) {
    let prey = Prey::new(lab);
    for target in [prey.directory.as_path(), Path::new("/tmp"), &prey.upwards()] {
        linked(lab.bundle(), "proc", target)
            .run()
            .fails_with(&["/proc"]);
    }
    prey.assert_untouched();
}

fn sys_is_a_link(lab: &Lab) {
    linked(lab.bundle(), "sys", Path::new("/tmp"))
        .run()
        .fails_with(&["/sys"]);
}

fn dev_is_a_link(lab: &Lab) {
    let prey = Prey::new(lab);
    for target in [
        prey.directory.as_path(),
        Path::new("../../../../../../dev"),
        Path::new("/tmp"),
    ] {
        linked(lab.bundle(), "dev", target).run();
        prey.assert_untouched();
    }
}

fn dev_is_a_link_without_a_mount(lab: &Lab) {
    // The nodes would be made where the link leads.
    let prey = Prey::new(lab);
    linked(with_own_dev(lab), "dev", &prey.directory).run();
    prey.assert_untouched();
    linked(with_own_dev(lab), "dev", &prey.upwards()).run();
    prey.assert_untouched();
}

fn dev_null_is_a_regular_file(lab: &Lab) {
    let bundle = with_own_dev(lab)
        .set("/linux/maskedPaths", json!(["/etc/passwd"]))
        .sh("cat /etc/passwd");
    fs::write(bundle.rootfs().join("dev/null"), "bait").unwrap();
    fails_or_prints(&bundle, "");
}

fn dev_console_is_a_link(lab: &Lab) {
    let prey = Prey::new(lab);
    for target in [
        prey.directory.join("new"),
        prey.directory.join("file"),
        Path::new("..").join(prey.upwards()).join("new"),
    ] {
        let bundle = image_console(lab, &target);
        let (_, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
        child.wait().unwrap();
        prey.assert_untouched();
        lab.assert_nothing_left(bundle.id());
    }
}

fn dev_pts_is_a_link(lab: &Lab) {
    let bundle = image_dev(lab, "pts", Path::new("/tmp")).sh("cat /proc/self/mountinfo");
    let out = bundle.run().ok();
    let table = crate::support::mounts(&out.stdout);
    // Nothing is mounted where the link leads.
    assert!(table.iter().all(|mount| mount.target != "/tmp"), "{out:?}");
}

fn target_is_a_link_to_the_host(lab: &Lab) {
    let prey = Prey::new(lab);
    for target in [
        prey.directory.clone(),
        prey.upwards(),
        Path::new("/..").join(prey.upwards()),
    ] {
        let bundle = linked(
            lab.bundle().mount("/mnt", "tmpfs", "tmpfs", &[]),
            "mnt",
            &target,
        )
        .sh("touch /mnt/new");
        bundle.run();
        prey.assert_untouched();
    }
}

fn target_file_is_a_link_to_the_host(lab: &Lab) {
    let prey = Prey::new(lab);
    let source = lab.join("source");
    fs::write(&source, "bound").unwrap();
    for target in [
        prey.directory.join("new"),
        prey.directory.join("file"),
        prey.upwards().join("new"),
    ] {
        let bundle = linked(
            lab.bundle().bind(&source, "/etc/resolv.conf", &[]),
            "etc/resolv.conf",
            &target,
        );
        bundle.sh("cat /etc/resolv.conf").run();
        prey.assert_untouched();
    }
}

fn link_in_the_middle(lab: &Lab) {
    let prey = Prey::new(lab);
    let bundle = lab.bundle().mount("/a/link/b/c", "tmpfs", "tmpfs", &[]);
    linked(bundle, "a/link", &prey.directory).run();
    prey.assert_untouched();
}

fn dangling_link_as_target(lab: &Lab) {
    let prey = Prey::new(lab);
    let bundle = lab.bundle().mount("/mnt", "tmpfs", "tmpfs", &[]);
    linked(bundle, "mnt", &prey.directory.join("not-there")).run();
    prey.assert_untouched();
}

fn absolute_link_of_a_link(lab: &Lab) {
    let prey = Prey::new(lab);
    let bundle = linked(lab.bundle(), "second", &prey.directory);
    let bundle = linked(bundle, "first", Path::new("/second"));
    bundle.mount("/first/new", "tmpfs", "tmpfs", &[]).run();
    prey.assert_untouched();
}

fn target_with_dots(lab: &Lab) {
    let prey = Prey::new(lab);
    let up = format!(
        "/../../{}/new",
        prey.directory.file_name().unwrap().to_string_lossy()
    );
    lab.bundle().mount(&up, "tmpfs", "tmpfs", &[]).run();
    lab.bundle()
        .mount(
            &format!("/bin/../../..{}/new", prey.directory.display()),
            "tmpfs",
            "tmpfs",
            &[],
        )
        .run();
    prey.assert_untouched();
}

fn masked_path_is_a_link(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/linux/maskedPaths", json!(["/secret"]))
        .sh("cat /etc/passwd | wc -c; wc -c </secret");
    let bundle = linked(bundle, "secret", Path::new("/etc/passwd"));
    let out = bundle.run();
    // The link's target is what shall not be read by this name; the host is out of reach anyway.
    assert!(out.code != 0 || out.lines()[1] == "0", "{out:?}");
}

fn rootfs_is_a_link(lab: &Lab) {
    let bundle = lab.bundle();
    let real = lab.join("elsewhere");
    fs::rename(bundle.rootfs(), &real).unwrap();
    symlink(&real, bundle.rootfs()).unwrap();
    // The bundle's owner may do so, or it is refused; the container sees its root either way.
    let out = bundle.args(&["/bin/ls", "/etc/passwd"]).run();
    assert!(out.code != 0 || out.text() == "/etc/passwd", "{out:?}");
}

fn mount_over_the_root(lab: &Lab) {
    // The root that was prepared would be hidden by an empty one.
    let out = lab.bundle().mount("/", "tmpfs", "tmpfs", &[]).run();
    assert_ne!(out.code, 0, "{out:?}");
}

fn etc_passwd_is_a_link(lab: &Lab) {
    // HOME comes from the container's passwd, never from the host's behind a link.
    let fake = lab.join("fake-passwd");
    fs::write(&fake, "root:x:0:0::/stolen:/bin/sh\n").unwrap();
    let bundle = linked(lab.bundle().sh("echo $HOME"), "etc/passwd", &fake);
    let out = bundle.run();
    assert!(!out.stdout.contains("stolen"), "{out:?}");
}

fn passwd_is_a_device(lab: &Lab) {
    let bundle = linked(
        lab.bundle().sh("echo $HOME"),
        "etc/passwd",
        Path::new("/dev/zero"),
    );
    // Reading it to its end would never end.
    assert_eq!(bundle.run().ok().text(), "/");
}

fn fifo_as_passwd(lab: &Lab) {
    let bundle = lab.bundle().sh("echo $HOME");
    let place = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&place).unwrap();
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRUSR).unwrap();
    // Opening it for reading would wait for a writer that never comes.
    assert_eq!(bundle.run().ok().text(), "/");
}

fn state_of_a_link_name(lab: &Lab) {
    let prey = Prey::new(lab);
    fs::create_dir_all(lab.root()).unwrap();
    symlink(&prey.directory, lab.root().join("trap")).unwrap();
    lab.casulo(&["state", "trap"]).fails_with(&["trap"]);
    lab.casulo(&["delete", "--force", "trap"]);
    prey.assert_untouched();
}
