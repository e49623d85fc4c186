//! Real bind mounts ([`super::case`]): where their sources come from, and what becomes of them.

use super::case::*;
use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn a_rootfs_in_a_closed_directory_is_reached_from_a_user_namespace() {
    let mut case = in_user_namespace(with_proc(json!(
        {"destination": "/data", "source": "closed/data", "options": ["bind", "ro"]})));
    case.more = json!({"root": {"path": "closed/rootfs"}});
    let host = || {
        fs::create_dir_all(at("closed/data"))?;
        fs::create_dir(at("closed/rootfs"))?;
        std::os::unix::fs::chown(at("closed/rootfs"), Some(100_000), Some(100_000))?;
        // Neither in the root of the namespace nor, as another's, open to the clone.
        std::os::unix::fs::chown(at("closed"), Some(7), Some(7))?;
        fs::set_permissions(at("closed"), PermissionsExt::from_mode(0o700))
    };
    case.run(host, || expect("/data", " ro,"));
}

#[test]
fn a_caller_without_privilege_lets_the_child_open_the_sources() {
    for caller in [Caller::User, Caller::RootElsewhere] {
        let mut case = in_user_namespace(with_proc(json!(
            {"destination": "/data", "source": "data", "options": ["rbind", "ro"]})));
        case.caller = caller;
        case.run(|| fs::create_dir(at("data")), || expect("/data", " ro,"));
    }
}

#[test]
fn an_id_map_is_refused_where_the_child_would_have_to_make_it() {
    let mut case = in_user_namespace(with_proc(json!(
        {"destination": "/data", "source": "data", "options": ["bind", "idmap"]})));
    case.caller = Caller::RootElsewhere;
    case.fails(|| fs::create_dir(at("data")), "open the rootfs");
}

#[test]
fn each_of_many_sources_comes_to_its_own_destination() {
    let mount = |n: usize| {
        // Directories, files, and texts of symlinks, in no order of the parent's messages.
        let (source, options) = match n % 5 {
            0 => (format!("file-{n}"), vec!["bind", "ro"]),
            1 => (format!("link-{n}"), vec!["bind", "copy-symlink"]),
            _ => (format!("directory-{n}"), vec!["rbind"]),
        };
        json!({"destination": format!("/b/{n}"), "source": source, "options": options})
    };
    let host = || {
        for n in 0..COUNT {
            match n % 5 {
                0 => fs::write(at(&format!("file-{n}")), n.to_string())?,
                1 => symlink(n.to_string(), at(&format!("link-{n}")))?,
                _ => {
                    fs::create_dir(at(&format!("directory-{n}")))?;
                    fs::write(at(&format!("directory-{n}/is")), n.to_string())?;
                }
            }
        }
        Ok(())
    };
    // More than fit in a few messages, and than the parent keeps open.
    const COUNT: usize = 400;
    case((0..COUNT).map(mount).collect()).run(host, || {
        for n in 0..COUNT {
            let path = format!("/b/{n}");
            let found = match n % 5 {
                0 => fs::read_to_string(&path).map_err(text)?,
                1 => fs::read_link(&path).map_err(text)?.display().to_string(),
                _ => fs::read_to_string(format!("{path}/is")).map_err(text)?,
            };
            ensure(found == n.to_string(), &format!("{path} is {found}"))?;
        }
        Ok(())
    });
}

#[test]
fn bind_mounts_of_files_make_their_targets_and_follow_links_inside() {
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/etc/hosts", "source": "hosts", "options": ["bind", "ro"]},
        {"destination": "/etc/zone", "source": "link", "options": ["bind"]},
        {"destination": "/etc/copied", "source": "link", "options": ["bind", "copy-symlink"]},
        {"destination": "/here", "source": "link", "options": ["bind", "src-nofollow", "dest-nofollow"]},
    ]);
    let host = || {
        fs::write(at("hosts"), "hosts")?;
        symlink("hosts", at("link"))?;
        fs::create_dir(at("rootfs/etc"))?;
        symlink("/deep/er/zone", at("rootfs/etc/zone"))?;
        symlink("elsewhere", at("rootfs/here"))
    };
    case(mounts).run(host, || {
        let read = |path| fs::read_to_string(path).map_err(text);
        ensure(read("/etc/hosts")? == "hosts", "file")?;
        expect("/etc/hosts", " ro,")?;
        ensure(read("/deep/er/zone")? == "hosts", "through links")?;
        let copied = fs::read_link("/etc/copied").map_err(text)?;
        ensure(copied == Path::new("hosts"), "the link's text")?;
        let covered = fs::read_link("/here").map_err(text)?;
        ensure(covered == Path::new("hosts"), "a link mounted on a link")
    });
}

