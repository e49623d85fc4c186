//! The last call of a child that has failed, in the page that the child shares with its parent: the child cannot
//! make a call to report it any more. The rest of the page is written by the kernel and the landing area,
//! [`crate::binary::shared`].

use crate::binary::shared::Shared;
use nix::errno::Errno;

/// A call that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastCall {
    /// The filter was not loaded.
    Filter,
    /// The process is still dumpable.
    NotDumpable,
    /// The capabilities were not set.
    Capabilities,
    /// No process was born.
    Birth,
}

impl LastCall {
    const ALL: [LastCall; 4] = [
        LastCall::Filter,
        LastCall::NotDumpable,
        LastCall::Capabilities,
        LastCall::Birth,
    ];

    /// The call's number in the page, where 0 stands for none.
    fn number(self) -> i32 {
        match self {
            LastCall::Filter => 1,
            LastCall::NotDumpable => 2,
            LastCall::Capabilities => 3,
            LastCall::Birth => 4,
        }
    }
}

impl Shared {
    /// The child: reports that `call` has failed.
    pub(crate) fn tell_failure(&self, call: LastCall, errno: Errno) {
        self.fail(call.number(), errno);
    }

    /// Parent: returns the call that has failed and its errno; `None` if none has.
    #[must_use]
    pub(crate) fn told_failure(&self) -> Option<(LastCall, Errno)> {
        let (number, errno) = self.failure()?;
        let call = LastCall::ALL.into_iter().find(|it| it.number() == number);
        Some((call.unwrap_or(LastCall::Birth), errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_last_is_told() {
        let page = Shared::new().expect("a page");
        assert_eq!(page.told_failure(), None);
        for call in LastCall::ALL {
            page.tell_failure(call, Errno::EACCES);
            assert_eq!(page.told_failure(), Some((call, Errno::EACCES)));
        }
    }
}
