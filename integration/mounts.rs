//! Mounts: binds, file systems, propagation, masks, the read-only root, sysctls.

use crate::support::{Bundle, HostMount, Lab, Mount, OwnNamespace, cases, mounts};
use nix::mount::MsFlags;
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

cases! {
    [Root] => directory_is_bound, file_is_bound, relative_source_is_the_bundles, read_only_bind, bind_without_recursion,
        recursive_bind, recursive_read_only_bind, missing_source_is_an_error, target_is_made, target_file_is_made,
        mounts_nest_in_their_order, tmpfs_with_options, tmpcopyup_keeps_the_content, bad_file_system_option,
        unknown_file_system, overlay_mount, mqueue_and_shm, devpts_is_a_new_instance, sysfs_is_read_only,
        cgroup_mount_is_the_containers, cgroup_mount_may_be_writable, proc_of_the_new_pid_namespace, read_only_root,
        writable_root, masked_file_and_directory, masked_path_that_is_missing, read_only_paths, root_propagation,
        mount_propagation, private_mounts_do_not_reach_the_host, mounts_do_not_reach_a_host_whose_mounts_are_shared,
        no_mount_of_the_host_is_left, no_pivot,
        no_pivot_hides_the_host, absolute_root_path, missing_rootfs, sysctls_are_set, sysctl_with_slashes,
        sysctls_of_a_user_and_a_pid_namespace, network_sysctl_without_namespace, ipc_sysctl_without_namespace, sysctl_that_has_no_namespace, relative_destination,
        target_through_a_link_stays_inside, bind_below_another_bind, source_that_is_a_link, hundred_mounts,
        read_only_mount_below_a_read_only_root, bind_of_a_device, new_mounts_are_not_in_the_source_of_a_read_only_bind,
        files_of_lxcfs_are_covered, sources_in_the_root_show_what_is_mounted_there, source_is_made_as_a_target,
        mountinfo_has_the_order_of_the_config;
    [Root, Casulo] => remount_of_a_bind_keeps_the_hosts_flags, mask_of_a_directory_has_nothing_to_use, unknown_root_propagation;
    [Root, Selinux] => selinux_mount_label_is_applied;
}

/// The container's own view of its mounts.
fn table(bundle: Bundle<'_>) -> Vec<Mount> {
    mounts(
        &bundle
            .args(&["/bin/cat", "/proc/self/mountinfo"])
            .run()
            .ok()
            .stdout,
    )
}

/// The topmost mount at a path.
fn at<'table>(table: &'table [Mount], target: &str) -> &'table Mount {
    table
        .iter()
        .rev()
        .find(|mount| mount.target == target)
        .unwrap_or_else(|| panic!("no mount at {target}"))
}

fn directory_is_bound(lab: &Lab) {
    let source = lab.directory("source");
    fs::write(source.join("file"), "from the host").unwrap();
    let bundle = lab.bundle().bind(&source, "/mnt/here", &["rw"]);
    let out = bundle
        .sh("cat /mnt/here/file; echo back >/mnt/here/answer")
        .run()
        .ok();
    assert_eq!(out.text(), "from the host");
    assert_eq!(fs::read_to_string(source.join("answer")).unwrap(), "back\n");
}

