//! A file that is there whole, or not at all, however its writer ends. Any casulo process on the host.
//!
//! [`put`] writes it before it has a name (open(2), `O_TMPFILE`), so a writer that is killed leaves nothing. [`replace`]
//! writes another and renames it: whoever reads meanwhile finds the old one or the new one, never none.

use crate::step::{self, Step};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat, write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How often a name is taken that others take at the same time.
const ATTEMPTS: usize = 8;

/// Writes `bytes` to `path` below `directory`, in place of what is there. `step` is the moment between the
/// writing and the name.
///
/// # Errors
/// That of the call that failed.
pub(crate) fn put(
    directory: impl AsFd + Copy,
    path: &Path,
    bytes: &[u8],
    mode: Mode,
    step: Step,
) -> nix::Result<()> {
    let above = path.parent().filter(|it| !it.as_os_str().is_empty());
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    match openat(directory, above.unwrap_or(Path::new(".")), flags, mode) {
        Ok(file) => {
            write_all(&file, bytes)?;
            step::begin_or_errno(step)?;
            give_name(&file, directory, path)
        }
        // Not every file system has nameless files.
        Err(Errno::EOPNOTSUPP) => put_by_rename(directory, path, bytes, mode, step),
        Err(errno) => Err(errno),
    }
}

/// The link of an open file is the way to name it without CAP_DAC_READ_SEARCH (open(2), `O_TMPFILE`).
fn give_name(file: &OwnedFd, directory: impl AsFd + Copy, path: &Path) -> nix::Result<()> {
    let nameless = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    for _ in 0..ATTEMPTS {
        match linkat(
            AT_FDCWD,
            &nameless,
            directory,
            path,
            AtFlags::AT_SYMLINK_FOLLOW,
        ) {
            Err(Errno::EEXIST) => {}
            result => return result,
        }
        // Of an earlier container, or a neighbour's that was faster.
        match unlinkat(directory, path, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EEXIST)
}

/// [`replace`] by a name of this process's own.
fn put_by_rename(
    directory: impl AsFd + Copy,
    path: &Path,
    bytes: &[u8],
    mode: Mode,
    step: Step,
) -> nix::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    replace(directory, Path::new(&temporary), path, bytes, mode, step)
}

/// Writes `bytes` to `temporary`, which takes the place of `path` then; both are below `directory`. `step` is the
/// moment between the two. A writer that is killed leaves `temporary`, which the next one takes.
///
/// # Errors
/// That of the call that failed; `temporary` is gone.
pub(crate) fn replace(
    directory: impl AsFd + Copy,
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
    mode: Mode,
    step: Step,
) -> nix::Result<()> {
    let file = create(directory, temporary, mode)?;
    let replaced = write_all(&file, bytes)
        .and_then(|()| step::begin_or_errno(step))
        .and_then(|()| renameat(directory, temporary, directory, path));
    replaced.inspect_err(|_| {
        // The error of before is the one to report.
        let _ = unlinkat(directory, temporary, UnlinkatFlags::NoRemoveDir);
    })
}

/// An empty file, open for writing; one of that name loses what is in it, but a link is not followed.
///
/// # Errors
/// Those of openat(2).
pub(crate) fn create(directory: impl AsFd + Copy, path: &Path, mode: Mode) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
    openat(directory, path, flags | OFlag::O_CLOEXEC, mode)
}

/// Writes all of `bytes` to `file`.
///
/// # Errors
/// Those of write(2), but for EINTR.
pub(crate) fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const MODE: Mode = Mode::S_IRWXU;

    #[test]
    fn a_file_takes_the_place_of_another() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("pid");
        for text in ["a longer one", "short"] {
            put(AT_FDCWD, &path, text.as_bytes(), MODE, Step::NamePidFile).expect("put");
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
        }
        put_by_rename(AT_FDCWD, &path, b"renamed", MODE, Step::NamePidFile).expect("put");
        assert_eq!(fs::read_to_string(&path).expect("read"), "renamed");
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_leaves_nothing() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("pid");
        fs::create_dir(&path).expect("directory");
        for result in [
            put(AT_FDCWD, &path, b"1", MODE, Step::NamePidFile),
            put_by_rename(AT_FDCWD, &path, b"1", MODE, Step::NamePidFile),
        ] {
            assert_eq!(result, Err(Errno::EISDIR));
        }
        assert_eq!(fs::read_dir(directory.path()).expect("list").count(), 1);
    }
}
