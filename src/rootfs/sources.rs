//! What of the host's is mounted in the container: the rootfs and every bind source, as detached trees.
//!
//! The child clones them, in its own mount namespace and before anything is mounted there, unless only the
//! parent can ([`Opener`]): in a user namespace of its own the child may not even look into a folder with
//! mode 0700. What the parent clones, in the host's mount namespace before it makes the child, the child
//! inherits as fds. A caller without privilege cannot clone a tree there; then the child does all of it.
//!
//! A tree that the parent cloned was never copied into a user namespace with fewer privileges, so
//! the kernel locks none of its flags (mount_namespaces(7)): a container that keeps CAP_SYS_ADMIN
//! in its user namespace can change them, as with runc and crun.

use super::idmap::{self, IdMapping, Maps};
use super::mounts::{Action, Bind, Mount, SourceKind, as_text};
use super::options::{Depth, Symlink};
use super::{Opener, Plan, Way, devices};
use crate::error::{Code, Context, Error, Result};
use crate::sys::mount::open_tree;
use crate::sys::procfs::ProcFs;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, readlink};
use nix::sys::stat::{Mode, stat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::Pid;
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The trees, one place for each mount of the plan. Nothing is attached yet; a tree goes away with
/// the last process that has its fd.
#[derive(Debug, Default)]
pub struct Sources {
    /// The rootfs, if the parent opened it.
    pub(super) root: Option<OwnedFd>,
    /// By place in `plan.mounts`: what has been opened.
    pub(super) mounts: Vec<Option<Source>>,
    /// Device nodes that only the parent may make.
    pub(super) nodes: devices::Nodes,
}

/// A bind mount's source.
#[derive(Debug)]
pub(super) enum Source {
    /// A detached clone.
    Tree(OwnedFd),
    /// The text of a symlink that is to be made again (`copy-symlink`).
    Link(OsString),
}

impl Sources {
    /// Opens what the parent has to, and id-maps the trees that have a map of their own. Parent, with the
    /// host's privileges, before the child is made.
    ///
    /// # Errors
    /// E_MOUNT: a source that is not there or cannot be cloned, an id map that the file system
    /// refuses, a mount namespace to join that is the caller's own; E_NAMESPACE and E_ID_MAP from
    /// the namespace that carries a map; E_DEVICE.
    pub fn open(plan: &Plan) -> Result<Sources> {
        if let Some(path) = &plan.joined {
            refuse_own_namespace(path)?;
        }
        let mut sources = Sources::default();
        if plan.opener == Opener::Parent && plan.way != Way::Chroot {
            match open_root(&plan.path) {
                Ok(root) => sources.root = Some(root),
                // CAP_SYS_ADMIN may be one over a user namespace that does not own this mount namespace.
                Err(Errno::EPERM) => {}
                Err(errno) => {
                    let path = plan.path.display().to_string();
                    return Err(Error::step(Code::Mount, "open the rootfs", path, errno));
                }
            }
        }
        let mut proc = None;
        let open = |mount: &Mount| match &mount.action {
            Action::Bind(bind) if bind.opener == Opener::Parent => {
                match open_with_map(mount, bind, &mut proc) {
                    Err(error) if error.errno == Some(Errno::EPERM) && bind.idmap.is_none() => {
                        Ok(None)
                    }
                    result => result.map(Some),
                }
            }
            _ => Ok(None),
        };
        sources.mounts = plan.mounts.iter().map(open).collect::<Result<_>>()?;
        if sources.root.is_some() {
            sources.nodes = devices::Nodes::make(&plan.devices)?;
        }
        Ok(sources)
    }

    /// Opens all bind sources that the parent did not. Child, in its mount namespace, as root there.
    ///
    /// # Errors
    /// E_MOUNT, as [`Sources::open`].
    pub(super) fn open_rest(&mut self, plan: &Plan) -> Result<()> {
        for (mount, source) in plan.mounts.iter().zip(&mut self.mounts) {
            if let (Action::Bind(bind), None) = (&mount.action, &source) {
                *source = Some(open_source(mount, bind)?);
            }
        }
        Ok(())
    }

    /// Id-maps the trees that use the container's own maps. Parent, after the maps are written and before the
    /// child goes on; the child's fds mean the same trees.
    ///
    /// # Errors
    /// E_MOUNT, E_NAMESPACE.
    pub fn idmap_with(&self, plan: &Plan, init: Pid) -> Result<()> {
        let mut users = None;
        for (mount, source) in plan.mounts.iter().zip(&self.mounts) {
            let (Action::Bind(bind), Some(Source::Tree(tree))) = (&mount.action, source) else {
                continue;
            };
            let Some(IdMapping {
                depth,
                maps: Maps::Container,
            }) = &bind.idmap
            else {
                continue;
            };
            let users = match &mut users {
                Some(users) => users,
                none => none.insert(idmap::user_namespace_of(init, &host_proc()?)?),
            };
            idmap::apply(tree.as_fd(), *depth, users.as_fd())
                .map_err(|errno| idmap::refused(errno, &bind.source))?;
        }
        Ok(())
    }
}

/// A container that "joins" the namespace casulo is in would have its mounts made on the host.
fn refuse_own_namespace(path: &Path) -> Result<()> {
    let step = "look at the mount namespace";
    let joined = stat(path).context(Code::Namespace, step, path.display())?;
    let own = stat("/proc/self/ns/mnt").context(Code::Namespace, step, "/proc/self/ns/mnt")?;
    if (joined.st_dev, joined.st_ino) == (own.st_dev, own.st_ino) {
        return Err(Error::new(
            Code::Mount,
            format!("{} is the caller's own mount namespace", path.display()),
        )
        .hint("leave the mount namespace out of linux.namespaces to share the host's"));
    }
    Ok(())
}

fn host_proc() -> Result<ProcFs> {
    ProcFs::host().context(Code::Mount, "open", "/proc")
}

/// Clones the rootfs with all mounts below it. Either process.
pub(super) fn open_root(path: &Path) -> nix::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL)?;
    let tree = libc::AT_RECURSIVE.cast_unsigned();
    open_tree(AT_FDCWD, &path, libc::OPEN_TREE_CLONE | tree)
}

