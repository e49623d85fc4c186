//! What is changed in a mount after it was cloned or made: attributes and propagation, in as few
//! mount_setattr(2) calls as possible. Decided here, pure; made by `attach` in the child.

use super::options::{Attributes, Depth, Options, Propagation};
use crate::sys::mount::MountAttr;

/// One mount_setattr(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// For the mount, or for all mounts of the tree.
    pub depth: Depth,
    /// What.
    pub attr: MountAttr,
}

impl Change {
    /// The call's flags.
    pub fn flags(&self) -> i32 {
        match self.depth {
            Depth::One => 0,
            Depth::Tree => libc::AT_RECURSIVE,
        }
    }
}

/// The changes of a bind mount or of what is there already, in as few calls as possible.
///
/// A tree that the parent clones is a peer of the host's mount where that is shared. Unless the
/// config says `shared` for this mount, it stops being one before it is attached and takes `base`:
/// nothing that is mounted in the container may appear on the host. No `base`: it has that already.
pub(super) fn changes(options: &Options, depth: Depth, base: Option<Propagation>) -> Vec<Change> {
    let own = &options.propagation;
    let says_all = own
        .first()
        .is_some_and(|(_, own)| *own == Depth::Tree || depth == Depth::One);
    let base = base
        .filter(|_| !says_all && !options.is_shared())
        .map_or(0, Propagation::flag);

    let mut changes: Vec<Change> = Vec::new();
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
