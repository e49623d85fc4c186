//! One entry of `mounts`, decided: values alone, for whoever plans it ([`super::mounts`] and what that calls), clones
//! its source in the parent, and attaches it in init.

use super::options::{Depth, Symlink};
use crate::error::Problems;
use crate::namespaces::IdMap;
use crate::sys::mount::MountAttr;
use libc::c_ulong;
use std::ffi::{CStr, CString};
use std::fmt::{self, Display};
use std::path::PathBuf;

/// One entry of `mounts`, decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Its place in `mounts`, for errors.
    pub index: usize,
    /// Below the container's root, absolute, without `.` and `..`.
    pub destination: PathBuf,
    /// What the destination must be.
    pub target: Target,
    /// What is mounted there.
    pub action: Action,
    /// What is changed in the mount, in order.
    pub changes: Vec<Change>,
    /// When it becomes read-only, if the changes do not say so.
    pub read_only: ReadOnly,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A file or directory of the host.
    Bind(Bind),
    /// A new file system.
    FileSystem(FileSystem),
    /// A new file system by mount(2).
    MountCall(MountCall),
    /// Nothing: what is there already is changed, by mount(2) where its superblock is meant.
    Remount(Option<MountCall>),
}

/// A bind mount's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    /// Absolute on the host.
    pub source: CString,
    /// Whether the mounts below the source come along.
    pub depth: Depth,
    /// What a symlink as the source means.
    pub symlinks: Symlink,
    /// The map of an id-mapped mount.
    pub idmap: Option<IdMapping>,
    /// What the source must be.
    pub kind: SourceKind,
}

/// What a bind source must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// Anything.
    Any,
    /// A procfs, because it is mounted on /proc.
    Proc,
}

/// What a destination must be, and what is made where nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The container's root itself: the mount becomes the root.
    Root,
    /// A directory that no symlink leads to: for proc and sysfs (CVE-2019-19921).
    RealDirectory,
    /// Anything outside procfs; symlinks are followed inside the root.
    Any,
    /// One of the few files of /proc that may be covered (CVE-2019-16884).
    ProcFile,
    /// What is there, even if it is a symlink; never made (`dest-nofollow`).
    NoFollow,
}

/// When a mount becomes read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadOnly {
    /// At once or never, as its attributes say.
    AsMounted,
    /// At the end: a tmpfs in which later mounts, devices and hooks still need to make targets.
    Deferred,
}

impl Mount {
    /// Whether it is a new file system of this type.
    pub(crate) fn is_new(&self, fstype: &CStr) -> bool {
        match &self.action {
            Action::FileSystem(it) => it.fstype.as_c_str() == fstype,
            Action::MountCall(it) => it.fstype.as_c_str() == fstype,
            Action::Bind(_) | Action::Remount(_) => false,
        }
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.action {
            Action::Bind(bind) => Some(&bind.source),
            Action::FileSystem(it) => Some(&it.fstype),
            Action::MountCall(it) => Some(&it.fstype),
            Action::Remount(_) => None,
        };
        if let Some(source) = source {
            write!(f, "{} on ", as_text(source))?;
        }
        write!(f, "{} (mounts[{}])", self.destination.display(), self.index)
    }
}

/// For messages.
pub(crate) fn as_text(text: &CStr) -> std::borrow::Cow<'_, str> {
    text.to_string_lossy()
}

/// `text` for a system call; a NUL in it is a problem of the value at `at`.
pub(crate) fn c_string(
    text: impl Into<Vec<u8>>,
    at: impl Display,
    problems: &mut Problems,
) -> CString {
    CString::new(text).unwrap_or_else(|_| {
        problems.add(at.to_string(), "contains a NUL");
        CString::default()
    })
}

/// Where a mount is in the config: written out, as `mounts[N]`, only if there is something to say of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub usize);

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mounts[{}]", self.0)
    }
}

/// A file system to be made by fsopen, fsconfig and fsmount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// As in /proc/filesystems.
    pub fstype: CString,
    /// In order.
    pub parameters: Vec<Parameter>,
    /// `MOUNT_ATTR_*` of the mount.
    pub attributes: u64,
    /// The mode of its root.
    pub mode: RootMode,
    /// What it starts with.
    pub content: Content,
    /// What is done where the kernel refuses with EPERM, because the namespace that the file
    /// system shows does not belong to the container's user namespace.
    pub instead: Option<Box<Instead>>,
}

impl FileSystem {
    /// The parameter `source`.
    pub(crate) fn source(&self) -> Option<&CStr> {
        let mut parameters = self.parameters.iter();
        let source = parameters.find(|it| it.key.as_c_str() == c"source")?;
        source.value.as_deref()
    }

    /// Whether something of the directory that it covers goes over to it.
    pub(crate) fn takes_over(&self) -> bool {
        self.mode == RootMode::OfTarget || self.content == Content::OfTarget
    }
}

/// A mount of the host that stands in for a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instead {
    /// Which; opened by the child.
    pub bind: Bind,
    /// What is changed before it is attached.
    pub change: Change,
}

/// One call of fsconfig(2): a flag, or a string with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Name.
    pub key: CString,
    /// None for a flag.
    pub value: Option<CString>,
}

/// The mode of a new file system's root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootMode {
    /// As the file system or its parameters have it.
    Given,
    /// The mode of the directory that it covers, if there is one: a tmpfs without `mode=`.
    OfTarget,
}

/// The content of a new tmpfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing.
    Empty,
    /// A copy of the directory that it covers (`tmpcopyup`).
    OfTarget,
}

/// The arguments of mount(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountCall {
    /// As in /proc/filesystems; not looked at in a remount.
    pub fstype: CString,
    /// Device or dummy.
    pub source: CString,
    /// `MS_*`.
    pub flags: c_ulong,
    /// Comma-separated.
    pub data: Option<CString>,
}

/// One mount_setattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// For the mount, or for all mounts of the tree.
    pub depth: Depth,
    /// What.
    pub attr: MountAttr,
    /// `MOUNT_ATTR_*` that are cleared with it, unless the kernel locks one of them (mount_namespaces(7)).
    pub unless_locked: u64,
}

impl Change {
    /// All of it, as if nothing were locked.
    pub(crate) fn whole(&self) -> MountAttr {
        MountAttr {
            attr_clr: self.attr.attr_clr | self.unless_locked,
            ..self.attr
        }
    }

    /// The call's flags.
    pub(crate) fn flags(&self) -> i32 {
        match self.depth {
            Depth::One => 0,
            Depth::Tree => libc::AT_RECURSIVE,
        }
    }
}

/// What an id-mapped mount needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMapping {
    /// `idmap` or `ridmap`.
    pub depth: Depth,
    /// Where the map comes from.
    pub maps: Maps,
}

/// Where a mount's map comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Maps {
    /// The new user namespace of the container, once its maps are written.
    Container,
    /// The user namespace that the container joins; absolute on the host.
    Joined(PathBuf),
    /// The mount's own.
    Own {
        /// Lines of its uid map.
        uids: Vec<IdMap>,
        /// Lines of its gid map.
        gids: Vec<IdMap>,
    },
}
