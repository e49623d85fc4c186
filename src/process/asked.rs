//! What the parent asks before, and understands after, of a process's last steps ([`super::last_steps`]). Parent.

use super::Plan;
use super::limits::Siblings;
use crate::binary::landing::{SIBLING, Tells, Told, WorkingDirectory};
use crate::defence::{Defence, without};
use crate::error::{Code, Error, Result};
use crate::seccomp::{self, Bpf, Call};
use nix::errno::Errno;

impl Plan {
    /// Parent, before anything is made: asks the filter whether it lets pass what a process still calls under it.
    ///
    /// # Errors
    /// E_SECCOMP naming the call that the profile forbids.
    pub(crate) fn ask_filter(&self, bpf: &Bpf, what: Asked) -> Result<()> {
        let tiocsctty = u64::try_from(libc::TIOCSCTTY).expect("a small number");
        let nproc = u64::try_from(libc::RLIMIT_NPROC).expect("a small number");
        let mut calls = vec![
            Call::new("read", libc::SYS_read),
            Call::new("write", libc::SYS_write),
            Call::new("execve", libc::SYS_execve),
            Call::new("exit_group", libc::SYS_exit_group),
        ];
        if what.hooks == Hooks::Some {
            let flags = u64::try_from(libc::SIGCHLD).expect("a small number");
            calls.extend([
                Call::new("clone", libc::SYS_clone).with([flags, 0, 0]),
                Call::new("wait4", libc::SYS_wait4),
                Call::new("dup", libc::SYS_dup),
                Call::new("close", libc::SYS_close),
            ]);
        }
        if what.birth == Birth::Sibling {
            let clone = Call::new("clone", libc::SYS_clone);
            calls.push(clone.with([SIBLING, 0, 0]));
            calls.push(Call::new("setsid", libc::SYS_setsid));
            if self.terminal.is_some() {
                let ioctl = Call::new("ioctl(TIOCSCTTY)", libc::SYS_ioctl);
                calls.push(ioctl.with([0, tiocsctty, 0]));
            }
            if self.process_limit().is_some() {
                let prlimit = Call::new("prlimit64(RLIMIT_NPROC)", libc::SYS_prlimit64);
                calls.push(prlimit.with([0, nproc, 0]));
            }
        }
        if bpf.has_listener() {
            calls.push(Call::new("close", libc::SYS_close));
            calls.push(Call::new("prctl", libc::SYS_prctl).with([4, 0, 0]));
        }
        if !self.no_new_privs && self.capabilities.after_filter().is_some() {
            calls.push(Call::new("capset", libc::SYS_capset));
        }
        bpf.must_let_pass(calls)
    }

    /// Parent: what a last process told of its failure, as an error; None for what is no failure.
    pub(crate) fn explain(&self, told: Told) -> Option<Error> {
        let errno = Errno::from_raw(told.value);
        let step = |step: &str, object: &str| Some(Error::step(Code::Process, step, object, errno));
        match told.what {
            Tells::Ready | Tells::Executes | Tells::HookBegins => None,
            Tells::HookClone | Tells::HookExecute | Tells::HookEnded => None,
            Tells::Filter => Some(seccomp::refused(errno)),
            Tells::Capabilities => step("set the capabilities", ""),
            Tells::NotDumpable => step("prctl", "PR_SET_DUMPABLE"),
            Tells::Processes => step("set", "RLIMIT_NPROC"),
            Tells::Session => step("make a session for the process", ""),
            Tells::Terminal => Some(Error::step(
                Code::Terminal,
                "take over",
                "the terminal",
                errno,
            )),
            Tells::WorkingDirectory => Some(self.command.left_the_root(errno)),
            Tells::Execute => Some(self.command.not_executed(errno)),
        }
    }
}

/// Parent: whether a process that waits to be started looks at its working directory again, after the wait. It does
/// not where its filter forbids getcwd(2), which is the only call that would tell.
pub(crate) fn after_the_wait(bpf: Option<&Bpf>) -> WorkingDirectory {
    let getcwd = Call::new("getcwd", libc::SYS_getcwd);
    if without(Defence::CwdInside) || bpf.is_some_and(|bpf| !bpf.lets_pass(getcwd)) {
        return WorkingDirectory::Verified;
    }
    WorkingDirectory::VerifyAgain
}

/// What a filter is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Which way onto the landing area.
    pub birth: Birth,
    /// Whether hooks run there.
    pub hooks: Hooks,
}

/// How a process comes to its last steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Birth {
    /// Init of a new pid namespace lands itself.
    Itself,
    /// An entrant makes it as its sibling.
    Sibling,
}

impl Birth {
    /// Which processes count beside the process while its limits are set.
    pub(crate) fn siblings(self) -> Siblings {
        match self {
            Birth::Itself => Siblings::None,
            Birth::Sibling => Siblings::Maker,
        }
    }
}

/// Whether there are startContainer hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hooks {
    /// No.
    None,
    /// Yes.
    Some,
}
