//! The kinds of namespaces(7), and sets of them.

use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};

/// The eight kinds of namespaces of namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// User and group ids, capabilities.
    User,
    /// The tree of mounts.
    Mount,
    /// Process ids.
    Pid,
    /// Network devices, addresses, ports, abstract sockets.
    Network,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name and domain name.
    Uts,
    /// The root of the visible cgroup tree.
    Cgroup,
    /// Offsets of the monotonic and the boot-time clock.
    Time,
}

impl Kind {
    /// All kinds that casulo makes and joins, in the order of the enum.
    pub(crate) const ALL: [Kind; 8] = [
        Kind::User,
        Kind::Mount,
        Kind::Pid,
        Kind::Network,
        Kind::Ipc,
        Kind::Uts,
        Kind::Cgroup,
        Kind::Time,
    ];

    /// The kind's name in config.json and in the features document: `mount`, `network`.
    pub(crate) fn spec_name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Mount => "mount",
            Kind::Pid => "pid",
            Kind::Network => "network",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Cgroup => "cgroup",
            Kind::Time => "time",
        }
    }

    /// The kind's name below `/proc/PID/ns`: `mnt`, `net`. `/proc/sys/user/max_*_namespaces` has it
    /// too.
    pub(crate) fn proc_name(self) -> &'static str {
        match self {
            Kind::Mount => "mnt",
            Kind::Network => "net",
            kind => kind.spec_name(),
        }
    }

    /// The `CLONE_NEW*` flag, as NS_GET_NSTYPE reports it.
    pub(crate) fn flag(self) -> u64 {
        let flag = match self {
            Kind::User => libc::CLONE_NEWUSER,
            Kind::Mount => libc::CLONE_NEWNS,
            Kind::Pid => libc::CLONE_NEWPID,
            Kind::Network => libc::CLONE_NEWNET,
            Kind::Ipc => libc::CLONE_NEWIPC,
            Kind::Uts => libc::CLONE_NEWUTS,
            Kind::Cgroup => libc::CLONE_NEWCGROUP,
            Kind::Time => libc::CLONE_NEWTIME,
        };
        u64::from(flag.cast_unsigned())
    }

    /// The flag as setns(2) and unshare(2) take it.
    pub(crate) fn clone_flags(self) -> CloneFlags {
        Kinds::from_iter([self]).clone_flags()
    }

    /// Returns the kind of a `CLONE_NEW*` flag; None for any other bits.
    pub(crate) fn of_flag(flag: u64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.flag() == flag)
    }
}

/// A set of kinds of namespaces, kept as the kernel writes it: a word of their `CLONE_NEW*` flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Kinds(u64);

impl Kinds {
    /// No kind.
    pub(crate) const NONE: Kinds = Kinds(0);

    /// True if `kind` is in the set.
    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & kind.flag() != 0
    }

    /// True if no kind is in the set.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, in the order of [`Kind::ALL`].
    pub(crate) fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.has(*kind))
    }

    /// Returns the set with `kind` added.
    pub(crate) fn with(self, kind: Kind) -> Kinds {
        Kinds(self.0 | kind.flag())
    }

    /// Returns the kinds that are in both sets.
    pub(crate) fn and(self, others: Kinds) -> Kinds {
        Kinds(self.0 & others.0)
    }

    /// Returns the kinds that are not in `others`.
    pub(crate) fn without(self, others: Kinds) -> Kinds {
        Kinds(self.0 & !others.0)
    }

    /// False for a word that was read and has bits which stand for no kind.
    pub(crate) fn is_known(self) -> bool {
        self.iter().collect::<Kinds>() == self
    }

    /// The flags as clone3(2) takes them.
    pub(super) fn flags(self) -> u64 {
        self.0
    }

    /// The flags as setns(2) and unshare(2) take them. nix has no name for the time namespace.
    pub(crate) fn clone_flags(self) -> CloneFlags {
        CloneFlags::from_bits_retain(i32::try_from(self.0).expect("CLONE_NEW* has 31 bits"))
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Kinds {
        let kinds = kinds.into_iter();
        Kinds(kinds.fold(0, |flags, kind| flags | kind.flag()))
    }
}
