//! startContainer hooks: programs of the image's own, run by init in the container, under its filter
//! ([`crate::process::last_steps`]).

use super::{Kind, Plan};
use crate::binary::landing::{Tells, Told};
use crate::error::{Code, Context, Error, Result};
use crate::sys::child::Ended;
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Whence, lseek, write};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// One of them, ready.
#[derive(Debug)]
pub(crate) struct Inside {
    /// What execve(2) gets.
    pub path: CString,
    /// argv.
    pub args: Vec<CString>,
    /// envp; the process's own where there is none.
    pub env: Option<Vec<CString>>,
    /// Its standard input: the container's state, in a file without a name.
    pub stdin: OwnedFd,
}

impl Plan {
    /// Init, before its filter is loaded: the startContainer hooks, with the `state` that they are told. None of
    /// them shares its place in that with another.
    ///
    /// # Errors
    /// E_HOOK with the errno of memfd_create(2) or of what follows.
    pub(crate) fn inside(&self, state: &[u8]) -> Result<Vec<Inside>> {
        let all = self
            .hooks
            .iter()
            .filter(|it| it.kind == Kind::StartContainer);
        all.map(|hook| {
            Ok(Inside {
                path: hook.path.clone(),
                args: hook.args.clone(),
                env: hook.env.clone(),
                stdin: file_of(state).context(Code::Hook, "keep the state for", hook)?,
            })
        })
        .collect()
    }

    /// Parent: why the startContainer hook that a last process told of has failed; None where it told of
    /// something else, or of a hook that is not there. `words` are the last that it said.
    pub(crate) fn explain(&self, told: Told, words: &str) -> Option<Error> {
        let mut all = self
            .hooks
            .iter()
            .filter(|it| it.kind == Kind::StartContainer);
        let hook = all.nth(told.index)?;
        match told.what {
            Tells::HookClone | Tells::HookExecute => Some(Error::step(
                Code::Hook,
                hook.step(),
                hook.to_string(),
                Errno::from_raw(told.value),
            )),
            Tells::HookEnded => {
                let how = super::execute::how(Ended::of_status(told.value));
                Some(super::execute::failed(hook, &how, words))
            }
            _ => None,
        }
    }

    /// Parent: how long the startContainer hook `index` may run.
    pub(crate) fn timeout_inside(&self, index: usize) -> Option<Duration> {
        let mut all = self
            .hooks
            .iter()
            .filter(|it| it.kind == Kind::StartContainer);
        all.nth(index)?.timeout
    }

    /// Parent: that the startContainer hook `index` has used up its time.
    pub(crate) fn timed_out_inside(&self, index: usize, words: &str) -> Error {
        let mut all = self
            .hooks
            .iter()
            .filter(|it| it.kind == Kind::StartContainer);
        match all.nth(index) {
            Some(hook) => {
                let how = format!(
                    "killed after its timeout of {:?}",
                    hook.timeout.unwrap_or_default()
                );
                super::execute::failed(hook, &how, words)
            }
            None => Error::new(Code::Hook, "a startContainer hook took too long"),
        }
    }
}

fn file_of(state: &[u8]) -> nix::Result<OwnedFd> {
    let file = memfd_create(c"state", MFdFlags::MFD_CLOEXEC)?;
    let mut rest = state;
    while !rest.is_empty() {
        let length = write(&file, rest)?;
        rest = rest.get(length..).unwrap_or_default();
    }
    lseek(&file, 0, Whence::SeekSet)?;
    Ok(file)
}