#[test]
fn recursive_words_reach_all_mounts_and_plain_ones_the_top() {
    let host = || {
        fs::create_dir_all(at("data/sub"))?;
        fresh("tmpfs", &at("data")).map_err(std::io::Error::other)?;
        fs::create_dir(at("data/sub"))?;
        fresh("tmpfs", &at("data/sub")).map_err(std::io::Error::other)
    };
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/top", "source": "data", "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/all", "source": "data", "options": ["rbind", "rro", "rnoexec", "rnoatime", "nodev"]},
        {"destination": "/one", "source": "data", "options": ["bind", "nosymfollow"]},
    ]);
    case(mounts).run(host, || {
        expect("/top", " ro,nosuid,relatime ")?;
        expect("/top/sub", " rw,relatime ")?;
        expect("/all", " ro,nodev,noexec,noatime ")?;
        expect("/all/sub", " ro,noexec,noatime ")?;
        expect("/one", " rw,relatime,nosymfollow ")?;
        ensure(line_of("/one/sub").is_err(), "bind is not recursive")
    });
}

#[test]
fn a_read_only_sysfs_or_procfs_is_so_with_all_below_it() {
    let host = || {
        for (fstype, directory, below) in [("sysfs", "sys", "fs/cgroup"), ("proc", "p", "fs")] {
            fs::create_dir(at(directory))?;
            fresh(fstype, &at(directory)).map_err(std::io::Error::other)?;
            let below = at(&format!("{directory}/{below}"));
            fresh("tmpfs", &below).map_err(std::io::Error::other)?;
        }
        // No name is looked at, but what is there.
        symlink("sys", at("linked"))
    };
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/sys", "source": "linked", "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/p", "source": "p", "options": ["ro", "rbind"]},
        {"destination": "/writable", "source": "p", "options": ["rbind"]},
        {"destination": "/asked", "source": "sys", "options": ["rrw", "rbind", "ro"]},
    ]);
    case(mounts).run(host, || {
        expect("/sys", " ro,nosuid,relatime ")?;
        expect("/sys/fs/cgroup", " ro,relatime ")?;
        expect("/p/fs", " ro,relatime ")?;
        expect("/writable/fs", " rw,relatime ")?;
        expect("/asked/fs/cgroup", " rw,relatime ")
    });
}

/// The ways in which sources come to init.
fn ways(mounts: &Value) -> [Case; 5] {
    let unprivileged = |caller| Case {
        caller,
        ..in_user_namespace(mounts.clone())
    };
    let shared =
        json!({"destination": "/shared", "source": "rootfs", "options": ["bind", "shared"]});
    let mut with_shared = mounts.as_array().expect("a list").clone();
    with_shared.push(shared);
    [
        case(mounts.clone()),
        // The parent clones all.
        case(Value::from(with_shared)),
        in_user_namespace(mounts.clone()),
        unprivileged(Caller::User),
        unprivileged(Caller::RootElsewhere),
    ]
}

#[test]
fn a_source_in_the_container_s_root_shows_what_is_mounted_there() {
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/new", "type": "tmpfs"},
        {"destination": "/data", "source": "data", "options": ["bind"]},
        {"destination": "/itself", "source": "/tmp/rootfs", "options": ["rbind"]},
        {"destination": "/p", "source": "/tmp/link/../rootfs/proc", "options": ["bind"]},
        {"destination": "/f", "source": "link/data/file", "options": ["bind", "ro"]},
        {"destination": "/again", "source": "rootfs/itself/data/sub", "options": ["bind"]},
        {"destination": "/l", "source": "rootfs/data/link", "options": ["bind", "copy-symlink"]},
        {"destination": "/k", "source": "rootfs/data/file", "options": ["bind", "copy-symlink"]},
        {"destination": "/late", "type": "tmpfs"},
    ]);
    let host = || {
        fs::create_dir_all(at("data/sub/deep"))?;
        fs::write(at("data/file"), "of the volume")?;
        symlink("elsewhere", at("data/link"))?;
        symlink("rootfs", at("link"))
    };
    for case in ways(&mounts) {
        case.run(host, || {
            line_of("/itself/new")?;
            ensure(line_of("/itself/late").is_err(), "a later mount")?;
            expect("/p", " - proc ")?;
            expect("/f", " ro,")?;
            for file in ["/f", "/k"] {
                let text = fs::read_to_string(file).map_err(text)?;
                ensure(text == "of the volume", file)?;
            }
            ensure(Path::new("/again/deep").is_dir(), "a source in a source")?;
            let link = fs::read_link("/l").map_err(text)?;
            ensure(link == Path::new("elsewhere"), "a link")
        });
    }
}

