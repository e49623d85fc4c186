//! What of the host's is mounted in the container: the rootfs and every bind source, as detached trees.
//!
//! The parent clones them in the host's mount namespace, while init enters its own and makes its first mounts,
//! makes each what the plan says, and sends it to init, which only attaches it. In a user namespace of its
//! own init may not even look into a directory with mode 0700, and in a mount namespace that is joined it has
//! other mounts. A caller without privilege cannot clone a tree; then init does all of it, in its mount
//! namespace and before anything is mounted there, so that no source can lie in what is mounted.
//!
//! A tree that the parent cloned was never copied into a user namespace with fewer privileges, so
//! the kernel locks none of its flags (mount_namespaces(7)): a container that keeps CAP_SYS_ADMIN
//! in its user namespace can change them, as with runc and crun.

use super::changes::apply;
use super::idmap;
use super::mount::Change;
use super::mount::{Action, Bind, Mount, SourceKind, as_text};
use super::mount::{IdMapping, Maps};
use super::options::{Depth, Propagation, Symlink};
use super::place::Shape;
use super::{Plan, RootSwitch, RootfsPropagation};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::sync::Channel;
use crate::sync::trees::{BATCH, Top, Trees};
use crate::sys::fd::close_all;
use crate::sys::mount::{MountAttr, clone_with, mount_setattr, open_tree, open_tree_attr};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, readlink};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// How many descriptors of trees the parent keeps at most.
const KEPT: usize = 256;

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

/// The parent's descriptors of what it has sent. Where one is closed last the kernel has work to do: while
/// these are there, init has not.
#[derive(Debug, Default)]
pub(crate) struct KeptTrees(Vec<OwnedFd>);

impl Drop for KeptTrees {
    fn drop(&mut self) {
        close_all(std::mem::take(&mut self.0));
    }
}

/// Clones the rootfs and the bind sources and sends them. Parent, with the caller's privileges, in its mount
/// namespace, once the id maps of `init` are written. `proc` is the host's.
///
/// # Errors
/// E_MOUNT: a source that is not there or cannot be cloned, an attribute that cannot be had, an id map that
/// the file system refuses; E_NAMESPACE and E_ID_MAP from the namespace that carries a map; E_SYNC.
pub(crate) fn send(plan: &Plan, init: Pid, proc: &ProcFs, channel: &Channel) -> Result<KeptTrees> {
    if plan.switch == RootSwitch::Chroot {
        return Ok(KeptTrees::default());
    }
    let root = match open_root(plan) {
        // CAP_SYS_ADMIN may also be one over a user namespace that does not own this mount namespace.
        Err(error) if error.errno == Some(Errno::EPERM) && !plan.has_idmaps() => {
            channel.send_clone_in_init()?;
            return Ok(KeptTrees::default());
        }
        root => root?,
    };
    channel.send_trees(&[Top::Directory], &[root.as_fd()])?;
    let mut maps = MapsOfMounts {
        init,
        proc,
        containers: None,
    };
    let mut batch = Batch {
        sent: KeptTrees(vec![root]),
        ..Batch::default()
    };
    for mount in &plan.mounts {
        let Action::Bind(bind) = &mount.action else {
            continue;
        };
        match open_source(mount, bind, |tree| maps.apply(tree, bind))? {
            Source::Tree(tree) => batch.push(tree, channel)?,
            Source::Link(text) => {
                batch.send(channel)?;
                channel.send_link(&text)?;
            }
        }
    }
    batch.send(channel)?;
    Ok(batch.sent)
}

/// Trees that go in one message.
#[derive(Default)]
struct Batch {
    tops: Vec<Top>,
    trees: Vec<OwnedFd>,
    sent: KeptTrees,
}

impl Batch {
    fn push(&mut self, tree: Tree, channel: &Channel) -> Result<()> {
        self.tops.push(match tree.shape {
            Shape::Directory => Top::Directory,
            Shape::File => Top::Other,
        });
        self.trees.push(tree.fd);
        match self.trees.len() {
            BATCH => self.send(channel),
            _ => Ok(()),
        }
    }

    fn send(&mut self, channel: &Channel) -> Result<()> {
        if self.trees.is_empty() {
            return Ok(());
        }
        let trees: Vec<BorrowedFd<'_>> = self.trees.iter().map(AsFd::as_fd).collect();
        channel.send_trees(&self.tops, &trees)?;
        self.tops.clear();
        if self.sent.0.len() >= KEPT {
            close_all(std::mem::take(&mut self.sent.0));
        }
        self.sent.0.append(&mut self.trees);
        Ok(())
    }
}

