//! What the host offers, asked once, so that [`crate::plan`] stays pure. Runs in the parent.

use std::path::PathBuf;

/// Facts about the host and about the caller. Made by [`Host::ask`], or by hand in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Effective uid of casulo.
    pub euid: u32,
    /// Effective gid of casulo.
    pub egid: u32,
    /// Effective capabilities of casulo, bit n for capability number n.
    pub effective: u64,
    /// Bounding set of casulo.
    pub bounding: u64,
    /// Number of the last capability the kernel knows (`/proc/sys/kernel/cap_last_cap`).
    pub last_cap: u8,
    /// casulo itself runs in a user namespace that is not the initial one.
    pub in_user_namespace: bool,
    /// Where the cgroup v2 hierarchy is mounted, if it is, and what it offers.
    pub cgroup: Option<CgroupMount>,
    /// Kernel release as (major, minor).
    pub kernel: (u32, u32),
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
}

/// The cgroup v2 hierarchy as the host mounts it. Which controllers it has is not asked here: the
/// kernel says so when a limit needs one, and only then is it looked up why one is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` on a host with both versions.
    pub path: PathBuf,
    /// casulo's own cgroup in that hierarchy (`/proc/self/cgroup`), absolute below the mount.
    /// Only asked for a rootless caller, whose containers go beside it; None where it lies
    /// outside what is mounted.
    pub own: Option<PathBuf>,
}

impl Host {
    /// True if casulo has capability number `cap`.
    pub fn has_capability(&self, cap: u8) -> bool {
        cap < 64 && self.effective & (1 << cap) != 0
    }

    /// True if casulo is neither root nor has CAP_SYS_ADMIN: a rootless call.
    pub fn is_rootless(&self) -> bool {
        self.euid != 0 || self.in_user_namespace
    }
}
