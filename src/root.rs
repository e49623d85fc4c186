//! [`Root`]: the only way to resolve, create or open anything below a container's root.
//!
//! The image is hostile: any component may be a symlink, and another container that shares a volume may swap it at
//! any moment. So no path of the image is ever joined to a host path. Every look-up is `openat2(RESOLVE_IN_ROOT |
//! RESOLVE_NO_MAGICLINKS)` on the root's fd. Files are made by `*at` calls on the fd of their real parent
//! (CVE-2019-18837, CVE-2021-30465, CVE-2024-45310).

use crate::defence::{Defence, without};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// The most dangling symlinks that [`Root::mkdir_all`] follows before it fails with ELOOP, as path_resolution(7).
const MAX_SYMLINKS: usize = 40;

/// The mode of directories that are made for a mount.
pub(crate) const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o755);

/// The root directory of a container, as an O_PATH fd. Paths given to its methods are the container's: a leading
/// slash, and `..` at the top, mean this directory.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Takes the directory of `fd` (O_PATH or readable) as the root.
    pub(crate) fn from_fd(fd: OwnedFd) -> Root {
        Root(fd)
    }

    /// Opens `path` below the root with `flags` and (for O_CREAT) `mode`. Symlinks are followed inside the root
    /// unless `flags` has O_NOFOLLOW. The fd is always CLOEXEC.
    ///
    /// # Errors
    /// The kernel's errno; ELOOP for a magic link.
    pub(crate) fn open(&self, path: &Path, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        self.open_resolving(path, flags, mode, ResolveFlag::RESOLVE_NO_MAGICLINKS)
    }

    fn open_resolving(
        &self,
        path: &Path,
        flags: OFlag,
        mode: Mode,
        resolve: ResolveFlag,
    ) -> nix::Result<OwnedFd> {
        let (path, resolve) = if without(Defence::InRoot) {
            (
                path.strip_prefix("/").unwrap_or(path),
                resolve - ResolveFlag::RESOLVE_NO_MAGICLINKS,
            )
        } else {
            (path, ResolveFlag::RESOLVE_IN_ROOT | resolve)
        };
        let mut how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(resolve);
        if flags.contains(OFlag::O_CREAT) {
            how = how.mode(mode);
        }
        // The kernel answers EAGAIN when a rename elsewhere raced with `..` in the look-up.
        for _ in 0..64 {
            match openat2(
                &self.0,
                if path.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    path
                },
                how,
            ) {
                Err(Errno::EAGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Returns the object at `path` as an O_PATH fd. Symlinks are followed inside the root.
    ///
    /// # Errors
    /// As [`Root::open`].
    pub(crate) fn resolve(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH, Mode::empty())
    }

    /// Returns the object at `path` as an O_PATH fd. A symlink in the last component is not followed, but opened
    /// itself.
    ///
    /// # Errors
    /// As [`Root::open`].
    pub(crate) fn resolve_no_follow(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())
    }

    /// Returns the object at `path` as an O_PATH fd if no component of the path is a symlink: then the object is
    /// where the path says. `flags` may add O_DIRECTORY.
    ///
    /// # Errors
    /// ELOOP if a component is a symlink; else as [`Root::open`].
    pub(crate) fn resolve_plain(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let symlinks = if without(Defence::NoSymlinks) {
            ResolveFlag::empty()
        } else {
            ResolveFlag::RESOLVE_NO_SYMLINKS
        };
        self.open_resolving(path, OFlag::O_PATH | flags, Mode::empty(), symlinks)
    }

    /// Returns the directory at `path` as an O_PATH fd. Missing directories are made with mode 0755. If a symlink
    /// dangles inside the root, its target is made, as an engine's user expects of `/var/run -> /run`.
    ///
    /// # Errors
    /// The errno of the look-up or of mkdirat; ELOOP for a ring of dangling links.
    pub(crate) fn mkdir_all(&self, path: &Path) -> nix::Result<OwnedFd> {
        match self.open(path, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT) => self.make_directories(path),
            result => result,
        }
    }

    /// Does as [`Root::mkdir_all`], for a path that was just found missing.
    ///
    /// # Errors
    /// As [`Root::mkdir_all`].
    pub(crate) fn make_directories(&self, path: &Path) -> nix::Result<OwnedFd> {
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mut todo: Vec<OsString> = names(path);
        todo.reverse();
        let mut done = PathBuf::new();
        let mut links = 0;
        let mut parent = self.resolve(Path::new("."))?;
        while let Some(name) = todo.pop() {
            let next = done.join(&name);
            let opened = match self.open(&next, directory, Mode::empty()) {
                Err(Errno::ENOENT) => {
                    match mkdirat(&parent, name.as_os_str(), DIRECTORY_MODE) {
                        Err(Errno::EEXIST) => match readlinkat(&parent, name.as_os_str()) {
                            // Either another process has just made the directory, or the name is a dangling
                            // symlink.
                            Err(_) => self.open(&next, directory, Mode::empty()),
                            Ok(target) => {
                                links += 1;
                                if links > MAX_SYMLINKS {
                                    return Err(Errno::ELOOP);
                                }
                                if Path::new(&target).is_absolute() {
                                    done = PathBuf::new();
                                }
                                parent = self.resolve(&done)?;
                                todo.extend(names(Path::new(&target)).into_iter().rev());
                                continue;
                            }
                        },
                        Ok(()) => self.open(&next, directory, Mode::empty()),
                        Err(errno) => return Err(errno),
                    }
                }
                result => result,
            };
            parent = opened?;
            done = next;
        }
        Ok(parent)
    }

    /// Returns the directory that holds the last component of `path`, which is made if missing, and that component.
    ///
    /// # Errors
    /// As [`Root::mkdir_all`]; EINVAL for a path without a last component (`/`, `..`).
    pub(crate) fn parent_of(&self, path: &Path) -> nix::Result<(OwnedFd, OsString)> {
        let mut all = names(path);
        let name = all.pop().filter(|name| name != "..").ok_or(Errno::EINVAL)?;
        let parent: PathBuf = all.iter().collect();
        Ok((self.mkdir_all(&parent)?, name))
    }

    /// Returns the non-directory at `path` as an O_PATH fd, for a file to be bind-mounted on. If it is missing, an
    /// empty regular file (mode 0644) is made. Symlinks are followed inside the root. If one dangles, its target is
    /// made, with the directories that lead there.
    ///
    /// # Errors
    /// The errno of the look-up or of the creation; ELOOP for a ring of dangling links.
    pub(crate) fn create_file(&self, path: &Path) -> nix::Result<OwnedFd> {
        let mut path = path.to_owned();
        for _ in 0..=MAX_SYMLINKS {
            match self.resolve(&path) {
                Err(Errno::ENOENT) => {}
                result => return result,
            }
            let (parent, name) = self.parent_of(&path)?;
            let file = OFlag::O_CREAT | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            let beside = Root(parent);
            match beside.open(Path::new(&name), file, Mode::from_bits_truncate(0o644)) {
                Err(Errno::ELOOP) => {
                    // A relative target starts at the link's directory, an absolute one replaces it.
                    let target = readlinkat(&beside, name.as_os_str())?;
                    path.pop();
                    path.push(target);
                }
                Err(errno) => return Err(errno),
                Ok(_) => return beside.resolve_no_follow(Path::new(&name)),
            }
        }
        Err(Errno::ELOOP)
    }
}