fn file_is_bound(lab: &Lab) {
    let source = lab.join("file");
    fs::write(&source, "one file").unwrap();
    let out = lab
        .bundle()
        .bind(&source, "/etc/passwd", &["ro"])
        .sh("cat /etc/passwd; echo >/etc/passwd")
        .run();
    assert_eq!(out.text(), "one file");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

fn relative_source_is_the_bundles(lab: &Lab) {
    let bundle = lab
        .bundle()
        .mount("/mnt", "bind", "data", &["bind"])
        .args(&["/bin/ls", "/mnt"]);
    fs::create_dir(bundle.path().join("data")).unwrap();
    fs::write(bundle.path().join("data/one"), "").unwrap();
    assert_eq!(bundle.run().ok().text(), "one");
}

fn read_only_bind(lab: &Lab) {
    let source = lab.directory("source");
    lab.bundle()
        .bind(&source, "/mnt", &["ro"])
        .sh("touch /mnt/f")
        .run()
        .fails_with(&["Read-only file system"]);
}

/// A directory of the host with a tmpfs mounted at `sub`, and a file in that.
fn tree(lab: &Lab) -> (PathBuf, HostMount) {
    let source = lab.directory("tree");
    let sub = lab.directory("tree/sub");
    let mount = HostMount::tmpfs(&sub, MsFlags::empty());
    fs::write(sub.join("below"), "").unwrap();
    (source, mount)
}

fn bind_without_recursion(lab: &Lab) {
    let (source, _mounted) = tree(lab);
    assert_eq!(
        lab.bundle()
            .bind(&source, "/mnt", &[])
            .args(&["/bin/ls", "/mnt/sub"])
            .run()
            .ok()
            .text(),
        ""
    );
}

fn recursive_bind(lab: &Lab) {
    let (source, _mounted) = tree(lab);
    let bundle = lab
        .bundle()
        .mount("/mnt", "bind", &source.to_string_lossy(), &["rbind", "ro"]);
    let out = bundle
        .sh("ls /mnt/sub; touch /mnt/sub/new && echo writable; touch /mnt/new")
        .run();
    assert_eq!(out.lines(), ["below", "writable"]);
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

fn recursive_read_only_bind(lab: &Lab) {
    let (source, _mounted) = tree(lab);
    let bundle = lab
        .bundle()
        .mount("/mnt", "bind", &source.to_string_lossy(), &["rbind", "rro"]);
    bundle
        .sh("ls /mnt/sub; touch /mnt/sub/new")
        .run()
        .fails_with(&["/mnt/sub/new", "Read-only file system"]);
}

fn missing_source_is_an_error(lab: &Lab) {
    let out = lab.bundle().bind(&lab.join("nothing"), "/mnt", &[]).run();
    out.fails_with(&["nothing", "o such file or directory"]);
}

fn target_is_made(lab: &Lab) {
    let bundle = lab
        .bundle()
        .mount("/a/b/c", "tmpfs", "tmpfs", &[])
        .sh("touch /a/b/c/f; stat -c %a /a /a/b");
    assert_eq!(bundle.run().ok().lines(), ["755", "755"]);
}

fn target_file_is_made(lab: &Lab) {
    let source = lab.join("file");
    fs::write(&source, "content").unwrap();
    let bundle = lab
        .bundle()
        .bind(&source, "/a/b/file", &[])
        .args(&["/bin/cat", "/a/b/file"]);
    assert_eq!(bundle.run().ok().text(), "content");
}

fn mounts_nest_in_their_order(lab: &Lab) {
    let source = lab.directory("source");
    let bundle = lab
        .bundle()
        .mount("/a", "tmpfs", "first", &[])
        .bind(&source, "/a/b", &[])
        .mount("/a/b/c", "tmpfs", "third", &[])
        .mount("/z", "tmpfs", "below", &[])
        .bind(&source, "/z/hidden", &[])
        .mount("/z", "tmpfs", "above", &[]);
    let out = bundle
        .sh("cat /proc/self/mountinfo; echo; ls -A /z")
        .run()
        .ok();
    for (target, count) in [("/a", 1), ("/a/b", 1), ("/a/b/c", 1), ("/z", 2)] {
        let found = mounts(&out.stdout)
            .iter()
            .filter(|mount| mount.target == target)
            .count();
        assert_eq!(found, count, "{target}");
    }
    // What came last is on top, and empty.
    assert!(out.stdout.ends_with("\n\n"), "{out:?}");
    // The bound directory got the mount point of the third, as it is writable.
    assert!(source.join("c").is_dir());
}

fn tmpfs_with_options(lab: &Lab) {
    let bundle = lab.bundle().mount(
        "/t",
        "tmpfs",
        "tmpfs",
        &["size=1m", "mode=1770", "nr_inodes=50", "uid=7", "noexec"],
    );
    let out = bundle
        .sh("stat -c '%a %u' /t; cat /proc/self/mountinfo")
        .run()
        .ok();
    assert_eq!(out.lines()[0], "1770 7");
    let table = mounts(&out.stdout);
    let mount = at(&table, "/t");
    assert!(
        mount.has("noexec") && mount.has_data("size=1024k") && mount.has_data("nr_inodes=50"),
        "{mount:?}"
    );
}

fn tmpcopyup_keeps_the_content(lab: &Lab) {
    let bundle = lab
        .bundle()
        .mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"])
        .sh("cat /data/sub/file; stat -c %a /data/sub; readlink /data/link; echo changed >/data/sub/file; grep -c ' /data ' /proc/self/mountinfo");
    let data = bundle.rootfs().join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("sub/file"), "from the image").unwrap();
    symlink("sub/file", data.join("link")).unwrap();
    fs::set_permissions(
        data.join("sub"),
        std::os::unix::fs::PermissionsExt::from_mode(0o750),
    )
    .unwrap();
    let out = bundle.run().ok();
    assert_eq!(out.stdout, "from the image750\nsub/file\n1\n");
    assert_eq!(
        fs::read_to_string(data.join("sub/file")).unwrap(),
        "from the image"
    );
}

fn bad_file_system_option(lab: &Lab) {
    lab.bundle()
        .mount("/t", "tmpfs", "tmpfs", &["colour=blue"])
        .run()
        .fails_with(&["/t", "nvalid argument"]);
}

fn unknown_file_system(lab: &Lab) {
    lab.bundle()
        .mount("/t", "nosuchfs", "none", &[])
        .run()
        .fails_with(&["/t", "o such device"]);
}

fn overlay_mount(lab: &Lab) {
    let (lower, upper, work) = (
        lab.directory("lower"),
        lab.directory("upper"),
        lab.directory("work"),
    );
    fs::write(lower.join("below"), "").unwrap();
    let options = [
        format!("lowerdir={}", lower.display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let out = lab
        .bundle()
        .mount("/o", "overlay", "overlay", &options)
        .sh("ls /o; touch /o/above")
        .run()
        .ok();
    assert_eq!(out.text(), "below");
    assert!(upper.join("above").exists());
}

fn mqueue_and_shm(lab: &Lab) {
    let table = table(lab.bundle());
    assert_eq!(at(&table, "/dev/mqueue").kind, "mqueue");
    let shm = at(&table, "/dev/shm");
    assert!(
        shm.kind == "tmpfs" && shm.has("noexec") && shm.has_data("size=65536k"),
        "{shm:?}"
    );
}

fn devpts_is_a_new_instance(lab: &Lab) {
    let out = lab
        .bundle()
        .sh("ls /dev/pts; readlink /dev/ptmx; stat -c %a /dev/pts/ptmx")
        .run()
        .ok();
    assert_eq!(out.lines(), ["ptmx", "pts/ptmx", "666"]);
}

fn sysfs_is_read_only(lab: &Lab) {
    let out = lab
        .bundle()
        .sh("ls /sys/class/net; echo 1 >/sys/kernel/profiling")
        .run();
    assert!(out.stdout.contains("lo"), "{out:?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

fn cgroup_mount_is_the_containers(lab: &Lab) {
    let bundle = lab.bundle().sh(
        "grep -c ' - cgroup2 ' /proc/self/mountinfo; cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x",
    );
    let out = bundle.run();
    assert_eq!(out.lines()[0], "1");
    assert!(out.lines().contains(&"1"), "{out:?}");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

fn cgroup_mount_may_be_writable(lab: &Lab) {
    let bundle = lab
        .bundle()
        .without_mount("/sys/fs/cgroup")
        .mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "rw"])
        .sh("mkdir /sys/fs/cgroup/inner && echo $$ >/sys/fs/cgroup/inner/cgroup.procs && cat /proc/self/cgroup");
    let out = bundle.run().ok();
    assert!(out.stdout.contains("0::/inner"), "{out:?}");
}

fn proc_of_the_new_pid_namespace(lab: &Lab) {
    let table = table(lab.bundle());
    let proc = at(&table, "/proc");
    assert!(
        proc.kind == "proc" && proc.has("nosuid") && proc.has("noexec") && proc.has("nodev"),
        "{proc:?}"
    );
}

fn read_only_root(lab: &Lab) {
    let bundle = lab.bundle().set("/root/readonly", json!(true));
    let out = bundle
        .sh("touch /f; touch /dev/shm/f && echo shm; grep ' / / ' /proc/self/mountinfo")
        .run();
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
    assert!(out.stdout.contains("shm"), "{out:?}");
}

fn writable_root(lab: &Lab) {
    let bundle = lab.bundle().sh("echo here >/f");
    bundle.run().ok();
    assert_eq!(
        fs::read_to_string(bundle.rootfs().join("f")).unwrap(),
        "here\n"
    );
}

fn masked_file_and_directory(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/linux/maskedPaths", json!(["/etc/passwd", "/home", "/proc/kcore"]))
        .sh("wc -c </etc/passwd; ls -A /home; echo more >/etc/passwd; touch /home/f; wc -c </etc/passwd; ls -A /home");
    let out = bundle.run();
    assert_eq!(out.lines(), ["0", "0"]);
    assert!(
        out.stderr.contains("/home/f: Read-only file system"),
        "{out:?}"
    );
    assert!(
        fs::read_to_string(bundle.rootfs().join("etc/passwd"))
            .unwrap()
            .starts_with("root:")
    );
}

fn mask_of_a_directory_has_nothing_to_use(lab: &Lab) {
    let all = table(lab.bundle().set("/linux/maskedPaths", json!(["/home"])));
    let mask = all.iter().find(|mount| mount.target == "/home").unwrap();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(mask.has(option), "{option}: {mask:?}");
    }
}

fn masked_path_that_is_missing(lab: &Lab) {
    lab.bundle()
        .set(
            "/linux/maskedPaths",
            json!(["/proc/no-such-file", "/not/there"]),
        )
        .run()
        .ok();
}

fn read_only_paths(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set(
            "/linux/readonlyPaths",
            json!(["/proc/sys", "/home", "/not/there"]),
        )
        .sh("echo x >/proc/sys/kernel/hostname; touch /home/f; ls /home");
    let out = bundle.run();
    assert_eq!(out.text(), "tester");
    assert!(
        out.stderr
            .contains("/proc/sys/kernel/hostname: Read-only file system"),
        "{out:?}"
    );
    assert!(
        out.stderr.contains("/home/f: Read-only file system"),
        "{out:?}"
    );
}

fn root_propagation(lab: &Lab) {
    for (word, mark) in [
        ("private", ""),
        ("slave", "master"),
        ("shared", "shared"),
        ("unbindable", "unbindable"),
    ] {
        let table = table(lab.bundle().set("/linux/rootfsPropagation", json!(word)));
        let root = at(&table, "/");
        // A slave whose master is private has nothing to show: "slave" says nothing here.
        match word {
            "private" | "slave" => assert!(
                !root.propagation.iter().any(|p| p.starts_with("shared")),
                "{root:?}"
            ),
            _ => assert!(
                root.propagation.iter().any(|p| p.starts_with(mark)),
                "{root:?}"
            ),
        }
    }
}

fn unknown_root_propagation(lab: &Lab) {
    lab.bundle()
        .set("/linux/rootfsPropagation", json!("public"))
        .run()
        .fails_with(&["public"]);
}

fn mount_propagation(lab: &Lab) {
    let source = lab.directory("source");
    for (word, mark) in [
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
        ("private", ""),
    ] {
        let table = table(lab.bundle().bind(&source, "/mnt", &[word]));
        let marks = at(&table, "/mnt").propagation.join(" ");
        assert!(
            marks.starts_with(mark) && (!mark.is_empty() || marks.is_empty()),
            "{word}: {marks}"
        );
    }
}

fn private_mounts_do_not_reach_the_host(lab: &Lab) {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let bundle = lab
        .bundle()
        .mount("/extra", "tmpfs", "tmpfs", &[])
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert!(
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(bundle.id())
    );
    assert!(!before.contains(bundle.id()));
}

/// On a host whose mounts are shared, as systemd has them, a rootfs that stayed a peer of its mount there would take
/// every mount of the container to it.
fn mounts_do_not_reach_a_host_whose_mounts_are_shared(lab: &Lab) {
    let host = OwnNamespace::of_mounts();
    let none = None::<&str>;
    nix::mount::mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SHARED, none).unwrap();
    let on_the_host = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let before = on_the_host();
    assert!(before.contains(" shared:"), "{before}");
    for propagation in [None, Some("rslave"), Some("rprivate")] {
        let bundle = lab
            .bundle()
            .mount("/extra", "tmpfs", "tmpfs", &[])
            .args(&["/bin/sleep", "1000"]);
        let bundle = match propagation {
            Some(word) => bundle.set("/linux/rootfsPropagation", json!(word)),
            None => bundle,
        };
        bundle.run_detached();
        assert_eq!(on_the_host(), before, "{propagation:?}");
        bundle.call("delete", &["--force"], &[]).ok();
        assert_eq!(on_the_host(), before, "{propagation:?}");
    }
    drop(host);
}

fn no_mount_of_the_host_is_left(lab: &Lab) {
    let table = table(lab.bundle());
    let targets: Vec<&str> = table.iter().map(|mount| mount.target.as_str()).collect();
    let ours = ["/", "/proc", "/dev", "/sys"];
    for target in targets {
        assert!(
            ours.iter()
                .any(|o| target == *o || target.starts_with(&format!("{o}/"))),
            "{target}"
        );
    }
}

fn no_pivot(lab: &Lab) {
    let bundle = lab
        .bundle()
        .sh("echo here >/f; ls /; cat /proc/1/mountinfo >/dev/null");
    bundle.run_with(&["--no-pivot"], b"").ok();
    assert!(bundle.rootfs().join("f").exists());
}

fn no_pivot_hides_the_host(lab: &Lab) {
    let out = lab
        .bundle()
        .args(&["/bin/cat", "/proc/self/mountinfo"])
        .run_with(&["--no-pivot"], b"")
        .ok();
    let place = lab.path().to_string_lossy().into_owned();
    assert!(
        mounts(&out.stdout)
            .iter()
            .all(|mount| !mount.target.contains(&place)),
        "{}",
        out.stdout
    );
}

fn absolute_root_path(lab: &Lab) {
    let other = lab.bundle();
    fs::write(other.rootfs().join("mark"), "the other rootfs").unwrap();
    let bundle = lab
        .bundle()
        .set("/root/path", json!(other.rootfs()))
        .args(&["/bin/cat", "/mark"]);
    assert_eq!(bundle.run().ok().text(), "the other rootfs");
}

fn missing_rootfs(lab: &Lab) {
    lab.bundle()
        .set("/root/path", json!("no-rootfs"))
        .run()
        .fails_with(&["no-rootfs"]);
}

fn sysctls_are_set(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/linux/sysctl",
            json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4444", "fs.mqueue.msg_max": "7"}),
        )
        .sh("cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax fs/mqueue/msg_max")
        .run()
        .ok();
    assert_eq!(out.lines(), ["1", "4444", "7"]);
}

fn sysctl_with_slashes(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/linux/sysctl",
            json!({"net/ipv4/conf/lo/log_martians": "1"}),
        )
        .args(&["/bin/cat", "/proc/sys/net/ipv4/conf/lo/log_martians"])
        .run()
        .ok();
    assert_eq!(out.text(), "1");
}