/// What init has of the host's: in the order of the plan, as it comes from the parent.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    parent: &'a Channel,
    ready: VecDeque<Source>,
    /// Trees that are attached.
    done: Vec<OwnedFd>,
}

impl Drop for Sources<'_> {
    fn drop(&mut self) {
        close_all(std::mem::take(&mut self.done));
    }
}

impl<'a> Sources<'a> {
    /// What comes over `parent` ([`send`]).
    pub(crate) fn from(parent: &'a Channel) -> Sources<'a> {
        Sources {
            parent,
            ready: VecDeque::new(),
            done: Vec::new(),
        }
    }

    /// The rootfs. Where the parent may not clone it, init clones all there is, as root in its mount
    /// namespace, in which nothing has been mounted yet.
    ///
    /// # Errors
    /// E_MOUNT, as [`send`]; E_SYNC.
    pub(super) fn root(&mut self, plan: &Plan) -> Result<OwnedFd> {
        if let Some(Source::Tree(root)) = self.receive()? {
            return Ok(root.fd);
        }
        let root = open_root(plan)?;
        for mount in &plan.mounts {
            if let Action::Bind(bind) = &mount.action {
                self.ready.push_back(open_source(mount, bind, |_| Ok(()))?);
            }
        }
        Ok(root)
    }

    /// The source of the next bind mount of the plan.
    ///
    /// # Errors
    /// E_SYNC.
    pub(super) fn next(&mut self) -> Result<Source> {
        match self.ready.pop_front() {
            Some(source) => Ok(source),
            None => self.receive()?.ok_or_else(no_source),
        }
    }

    /// Closes the descriptor of a tree that is attached, with others, some time later.
    pub(super) fn close_later(&mut self, tree: OwnedFd) {
        self.done.push(tree);
    }

    /// The first source of the next message; the others are ready. `None` if init is to open all itself.
    fn receive(&mut self) -> Result<Option<Source>> {
        close_all(std::mem::take(&mut self.done));
        match self.parent.receive_trees()? {
            Some(Trees::CloneInInit) => return Ok(None),
            Some(Trees::Link(text)) => return Ok(Some(Source::Link(text))),
            Some(Trees::Cloned(trees)) => self.ready.extend(trees.into_iter().map(|(top, fd)| {
                let shape = match top {
                    Top::Directory => Shape::Directory,
                    Top::Other => Shape::File,
                };
                Source::Tree(Tree { fd, shape })
            })),
            None => {}
        }
        self.ready.pop_front().map(Some).ok_or_else(no_source)
    }
}

fn no_source() -> Error {
    Error::new(
        Code::Sync,
        "the parent left before it had sent all bind sources",
    )
}

/// Clones the rootfs with all mounts below it, closed to the host or open to what is mounted there. Either
/// process.
fn open_root(plan: &Plan) -> Result<OwnedFd> {
    let path = CString::new(plan.path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL);
    let attr = MountAttr {
        propagation: match plan.clone_propagation {
            RootfsPropagation::Private => Propagation::Private.flag(),
            RootfsPropagation::Slave => Propagation::Slave.flag(),
        },
        ..MountAttr::default()
    };
    let tree = libc::AT_RECURSIVE.cast_unsigned();
    path.and_then(|path| clone_with(AT_FDCWD, &path, tree, &attr))
        .context(Code::Mount, "open the rootfs", plan.path.display())
}

/// Clones a bind source out of the mount namespace of the caller, has it id-mapped, and makes the plan's
/// changes to it. Either process.
fn open_source(
    mount: &Mount,
    bind: &Bind,
    idmap: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
) -> Result<Source> {
    let step = "open the source of";
    if bind.symlinks == Symlink::Copy {
        match readlink(bind.source.as_c_str()) {
            Ok(text) => return Ok(Source::Link(text)),
            // No symlink: an ordinary bind mount.
            Err(Errno::EINVAL) => {}
            Err(errno) => return Err(Error::step(Code::Mount, step, mount.to_string(), errno)),
        }
    }
    let (fd, changes) = match clone_changed(mount, bind) {
        Some(fd) => (fd, mount.changes.get(1..).unwrap_or_default()),
        // One after the other, which tells what was refused.
        None => (
            clone(bind).context(Code::Mount, step, mount)?,
            mount.changes.as_slice(),
        ),
    };
    if bind.kind == SourceKind::Proc {
        let kind = fstatfs(&fd).context(Code::Mount, step, mount)?;
        if kind.filesystem_type() != PROC_SUPER_MAGIC {
            return Err(Error::new(
                Code::UnsafePath,
                format!(
                    "{} is no procfs: only one can be mounted on /proc",
                    as_text(&bind.source)
                ),
            ));
        }
    }
    let shape = Shape::of(fd.as_fd()).context(Code::Mount, step, mount)?;
    idmap(fd.as_fd())?;
    apply(fd.as_fd(), changes, mount)?;
    if bind.depth == Depth::Tree && only_the_top_is_read_only(&mount.changes) {
        read_only_below(fd.as_fd()).context(Code::Mount, "make read-only", mount)?;
    }
    Ok(Source::Tree(Tree { fd, shape }))
}

/// Whether the config says `ro` of a tree, and nothing of what is mounted below.
fn only_the_top_is_read_only(changes: &[Change]) -> bool {
    let read_only = libc::MOUNT_ATTR_RDONLY;
    let top = |it: &Change| it.depth == Depth::One && it.attr.attr_set & read_only != 0;
    let below = |it: &Change| {
        it.depth == Depth::Tree && (it.attr.attr_set | it.attr.attr_clr) & read_only != 0
    };
    changes.iter().any(top) && !changes.iter().any(below) && !without(Defence::SysReadOnly)
}

/// Makes all of the detached `tree` read-only if it is of sysfs or procfs: what is mounted in these, cgroups
/// for one, is part of the host's /sys and /proc to whoever asks for them read-only. Either process.
fn read_only_below(tree: BorrowedFd<'_>) -> nix::Result<()> {
    let kind = fstatfs(tree)?.filesystem_type();
    if ![SYSFS_MAGIC, PROC_SUPER_MAGIC].contains(&kind) {
        return Ok(());
    }
    let read_only = MountAttr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        ..MountAttr::default()
    };
    mount_setattr(tree, libc::AT_RECURSIVE, &read_only)
}