fn open_with_map(mount: &Mount, bind: &Bind, proc: &mut Option<ProcFs>) -> Result<Source> {
    let source = open_source(mount, bind)?;
    let (Source::Tree(tree), Some(IdMapping { depth, maps })) = (&source, &bind.idmap) else {
        return Ok(source);
    };
    let users = match maps {
        Maps::Container => return Ok(source),
        Maps::Joined(path) => open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .context(Code::Namespace, "open", path.display())?,
        Maps::Own { uids, gids } => {
            let proc = match proc {
                Some(proc) => proc,
                none => none.insert(host_proc()?),
            };
            idmap::user_namespace(uids, gids, proc)?
        }
    };
    idmap::apply(tree.as_fd(), *depth, users.as_fd())
        .map_err(|errno| idmap::refused(errno, &bind.source))?;
    Ok(source)
}

/// Clones a bind source out of the mount namespace of the caller, either process.
pub(super) fn open_source(mount: &Mount, bind: &Bind) -> Result<Source> {
    let step = "open the source of";
    if bind.symlinks == Symlink::Copy {
        match readlink(bind.source.as_c_str()) {
            Ok(text) => return Ok(Source::Link(text)),
            // No symlink: an ordinary bind mount.
            Err(Errno::EINVAL) => {}
            Err(errno) => return Err(Error::step(Code::Mount, step, mount.to_string(), errno)),
        }
    }
    let mut flags = libc::OPEN_TREE_CLONE;
    if bind.depth == Depth::Tree {
        flags |= libc::AT_RECURSIVE.cast_unsigned();
    }
    if bind.symlinks == Symlink::NoFollow {
        flags |= libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
    }
    let tree = open_tree(AT_FDCWD, &bind.source, flags).context(Code::Mount, step, mount)?;
    if bind.kind == SourceKind::Proc {
        let kind = fstatfs(&tree).context(Code::Mount, step, mount)?;
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
    Ok(Source::Tree(tree))
}
