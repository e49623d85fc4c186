//! Each code, with a bundle that causes it.

use super::*;

/// A code, the JSON path of its finding, and a function that causes it.
pub(super) type Row = (Code, &'static str, fn(&mut Case));

pub(super) const ROWS: &[Row] = &[
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
    (Code::CwdNoDirectory, "process.cwd", |it| {
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
        it.directory("var");
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
    (Code::BindSystemDirectory, "mounts[4].source", |it| {
        it.bind("/etc/ssh", &["rw"])
    }),
    (Code::BindSystemDirectory, "mounts[4].source", |it| {
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
    (Code::MemberCase, "linux.resources.CPU", |it| {
        it.set("/linux/resources/CPU", json!({}))
    }),
    (
        Code::MemoryUnlimited,
        "linux.resources.memory.limit",
        |it| it.set("/linux/resources/memory/limit", json!(-1)),
    ),
    (Code::PidsUnlimited, "linux.resources.pids.limit", |it| {
        it.remove("/linux/resources/pids")
    }),
];
