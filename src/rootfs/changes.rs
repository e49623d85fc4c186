//! What is changed in a mount after it was cloned or made: attributes and propagation, in as few
//! mount_setattr(2) calls as possible. Decided here, purely; [`apply`] makes them.

use super::mount::{Change, Mount};
use super::options::{Attributes, Depth, Flags, Options, Propagation};
use crate::error::{Code, Error, Result};
use crate::sys::mount::{MountAttr, mount_setattr};
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

/// What becomes of the source's flags that the options do not name, though they name some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// They are cleared, unless the kernel locks one: as runc does by a remount, so that `rw` or `nosuid` alone
    /// takes `noexec` away.
    Cleared,
    /// Those stay that a user namespace would lock: runc clones the source in the container's.
    Locked,
}

/// The flags that mount_namespaces(7) says are locked, apart from the access time.
const LOCKABLE: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC;
/// The access time, which is kept as a whole where no word chooses one (mount(2), `MS_REMOUNT`).
const TIME: u64 = libc::MOUNT_ATTR__ATIME | libc::MOUNT_ATTR_NODIRATIME;

/// The changes of a bind mount, in as few calls as possible.
///
/// A clone is a peer of the host's mount where that is shared. Unless the config says `shared` for this
/// mount, it stops being one before it is attached and takes `base`: nothing that is mounted in the container
/// may appear on the host.
pub(super) fn of_bind(
    options: &Options,
    depth: Depth,
    base: Propagation,
    unnamed: Unnamed,
) -> Vec<Change> {
    let own = &options.propagation;
    let says_all = own
        .first()
        .is_some_and(|(_, own)| *own == Depth::Tree || depth == Depth::One);
    let base = if says_all || options.is_shared() {
        0
    } else {
        base.flag()
    };
    let top = match options.flags {
        Flags::OfSource => change(Depth::One, options.attributes, 0),
        Flags::Given => given(options.attributes, unnamed),
    };
    joined(options, depth, top, base)
}

/// The changes of what is there already.
pub(super) fn of_remount(options: &Options) -> Vec<Change> {
    let top = change(Depth::One, options.attributes, 0);
    joined(options, Depth::Tree, top, 0)
}

/// The flags that are given, in place of the source's.
fn given(mut attributes: Attributes, unnamed: Unnamed) -> Change {
    let mut others = LOCKABLE;
    // What chooses an access time chooses both.
    if attributes.clear & libc::MOUNT_ATTR__ATIME != 0 || attributes.set & TIME != 0 {
        others |= TIME;
    } else {
        attributes.clear &= !TIME;
    }
    attributes.clear |= libc::MOUNT_ATTR_NOSYMFOLLOW & !attributes.set;
    Change {
        unless_locked: match unnamed {
            Unnamed::Cleared => others & !attributes.set,
            Unnamed::Locked => 0,
        },
        ..change(Depth::One, attributes, 0)
    }
}

/// The change of the top, those of all, whose propagation is `base`, and what the options say of propagation.
fn joined(options: &Options, depth: Depth, top: Change, base: u64) -> Vec<Change> {
    // Most mounts need one.
    let mut changes: Vec<Change> = Vec::with_capacity(1);
    let first = [top, change(Depth::Tree, options.tree_attributes, base)];
    for mut next in first.into_iter().chain(own_propagation(options)) {
        if next.whole() == MountAttr::default() {
            continue;
        }
        // A tree of one mount: recursive and plain are the same.
        if depth == Depth::One {
            next.depth = Depth::One;
        }
        match changes.last_mut() {
            Some(last) if last.depth == next.depth && can_join(last, &next) => join(last, &next),
            _ => changes.push(next),
        }
    }
    changes
}

/// Makes `changes` of `mount` in `tree`, which is detached or was just attached. Either process.
pub(super) fn apply(tree: BorrowedFd<'_>, changes: &[Change], mount: &Mount) -> Result<()> {
    for change in changes {
        let changed = match mount_setattr(tree, change.flags(), &change.whole()) {
            Err(Errno::EPERM) if change.unless_locked != 0 => {
                mount_setattr(tree, change.flags(), &change.attr)
            }
            result => result,
        };
        if let Err(errno) = changed {
            let error = Error::step(Code::Mount, "set attributes of", mount.to_string(), errno);
            return Err(match errno {
                Errno::EPERM if change.attr.attr_clr != 0 => {
                    error.hint("the host locks a flag of this mount that the options take away")
                }
                _ => error,
            });
        }
    }
    Ok(())
}

pub(super) fn own_propagation(options: &Options) -> impl Iterator<Item = Change> + '_ {
    options
        .propagation
        .iter()
        .map(|(kind, depth)| change(*depth, Attributes::default(), kind.flag()))
}

fn change(depth: Depth, attributes: Attributes, propagation: u64) -> Change {
    Change {
        depth,
        attr: MountAttr {
            attr_set: attributes.set,
            attr_clr: attributes.clear,
            propagation,
            userns_fd: 0,
        },
        unless_locked: 0,
    }
}

/// One call can carry one propagation.
fn can_join(first: &Change, second: &Change) -> bool {
    first.attr.propagation == 0 || second.attr.propagation == 0
}

fn join(first: &mut Change, second: &Change) {
    let of = |change: &Change| Attributes {
        set: change.attr.attr_set,
        clear: change.attr.attr_clr,
    };
    let joined = of(first).then(of(second));
    first.attr.attr_set = joined.set;
    first.attr.attr_clr = joined.clear;
    first.attr.propagation |= second.attr.propagation;
    first.unless_locked &= !joined.set;
}
