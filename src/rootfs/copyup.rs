//! `tmpcopyup`: fills a new tmpfs with the directory that it will cover, by file descriptor alone.
//!
//! Runs in the child, before the tmpfs is attached. The directory is the image's and thus hostile:
//! nothing is followed, and what is opened is what was looked at.

use crate::defence::{Defence, late_without, without};
use crate::procfs::ProcFs;
use crate::sys::stat::room;
use crate::sys::xattr;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::sendfile::sendfile;
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, futimens, mkdirat, mknodat, utimensat,
};
use nix::sys::statvfs::fstatvfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How much one sendfile(2) moves at most.
const CHUNK: usize = 1 << 20;
/// The longest value and list of extended attributes, xattr(7).
const XATTR_MAX: usize = 65_536;
/// How many directories deep, each of which takes two descriptors.
const DEEPEST: usize = 128;
/// How many files, directories and others, which is the image's to choose where the tmpfs has no limit of its own.
const MOST: u32 = 1 << 20;

/// What may still be copied, and what it takes to read a file.
struct Room {
    /// [`ProcFs::own_descriptors`].
    descriptors: OwnedFd,
    bytes: u64,
    entries: u32,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Of the call that failed, or the one that says it best.
    pub(super) errno: Errno,
    /// More words where it is a limit of this module's; else empty.
    pub(super) why: &'static str,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure { errno, why: "" }
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// Copies all that is in the directory `from` (O_PATH) into the directory `to` (O_PATH or a mount's fd):
/// content, owners, modes, times and the extended attributes that a tmpfs takes. The directory's own
/// owner is copied too.
///
/// Only a regular file is read, as many bytes of it as it had when it was looked at, and nothing else is opened but
/// directories: a device, whose opening alone may do something, a FIFO or a socket becomes a new node.
///
/// # Errors
/// Of the call that failed; ENOSPC where it does not fit into the tmpfs, before that is full, and for too many
/// entries; ELOOP for too many directories in each other.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let from = open_directory(from, c".")?;
    let to = open_directory(to, c".")?;
    let status = fstat(&from)?;
    fchown(
        &to,
        Some(Uid::from_raw(status.st_uid)),
        Some(Gid::from_raw(status.st_gid)),
    )?;
    copy_content(from, to.as_fd(), 1, &mut room_in(&to)?)
}

fn room_in(to: &OwnedFd) -> Result<Room> {
    Ok(Room {
        descriptors: ProcFs::own_descriptors()?,
        bytes: room(&fstatvfs(to)?).unwrap_or(u64::MAX),
        entries: MOST,
    })
}

