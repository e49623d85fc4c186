//! Goes through a tree of directories whose number, names and depth others have chosen. Any casulo process on the
//! host.
//!
//! Neither the stack, nor the number of descriptors, nor the length of a path grows with the tree. A descent goes
//! down by one name, and up by `..`, which must lead back to the directory it came from. It follows no symlink and
//! enters no mount.

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// A place in a tree.
struct Descent {
    here: OwnedFd,
    /// The steps from the top to `here`.
    way: Vec<Step>,
}

/// One step down.
struct Step {
    /// The directory that the step left: device and inode.
    from: (u64, u64),
    /// The name, in that directory, of the one it entered.
    name: CString,
}

impl Descent {
    fn at(top: BorrowedFd<'_>) -> nix::Result<Descent> {
        Ok(Descent {
            here: openat(top, c".", DIRECTORY, Mode::empty())?,
            way: Vec::new(),
        })
    }

    fn enter(&mut self, name: &CStr) -> nix::Result<()> {
        let how = OpenHow::new()
            .flags(DIRECTORY)
            .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
        // The tree may belong to an ordinary user, and so to the root of the user's container, who may have taken the
        // right to enter away (chmod(2)).
        let below = openat2(&self.here, name, how).or_else(|errno| match errno {
            Errno::EACCES => {
                let flags = FchmodatFlags::NoFollowSymlink;
                fchmodat(&self.here, name, Mode::S_IRWXU, flags)?;
                openat2(&self.here, name, how)
            }
            errno => Err(errno),
        })?;
        self.way.push(Step {
            from: identity(&self.here)?,
            name: name.to_owned(),
        });
        self.here = below;
        Ok(())
    }

    /// Goes up, and returns the name of the directory that it left; None at the top. ESTALE if another process has
    /// moved that directory meanwhile.
    fn leave(&mut self) -> nix::Result<Option<CString>> {
        let Some(step) = self.way.pop() else {
            return Ok(None);
        };
        let above = openat(&self.here, c"..", DIRECTORY, Mode::empty())?;
        if identity(&above)? != step.from {
            return Err(Errno::ESTALE);
        }
        self.here = above;
        Ok(Some(step.name))
    }

    /// The directory's entries, read from its beginning.
    fn entries(&self) -> nix::Result<Dir> {
        Dir::from_fd(openat(&self.here, c".", DIRECTORY, Mode::empty())?)
    }

    fn directories(&self) -> nix::Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in self.entries()?.iter() {
            let entry = entry?;
            if entry.file_type() == Some(Type::Directory) && !is_dots(entry.file_name()) {
                names.push(entry.file_name().to_owned());
            }
        }
        Ok(names)
    }
}

#[allow(
    clippy::useless_conversion,
    reason = "inode numbers have 32 bits on some machines"
)]
fn identity(directory: &OwnedFd) -> nix::Result<(u64, u64)> {
    fstat(directory).map(|it| (it.st_dev.into(), it.st_ino.into()))
}

fn is_dots(name: &CStr) -> bool {
    name == c"." || name == c".."
}

/// Calls `visit` with every directory of the tree, `top` first. A directory that is removed meanwhile (ENOENT,
/// ENODEV) is left out.
///
/// # Errors
/// The errno of `visit`, or of the call that failed.
pub(crate) fn each_directory(
    top: BorrowedFd<'_>,
    mut visit: impl FnMut(BorrowedFd<'_>) -> nix::Result<()>,
) -> nix::Result<()> {
    let mut descent = Descent::at(top)?;
    let mut look = |descent: &Descent| {
        let visited = visit(descent.here.as_fd());
        match visited.and_then(|()| descent.directories()) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(Vec::new()),
            result => result,
        }
    };
    // The names that are still to be visited, in each directory on the way.
    let mut left = vec![look(&descent)?];
    while let Some(names) = left.last_mut() {
        match names.pop() {
            Some(name) => match descent.enter(&name) {
                Ok(()) => left.push(look(&descent)?),
                Err(Errno::ENOENT | Errno::ENODEV) => {}
                Err(errno) => return Err(errno),
            },
            None => {
                left.pop();
                descent.leave()?;
            }
        }
    }
    Ok(())
}

/// The kind of files that [`remove_below`] removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Directories only: the files of a cgroup go with its directory.
    Directories,
    /// Files and directories.
    Everything,
}

