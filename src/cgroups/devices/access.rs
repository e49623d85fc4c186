//! `linux.resources.devices[].access`: which kinds of access a rule is about. Pure.

use super::Kind;
use crate::error::Problems;

/// Kinds of access as the kernel counts them: `BPF_DEVCG_ACC_*` of linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access(pub(super) u8);

impl Access {
    const NONE: Access = Access(0);
    pub(super) const MKNOD: Access = Access(1);
    pub(super) const READ: Access = Access(2);
    pub(super) const WRITE: Access = Access(4);
    pub(super) const ALL: Access = Access(7);

    /// What the letters `r`, `w` and `m` of a text stand for. Others say nothing: so runc and crun read them.
    fn parse(text: &str) -> Access {
        text.chars().fold(Access::NONE, |access, letter| {
            let one = match letter {
                'm' => Access::MKNOD,
                'r' => Access::READ,
                'w' => Access::WRITE,
                _ => Access::NONE,
            };
            Access(access.0 | one.0)
        })
    }

    /// True if it is at least what `other` is.
    pub(super) fn includes(self, other: Access) -> bool {
        self.0 & other.0 == other.0
    }
}

/// The accesses of a rule for devices of this `kind`, from its letters. None for a rule that says nothing, and for one
/// that is wrong.
pub(super) fn read(
    letters: &str,
    kind: Option<Kind>,
    path: &str,
    problems: &mut Problems,
) -> Option<Access> {
    let access = Access::parse(letters);
    // Without a letter that is known, no access to the device is meant. For all devices the peers disagree: to runc
    // such a rule is about every access, to crun about none.
    if letters.is_empty() || (access == Access::NONE && kind == Some(Kind::Any)) {
        problems.add(path, "has none of r, w and m");
    } else if letters.contains(|letter| !matches!(letter, 'r' | 'w' | 'm')) {
        log::warn!("{path}: {letters:?}: only r, w and m are kinds of access, the rest is ignored");
    }
    (access != Access::NONE).then_some(access)
}
