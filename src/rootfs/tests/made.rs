//! Real mounts, as root, in namespaces of a forked child. Without root these tests say so and pass.

use super::*;
use crate::plan::Options;
use crate::skip;
use crate::sys::child::leave;
use crate::sys::clone::{Side, clone3};
use crate::sys::forked::check_in_child;
use crate::sys::procfs::ProcFs;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{pipe, read, setresgid, setresuid, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

type Outcome = std::result::Result<(), String>;

/// A container to be: its config, its namespaces, and what the host looks like.
struct Case {
    mounts: Value,
    more: Value,
    users: bool,
    kinds: Vec<Kind>,
    no_pivot: bool,
    /// The caller may clone no trees.
    rootless: bool,
}

fn case(mounts: Value) -> Case {
    Case {
        mounts,
        more: json!({}),
        users: false,
        kinds: vec![
            Kind::Mount,
            Kind::Pid,
            Kind::Network,
            Kind::Ipc,
            Kind::Uts,
            Kind::Cgroup,
        ],
        no_pivot: false,
        rootless: false,
    }
}

fn in_user_namespace(mounts: Value) -> Case {
    let mut case = case(mounts);
    case.users = true;
    case.kinds.push(Kind::User);
    case
}

/// Where the bundle of a test lies: a tmpfs of the test's own mount namespace.
const BUNDLE: &str = "/tmp";

impl Case {
    /// Prepares the host with `host` (in BUNDLE, where `rootfs` exists), makes the container, and runs
    /// `inside` in it.
    fn run(self, host: impl Fn() -> std::io::Result<()>, inside: impl Fn() -> Outcome) {
        if skip::unless_root() {
            return;
        }
        check_in_child(|| self.parent(&host, &inside));
    }

    /// Expects that the container cannot be made, with an error that contains `why`.
    fn fails(self, host: impl Fn() -> std::io::Result<()>, why: &str) {
        if skip::unless_root() {
            return;
        }
        check_in_child(|| match self.parent(&host, &|| Ok(())) {
            Ok(()) => Err("no error".to_owned()),
            Err(error) if error.contains(why) => Ok(()),
            Err(error) => Err(format!("{error:?} does not contain {why:?}")),
        });
    }

    fn plan(&self) -> std::result::Result<Plan, String> {
        let map = namespaces::IdMap {
            inside: 0,
            outside: 100_000,
            count: 1000,
        };
        let ns = namespaces::Plan {
            new: self.kinds.clone(),
            uid_map: vec![map; usize::from(self.users)],
            gid_map: vec![map; usize::from(self.users)],
            ..Default::default()
        };
        let options = Options {
            bundle: BUNDLE.into(),
            no_pivot: self.no_pivot,
            ..Options::default()
        };
        let mut host = host();
        if self.rootless {
            host.effective = 0;
        }
        let mut problems = Problems::default();
        let spec = spec(self.mounts.clone(), self.more.clone());
        let plan = plan(&spec, &ns, &options, &host, &mut problems);
        problems.into_result("config").map_err(text)?;
        Ok(plan)
    }

    fn parent(
        &self,
        host: &dyn Fn() -> std::io::Result<()>,
        inside: &dyn Fn() -> Outcome,
    ) -> Outcome {
        unshare(CloneFlags::CLONE_NEWNS).map_err(text)?;
        // As systemd has it on a host: all is shared; but not with the real host.
        propagate("/", MsFlags::MS_PRIVATE)?;
        propagate("/", MsFlags::MS_SHARED)?;
        fresh("tmpfs", BUNDLE)?;
        propagate(BUNDLE, MsFlags::MS_SHARED)?;
        fs::create_dir(format!("{BUNDLE}/rootfs")).map_err(text)?;
        host().map_err(text)?;
        if self.users {
            for path in ["", "/rootfs"] {
                nix::unistd::chown(
                    format!("{BUNDLE}{path}").as_str(),
                    Some(100_000.into()),
                    Some(100_000.into()),
                )
                .map_err(text)?;
            }
        }
        let plan = self.plan()?;
        let mut sources = Sources::open(&plan).map_err(text)?;
        let flags: u64 = self.kinds.iter().map(|kind| kind.flag()).sum();
        let (go, say_go) = pipe().map_err(text)?;
        let (result, say_result) = pipe().map_err(text)?;
        match clone3(flags, None).map_err(text)? {
            Side::Child => {
                let _ = read(&go, &mut [0]);
                let text = match self.child(&plan, &mut sources, inside) {
                    Ok(()) => "ok".to_owned(),
                    Err(text) => text,
                };
                let _ = write(&say_result, text.as_bytes());
                leave(0);
            }
            Side::Parent(init) => {
                if self.users {
                    let proc = ProcFs::host().map_err(text)?;
                    for file in ["uid_map", "gid_map"] {
                        proc.write(&format!("{init}/{file}"), b"0 100000 1000")
                            .map_err(text)?;
                    }
                }
                sources.idmap_with(&plan, init).map_err(text)?;
                drop((go, sources));
                write(&say_go, b"g").map_err(text)?;
                drop(say_result);
                let mut said = vec![0; 4096];
                let length = read(&result, &mut said).map_err(text)?;
                waitpid(init, None).map_err(text)?;
                // What was made for the container left nothing on the host, which is shared here.
                let left = mounts_below(&format!("{BUNDLE}/rootfs"), "/proc/self/mountinfo")?;
                match String::from_utf8_lossy(&said[..length]).as_ref() {
                    "ok" if left.is_empty() => Ok(()),
                    "ok" => Err(format!("left on the host: {left:?}")),
                    error => Err(error.to_owned()),
                }
            }
        }
    }

    fn child(&self, plan: &Plan, sources: &mut Sources, inside: &dyn Fn() -> Outcome) -> Outcome {
        if self.users {
            setresgid(0.into(), 0.into(), 0.into()).map_err(text)?;
            setresuid(0.into(), 0.into(), 0.into()).map_err(text)?;
        }
        let root = enter(plan, sources).map_err(text)?;
        let (root, late) = populate(plan, root, std::mem::take(sources)).map_err(text)?;
        let old = nix::fcntl::open("/", OFlag::O_PATH, Mode::empty()).map_err(text)?;
        let root = pivot(plan, root).map_err(text)?;
        if plan.way == Way::Move {
            // The old root stays mounted beneath the new one, but its procfs is gone or covered.
            let hidden = nix::fcntl::openat(&old, "proc/self", OFlag::O_PATH, Mode::empty());
            ensure(
                hidden.err() == Some(Errno::ENOENT),
                "the host's procfs is open",
            )?;
        }
        finish(plan, &root, late).map_err(text)?;
        inside()
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn propagate(path: &str, how: MsFlags) -> Outcome {
    let none = None::<&str>;
    mount(none, path, none, how | MsFlags::MS_REC, none).map_err(text)
}

fn fresh(fstype: &str, path: &str) -> Outcome {
    mount(
        Some("host"),
        path,
        Some(fstype),
        MsFlags::empty(),
        None::<&str>,
    )
    .map_err(text)
}

/// The lines of a mountinfo whose mount point lies below `path`.
fn mounts_below(path: &str, mountinfo: &str) -> std::result::Result<Vec<String>, String> {
    let all = fs::read_to_string(mountinfo).map_err(text)?;
    let below = |line: &&str| {
        line.split(' ')
            .nth(4)
            .is_some_and(|at| at.starts_with(path))
    };
    Ok(all.lines().filter(below).map(str::to_owned).collect())
}

/// The last mountinfo line of the mount at `path`, seen from inside.
fn line_of(path: &str) -> std::result::Result<String, String> {
    let all = fs::read_to_string("/proc/self/mountinfo").map_err(text)?;
    all.lines()
        .rfind(|line| line.split(' ').nth(4) == Some(path))
        .map(str::to_owned)
        .ok_or_else(|| format!("{path} is not mounted:\n{all}"))
}

fn expect(path: &str, part: &str) -> Outcome {
    let line = line_of(path)?;
    match line.contains(part) {
        true => Ok(()),
        false => Err(format!("{line:?} does not contain {part:?}")),
    }
}

fn ensure(what: bool, text: &str) -> Outcome {
    if what { Ok(()) } else { Err(text.to_owned()) }
}

fn nothing() -> std::io::Result<()> {
    Ok(())
}

fn at(name: &str) -> String {
    format!("{BUNDLE}/{name}")
}

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

fn with_proc(mount: Value) -> Value {
    json!([{"destination": "/proc", "type": "proc", "source": "proc"}, mount])
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
fn a_rootfs_in_a_closed_folder_is_reached_from_a_user_namespace() {
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
    let mut case = in_user_namespace(with_proc(json!(
        {"destination": "/data", "source": "data", "options": ["rbind", "ro"]})));
    case.rootless = true;
    case.run(|| fs::create_dir(at("data")), || expect("/data", " ro,"));
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
fn no_source_lies_in_what_is_mounted_for_the_container() {
    for make in [case, in_user_namespace] {
        let case = make(json!([
            {"destination": "/proc", "type": "proc"},
            {"destination": "/new", "type": "tmpfs"},
            {"destination": "/itself", "source": "/tmp/rootfs", "options": ["rbind"]},
        ]));
        case.run(nothing, || {
            line_of("/itself")?;
            ensure(line_of("/itself/new").is_err(), "a mount of the container")
        });
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
            for folder in [
                "data",
                "other/2",
                "rootfs/a/1",
                "rootfs/a/2",
                "rootfs/b/1",
                "rootfs/b/2",
            ] {
                fs::create_dir_all(at(folder))?;
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
        ensure(fs::create_dir("/x").is_err(), "the root takes folders")?;
        ensure(fs::create_dir("/dev/x").is_err(), "/dev takes folders")?;
        fs::create_dir("/deep/in/root/x").map_err(text)
    });
}

#[test]
fn nothing_is_made_in_a_read_only_source() {
    case(json!([
        {"destination": "/data", "source": "data", "options": ["bind", "ro"]},
        {"destination": "/data/new", "type": "tmpfs"},
    ]))
    .fails(
        || fs::create_dir(at("data")),
        "make the target of tmpfs on /data/new (mounts[1]): read-only file system",
    );
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
fn links_of_the_image_lead_no_mount_astray() {
    let proc = json!([{"destination": "/proc", "type": "proc"}]);
    case(proc).fails(
        || {
            fs::create_dir(at("rootfs/fake"))?;
            symlink("fake", at("rootfs/proc"))
        },
        "open the target of proc on /proc (mounts[0]): it must be a folder",
    );
    let sys = json!([{"destination": "/sys", "type": "sysfs"}]);
    case(sys).fails(|| fs::write(at("rootfs/sys"), ""), "it must be a folder");
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

#[test]
fn the_caller_s_own_mount_namespace_cannot_be_joined() {
    let mut case = case(json!([]));
    case.more = json!({"linux": {"namespaces": [{"type": "mount", "path": "/proc/self/ns/mnt"}]}});
    case.fails(nothing, "is the caller's own mount namespace");
}
