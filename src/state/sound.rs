//! What of a record no casulo writes: nothing that reads one later has to expect it.

use super::State;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// More than RFC 3339 with nanoseconds takes.
const LONGEST_TIME: usize = 64;

impl State {
    /// The first field with a value that none has; None for a sound record.
    pub(crate) fn unsound(&self) -> Option<&'static str> {
        let is_below = |path: &Path| {
            path.components()
                .all(|part| matches!(part, Component::Normal(_)))
        };
        let checks = [
            ("namespaces", self.namespaces.is_known()),
            ("init_process_pid", self.init_process_pid >= 0),
            ("creator", self.creator.pid >= 0),
            ("created", is_time(&self.created)),
            ("bundle", is_path(&self.bundle)),
            ("rootfs", is_path(&self.rootfs)),
            ("cgroup_paths", self.cgroup_paths.values().all(is_path)),
            ("cgroup_parents", self.cgroup_parents.iter().all(is_path)),
            ("intel_rdt_paths", self.intel_rdt_paths.iter().all(is_path)),
            ("notify_folder", self.notify_directory.iter().all(is_path)),
            (
                "delegate_cgroup",
                self.delegate_cgroup
                    .iter()
                    .all(|path| is_path(path) && is_below(path)),
            ),
        ];
        let wrong = checks.into_iter().find(|(_, is_sound)| !is_sound);
        wrong.map(|(field, _)| field)
    }
}

/// Of a path, and of none: short enough for the kernel, and without a NUL.
fn is_path(path: impl AsRef<Path>) -> bool {
    let bytes = path.as_ref().as_os_str().as_bytes();
    bytes.len() < libc::PATH_MAX as usize && !bytes.contains(&0)
}

fn is_time(text: &str) -> bool {
    text.len() <= LONGEST_TIME && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::{Kind, Kinds};
    use crate::state::{Store, now};
    use serde_json::json;

    #[test]
    fn what_no_casulo_writes_is_an_error_that_names_the_field() {
        let root = tempfile::tempdir().expect("directory");
        let sound = State {
            id: "web".to_owned(),
            created: now(),
            namespaces: Kinds::from_iter(Kind::ALL),
            delegate_cgroup: Some("a/b".into()),
            ..State::default()
        };
        let dir = Store::at(root.path().to_owned())
            .reserve(&sound)
            .expect("reserved");
        assert_eq!(dir.read().expect("sound"), sound);
        for (field, value) in [
            ("namespaces", json!(1u64 << 31)),
            ("namespaces", json!(1u64 << 40)),
            ("namespaces", json!(u64::MAX)),
            ("namespaces", json!(libc::CLONE_VM)),
            ("init_process_pid", json!(-1)),
            ("creator", json!([-1, 0])),
            ("created", json!("x".repeat(100_000))),
            ("created", json!("\u{1b}[2J")),
            ("bundle", json!("/a\0b")),
            ("bundle", json!(format!("/{}", "x".repeat(100_000)))),
            ("rootfs", json!("\0")),
            ("cgroup_paths", json!({"": "/sys/fs/cgroup/a\0b"})),
            ("cgroup_parents", json!(["/a", "\0"])),
            ("intel_rdt_paths", json!(["\0"])),
            ("notify_folder", json!("/run/\0")),
            ("delegate_cgroup", json!("../../..")),
            ("delegate_cgroup", json!("/")),
            ("delegate_cgroup", json!("a\0")),
        ] {
            let mut forged = serde_json::to_value(&sound).expect("a document");
            forged[field] = value.clone();
            let file = root.path().join("web/state.json");
            std::fs::write(file, forged.to_string()).expect("written");
            let error = dir.read().expect_err("forged").to_string();
            assert!(error.contains(field), "{value}: {error}");
            assert!(error.contains("no casulo writes"), "{value}: {error}");
        }
    }

    #[test]
    fn what_stands_in_for_a_record_is_not_believed_either() {
        let root = tempfile::tempdir().expect("directory");
        let sound = State {
            id: "web".to_owned(),
            ..State::default()
        };
        let dir = Store::at(root.path().to_owned())
            .reserve(&sound)
            .expect("reserved");
        dir.keep_identity(&sound).expect("kept");
        assert_eq!(dir.kept_identity(), Some(sound.clone()));
        let forged = State {
            namespaces: serde_json::from_value(json!(1u64 << 31)).expect("a word"),
            ..sound
        };
        dir.keep_identity(&forged).expect("kept");
        assert_eq!(dir.kept_identity(), None);
    }
}
