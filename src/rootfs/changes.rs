//! What is changed in a mount after it was cloned or made: attributes and propagation, in as few
//! mount_setattr(2) calls as possible. Decided here, purely; [`apply`] makes them.

use super::mount::{Change, Mount};
use super::options::{Attributes, Depth, Options, Propagation};
use crate::error::{Code, Error, Result};
use crate::sys::mount::{MountAttr, mount_setattr};
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

/// The changes of a bind mount or of what is there already, in as few calls as possible.
///
/// A clone is a peer of the host's mount where that is shared. Unless the config says `shared` for this
/// mount, it stops being one before it is attached and takes `base`: nothing that is mounted in the container
/// may appear on the host. What is there already has no `base`.
pub(super) fn changes(options: &Options, depth: Depth, base: Option<Propagation>) -> Vec<Change> {
    let own = &options.propagation;
    let says_all = own
        .first()
        .is_some_and(|(_, own)| *own == Depth::Tree || depth == Depth::One);
    let base = base
        .filter(|_| !says_all && !options.is_shared())
        .map_or(0, Propagation::flag);

    // Most mounts need one.
    let mut changes: Vec<Change> = Vec::with_capacity(1);
    let first = [
        change(Depth::One, options.attributes, 0),
        change(Depth::Tree, options.tree_attributes, base),
    ];
    for mut next in first.into_iter().chain(own_propagation(options)) {
        if next.attr == MountAttr::default() {
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
        if let Err(errno) = mount_setattr(tree, change.flags(), &change.attr) {
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
}