fn sysctls_of_a_user_and_a_pid_namespace(lab: &Lab) {
    let look = "cat /proc/sys/user/max_user_namespaces";
    let before = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .set("/linux/sysctl", json!({"user.max_user_namespaces": "7"}))
        .sh(look);
    assert_eq!(bundle.run().ok().text(), "7");
    let after = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    assert_eq!(before, after);

    // On a kernel where it is the host's (before 6.14) it is refused.
    let before = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let bundle = lab
        .bundle()
        .set("/linux/sysctl", json!({"kernel.pid_max": "1234"}))
        .sh("cat /proc/sys/kernel/pid_max");
    let out = bundle.run();
    match out.code {
        0 => assert_eq!(out.text(), "1234"),
        _ => assert!(out.stderr.contains("before Linux 6.14"), "{out:?}"),
    }
    let after = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    assert_eq!(before, after);
}

fn network_sysctl_without_namespace(lab: &Lab) {
    lab.bundle()
        .without_namespace("network")
        .without_mount("/sys")
        .without_mount("/sys/fs/cgroup")
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .run()
        .fails_with(&["net.ipv4.ip_forward"]);
}

fn ipc_sysctl_without_namespace(lab: &Lab) {
    lab.bundle()
        .without_namespace("ipc")
        .set("/linux/sysctl", json!({"kernel.msgmax": "4444"}))
        .run()
        .fails_with(&["kernel.msgmax"]);
}