/// A clone of a bind source with the mount's first change, by one call if the kernel has it (Linux 6.15).
fn clone_changed(mount: &Mount, bind: &Bind) -> Option<OwnedFd> {
    let first = mount.changes.first()?;
    (first.depth == bind.depth)
        .then(|| open_tree_attr(AT_FDCWD, &bind.source, flags(bind), &first.whole()).ok())?
}

/// open_tree(2) of a bind source. Either process.
pub(super) fn clone(bind: &Bind) -> nix::Result<OwnedFd> {
    open_tree(AT_FDCWD, &bind.source, flags(bind))
}

fn flags(bind: &Bind) -> u32 {
    let mut flags = libc::OPEN_TREE_CLONE;
    if bind.depth == Depth::Tree {
        flags |= libc::AT_RECURSIVE.cast_unsigned();
    }
    if bind.symlinks == Symlink::NoFollow {
        flags |= libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
    }
    flags
}

/// The user namespaces that carry the maps of id-mapped mounts. Parent.
struct MapsOfMounts<'a> {
    init: Pid,
    proc: &'a ProcFs,
    /// The container's own, once one mount has wanted it.
    containers: Option<OwnedFd>,
}

impl MapsOfMounts<'_> {
    fn apply(&mut self, tree: BorrowedFd<'_>, bind: &Bind) -> Result<()> {
        let Some(IdMapping { depth, maps }) = &bind.idmap else {
            return Ok(());
        };
        let made;
        let users = match maps {
            Maps::Container => match &mut self.containers {
                Some(users) => users,
                none => none.insert(idmap::user_namespace_of(self.init, self.proc)?),
            },
            Maps::Joined(path) => {
                made = open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).context(
                    Code::Namespace,
                    "open",
                    path.display(),
                )?;
                &made
            }
            Maps::Own { uids, gids } => {
                made = idmap::user_namespace(uids, gids, self.proc)?;
                &made
            }
        };
        idmap::apply(tree, *depth, users.as_fd())
            .map_err(|errno| idmap::refused(errno, &bind.source))
    }
}
