//! Every code, by a row that causes it in a bundle that is otherwise clean.

mod rows;

use super::{ALL, Code, Files, Finding, check};
use crate::bundle::Unread;
use crate::host::{CgroupMount, Host};
use crate::options::{CgroupManager, Options};
use crate::sys::forked::words_of_child;
use rows::ROWS;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A bundle, and a directory that looks like the host.
struct Case {
    directory: TempDir,
    config: Value,
    host: Host,
    manager: CgroupManager,
}

const NAMESPACES: [&str; 7] = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"];

impl Case {
    /// Makes a case in which nothing is found.
    fn new() -> Case {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let case = Case {
            directory,
            config: clean_config(),
            host: Host {
                cgroup: Some(CgroupMount {
                    path: "/sys/fs/cgroup".into(),
                    own: None,
                }),
                ..Host::of_root()
            },
            manager: CgroupManager::Cgroupfs,
        };
        for place in ["proc", "sys", "dev"] {
            fs::create_dir_all(case.image(place)).expect("a directory");
        }
        case.program(&case.image("bin/sh"));
        for (path, text) in [
            (
                "proc/filesystems",
                "nodev\tproc\nnodev\ttmpfs\nnodev\tsysfs\nnodev\tcgroup2\nnodev\tdevpts\n",
            ),
            ("proc/self/uid_map", "         0          0 4294967295\n"),
            ("proc/self/gid_map", "         0          0 4294967295\n"),
            ("proc/self/oom_score_adj", "0\n"),
            ("proc/sys/fs/nr_open", "1048576\n"),
            ("proc/sys/user/max_user_namespaces", "1000\n"),
            ("proc/sys/kernel/osrelease", "6.12.0\n"),
            ("proc/kcore", ""),
            ("proc/acpi/wakeup", ""),
            ("sys/firmware/x", ""),
            ("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n"),
            ("sys/fs/cgroup/cgroup.subtree_control", "memory pids\n"),
            (
                "lib/modules/6.12.0/modules.dep",
                "kernel/fs/ext4/ext4.ko:\n",
            ),
            ("lib/modules/6.12.0/modules.alias", "alias fs-xfs xfs\n"),
        ] {
            case.file(path, text);
        }
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"] {
            case.file(&format!("proc/self/ns/{kind}"), "");
        }
        symlink("/dev", case.at("dev")).expect("a link");
        case
    }

    /// Returns a path of the host.
    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("host").join(path)
    }

    fn image(&self, path: &str) -> PathBuf {
        self.directory.path().join("bundle/rootfs").join(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn directory(&self, path: &str) {
        fs::create_dir_all(self.at(path)).expect("made");
    }

    fn program(&self, path: &Path) {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        // The beginning of an ELF file for this machine, without a loader.
        let own = fs::read("/proc/self/exe").expect("a program");
        let mut elf = own.get(..20).expect("a long one").to_vec();
        elf.resize(64, 0);
        fs::write(path, elf).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("changed");
    }

    fn set(&mut self, pointer: &str, value: Value) {
        let (above, key) = pointer.rsplit_once('/').expect("a pointer");
        match self.config.pointer_mut(above).expect("what is above") {
            Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value,
            map => map[key] = value,
        }
    }

    fn remove(&mut self, pointer: &str) {
        let (above, key) = pointer.rsplit_once('/').expect("a pointer");
        match self.config.pointer_mut(above).expect("what is above") {
            Value::Object(map) => drop(map.remove(key)),
            Value::Array(list) => drop(list.remove(key.parse().expect("an index"))),
            other => panic!("{other}"),
        }
    }

    fn without(&mut self, namespace: &str) {
        let list = self.config["linux"]["namespaces"]
            .as_array_mut()
            .expect("a list");
        list.retain(|it| it["type"] != namespace);
        if namespace == "user" {
            self.remove("/linux/uidMappings");
            self.remove("/linux/gidMappings");
        }
    }

    fn join(&mut self, namespace: &str, path: &str) -> usize {
        let list = self.config["linux"]["namespaces"]
            .as_array_mut()
            .expect("a list");
        let index = list
            .iter()
            .position(|it| it["type"] == namespace)
            .expect("listed");
        list[index]["path"] = json!(path);
        index
    }

    fn mount(&mut self, mount: Value) {
        self.config["mounts"]
            .as_array_mut()
            .expect("a list")
            .push(mount);
    }

    /// Makes a directory of the host and binds it.
    fn bind(&mut self, source: &str, options: &[&str]) {
        self.directory(source.trim_start_matches('/'));
        let options = [&["bind"], options].concat();
        self.mount(
            json!({"destination": "/mnt", "type": "bind", "source": source, "options": options}),
        );
    }

    fn findings(&self) -> Vec<Finding> {
        let config = serde_json::to_vec(&self.config).expect("JSON");
        fs::write(self.directory.path().join("bundle/config.json"), config).expect("written");
        self.look()
    }

    /// Returns the findings of the config as it was last written.
    fn look(&self) -> Vec<Finding> {
        let bundle = Unread::open(&self.directory.path().join("bundle"), None).expect("a bundle");
        let options = Options {
            cgroup_manager: self.manager,
            ..Options::new("checked".parse().expect("an id"), bundle.path.clone())
        };
        let files = Files::below(self.directory.path().join("host"));
        check(&bundle, &options, &self.host, &files).expect("a report")
    }
}

fn clean_config() -> Value {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    let namespaces: Vec<Value> = NAMESPACES.iter().map(|it| json!({"type": it})).collect();
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
        ],
        "linux": {
            "namespaces": namespaces,
            "uidMappings": map,
            "gidMappings": map,
            "resources": {
                "devices": [{"allow": false, "access": "rwm"}],
                "memory": {"limit": 1 << 30},
                "pids": {"limit": 100},
            },
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [{"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}],
            },
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

#[test]
fn nothing_is_found_in_a_clean_bundle() {
    assert_eq!(Case::new().findings(), []);
}

#[test]
fn each_code_is_found_where_its_cause_is() {
    for (place, (code, path, cause)) in ROWS.iter().enumerate() {
        let mut case = Case::new();
        cause(&mut case);
        let findings = case.findings();
        let is_it = |it: &Finding| it.code == *code && it.path == *path;
        assert!(
            findings.iter().any(is_it),
            "row {place}, {} at {path}: {findings:#?}",
            code.as_str()
        );
    }
}

#[test]
fn a_cgroup_that_the_caller_may_not_make_is_found() {
    let mut case = Case::new();
    case.remove("/linux/resources");
    case.findings();
    for directory in ["", "bundle", "host"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(case.directory.path().join(directory), mode).expect("changed");
    }
    // Root may write everywhere, so another user asks.
    let said = words_of_child(|| {
        let mode = fs::Permissions::from_mode(0o555);
        let _ = fs::set_permissions(case.at("sys/fs/cgroup"), mode);
        if nix::unistd::geteuid().is_root() {
            nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).expect("another user");
        }
        let findings = case.look();
        let denied = findings.iter().find(|it| it.code == Code::CgroupDenied);
        Ok(denied.map_or("nothing", |it| &it.path).to_owned())
    });
    let _ = fs::set_permissions(case.at("sys/fs/cgroup"), fs::Permissions::from_mode(0o755));
    assert_eq!(said, "linux.cgroupsPath");
}

#[test]
fn every_code_has_a_row_here_and_one_in_the_documentation() {
    let rows = ROWS.iter().map(|(code, ..)| code.as_str());
    let reached: BTreeSet<&str> = rows.chain([Code::CgroupDenied.as_str()]).collect();
    let all: BTreeSet<&str> = ALL.iter().map(|(_, name, ..)| *name).collect();
    assert_eq!(reached, all);
    assert_eq!(all.len(), ALL.len(), "a name stands for two codes");
    let document = include_str!("../../docs/check.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<(&str, &str)> = rows
        .filter_map(|row| {
            let mut cells = row.split('|').map(|it| it.trim().trim_matches('`'));
            Some((cells.next()?, cells.next()?))
        })
        .filter(|(_, severity)| ["fail", "danger", "weak"].contains(severity))
        .collect();
    let ours: Vec<(&str, &str)> = ALL
        .iter()
        .map(|(_, name, severity, _)| (*name, severity.as_str()))
        .collect();
    assert_eq!(documented, ours);
}

#[test]
fn what_a_mount_brings_is_not_missed() {
    for destination in ["/opt", "/usr"] {
        let mut case = Case::new();
        symlink("/usr/local/bin/tool", case.image("bin/tool")).expect("a link");
        symlink("/opt/local", case.image("usr")).expect("a link");
        case.set("/process/args", json!(["tool"]));
        assert_eq!(case.findings().len(), 1, "nothing is mounted yet");
        case.bind("/srv/data", &["ro"]);
        case.set("/mounts/4/destination", json!(destination));
        assert_eq!(case.findings(), [], "{destination}");
    }
}

#[test]
fn what_is_closed_to_an_ordinary_user_may_be_open_to_root_of_a_user_namespace() {
    let closed = fs::Permissions::from_mode(0o000);
    let mut case = Case::new();
    case.bind("/srv/data/below", &["ro"]);
    case.findings();
    for directory in ["", "bundle", "bundle/rootfs", "host"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(case.directory.path().join(directory), mode).expect("changed");
    }
    let said = words_of_child(|| {
        for directory in [case.image("bin"), case.at("srv/data")] {
            fs::set_permissions(directory, closed.clone()).expect("changed");
        }
        if nix::unistd::geteuid().is_root() {
            nix::unistd::setuid(nix::unistd::Uid::from_raw(65534)).expect("another user");
        }
        let mut said = String::new();
        for effective in [u64::MAX, 0] {
            case.host.effective = effective;
            let is_closed =
                |it: &&Finding| matches!(it.code, Code::ProgramMissing | Code::MountSource);
            said += &case.look().iter().filter(is_closed).count().to_string();
        }
        Ok(said)
    });
    for directory in [case.image("bin"), case.at("srv/data")] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("changed");
    }
    assert_eq!(said, "20");
}

#[test]
fn what_an_emulator_may_run_is_not_foreign() {
    let case = Case::new();
    fs::write(case.image("bin/sh"), b"\x7fELF\x02\x02\x01").expect("written");
    for name in ["register", "status"] {
        case.file(&format!("proc/sys/fs/binfmt_misc/{name}"), "");
    }
    assert_eq!(case.findings().len(), 1);
    case.file("proc/sys/fs/binfmt_misc/qemu-s390x", "");
    assert_eq!(case.findings(), []);
}

#[test]
fn a_link_that_is_copied_may_lead_nowhere() {
    let mut case = Case::new();
    case.directory("srv");
    symlink("/no/such/target", case.at("srv/link")).expect("a link");
    for (options, failures) in [
        (&["bind", "ro"][..], 1),
        (&["bind", "ro", "copy-symlink"], 0),
    ] {
        let mount = json!({"destination": "/mnt", "source": "/srv/link", "options": options});
        case.config["mounts"]
            .as_array_mut()
            .expect("a list")
            .truncate(4);
        case.mount(mount);
        let findings = case.findings();
        let missing = findings.iter().filter(|it| it.code == Code::MountSource);
        assert_eq!(missing.count(), failures, "{options:?}");
    }
}

#[test]
fn a_source_that_an_earlier_mount_may_make_is_not_missing() {
    let mut case = Case::new();
    case.directory("srv");
    let rootfs = case.image("");
    let upper = json!({"destination": "/a", "source": "/srv", "options": ["bind", "ro"]});
    let made = json!({"destination": "/b", "source": "/srv/new", "options": ["bind", "ro"]});
    let inside = rootfs.join("a/new");
    let inside = json!({"destination": "/c", "source": inside, "options": ["bind", "ro"]});
    for (mounts, missing) in [([&upper, &made, &inside], 0), ([&made, &inside, &upper], 2)] {
        case.config["mounts"]
            .as_array_mut()
            .expect("a list")
            .truncate(4);
        for mount in mounts {
            case.mount(mount.clone());
        }
        let findings = case.findings();
        let found = findings.iter().filter(|it| it.code == Code::MountSource);
        assert_eq!(found.count(), missing, "{mounts:?}");
    }
}

#[test]
fn a_module_that_can_be_loaded_is_a_file_system_that_is_there() {
    for name in ["ext4", "xfs", "tmpfs"] {
        let mut case = Case::new();
        case.mount(json!({"destination": "/mnt", "type": name, "source": "/dev/none"}));
        assert_eq!(case.findings(), [], "{name}");
    }
}

#[test]
fn findings_come_worst_first_and_each_once() {
    let mut case = Case::new();
    case.without("pid");
    case.without("uts");
    case.remove("/process/noNewPrivileges");
    case.set("/process/args", json!(["no-such-program"]));
    let codes: Vec<Code> = case.findings().iter().map(|it| it.code).collect();
    assert_eq!(
        codes,
        [
            Code::ProgramMissing,
            Code::HostPidNamespace,
            Code::HostUtsNamespace,
            Code::NewPrivileges
        ]
    );
}
