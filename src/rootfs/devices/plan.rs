//! Decides which devices there will be and how they come about. Pure.

use crate::error::Problems;
use crate::host::Host;
use crate::namespaces::{self, IdMap};
use crate::rootfs::label::Label;
use crate::rootfs::mounts;
use caps::Capability;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

/// What `fileMode` may hold beside the permissions: the file type, which the type field gives.
const FILE_TYPE: u32 = libc::S_IFMT;
/// Linux has 12 bits for the major number and 20 for the minor one.
const MAJORS: i64 = 1 << 12;
const MINORS: i64 = 1 << 20;

/// The spec's default devices (config-linux.md): name, major, minor. All are mode 0666.
const DEFAULTS: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// All devices of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Whose `/dev` it is.
    pub dev: Dev,
    /// How nodes are made.
    pub source: NodeSource,
    /// The devices, in the order in which they are made, each path once.
    pub devices: Vec<Device>,
    /// SELinux context of nodes that the parent makes (`linux.mountLabel`).
    pub label: Option<Label>,
}

impl Default for Plan {
    /// No device and no link.
    fn default() -> Plan {
        Plan {
            dev: Dev::Mounted,
            source: NodeSource::Mknod,
            devices: Vec::new(),
            label: None,
        }
    }
}

impl Plan {
    /// The parent makes the nodes that the container's own device rules forbid init to make: those that the config asks
    /// for are not subject to them, as with runc.
    pub(crate) fn make_ahead(&mut self, is_forbidden: impl Fn(&Device) -> bool) {
        for device in &mut self.devices {
            if self.source == NodeSource::Mknod && device.kind != Kind::Fifo && is_forbidden(device)
            {
                device.premade = Some((device.uid, device.gid));
            }
        }
    }
}

/// Whose `/dev` it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dev {
    /// casulo fills it: default devices and links.
    Ours,
    /// The config binds one there (or there is no mount namespace): casulo makes nothing in it.
    Mounted,
}

/// How nodes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeSource {
    /// With mknod, or by a bind mount where the kernel refuses that.
    Mknod,
    /// By bind mounts: a user namespace has no mknod.
    Bind,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// Where in the container: absolute, without `.`, `..` or a slash at the end.
    pub path: PathBuf,
    /// Its type.
    pub kind: Kind,
    /// Major number; 0 for a fifo.
    pub major: u32,
    /// Minor number; 0 for a fifo.
    pub minor: u32,
    /// Permissions and set-id bits.
    pub mode: u32,
    /// Owner, as the container numbers users.
    pub uid: u32,
    /// Group, as the container numbers groups.
    pub gid: u32,
    /// Owner and group as the host numbers them, where the parent makes the node before the clone: for a user
    /// namespace, and where the device rules forbid it to init.
    pub premade: Option<(u32, u32)>,
    /// Who wants it.
    pub origin: Origin,
}

/// The types of mknod(1); `u`, unbuffered, is a character device on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `c` and `u`
    Char,
    /// `b`
    Block,
    /// `p`
    Fifo,
}

/// Who wants a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The spec's list of default devices.
    Default,
    /// `linux.devices`.
    Config,
}

/// Decides. Pure.
///
/// Where the config binds something on `/dev`, nothing is made there, as in runc and crun: it is
/// usually the host's own. A default device on which the config mounts something is left to that
/// mount. A node bound from the host in a user namespace keeps the host's mode and owner, unless
/// casulo has the privilege to make one with those of the config.
pub(crate) fn plan(
    spec: &Spec,
    ns: &namespaces::Plan,
    host: &Host,
    label: Option<&Label>,
    problems: &mut Problems,
) -> Plan {
    let bound = ns.has(namespaces::Kind::User) || host.in_user_namespace;
    let linux = spec.linux().as_ref();
    let given = linux.and_then(|linux| linux.devices().as_ref());
    if !ns.has(namespaces::Kind::Mount) {
        if given.is_some_and(|list| !list.is_empty()) {
            problems.add("linux.devices", "needs a mount namespace");
        }
        return Plan::default();
    }
    let dev = if binds_dev(spec) {
        Dev::Mounted
    } else {
        Dev::Ours
    };
    let mut devices: Vec<Device> = match dev {
        Dev::Ours => defaults(spec),
        Dev::Mounted => Vec::new(),
    };
    let may_premake = ns.has(namespaces::Kind::User)
        && !host.in_user_namespace
        && host.euid == 0
        && host.has_capability(Capability::CAP_MKNOD);
    for (index, item) in given.into_iter().flatten().enumerate() {
        let at = format!("linux.devices[{index}]");
        let Some(mut device) = configured(item, &at, problems) else {
            continue;
        };
        if may_premake && device.kind != Kind::Fifo {
            let user = on_host(device.uid, &ns.uid_map);
            let group = on_host(device.gid, &ns.gid_map);
            for (id, mapped, field) in [(device.uid, user, "uid"), (device.gid, group, "gid")] {
                if mapped.is_none() {
                    let why = format!("{id} has no place in the container's user namespace");
                    problems.add(format!("{at}.{field}"), why);
                }
            }
            device.premade = user.zip(group);
        }
        match devices.iter_mut().find(|other| other.path == device.path) {
            None => devices.push(device),
            Some(other) if other.origin == Origin::Default || *other == device => *other = device,
            Some(_) => problems.add(
                format!("{at}.path"),
                format!("{} is given twice", device.path.display()),
            ),
        }
    }
    Plan {
        dev,
        source: if bound {
            NodeSource::Bind
        } else {
            NodeSource::Mknod
        },
        devices,
        label: label.cloned(),
    }
}

