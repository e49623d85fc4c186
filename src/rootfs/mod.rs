//! The container's root file system: from `root`, `mounts`, `linux.devices`, masked paths and their
//! kin to a new `/`.
//!
//! [`plan`] decides everything, purely. The child then calls, in this order, [`enter`], [`populate`],
//! [`pivot()`] and [`finish`], as root of its user namespace, while the parent sends what of the host's is
//! mounted ([`Sender`]). Until the pivot the child sees the host's tree, and the container's is reached
//! through [`Root`] alone.

mod attach;
pub(crate) mod changes;
mod copyup;
pub(crate) mod devices;
pub(crate) mod filesystem;
pub(crate) mod idmap;
mod joined_proc;
pub(crate) mod label;
pub(crate) mod masks;
pub(crate) mod mount;
pub(crate) mod mounts;
pub(crate) mod options;
mod pivot;
mod place;
mod sources;
pub(crate) mod sysctl;

pub(crate) use attach::DeferredReadOnly;
pub(crate) use pivot::pivot;
pub(crate) use sources::{Sender, Sources};

use crate::binary::landing::Taker;
use crate::defence::{Defence, by_name};
use crate::error::{Code, Context, Problems, Result};
use crate::host::Host;
use crate::namespaces::{self, Kind};
use crate::root::Root;
use crate::step::{self, Step};
use crate::sys::mount::{MountAttr, mount_setattr, move_mount};
use crate::sys::uts::setdomainname;
use caps::Capability;
use mount::{Action, Change, Mount};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, umask};
use nix::unistd::sethostname;
use oci_spec::runtime::Spec;
use options::{Depth, Propagation};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// All that is done to the container's tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Root file system, absolute on the host.
    pub path: PathBuf,
    /// How it becomes `/`.
    pub switch: RootSwitch,
    /// `root.readonly`.
    pub readonly: bool,
    /// What the mounts of the rootfs take from the host's.
    pub clone_propagation: RootfsPropagation,
    /// `linux.rootfsPropagation`, where the mount of the root must be told at the end.
    pub propagation: Option<(Propagation, Depth)>,
    /// In order.
    pub mounts: Vec<Mount>,
    /// Who clones the rootfs and what the mounts bind.
    pub cloner: Cloner,
    /// Device nodes and the links of /dev.
    pub devices: devices::Plan,
    /// Masked and read-only paths.
    pub masks: masks::Plan,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: Vec<sysctl::Sysctl>,
    /// `hostname`.
    pub hostname: Option<String>,
    /// `domainname`.
    pub domainname: Option<String>,
}

/// How the rootfs becomes `/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RootSwitch {
    /// pivot_root(2).
    #[default]
    PivotRoot,
    /// Moved onto `/`, then chroot(2): where `/` is the initial ramdisk, which cannot be pivoted away
    /// (`--no-pivot`).
    Move,
    /// chroot(2) alone: the mount namespace is the caller's, so no mount in it may change.
    Chroot,
}

/// Which process clones what of the host's is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cloner {
    /// Init: its mount namespace is a copy of the host's, and it has the same rights there.
    #[default]
    Init,
    /// The parent, if it may: init sees other mounts, or has fewer rights; or a mount is to be id-mapped, or a
    /// peer of the host's.
    Parent,
}

/// Whether what is mounted on the host, below the rootfs, appears in the container too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RootfsPropagation {
    /// It does not.
    #[default]
    Private,
    /// It does (`rootfsPropagation: slave`).
    Slave,
}

/// File systems that are on no device, whatever their source is called.
const WITHOUT_DEVICE: &[&[u8]] = &[
    b"cgroup2", b"devpts", b"mqueue", b"overlay", b"proc", b"sysfs", b"tmpfs",
];

impl Plan {
    /// Whether a mount may open a device of the host that the container's own rules need not allow: a file system
    /// that is on one.
    pub(crate) fn opens_devices(&self) -> bool {
        self.mounts.iter().any(|mount| {
            let (fstype, source) = match &mount.action {
                Action::FileSystem(it) => (&it.fstype, it.source()),
                Action::MountCall(it) => (&it.fstype, Some(it.source.as_c_str())),
                Action::Bind(_) | Action::Remount(_) => return false,
            };
            let is_path = source.is_some_and(|it| it.to_bytes().starts_with(b"/"));
            is_path && !WITHOUT_DEVICE.contains(&fstype.to_bytes())
        })
    }