#[test]
fn links_in_what_is_mounted_lead_nowhere_but_into_the_root() {
    let mounts = json!([
        {"destination": "/data", "source": "data", "options": ["bind"]},
        {"destination": "/x", "source": "rootfs/data/link", "options": ["bind"]},
    ]);
    let host = || {
        fs::create_dir(at("data"))?;
        fs::create_dir(at("rootfs/tmp"))?;
        fs::write(at("secret"), "the host's")?;
        fs::write(at("rootfs/tmp/secret"), "the image's")?;
        symlink("/tmp/secret", at("data/link"))
    };
    for case in ways(&mounts) {
        case.run(host, || {
            let text = fs::read_to_string("/x").map_err(text)?;
            ensure(text == "the image's", &text)
        });
    }
}

#[test]
fn a_source_may_be_made_as_the_target_of_another_mount() {
    let mounts = json!([
        {"destination": "/a", "source": "upper", "options": ["bind"]},
        {"destination": "/a/made", "source": "lower", "options": ["bind"]},
        {"destination": "/b", "source": "upper/made", "options": ["bind"]},
        {"destination": "/c", "source": "rootfs/a/made", "options": ["bind"]},
    ]);
    let host = || {
        fs::create_dir(at("upper"))?;
        // Whoever is root inside makes the target.
        std::os::unix::fs::chown(at("upper"), Some(100_000), Some(100_000))?;
        fs::create_dir(at("lower"))?;
        fs::write(at("lower/file"), "")
    };
    for case in ways(&mounts) {
        case.run(host, || {
            ensure(!Path::new("/b/file").is_file(), "the host's directory")?;
            ensure(Path::new("/c/file").is_file(), "the container's mount")
        });
    }
}

#[test]
fn a_source_that_no_mount_makes_is_missing() {
    for source in ["gone", "rootfs/gone", "/tmp/rootfs/new/gone"] {
        let mounts = json!([
            {"destination": "/new", "type": "tmpfs"},
            {"destination": "/x", "source": source, "options": ["bind"]},
        ]);
        for case in ways(&mounts) {
            let why = "gone on /x (mounts[1]): no such file or directory";
            case.fails(nothing, why);
        }
    }
}

#[test]
fn a_source_in_the_container_s_root_can_be_id_mapped() {
    let lines = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    let mounts = json!([
        {"destination": "/data", "source": "data", "options": ["bind"]},
        {"destination": "/x", "source": "rootfs/data", "options": ["bind", "idmap"],
            "uidMappings": lines, "gidMappings": lines},
    ]);
    let host = || {
        fs::create_dir(at("data"))?;
        fs::write(at("data/file"), "")?;
        std::os::unix::fs::chown(at("data/file"), Some(3), Some(4))
    };
    in_user_namespace(mounts).run(host, || {
        let file = fs::metadata("/x/file").map_err(text)?;
        ensure(
            (file.uid(), file.gid()) == (3, 4),
            &format!("{}:{}", file.uid(), file.gid()),
        )
    });
}

#[test]
fn mountinfo_lists_the_mounts_as_the_config_does() {
    let bind =
        |n: usize| json!({"destination": format!("/{n}"), "source": "data", "options": ["bind"]});
    let new = |n: usize| json!({"destination": format!("/{n}"), "type": "tmpfs"});
    let inside = |n: usize| json!({"destination": format!("/{n}"), "source": "rootfs/1", "options": ["bind"]});
    let own = json!({"destination": "/proc", "type": "proc"});
    let mut mounts = vec![own];
    for n in (1..60).step_by(6) {
        mounts.extend([
            bind(n),
            new(n + 1),
            new(n + 2),
            bind(n + 3),
            bind(n + 4),
            inside(n + 5),
        ]);
    }
    let count = mounts.len();
    for case in ways(&Value::from(mounts)) {
        case.run(
            || fs::create_dir(at("data")),
            || {
                let all = fs::read_to_string("/proc/self/mountinfo").map_err(text)?;
                let at = all.lines().filter_map(|line| line.split(' ').nth(4));
                // Devices are no mounts of the config.
                let others = ["/dev/", "/shared"];
                let found: Vec<&str> = at
                    .filter(|at| !others.iter().any(|it| at.starts_with(it)))
                    .collect();
                let mut wanted = vec!["/".to_owned(), "/proc".to_owned()];
                wanted.extend((1..count).map(|n| format!("/{n}")));
                ensure(found == wanted, &format!("{found:?}"))
            },
        );
    }
}

