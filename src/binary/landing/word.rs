//! What a last process ([`super::last`]) says: words of fixed size. The parent reads them and believes no more than the
//! range of each.

/// What a last process tells, and a failure's place. The reader believes no more than the range of each.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    /// It is what it will be, and waits to be told to go on.
    Ready = 1,
    /// It calls execve now. (Said so that one whose reader is gone ends here.)
    Executes = 2,
    /// The startContainer hook of this index begins.
    HookBegins = 3,
    /// The filter could not be loaded.
    Filter = 16,
    /// The final capabilities could not be set.
    Capabilities = 17,
    /// The process could not become what nobody may trace.
    NotDumpable = 18,
    /// No process for the hook of this index.
    HookClone = 19,
    /// The hook of this index could not be executed.
    HookExecute = 20,
    /// The hook of this index ended with this wait status, wait(2).
    HookEnded = 21,
    /// RLIMIT_NPROC.
    Processes = 22,
    /// No session of its own.
    Session = 23,
    /// No controlling terminal.
    Terminal = 24,
    /// The working directory is deleted, or outside the root.
    WorkingDirectory = 25,
    /// execve(2).
    Execute = 26,
}

impl Tells {
    const ALL: [Tells; 14] = [
        Tells::Ready,
        Tells::Executes,
        Tells::HookBegins,
        Tells::Filter,
        Tells::Capabilities,
        Tells::NotDumpable,
        Tells::HookClone,
        Tells::HookExecute,
        Tells::HookEnded,
        Tells::Processes,
        Tells::Session,
        Tells::Terminal,
        Tells::WorkingDirectory,
        Tells::Execute,
    ];
}

/// The only message of a last process, 12 bytes in this machine's byte order: below PIPE_BUF, so never in parts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// A number of [`Tells`].
    pub(super) what: u32,
    /// An errno, or a wait status.
    pub(super) value: u32,
    /// Which hook.
    pub(super) index: u32,
}

/// A [`Word`] that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// What it is about.
    pub what: Tells,
    /// An errno from 1 to 4095, 0 for none; for [`Tells::HookEnded`] the wait status, below 65536.
    pub value: i32,
    /// Which hook; the reader looks whether there is such a one.
    pub index: usize,
}

impl Word {
    /// Bytes of one.
    pub(crate) const SIZE: usize = size_of::<Word>();

    /// Reads one; None for anything that no last process says.
    #[must_use]
    pub(crate) fn parse(bytes: [u8; Word::SIZE]) -> Option<Told> {
        let [a, b, c] = *bytes.as_chunks::<4>().0 else {
            return None;
        };
        let (what, value, index) = (
            u32::from_ne_bytes(a),
            u32::from_ne_bytes(b),
            u32::from_ne_bytes(c),
        );
        let what = Tells::ALL.into_iter().find(|it| *it as u32 == what)?;
        let most = match what {
            Tells::HookEnded => 0xffff,
            _ => 4095,
        };
        let value = i32::try_from(value).ok().filter(|it| *it <= most)?;
        let index = usize::try_from(index).ok()?;
        Some(Told { what, value, index })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(what: u32, value: u32, index: u32) -> [u8; Word::SIZE] {
        let mut bytes = [0; Word::SIZE];
        for (to, from) in bytes.chunks_exact_mut(4).zip([what, value, index]) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn what_is_out_of_range_is_not_believed() {
        let told = Word::parse(bytes(26, 2, 0)).expect("a word");
        assert_eq!((told.what, told.value, told.index), (Tells::Execute, 2, 0));
        for it in Tells::ALL {
            assert!(Word::parse(bytes(it as u32, 1, 0)).is_some(), "{it:?}");
        }
        for (what, value) in [
            (0, 0),
            (4, 0),
            (15, 1),
            (27, 1),
            (u32::MAX, 1),
            (26, 4096),
            (21, 0x1_0000),
        ] {
            assert_eq!(Word::parse(bytes(what, value, 0)), None, "{what} {value}");
        }
    }
}