fn sysctl_that_has_no_namespace(lab: &Lab) {
    lab.bundle()
        .set("/linux/sysctl", json!({"vm.swappiness": "1"}))
        .run()
        .fails_with(&["vm.swappiness"]);
}

fn relative_destination(lab: &Lab) {
    // The spec asks for absolute ones since 1.0, and lets runtimes take them from the root.
    let out = lab
        .bundle()
        .mount("relative/place", "tmpfs", "tmpfs", &[])
        .sh("grep -c ' /relative/place ' /proc/self/mountinfo")
        .run();
    assert!(out.code != 0 || out.text() == "1", "{out:?}");
}

fn target_through_a_link_stays_inside(lab: &Lab) {
    let outside = lab.directory("outside");
    let bundle = lab
        .bundle()
        .mount("/link/place", "tmpfs", "tmpfs", &[])
        .sh("grep tmpfs /proc/self/mountinfo; ls -d /target/place");
    symlink("/target", bundle.rootfs().join("link")).unwrap();
    fs::create_dir(bundle.rootfs().join("target")).unwrap();
    let out = bundle.run().ok();
    assert!(out.stdout.contains(" /target/place "), "{out:?}");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    assert!(!std::path::Path::new("/target").exists());
}

fn bind_below_another_bind(lab: &Lab) {
    let (upper, lower) = (lab.directory("upper"), lab.directory("lower"));
    fs::write(lower.join("deep"), "").unwrap();
    let out = lab
        .bundle()
        .bind(&upper, "/mnt", &[])
        .bind(&lower, "/mnt/in", &[])
        .args(&["/bin/ls", "/mnt/in"])
        .run()
        .ok();
    assert_eq!(out.text(), "deep");
}

