//! The reports of a last process ([`super::last`]): words of fixed size. The parent checks that each number is within
//! its range, and believes no more than that.

/// What a last process reports: a state, or the step that failed.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tells {
    /// The process is complete, and waits to be told to go on.
    Ready = 1,
    /// The process calls execve now. It reports this so that it ends here if its reader is gone.
    Executes = 2,
    /// The startContainer hook of this index begins.
    HookBegins = 3,
    /// The filter could not be loaded.
    Filter = 16,
    /// The final capabilities could not be set.
    Capabilities = 17,
    /// prctl(PR_SET_DUMPABLE, 0) failed.
    NotDumpable = 18,
    /// No process could be made for the hook of this index.
    HookClone = 19,
    /// The hook of this index could not be executed.
    HookExecute = 20,
    /// The hook of this index ended with this wait status, wait(2).
    HookEnded = 21,
    /// RLIMIT_NPROC could not be set.
    Processes = 22,
    /// A session could not be made.
    Session = 23,
    /// The controlling terminal could not be set.
    Terminal = 24,
    /// The working directory is deleted, or outside the root.
    WorkingDirectory = 25,
    /// execve(2) failed.
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

/// The only kind of message of a last process, 12 bytes in this machine's byte order. It is shorter than PIPE_BUF, so
/// it never arrives in parts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// A number of [`Tells`].
    pub(super) what: u32,
    /// An errno, or a wait status.
    pub(super) value: u32,
    /// The index of the hook.
    pub(super) index: u32,
}

/// A [`Word`] that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The state or the failed step.
    pub what: Tells,
    /// An errno from 1 to 4095, 0 for none; for [`Tells::HookEnded`] the wait status, below 65536.
    pub value: i32,
    /// The index of the hook. It is not checked: the reader must see whether there is such a hook.
    pub index: usize,
}

impl Word {
    /// The size of a word in bytes.
    pub(crate) const SIZE: usize = size_of::<Word>();

    /// Checks and reads a word; None for bytes that no last process writes.
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
