//! What a filter is asked before anything is made: whether it lets pass the few calls that a process still makes
//! under it, between its birth and execve (docs/seccomp.md). Parent.

use super::arch::ABIS;
use super::load::Bpf;
use super::machine::{Data, run};
use crate::error::{Code, Error, Result};

/// A call that is made under the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Its name, for the error.
    pub name: &'static str,
    /// Its number on this machine.
    pub number: libc::c_long,
    /// Those of its arguments that are known.
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

    /// The same call with these arguments first.
    #[must_use]
    pub(crate) const fn with(self, arguments: [u64; 3]) -> Call {
        Call { arguments, ..self }
    }
}

/// `SECCOMP_RET_ACTION_FULL`, and the actions that let a call pass, or may: ALLOW, LOG, and USER_NOTIF, whose
/// listener is with its agent by then.
const ACTION: u32 = 0xffff_0000;
const PASSES: [u32; 3] = [0x7fff_0000, 0x7ffc_0000, 0x7fc0_0000];

impl Bpf {
    /// Whether the filter lets this call pass, or leaves it to its agent.
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

    /// That it lets all of these pass.
    ///
    /// # Errors
    /// E_SECCOMP naming the first that it does not.
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
