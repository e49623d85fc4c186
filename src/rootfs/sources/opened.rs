//! One source of the host's or the container's: where it lies, its clone, and what is changed in that. Either process.

use super::super::changes::apply;
use super::super::mount::{Bind, Change, Mount, SourceKind, as_text};
use super::super::options::{Depth, Propagation, Symlink};
use super::super::place::Shape;
use super::super::{Plan, RootfsPropagation};
use super::{Source, Tree};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::sys::mount::{MountAttr, clone_with, mount_setattr, open_tree, open_tree_attr};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, readlinkat};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// For messages.
pub(super) const STEP: &str = "open the source of";

/// Where a bind source lies.
#[derive(Debug)]
pub(super) enum Place {
    /// Outside the container's root: what it is, O_PATH.
    Host(OwnedFd),
    /// At this path below the container's root, where earlier mounts may lie over what the host has.
    Inside(PathBuf),
    /// Nowhere, as yet: an earlier mount may make it, when its target is made.
    Missing,
}

/// Looks a bind source up. Symlinks are followed as the host has them; what then lies in the directory `rootfs`, or
/// would lie there, is the container's. `rootfs` has no symlinks.
///
/// # Errors
/// E_MOUNT with the errno of the look-up.
pub(super) fn locate(mount: &Mount, bind: &Bind, rootfs: &Path, proc: &ProcFs) -> Result<Place> {
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut path = Path::new(OsStr::from_bytes(bind.source.to_bytes()));
    let found = loop {
        match (open_object(path, bind), path.parent(), path.file_name()) {
            (Err(Errno::ENOENT), Some(above), Some(name)) => {
                missing.push(name);
                path = above;
            }
            (Err(Errno::ENOENT), ..) => return Ok(Place::Missing),
            (found, ..) => break found.context(Code::Mount, STEP, mount)?,
        }
    };
    let link = format!("self/fd/{}", found.as_raw_fd());
    let real = readlinkat(proc, link.as_str()).context(Code::Mount, STEP, mount)?;
    Ok(match Path::new(&real).strip_prefix(rootfs) {
        Ok(inside) => {
            let mut path = Path::new("/").join(inside);
            path.extend(missing.iter().rev());
            Place::Inside(path)
        }
        Err(_) if missing.is_empty() => Place::Host(found),
        Err(_) => Place::Missing,
    })
}

/// open_tree(2) without a clone: as O_PATH, but an automount point is mounted.
fn open_object(path: &Path, bind: &Bind) -> nix::Result<OwnedFd> {
    let follow = match bind.symlinks {
        Symlink::Follow => 0,
        Symlink::NoFollow | Symlink::Copy => libc::AT_SYMLINK_NOFOLLOW.cast_unsigned(),
    };
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL)?;
    open_tree(AT_FDCWD, &path, follow)
}

/// The source at `path` below the container's `root`, O_PATH.
pub(super) fn open_inside(root: &Root, path: &Path, bind: &Bind) -> nix::Result<OwnedFd> {
    match bind.symlinks {
        Symlink::Follow => root.resolve(path),
        Symlink::NoFollow | Symlink::Copy => root.resolve_no_follow(path),
    }
}

/// The text of the symlink that `object` is, if that is to be made again.
pub(super) fn link_to_copy(object: BorrowedFd<'_>, bind: &Bind) -> nix::Result<Option<OsString>> {
    let is_link = || Ok(fstat(object)?.st_mode & libc::S_IFMT == SFlag::S_IFLNK.bits());
    match bind.symlinks {
        Symlink::Copy if is_link()? => readlinkat(object, "").map(Some),
        _ => Ok(None),
    }
}

/// The source that `object` stands for, in the mount namespace of the caller, with all that the plan wants of it.
///
/// # Errors
/// E_MOUNT; E_UNSAFE_PATH for something other than a procfs on /proc; that of `idmap`.
pub(super) fn open_object_as(
    object: BorrowedFd<'_>,
    mount: &Mount,
    bind: &Bind,
    idmap: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
) -> Result<Source> {
    if let Some(text) = link_to_copy(object, bind).context(Code::Mount, STEP, mount)? {
        return Ok(Source::Link(text));
    }
    let (tree, changes) = match clone_changed(object, mount, bind) {
        Some(tree) => (tree, mount.changes.get(1..).unwrap_or_default()),
        // One after the other, which tells what was refused.
        None => (
            clone_object(object, bind).context(Code::Mount, STEP, mount)?,
            mount.changes.as_slice(),
        ),
    };
    change(tree, changes, mount, bind, idmap).map(Source::Tree)
}

