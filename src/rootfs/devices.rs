//! Device nodes and the links of `/dev`: the spec's default devices and `linux.devices`.
//!
//! Plan: parent, pure. Make: child, after the mounts and before the pivot, so that the host's own
//! nodes are still within reach. A node is made with mknodat(2); in a user namespace, where the
//! kernel refuses that, it is bound from the host, or from a node that the parent made ([`Nodes`]).
//!
//! `/dev` of an image may be a link that leads anywhere. It is opened once, without following, and
//! everything in it is made on that fd (CVE-2026-41579, CVE-2026-47766).

mod nodes;
mod plan;

pub(crate) use nodes::Nodes;
pub(crate) use plan::{Dev, Device, Kind, NodeSource, Origin, Plan, plan};

use crate::defence::{Defence, by_name, without};
use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::sys::mount::{MountAttr, mount_setattr, move_mount, open_tree};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag};
use nix::sys::stat::{fchmodat, fstat, makedev, mkdirat, mknodat, umask};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, read, symlinkat, unlinkat};
use std::ffi::{CString, OsStr, OsString};
use std::iter;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The links of runtime-linux.md, "Dev symbolic links": what they say and their names in `/dev`.
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// Child, after the mounts, before the pivot: supplies every device of the plan and the links of
/// `/dev`. `root` is the container's root, `nodes` what [`Nodes::make`] made before the clone.
///
/// # Errors
/// E_DEVICE with the device's path; E_UNSAFE_PATH where `/dev`, a directory in it or a device's place
/// is a symbolic link.
pub(crate) fn make(plan: &Plan, root: &Root, nodes: &Nodes) -> Result<()> {
    if plan.devices.is_empty() && plan.dev == Dev::Mounted {
        return Ok(());
    }
    // Modes are exact: linux.devices[].fileMode says nothing of a umask.
    let inherited = umask(Mode::empty());
    let result = open_dev(root).and_then(|dev| {
        for (index, device) in plan.devices.iter().enumerate() {
            let (parent, name) = place(root, &dev, device)?;
            let parent = parent.as_ref().unwrap_or(&dev);
            if plan.dev == Dev::Mounted && device.path.starts_with("/dev") {
                must_be_there(parent, &name, device)?;
            } else {
                supply(plan.source, device, parent, &name, nodes.get(index))?;
            }
        }
        match plan.dev {
            Dev::Ours => link(root, &dev),
            Dev::Mounted => Ok(()),
        }
    });
    umask(inherited);
    result
}

/// The container's `/dev`, made if missing, as the one fd that everything in it is made on.
fn open_dev(root: &Root) -> Result<Root> {
    let name = OsStr::new("dev");
    let opened = match real_directory(root, name) {
        Err(Errno::ENOENT) => {
            let mode = Mode::from_bits_truncate(0o755);
            mkdirat(root, name, mode).context(Code::Device, "make directory", "/dev")?;
            real_directory(root, name)
        }
        other => other,
    };
    opened.map_err(|errno| no_directory(errno, "/dev".to_owned()))
}

/// The entry `name` of `parent`, which must be a directory and not a link to one.
fn real_directory(parent: &Root, name: &OsStr) -> nix::Result<Root> {
    let no_follow = if without(Defence::DevNoFollow) {
        OFlag::empty()
    } else {
        OFlag::O_NOFOLLOW
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | no_follow;
    let directory = parent.open(Path::new(name), flags, Mode::empty())?;
    Ok(Root::from_fd(directory))
}

fn no_directory(errno: Errno, shown: String) -> Error {
    match errno {
        Errno::ENOTDIR | Errno::ELOOP => Error::step(Code::UnsafePath, "open", shown, errno)
            .because("must be a directory of the container, not a link or a file"),
        _ => Error::step(Code::Device, "open", shown, errno),
    }
}

/// The directory in which `device` stands, made if missing (`None` for `/dev` itself), and its name
/// there. In `/dev` no link is followed; elsewhere links are followed inside the root, as for mounts.
fn place(root: &Root, dev: &Root, device: &Device) -> Result<(Option<Root>, OsString)> {
    let shown = || device.path.display().to_string();
    let step = "make the directory of";
    let Ok(below) = device.path.strip_prefix("/dev") else {
        let (parent, name) =
            root.parent_of(&device.path)
                .context(Code::Device, step, device.path.display())?;
        return Ok((Some(Root::from_fd(parent)), name));
    };
    let mut parent = None;
    let mut names = below.iter().peekable();
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            return Ok((parent, name.to_owned()));
        }
        let here = parent.as_ref().unwrap_or(dev);
        match mkdirat(here, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(Error::step(Code::Device, step, shown(), errno)),
        }
        parent = Some(real_directory(here, name).map_err(|errno| {
            no_directory(errno, format!("the directory of {}", device.path.display()))
        })?);
    }
    Err(Error::step(Code::Device, step, shown(), Errno::EINVAL))
}

