//! `tmpcopyup`: fills a new tmpfs with the folder that it will cover, by file descriptor alone.
//!
//! Runs in the child, before the tmpfs is attached. The folder is the image's and thus hostile:
//! nothing is followed, and what is opened is what was looked at or an error.

use crate::sys::xattr;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::sendfile::sendfile;
use nix::sys::stat::{
    FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, futimens, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How much one sendfile(2) moves at most.
const CHUNK: usize = 1 << 20;
/// The longest value and list of extended attributes, xattr(7).
const XATTR_MAX: usize = 65_536;

/// Copies all that is in the folder `from` (O_PATH) into the folder `to` (O_PATH or a mount's fd):
/// content, owners, modes, times and the extended attributes that a tmpfs takes. The folder's own
/// owner is copied too.
///
/// # Errors
/// The errno of the call that failed.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> nix::Result<()> {
    let from = open_folder(from, c".")?;
    let to = open_folder(to, c".")?;
    let status = fstat(&from)?;
    fchown(
        &to,
        Some(Uid::from_raw(status.st_uid)),
        Some(Gid::from_raw(status.st_gid)),
    )?;
    copy_content(from, to.as_fd())
}

fn open_folder(at: BorrowedFd<'_>, name: &CStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn copy_content(from: OwnedFd, to: BorrowedFd<'_>) -> nix::Result<()> {
    let mut folder = Dir::from_fd(from.try_clone().map_err(errno)?)?;
    for entry in folder.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from.as_fd(), to, name)?;
        }
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> nix::Result<()> {
    let status = nix::sys::stat::fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits());
    let mode = Mode::from_bits_truncate(status.st_mode);
    // Nobody else may use what is not complete yet.
    let private = Mode::S_IRWXU;
    if kind == SFlag::S_IFDIR {
        let source = open_folder(from, name)?;
        mkdirat(to, name, private)?;
        let target = open_folder(to, name)?;
        copy_attributes(source.as_fd(), target.as_fd(), &status)?;
        copy_content(source, target.as_fd())?;
        fchmod(&target, mode)?;
        return set_times(&target, &status);
    }
    if kind == SFlag::S_IFREG {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let source = openat(from, name, flags | OFlag::O_RDONLY, Mode::empty())?;
        let create = flags | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let target = openat(to, name, create, private)?;
        while sendfile(&target, &source, None, CHUNK)? > 0 {}
        copy_attributes(source.as_fd(), target.as_fd(), &status)?;
        // After the owner: chown(2) takes set-user-id away.
        fchmod(&target, mode)?;
        return set_times(&target, &status);
    }
    if kind == SFlag::S_IFLNK {
        symlinkat(readlinkat(from, name)?.as_os_str(), to, name)?;
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
    )
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

fn errno(error: std::io::Error) -> Errno {
    Errno::try_from(error).unwrap_or(Errno::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

    #[test]
    fn content_modes_links_and_times_are_copied() {
        let (from, to) = (
            tempfile::tempdir().expect("source"),
            tempfile::tempdir().expect("target"),
        );
        let at = |name: &str| from.path().join(name);
        std::fs::create_dir_all(at("a/b")).expect("folders");
        std::fs::write(at("a/b/file"), b"text").expect("file");
        std::fs::set_permissions(at("a/b/file"), PermissionsExt::from_mode(0o4711)).expect("mode");
        std::fs::set_permissions(at("a"), PermissionsExt::from_mode(0o500)).expect("mode");
        symlink("/nowhere", at("link")).expect("link");
        nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).expect("fifo");
        let open = |path| {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            nix::fcntl::open(path, flags, Mode::empty()).expect("open")
        };
        copy(open(from.path()).as_fd(), open(to.path()).as_fd()).expect("copy");
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
}
