//! Real mounts ([`super::case`]).

use super::case::*;
use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// What `spec` writes and every engine uses.
fn default_mounts() -> Vec<Value> {
    vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"]}),
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
    ]
}

fn default_mounts_are_there() -> Outcome {
    expect("/proc", "- proc proc rw")?;
    expect("/dev", "rw,nosuid - tmpfs tmpfs")?;
    expect("/dev", "size=65536k,mode=755")?;
    expect("/dev/pts", "nosuid,noexec,relatime - devpts devpts rw,gid=")?;
    expect("/dev/pts", "ptmxmode=666")?;
    expect("/dev/shm", "rw,nosuid,nodev,noexec,relatime - tmpfs shm")?;
    expect("/dev/mqueue", "- mqueue mqueue")?;
    expect("/sys", "ro,nosuid,nodev,noexec,relatime - sysfs sysfs")?;
    expect(
        "/sys/fs/cgroup",
        "ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup",
    )?;
    let mode = fs::metadata("/dev/shm").map_err(text)?.mode();
    ensure(mode & 0o7777 == 0o1777, "mode of /dev/shm")?;
    let names = fs::read_dir("/").map_err(text)?.count();
    ensure(names == 3, "only dev, proc and sys are in the root")
}

#[test]
fn the_default_mounts_are_made() {
    case(json!(default_mounts())).run(nothing, default_mounts_are_there);
}

#[test]
fn the_default_mounts_are_made_in_a_user_namespace() {
    in_user_namespace(json!(default_mounts())).run(nothing, default_mounts_are_there);
}

#[test]
fn without_pivot_root_the_old_root_is_gone_too() {
    for mut case in [
        case(json!(default_mounts())),
        in_user_namespace(json!(default_mounts())),
    ] {
        case.no_pivot = true;
        // A procfs that another mount hides is in nobody's way.
        let host = || {
            let hidden = at("hidden/proc");
            fs::create_dir_all(&hidden)?;
            fresh("proc", &hidden).map_err(std::io::Error::other)?;
            fresh("tmpfs", &at("hidden")).map_err(std::io::Error::other)
        };
        case.run(host, default_mounts_are_there);
    }
}

#[test]
fn what_is_mounted_beside_each_other_lies_where_the_paths_lead() {
    let data =
        |path: &str| json!({"destination": path, "source": "/tmp/data", "options": ["bind"]});
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        data("/a/1"),
        data("/a/link"),
        data("/a/new"),
        data("/a/2"),
        data("/b/1"),
        {"destination": "/b", "source": "/tmp/other", "options": ["bind"]},
        data("/b/2"),
        data("/b/2"),
        data("/c/1"),
        {"destination": "/c", "type": "tmpfs"},
        data("/c/1"),
        data("/d/1"),
        {"destination": "/d", "type": "tmpfs", "options": ["mode=755"]},
        data("/d/1"),
    ]);
    case(mounts).run(
        || {
            for directory in [
                "data",
                "other/2",
                "rootfs/a/1",
                "rootfs/a/2",
                "rootfs/b/1",
                "rootfs/b/2",
            ] {
                fs::create_dir_all(at(directory))?;
            }
            fs::write(at("data/here"), "")?;
            std::os::unix::fs::symlink("/led", at("rootfs/a/link"))
        },
        || {
            for path in ["/a/1", "/led", "/a/new", "/a/2", "/b/2", "/c/1", "/d/1"] {
                line_of(path)?;
                let here = Path::new(path).join("here");
                fs::File::open(here).map_err(|errno| format!("{path}: {errno}"))?;
            }
            ensure(line_of("/a/link").is_err(), "on the link itself")
        },
    );
}

#[test]
fn directories_whose_paths_are_equally_long_are_not_taken_for_each_other() {
    let bind = |path: &str, source: &str| json!({"destination": path, "source": at(source), "options": ["bind"]});
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        bind("/one/in", "first"),
        bind("/two/in", "second"),
        bind("/six/new", "third"),
    ]);
    case(mounts).run(
        || {
            for name in ["first", "second", "third"] {
                fs::create_dir_all(at(name))?;
                fs::write(at(&format!("{name}/{name}")), "")?;
            }
            fs::create_dir_all(at("rootfs/one/in"))?;
            fs::create_dir_all(at("rootfs/two/in"))
        },
        || {
            for file in ["/one/in/first", "/two/in/second", "/six/new/third"] {
                fs::metadata(file).map_err(|error| format!("{file}: {error}"))?;
            }
            ensure(
                fs::metadata("/two/new").is_err(),
                "made in another directory",
            )
        },
    );
}

#[test]
fn a_read_only_root_and_tmpfs_take_targets_before_they_are_locked() {
    let mut case = case(json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/dev", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/dev/a/b", "type": "tmpfs"},
        {"destination": "/deep/in/root", "type": "tmpfs"},
    ]));
    case.more = json!({"root": {"path": "rootfs", "readonly": true}});
    case.run(nothing, || {
        expect("/", " ro,")?;
        expect("/dev", " ro,")?;
        expect("/dev/a/b", " rw,")?;
        ensure(fs::create_dir("/x").is_err(), "the root takes directories")?;
        ensure(fs::create_dir("/dev/x").is_err(), "/dev takes directories")?;
        fs::create_dir("/deep/in/root/x").map_err(text)
    });
}

