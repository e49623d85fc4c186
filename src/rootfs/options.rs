//! The words of `mounts[].options`: one table, and what a list of them amounts to. Pure.
//!
//! config.md, "Linux mount options", names most words; `copy-symlink`, `src-nofollow`,
//! `dest-nofollow` and `idmap=…` are crun's. A word that is not in the table belongs to the file
//! system. Where two words contradict each other the later one wins, as with mount(8).

use libc::c_ulong;

/// Whether something holds for one mount or for the whole tree below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The top mount only.
    One,
    /// Every mount of the tree (`AT_RECURSIVE`).
    Tree,
}

/// How mounts and unmounts travel between a mount and its peers: mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// Both ways.
    Shared,
    /// From the peers to here only.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and the mount cannot be a bind source.
    Unbindable,
}

impl Propagation {
    /// The value for `mount_attr.propagation`.
    #[allow(
        clippy::useless_conversion,
        reason = "the flags of mount(2) have 32 bits on some machines"
    )]
    pub(crate) fn flag(self) -> u64 {
        let flag = match self {
            Propagation::Shared => libc::MS_SHARED,
            Propagation::Slave => libc::MS_SLAVE,
            Propagation::Private => libc::MS_PRIVATE,
            Propagation::Unbindable => libc::MS_UNBINDABLE,
        };
        flag.into()
    }
}

/// Per-mount attributes as mount_setattr(2) takes them. The access time is no bit but a field of
/// three values: to choose one, the whole field must be in `clear`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
}

impl Attributes {
    fn switch(&mut self, bit: u64, switch: Switch) {
        let (to, from) = match switch {
            Switch::On => (&mut self.set, &mut self.clear),
            Switch::Off => (&mut self.clear, &mut self.set),
        };
        *to |= bit;
        *from &= !bit;
    }

    /// Negative words only take back what the positive one chose, so `noatime` outlives a later
    /// `norelatime`; what then remains is the kernel's default, relatime (mount(8)). Where no word chooses
    /// anything, recursive ones say that of all mounts below, and plain ones leave a mount that is there
    /// as it is (mount(2), `MS_REMOUNT`).
    fn access_time(&mut self, depth: Depth, time: AccessTime) {
        let (no, strict) = (libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR_STRICTATIME);
        let now = self.set & libc::MOUNT_ATTR__ATIME;
        let chosen = match time {
            AccessTime::None => Some(no),
            AccessTime::Strict => Some(strict),
            AccessTime::Relative => Some(libc::MOUNT_ATTR_RELATIME),
            AccessTime::NotNone => Some(strict).filter(|_| now == strict),
            AccessTime::NotStrict => Some(no).filter(|_| now == no),
            AccessTime::NotRelative => Some(now).filter(|_| now != libc::MOUNT_ATTR_RELATIME),
        };
        match (chosen, depth) {
            (None, Depth::One) => self.clear &= !libc::MOUNT_ATTR__ATIME,
            _ => self.clear |= libc::MOUNT_ATTR__ATIME,
        }
        let chosen = chosen.unwrap_or(libc::MOUNT_ATTR_RELATIME);
        self.set = self.set & !libc::MOUNT_ATTR__ATIME | chosen;
    }