fn source_that_is_a_link(lab: &Lab) {
    let source = lab.directory("source");
    fs::write(source.join("one"), "").unwrap();
    symlink(&source, lab.join("link")).unwrap();
    let out = lab
        .bundle()
        .bind(&lab.join("link"), "/mnt", &[])
        .args(&["/bin/ls", "/mnt"])
        .run()
        .ok();
    assert_eq!(out.text(), "one");
}

fn hundred_mounts(lab: &Lab) {
    let bundle = (0..100).fold(lab.bundle(), |bundle, n| {
        bundle.mount(&format!("/many/{n}"), "tmpfs", "tmpfs", &[])
    });
    let out = bundle
        .sh("grep -c ' /many/' /proc/self/mountinfo")
        .run()
        .ok();
    assert_eq!(out.text(), "100");
}

fn read_only_mount_below_a_read_only_root(lab: &Lab) {
    let source = lab.directory("source");
    let bundle =
        lab.bundle()
            .set("/root/readonly", json!(true))
            .bind(&source, "/made/on/the/way", &["ro"]);
    let table = table(bundle);
    assert!(at(&table, "/").has("ro"));
    assert!(at(&table, "/made/on/the/way").has("ro"));
}

fn bind_of_a_device(lab: &Lab) {
    let out = lab
        .bundle()
        .bind("/dev/zero".as_ref(), "/dev/mine", &[])
        .sh("head -c 3 /dev/mine | wc -c")
        .run()
        .ok();
    assert_eq!(out.text(), "3");
}

