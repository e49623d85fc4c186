//! The pid file: digits without a line feed, as go-runc parses them, there whole or not at all. Where the path
//! is a device, a pipe or a descriptor (`/dev/null`, `/dev/fd/3`) there is nothing to replace: it is written into.

use crate::error::{Code, Context, Result};
use crate::step::Step;
use crate::whole_file;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, readlink};
use nix::sys::stat::{Mode, SFlag, fstat, lstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::unistd::{Pid, unlink};
use std::path::{Path, PathBuf};

/// How many symbolic links are followed, as path_resolution(7).
const MAX_SYMLINKS: usize = 40;

/// Writes `pid` to `path`. Runs in the parent, as the caller's user. A symbolic link to a regular file is
/// replaced, as a file is, and never followed: nobody who can make a link says what casulo writes into.
///
/// # Errors
/// `E_IO`; ENXIO for a pipe that nobody reads, and for a socket.
pub(crate) fn write(path: &Path, pid: Pid) -> Result<()> {
    let digits = pid.to_string();
    let put = || match place(path)? {
        Place::Name => {
            let mode = Mode::from_bits_truncate(0o666);
            whole_file::put(AT_FDCWD, path, digits.as_bytes(), mode, Step::NamePidFile)
        }
        Place::Object(object) => write_into(&object, OFlag::O_NOFOLLOW, digits.as_bytes()),
        Place::Descriptor(link) => write_into(&link, OFlag::empty(), digits.as_bytes()),
    };
    put().context(Code::Io, "write the pid file", path.display())
}

/// Takes away what [`write()`] has put at `path`, if that is a file of its own.
pub(crate) fn remove(path: &Path) {
    if lstat(path).is_ok_and(|it| is_regular(it.st_mode)) {
        // The error of before is the one to report.
        let _ = unlink(path);
    }
}

/// What stands at a path.
enum Place {
    /// Nothing, or what another file takes the place of.
    Name,
    /// Something that is no regular file, at this path, which is no link.
    Object(PathBuf),
    /// Something that a process has open: a link of procfs.
    Descriptor(PathBuf),
}

fn place(path: &Path) -> nix::Result<Place> {
    let mut at = path.to_owned();
    for _ in 0..MAX_SYMLINKS {
        let there = match lstat(&at) {
            Err(Errno::ENOENT) => return Ok(Place::Name),
            there => there?,
        };
        let above = at.parent().unwrap_or(Path::new("/"));
        match there.st_mode & libc::S_IFMT {
            libc::S_IFREG | libc::S_IFDIR => return Ok(Place::Name),
            libc::S_IFLNK if statfs(above)?.filesystem_type() == PROC_SUPER_MAGIC => {
                return Ok(Place::Descriptor(at));
            }
            libc::S_IFLNK => {
                at = above.join(readlink(&at)?);
            }
            _ => return Ok(Place::Object(at)),
        }
    }
    Err(Errno::ELOOP)
}

/// Without O_NONBLOCK a pipe that nobody reads would keep us.
fn write_into(path: &Path, flags: OFlag, bytes: &[u8]) -> nix::Result<()> {
    let flags = flags | OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    if flags.contains(OFlag::O_NOFOLLOW) && is_regular(fstat(&file)?.st_mode) {
        // Swapped since it was looked at.
        return Err(Errno::EEXIST);
    }
    whole_file::write_all(&file, bytes)
}

fn is_regular(mode: libc::mode_t) -> bool {
    mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_holds_digits_only() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("pid");
        write(&path, Pid::from_raw(4711)).expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"4711");
        assert_eq!(
            std::fs::read_dir(directory.path()).expect("list").count(),
            1
        );
    }

    #[test]
    fn what_is_no_file_is_written_into_and_stays() {
        let directory = tempfile::tempdir().expect("directory");
        let (pipe, link) = (directory.path().join("pipe"), directory.path().join("link"));
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        std::os::unix::fs::symlink("pipe", &link).expect("a link");
        let reader = open(&pipe, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty());
        let reader = reader.expect("a reader");
        for path in [&pipe, &link] {
            write(path, Pid::from_raw(4711)).expect("written");
            remove(path);
            let mut said = [0; 8];
            assert_eq!(nix::unistd::read(&reader, &mut said), Ok(4));
            assert!(lstat(path).is_ok_and(|it| !is_regular(it.st_mode)));
        }

        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        for number in ["/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"] {
            let path = format!("{number}/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
            write(Path::new(&path), Pid::from_raw(4711)).expect(&path);
            let mut said = [0; 8];
            assert_eq!(nix::unistd::read(&reader, &mut said), Ok(4));
            assert_eq!(&said[..4], b"4711");
        }
        let file = tempfile::tempfile().expect("a file");
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        write(Path::new(&path), Pid::from_raw(4711)).expect("written");
        assert_eq!(file.metadata().expect("there").len(), 4);
    }

    #[test]
    fn a_link_to_a_file_is_replaced_and_a_pipe_without_a_reader_is_an_error() {
        let directory = tempfile::tempdir().expect("directory");
        let (victim, link) = (
            directory.path().join("victim"),
            directory.path().join("link"),
        );
        std::fs::write(&victim, "mine").expect("a file");
        std::os::unix::fs::symlink("victim", &link).expect("a link");
        write(&link, Pid::from_raw(4711)).expect("written");
        assert_eq!(std::fs::read_to_string(&victim).expect("there"), "mine");
        assert!(lstat(&link).is_ok_and(|it| is_regular(it.st_mode)));
        remove(&link);
        assert!(lstat(&link).is_err());

        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        let error = write(&pipe, Pid::from_raw(4711)).expect_err("no reader");
        assert_eq!(error.errno, Some(Errno::ENXIO));
        remove(&pipe);
        assert!(std::fs::symlink_metadata(&pipe).is_ok());
    }
}
