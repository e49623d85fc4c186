//! Images and configs made to break out: links where folders are expected, and the like.

use crate::support::{Bundle, Lab, cases};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

cases! {
    [Root, Casulo] => proc_is_a_link, sys_is_a_link, dev_is_a_link, dev_null_is_a_link, dev_console_is_a_link,
        dev_is_a_link_without_a_mount, target_is_a_link_to_the_host, target_file_is_a_link_to_the_host, link_in_the_middle,
        dangling_link_as_target, masked_path_is_a_link, tmpfs_over_proc, cwd_through_a_descriptor, rootfs_is_a_link,
        absolute_link_of_a_link, mount_over_the_root, target_with_dots, etc_passwd_is_a_link,
        passwd_is_a_device, dev_pts_is_a_link, dev_null_is_a_regular_file, state_of_a_link_name, fifo_as_passwd;
}

/// The bundle, with `path` in its rootfs replaced by a link to `target`.
fn linked<'lab>(bundle: Bundle<'lab>, path: &str, target: &Path) -> Bundle<'lab> {
    let place = bundle.rootfs().join(path);
    let _ = fs::remove_dir_all(&place);
    let _ = fs::remove_file(&place);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    symlink(target, place).unwrap();
    bundle
}

/// A folder of the host with a file in it, and the check that nobody touched either.
struct Prey {
    folder: std::path::PathBuf,
}

impl Prey {
    fn new(lab: &Lab) -> Prey {
        let folder = lab.folder("prey");
        fs::write(folder.join("file"), "precious").unwrap();
        Prey { folder }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["file"]);
        assert_eq!(
            fs::read_to_string(self.folder.join("file")).unwrap(),
            "precious"
        );
    }
}

/// Runs it: either it fails, or what the script prints proves it harmless.
#[track_caller]
fn fails_or_prints(bundle: &Bundle<'_>, harmless: &str) {
    let out = bundle.run();
    assert!(out.code != 0 || out.text() == harmless, "{out:?}");
}

fn proc_is_a_link(lab: &Lab) {
    let prey = Prey::new(lab);
    for target in [
        prey.folder.as_path(),
        Path::new("/tmp"),
        Path::new("../../prey"),
    ] {
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
        prey.folder.as_path(),
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
    let bundle = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(lab.bundle(), Bundle::without_mount);
    linked(bundle, "dev", &prey.folder).run();
    prey.assert_untouched();
    let bundle = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(lab.bundle(), Bundle::without_mount);
    linked(bundle, "dev", Path::new("../../prey")).run();
    prey.assert_untouched();
}

/// A bundle whose /dev is the image's own, with a link at `name`.
fn image_dev<'lab>(lab: &'lab Lab, name: &str, target: &Path) -> Bundle<'lab> {
    let bundle = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(lab.bundle(), Bundle::without_mount);
    linked(bundle, &format!("dev/{name}"), target)
}

fn dev_null_is_a_link(lab: &Lab) {
    // Masks are binds of /dev/null: through the link they would show, or open, something else.
    let prey = Prey::new(lab);
    let bundle = image_dev(lab, "null", &prey.folder.join("file"))
        .set("/linux/maskedPaths", json!(["/etc/passwd"]))
        .sh("cat /etc/passwd; echo overwritten >/etc/passwd; true");
    fails_or_prints(&bundle, "");
    prey.assert_untouched();
    let bundle = image_dev(lab, "null", Path::new("/proc/sys/kernel/core_pattern"))
        .set("/linux/maskedPaths", json!(["/etc/passwd"]))
        .sh("cat /etc/passwd");
    fails_or_prints(&bundle, "");
}

fn dev_null_is_a_regular_file(lab: &Lab) {
    let bundle = ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(lab.bundle(), Bundle::without_mount)
        .set("/linux/maskedPaths", json!(["/etc/passwd"]))
        .sh("cat /etc/passwd");
    fs::write(bundle.rootfs().join("dev/null"), "bait").unwrap();
    fails_or_prints(&bundle, "");
}

