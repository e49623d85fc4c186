//! A namespace that a test has for itself on the host's side: mounts or network devices that no other test
//! sees.

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The thread that made it is in a new namespace, and what it starts, until this value is dropped.
pub(crate) struct OwnNamespace {
    before: File,
    kind: CloneFlags,
}

impl OwnNamespace {
    /// A copy of the host's mounts; what changes in it changes nowhere else.
    pub(crate) fn of_mounts() -> OwnNamespace {
        let own = OwnNamespace::new("mnt", CloneFlags::CLONE_NEWNS);
        let (none, flags) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        mount(none, "/", none, flags, none).unwrap();
        own
    }

    /// No device but `lo`.
    pub(crate) fn of_network() -> OwnNamespace {
        OwnNamespace::new("net", CloneFlags::CLONE_NEWNET)
    }

    fn new(name: &str, kind: CloneFlags) -> OwnNamespace {
        let before = File::open(format!("/proc/thread-self/ns/{name}")).unwrap();
        unshare(kind).unwrap();
        OwnNamespace { before, kind }
    }
}

impl Drop for OwnNamespace {
    fn drop(&mut self) {
        // Other threads that this one has started and joined may share its root and working directory a moment
        // longer; until then the kernel lets it into no other mount namespace (setns(2), EINVAL).
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match setns(&self.before, self.kind) {
                Err(Errno::EINVAL) if Instant::now() < deadline => sleep(Duration::from_millis(1)),
                back => return back.unwrap(),
            }
        }
    }
}
