//! The trees that the parent clones on the host and init attaches. A message is one letter for each descriptor that
//! comes with it, or one letter and a text, or one letter alone.

use super::{Channel, MAX};
use crate::error::Result;
use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A detached tree whose root is a directory.
const DIRECTORY: u8 = b'd';
/// A detached tree whose root is another file.
const OTHER: u8 = b'f';
/// The text of a symlink follows.
const LINK: u8 = b'l';
/// The path of a source that lies in the container's root follows.
const INSIDE: u8 = b'i';
/// Init must say when it has come to the next source.
const TURN: u8 = b't';
/// The parent may clone no tree.
const CLONE_IN_INIT: u8 = b'y';

/// The most trees in one message: few enough that init seldom waits for the last of them.
pub(crate) const BATCH: usize = 16;

/// The kind of file at the root of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    Directory,
    Other,
}

/// A message to init about trees.
#[derive(Debug)]
pub(crate) enum Trees {
    /// Trees, at most [`BATCH`].
    Cloned(Vec<(Top, OwnedFd)>),
    /// The text of a symlink that init must make again.
    Link(OsString),
    /// The path, below the container's root, of a source that init must clone and hand over.
    Inside(PathBuf),
    /// Init must say when it has come to the next source.
    Turn,
    /// Init must clone all trees itself.
    CloneInInit,
}

impl Channel {
    /// Parent: sends trees, at most [`BATCH`], each with the kind of file at its root.
    ///
    /// # Errors
    /// `E_SYNC`; EPIPE when init is gone.
    pub(crate) fn send_trees(&self, tops: &[Top], trees: &[BorrowedFd<'_>]) -> Result<()> {
        let letters = tops.iter().map(|top| match top {
            Top::Directory => DIRECTORY,
            Top::Other => OTHER,
        });
        self.send_with(&letters.collect::<Vec<u8>>(), trees)
    }

    /// Parent: sends the text of a symlink.
    ///
    /// # Errors
    /// As [`Channel::send_trees`].
    pub(crate) fn send_link(&self, text: &OsStr) -> Result<()> {
        self.send_with(&[&[LINK], text.as_bytes()].concat(), &[])
    }

    /// Parent: sends the path, below the container's root, of a source that init must clone. It answers by
    /// [`Message::Found`](super::Message::Found), or [`Message::Turn`](super::Message::Turn) where it need not hand over anything.
    ///
    /// # Errors
    /// As [`Channel::send_trees`].
    pub(crate) fn send_inside(&self, path: &Path) -> Result<()> {
        self.send_with(&[&[INSIDE], path.as_os_str().as_bytes()].concat(), &[])
    }

    /// Parent: init must say [`Message::Turn`](super::Message::Turn) when it has come to the next source.
    ///
    /// # Errors
    /// As [`Channel::send_trees`].
    pub(crate) fn ask_for_turn(&self) -> Result<()> {
        self.send_with(&[TURN], &[])
    }

    /// Parent: tells init to clone all trees itself.
    ///
    /// # Errors
    /// As [`Channel::send_trees`].
    pub(crate) fn send_clone_in_init(&self) -> Result<()> {
        self.send_with(&[CLONE_IN_INIT], &[])
    }

    /// Init: receives the next of these messages. `None` if the parent has left, or has sent something else.
    ///
    /// # Errors
    /// `E_SYNC` for a socket error.
    pub(crate) fn receive_trees(&self) -> Result<Option<Trees>> {
        let mut buffer = [0; MAX];
        let (length, fds) = self.receive_with::<BATCH>(&mut buffer)?;
        Ok(match buffer.get(..length) {
            Some([CLONE_IN_INIT]) => Some(Trees::CloneInInit),
            Some([TURN]) => Some(Trees::Turn),
            Some([INSIDE, path @ ..]) => Some(Trees::Inside(OsStr::from_bytes(path).into())),
            Some([LINK, text @ ..]) => Some(Trees::Link(OsStr::from_bytes(text).into())),
            Some(letters) if !letters.is_empty() && letters.len() == fds.len() => {
                let tops = letters.iter().map(|letter| match *letter {
                    DIRECTORY => Some(Top::Directory),
                    OTHER => Some(Top::Other),
                    _ => None,
                });
                let trees = tops.zip(fds).map(|(top, fd)| Some((top?, fd)));
                trees.collect::<Option<_>>().map(Trees::Cloned)
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
    use std::os::fd::AsFd;

    #[test]
    fn trees_come_in_order_each_with_its_top() {
        let (parent, init) = Channel::pair().expect("pair");
        let (one, two) = nix::unistd::pipe().expect("pipe");
        let tops = [Top::Other, Top::Directory];
        let sent = parent.send_trees(&tops, &[one.as_fd(), two.as_fd()]);
        sent.expect("sent");
        parent.send_link(OsStr::new("../a")).expect("sent");
        parent.send_inside(Path::new("/a/b")).expect("sent");
        parent.ask_for_turn().expect("sent");
        parent.send_clone_in_init().expect("sent");
        let Ok(Some(Trees::Cloned(trees))) = init.receive_trees() else {
            panic!("no trees");
        };
        let number = |fd: &OwnedFd| fstat(fd).map(|it| (it.st_dev, it.st_ino));
        let came: Vec<_> = trees.iter().map(|(top, fd)| (*top, number(fd))).collect();
        assert_eq!(came, [(tops[0], number(&one)), (tops[1], number(&two))]);
        assert!(matches!(init.receive_trees(), Ok(Some(Trees::Link(text))) if text == "../a"));
        let inside = init.receive_trees();
        assert!(matches!(inside, Ok(Some(Trees::Inside(path))) if path == Path::new("/a/b")));
        assert!(matches!(init.receive_trees(), Ok(Some(Trees::Turn))));
        assert!(matches!(init.receive_trees(), Ok(Some(Trees::CloneInInit))));
    }

    #[test]
    fn anything_else_is_no_tree() {
        let (parent, init) = Channel::pair().expect("pair");
        let (one, _two) = nix::unistd::pipe().expect("pipe");
        parent.send_with(b"d", &[]).expect("sent");
        parent.send_with(b"x", &[one.as_fd()]).expect("sent");
        drop(parent);
        for _ in 0..3 {
            assert!(matches!(init.receive_trees(), Ok(None)));
        }
    }
}
