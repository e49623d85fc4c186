//! What a helper gives who made it: descriptors, one a message, or the errno for which it has none. By a socket pair of
//! their own: the notify binder (`notify::inside`), the maker of device nodes (`rootfs::devices`). A hook's process, which is
//! to become a program of somebody else's, has a pipe for the errno alone.
//!
//! The holder of id maps says nothing and waits to be killed. The maker of a procfs, which a container can see, has no
//! socket at all: its page is in [`super::page`].

use super::socket_pair;
use crate::sys::scm;
use nix::errno::Errno;
use nix::unistd::{read, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The word that comes with a descriptor. An errno is four bytes.
const GIVEN: [u8; 1] = [b'd'];

/// The end of who made the helper.
#[derive(Debug)]
pub(crate) struct ToHelper(OwnedFd);

/// The helper's end.
#[derive(Debug)]
pub(crate) struct ToMaker(OwnedFd);

/// Both ends.
///
/// # Errors
/// That of socketpair(2).
pub(crate) fn pair() -> nix::Result<(ToHelper, ToMaker)> {
    let (near, far) = socket_pair()?;
    Ok((ToHelper(near), ToMaker(far)))
}

impl ToMaker {
    /// Gives a descriptor.
    ///
    /// # Errors
    /// EPIPE when nobody listens any more.
    pub(crate) fn give(&self, fd: BorrowedFd<'_>) -> nix::Result<()> {
        scm::send_fd(self.0.as_fd(), &GIVEN, fd)
    }

    /// Says why there is none.
    ///
    /// # Errors
    /// As [`ToMaker::give`].
    pub(crate) fn fail(&self, errno: Errno) -> nix::Result<()> {
        scm::send(self.0.as_fd(), &(errno as i32).to_ne_bytes())
    }
}

impl ToHelper {
    /// The next descriptor.
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

/// A hook's process, over a pipe that its program does not have: why it has not executed that.
///
/// # Errors
/// That of write(2).
pub(crate) fn say_errno(pipe: &OwnedFd, errno: Errno) -> nix::Result<()> {
    write(pipe, &(errno as i32).to_ne_bytes()).map(drop)
}

/// Who made it: what it has said, without waiting if the pipe does not block; `None` where that is nothing.
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
