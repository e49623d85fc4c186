//! The answers of a helper to the process that made it: descriptors, one per message, or the errno for which it has
//! none. They go over a socket pair of their own. Such helpers are the notify binder (`notify::inside`) and the maker
//! of device nodes (`rootfs::devices`). A hook's process, which becomes a program of the config's, has a pipe for the
//! errno only.
//!
//! The holder of id maps sends nothing and waits to be killed. The maker of a procfs, which a container can see, has
//! no socket at all: its page is in [`super::page`].

use super::socket_pair;
use crate::sys::scm;
use nix::errno::Errno;
use nix::unistd::{read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The one byte that comes with a descriptor. An errno is four bytes.
const GIVEN: [u8; 1] = [b'd'];

/// The end of the helper's maker.
#[derive(Debug)]
pub(crate) struct ToHelper(OwnedFd);

/// The helper's end.
#[derive(Debug)]
pub(crate) struct ToMaker(OwnedFd);

/// Returns both ends of a new socket pair.
///
/// # Errors
/// That of socketpair(2).
pub(crate) fn pair() -> nix::Result<(ToHelper, ToMaker)> {
    let (near, far) = socket_pair()?;
    Ok((ToHelper(near), ToMaker(far)))
}

impl ToMaker {
    /// The helper: sends a descriptor.
    ///
    /// # Errors
    /// EPIPE when the maker has closed its end.
    pub(crate) fn give(&self, fd: BorrowedFd<'_>) -> nix::Result<()> {
        scm::send_fd(self.0.as_fd(), &GIVEN, fd)
    }

    /// The helper: sends the errno for which it has no descriptor.
    ///
    /// # Errors
    /// As [`ToMaker::give`].
    pub(crate) fn fail(&self, errno: Errno) -> nix::Result<()> {
        scm::send(self.0.as_fd(), &(errno as i32).to_ne_bytes())
    }
}

impl ToHelper {
    /// The maker: waits for the next descriptor.
    ///
    /// # Errors
    /// The helper's errno; EPIPE when it has ended without one.
    pub(crate) fn take(&self) -> nix::Result<OwnedFd> {
        let mut word = [0; 4];
        match scm::receive(self.0.as_fd(), &mut word)? {
            (1, Some(fd)) if word.starts_with(&GIVEN) => Ok(fd),
            (4, None) => Err(Errno::from_raw(i32::from_ne_bytes(word))),
            _ => Err(Errno::EPIPE),
        }
    }
}

/// A hook's process: sends the errno for which it has not executed its program. The program does not inherit the
/// pipe.
///
/// # Errors
/// That of write(2).
pub(crate) fn say_errno(pipe: &OwnedFd, errno: Errno) -> nix::Result<()> {
    write(pipe, &(errno as i32).to_ne_bytes()).map(drop)
}

/// The maker of a hook's process: reads its errno, without waiting if the pipe does not block; `None` if there is
/// none.
pub(crate) fn heard_errno(pipe: &OwnedFd) -> Option<Errno> {
    let mut word = [0; 4];
    match read(pipe, &mut word) {
        Ok(4) => Some(Errno::from_raw(i32::from_ne_bytes(word))),
        _ => None,
    }
}

impl AsFd for ToHelper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;

    #[test]
    fn descriptors_an_errno_and_an_end_are_told_apart() {
        let (near, far) = pair().expect("a pair");
        let (one, two) = nix::unistd::pipe().expect("a pipe");
        for fd in [&one, &two] {
            far.give(fd.as_fd()).expect("given");
        }
        far.fail(Errno::EXDEV).expect("said");
        drop(far);
        for fd in [&one, &two] {
            let taken = near.take().expect("taken");
            let number = |fd: &OwnedFd| fstat(fd).map(|it| (it.st_dev, it.st_ino));
            assert_eq!(number(&taken), number(fd));
        }
        assert_eq!(near.take().map(drop), Err(Errno::EXDEV));
        assert_eq!(near.take().map(drop), Err(Errno::EPIPE));
    }

    #[test]
    fn an_errno_is_heard_over_a_pipe_and_its_end_is_none() {
        let (near, far) = nix::unistd::pipe().expect("a pipe");
        say_errno(&far, Errno::ENOEXEC).expect("said");
        drop(far);
        assert_eq!(heard_errno(&near), Some(Errno::ENOEXEC));
        assert_eq!(heard_errno(&near), None);
    }
}
