//! Makes the mounts of the plan, in order, below the container's root. Runs in the child, in the
//! container's namespaces and with root's privileges in them, while the host's tree can be seen.
//!
//! A mount is complete before it is attached, and it is attached to the object that an in-root look-up
//! found, or to a name that is not followed in the directory that one found, never to a path (CVE-2021-30465).

use super::changes::apply;
use super::copyup;
use super::joined_proc;
use super::mount::{Action, Mount, ReadOnly, Target};
use super::mount::{Content, FileSystem, MountCall, RootMode};
use super::place::{Existence, LastParent, MountPoint, Shape, find};
use super::sources::{Source, Sources, Tree, clone};
use super::{Pids, Plan};
use crate::defence::{Defence, by_name};
use crate::error::{Code, Context, Error, Result};
use crate::root::Root;
use crate::sys::mount::{
    MountAttr, fsconfig_create, fsconfig_set, fsmount, fsopen, mount_setattr, move_mount,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlinkat};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{fchdir, symlinkat};
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The mounts that become read-only at the end, each with its name for errors.
#[derive(Debug, Default)]
pub(crate) struct DeferredReadOnly(Vec<(OwnedFd, String)>);

impl DeferredReadOnly {
    /// Makes them read-only. Child, when nothing is to be made in them any more.
    ///
    /// # Errors
    /// E_MOUNT
    pub(crate) fn make_read_only(self) -> Result<()> {
        let read_only = MountAttr {
            attr_set: libc::MOUNT_ATTR_RDONLY,
            ..MountAttr::default()
        };
        for (mount, name) in self.0 {
            mount_setattr(mount.as_fd(), 0, &read_only).context(
                Code::Mount,
                "make read-only",
                name,
            )?;
        }
        Ok(())
    }
}

/// Makes all mounts. Returns the root, which is another one if something was mounted on `/`.
///
/// # Errors
/// E_MOUNT with the mount, E_UNSAFE_PATH for a destination that is not what it must be.
pub(super) fn all(
    plan: &Plan,
    mut root: Root,
    sources: &mut Sources<'_>,
    pids: Pids<'_>,
) -> Result<(Root, DeferredReadOnly)> {
    let mut late = DeferredReadOnly::default();
    let mut beside = LastParent::default();
    for mount in &plan.mounts {
        let attached = match &mount.action {
            Action::Bind(bind) => {
                let source = sources.next(plan, &root, mount, bind)?;
                attach_bind(&root, mount, source, &mut beside)?
            }
            Action::FileSystem(it) => Some(attach_new(&root, mount, it, &mut beside, pids)?),
            // mount(2) would mount the one of the caller's pid namespace.
            Action::MountCall(mount_call)
                if matches!(pids, Pids::Joined(..)) && mount_call.fstype.as_c_str() == c"proc" =>
            {
                let object = mount.to_string();
                return Err(Error::step(Code::Mount, "mount", object, Errno::EOPNOTSUPP)
                    .because("a procfs of a joined pid namespace takes no such options"));
            }
            Action::MountCall(mount_call) => {
                beside = LastParent::default();
                mount_classic(&root, mount, mount_call)?
            }
            Action::Remount(mount_call) => remount(&root, mount, mount_call.as_ref())?,
        };
        match (attached, mount.target, mount.read_only) {
            (Some(fd), Target::Root, _) => root = Root::from_fd(fd),
            (Some(fd), _, ReadOnly::Deferred) => late.0.push((fd, mount.to_string())),
            (Some(fd), ..) => sources.close_later(fd),
            (None, ..) => {}
        }
    }
    Ok((root, late))
}

fn attach_bind<'a>(
    root: &Root,
    mount: &'a Mount,
    source: Source,
    beside: &mut LastParent<'a>,
) -> Result<Option<OwnedFd>> {
    match source {
        Source::Link(text) => make_link(root, mount, &text).map(|()| None),
        Source::Tree(Tree { fd, shape }) => {
            attach(root, mount, fd.as_fd(), shape, beside)?;
            Ok(Some(fd))
        }
    }
}

fn attach_new<'a>(
    root: &Root,
    mount: &'a Mount,
    it: &FileSystem,
    beside: &mut LastParent<'a>,
    pids: Pids<'_>,
) -> Result<OwnedFd> {
    let place = if it.takes_over() {
        Some(find(root, mount, Shape::Directory)?)
    } else {
        None
    };
    let covered = place
        .as_ref()
        .filter(|it| it.existence == Existence::Existing);
    let new =
        match make(it, covered, pids) {
            Ok(new) => new,
            Err(refused) => match (&it.instead, refused.errno) {
                (Some(instead), Errno::EPERM) => {
                    // Where the host has no such mount either, the kernel's refusal is what counts.
                    let Ok(tree) = clone(&instead.bind) else {
                        return Err(refused.of(mount));
                    };
                    mount_setattr(tree.as_fd(), instead.change.flags(), &instead.change.attr)
                        .context(Code::Mount, "bind the host's instead of", mount)?;
                    tree
                }
                _ => return Err(refused.of(mount)),
            },
        };
    if let (Content::OfTarget, Some(covered)) = (it.content, covered) {
        copyup::copy(covered.fd.as_fd(), new.as_fd()).map_err(|failure| {
            let step = "copy the image's content into";
            let error = Error::step(Code::Mount, step, mount.to_string(), failure.errno);
            match failure.why {
                "" => error,
                why => error.because(why),
            }
        })?;
    }
    apply(new.as_fd(), &mount.changes, mount)?;
    match place {
        Some(place) => {
            *beside = LastParent::default();
            attach_at(&place, mount, new.as_fd())?;
        }
        None => {
            let shape = Shape::of(new.as_fd()).context(Code::Mount, "look at", mount)?;
            attach(root, mount, new.as_fd(), shape, beside)?;
        }
    }
    Ok(new)
}

