//! Bundles as an engine writes them when it is told nothing: Docker's capabilities, mounts, masks,
//! device rules and seccomp profile, and a few variants of them.

use crate::place::{MAPPED, PROGRAM, Place};
use crate::runtimes::Runtime;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Docker's list of system calls, as `bundles/limited` has it.
pub(crate) const PROFILE: &str = include_str!("../bundles/limited/config.json");

const CAPABILITIES: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// How a config differs from the engine's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Default,
    WithoutSeccomp,
    WithUserNamespace,
    /// All that a config can ask for: also an ordinary user, no capabilities, no_new_privs, a read-only
    /// root and a time namespace.
    Strict,
}

/// What a container may use; an engine sets such limits only when it is told to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The disk whose writes are limited.
    pub(crate) disk: Option<(u64, u64)>,
}

impl Limits {
    fn resources(self) -> Value {
        let mut resources = json!({
            "memory": {"limit": 64 << 20, "swap": 64 << 20},
            "pids": {"limit": 32},
            "cpu": {"quota": 20_000, "period": 100_000},
        });
        if let Some((major, minor)) = self.disk {
            resources["blockIO"] = json!({
                "throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": 1_000_000}]
            });
        }
        resources
    }
}

/// A container to be run: its id is the name of its bundle.
pub(crate) struct Container<'a> {
    pub(crate) place: &'a Place,
    pub(crate) runtime: &'a Runtime,
    pub(crate) id: String,
    pub(crate) flavour: Flavour,
    pub(crate) limits: Option<Limits>,
}

impl Container<'_> {
    /// `RUNTIME run`, in the foreground or detached, with the bundle written.
    pub(crate) fn run(&self, options: &[&str], words: &[&str]) -> Result<Command> {
        let bundle = self.bundle();
        fs::create_dir_all(&bundle)?;
        let config = serde_json::to_vec(&self.config(words))?;
        fs::write(bundle.join("config.json"), config)?;
        let mut command = self.command();
        command.arg("run").args(options);
        command.arg("--bundle").arg(bundle).arg(&self.id);
        Ok(command)
    }

    /// `RUNTIME exec` of this program with other words.
    pub(crate) fn exec(&self, words: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["exec", &self.id, PROGRAM]).args(words);
        command
    }

    /// `RUNTIME delete --force`
    pub(crate) fn delete(&self) -> Command {
        let mut command = self.command();
        command.args(["delete", "--force", &self.id]);
        command
    }

    /// The number of its process on the host, as `state` prints it.
    pub(crate) fn pid(&self) -> Result<u32> {
        let mut command = self.command();
        let output = command.args(["state", &self.id]).output()?;
        let state: Value = serde_json::from_slice(&output.stdout)?;
        let pid = state["pid"].as_u64().and_then(|pid| pid.try_into().ok());
        pid.context("state has no pid")
    }

    fn command(&self) -> Command {
        let mut command = self.runtime.command();
        let state = self.place.state().join(&self.runtime.name);
        command.arg("--root").arg(state);
        command
    }

    fn bundle(&self) -> PathBuf {
        self.place.join(&self.id)
    }

    fn config(&self, words: &[&str]) -> Value {
        let mut config = default_config(words);
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{}", self.place.cgroup, self.id));
        config["root"]["path"] = json!(self.place.root());
        if let Some(limits) = self.limits
            && let (Some(all), Value::Object(more)) = (
                config["linux"]["resources"].as_object_mut(),
                limits.resources(),
            )
        {
            all.extend(more);
        }
        match self.flavour {
            Flavour::Default => {}
            Flavour::WithoutSeccomp => drop(remove(&mut config["linux"], "seccomp")),
            Flavour::WithUserNamespace => self.map_users(&mut config),
            Flavour::Strict => {
                self.map_users(&mut config);
                config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
                config["process"]["noNewPrivileges"] = json!(true);
                config["process"]["capabilities"] = json!({});
                config["root"]["readonly"] = json!(true);
                config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000}});
                append(&mut config["linux"]["namespaces"], json!({"type": "time"}));
            }
        }
        config
    }

    fn map_users(&self, config: &mut Value) {
        let map = json!([{"containerID": 0, "hostID": MAPPED, "size": 65536}]);
        config["root"]["path"] = json!(self.place.mapped_root());
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        append(&mut config["linux"]["namespaces"], json!({"type": "user"}));
    }
}

fn append(list: &mut Value, value: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(value);
    }
}

fn remove(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut()?.remove(key)
}

fn default_config(words: &[&str]) -> Value {
    let profile: Value = serde_json::from_str(PROFILE).expect("the sample bundle is JSON");
    let args: Vec<&str> = [&[PROGRAM], words].concat();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES
            }
        },
        "root": {},
        "hostname": "container",
        "mounts": mounts(),
        "linux": {
            "resources": {"devices": devices()},
            "namespaces": [
                {"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"},
                {"type": "uts"}, {"type": "cgroup"}
            ],
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
            "seccomp": profile["linux"]["seccomp"]
        }
    })
}

fn mounts() -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!([
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"]
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620"
            ]
        ),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"]
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
        )
    ])
}

/// Nothing but making nodes, and using those that are no danger.
fn devices() -> Value {
    let allow = |kind: &str, major: Option<u32>, minor: Option<u32>, access: &str| json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access});
    let mut rules = vec![
        json!({"allow": false, "access": "rwm"}),
        json!({"allow": true, "type": "c", "access": "m"}),
        json!({"allow": true, "type": "b", "access": "m"}),
    ];
    for minor in [3, 5, 7, 8, 9] {
        rules.push(allow("c", Some(1), Some(minor), "rwm"));
    }
    for minor in [0, 1, 2] {
        rules.push(allow("c", Some(5), Some(minor), "rwm"));
    }
    rules.push(json!({"allow": true, "type": "c", "major": 136, "access": "rwm"}));
    json!(rules)
}
