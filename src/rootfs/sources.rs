//! What of the host's is mounted in the container: the rootfs and every bind source, as detached trees.
//!
//! Init clones them in its mount namespace, a copy of the host's, each when all mounts before it are made: a source may
//! depend on them. It may lie in the container's root, below one of them; it may be a directory that is only made as the
//! target of another mount. And mountinfo lists mounts in the order in which they were made.
//!
//! In a user namespace of its own init may not even look into a directory with mode 0700, in a mount namespace that is joined
//! it has other mounts, and it can neither id-map a tree nor make it a peer of the host's. There the parent clones them in the
//! host's mount namespace, makes each what the plan says, and sends it to init, which only attaches it ([`Sender`]). It
//! keeps the same order: it clones no source before init has made the new file systems that come before it, and
//! looks for what is missing again when init has come that far. What lies in the container's root init alone sees: it
//! clones that and hands it to the parent, which treats it as any other. A caller without privilege cannot clone a
//! tree; then init does all of it again.
//!
//! A tree that the parent cloned was never copied into a user namespace with fewer privileges, so
//! the kernel locks none of its flags (mount_namespaces(7)): a container that keeps CAP_SYS_ADMIN
//! in its user namespace can change them, as with runc and crun.

mod opened;
mod sender;

pub(super) use opened::clone;
pub(crate) use sender::Sender;

use super::Plan;
use super::mount::{Action, Bind, Mount};
use super::place::Shape;
use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::sync::trees::{Top, Trees};
use crate::sync::{Channel, Message};
use crate::sys::fd::close_all;
use nix::errno::Errno;
use opened::{
    Place, STEP, clone_object, link_to_copy, locate, open_inside, open_object_as, open_root,
};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A bind mount's source.
#[derive(Debug)]
pub(super) enum Source {
    /// A detached clone, with the attributes, the propagation and the id map that the plan wants.
    Tree(Tree),
    /// The text of a symlink that is to be made again (`copy-symlink`).
    Link(OsString),
}

/// A detached tree, which goes away with the last process that has its fd.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) fd: OwnedFd,
    pub(super) shape: Shape,
}

/// What init has of the host's: in the order of the plan, as it comes from the parent.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    parent: &'a Channel,
    ready: VecDeque<Source>,
    /// Trees that are attached.
    done: Vec<OwnedFd>,
    /// Where init itself opens all sources.
    own: Option<Own>,
}

/// What init opens itself.
#[derive(Debug)]
struct Own {
    /// The host's.
    proc: ProcFs,
    /// Where the sources lie, found before anything was mounted.
    places: VecDeque<Place>,
}

impl Own {
    fn find(plan: &Plan) -> Result<Own> {
        let proc = ProcFs::host().context(Code::Mount, "open", "/proc")?;
        let binds = plan.mounts.iter().filter_map(|mount| match &mount.action {
            Action::Bind(bind) => Some(locate(mount, bind, &plan.path, &proc)),
            _ => None,
        });
        let places = binds.collect::<Result<_>>()?;
        Ok(Own { proc, places })
    }

    /// The next source, with all that the plan wants of it.
    fn next(&mut self, plan: &Plan, root: &Root, mount: &Mount, bind: &Bind) -> Result<Source> {
        let place = match self.places.pop_front() {
            Some(Place::Missing) | None => locate(mount, bind, &plan.path, &self.proc)?,
            Some(place) => place,
        };
        let object = match place {
            Place::Host(object) => Ok(object),
            Place::Inside(path) => open_inside(root, &path, bind),
            Place::Missing => Err(Errno::ENOENT),
        };
        let object = object.context(Code::Mount, STEP, mount)?;
        open_object_as(object.as_fd(), mount, bind, |_| Ok(()))
    }
}

impl Drop for Sources<'_> {
    fn drop(&mut self) {
        close_all(std::mem::take(&mut self.done));
    }
}

impl<'a> Sources<'a> {
    /// What comes over `parent` from its [`Sender`].
    pub(crate) fn from(parent: &'a Channel) -> Sources<'a> {
        Sources {
            parent,
            ready: VecDeque::new(),
            done: Vec::new(),
            own: None,
        }
    }

    /// The rootfs. Where the parent may not clone it, init clones all there is, as root in its mount
    /// namespace.
    ///
    /// # Errors
    /// E_MOUNT, as [`Sender::begin`]; E_SYNC.
    pub(super) fn root(&mut self, plan: &Plan) -> Result<OwnedFd> {
        match self.receive()? {
            Trees::CloneInInit => {
                self.own = Some(Own::find(plan)?);
                open_root(plan)
            }
            Trees::Cloned(trees) => match trees.into_iter().next() {
                Some((_, root)) => Ok(root),
                None => Err(no_source()),
            },
            Trees::Link(_) | Trees::Inside(_) | Trees::Turn => Err(no_source()),
        }
    }

    /// The source of the next bind mount of the plan, when all before that are made. `root` is the container's.
    ///
    /// # Errors
    /// E_SYNC; E_MOUNT, as [`Sender::begin`], for what init opens itself.
    pub(super) fn next(
        &mut self,
        plan: &Plan,
        root: &Root,
        mount: &Mount,
        bind: &Bind,
    ) -> Result<Source> {
        if let Some(own) = &mut self.own {
            return own.next(plan, root, mount, bind);
        }
        loop {
            if let Some(source) = self.ready.pop_front() {
                return Ok(source);
            }
            match self.receive()? {
                Trees::Cloned(trees) => self.ready.extend(trees.into_iter().map(|(top, fd)| {
                    let shape = match top {
                        Top::Directory => Shape::Directory,
                        Top::Other => Shape::File,
                    };
                    Source::Tree(Tree { fd, shape })
                })),
                Trees::Link(text) => return Ok(Source::Link(text)),
                Trees::Turn => self.parent.send(&Message::Turn)?,
                Trees::Inside(path) => {
                    let found = find(root, &path, bind).context(Code::Mount, STEP, mount)?;
                    match found {
                        Found::Link(text) => {
                            self.parent.send(&Message::Turn)?;
                            return Ok(Source::Link(text));
                        }
                        Found::Tree(tree) => self.parent.send(&Message::Found(tree))?,
                    }
                }
                Trees::CloneInInit => return Err(no_source()),
            }
        }
    }

    /// Closes the descriptor of a tree that is attached, with others, some time later.
    pub(super) fn close_later(&mut self, tree: OwnedFd) {
        self.done.push(tree);
    }

    /// The parent's next message.
    fn receive(&mut self) -> Result<Trees> {
        close_all(std::mem::take(&mut self.done));
        self.parent.receive_trees()?.ok_or_else(no_source)
    }
}

/// A source that lies in the container's root.
enum Found {
    /// A clone, as it is.
    Tree(OwnedFd),
    /// The text of a symlink that is to be made again.
    Link(OsString),
}

fn find(root: &Root, path: &Path, bind: &Bind) -> nix::Result<Found> {
    let object = open_inside(root, path, bind)?;
    match link_to_copy(object.as_fd(), bind)? {
        Some(text) => Ok(Found::Link(text)),
        None => clone_object(object.as_fd(), bind).map(Found::Tree),
    }
}

fn no_source() -> Error {
    Error::new(
        Code::Sync,
        "the parent left before it had sent all bind sources",
    )
}