/// Supplies one device: a node of its own, or a bind mount of `premade` or of the host's node.
fn supply(
    source: NodeSource,
    device: &Device,
    parent: &Root,
    name: &OsStr,
    premade: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let shown = device.path.display();
    // A fifo needs no capability, so even a user namespace makes its own.
    let may_make = source == NodeSource::Mknod || device.kind == Kind::Fifo;
    if may_make {
        let mode = permissions(device);
        match mknodat(parent, name, file_type(device.kind), mode, number(device)) {
            Ok(()) => return settle(device, parent, name),
            Err(Errno::EEXIST) => {}
            // No CAP_MKNOD, or the container's own device rules refuse `m`.
            Err(Errno::EPERM) if device.kind != Kind::Fifo => {}
            Err(errno) => {
                let shown = shown.to_string();
                return Err(Error::step(Code::Device, "make device", shown, errno));
            }
        }
    }
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_RDONLY;
    let point = |errno| {
        let shown = shown.to_string();
        Error::step(Code::Device, "make a mount point for", shown, errno)
    };
    let target = match parent.open(Path::new(name), new, Mode::from_bits_truncate(0o600)) {
        Err(Errno::EEXIST) => match look(device, parent, name)? {
            There::Same if may_make => return settle(device, parent, name),
            There::Same => return Ok(()),
            There::Target(target) => target,
            // Taken away since.
            There::Nothing => return Err(point(Errno::ENOENT)),
        },
        made => made.map_err(point)?,
    };
    let host;
    let tree = match premade {
        Some(tree) => tree,
        None => {
            host = hosts_node(device)?;
            host.as_fd()
        }
    };
    move_mount(tree, target.as_fd()).context(Code::Device, "bind device", shown)
}

/// What stands where a device shall stand.
enum There {
    /// The device itself.
    Same,
    /// Nothing.
    Nothing,
    /// Something that a node may be bound over.
    Target(OwnedFd),
}

fn look(device: &Device, parent: &Root, name: &OsStr) -> Result<There> {
    let shown = device.path.display().to_string();
    let there = match parent.resolve_no_follow(Path::new(name)) {
        Ok(there) => there,
        Err(Errno::ENOENT) => return Ok(There::Nothing),
        Err(errno) => return Err(Error::step(Code::Device, "open", shown, errno)),
    };
    let stat = fstat(&there).context(Code::Device, "look at", &shown)?;
    let kind = stat.st_mode & libc::S_IFMT;
    let refuse = |code, why: &str| Err(Error::new(code, format!("make device {shown}: {why}")));
    match kind {
        _ if is_the(device, &stat) => Ok(There::Same),
        libc::S_IFLNK => refuse(Code::UnsafePath, "a symbolic link is in its place"),
        libc::S_IFDIR => refuse(Code::Device, "a directory is in its place"),
        // What an image has of a default device is replaced. Otherwise only an empty file, which
        // is what a bind in an earlier container leaves behind: the spec wants an error for a file
        // that does not match.
        libc::S_IFREG if stat.st_size == 0 => Ok(There::Target(there)),
        _ if device.origin == Origin::Default => Ok(There::Target(there)),
        _ => refuse(Code::Device, "another file is in its place"),
    }
}

/// With a `/dev` that the config mounts nothing is made in it, but a configured device must exist.
fn must_be_there(parent: &Root, name: &OsStr, device: &Device) -> Result<()> {
    match look(device, parent, name)? {
        There::Same => Ok(()),
        There::Nothing | There::Target(_) => Err(Error::new(
            Code::Device,
            format!(
                "find device {}: not in the directory that is mounted on /dev",
                device.path.display()
            ),
        )),
    }
}

/// Gives a node of the config its owner and mode. The node is known by its number, so that nothing
/// that has been put in its place is touched.
fn settle(device: &Device, parent: &Root, name: &OsStr) -> Result<()> {
    if device.origin == Origin::Default {
        return Ok(());
    }
    let shown = device.path.display();
    let node = parent
        .resolve_no_follow(Path::new(name))
        .context(Code::Device, "open", &shown)?;
    let stat = fstat(&node).context(Code::Device, "look at", &shown)?;
    if !is_the(device, &stat) {
        let shown = shown.to_string();
        return Err(Error::step(
            Code::Device,
            "make device",
            shown,
            Errno::EEXIST,
        ));
    }
    let owner = (device.uid, device.gid) != (stat.st_uid, stat.st_gid);
    if owner {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        fchownat(&node, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH).context(
            Code::Device,
            "set the owner of",
            &shown,
        )?;
    }
    // A change of owner clears the set-id bits.
    if device.mode != stat.st_mode & 0o7777 || (owner && device.mode & 0o6000 != 0) {
        // Not by its name, which may be another's by now.
        let named = by_name(Defence::SettleByFd, node.as_fd());
        let number = named.as_ref().unwrap_or(&node).as_raw_fd().to_string();
        let follow = FchmodatFlags::FollowSymlink;
        let set = |descriptors: OwnedFd| {
            fchmodat(&descriptors, number.as_str(), permissions(device), follow)
        };
        ProcFs::own_descriptors()
            .and_then(set)
            .context(Code::Device, "set the mode of", &shown)?;
    }
    Ok(())
}