    /// Both, the second one prevailing where they contradict each other.
    #[must_use]
    pub(crate) fn then(self, later: Attributes) -> Attributes {
        Attributes {
            set: self.set & !later.clear | later.set,
            clear: self.clear & !(later.set & !libc::MOUNT_ATTR__ATIME) | later.clear,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug)]
enum AccessTime {
    None,
    NotNone,
    Relative,
    NotRelative,
    Strict,
    NotStrict,
}

/// What a word does.
#[derive(Clone, Copy, Debug)]
enum Effect {
    Nothing,
    Bind(Depth),
    Remount,
    Attribute(Depth, u64, Switch),
    AccessTime(Depth, AccessTime),
    Superblock(c_ulong, Switch),
    Propagation(Propagation, Depth),
    IdMap(Depth),
    CopyUp,
    CopySymlink,
    SourceNoFollow,
    TargetNoFollow,
}

use AccessTime as Time;
use Depth::{One, Tree};
use Effect as Do;
use Switch::{Off, On};

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;

/// Every word, sorted.
const TABLE: [(&str, Effect); 65] = [
    ("async", Do::Superblock(libc::MS_SYNCHRONOUS, Off)),
    ("atime", Do::AccessTime(One, Time::NotNone)),
    ("bind", Do::Bind(One)),
    ("copy-symlink", Do::CopySymlink),
    ("defaults", Do::Nothing),
    ("dest-nofollow", Do::TargetNoFollow),
    ("dev", Do::Attribute(One, NODEV, Off)),
    ("diratime", Do::Attribute(One, NODIRATIME, Off)),
    ("dirsync", Do::Superblock(libc::MS_DIRSYNC, On)),
    ("exec", Do::Attribute(One, NOEXEC, Off)),
    ("idmap", Do::IdMap(One)),
    ("iversion", Do::Superblock(libc::MS_I_VERSION, On)),
    ("lazytime", Do::Superblock(libc::MS_LAZYTIME, On)),
    ("loud", Do::Superblock(libc::MS_SILENT, Off)),
    ("mand", Do::Superblock(libc::MS_MANDLOCK, On)),
    ("noatime", Do::AccessTime(One, Time::None)),
    ("nodev", Do::Attribute(One, NODEV, On)),
    ("nodiratime", Do::Attribute(One, NODIRATIME, On)),
    ("noexec", Do::Attribute(One, NOEXEC, On)),
    ("noiversion", Do::Superblock(libc::MS_I_VERSION, Off)),
    ("nolazytime", Do::Superblock(libc::MS_LAZYTIME, Off)),
    ("nomand", Do::Superblock(libc::MS_MANDLOCK, Off)),
    ("norelatime", Do::AccessTime(One, Time::NotRelative)),
    ("nostrictatime", Do::AccessTime(One, Time::NotStrict)),
    ("nosuid", Do::Attribute(One, NOSUID, On)),
    ("nosymfollow", Do::Attribute(One, NOSYMFOLLOW, On)),
    ("private", Do::Propagation(Propagation::Private, One)),
    ("ratime", Do::AccessTime(Tree, Time::NotNone)),
    ("rbind", Do::Bind(Tree)),
    ("rdev", Do::Attribute(Tree, NODEV, Off)),
    ("rdiratime", Do::Attribute(Tree, NODIRATIME, Off)),
    ("relatime", Do::AccessTime(One, Time::Relative)),
    ("remount", Do::Remount),
    ("rexec", Do::Attribute(Tree, NOEXEC, Off)),
    ("ridmap", Do::IdMap(Tree)),
    ("rnoatime", Do::AccessTime(Tree, Time::None)),
    ("rnodev", Do::Attribute(Tree, NODEV, On)),
    ("rnodiratime", Do::Attribute(Tree, NODIRATIME, On)),
    ("rnoexec", Do::Attribute(Tree, NOEXEC, On)),
    ("rnorelatime", Do::AccessTime(Tree, Time::NotRelative)),
    ("rnostrictatime", Do::AccessTime(Tree, Time::NotStrict)),
    ("rnosuid", Do::Attribute(Tree, NOSUID, On)),
    ("rnosymfollow", Do::Attribute(Tree, NOSYMFOLLOW, On)),
    ("ro", Do::Attribute(One, RDONLY, On)),
    ("rprivate", Do::Propagation(Propagation::Private, Tree)),
    ("rrelatime", Do::AccessTime(Tree, Time::Relative)),
    ("rro", Do::Attribute(Tree, RDONLY, On)),
    ("rrw", Do::Attribute(Tree, RDONLY, Off)),
    ("rshared", Do::Propagation(Propagation::Shared, Tree)),
    ("rslave", Do::Propagation(Propagation::Slave, Tree)),
    ("rstrictatime", Do::AccessTime(Tree, Time::Strict)),
    ("rsuid", Do::Attribute(Tree, NOSUID, Off)),
    ("rsymfollow", Do::Attribute(Tree, NOSYMFOLLOW, Off)),
    (
        "runbindable",
        Do::Propagation(Propagation::Unbindable, Tree),
    ),
    ("rw", Do::Attribute(One, RDONLY, Off)),
    ("shared", Do::Propagation(Propagation::Shared, One)),
    ("silent", Do::Superblock(libc::MS_SILENT, On)),
    ("slave", Do::Propagation(Propagation::Slave, One)),
    ("src-nofollow", Do::SourceNoFollow),
    ("strictatime", Do::AccessTime(One, Time::Strict)),
    ("suid", Do::Attribute(One, NOSUID, Off)),
    ("symfollow", Do::Attribute(One, NOSYMFOLLOW, Off)),
    ("sync", Do::Superblock(libc::MS_SYNCHRONOUS, On)),
    ("tmpcopyup", Do::CopyUp),
    ("unbindable", Do::Propagation(Propagation::Unbindable, One)),
];

/// Every word that casulo knows, sorted: `mountOptions` of the features document.
pub(crate) const WORDS: [&str; TABLE.len()] = {
    let mut words = [""; TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        words[at] = TABLE[at].0;
        at += 1;
    }
    words
};

/// What a list of words amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind` or `rbind`; with both, the tree.
    pub bind: Option<Depth>,
    /// Change what is mounted there already.
    pub remount: bool,
    /// For the mount itself.
    pub attributes: Attributes,
    /// For the mount and all below it.
    pub tree_attributes: Attributes,
    /// The `MS_*` flags that belong to the superblock: sync, dirsync, mand, lazytime, iversion,
    /// silent.
    pub superblock: c_ulong,
    /// In the order given.
    pub propagation: Vec<(Propagation, Depth)>,
    /// `idmap` or `ridmap`, and crun's text after `=`.
    pub idmap: Option<(Depth, Option<String>)>,
    /// Fill the new tmpfs with what the image has at the target.
    pub copy_up: bool,
    /// What symlinks mean at the source.
    pub source: Symlink,
    /// What a symlink means as the target's last component.
    pub target: Symlink,
    /// Words for the file system, one parameter each.
    pub data: Vec<String>,
    /// Whether a plain word sets or clears a flag, of the mount or its superblock.
    pub flags: Flags,
}

