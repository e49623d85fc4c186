//! Every code, by a row that brings it about in a bundle that is clean otherwise.

use super::{ALL, Code, Files, Finding, check};
use crate::bundle::Unread;
use crate::host::{CgroupMount, Host};
use crate::plan::{CgroupManager, Options};
use crate::sys::forked::words_of_child;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A bundle, and a folder that looks like the host.
struct Case {
    folder: TempDir,
    config: Value,
    host: Host,
    manager: CgroupManager,
}

const NAMESPACES: [&str; 7] = ["user", "mount", "pid", "network", "ipc", "uts", "cgroup"];

impl Case {
    /// In which nothing is found.
    fn new() -> Case {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let case = Case {
            folder,
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
            fs::create_dir_all(case.image(place)).expect("a folder");
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

    /// A path of the host.
    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("host").join(path)
    }

    fn image(&self, path: &str) -> PathBuf {
        self.folder.path().join("bundle/rootfs").join(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn folder(&self, path: &str) {
        fs::create_dir_all(self.at(path)).expect("made");
    }

    fn program(&self, path: &Path) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
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

    /// Binds a folder of the host, made for it.
    fn bind(&mut self, source: &str, options: &[&str]) {
        self.folder(source.trim_start_matches('/'));
        let options = [&["bind"], options].concat();
        self.mount(
            json!({"destination": "/mnt", "type": "bind", "source": source, "options": options}),
        );
    }

    fn findings(&self) -> Vec<Finding> {
        let config = serde_json::to_vec(&self.config).expect("JSON");
        fs::write(self.folder.path().join("bundle/config.json"), config).expect("written");
        self.look()
    }

    /// The findings of the config as it was last written.
    fn look(&self) -> Vec<Finding> {
        let bundle = Unread::open(&self.folder.path().join("bundle"), None).expect("a bundle");
        let options = Options {
            id: "checked".to_owned(),
            bundle: bundle.path.clone(),
            cgroup_manager: self.manager,
            ..Options::default()
        };
        let files = Files::below(self.folder.path().join("host"));
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

/// A code, the JSON path of its finding, and what brings it about.
type Row = (Code, &'static str, fn(&mut Case));

const ROWS: &[Row] = &[
    (Code::ConfigInvalid, "process.args", |it| {
        it.set("/process/args", json!("sh"))
    }),
    (Code::ConfigInvalid, "linux.rootfsPropagation", |it| {
        it.set("/linux/rootfsPropagation", json!("public"))
    }),
    (Code::ConfigInvalid, "process", |it| it.remove("/process")),
    (Code::HostUnable, "process.apparmorProfile", |it| {
        it.set("/process/apparmorProfile", json!("web"))
    }),
    (Code::HostUnable, "linux.cgroupsPath", |it| {
        it.host.cgroup = None
    }),
    (Code::KernelTooOld, "ociVersion", |it| {
        it.host.kernel = (5, 10)
    }),
    (Code::KernelTooOld, "linux.resources.cpu.idle", |it| {
        it.host.kernel = (5, 14);
        it.set("/linux/resources/cpu", json!({"idle": 1}));
    }),
    (Code::NamespaceUnavailable, "linux.namespaces[0]", |it| {
        it.file("proc/sys/user/max_user_namespaces", "0\n")
    }),
    (Code::NamespaceUnavailable, "linux.namespaces[7]", |it| {
        it.config["linux"]["namespaces"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"type": "time"}));
        fs::remove_file(it.at("proc/self/ns/time")).expect("removed");
    }),
    (Code::NamespaceUnavailable, "linux.namespaces[0]", |it| {
        it.without("user");
        it.host.effective = 0;
    }),
    (Code::NamespaceUnavailable, "linux.namespaces[0]", |it| {
        it.host.effective = 0;
        it.file("proc/sys/kernel/unprivileged_userns_clone", "0\n");
    }),
    (Code::NamespacePath, "linux.namespaces[3].path", |it| {
        it.join("network", "/no/such/namespace");
    }),
    (Code::NamespacePath, "linux.namespaces[3].path", |it| {
        it.join("network", "/proc/self/ns/uts");
    }),
    (Code::NamespacePath, "linux.namespaces[1].path", |it| {
        it.join("mount", "/proc/self/ns/mnt");
    }),
    (Code::IdMapDenied, "linux.uidMappings[0].hostID", |it| {
        it.file("proc/self/uid_map", "0 100000 1000\n")
    }),
    (Code::IdMapDenied, "linux.gidMappings[0].hostID", |it| {
        (
            it.host.euid,
            it.host.egid,
            it.host.effective,
            it.host.rootless,
        ) = (1000, 1000, 0, true);
        it.file("etc/passwd", "joe:x:1000:1000::/:/bin/sh\n");
        it.file("etc/subuid", "joe:100000:65536\n");
        it.file("etc/subgid", "joe:100000:1000\nann:100000:65536\n");
    }),
    (Code::SystemdMissing, "linux.cgroupsPath", |it| {
        it.manager = CgroupManager::Systemd
    }),
    (Code::CgroupInUse, "linux.cgroupsPath", |it| {
        it.file(
            "sys/fs/cgroup/checked/cgroup.events",
            "populated 1\nfrozen 0\n",
        )
    }),
    (Code::CgroupInUse, "linux.cgroupsPath", |it| {
        it.file(
            "sys/fs/cgroup/checked/cgroup.events",
            "populated 0\nfrozen 1\n",
        )
    }),
    (Code::ControllerMissing, "linux.resources.memory", |it| {
        it.file("sys/fs/cgroup/cgroup.subtree_control", "pids\n");
        it.file("sys/fs/cgroup/cgroup.controllers", "pids\n");
    }),
    (
        Code::ControllerMissing,
        "linux.resources.unified[\"hugetlb.2MB.max\"]",
        |it| {
            it.set("/linux/resources/unified", json!({"hugetlb.2MB.max": "0"}));
        },
    ),
    (Code::RootMissing, "root.path", |it| {
        it.set("/root/path", json!("elsewhere"))
    }),
    (Code::MountSource, "mounts[4].source", |it| {
        it.mount(
            json!({"destination": "/mnt", "source": "/no/such/source", "options": ["bind", "ro"]}),
        );
    }),
    (Code::MountPointUnsafe, "mounts[0].destination", |it| {
        fs::remove_dir(it.image("proc")).expect("removed");
        symlink("sys", it.image("proc")).expect("a link");
    }),
    (Code::FileSystemUnknown, "mounts[4].type", |it| {
        it.mount(json!({"destination": "/mnt", "type": "nosuchfs"}))
    }),
    (Code::DeviceMissing, "linux.devices[0].path", |it| {
        (
            it.host.effective,
            it.host.euid,
            it.host.egid,
            it.host.rootless,
        ) = (0, 1000, 1000, true);
        it.set(
            "/linux/devices",
            json!([{"path": "/dev/rare", "type": "c", "major": 4000, "minor": 1000}]),
        );
    }),
    (Code::ProgramMissing, "process.args[0]", |it| {
        it.set("/process/args", json!(["no-such-program"]))
    }),
    (Code::ProgramMissing, "process.args[0]", |it| {
        it.set("/process/args", json!(["/bin"]))
    }),
    (Code::InterpreterMissing, "process.args[0]", |it| {
        fs::write(it.image("bin/sh"), "#!/usr/bin/no-such-shell -e\n").expect("written");
    }),
    (Code::ProgramForeign, "process.args[0]", |it| {
        fs::write(it.image("bin/sh"), "echo no first line").expect("written");
    }),
    (Code::ProgramForeign, "process.args[0]", |it| {
        // s390x, which is big-endian.
        fs::write(it.image("bin/sh"), b"\x7fELF\x02\x02\x01").expect("written");
    }),
    (Code::CwdNoFolder, "process.cwd", |it| {
        it.set("/process/cwd", json!("/bin/sh"))
    }),
    (Code::HookMissing, "hooks.createRuntime[0].path", |it| {
        it.set("/hooks", json!({"createRuntime": [{"path": "/no/hook"}]}))
    }),
    (Code::HookMissing, "hooks.startContainer[0].path", |it| {
        it.set("/hooks", json!({"startContainer": [{"path": "/no/hook"}]}))
    }),
    (Code::RlimitTooHigh, "process.rlimits[0].hard", |it| {
        it.set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2_000_000}]),
        );
    }),
    (Code::OomScoreDenied, "process.oomScoreAdj", |it| {
        it.host.effective = 0;
        it.set("/process/oomScoreAdj", json!(-5));
    }),
    (
        Code::ApparmorProfileMissing,
        "process.apparmorProfile",
        |it| {
            it.host.apparmor = true;
            it.file(
                "sys/kernel/security/apparmor/profiles",
                "docker-default (enforce)\nweb2 (enforce)\n",
            );
            it.set("/process/apparmorProfile", json!("web"));
        },
    ),
    (Code::SeccompRefused, "linux.seccomp", |it| {
        let rule = |action| json!({"names": ["read"], "action": action, "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]});
        it.set(
            "/linux/seccomp/syscalls",
            json!([rule("SCMP_ACT_ALLOW"), rule("SCMP_ACT_TRAP")]),
        );
    }),
    (Code::ListenerMissing, "linux.seccomp.listenerPath", |it| {
        it.set(
            "/linux/seccomp/syscalls/0",
            json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}),
        );
        it.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_ALLOW"));
        it.set("/linux/seccomp/listenerPath", json!("/run/agent"));
    }),
    (Code::SysctlMissing, "linux.sysctl[\"net.no.such\"]", |it| {
        it.set("/linux/sysctl", json!({"net.no.such": "1"}))
    }),
    (Code::NetDeviceMissing, "linux.netDevices[\"eth9\"]", |it| {
        it.set("/linux/netDevices", json!({"eth9": {}}))
    }),
    (Code::ResctrlMissing, "linux.intelRdt", |it| {
        it.set("/linux/intelRdt", json!({"closID": "web"}))
    }),
    (Code::HostPidNamespace, "linux.namespaces", |it| {
        it.without("pid")
    }),
    (Code::HostNetworkNamespace, "linux.namespaces", |it| {
        it.without("network")
    }),
    (
        Code::HostNetworkNamespace,
        "linux.namespaces[3].path",
        |it| {
            it.join("network", "/proc/self/ns/net");
        },
    ),
    (Code::HostMountNamespace, "linux.namespaces", |it| {
        it.without("mount");
        it.remove("/linux/maskedPaths");
        it.remove("/linux/readonlyPaths");
    }),
    (Code::IdMapHostRoot, "linux.gidMappings[0].hostID", |it| {
        it.set("/linux/gidMappings/0/hostID", json!(0))
    }),
    (
        Code::CapabilityDangerous,
        "process.capabilities.effective[1]",
        |it| {
            it.without("user");
            it.set(
                "/process/capabilities/effective",
                json!(["CAP_KILL", "CAP_SYS_ADMIN"]),
            );
        },
    ),
    (
        Code::CapabilityDangerous,
        "process.capabilities.bounding[0]",
        |it| {
            it.without("user");
            it.set("/process/capabilities/bounding", json!(["CAP_SYS_PTRACE"]));
        },
    ),
    (Code::DevicesAllAllowed, "linux.resources.devices", |it| {
        it.without("user");
        it.set("/linux/resources/devices/0/allow", json!(true));
    }),
    (Code::DeviceDangerous, "linux.devices[0]", |it| {
        it.without("user");
        it.set(
            "/linux/devices",
            json!([{"path": "/dev/disk", "type": "b", "major": 8, "minor": 0}]),
        );
    }),
    (Code::DeviceDangerous, "linux.resources.devices[1]", |it| {
        it.without("user");
        it.config["linux"]["resources"]["devices"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"allow": true, "type": "c", "major": 1, "minor": 1, "access": "r"}));
    }),
    (Code::BindHostRoot, "mounts[4].source", |it| {
        it.bind("/", &["ro"])
    }),
    (Code::BindRuntimeSocket, "mounts[4].source", |it| {
        it.bind("/run/containerd", &["ro"])
    }),
    (Code::BindRuntimeSocket, "mounts[4].source", |it| {
        it.file("run/docker.sock", "");
        it.folder("var");
        symlink("../run", it.at("var/run")).expect("a link");
        it.mount(
            json!({"destination": "/mnt", "source": "/var/run/docker.sock", "options": ["bind"]}),
        );
    }),
    (Code::BindHostKernel, "mounts[4].source", |it| {
        it.bind("/proc", &["ro"])
    }),
    (Code::BindHostKernel, "mounts[4].source", |it| {
        it.bind("/sys/fs/cgroup", &[])
    }),
    (Code::BindSystemFolder, "mounts[4].source", |it| {
        it.bind("/etc/ssh", &["rw"])
    }),
    (Code::BindSystemFolder, "mounts[4].source", |it| {
        it.bind("/var/lib/docker", &["rw"])
    }),
    (Code::ProcWritable, "linux.readonlyPaths", |it| {
        it.without("user");
        it.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    }),
    (Code::SysWritable, "mounts[2].options", |it| {
        it.without("user");
        it.set("/mounts/2/options", json!(["ro", "rw"]));
    }),
    (Code::HostCgroupWritable, "mounts[3].options", |it| {
        it.without("user");
        it.without("cgroup");
        it.remove("/mounts/3/options");
    }),
    (Code::HostIpcNamespace, "linux.namespaces", |it| {
        it.without("ipc")
    }),
    (Code::HostUtsNamespace, "linux.namespaces", |it| {
        it.without("uts")
    }),
    (Code::HostCgroupNamespace, "linux.namespaces", |it| {
        it.without("cgroup")
    }),
    (Code::HostUserNamespace, "linux.namespaces", |it| {
        it.without("user");
        it.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    }),
    (Code::RootWithoutUserNamespace, "process.user.uid", |it| {
        it.without("user")
    }),
    (
        Code::CapabilityAdded,
        "process.capabilities.effective[1]",
        |it| {
            it.without("user");
            it.set(
                "/process/capabilities/effective",
                json!(["CAP_KILL", "CAP_WAKE_ALARM"]),
            );
        },
    ),
    (
        Code::CapabilityAdded,
        "process.capabilities.bounding[0]",
        |it| {
            it.set("/process/capabilities/bounding", json!(["CAP_SYS_ADMIN"]));
        },
    ),
    (
        Code::CapabilityInheritable,
        "process.capabilities.inheritable",
        |it| {
            it.set("/process/capabilities/inheritable", json!(["CAP_KILL"]));
        },
    ),
    (Code::NewPrivileges, "process.noNewPrivileges", |it| {
        it.remove("/process/noNewPrivileges")
    }),
    (Code::SeccompMissing, "linux.seccomp", |it| {
        it.remove("/linux/seccomp")
    }),
    (
        Code::SeccompDefaultAllow,
        "linux.seccomp.defaultAction",
        |it| {
            it.set("/linux/seccomp/defaultAction", json!("SCMP_ACT_LOG"));
        },
    ),
    (
        Code::SeccompUnknownName,
        "linux.seccomp.syscalls[0].names[1]",
        |it| {
            it.set("/linux/seccomp/syscalls/0/names", json!(["read", "raed"]));
        },
    ),
    (Code::ApparmorUnconfined, "process.apparmorProfile", |it| {
        it.host.apparmor = true
    }),
    (Code::ApparmorUnconfined, "process.apparmorProfile", |it| {
        it.set("/process/apparmorProfile", json!("unconfined"))
    }),
    (Code::SelinuxUnlabelled, "process.selinuxLabel", |it| {
        it.host.selinux = true
    }),
    (Code::PathUnmasked, "linux.maskedPaths", |it| {
        it.set("/linux/maskedPaths", json!(["/proc/acpi", "/sys/firmware"]))
    }),
    (Code::PathNotReadOnly, "linux.readonlyPaths", |it| {
        it.remove("/linux/readonlyPaths")
    }),
    (Code::CgroupWritable, "mounts[3].options", |it| {
        it.remove("/mounts/3/options")
    }),
    (Code::BindAllowsSetuid, "mounts[4].options", |it| {
        it.without("user");
        it.bind("/srv/data", &["rw", "nodev"]);
    }),
    (Code::PropagationShared, "mounts[4].options", |it| {
        it.bind("/srv/data", &["ro", "rshared"])
    }),
    (Code::PropagationShared, "linux.rootfsPropagation", |it| {
        it.set("/linux/rootfsPropagation", json!("shared"))
    }),
    (Code::HookOnHost, "hooks.poststop[0]", |it| {
        it.set("/hooks", json!({"poststop": [{"path": "/no/hook"}]}))
    }),
    (
        Code::AnnotationSensitive,
        "annotations[\"run.oci.keep_original_groups\"]",
        |it| {
            it.set(
                "/annotations",
                json!({"run.oci.keep_original_groups": "1", "name": "web"}),
            );
        },
    ),
    (
        Code::MemoryUnlimited,
        "linux.resources.memory.limit",
        |it| it.set("/linux/resources/memory/limit", json!(-1)),
    ),
    (Code::PidsUnlimited, "linux.resources.pids.limit", |it| {
        it.remove("/linux/resources/pids")
    }),
];

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
    for folder in ["", "bundle", "host"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(case.folder.path().join(folder), mode).expect("changed");
    }
    // Root may write everywhere, so this is asked as somebody else.
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
    for folder in ["", "bundle", "bundle/rootfs", "host"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(case.folder.path().join(folder), mode).expect("changed");
    }
    let said = words_of_child(|| {
        for folder in [case.image("bin"), case.at("srv/data")] {
            fs::set_permissions(folder, closed.clone()).expect("changed");
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
    for folder in [case.image("bin"), case.at("srv/data")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("changed");
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
    case.folder("srv");
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
