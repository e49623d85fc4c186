//! `mounts` of the config as an ordered list of decided steps. Pure; `sources` clones what is to be bound,
//! `attach` does the rest in the child.

use super::changes::{self, Unnamed, own_propagation};
use super::filesystem::{self, FsContext};
use super::idmap;
use super::label::Label;
use super::mount::{Action, At, Bind, Mount, ReadOnly, SourceKind, Target, c_string};
use super::options::{self, Depth, Options, Propagation, Symlink};
use crate::defence::{Defence, without};
use crate::error::Problems;
use crate::host::Host;
use crate::namespaces::{self, Kind};
use oci_spec::runtime::{Mount as SpecMount, Spec};
use std::borrow::Cow;
use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// What of the config the mounts depend on, beside themselves.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The config.
    pub spec: &'a Spec,
    /// Namespaces of the container.
    pub ns: &'a namespaces::Plan,
    /// Facts.
    pub host: &'a Host,
    /// The bundle's directory, absolute: relative bind sources start there.
    pub bundle: &'a Path,
    /// `linux.mountLabel`.
    pub label: Option<&'a Label>,
    /// What a bind mount's propagation is unless its own words say otherwise.
    pub propagation: Propagation,
}

/// Decides all mounts, in the config's order (config.md, Mounts). Pure.
pub(crate) fn plan(context: &Context<'_>, problems: &mut Problems) -> Vec<Mount> {
    let around = FsContext {
        label: context.label,
        host: context.host,
    };
    let mounts = context.spec.mounts().as_deref().unwrap_or_default();
    mounts
        .iter()
        .enumerate()
        .map(|(index, mount)| plan_one(index, mount, context, &around, problems))
        .collect()
}

fn plan_one(
    index: usize,
    mount: &SpecMount,
    context: &Context<'_>,
    around: &FsContext<'_>,
    problems: &mut Problems,
) -> Mount {
    let at = At(index);
    let options = options::parse(mount.options().as_deref().unwrap_or_default());
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let destination = clean(mount.destination()).into_owned();
    if mount.destination().as_os_str().is_empty() {
        problems.add(format!("{at}.destination"), "missing");
    } else if mount.destination().as_os_str().as_bytes().contains(&0) {
        problems.add(format!("{at}.destination"), "contains a NUL");
    }
    let depth = options.bind.or(match fstype {
        "bind" => Some(Depth::One),
        "rbind" => Some(Depth::Tree),
        _ => None,
    });
    // A clean path is compared as a text.
    let is_root = destination.as_os_str() == "/";
    if options.copy_up && (fstype != "tmpfs" || depth.is_some() || is_root) {
        problems.add(
            format!("{at}.options"),
            "tmpcopyup is only for a tmpfs, and not on /",
        );
    }

    let idmap = idmap::plan(mount, &options, context.spec, context.ns, at, problems);
    if idmap.is_some() && (depth.is_none() || options.remount) {
        problems.add(
            format!("{at}.options"),
            "only a bind mount can be id-mapped",
        );
    }
    let (target, kind) = if options.remount {
        (Target::Any, SourceKind::Any)
    } else {
        let shown = if depth.is_some() { "bind" } else { fstype };
        target(&destination, shown, options.target).unwrap_or_else(|why| {
            problems.add(format!("{at}.destination"), why);
            (Target::Any, SourceKind::Any)
        })
    };
    if let (Some(_), [word, ..]) = (depth, options.data.as_slice()) {
        // The kernel would ignore it, and whoever has misspelt `noexec` would have a mount without that.
        problems.add(
            format!("{at}.options"),
            format!("{word:?}: no bind mount has such an option"),
        );
    }
    let source = mount.source().as_deref();
    let action = match depth {
        _ if options.remount => Action::Remount(depth.is_none().then(|| {
            filesystem::mount_call(fstype, "", &options, libc::MS_REMOUNT, None, at, problems)
        })),
        Some(depth) => Action::Bind(Bind {
            source: bind_source(source, &options, context.bundle, at, problems),
            depth,
            symlinks: options.source,
            idmap,
            kind,
        }),
        None => {
            if fstype.is_empty() || fstype == "none" {
                problems.add(format!("{at}.type"), "missing, and no bind mount");
            }
            let name = source.map_or(fstype.into(), |source| source.to_string_lossy());
            filesystem::plan(fstype, &name, &options, around, at, problems)
        }
    };
    let changes = match &action {
        Action::Bind(bind) => {
            let unnamed = if context.ns.has(Kind::User) {
                Unnamed::Locked
            } else {
                Unnamed::Cleared
            };
            changes::of_bind(&options, bind.depth, context.propagation, unnamed)
        }
        Action::Remount(None) => changes::of_remount(&options),
        // Attributes are given when it is made (or by mount(2)).
        _ => own_propagation(&options).collect(),
    };
    if is_root && matches!(action, Action::MountCall(_)) {
        problems.add(
            format!("{at}.options"),
            "iversion, silent and long values cannot be used on /",
        );
    }
    let mut mount = Mount {
        index,
        destination,
        target,
        action,
        changes,
        read_only: ReadOnly::AsMounted,
    };
    if !is_root {
        make_late(&mut mount);
    }
    mount
}