    fn cloner(&self, ns: &namespaces::Plan) -> Cloner {
        let needs_parent = |mount: &Mount| match &mount.action {
            Action::Bind(bind) => {
                let shared = |it: &Change| it.attr.propagation == Propagation::Shared.flag();
                bind.idmap.is_some() || mount.changes.iter().any(shared)
            }
            _ => false,
        };
        if !ns.is_new(Kind::Mount) || ns.has(Kind::User) || self.mounts.iter().any(needs_parent) {
            Cloner::Parent
        } else {
            Cloner::Init
        }
    }

    fn has_idmaps(&self) -> bool {
        self.mounts
            .iter()
            .any(|mount| matches!(&mount.action, Action::Bind(bind) if bind.idmap.is_some()))
    }
}

/// Decides. Pure. Problems are collected with their JSON paths.
pub(crate) fn plan(
    spec: &Spec,
    ns: &namespaces::Plan,
    options: &crate::options::Options,
    host: &Host,
    problems: &mut Problems,
) -> Plan {
    let configured = spec.root().as_ref();
    let path = options
        .bundle
        .join(configured.map_or(Path::new(""), |root| root.path()));
    if path == Path::new("/") {
        problems.add("root.path", "the host's own root cannot be a container's");
    }
    let label = label::plan(spec, host, problems);
    let mut plan = Plan {
        path,
        switch: match (ns.has(Kind::Mount), options.no_pivot) {
            (false, _) => RootSwitch::Chroot,
            (true, false) => RootSwitch::PivotRoot,
            (true, true) => RootSwitch::Move,
        },
        readonly: configured.and_then(|root| root.readonly()).unwrap_or(false),
        devices: devices::plan(spec, ns, host, label.as_ref(), problems),
        masks: masks::plan(spec, label.as_ref(), problems),
        sysctls: sysctl::plan(spec, ns, host, problems),
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        ..Plan::default()
    };
    let propagation = propagation(spec, problems);
    let context = mounts::Context {
        spec,
        ns,
        host,
        bundle: &options.bundle,
        label: label.as_ref(),
        propagation: match propagation {
            Some((Propagation::Private | Propagation::Unbindable, _)) => Propagation::Private,
            _ => Propagation::Slave,
        },
    };
    plan.mounts = mounts::plan(&context, problems);
    plan.cloner = plan.cloner(ns);
    match propagation {
        Some((Propagation::Slave, _)) => plan.clone_propagation = RootfsPropagation::Slave,
        // The tree is made private anyway; saying so again at the end would undo the mounts' own words.
        Some((Propagation::Private, _)) | None => {}
        Some(other) => plan.propagation = Some(other),
    }
    if plan.has_idmaps() && !host.has_capability(Capability::CAP_SYS_ADMIN) {
        problems.add(
            "mounts",
            "an id-mapped mount needs CAP_SYS_ADMIN on the host",
        );
    }
    if plan.switch == RootSwitch::Chroot {
        leave_mounts_alone(&mut plan);
    }
    plan
}

/// Without a mount namespace of its own the container lives in the caller's mount table: what were
/// mounted or made read-only for it would be so for the host, and outlive it. crun leaves mounts out then,
/// too, and runc the read-only root. (Masks are refused: [`masks::plan`].)
fn leave_mounts_alone(plan: &mut Plan) {
    let left_out = [
        (plan.readonly, "root.readonly"),
        (!plan.mounts.is_empty(), "mounts"),
    ];
    let left_out: Vec<&str> = left_out
        .iter()
        .filter_map(|(there, field)| there.then_some(*field))
        .collect();
    if !left_out.is_empty() {
        log::warn!(
            "no mount namespace: left out of the config: {}",
            left_out.join(", ")
        );
    }
    plan.readonly = false;
    plan.mounts = Vec::new();
    plan.masks = masks::Plan::default();
    plan.propagation = None;
}

/// `linux.rootfsPropagation`: the spec's four words, and the recursive ones that engines use.
fn propagation(spec: &Spec, problems: &mut Problems) -> Option<(Propagation, Depth)> {
    let word = spec.linux().as_ref()?.rootfs_propagation().as_deref()?;
    let (depth, kind) = match word.strip_prefix('r') {
        Some(kind) => (Depth::Tree, kind),
        None => (Depth::One, word),
    };
    let kind = match kind {
        "" if word.is_empty() => return None,
        "shared" => Propagation::Shared,
        "slave" => Propagation::Slave,
        "private" => Propagation::Private,
        "unbindable" => Propagation::Unbindable,
        _ => {
            problems.add(
                "linux.rootfsPropagation",
                format!("{word:?} is none of shared, slave, private, unbindable"),
            );
            return None;
        }
    };
    Some((kind, depth))
}