fn new_mounts_are_not_in_the_source_of_a_read_only_bind(lab: &Lab) {
    let source = lab.directory("source");
    let bundle =
        lab.bundle()
            .bind(&source, "/mnt", &["ro"])
            .mount("/mnt/new", "tmpfs", "tmpfs", &[]);
    let out = bundle.run();
    assert_ne!(out.code, 0, "{out:?}");
    assert!(!source.join("new").exists());
}

fn remount_of_a_bind_keeps_the_hosts_flags(lab: &Lab) {
    // A bind of a mount that the host made noexec stays noexec, though the config does not say it.
    let source = lab.directory("source");
    let _mounted = HostMount::tmpfs(&source, MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID);
    let table = table(
        lab.bundle()
            .in_user_namespace()
            .bind(&source, "/mnt", &["ro"]),
    );
    let mount = at(&table, "/mnt");
    assert!(
        mount.has("ro") && mount.has("noexec") && mount.has("nosuid"),
        "{mount:?}"
    );
}

fn selinux_mount_label_is_applied(lab: &Lab) {
    let label = "system_u:object_r:tmp_t:s0";
    let table = table(lab.bundle().set("/linux/mountLabel", json!(label)).mount(
        "/t",
        "tmpfs",
        "tmpfs",
        &[],
    ));
    assert!(
        at(&table, "/t")
            .data
            .iter()
            .any(|data| data.contains(label)),
        "{table:?}"
    );
}