/// True if the config binds something on `/dev` itself.
fn binds_dev(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(|mount| {
        let is_bind = mount.typ().as_deref() == Some("bind")
            || mount
                .options()
                .iter()
                .flatten()
                .any(|option| option == "bind" || option == "rbind");
        is_bind && mounts::clean(mount.destination()).as_os_str() == "/dev"
    })
}

fn defaults(spec: &Spec) -> Vec<Device> {
    let destinations: Vec<Cow<'_, Path>> = spec
        .mounts()
        .iter()
        .flatten()
        .map(|mount| mounts::clean(mount.destination()))
        .collect();
    // Both are clean: what is the same place is the same text.
    let mounted_over = |path: &str| destinations.iter().any(|it| it.as_os_str() == path);
    DEFAULTS
        .iter()
        .filter(|(path, ..)| !mounted_over(path))
        .map(|&(path, major, minor)| Device {
            path: PathBuf::from(path),
            kind: Kind::Char,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
            premade: None,
            origin: Origin::Default,
        })
        .collect()
}

fn configured(item: &LinuxDevice, at: &str, problems: &mut Problems) -> Option<Device> {
    let kind = match item.typ() {
        LinuxDeviceType::B => Some(Kind::Block),
        LinuxDeviceType::C | LinuxDeviceType::U => Some(Kind::Char),
        LinuxDeviceType::P => Some(Kind::Fifo),
        LinuxDeviceType::A => {
            problems.add(format!("{at}.type"), "\"a\" is no type of a device node");
            None
        }
    };
    let path = match clean(item.path()) {
        Some(path) if path != Path::new("/") && path != Path::new("/dev") => Some(path),
        _ => {
            let why = format!("{:?} is not the absolute path of a node", item.path());
            problems.add(format!("{at}.path"), why);
            None
        }
    };
    let mut number = |field: &str, value: i64, limit: i64| {
        if kind == Some(Kind::Fifo) {
            return Some(0);
        }
        let number = u32::try_from(value).ok().filter(|_| value < limit);
        if number.is_none() {
            let why = format!("{value} is not between 0 and {}", limit - 1);
            problems.add(format!("{at}.{field}"), why);
        }
        number
    };
    let major = number("major", item.major(), MAJORS);
    let minor = number("minor", item.minor(), MINORS);
    let mode = item.file_mode().unwrap_or(0o666);
    if mode & !(FILE_TYPE | 0o7777) != 0 {
        problems.add(
            format!("{at}.fileMode"),
            format!("{mode:#o} is not a file mode"),
        );
    }
    let (uid, gid) = (item.uid().unwrap_or(0), item.gid().unwrap_or(0));
    namespaces::check_id(uid, || format!("{at}.uid"), problems);
    namespaces::check_id(gid, || format!("{at}.gid"), problems);
    Some(Device {
        path: path?,
        kind: kind?,
        major: major?,
        minor: minor?,
        mode: mode & 0o7777,
        uid,
        gid,
        premade: None,
        origin: Origin::Config,
    })
}

/// `path` without `.` and needless slashes; `None` if it is relative, goes up, or holds a NUL.
fn clean(path: &Path) -> Option<PathBuf> {
    let odd = path.as_os_str().as_encoded_bytes().contains(&0);
    let up = path.components().any(|part| part == Component::ParentDir);
    (path.is_absolute() && !odd && !up).then(|| path.components().collect())
}

/// The host's number of a container's id: by the maps of a new user namespace, or by those that
/// the config gives beside the path of one to join. Without any map only root's can be guessed:
/// such a node keeps the host's root as its owner.
fn on_host(id: u32, map: &[IdMap]) -> Option<u32> {
    if map.is_empty() {
        return (id == 0).then_some(0);
    }
    namespaces::outside_of(map, id)
}
