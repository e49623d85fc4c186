//! Whether the way to a path of the image leads through a mount.

use crate::root::Root;
use crate::rootfs::mount::Mount;
use nix::fcntl::readlinkat;
use std::path::{Component, Path, PathBuf};

/// Symlinks on the way to a file, as path_resolution(7) counts them.
const MAX_SYMLINKS: usize = 40;

/// True if the way to `path` leads through a place where something will be mounted. A place is where its
/// words say: symlinks on the way to it are not followed, so this errs on the side of true only for paths.
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

/// The components of a path, the last one first.
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
