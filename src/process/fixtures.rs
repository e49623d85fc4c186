//! What the tests of this directory share: a process, a config, a root.

use crate::root::Root;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Process, Spec};

/// A process object: `more` over `user`, `cwd` and `args` that do.
pub(crate) fn process(more: &str) -> Process {
    let mut object = serde_json::json!({
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["true"], "env": ["HOME=/", "PATH=/bin"]
    });
    let more: serde_json::Value = serde_json::from_str(more).expect("an object");
    for (key, value) in more.as_object().expect("an object") {
        object[key] = value.clone();
    }
    serde_json::from_value(object).expect("a process")
}

/// A config.
pub(crate) fn spec(json: &str) -> Spec {
    serde_json::from_str(json).expect("a config")
}

/// An empty directory as a container's root.
pub(crate) fn root() -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let fd = open(directory.path(), flags, Mode::empty()).expect("open it");
    (directory, Root::from_fd(fd))
}

/// The value of a line of /proc/self/status.
pub(crate) fn status_line(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("a line").trim().to_owned()
}
