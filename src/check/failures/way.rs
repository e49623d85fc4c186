//! Finds out whether the way to a path of the image leads through a mount.

use crate::root::Root;
use crate::rootfs::mount::Mount;
use nix::fcntl::readlinkat;
use std::path::{Component, Path, PathBuf};

/// The most symlinks on the way to a file, as path_resolution(7) counts them.
const MAX_SYMLINKS: usize = 40;

/// True if the way to `path` leads through the destination of a mount. A destination is compared as it is
/// written, without following symlinks in it. So a mount by way of a symlink is noticed only for paths
/// that name the same symlink.
pub(super) fn meets_a_mount(root: &Root, path: &Path, mounts: &[Mount]) -> bool {
    let is_place = |path: &Path| mounts.iter().any(|it| it.destination == path);
    let mut todo: Vec<_> = parts(path);
    let mut done = PathBuf::from("/");
    let mut links = 0;
    if is_place(&done) {
        return true;
    }
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(&part);
        if is_place(&done) {
            return true;
        }
        let Some(target) = link(root, &done) else {
            continue;
        };
        links += 1;
        if links > MAX_SYMLINKS {
            return false;
        }
        done.pop();
        if target.is_absolute() {
            done = PathBuf::from("/");
        }
        todo.extend(parts(&target));
    }
    false
}

/// Returns the components of a path, the last one first.
fn parts(path: &Path) -> Vec<std::ffi::OsString> {
    let mut parts: Vec<_> = path
        .components()
        .filter(|it| matches!(it, Component::Normal(_) | Component::ParentDir))
        .map(|it| it.as_os_str().to_owned())
        .collect();
    parts.reverse();
    parts
}

fn link(root: &Root, path: &Path) -> Option<PathBuf> {
    let fd = root.resolve_no_follow(path).ok()?;
    readlinkat(&fd, "").ok().map(PathBuf::from)
}