#[test]
fn propagation_is_what_the_words_say() {
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/plain", "source": "/tmp/data", "options": ["bind"]},
        {"destination": "/private", "source": "/tmp/data", "options": ["bind", "rprivate"]},
        {"destination": "/shared", "source": "/tmp/data", "options": ["bind", "rshared"]},
        {"destination": "/no", "source": "/tmp/data", "options": ["bind", "unbindable"]},
        {"destination": "/new", "type": "tmpfs", "options": ["shared"]},
    ]);
    let has = |path: &str, words: &[&str]| {
        let line = line_of(path)?;
        let fields = line.split(" - ").next().unwrap_or_default();
        for word in ["shared:", "master:", "unbindable"] {
            ensure(
                fields.contains(word) == words.contains(&word),
                &format!("{path}: {line}"),
            )?;
        }
        Ok(())
    };
    case(mounts).run(
        || fs::create_dir(at("data")),
        move || {
            has("/plain", &["master:"])?;
            has("/private", &[])?;
            has("/shared", &["shared:"])?;
            has("/no", &["unbindable"])?;
            has("/new", &["shared:"])?;
            has("/", &[])
        },
    );
    for (word, root) in [
        ("shared", vec!["shared:"]),
        ("slave", vec!["master:"]),
        ("private", vec![]),
        ("unbindable", vec!["unbindable"]),
    ] {
        let mut case = case(json!([{"destination": "/proc", "type": "proc"}]));
        case.more = json!({"linux": {"rootfsPropagation": word}});
        case.run(nothing, move || has("/", &root));
    }
}

#[test]
fn nothing_is_made_in_a_read_only_source() {
    case(json!([
        {"destination": "/data", "source": "data", "options": ["bind", "ro"]},
        {"destination": "/data/new", "type": "tmpfs"},
    ]))
    .fails(
        || fs::create_dir(at("data")),
        "make the target of tmpfs on /data/new (mounts[1]): Read-only file system",
    );
}

#[test]
fn id_mapped_mounts_have_their_own_or_the_container_s_ids() {
    let host = || {
        fs::create_dir(at("data"))?;
        fs::write(at("data/file"), "")?;
        std::os::unix::fs::chown(at("data/file"), Some(3), Some(4))
    };
    let owner = |uid: u32, gid: u32| {
        move || {
            let file = fs::metadata("/data/file").map_err(text)?;
            ensure(
                (file.uid(), file.gid()) == (uid, gid),
                &format!("{}:{}", file.uid(), file.gid()),
            )
        }
    };
    let mount = |option: &str| json!([{"destination": "/data", "source": "data", "options": ["bind", option]}]);
    let own = |host_id: u32| {
        let lines = json!([{"containerID": 0, "hostID": host_id, "size": 10}]);
        json!([{"destination": "/data", "source": "data", "options": ["rbind", "ridmap"],
            "uidMappings": lines, "gidMappings": lines}])
    };
    in_user_namespace(mount("idmap")).run(host, owner(3, 4));
    in_user_namespace(own(100_010)).run(host, owner(13, 14));
    case(own(1000)).run(host, owner(1003, 1004));
    case(mount("idmap=uids=3-7-1;gids=4-8-1")).run(host, owner(7, 8));
}

#[test]
fn a_source_of_the_wrong_kind_is_said_so() {
    let mount = json!([{"destination": "/data", "source": "file", "options": ["bind"]}]);
    let host = || {
        fs::write(at("file"), "")?;
        fs::create_dir(at("rootfs/data"))
    };
    case(mount).fails(host, "cannot be mounted on each other: not a directory");
    let missing = json!([{"destination": "/data", "source": "gone", "options": ["bind"]}]);
    case(missing).fails(
        nothing,
        "open the source of /tmp/gone on /data (mounts[0]): no such file",
    );
    let fake = json!([{"destination": "/proc", "source": "fake", "options": ["bind"]}]);
    case(fake).fails(|| fs::create_dir(at("fake")), "is no procfs");
    let unknown = json!([{"destination": "/a", "type": "tmpfs", "options": ["colour=red"]}]);
    case(unknown).fails(nothing, "Unknown parameter 'colour'");
}