/// Returns the components of a path without the root and `.`; `..` stays, for openat2 to resolve.
fn names(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::new("..").to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::open;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let fd = open(
            directory.path(),
            OFlag::O_PATH | OFlag::O_DIRECTORY,
            Mode::empty(),
        )
        .expect("open it");
        (directory, Root::from_fd(fd))
    }

    #[test]
    fn missing_directories_are_made_below_the_root() {
        let (directory, root) = root();
        root.mkdir_all(Path::new("/a/b/c")).expect("three levels");
        assert!(directory.path().join("a/b/c").is_dir());
    }

    #[test]
    fn a_dangling_absolute_link_is_made_inside() {
        let (directory, root) = root();
        std::fs::create_dir(directory.path().join("var")).expect("var");
        symlink("/run/here", directory.path().join("var/run")).expect("link");
        root.mkdir_all(Path::new("/var/run/lock"))
            .expect("through the link");
        assert!(directory.path().join("run/here/lock").is_dir());
    }

    #[test]
    fn a_link_out_of_the_root_stays_inside() {
        let (directory, root) = root();
        symlink(
            "../../../../../../../../tmp/casulo-escape",
            directory.path().join("out"),
        )
        .expect("link");
        root.mkdir_all(Path::new("/out/deep")).expect("inside");
        assert!(directory.path().join("tmp/casulo-escape/deep").is_dir());
        assert!(!Path::new("/tmp/casulo-escape").is_dir());
    }

    #[test]
    fn a_ring_of_links_ends_in_eloop() {
        let (directory, root) = root();
        symlink("b", directory.path().join("a")).expect("link");
        symlink("a", directory.path().join("b")).expect("link");
        assert_eq!(
            root.mkdir_all(Path::new("a/x")).expect_err("a ring"),
            Errno::ELOOP
        );
    }

    #[test]
    fn as_many_dangling_links_are_followed_as_the_kernel_follows() {
        let end_of_chain = |links: usize| {
            let (directory, root) = root();
            for link in 1..=links {
                let next = format!("missing{link}/../{}", link + 1);
                symlink(next, directory.path().join(link.to_string())).expect("link");
            }
            let made = root.mkdir_all(Path::new("1")).map(drop);
            let last = directory.path().join((links + 1).to_string());
            (made, last.is_dir())
        };
        assert_eq!(end_of_chain(MAX_SYMLINKS), (Ok(()), true));
        let longer = end_of_chain(MAX_SYMLINKS + 1);
        assert_eq!(longer, (Err(Errno::ELOOP), false));
    }

    #[test]
    fn a_file_behind_dangling_links_is_made_inside() {
        let (directory, root) = root();
        std::fs::create_dir(directory.path().join("etc")).expect("etc");
        symlink("../usr/share/zone", directory.path().join("etc/localtime")).expect("link");
        symlink("/var/other", directory.path().join("etc/absolute")).expect("link");
        root.create_file(Path::new("/etc/localtime")).expect("made");
        root.create_file(Path::new("etc/absolute")).expect("made");
        assert!(directory.path().join("usr/share/zone").is_file());
        assert!(directory.path().join("var/other").is_file());
        symlink("ring", directory.path().join("etc/ring")).expect("link");
        assert_eq!(
            root.create_file(Path::new("etc/ring")).expect_err("a ring"),
            Errno::ELOOP
        );
    }

    #[test]
    fn a_plain_path_has_no_symlink() {
        let (directory, root) = root();
        std::fs::create_dir_all(directory.path().join("a/b")).expect("directories");
        symlink("a", directory.path().join("link")).expect("link");
        let directory = OFlag::O_DIRECTORY;
        assert!(root.resolve_plain(Path::new("/a/b"), directory).is_ok());
        for path in ["/link/b", "/link"] {
            let refused = root.resolve_plain(Path::new(path), OFlag::empty());
            assert_eq!(refused.expect_err(path), Errno::ELOOP);
        }
    }

    #[test]
    fn a_bind_target_is_an_empty_file() {
        let (directory, root) = root();
        root.create_file(Path::new("/etc/hosts")).expect("made");
        assert_eq!(
            std::fs::read(directory.path().join("etc/hosts")).expect("a file"),
            b""
        );
    }
}
