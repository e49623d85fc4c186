//! Mounts that a test makes outside the container, in the mount namespace of the tests.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};

/// A mount that goes away with this value, with all that is mounted below it.
pub(crate) struct HostMount(PathBuf);

impl HostMount {
    /// A tmpfs at `target` with these flags.
    pub(crate) fn tmpfs(target: &Path, flags: MsFlags) -> HostMount {
        mount(Some("tmpfs"), target, Some("tmpfs"), flags, None::<&str>).unwrap();
        HostMount(target.to_owned())
    }

    /// A bind of `source` at `target`.
    pub(crate) fn bind(source: &Path, target: &Path) -> HostMount {
        mount(
            Some(source),
            target,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
        HostMount(target.to_owned())
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
