//! What the command line says beside the config, for the domains that plan. Plain values.

pub use crate::id::Id;
use std::path::PathBuf;

/// What the command line adds to the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The container's id.
    pub id: Id,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// `--cgroup-manager` / `--systemd-cgroup`.
    pub cgroup_manager: CgroupManager,
    /// `--no-pivot`: MS_MOVE and chroot instead of pivot_root.
    pub no_pivot: bool,
    /// `--no-new-keyring`: stay in the caller's session keyring.
    pub no_new_keyring: bool,
    /// `--preserve-fds`: how many fds after stderr the process keeps.
    pub preserve_fds: u32,
}

impl Options {
    /// What a command line says that names a container and its bundle, and nothing else.
    pub fn new(id: Id, bundle: PathBuf) -> Options {
        Options {
            id,
            bundle,
            cgroup_manager: CgroupManager::default(),
            no_pivot: false,
            no_new_keyring: false,
            preserve_fds: 0,
        }
    }
}

/// Which cgroup driver was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// casulo writes the cgroup files itself.
    #[default]
    Cgroupfs,
    /// systemd makes the scope.
    Systemd,
    /// No cgroup is made; the process stays in the caller's.
    Disabled,
}