fn dev_console_is_a_link(lab: &Lab) {
    let prey = Prey::new(lab);
    for target in [
        prey.folder.join("new"),
        prey.folder.join("file"),
        "../../../prey/new".into(),
    ] {
        let bundle = image_dev(lab, "console", &target)
            .set("/process/terminal", json!(true))
            .sh("true");
        let (_, mut child) =
            crate::support::Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
        child.wait().unwrap();
        prey.assert_untouched();
        lab.assert_nothing_left(bundle.id());
    }
}

fn dev_pts_is_a_link(lab: &Lab) {
    let bundle = image_dev(lab, "pts", Path::new("/tmp")).sh("true");
    bundle.run();
}

fn target_is_a_link_to_the_host(lab: &Lab) {
    let prey = Prey::new(lab);
    for target in [
        prey.folder.clone(),
        "../../prey".into(),
        "/../../../../prey".into(),
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
        prey.folder.join("new"),
        prey.folder.join("file"),
        "../../prey/new".into(),
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
    linked(bundle, "a/link", &prey.folder).run();
    prey.assert_untouched();
}

fn dangling_link_as_target(lab: &Lab) {
    let prey = Prey::new(lab);
    let bundle = lab.bundle().mount("/mnt", "tmpfs", "tmpfs", &[]);
    linked(bundle, "mnt", &prey.folder.join("not-there")).run();
    prey.assert_untouched();
}

fn absolute_link_of_a_link(lab: &Lab) {
    let prey = Prey::new(lab);
    let bundle = linked(lab.bundle(), "second", &prey.folder);
    let bundle = linked(bundle, "first", Path::new("/second"));
    bundle.mount("/first/new", "tmpfs", "tmpfs", &[]).run();
    prey.assert_untouched();
}

fn target_with_dots(lab: &Lab) {
    let prey = Prey::new(lab);
    let up = format!(
        "/../../{}/new",
        prey.folder.file_name().unwrap().to_string_lossy()
    );
    lab.bundle().mount(&up, "tmpfs", "tmpfs", &[]).run();
    lab.bundle()
        .mount(
            &format!("/bin/../../..{}/new", prey.folder.display()),
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

fn tmpfs_over_proc(lab: &Lab) {
    // Writes of labels and limits must not land in a fake /proc.
    let bundle = lab
        .bundle()
        .without_mount("/proc")
        .mount("/proc", "tmpfs", "tmpfs", &[])
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .set("/process/oomScoreAdj", json!(321))
        .args(&["/bin/sleep", "1000"]);
    let out = bundle.create(&[]);
    if out.code == 0 {
        let value = fs::read_to_string(format!("/proc/{}/oom_score_adj", bundle.pid())).unwrap();
        assert_eq!(value.trim(), "321");
    }
}

fn cwd_through_a_descriptor(lab: &Lab) {
    // CVE-2024-21626: a folder of the host that the runtime still holds open.
    for number in 3..24 {
        let cwd = format!("/proc/self/fd/{number}");
        let bundle = lab
            .bundle()
            .set("/process/cwd", json!(cwd))
            .sh("ls -d ../../../../../../../../work ../../../../home; pwd");
        let out = bundle.run();
        assert!(
            out.code != 0 || !out.stdout.contains("work"),
            "{number}: {out:?}"
        );
    }
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
    bundle.run();
}

fn fifo_as_passwd(lab: &Lab) {
    let bundle = lab.bundle().sh("echo $HOME");
    let place = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&place).unwrap();
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRUSR).unwrap();
    // Opening it for reading would wait for a writer that never comes.
    bundle.run();
}

fn state_of_a_link_name(lab: &Lab) {
    let prey = Prey::new(lab);
    fs::create_dir_all(lab.root()).unwrap();
    symlink(&prey.folder, lab.root().join("trap")).unwrap();
    lab.casulo(&["state", "trap"]).fails_with(&[]);
    lab.casulo(&["delete", "--force", "trap"]);
    prey.assert_untouched();
}
