//! `casulo spec`: writes a config.json to start from.

use crate::error::{Code, Context, Error, Result};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::ser::{PrettyFormatter, Serializer as JsonSerializer};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Writes the document to `file`, relative to the directory `bundle`: over what it holds, as the user named it
/// (crun's `--file`). Without one, to a `config.json` that is not there yet. `rootless` is the user and group who
/// will run it without privileges.
///
/// # Errors
/// `E_IO` if the `config.json` exists, or the file cannot be written.
pub(crate) fn run(bundle: &Path, file: Option<&Path>, rootless: Option<(u32, u32)>) -> Result<()> {
    let path = bundle.join(file.unwrap_or(Path::new("config.json")));
    let text = text(&document(rootless));
    let mut options = OpenOptions::new();
    match file {
        Some(_) => options.create(true).truncate(true),
        // O_EXCL: to look first would leave a moment in which the file can appear.
        None => options.create_new(true),
    };
    let opened = options.write(true).open(&path);
    let mut file = match opened {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("{} exists, remove it first", path.display());
            return Err(Error::new(Code::Io, message));
        }
        opened => opened.context(Code::Io, "create", path.display())?,
    };
    file.write_all(text.as_bytes())
        .context(Code::Io, "write", path.display())
}

/// A config for a shell on a terminal in a root file system at `rootfs`: no new privileges, three
/// capabilities, read-only root, a namespace of every kind that needs no further settings, no
/// device but the default ones.
///
/// With `rootless` (uid, gid): what an ordinary user with these ids may run. A user namespace maps
/// them to root, and what takes privileges over the host is left out: a network namespace (it
/// would have no way out), a sysfs of one's own (it belongs to the network namespace, so the
/// host's is bound), groups that are not mapped, and resources (a cgroup must be delegated).
pub(crate) fn document(rootless: Option<(u32, u32)>) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut linux = json!({
        "maskedPaths": [
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
        ],
        "readonlyPaths": [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ],
    });
    match rootless {
        None => {
            linux["namespaces"] = namespaces(&["pid", "network", "ipc", "uts", "mount", "cgroup"]);
            linux["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
        }
        Some((uid, gid)) => {
            linux["namespaces"] = namespaces(&["pid", "ipc", "uts", "mount", "cgroup", "user"]);
            linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
            linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
        }
    }
    json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "casulo",
        "mounts": mounts(rootless),
        "linux": linux,
    })
}

fn namespaces(types: &[&str]) -> Value {
    types.iter().map(|name| json!({"type": name})).collect()
}

/// `rootless` is whom the user namespace maps, if there is one.
fn mounts(rootless: Option<(u32, u32)>) -> Value {
    let mut pts = vec![
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
    ];
    if rootless.is_none() {
        // The tty group of most distributions. In the user namespace it would not be mapped.
        pts.push("gid=5");
    }
    let sys = if rootless.is_some() {
        mount(
            "/sys",
            "none",
            "/sys",
            &["rbind", "nosuid", "noexec", "nodev", "ro"],
        )
    } else {
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", "ro"],
        )
    };
    json!([
        mount("/proc", "proc", "proc", &[]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"]
        ),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
        ),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"]
        ),
        sys,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"]
        ),
    ])
}

fn mount(destination: &str, fs_type: &str, source: &str, options: &[&str]) -> Value {
    let mut mount = json!({"destination": destination, "type": fs_type, "source": source});
    if !options.is_empty() {
        mount["options"] = json!(options);
    }
    mount
}

/// The document as a person wants to read it: four spaces, the top-level members in the
/// specification's order.
fn text(document: &Value) -> String {
    struct Ordered<'a>(&'a Value);
    impl Serialize for Ordered<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            const ORDER: [&str; 6] = [
                "ociVersion",
                "process",
                "root",
                "hostname",
                "mounts",
                "linux",
            ];
            let mut map = serializer.serialize_map(Some(ORDER.len()))?;
            for name in ORDER {
                if let Some(member) = self.0.get(name) {
                    map.serialize_entry(name, member)?;
                }
            }
            map.end()
        }
    }
    let mut bytes = Vec::new();
    let format = PrettyFormatter::with_indent(b"    ");
    Ordered(document)
        .serialize(&mut JsonSerializer::with_formatter(&mut bytes, format))
        .expect("strings and numbers in memory always serialize");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("serde_json writes UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn without(value: &Value, pointers: &[&str]) -> Value {
        let mut value = value.clone();
        for pointer in pointers {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = value.pointer_mut(parent).unwrap();
            match name.parse::<usize>() {
                Ok(index) => drop(parent.as_array_mut().unwrap().remove(index)),
                Err(_) => drop(parent.as_object_mut().unwrap().remove(name)),
            }
        }
        value
    }

    #[test]
    fn both_documents_are_valid_and_complete_in_the_text() {
        for rootless in [None, Some((1000, 100))] {
            let document = document(rootless);
            let text = text(&document);
            config::parse(text.as_bytes(), "config.json").expect("our own document");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
            assert!(text.starts_with("{\n    \"ociVersion\": \"1.3.0\",\n    \"process\""));
        }
    }

    #[test]
    fn rootless_maps_the_caller_and_leaves_out_what_takes_privileges() {
        let root = document(None);
        let user = document(Some((1000, 100)));
        assert_eq!(
            user["linux"]["uidMappings"],
            json!([{"containerID": 0, "hostID": 1000, "size": 1}])
        );
        assert_eq!(
            user["linux"]["gidMappings"],
            json!([{"containerID": 0, "hostID": 100, "size": 1}])
        );
        assert_eq!(
            user["linux"]["namespaces"],
            namespaces(&["pid", "ipc", "uts", "mount", "cgroup", "user"])
        );
        assert_eq!(
            user["mounts"][2]["options"],
            json!([
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620"
            ])
        );
        assert_eq!(user["mounts"][5]["type"], "none");
        assert_eq!(user["mounts"][5]["source"], "/sys");
        // Nothing else differs.
        let differing = ["/linux/namespaces", "/mounts/5", "/mounts/2/options"];
        let root = without(&without(&root, &differing), &["/linux/resources"]);
        let user = without(
            &without(&user, &differing),
            &["/linux/uidMappings", "/linux/gidMappings"],
        );
        assert_eq!(root, user);
    }

    #[test]
    fn the_rootless_sample_bundle_is_what_is_written() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/bundles/rootless/config.json");
        let sample = std::fs::read_to_string(file).unwrap();
        assert_eq!(sample, text(&document(Some((1000, 1000)))));
    }

    #[test]
    fn an_existing_file_is_not_overwritten_unless_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        run(directory.path(), None, None).expect("the first");
        let written = std::fs::read_to_string(directory.path().join("config.json")).unwrap();
        assert_eq!(written, text(&document(None)));
        let error = run(directory.path(), None, Some((1, 1))).unwrap_err();
        assert_eq!(error.code, Code::Io);
        assert!(
            error
                .to_string()
                .ends_with("config.json exists, remove it first"),
            "{error}"
        );
        let after = std::fs::read_to_string(directory.path().join("config.json")).unwrap();
        assert_eq!(after, written);
        // Unless the user names it.
        let named = Some(Path::new("config.json"));
        run(directory.path(), named, Some((1000, 1000))).expect("named");
        let after = std::fs::read_to_string(directory.path().join("config.json")).unwrap();
        assert_eq!(after, text(&document(Some((1000, 1000)))));
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = run(Path::new("/nonexistent"), None, None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("create /nonexistent/config.json: "),
            "{error}"
        );
    }
}