/// A clone of the host's node for `device`, found at the same path, by its number, which needs
/// udev's links, or by the kernel's name for it.
fn hosts_node(device: &Device) -> Result<OwnedFd> {
    let kind = match device.kind {
        Kind::Block => "block",
        Kind::Char | Kind::Fifo => "char",
    };
    let number = format!("{kind}/{}:{}", device.major, device.minor);
    let by_number = format!("/dev/{number}");
    let same = device.path.as_os_str().as_bytes();
    let mut failure = Errno::ENOENT;
    let kernels = iter::once_with(|| kernels_name(&number)).flatten();
    let names = iter::once(by_number).chain(kernels).map(String::into_bytes);
    for path in iter::once(same.to_vec()).chain(names) {
        let Ok(path) = CString::new(path) else {
            continue;
        };
        match open_tree(AT_FDCWD, &path, libc::OPEN_TREE_CLONE) {
            Ok(tree) if fstat(&tree).is_ok_and(|stat| is_the(device, &stat)) => {
                // What a node is for needs neither, and the mount of the host's may lack both.
                let harmless = MountAttr {
                    attr_set: libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
                    ..MountAttr::default()
                };
                return mount_setattr(tree.as_fd(), 0, &harmless)
                    .context(Code::Device, "restrict the mount of", device.path.display())
                    .map(|()| tree);
            }
            Ok(_) => {}
            Err(errno) => failure = errno,
        }
    }
    Err(Error::step(
        Code::Device,
        "bind device",
        device.path.display().to_string(),
        failure,
    )
    .because("mknod is refused here and the host has no such node"))
}

/// `/dev/NAME` as the kernel calls a device, by its sysfs.
fn kernels_name(number: &str) -> Option<String> {
    let path = format!("/sys/dev/{number}/uevent");
    let file = open(
        path.as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let mut bytes = [0; 1024];
    let length = read(&file, &mut bytes).ok()?;
    let event = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let name = event
        .lines()
        .find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(format!("/dev/{name}"))
}

/// Makes the links of `/dev`.
fn link(root: &Root, dev: &Root) -> Result<()> {
    for (text, name) in LINKS {
        keep_or_link(dev, text, name)?;
    }
    // As runc: a kernel without /proc/kcore gets no dangling link.
    if root.resolve_no_follow(Path::new("/proc/kcore")).is_ok() {
        keep_or_link(dev, "/proc/kcore", "core")?;
    }
    // /dev/ptmx must lead to the container's own devpts, whatever the image has there; only what
    // the config itself mounted stays (EBUSY).
    let ours = "pts/ptmx";
    let replaced = match symlinkat(ours, dev, "ptmx") {
        Err(Errno::EEXIST) if readlinkat(dev, "ptmx").is_ok_and(|text| text == ours) => Ok(()),
        Err(Errno::EEXIST) => match unlinkat(dev, "ptmx", UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EBUSY) => Ok(()),
            unlinked => unlinked.and_then(|()| symlinkat(ours, dev, "ptmx")),
        },
        linked => linked,
    };
    replaced.context(Code::Device, "make the link", "/dev/ptmx")
}

fn keep_or_link(dev: &Root, text: &str, name: &str) -> Result<()> {
    match symlinkat(text, dev, name) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => {
            let shown = format!("/dev/{name}");
            Err(Error::step(Code::Device, "make the link", shown, errno))
        }
    }
}

fn file_type(kind: Kind) -> SFlag {
    match kind {
        Kind::Char => SFlag::S_IFCHR,
        Kind::Block => SFlag::S_IFBLK,
        Kind::Fifo => SFlag::S_IFIFO,
    }
}

fn number(device: &Device) -> libc::dev_t {
    match device.kind {
        Kind::Fifo => 0,
        Kind::Char | Kind::Block => makedev(device.major.into(), device.minor.into()),
    }
}

fn permissions(device: &Device) -> Mode {
    Mode::from_bits(device.mode).expect("twelve bits, as the plan has checked")
}

/// True if `stat` is of a node with the type and the number of `device`.
fn is_the(device: &Device, stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == file_type(device.kind).bits()
        && (device.kind == Kind::Fifo || stat.st_rdev == number(device))
}

#[cfg(test)]
mod tests;