/// Has the detached clone `tree` of a source id-mapped, and makes `changes` of `mount` to it.
///
/// # Errors
/// As [`open_object_as`].
pub(super) fn change(
    tree: OwnedFd,
    changes: &[Change],
    mount: &Mount,
    bind: &Bind,
    idmap: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
) -> Result<Tree> {
    if bind.kind == SourceKind::Proc {
        let kind = fstatfs(&tree).context(Code::Mount, STEP, mount)?;
        if kind.filesystem_type() != PROC_SUPER_MAGIC {
            return Err(Error::new(
                Code::UnsafePath,
                format!(
                    "{} is no procfs: only one can be mounted on /proc",
                    as_text(&bind.source)
                ),
            ));
        }
    }
    let shape = Shape::of(tree.as_fd()).context(Code::Mount, STEP, mount)?;
    idmap(tree.as_fd())?;
    apply(tree.as_fd(), changes, mount)?;
    if bind.depth == Depth::Tree && only_the_top_is_read_only(&mount.changes) {
        read_only_below(tree.as_fd()).context(Code::Mount, "make read-only", mount)?;
    }
    Ok(Tree { fd: tree, shape })
}

/// Whether the config says `ro` of a tree, and nothing of what is mounted below.
fn only_the_top_is_read_only(changes: &[Change]) -> bool {
    let read_only = libc::MOUNT_ATTR_RDONLY;
    let top = |it: &Change| it.depth == Depth::One && it.attr.attr_set & read_only != 0;
    let below = |it: &Change| {
        it.depth == Depth::Tree && (it.attr.attr_set | it.attr.attr_clr) & read_only != 0
    };
    changes.iter().any(top) && !changes.iter().any(below) && !without(Defence::SysReadOnly)
}

/// Makes all of the detached `tree` read-only if it is of sysfs or procfs: what is mounted in these, cgroups
/// for one, is part of the host's /sys and /proc to whoever asks for them read-only. Either process.
fn read_only_below(tree: BorrowedFd<'_>) -> nix::Result<()> {
    let kind = fstatfs(tree)?.filesystem_type();
    if ![SYSFS_MAGIC, PROC_SUPER_MAGIC].contains(&kind) {
        return Ok(());
    }
    let read_only = MountAttr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        ..MountAttr::default()
    };
    mount_setattr(tree, libc::AT_RECURSIVE, &read_only)
}

/// A clone of a bind source with the mount's first change, by one call if the kernel has it (Linux 6.15).
fn clone_changed(object: BorrowedFd<'_>, mount: &Mount, bind: &Bind) -> Option<OwnedFd> {
    let first = mount.changes.first()?;
    let flags = clone_flags(bind) | libc::AT_EMPTY_PATH.cast_unsigned();
    (first.depth == bind.depth).then(|| open_tree_attr(object, c"", flags, &first.whole()).ok())?
}

/// A detached clone of what `object` stands for.
pub(super) fn clone_object(object: BorrowedFd<'_>, bind: &Bind) -> nix::Result<OwnedFd> {
    open_tree(
        object,
        c"",
        clone_flags(bind) | libc::AT_EMPTY_PATH.cast_unsigned(),
    )
}

/// A detached clone of a mount of the host's, by its path. Either process.
pub(in super::super) fn clone(bind: &Bind) -> nix::Result<OwnedFd> {
    open_tree(AT_FDCWD, &bind.source, clone_flags(bind))
}

fn clone_flags(bind: &Bind) -> u32 {
    match bind.depth {
        Depth::One => libc::OPEN_TREE_CLONE,
        Depth::Tree => libc::OPEN_TREE_CLONE | libc::AT_RECURSIVE.cast_unsigned(),
    }
}

/// Clones the rootfs with all mounts below it, closed to the host or open to what is mounted there. Either
/// process.
pub(super) fn open_root(plan: &Plan) -> Result<OwnedFd> {
    let path = CString::new(plan.path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL);
    let attr = MountAttr {
        propagation: match plan.clone_propagation {
            RootfsPropagation::Private => Propagation::Private.flag(),
            RootfsPropagation::Slave => Propagation::Slave.flag(),
        },
        ..MountAttr::default()
    };
    let tree = libc::AT_RECURSIVE.cast_unsigned();
    path.and_then(|path| clone_with(AT_FDCWD, &path, tree, &attr))
        .context(Code::Mount, "open the rootfs", plan.path.display())
}