/// What lxcfs has at /var/lib/lxcfs, over what the kernel has.
fn files_of_lxcfs_are_covered(lab: &Lab) {
    let files = [
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/pressure/cpu",
        "/proc/pressure/io",
        "/proc/pressure/memory",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/uptime",
        "/sys/devices/system/cpu/online",
    ];
    let source = lab.join("view");
    fs::write(&source, "of the container\n").unwrap();
    let bundle = files.iter().fold(lab.bundle(), |bundle, file| {
        bundle.bind(&source, file, &["nosuid", "nodev"])
    });
    let out = bundle.sh(&format!("cat {}", files.join(" "))).run().ok();
    assert_eq!(out.lines(), ["of the container"; 12]);
}

/// A bundle without and one with a user namespace.
fn with_and_without_users(lab: &Lab) -> [Bundle<'_>; 2] {
    [lab.bundle(), lab.bundle().in_user_namespace()]
}

fn sources_in_the_root_show_what_is_mounted_there(lab: &Lab) {
    let volume = lab.directory("volume");
    fs::create_dir(volume.join("sub")).unwrap();
    fs::write(volume.join("sub/file"), "of the volume\n").unwrap();
    for bundle in with_and_without_users(lab) {
        let inside = |path: &str| bundle.rootfs().join(path);
        let (proc, file, sub) = (inside("proc"), inside("mnt/sub/file"), inside("mnt/sub"));
        let linked = lab.join("linked");
        let _ = fs::remove_file(&linked);
        symlink(bundle.rootfs(), &linked).unwrap();
        let bundle = bundle
            .bind(&volume, "/mnt", &[])
            .bind(&file, "/one", &["ro"])
            .bind(&proc, "/mounted-proc", &[])
            .bind(&linked.join("mnt/sub"), "/three", &["noexec"])
            .mount("/mnt/sub", "tmpfs", "tmpfs", &[])
            .bind(&sub, "/covered", &[]);
        let script = "cat /one /three/file; ls /covered; cat /mounted-proc/self/comm; cat /proc/self/mountinfo";
        let out = bundle.sh(script).run().ok();
        assert_eq!(out.lines()[..3], ["of the volume", "of the volume", "cat"]);
        let table = mounts(&out.stdout);
        assert!(at(&table, "/one").has("ro"), "{table:?}");
        assert!(at(&table, "/three").has("noexec"), "{table:?}");
    }
}

/// What is made as the target of a mount can be the source of the next.
fn source_is_made_as_a_target(lab: &Lab) {
    let (upper, lower) = (lab.directory("upper"), lab.directory("lower"));
    fs::write(lower.join("file"), "").unwrap();
    let out = lab
        .bundle()
        .bind(&upper, "/mnt", &[])
        .bind(&lower, "/mnt/made", &[])
        .bind(&upper.join("made"), "/empty", &[])
        .sh("ls /mnt/made; ls /empty")
        .run()
        .ok();
    assert_eq!(out.lines(), ["file"]);
}

fn mountinfo_has_the_order_of_the_config(lab: &Lab) {
    let source = lab.directory("source");
    for bundle in with_and_without_users(lab) {
        let inside = bundle.rootfs().join("m");
        let mut wanted = Vec::new();
        let bundle = (0..40).fold(bundle, |bundle, n| {
            let target = format!("/m/{n}");
            wanted.push(target.clone());
            match n % 4 {
                0 => bundle.mount(&target, "tmpfs", "tmpfs", &[]),
                1 | 2 => bundle.bind(&source, &target, &[]),
                _ => bundle.bind(&inside, &target, &["ro"]),
            }
        });
        let table = table(bundle);
        let found: Vec<&str> = table
            .iter()
            .map(|mount| mount.target.as_str())
            .filter(|target| target.starts_with("/m/"))
            .collect();
        assert_eq!(found, wanted);
    }
}
