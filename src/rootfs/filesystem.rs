//! How a new file system is mounted: type, parameters, attributes, and what stands in for it
//! where the kernel refuses. Pure; `attach` does it.
//!
//! The way is fsopen(2), fsconfig(2), fsmount(2): typed parameters, the kernel's own words on
//! failure, and a mount that is complete before anyone can see it. mount(2) is kept for what that
//! cannot say: `iversion`, `silent`, and values of more than 255 bytes (fsconfig's limit).

use super::label::{self, Label};
use super::mount::{
    Action, At, Bind, Change, Content, FileSystem, Instead, MountCall, Parameter, RootMode,
    SourceKind, c_string,
};
use super::options::{Attributes, Depth, Options, Propagation, Symlink};
use crate::defence::{Defence, without};
use crate::error::Problems;
use crate::host::Host;
use crate::sys::mount::MountAttr;
use libc::c_ulong;
use std::ffi::CString;

/// The longest value (and key) that fsconfig(2) takes.
const LONGEST_VALUE: usize = 255;
/// The longest data that mount(2) takes: a page with its NUL; the kernel cuts off the rest unsaid.
const LONGEST_DATA: usize = 4095;
/// Since this version overlay takes its layers one by one (`lowerdir+`).
const OVERLAY_LAYERS: (u32, u32) = (6, 7);
/// What the plan of one file system depends on beside its options.
#[derive(Debug)]
pub(crate) struct FsContext<'a> {
    /// `linux.mountLabel`.
    pub label: Option<&'a Label>,
    /// Facts.
    pub host: &'a Host,
}

/// Decides how `fstype` is mounted. `at` is the mount's JSON path. Pure.
pub(crate) fn plan(
    fstype: &str,
    source: &str,
    options: &Options,
    around: &FsContext<'_>,
    at: At,
    problems: &mut Problems,
) -> Action {
    // On a host with cgroup v2 the type `cgroup` of a config means that.
    let fstype = if fstype == "cgroup" {
        "cgroup2"
    } else {
        fstype
    };
    let attributes = both(options).set;
    let mut words: Vec<(String, Option<String>)> = Vec::new();
    if !source.is_empty() {
        words.push(("source".to_owned(), Some(source.to_owned())));
    }
    for (flag, word) in [
        (libc::MS_SYNCHRONOUS, "sync"),
        (libc::MS_DIRSYNC, "dirsync"),
        (libc::MS_MANDLOCK, "mand"),
        (libc::MS_LAZYTIME, "lazytime"),
    ] {
        if options.superblock & flag != 0 {
            words.push((word.to_owned(), None));
        }
    }
    // A pseudo file system's superblock may be the host's own: only the mount is made read-only.
    if attributes & libc::MOUNT_ATTR_RDONLY != 0 && !is_pseudo(fstype) {
        words.push(("ro".to_owned(), None));
    }
    for word in &options.data {
        words.extend(parameter(fstype, word, around.host));
    }
    if let (Some(label), true) = (around.label, takes_label(fstype)) {
        let (key, context) = label.words();
        words.push((key.into_owned(), Some(context.into_owned())));
    }

    let too_long = |text: &str| text.len() > LONGEST_VALUE;
    let only_classic = options.superblock & (libc::MS_I_VERSION | libc::MS_SILENT) != 0
        || words
            .iter()
            .any(|(key, value)| too_long(key) || value.as_deref().is_some_and(too_long));
    if only_classic {
        if options.copy_up {
            problems.add(format!("{at}.options"), "tmpcopyup cannot be combined with iversion, silent or a value of more than 255 bytes");
        }
        return Action::MountCall(mount_call(
            fstype,
            source,
            options,
            0,
            around.label,
            at,
            problems,
        ));
    }

    let has_mode = options.data.iter().any(|word| word.starts_with("mode="));
    Action::FileSystem(FileSystem {
        fstype: c_string(fstype, at, problems),
        parameters: words
            .into_iter()
            .map(|(key, value)| Parameter {
                key: c_string(key, at, problems),
                value: value.map(|value| c_string(value, at, problems)),
            })
            .collect(),
        attributes,
        mode: match fstype {
            "tmpfs" if !has_mode => RootMode::OfTarget,
            _ => RootMode::Given,
        },
        content: if options.copy_up {
            Content::OfTarget
        } else {
            Content::Empty
        },
        instead: instead(fstype, attributes, around.host).map(Box::new),
    })
}

/// The arguments of mount(2) for the same; `extra` is `MS_REMOUNT` or 0. Pure.
pub(crate) fn mount_call(
    fstype: &str,
    source: &str,
    options: &Options,
    extra: c_ulong,
    label: Option<&Label>,
    at: At,
    problems: &mut Problems,
) -> MountCall {
    let mut data = options.data.clone();
    if let (Some(label), true) = (label, takes_label(fstype)) {
        let (key, context) = label.words();
        data.push(format!("{key}=\"{context}\""));
    }
    let data = data.join(",");
    if data.len() > LONGEST_DATA {
        problems.add(
            format!("{at}.options"),
            format!("longer than the {LONGEST_DATA} bytes that mount(2) takes"),
        );
    }
    MountCall {
        fstype: c_string(fstype, at, problems),
        source: c_string(source, at, problems),
        flags: mount_flags(both(options).set) | options.superblock | extra,
        data: (!data.is_empty()).then(|| c_string(data, at, problems)),
    }
}