#[test]
fn a_tmpfs_takes_the_mode_of_what_it_covers_and_its_content_if_asked() {
    let host = || {
        fs::create_dir_all(at("rootfs/var/x"))?;
        fs::write(at("rootfs/var/x/file"), "image's")?;
        fs::set_permissions(at("rootfs/var"), PermissionsExt::from_mode(0o712))
    };
    case(with_proc(
        json!({"destination": "/var", "type": "tmpfs", "options": ["tmpcopyup", "ro"]}),
    ))
    .run(host, || {
        expect("/var", "mode=712")?;
        expect("/var", " ro,")?;
        let file = fs::read_to_string("/var/x/file").map_err(text)?;
        ensure(file == "image's", "content")
    });
}

#[test]
fn odd_words_and_remounts_go_through_mount() {
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/a", "type": "tmpfs", "options": ["silent", "iversion", "nosuid", "mode=700", "shared"]},
        {"destination": "/b", "type": "tmpfs", "options": ["size=64k"]},
        {"destination": "/b", "type": "tmpfs", "options": ["remount", "size=128k", "nodev"]},
        {"destination": "/b", "options": ["remount", "bind", "ro"]},
    ]);
    case(mounts).run(nothing, || {
        expect("/a", "nosuid,relatime shared:")?;
        expect("/a", "mode=700")?;
        expect("/b", " ro,nodev,")?;
        expect("/b", "size=128k")
    });
}

#[test]
fn overlay_layers_of_any_length_are_mounted() {
    let layer = |n: u32| at(&format!("{}{n}", "l".repeat(150)));
    let host = move || {
        for n in 0..3 {
            fs::create_dir(layer(n))?;
            fs::write(format!("{}/{n}", layer(n)), "")?;
        }
        for name in ["upper", "work"] {
            fs::create_dir(at(name))?;
        }
        Ok(())
    };
    let lower = format!("lowerdir={}:{}:{}", layer(0), layer(1), layer(2));
    let upper = [
        format!("upperdir={}", at("upper")),
        format!("workdir={}", at("work")),
    ];
    let mount = |lower: &str| {
        json!([{"destination": "/o", "type": "overlay", "source": "overlay",
            "options": [lower, upper[0], upper[1]]}])
    };
    case(mount(&lower)).run(host, || {
        let names = fs::read_dir("/o").map_err(text)?.count();
        ensure(names == 3, "three layers")
    });
}

#[test]
fn a_mount_on_the_root_becomes_the_root() {
    for no_pivot in [false, true] {
        let mut case = case(json!([
            {"destination": "/", "source": "other", "options": ["bind"]},
            {"destination": "/proc", "type": "proc"},
        ]));
        case.no_pivot = no_pivot;
        let host = || {
            fs::create_dir(at("other"))?;
            fs::write(at("other/mine"), "")
        };
        case.run(host, || {
            fs::metadata("/mine").map_err(text)?;
            expect("/proc", "proc")
        });
    }
}

#[test]
fn links_of_the_image_lead_no_mount_astray() {
    let proc = json!([{"destination": "/proc", "type": "proc"}]);
    case(proc).fails(
        || {
            fs::create_dir(at("rootfs/fake"))?;
            symlink("fake", at("rootfs/proc"))
        },
        "open the target of proc on /proc (mounts[0]): it must be mounted on ordinary directory",
    );
    let sys = json!([{"destination": "/sys", "type": "sysfs"}]);
    case(sys).fails(
        || fs::write(at("rootfs/sys"), ""),
        "it must be mounted on ordinary directory",
    );
    // Not the host's, and not into /proc.
    let data = json!([{"destination": "/a/data", "source": "data", "options": ["bind"]}]);
    let host = || {
        fs::create_dir(at("data"))?;
        fs::write(at("data/file"), "")?;
        symlink("../../../../../../tmp", at("rootfs/a"))
    };
    case(data).run(host, || {
        fs::metadata("/tmp/data/file").map(drop).map_err(text)
    });
    let into_proc =
        with_proc(json!({"destination": "/a/self", "source": "data", "options": ["bind"]}));
    case(into_proc).fails(
        || {
            fs::create_dir(at("data"))?;
            symlink("/proc", at("rootfs/a"))
        },
        "a symlink leads into a kernel file system",
    );
}

#[test]
fn the_host_s_sysfs_and_cgroups_stand_in_read_only_where_the_namespace_owns_none() {
    let mut case = in_user_namespace(json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/sys", "type": "sysfs", "options": ["nosuid", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["nosuid"]},
    ]));
    case.kinds
        .retain(|kind| ![Kind::Network, Kind::Cgroup].contains(kind));
    case.run(nothing, || {
        expect("/sys", " ro,nosuid")?;
        expect("/sys", "- sysfs")?;
        for line in mounts_below("/sys", "/proc/self/mountinfo")? {
            ensure(line.contains(" ro,"), &line)?;
            ensure(
                !line.contains("shared:") && !line.contains("master:"),
                &line,
            )?;
        }
        line_of("/sys/fs/cgroup").map(drop)
    });
}

#[test]
fn without_a_mount_namespace_the_root_is_only_changed() {
    let mut case = case(json!([{"destination": "/proc", "type": "proc"}]));
    case.kinds = vec![Kind::Pid];
    case.run(
        || fs::write(at("rootfs/mine"), ""),
        || {
            fs::metadata("/mine").map_err(text)?;
            ensure(fs::metadata("/proc").is_err(), "nothing is mounted")
        },
    );
}

#[test]
fn names_are_set() {
    let mut case = case(json!([{"destination": "/proc", "type": "proc"}]));
    case.more = json!({"hostname": "inner", "domainname": "example.org"});
    case.run(nothing, || {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).map_err(text);
        ensure(read("hostname")? == "inner\n", "host name")?;
        ensure(read("domainname")? == "example.org\n", "domain name")
    });
}
