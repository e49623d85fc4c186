//! A bundle of a test: its config, its rootfs, and the runtime's verbs on its container.

use super::lab::{CGROUP_PARENT, Lab};
use super::runtime::{Output, Running, finish};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with `config.json` and `rootfs`, and the id of its container.
pub(crate) struct Bundle<'lab> {
    lab: &'lab Lab,
    id: String,
    dir: PathBuf,
    config: Value,
}

impl<'lab> Bundle<'lab> {
    /// A bundle in `dir`, which holds the rootfs already.
    pub(crate) fn new(lab: &'lab Lab, id: String, dir: PathBuf) -> Bundle<'lab> {
        let config = plain_config(&id);
        Bundle {
            lab,
            id,
            dir,
            config,
        }
    }

    /// Runs `script` in the container's shell.
    pub(crate) fn sh(self, script: &str) -> Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Runs this program with these arguments.
    pub(crate) fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// Sets the value at a JSON pointer; objects on the way are made.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        *at(&mut self.config, pointer) = value;
        self
    }

    /// Appends to the list at a JSON pointer; it is made where missing.
    pub(crate) fn push(mut self, pointer: &str, value: Value) -> Self {
        let list = at(&mut self.config, pointer);
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().expect("a list").push(value);
        self
    }

    /// Removes the key or element at a JSON pointer.
    pub(crate) fn remove(mut self, pointer: &str) -> Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        match at(&mut self.config, parent) {
            Value::Object(map) => drop(map.remove(key)),
            Value::Array(list) => drop(list.remove(key.parse().expect("an index"))),
            other => panic!("{parent} is {other}"),
        }
        self
    }

    /// Adds a mount.
    pub(crate) fn mount(
        self,
        destination: &str,
        kind: &str,
        source: &str,
        options: &[&str],
    ) -> Self {
        self.push(
            "/mounts",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }

    /// Binds a host path.
    pub(crate) fn bind(self, source: &Path, destination: &str, options: &[&str]) -> Self {
        let options = [&["bind"], options].concat();
        self.mount(destination, "bind", &source.to_string_lossy(), &options)
    }

    /// Takes away the mount at a destination.
    pub(crate) fn without_mount(mut self, destination: &str) -> Self {
        let list = at(&mut self.config, "/mounts")
            .as_array_mut()
            .expect("a list");
        list.retain(|mount| mount["destination"] != destination);
        self
    }

    /// Takes away a namespace, so that the container stays in the caller's.
    pub(crate) fn without_namespace(mut self, kind: &str) -> Self {
        let list = at(&mut self.config, "/linux/namespaces")
            .as_array_mut()
            .expect("a list");
        list.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Adds a namespace: a new one.
    pub(crate) fn with_namespace(self, kind: &str) -> Self {
        self.push("/linux/namespaces", json!({"type": kind}))
    }

    /// Joins a namespace by path instead of making one.
    pub(crate) fn join_namespace(self, kind: &str, path: &str) -> Self {
        self.without_namespace(kind)
            .push("/linux/namespaces", json!({"type": kind, "path": path}))
    }

    /// A user namespace of its own, with ids from 100000 on the host, and a rootfs that belongs
    /// to its root.
    pub(crate) fn in_user_namespace(self) -> Self {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        for dir in [
            "", "bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "usr/bin", "var",
        ] {
            std::os::unix::fs::lchown(self.rootfs().join(dir), Some(100_000), Some(100_000))
                .unwrap();
        }
        self.with_namespace("user")
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
    }

    /// Gives the process these capabilities in its bounding, effective and permitted set.
    pub(crate) fn capabilities(self, names: &[&str]) -> Self {
        self.set(
            "/process/capabilities",
            json!({"bounding": names, "effective": names, "permitted": names}),
        )
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The bundle's directory.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// The rootfs.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// The container's cgroup on the host.
    pub(crate) fn cgroup(&self) -> PathBuf {
        self.lab.cgroup(&self.id)
    }

    /// Writes `config.json`.
    pub(crate) fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.config).unwrap();
        fs::write(self.dir.join("config.json"), text).unwrap();
    }

    /// `casulo GLOBAL… VERB --bundle B OPTIONS… ID`, with the config written.
    pub(crate) fn command(&self, global: &[&str], verb: &str, options: &[&str]) -> Command {
        self.write();
        let mut command = self.lab.command();
        command
            .args(global)
            .arg(verb)
            .arg("--bundle")
            .arg(&self.dir);
        command.args(options).arg(&self.id);
        command
    }

    /// Runs the container in the foreground to its end; nothing of it may be left then.
    #[track_caller]
    pub(crate) fn run(&self) -> Output {
        self.run_with(&[], b"")
    }

    /// The same with options of `run` and bytes for standard input.
    #[track_caller]
    pub(crate) fn run_with(&self, options: &[&str], stdin: &[u8]) -> Output {
        let output = finish(self.command(&[], "run", options), stdin);
        let left = self.lab.leftovers(&self.id);
        assert!(left.is_empty(), "left behind: {left:#?} after {output:#?}");
        output
    }

    /// Runs the container detached; it must start.
    #[track_caller]
    pub(crate) fn run_detached(&self) -> &Self {
        finish(self.command(&[], "run", &["--detach"]), b"").ok();
        self
    }

    /// Starts `run` in the foreground and does not wait.
    pub(crate) fn running(&self) -> Running {
        Running::new(self.command(&[], "run", &[]), b"")
    }

    /// `create`, with options. Where it fails, nothing may be left.
    #[track_caller]
    pub(crate) fn create(&self, options: &[&str]) -> Output {
        let output = finish(self.command(&[], "create", options), b"");
        if output.code != 0 {
            let left = self.lab.leftovers(&self.id);
            assert!(left.is_empty(), "left behind: {left:#?} after {output:#?}");
        }
        output
    }

    /// A verb with nothing but the id.
    #[track_caller]
    pub(crate) fn verb(&self, verb: &str) -> Output {
        self.lab.casulo(&[verb, &self.id])
    }

    /// `casulo VERB OPTIONS… ID REST…`
    #[track_caller]
    pub(crate) fn call(&self, verb: &str, options: &[&str], rest: &[&str]) -> Output {
        let mut args = vec![verb];
        args.extend(options);
        args.push(&self.id);
        args.extend(rest);
        self.lab.casulo(&args)
    }

    /// `exec` of a shell script in the running container.
    #[track_caller]
    pub(crate) fn exec(&self, script: &str) -> Output {
        self.call("exec", &[], &["/bin/sh", "-c", script])
    }

    /// The document that `state` prints.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.verb("state").ok().stdout).unwrap()
    }

    /// The container's status, as `state` prints it.
    #[track_caller]
    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Pid of the container's init on the host.
    #[track_caller]
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// Waits until the container's process has ended.
    #[track_caller]
    pub(crate) fn wait_stopped(&self) {
        super::wait_until("the container stops", || self.status() == "stopped");
    }
}

/// The value at a JSON pointer, made where it is missing.
fn at<'value>(config: &'value mut Value, pointer: &str) -> &'value mut Value {
    pointer
        .split('/')
        .skip(1)
        .fold(config, |value, key| match value {
            Value::Array(list) => list
                .get_mut(key.parse::<usize>().expect("an index"))
                .expect("an element"),
            other => &mut other[key],
        })
}

/// A config like the ones engines write: all namespaces but the user's, the usual mounts and masks.
fn plain_config(id: &str) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            },
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs"},
        "hostname": "bundle",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"])
        ],
        "linux": {
            "cgroupsPath": format!("/{CGROUP_PARENT}/{id}"),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}