/// A new file system is one mount, so recursive words mean the same as plain ones.
fn both(options: &Options) -> Attributes {
    options.attributes.then(options.tree_attributes)
}

/// File systems without a device, whose superblock has no read-only state worth setting.
fn is_pseudo(fstype: &str) -> bool {
    let pseudo = [
        "cgroup2", "devpts", "mqueue", "proc", "ramfs", "sysfs", "tmpfs",
    ];
    pseudo.contains(&fstype)
}

/// proc, sysfs, mqueue and cgroup2 label their own inodes and refuse a context.
fn takes_label(fstype: &str) -> bool {
    !["cgroup2", "mqueue", "proc", "sysfs"].contains(&fstype)
}

/// One word of data as parameters: `key=value` or a flag.
fn parameter(fstype: &str, word: &str, host: &Host) -> Vec<(String, Option<String>)> {
    match word.split_once('=') {
        None => vec![(word.to_owned(), None)],
        Some(("lowerdir", layers))
            if fstype == "overlay"
                && layers.len() > LONGEST_VALUE
                && host.kernel >= OVERLAY_LAYERS =>
        {
            overlay_layers(layers)
        }
        // Quotes protect a label's commas in mount(2)'s data; fsconfig takes the label itself.
        Some((key, value)) if label::is_key(key) => {
            vec![(key.to_owned(), Some(value.trim_matches('"').to_owned()))]
        }
        Some((key, value)) => vec![(key.to_owned(), Some(value.to_owned()))],
    }
}

/// `lowerdir=A:B::C` as single layers (Documentation/filesystems/overlayfs.rst): what follows a
/// double colon holds data only. Single layers are taken as they are, without backslashes.
fn overlay_layers(layers: &str) -> Vec<(String, Option<String>)> {
    let mut list = vec![("lowerdir+", String::new())];
    let mut letters = layers.chars();
    while let Some(letter) = letters.next() {
        match (letter, list.last_mut()) {
            (':', Some((_, layer))) if layer.is_empty() => {
                list.pop();
                list.push(("datadir+", String::new()));
            }
            (':', Some((key, _))) => {
                let key = *key;
                list.push((key, String::new()));
            }
            ('\\', Some((_, layer))) => layer.extend(letters.next()),
            (_, Some((_, layer))) => layer.push(letter),
            (_, None) => {}
        }
    }
    list.into_iter()
        .map(|(key, layer)| (key.to_owned(), Some(layer)))
        .collect()
}

/// What the container gets where its user namespace does not own the namespace that the file
/// system shows: the host's own mount, never shared with it, and for cgroups never writable
/// (CVE-2023-25809).
fn instead(fstype: &str, attributes: u64, host: &Host) -> Option<Instead> {
    let (source, attributes) = match fstype {
        "sysfs" => (c"/sys".to_owned(), attributes),
        "mqueue" => (c"/dev/mqueue".to_owned(), attributes),
        "cgroup2" => {
            let path = host.cgroup.as_ref()?.path.to_str()?;
            let read_only = if without(Defence::CgroupReadOnly) {
                0
            } else {
                libc::MOUNT_ATTR_RDONLY
            };
            (CString::new(path).ok()?, attributes | read_only)
        }
        _ => return None,
    };
    Some(Instead {
        bind: Bind {
            source,
            depth: Depth::Tree,
            symlinks: Symlink::Follow,
            idmap: None,
            kind: SourceKind::Any,
        },
        change: Change {
            depth: if without(Defence::SysReadOnly) {
                Depth::One
            } else {
                Depth::Tree
            },
            attr: MountAttr {
                attr_set: attributes & !libc::MOUNT_ATTR__ATIME,
                propagation: Propagation::Private.flag(),
                ..MountAttr::default()
            },
            unless_locked: 0,
        },
    })
}

/// `MOUNT_ATTR_*` as mount(2) spells them.
fn mount_flags(attributes: u64) -> c_ulong {
    [
        (libc::MOUNT_ATTR_RDONLY, libc::MS_RDONLY),
        (libc::MOUNT_ATTR_NOSUID, libc::MS_NOSUID),
        (libc::MOUNT_ATTR_NODEV, libc::MS_NODEV),
        (libc::MOUNT_ATTR_NOEXEC, libc::MS_NOEXEC),
        (libc::MOUNT_ATTR_NOATIME, libc::MS_NOATIME),
        (libc::MOUNT_ATTR_STRICTATIME, libc::MS_STRICTATIME),
        (libc::MOUNT_ATTR_NODIRATIME, libc::MS_NODIRATIME),
        (libc::MOUNT_ATTR_NOSYMFOLLOW, libc::MS_NOSYMFOLLOW),
    ]
    .into_iter()
    .filter(|(attribute, _)| attributes & attribute != 0)
    .fold(0, |flags, (_, flag)| flags | flag)
}