/// The source of a bind mount: absolute on the host, a relative one from the bundle on.
fn bind_source(
    source: Option<&Path>,
    options: &Options,
    bundle: &Path,
    at: At,
    problems: &mut Problems,
) -> CString {
    let source = source.filter(|source| !source.as_os_str().is_empty());
    if source.is_none() {
        problems.add(format!("{at}.source"), "a bind mount needs a source");
    }
    if options.superblock != 0 {
        // The kernel ignores these words on a bind mount; mount(8) and the engines know it.
        log::debug!("{at}.options: words for a superblock mean nothing on a bind mount");
    }
    let source = match source.unwrap_or(Path::new("")) {
        source if source.is_absolute() => source.as_os_str().as_bytes().to_vec(),
        source => bundle.join(source).into_os_string().into_vec(),
    };
    c_string(source, format_args!("{at}.source"), problems)
}

/// A read-only tmpfs stays writable until the end, so that what comes after it can make its targets
/// inside. (Not so a read-only bind: nothing may be made in somebody's read-only source.)
fn make_late(mount: &mut Mount) {
    if let Action::FileSystem(it) = &mut mount.action {
        let read_only = it.attributes & libc::MOUNT_ATTR_RDONLY != 0;
        if read_only && it.fstype.as_c_str() == c"tmpfs" {
            it.attributes &= !libc::MOUNT_ATTR_RDONLY;
            mount.read_only = ReadOnly::Deferred;
        }
    }
}

/// `path` as an absolute path without `.` and `..`: a relative one starts at the root (config.md).
pub(super) fn clean(path: &Path) -> Cow<'_, Path> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Cow::Owned(clean)
}

/// As most are written.
fn is_clean(path: &Path) -> bool {
    let path = path.as_os_str().as_bytes();
    // The last name must not be empty either.
    let names = path.split_last().is_some_and(|(last, _)| *last != b'/');
    names && path.starts_with(b"/") && !path.windows(2).any(|it| matches!(it, b"//" | b"/."))
}

/// What of /proc programs like lxcfs cover with a view of the container's limits. All
/// else there stays as the kernel shows it: a covered `/proc/self/attr` takes the labels of
/// AppArmor and SELinux away unseen (CVE-2019-16884).
const PROC_FILES: [&str; 16] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "pressure",
    "pressure/cpu",
    "pressure/io",
    "pressure/irq",
    "pressure/memory",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

fn target(
    destination: &Path,
    fstype: &str,
    symlink: Symlink,
) -> std::result::Result<(Target, SourceKind), String> {
    let path = destination.as_os_str().as_bytes();
    match (path.strip_prefix(b"/proc"), fstype) {
        _ if path == b"/" => return Ok((Target::Root, SourceKind::Any)),
        _ if without(Defence::ProcTargets) => {}
        (Some(b""), "proc") => {}
        (Some(b""), "bind") => return Ok((Target::RealDirectory, SourceKind::Proc)),
        (Some(b""), _) => return Err("only a procfs can be mounted on /proc".to_owned()),
        (Some([b'/', file @ ..]), _) if PROC_FILES.iter().any(|it| it.as_bytes() == file) => {
            return Ok((Target::ProcFile, SourceKind::Any));
        }
        (Some([b'/', ..]), _) => {
            let files = PROC_FILES.join(", ");
            return Err(format!("of /proc only these can be covered: {files}"));
        }
        _ => {}
    }
    let target = match (fstype, symlink) {
        ("proc" | "sysfs", _) => Target::RealDirectory,
        _ if path == b"/sys" => Target::RealDirectory,
        (_, Symlink::NoFollow) => Target::NoFollow,
        _ => Target::Any,
    };
    Ok((target, SourceKind::Any))
}
