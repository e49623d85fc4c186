//! What the tests of this folder share: a host, a process, a child to try things in.

use crate::error::Result;
use crate::host::Host;
use crate::rootfs::root::Root;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, fork, geteuid, pipe, write};
use oci_spec::runtime::{Process, Spec};
use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A host where casulo is root with everything, and no LSM is enabled.
pub(crate) fn host() -> Host {
    Host {
        euid: 0,
        egid: 0,
        effective: (1 << 41) - 1,
        bounding: (1 << 41) - 1,
        last_cap: 40,
        rootless: false,
        in_user_namespace: false,
        cgroup: None,
        kernel: (6, 12),
        apparmor: false,
        selinux: false,
    }
}

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

/// An empty folder as a container's root.
pub(crate) fn root() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let fd = open(folder.path(), flags, Mode::empty()).expect("open it");
    (folder, Root::from_fd(fd))
}

/// Tests that change identity or scheduling need root.
pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// The value of a line of /proc/self/status.
pub(crate) fn status_line(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("a line").trim().to_owned()
}

/// Runs `work` in a forked child, and returns its text, or its error's, or its panic's.
pub(crate) fn in_child(work: impl FnOnce() -> Result<String>) -> String {
    let (from_child, to_parent) = pipe().expect("a pipe");
    #[allow(
        unsafe_code,
        reason = "musl's fork keeps the allocator usable in a threaded test"
    )]
    // SAFETY: the child runs `work` and leaves by _exit; musl holds its own locks across fork.
    let side = unsafe { fork() }.expect("fork");
    match side {
        ForkResult::Child => {
            let text = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(text)) => text,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "panicked".to_owned(),
            };
            let _ = write(&to_parent, text.as_bytes());
            #[allow(
                unsafe_code,
                reason = "nothing of the parent's may be run or dropped here"
            )]
            // SAFETY: _exit has no requirements.
            unsafe {
                libc::_exit(0)
            }
        }
        ForkResult::Parent { child } => {
            drop(to_parent);
            let mut text = String::new();
            File::from(from_child)
                .read_to_string(&mut text)
                .expect("the child's text");
            nix::sys::wait::waitpid(child, None).expect("the child's end");
            text
        }
    }
}