/// Removes everything below `top`, from the bottom up.
///
/// # Errors
/// The errno of the call that failed: EBUSY for a cgroup with processes, and for a mount; ENOTEMPTY or ESTALE if
/// another process fills or moves directories of the tree meanwhile.
pub(crate) fn remove_below(top: BorrowedFd<'_>, what: What) -> nix::Result<()> {
    let mut descent = Descent::at(top)?;
    loop {
        if let Some(name) = remove_in(&descent, what)? {
            match descent.enter(&name) {
                Ok(()) | Err(Errno::ENOENT) => continue,
                Err(Errno::EXDEV) => return Err(Errno::EBUSY),
                Err(errno) => return Err(errno),
            }
        }
        let Some(name) = descent.leave()? else {
            return Ok(());
        };
        match unlinkat(&descent.here, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Removes the entries that can be removed at once. Stops at the first directory that must be emptied before, and
/// returns its name.
fn remove_in(descent: &Descent, what: What) -> nix::Result<Option<CString>> {
    for entry in descent.entries()?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let is_directory = entry.file_type() == Some(Type::Directory);
        if is_dots(name) || (what == What::Directories && !is_directory) {
            continue;
        }
        let kind = if is_directory {
            UnlinkatFlags::RemoveDir
        } else {
            UnlinkatFlags::NoRemoveDir
        };
        match unlinkat(&descent.here, name, kind) {
            Ok(()) | Err(Errno::ENOENT) => {}
            // EISDIR: the file system tells no types, or another process has just put a directory there. EBUSY: a
            // cgroup that has processes, or others below it, which shows when it is entered.
            Err(Errno::ENOTEMPTY | Errno::EISDIR) => return Ok(Some(name.to_owned())),
            Err(Errno::EBUSY) if what == What::Directories => return Ok(Some(name.to_owned())),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::check_in_child;
    use nix::sys::resource::{Resource, setrlimit};
    use nix::sys::stat::mkdirat;
    use std::fs;

    fn open(path: &std::path::Path) -> OwnedFd {
        nix::fcntl::open(path, DIRECTORY, Mode::empty()).expect("open")
    }

    #[test]
    fn a_tree_deeper_than_paths_and_descriptors_go_is_visited_and_removed() {
        check_in_child(|| {
            let directory = tempfile::tempdir().map_err(|it| it.to_string())?;
            setrlimit(Resource::RLIMIT_NOFILE, 32, 32).map_err(|it| it.to_string())?;
            let top = open(directory.path());
            let mut here = open(directory.path());
            for depth in 0..5000 {
                let name = format!("{depth:0250}");
                mkdirat(&here, name.as_str(), Mode::S_IRWXU).map_err(|it| it.to_string())?;
                here = openat(&here, name.as_str(), DIRECTORY, Mode::empty())
                    .map_err(|it| it.to_string())?;
            }
            let mut seen = 0;
            each_directory(top.as_fd(), |_| {
                seen += 1;
                Ok(())
            })
            .map_err(|it| it.to_string())?;
            remove_below(top.as_fd(), What::Everything).map_err(|it| it.to_string())?;
            let left = fs::read_dir(directory.path()).map_err(|it| it.to_string())?;
            match (seen, left.count()) {
                (5001, 0) => Ok(()),
                other => Err(format!("seen and left: {other:?}")),
            }
        });
    }

    #[test]
    fn nothing_is_followed_out_of_the_tree() {
        let (tree, outside) = (
            tempfile::tempdir().expect("tree"),
            tempfile::tempdir().expect("outside"),
        );
        fs::write(outside.path().join("file"), "").expect("a file");
        fs::create_dir(tree.path().join("directory")).expect("a directory");
        fs::write(tree.path().join("directory/file"), "").expect("a file");
        std::os::unix::fs::symlink(outside.path(), tree.path().join("link")).expect("a link");
        let mut seen = 0;
        let count = |_: BorrowedFd<'_>| {
            seen += 1;
            Ok(())
        };
        each_directory(open(tree.path()).as_fd(), count).expect("visited");
        assert_eq!(seen, 2);
        remove_below(open(tree.path()).as_fd(), What::Everything).expect("removed");
        fs::metadata(outside.path().join("file")).expect("is still there");
        assert_eq!(fs::read_dir(tree.path()).expect("read").count(), 0);
    }

    #[test]
    fn what_was_moved_out_is_not_left_by_its_new_parent() {
        let (tree, outside) = (
            tempfile::tempdir().expect("tree"),
            tempfile::tempdir().expect("outside"),
        );
        fs::create_dir(outside.path().join("directory")).expect("a directory");
        let mut descent = Descent::at(open(outside.path()).as_fd()).expect("the top");
        descent.enter(c"directory").expect("entered");
        fs::rename(
            outside.path().join("directory"),
            tree.path().join("directory"),
        )
        .expect("moved");
        assert_eq!(descent.leave(), Err(Errno::ESTALE));
    }
}
