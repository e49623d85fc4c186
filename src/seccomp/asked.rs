//! Asks a filter whether it lets pass the few calls that a process still makes under it, between its birth and
//! execve (docs/seccomp.md). The parent asks before it makes anything.

use super::arch::ABIS;
use super::load::Bpf;
use super::machine::{Data, run};
use crate::error::{Code, Error, Result};

/// A call that is made under the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The call's name, for the error.
    pub name: &'static str,
    /// The call's number in the native ABI.
    pub number: libc::c_long,
    /// The call's first three arguments; 0 for those that are not known or do not matter.
    pub arguments: [u64; 3],
}

impl Call {
    /// A call whose arguments do not matter.
    #[must_use]
    pub(crate) const fn new(name: &'static str, number: libc::c_long) -> Call {
        Call {
            name,
            number,
            arguments: [0; 3],
        }
    }

    /// Returns the call with `arguments` as its first three arguments.
    #[must_use]
    pub(crate) const fn with(self, arguments: [u64; 3]) -> Call {
        Call { arguments, ..self }
    }
}

/// The mask `SECCOMP_RET_ACTION_FULL`, and the actions that let a call pass, or may: ALLOW, LOG and USER_NOTIF.
/// The listener of the last is with its agent by then.
const ACTION: u32 = 0xffff_0000;
const PASSES: [u32; 3] = [0x7fff_0000, 0x7ffc_0000, 0x7fc0_0000];

impl Bpf {
    /// True if the filter lets this call pass, or leaves the decision to its agent.
    pub(crate) fn lets_pass(&self, call: Call) -> bool {
        let Some(native) = ABIS.first() else {
            return false;
        };
        let [a, b, c] = call.arguments;
        let data = Data {
            nr: u32::try_from(call.number).expect("numbers of calls are small"),
            arch: native.audit,
            args: [a, b, c, 0, 0, 0],
        };
        run(self.program(), &data).is_some_and(|verdict| PASSES.contains(&(verdict & ACTION)))
    }

    /// Checks that the filter lets all of `calls` pass.
    ///
    /// # Errors
    /// E_SECCOMP naming the first call that the filter does not let pass.
    pub(crate) fn must_let_pass(&self, calls: impl IntoIterator<Item = Call>) -> Result<()> {
        match calls.into_iter().find(|call| !self.lets_pass(*call)) {
            None => Ok(()),
            Some(call) => Err(Error::new(
                Code::Seccomp,
                format!(
                    "linux.seccomp: the profile forbids {}, which the process needs to begin",
                    call.name
                ),
            )
            .hint("docs/seccomp.md lists the calls that every profile must allow")),
        }
    }
}