/// Whether the options say which flags a mount has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Flags {
    /// They do not: a bind mount has its source's.
    #[default]
    OfSource,
    /// They do.
    Given,
}

/// What is done with a symlink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Symlink {
    /// Its target counts.
    #[default]
    Follow,
    /// The link itself counts.
    NoFollow,
    /// The link is made again at the destination instead of a mount.
    Copy,
}

/// Reads a list of words. Unknown ones go to [`Options::data`], split at their commas.
pub(crate) fn parse(words: &[String]) -> Options {
    let mut options = Options::default();
    for word in words {
        match TABLE.binary_search_by(|(name, _)| (*name).cmp(word.as_str())) {
            Ok(at) => options.apply(TABLE[at].1),
            Err(_) => match word.split_once('=') {
                Some(("idmap", text)) => options.idmap = Some((One, Some(text.to_owned()))),
                Some(("ridmap", text)) => options.idmap = Some((Tree, Some(text.to_owned()))),
                _ => options.data.extend(split(word)),
            },
        }
    }
    options
}

impl Options {
    fn apply(&mut self, effect: Effect) {
        if matches!(
            effect,
            Effect::Attribute(One, ..) | Effect::AccessTime(One, _) | Effect::Superblock(..)
        ) {
            self.flags = Flags::Given;
        }
        match effect {
            Effect::Nothing => {}
            Effect::Bind(Tree) => self.bind = Some(Tree),
            Effect::Bind(One) => self.bind = self.bind.or(Some(One)),
            Effect::Remount => self.remount = true,
            Effect::Attribute(depth, bit, switch) => self.at(depth).switch(bit, switch),
            Effect::AccessTime(depth, time) => self.at(depth).access_time(depth, time),
            Effect::Superblock(flag, On) => self.superblock |= flag,
            Effect::Superblock(flag, Off) => self.superblock &= !flag,
            Effect::Propagation(kind, depth) => self.propagation.push((kind, depth)),
            Effect::IdMap(depth) => self.idmap = Some((depth, None)),
            Effect::CopyUp => self.copy_up = true,
            Effect::CopySymlink => self.source = Symlink::Copy,
            Effect::SourceNoFollow => self.source = Symlink::NoFollow,
            Effect::TargetNoFollow => self.target = Symlink::NoFollow,
        }
    }

    /// Whether the mount stays a peer of its source's: `shared` or `rshared`.
    pub(crate) fn is_shared(&self) -> bool {
        let mut kinds = self.propagation.iter().map(|(kind, _)| *kind);
        kinds.any(|kind| kind == Propagation::Shared)
    }

    fn at(&mut self, depth: Depth) -> &mut Attributes {
        match depth {
            One => &mut self.attributes,
            Tree => &mut self.tree_attributes,
        }
    }
}

/// Splits mount data at its commas, but not at `\,` (overlay's escape) nor between double quotes
/// (an SELinux label's categories).
fn split(data: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for letter in data.chars() {
        if letter == ',' && !quoted && !escaped {
            parts.push(String::new());
            continue;
        }
        quoted ^= letter == '"';
        escaped = letter == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests;