/// Child, first: cuts the mount namespace off from the host's, and gives the rootfs a mount of its
/// own, at its own path, so that createContainer hooks find it there.
///
/// # Errors
/// E_MOUNT, E_SYNC.
pub(crate) fn enter(plan: &Plan, sources: &mut Sources<'_>) -> Result<Root> {
    let path = plan.path.display();
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    if plan.switch == RootSwitch::Chroot {
        let root = openat(AT_FDCWD, &plan.path, directory, Mode::empty());
        return root.context(Code::Mount, "open", path).map(Root::from_fd);
    }
    // Slave, not private: an unmount on the host still reaches the copy here, so that no disk stays
    // busy. Nothing goes the other way, and pivot_root(2) wants no shared parent.
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SLAVE | MsFlags::MS_REC,
        None::<&str>,
    )
    .context(Code::Mount, "make slave", "/")?;
    let tree = sources.root(plan)?;
    let place = match openat(AT_FDCWD, &plan.path, directory, Mode::empty()) {
        // The root of a user namespace may not be let through to the rootfs, and a mount namespace
        // that is joined may not have it; `/` serves as well.
        Err(Errno::EACCES | Errno::ENOENT) if plan.switch == RootSwitch::PivotRoot => {
            openat(AT_FDCWD, "/", directory, Mode::empty())
        }
        result => result,
    };
    let place = place.context(Code::Mount, "open", &path)?;
    move_mount(tree.as_fd(), place.as_fd()).context(Code::Mount, "mount the rootfs", path)?;
    Ok(Root::from_fd(tree))
}

/// Whose processes a procfs of the container shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pids<'a> {
    /// Those of the calling process's own pid namespace.
    Own,
    /// Those of this one, which only what the calling process makes is going to be in; whether that may trace.
    Joined(BorrowedFd<'a>, Taker),
}

/// Child, before the createContainer hooks: all mounts, then devices and links. Gives back the
/// root (another one if something was mounted on `/`) and what [`finish`] makes read-only.
///
/// # Errors
/// E_MOUNT, E_DEVICE, E_UNSAFE_PATH, E_SYNC.
pub(crate) fn populate(
    plan: &Plan,
    root: Root,
    sources: &mut Sources<'_>,
    nodes: &devices::Nodes,
    pids: Pids<'_>,
) -> Result<(Root, DeferredReadOnly)> {
    // What is made below has the modes that are asked for.
    let before = umask(Mode::empty());
    let (root, late) = attach::all(plan, root, sources, pids)?;
    step::begin(Step::Devices)?;
    devices::make(&plan.devices, &root, nodes)?;
    umask(before);
    Ok((root, late))
}

/// Child, after the pivot, when nothing is to be made in the tree any more: masks, read-only
/// paths, late read-only mounts, the root itself, and the names of the UTS namespace.
///
/// # Errors
/// E_MOUNT, E_NAMESPACE for the names.
pub(crate) fn finish(plan: &Plan, root: &Root, late: DeferredReadOnly) -> Result<()> {
    masks::apply(&plan.masks, root)?;
    late.make_read_only()?;
    if plan.readonly {
        let read_only = MountAttr {
            attr_set: libc::MOUNT_ATTR_RDONLY,
            ..MountAttr::default()
        };
        let named = by_name(Defence::ReadOnlyByFd, root.as_fd());
        let root = named.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        mount_setattr(root, 0, &read_only).context(Code::Mount, "make read-only", "/")?;
    }
    if let Some((kind, depth)) = plan.propagation {
        let change = Change {
            depth,
            attr: MountAttr {
                propagation: kind.flag(),
                ..MountAttr::default()
            },
            unless_locked: 0,
        };
        mount_setattr(root.as_fd(), change.flags(), &change.attr).context(
            Code::Mount,
            "set propagation of",
            "/",
        )?;
    }
    if let Some(name) = &plan.hostname {
        sethostname(name).context(Code::Namespace, "set the host name to", name)?;
    }
    if let Some(name) = &plan.domainname {
        setdomainname(name).context(Code::Namespace, "set the domain name to", name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
