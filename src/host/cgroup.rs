//! The host's cgroup v2 hierarchy, and casulo's own place in it. Parent.

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::path::{Path, PathBuf};

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

/// Where a cgroup v2 hierarchy is mounted by custom (file-hierarchy(7)); a search in mountinfo
/// would find others, at a price that every container would pay.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Finds the host's cgroup v2 hierarchy: one statfs(2), or two where v1 is mounted beside it.
/// `own` is left empty: see [`own_cgroup`].
pub(crate) fn mount_of_host() -> Option<CgroupMount> {
    let path = MOUNTS
        .iter()
        .map(Path::new)
        .find(|path| statfs(*path).is_ok_and(|it| it.filesystem_type() == CGROUP2_SUPER_MAGIC))?;
    Some(CgroupMount {
        path: path.to_owned(),
        own: None,
    })
}

/// casulo's own cgroup (`/proc/self/cgroup`), absolute below the mount. Only a rootless plan needs
/// it. None without a v2 hierarchy, and where the caller's cgroup namespace does not show it.
pub(super) fn own_cgroup() -> Option<PathBuf> {
    let file = "/proc/self/cgroup";
    path_in(&std::fs::read_to_string(file).ok()?)
}

/// The v2 cgroup that a text of `/proc/PID/cgroup` names, absolute below the mount.
pub(crate) fn path_in(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let is_shown = path.starts_with('/') && !path.split('/').any(|name| name == "..");
    is_shown.then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cgroup_is_the_line_of_v2() {
        for (text, own) in [
            ("0::/\n", Some("/")),
            ("9:pids:/x\n0::/user.slice/a b\n", Some("/user.slice/a b")),
            ("9:pids:/x\n", None),
            ("0::/../outside\n", None),
        ] {
            assert_eq!(path_in(text), own.map(PathBuf::from), "{text}");
        }
    }
}