/// Why the kernel refused a file system, in its own words if it had any.
struct Refused {
    errno: Errno,
    said: String,
}

impl Refused {
    fn of(self, mount: &Mount) -> Error {
        Error::step(Code::Mount, "mount", mount.to_string(), self.errno).because(self.said)
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Refused {
            errno,
            said: String::new(),
        }
    }
}

/// A new file system's detached mount. `covered` is where it is going to be, if something is there.
fn make(
    it: &FileSystem,
    covered: Option<&MountPoint>,
    pids: Pids<'_>,
) -> std::result::Result<OwnedFd, Refused> {
    let fs = match pids {
        Pids::Joined(namespace, taker) if it.fstype.as_c_str() == c"proc" => {
            joined_proc::open(namespace, taker)?
        }
        _ => fsopen(&it.fstype)?,
    };
    let configure = || -> nix::Result<()> {
        for parameter in &it.parameters {
            fsconfig_set(fs.as_fd(), &parameter.key, parameter.value.as_deref())?;
        }
        if let (RootMode::OfTarget, Some(covered)) = (it.mode, covered) {
            let mode = CString::new(format!("{:o}", fstat(&covered.fd)?.st_mode & 0o7777));
            fsconfig_set(fs.as_fd(), c"mode", mode.ok().as_deref())?;
        }
        fsconfig_create(fs.as_fd())
    };
    configure().map_err(|errno| Refused {
        errno,
        said: words_of_kernel(&fs),
    })?;
    let mount = fsmount(fs.as_fd(), it.attributes)?;
    if let Pids::Joined(namespace, _) = pids
        && it.fstype.as_c_str() == c"proc"
    {
        joined_proc::verify(mount.as_fd(), namespace)?;
    }
    Ok(mount)
}

/// What the kernel noted about a file system being made: one message a read, `e ` before an error.
fn words_of_kernel(fs: &OwnedFd) -> String {
    let mut all = Vec::new();
    let mut message = [0; 256];
    while let Ok(length @ 1..) = nix::unistd::read(fs, &mut message) {
        let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
        all.push(text.trim().trim_start_matches("e ").to_owned());
    }
    all.join(", ")
}

/// mount(2), for what fsconfig(2) cannot say. Its target is `.`, the current directory, which is set by
/// fd: no path is looked up here either.
fn mount_classic(root: &Root, mount: &Mount, mount_call: &MountCall) -> Result<Option<OwnedFd>> {
    let place = find(root, mount, Shape::Directory)?;
    call_mount(&place.fd, mount_call).context(Code::Mount, "mount", mount)?;
    if mount.changes.is_empty() {
        return Ok(None);
    }
    let new = root
        .resolve(&mount.destination)
        .context(Code::Mount, "open", mount)?;
    apply(new.as_fd(), &mount.changes, mount)?;
    Ok(None)
}

fn remount(root: &Root, mount: &Mount, mount_call: Option<&MountCall>) -> Result<Option<OwnedFd>> {
    let there = root
        .resolve(&mount.destination)
        .context(Code::Mount, "open", mount)?;
    if let Some(mount_call) = mount_call {
        call_mount(&there, mount_call).context(Code::Mount, "remount", mount)?;
    }
    apply(there.as_fd(), &mount.changes, mount)?;
    Ok(None)
}

fn call_mount(directory: &OwnedFd, mount_call: &MountCall) -> nix::Result<()> {
    let before = open(
        ".",
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    fchdir(directory)?;
    let result = nix::mount::mount(
        Some(mount_call.source.as_c_str()),
        ".",
        Some(mount_call.fstype.as_c_str()),
        MsFlags::from_bits_retain(mount_call.flags),
        mount_call.data.as_deref(),
    );
    fchdir(&before)?;
    result
}

/// Attaches a detached mount at its destination.
fn attach<'a>(
    root: &Root,
    mount: &'a Mount,
    tree: BorrowedFd<'_>,
    shape: Shape,
    beside: &mut LastParent<'a>,
) -> Result<()> {
    // Only a directory is certain not to be mounted on a symlink itself: the kernel mounts it on directories alone.
    if shape == Shape::Directory && beside.attach(root, mount, tree) {
        return Ok(());
    }
    let place = find(root, mount, shape)?;
    attach_at(&place, mount, tree)
}

/// Attaches a detached mount where [`find`] has found its place.
fn attach_at(place: &MountPoint, mount: &Mount, tree: BorrowedFd<'_>) -> Result<()> {
    let named = by_name(Defence::MountOnFds, place.fd.as_fd());
    let target = named.as_ref().unwrap_or(&place.fd);
    move_mount(tree, target.as_fd()).map_err(|errno| {
        let error = Error::step(Code::Mount, "mount", mount.to_string(), errno);
        let (from, to) = (Shape::of(tree), Shape::of(place.fd.as_fd()));
        // The kernel says EINVAL to that, which says nothing.
        if from.is_ok() && to.is_ok() && from != to {
            return Error {
                errno: Some(Errno::ENOTDIR),
                ..error.because("a directory and a file cannot be mounted on each other")
            };
        }
        error
    })
}

/// `copy-symlink`: the source's text as a symlink at the destination.
fn make_link(root: &Root, mount: &Mount, text: &OsStr) -> Result<()> {
    let made = root
        .parent_of(&mount.destination)
        .and_then(|(parent, name)| {
            match symlinkat(text, &parent, name.as_os_str()) {
                // The same link is as good as a new one.
                Err(Errno::EEXIST) if readlinkat(&parent, name.as_os_str())? == text => Ok(()),
                result => result,
            }
        });
    made.context(Code::Mount, "copy the symlink of", mount)
}
