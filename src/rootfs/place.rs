//! Where a mount is to be attached: looks its destination up below the container's root, or makes it.
//! Runs in the child, as [`super::attach`].
//!
//! The default destinations are where no symlink leads to (CVE-2019-19921); elsewhere the image's symlinks are
//! followed inside the root, but not into a kernel file system.
//!
//! Most mounts are directories, beside each other, with no symlink on the way: [`LastParent`] attaches those with one look-up
//! for all of them.

use super::mount::{Mount, Target};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::root::{DIRECTORY_MODE, Root};
use crate::sys::mount::move_mount_to;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, mkdirat};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where something is to be mounted.
pub(super) struct MountPoint {
    pub(super) fd: OwnedFd,
    pub(super) existence: Existence,
}

/// Whether it was there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existence {
    Existing,
    Created,
}

/// The directory in which the last directory was attached, with its path. Valid as long as no other has been mounted but
/// beside it: what is mounted elsewhere may lie over this directory, though a file cannot.
#[derive(Default)]
pub(super) struct LastParent<'a>(Option<(&'a Path, OwnedFd)>);

impl<'a> LastParent<'a> {
    /// Attaches the directory `tree` if its destination is a directory that no symlink leads to, or only that directory is
    /// missing, and then says true. The directory around it is looked up without following any, and its own name is
    /// not followed either (move_mount(2)). Where nothing was attached, [`find`] looks closer.
    pub(super) fn attach(&mut self, root: &Root, mount: &'a Mount, tree: BorrowedFd<'_>) -> bool {
        let known = self.0.take();
        let Some((above, name)) = split(&mount.destination) else {
            return false;
        };
        if !matches!(mount.target, Target::Any | Target::RealDirectory)
            || without(Defence::MountOnFds)
        {
            return false;
        }
        let known = known.filter(|(path, _)| path.as_os_str() == above.as_os_str());
        let directory = match known {
            Some((_, directory)) => Ok(directory),
            None => root.resolve_plain(above, OFlag::O_DIRECTORY),
        };
        let (Ok(directory), Ok(name)) = (directory, CString::new(name)) else {
            return false;
        };
        let attach = || move_mount_to(tree, directory.as_fd(), &name);
        let attached = match attach() {
            Err(Errno::ENOENT) => {
                mkdirat(&directory, name.as_c_str(), DIRECTORY_MODE).and_then(|()| attach())
            }
            result => result,
        };
        self.0 = attached.is_ok().then_some((above, directory));
        attached.is_ok()
    }
}

/// The directory around a clean path, and its name there: what is the same place is the same text. None for the root.
fn split(path: &Path) -> Option<(&Path, &[u8])> {
    let path = path.as_os_str().as_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    let (above, name) = (path.get(..slash.max(1))?, path.get(slash + 1..)?);
    (!name.is_empty()).then_some((Path::new(OsStr::from_bytes(above)), name))
}

/// What can be mounted on each other: directories, or what is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Directory,
    File,
}

impl Shape {
    /// That of what `fd` stands for.
    pub(super) fn of(fd: BorrowedFd<'_>) -> nix::Result<Shape> {
        let mode = fstat(fd)?.st_mode & SFlag::S_IFMT.bits();
        Ok(if mode == SFlag::S_IFDIR.bits() {
            Shape::Directory
        } else {
            Shape::File
        })
    }
}

/// Finds the destination, or makes it: a directory, or an empty file.
pub(super) fn find(root: &Root, mount: &Mount, shape: Shape) -> Result<MountPoint> {
    let path = &mount.destination;
    let step = "open the target of";
    let there = |fd| MountPoint {
        fd,
        existence: Existence::Existing,
    };
    match mount.target {
        Target::Root => root
            .resolve(path)
            .map(there)
            .context(Code::Mount, step, mount),
        Target::RealDirectory => real_directory(root, mount),
        Target::NoFollow => {
            let fd = root
                .resolve_no_follow(path)
                .context(Code::Mount, step, mount)?;
            refuse(
                &[PROC_SUPER_MAGIC, SYSFS_MAGIC, DEVPTS_SUPER_MAGIC],
                &fd,
                mount,
            )?;
            Ok(there(fd))
        }
        Target::Any | Target::ProcFile => {
            let (found, mut existence) = plain(root, mount, OFlag::empty(), shape)?;
            if !matches!(found, Err(Errno::ELOOP)) {
                let fd = found.context(Code::Mount, step, mount)?;
                return Ok(MountPoint { fd, existence });
            }
            // A symlink of the image leads elsewhere, perhaps into /proc.
            let fd = match root.resolve(path) {
                Err(Errno::ENOENT) => {
                    existence = Existence::Created;
                    make_target(root, path, shape)
                }
                result => result,
            }
            .context(Code::Mount, step, mount)?;
            if mount.target == Target::Any {
                refuse(&[PROC_SUPER_MAGIC], &fd, mount)?;
            }
            Ok(MountPoint { fd, existence })
        }
    }
}

/// Looks the destination up without following any symlink; makes it first if nothing is there.
fn plain(
    root: &Root,
    mount: &Mount,
    flags: OFlag,
    shape: Shape,
) -> Result<(nix::Result<OwnedFd>, Existence)> {
    let path = &mount.destination;
    match root.resolve_plain(path, flags) {
        Err(Errno::ENOENT) => {}
        found => return Ok((found, Existence::Existing)),
    }
    make_target(root, path, shape).context(Code::Mount, "make the target of", mount)?;
    // Looked up again, because what was made need not be where the path says.
    Ok((root.resolve_plain(path, flags), Existence::Created))
}

/// Makes what is missing of a destination, following symlinks inside the root: a directory or a file.
fn make_target(root: &Root, path: &Path, shape: Shape) -> nix::Result<OwnedFd> {
    match shape {
        Shape::Directory => root.make_directories(path),
        Shape::File => root.create_file(path),
    }
}

/// A directory that no symlink leads to. An image whose /proc is a symlink would have the procfs
/// mounted elsewhere and its own files read in its place (CVE-2019-19921).
fn real_directory(root: &Root, mount: &Mount) -> Result<MountPoint> {
    let (found, existence) = plain(root, mount, OFlag::O_DIRECTORY, Shape::Directory)?;
    match found {
        Ok(fd) => Ok(MountPoint { fd, existence }),
        Err(errno @ (Errno::ELOOP | Errno::ENOTDIR)) => Err(Error::step(
            Code::UnsafePath,
            "open the target of",
            mount.to_string(),
            errno,
        )
        .because("it must be mounted on ordinary directory, to which no symlink leads")),
        Err(errno) => Err(Error::step(
            Code::Mount,
            "open the target of",
            mount.to_string(),
            errno,
        )),
    }
}

/// Refuses a target that lies on one of these file systems.
fn refuse(kinds: &[FsType], target: &OwnedFd, mount: &Mount) -> Result<()> {
    let kind = fstatfs(target).context(Code::Mount, "look at the target of", mount)?;
    if kinds.contains(&kind.filesystem_type()) {
        return Err(Error {
            step: "mount".to_owned(),
            object: mount.to_string(),
            ..Error::new(
                Code::UnsafePath,
                "a symlink leads into a kernel file system",
            )
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Path, split};

    #[test]
    fn a_path_is_a_directory_and_a_name() {
        let split = |path| split(Path::new(path)).map(|(above, name)| (above.to_str(), name));
        assert_eq!(split("/a"), Some((Some("/"), b"a".as_slice())));
        assert_eq!(split("/a/b.c/d"), Some((Some("/a/b.c"), b"d".as_slice())));
        assert_eq!(split("/"), None);
    }
}
