//! Files that must be there: bind sources, the image, devices of the host, hooks.

use super::way::meets_a_mount;
use crate::check::{Code, Findings, Subject};
use crate::error::errno_text;
use crate::hooks;
use crate::root::Root;
use crate::rootfs::devices::{Dev, Device, Kind, NodeSource, Origin};
use crate::rootfs::mount::{Action, Bind, Mount, Target, as_text};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Adds bind sources that do not exist or that the caller may not open.
pub(super) fn sources(subject: &Subject<'_>, findings: &mut Findings) {
    let plan = &subject.plan.rootfs;
    for (index, found) in &subject.sources {
        let Some(place) = plan.mounts.iter().position(|it| it.index == *index) else {
            continue;
        };
        let (earlier, mount) = plan.mounts.split_at(place);
        if let (Err(errno), Some(Action::Bind(bind))) = (found, mount.first().map(|it| &it.action))
            && subject.is_final(*errno)
            && !(*errno == Errno::ENOENT && may_be_made(bind, &plan.path, earlier))
        {
            findings.add(
                Code::MountSource,
                format!("mounts[{index}].source"),
                format!("{}: {}", as_text(&bind.source), errno_text(*errno)),
            );
        }
    }
}

/// Whether what is missing of a source may lie in an earlier mount, or be made as the target of one.
fn may_be_made(bind: &Bind, rootfs: &Path, earlier: &[Mount]) -> bool {
    let path = |bind: &Bind| PathBuf::from(OsStr::from_bytes(bind.source.to_bytes()));
    let source = path(bind);
    earlier.iter().any(|mount| {
        let target = mount.destination.strip_prefix("/");
        let target = rootfs.join(target.unwrap_or(&mount.destination));
        let in_bind = matches!(&mount.action, Action::Bind(it) if source.starts_with(path(it)));
        source.starts_with(&target) || target.starts_with(&source) || in_bind
    })
}

/// Adds what the image lacks: real directories for proc and sysfs, the program, the working
/// directory, hooks.
pub(super) fn image(subject: &Subject<'_>, findings: &mut Findings) {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // A missing root has a finding already.
    let Ok(fd) = open(&subject.plan.rootfs.path, flags, Mode::empty()) else {
        return;
    };
    let root = Root::from_fd(fd);
    let mounts = &subject.plan.rootfs.mounts;
    mount_points(&root, mounts, findings);
    super::program::program(subject, &root, findings);
    let cwd = &subject.plan.process.command.cwd;
    if let Ok(fd) = root.resolve(cwd)
        && !meets_a_mount(&root, cwd, mounts)
        && fstat(&fd).is_ok_and(|stat| stat.st_mode & libc::S_IFMT != libc::S_IFDIR)
    {
        let why = format!("{} is not a directory in the image", cwd.display());
        findings.add(Code::CwdNoDirectory, "process.cwd", why);
    }
    for hook in &subject.plan.hooks.hooks {
        let path = Path::new(OsStr::from_bytes(hook.path.to_bytes()));
        if hook.kind == hooks::Kind::StartContainer
            && let Err(errno) = root.resolve(path)
            && subject.is_final(errno)
            && !meets_a_mount(&root, path, mounts)
        {
            findings.add(Code::HookMissing, hook_path(hook), missing(path, errno));
        }
    }
}

/// Adds those of `/proc`, `/sys` and `/dev` that are neither real directories nor missing.
fn mount_points(root: &Root, mounts: &[Mount], findings: &mut Findings) {
    for (place, mount) in mounts.iter().enumerate() {
        let earlier = mounts.get(..place).unwrap_or_default();
        if mount.target != Target::RealDirectory || meets_a_mount(root, &mount.destination, earlier)
        {
            continue;
        }
        let found = root.resolve_plain(&mount.destination, OFlag::O_DIRECTORY);
        if let Err(Errno::ELOOP | Errno::ENOTDIR) = found {
            findings.add(
                Code::MountPointUnsafe,
                format!("mounts[{}].destination", mount.index),
                format!(
                    "{} is a symbolic link or a file in the image",
                    mount.destination.display()
                ),
            );
        }
    }
}

/// Adds devices that must be bound from the host and that the host lacks.
pub(super) fn devices(subject: &Subject<'_>, findings: &mut Findings) {
    let plan = &subject.plan.rootfs.devices;
    let configured = |path: &Path| {
        let devices = subject.spec.linux().as_ref()?.devices().as_ref()?;
        devices.iter().position(|it| it.path() == path)
    };
    for device in plan.devices.iter().filter(|it| it.kind != Kind::Fifo) {
        let is_bound = plan.source == NodeSource::Bind && device.premade.is_none();
        if plan.dev != Dev::Ours || !is_bound || has_node(subject, device) {
            continue;
        }
        let at = match (device.origin, configured(&device.path)) {
            (Origin::Config, Some(index)) => format!("linux.devices[{index}].path"),
            _ => "linux.namespaces".to_owned(),
        };
        let why = format!(
            "the host has no {}, which a user namespace must take from it",
            device.path.display()
        );
        findings.add(Code::DeviceMissing, at, why);
    }
}

/// True if the host has the node in one of the places where `create` looks for it.
fn has_node(subject: &Subject<'_>, device: &Device) -> bool {
    let (directory, kind) = match device.kind {
        Kind::Block => ("block", SFlag::S_IFBLK),
        Kind::Char | Kind::Fifo => ("char", SFlag::S_IFCHR),
    };
    let number = format!("{}:{}", device.major, device.minor);
    let event = subject
        .files
        .text(format!("/sys/dev/{directory}/{number}/uevent"));
    let name = event.as_deref().and_then(|text| {
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("DEVNAME="))?;
        Some(Path::new("/dev").join(name))
    });
    [
        Some(device.path.clone()),
        Some(Path::new("/dev").join(directory).join(number)),
        name,
    ]
    .into_iter()
    .flatten()
    .any(|path| {
        subject.files.stat(path).is_ok_and(|stat| {
            stat.st_mode & libc::S_IFMT == kind.bits()
                && major(stat.st_rdev) == u64::from(device.major)
                && minor(stat.st_rdev) == u64::from(device.minor)
        })
    })
}

/// Adds missing hooks that run on the host. A poststop hook is left out: its failure is only a
/// warning.
pub(super) fn hooks(subject: &Subject<'_>, findings: &mut Findings) {
    for hook in &subject.plan.hooks.hooks {
        if matches!(
            hook.kind,
            hooks::Kind::StartContainer | hooks::Kind::Poststop
        ) {
            continue;
        }
        let path = Path::new(OsStr::from_bytes(hook.path.to_bytes()));
        if let Err(errno) = subject.files.executable(path) {
            findings.add(Code::HookMissing, hook_path(hook), missing(path, errno));
        }
    }
}

fn hook_path(hook: &hooks::Hook) -> String {
    format!("hooks.{}[{}].path", hook.kind.name(), hook.index)
}

fn missing(path: &Path, errno: Errno) -> String {
    format!("{}: {}", path.display(), errno_text(errno))
}