fn open_directory(at: BorrowedFd<'_>, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn copy_content(from: OwnedFd, to: BorrowedFd<'_>, depth: usize, room: &mut Room) -> Result<()> {
    if depth > DEEPEST {
        return Err(Failure {
            errno: Errno::ELOOP,
            why: "there are more than 128 directories in each other",
        });
    }
    let mut directory = Dir::from_fd(from)?;
    // A second descriptor only as long as it is read, or an entry that is a directory would hold three.
    let mut names = Vec::new();
    for entry in directory.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        room.entries = room.entries.checked_sub(1).ok_or(Failure {
            errno: Errno::ENOSPC,
            why: "there are more than 1048576 files and directories",
        })?;
        names.push(name.to_owned());
    }
    names
        .iter()
        .try_for_each(|name| copy_entry(directory.as_fd(), to, name, depth, room))
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    depth: usize,
    room: &mut Room,
) -> Result<()> {
    // Nothing happens to what is opened so, whatever it is, and it stays what it was when it was looked at.
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = match openat(from, name, flags, Mode::empty()) {
        // Taken away since the directory was read.
        Err(Errno::ENOENT) => return Ok(()),
        found => found?,
    };
    let status = fstat(&found)?;
    let kind = SFlag::from_bits_retain(status.st_mode & SFlag::S_IFMT.bits());
    let mode = Mode::from_bits_retain(status.st_mode & 0o7777);
    // Nobody else may use what is not complete yet.
    let private = Mode::S_IRWXU;
    if kind == SFlag::S_IFDIR {
        let source = open_directory(found.as_fd(), c".")?;
        drop(found);
        mkdirat(to, name, private)?;
        let target = open_directory(to, name)?;
        copy_attributes(source.as_fd(), target.as_fd(), &status)?;
        copy_content(source, target.as_fd(), depth + 1, room)?;
        fchmod(&target, mode)?;
        return Ok(set_times(&target, &status)?);
    }
    if kind == SFlag::S_IFREG {
        let source = if late_without(Defence::LookBeforeOpen) {
            openat(
                from,
                name,
                OFlag::O_RDONLY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?
        } else {
            reopened(&found, room)?
        };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let target = openat(to, name, flags, private)?;
        copy_bytes(&source, &target, &status, room)?;
        copy_attributes(source.as_fd(), target.as_fd(), &status)?;
        // After the owner: chown(2) takes set-user-id away.
        fchmod(&target, mode)?;
        return Ok(set_times(&target, &status)?);
    }
    if kind == SFlag::S_IFLNK {
        symlinkat(readlinkat(&found, "")?.as_os_str(), to, name)?;
    } else {
        mknodat(to, name, kind, mode, status.st_rdev)?;
    }
    let owner = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    fchownat(
        to,
        name,
        Some(owner.0),
        Some(owner.1),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    let (accessed, modified) = times(&status);
    utimensat(
        to,
        name,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

/// The file that an O_PATH descriptor stands for, for reading.
fn reopened(found: &OwnedFd, room: &Room) -> nix::Result<OwnedFd> {
    let number = found.as_raw_fd().to_string();
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(&room.descriptors, number.as_str(), flags, Mode::empty())
}

/// No more than the file had when it was looked at: it may grow as fast as it is copied.
fn copy_bytes(
    source: &OwnedFd,
    target: &OwnedFd,
    status: &FileStat,
    room: &mut Room,
) -> Result<()> {
    let mut left = u64::try_from(status.st_size).map_err(|_negative| Errno::EINVAL)?;
    if without(Defence::LookBeforeOpen) {
        left = u64::MAX;
    } else {
        room.bytes = room.bytes.checked_sub(left).ok_or(Failure {
            errno: Errno::ENOSPC,
            why: "the files are larger than the tmpfs",
        })?;
    }
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        match sendfile(target, source, None, piece)? {
            0 => break,
            count => left -= count as u64,
        }
    }
    Ok(())
}

fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, status: &FileStat) -> nix::Result<()> {
    fchown(
        to,
        Some(Uid::from_raw(status.st_uid)),
        Some(Gid::from_raw(status.st_gid)),
    )?;
    let mut names = [0; 1024];
    let length = match xattr::flistxattr(from, &mut names) {
        Ok(0) | Err(Errno::ENOTSUP) => return Ok(()),
        result => result?,
    };
    let mut value = vec![0; XATTR_MAX];
    let names = names.get(..length).unwrap_or_default();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        let length = xattr::fgetxattr(from, name, &mut value)?;
        match xattr::fsetxattr(to, name, value.get(..length).unwrap_or_default()) {
            // A tmpfs, and a user namespace, do not take every kind; the content counts.
            Ok(()) | Err(Errno::ENOTSUP | Errno::EPERM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn set_times(target: &OwnedFd, status: &FileStat) -> nix::Result<()> {
    let (accessed, modified) = times(status);
    futimens(target, &accessed, &modified)
}

fn times(status: &FileStat) -> (TimeSpec, TimeSpec) {
    (
        TimeSpec::new(status.st_atime, status.st_atime_nsec),
        TimeSpec::new(status.st_mtime, status.st_mtime_nsec),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::open;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

    #[test]
    fn content_modes_links_and_times_are_copied() {
        let (from, to) = (
            tempfile::tempdir().expect("source"),
            tempfile::tempdir().expect("target"),
        );
        let at = |name: &str| from.path().join(name);
        std::fs::create_dir_all(at("a/b")).expect("directories");
        std::fs::write(at("a/b/file"), b"text").expect("file");
        std::fs::set_permissions(at("a/b/file"), PermissionsExt::from_mode(0o4711)).expect("mode");
        std::fs::set_permissions(at("a"), PermissionsExt::from_mode(0o500)).expect("mode");
        symlink("/nowhere", at("link")).expect("link");
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).expect("fifo");
        assert_eq!(
            copy(directory(from.path()).as_fd(), directory(to.path()).as_fd()),
            Ok(())
        );
        let copied = |name: &str| to.path().join(name).symlink_metadata().expect("copied");
        assert_eq!(
            std::fs::read(to.path().join("a/b/file")).expect("read"),
            b"text"
        );
        assert_eq!(copied("a/b/file").mode() & 0o7777, 0o4711);
        assert_eq!(copied("a").mode() & 0o7777, 0o500);
        assert_eq!(
            copied("a").mtime(),
            at("a").symlink_metadata().expect("source").mtime()
        );
        assert!(copied("link").is_symlink());
        assert!(copied("fifo").file_type().is_fifo());
    }

    fn directory(path: &std::path::Path) -> OwnedFd {
        open(path, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).expect("open")
    }

    fn why(from: &tempfile::TempDir) -> Failure {
        let to = tempfile::tempdir().expect("target");
        copy(directory(from.path()).as_fd(), directory(to.path()).as_fd()).expect_err("too much")
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let from = tempfile::tempdir().expect("source");
        let huge = std::fs::File::create(from.path().join("sparse")).expect("a file");
        huge.set_len(1 << 42).expect("without blocks");
        let failure = why(&from);
        assert_eq!(failure.errno, Errno::ENOSPC);
        assert_eq!(failure.why, "the files are larger than the tmpfs");
        let from = tempfile::tempdir().expect("source");
        let deep = vec!["d"; DEEPEST].join("/");
        std::fs::create_dir_all(from.path().join(&deep)).expect("directories");
        assert_eq!(why(&from).errno, Errno::ELOOP);
        std::fs::remove_dir(from.path().join(&deep)).expect("removed");
        crate::sys::forked::check_in_child(|| {
            let to = tempfile::tempdir().map_err(|it| it.to_string())?;
            let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
            nix::sys::resource::setrlimit(limit, 300, 300).map_err(|it| it.to_string())?;
            copy(directory(from.path()).as_fd(), directory(to.path()).as_fd())
                .map_err(|failure| format!("{failure:?}"))
        });
    }

    #[test]
    fn a_file_is_copied_as_long_as_it_was() {
        let from = tempfile::tempdir().expect("source");
        std::fs::write(from.path().join("file"), "12345678").expect("a file");
        let source = open(&from.path().join("file"), OFlag::O_RDONLY, Mode::empty()).expect("open");
        let flags = OFlag::O_RDWR | OFlag::O_CREAT;
        let target = open(&from.path().join("copy"), flags, Mode::S_IRWXU).expect("open");
        let mut status = fstat(&source).expect("looked at");
        status.st_size = 5;
        let mut room = Room {
            descriptors: ProcFs::own_descriptors().expect("a procfs"),
            bytes: 7,
            entries: 0,
        };
        assert_eq!(copy_bytes(&source, &target, &status, &mut room), Ok(()));
        assert_eq!(
            std::fs::read(from.path().join("copy")).expect("read"),
            b"12345"
        );
        assert_eq!(room.bytes, 2);
    }
}
