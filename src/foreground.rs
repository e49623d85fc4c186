//! The parent of `run` and `exec` in the foreground: passes signals on, relays the terminal, reaps children, and
//! returns the exit code.
//!
//! All of this is one poll loop over a signalfd, the process's pidfd and the terminal. No signal handler ever runs.

mod relay;
mod stdio;

pub(crate) use relay::{Relay, give_own_size};

use crate::error::{Code, Context, Result};
use crate::notify::Proxy;
use crate::sys::child::{self, Ended, WaitMode, ignores};
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::signal::{self, ENDING};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use std::os::fd::{AsFd, BorrowedFd};

/// Signals that are not passed on: they tell casulo of its own children, pipes and terminal.
const OWN: &[i32] = &[
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
];

/// A signalfd for all signals, which are blocked.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Parent, before the process is cloned, so that no signal is lost: blocks all signals for the rest of casulo's
    /// life. Signals that arrive from now on stay pending until [`wait`] passes them on. They stay blocked after that
    /// too: removing the container must not be interrupted half-way.
    ///
    /// # Errors
    /// E_SIGNAL with the errno.
    pub(crate) fn block() -> Result<Signals> {
        // If SIGCHLD is ignored, the kernel reaps the children, and their exit codes are lost.
        signal::set_default(libc::SIGCHLD).context(Code::Signal, "reset", "SIGCHLD")?;
        let all = SigSet::all();
        all.thread_block()
            .context(Code::Signal, "block", "all signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&all, flags).context(Code::Signal, "make", "a signalfd")?;
        Ok(Signals { fd })
    }
}

/// The signals that ask casulo to end, for use while its process does not run yet. Other signals stay pending for
/// [`wait`].
#[derive(Debug)]
pub(crate) struct EndSignals(SignalFd);

impl EndSignals {
    /// Makes a signalfd for the signals [`ENDING`], except those that casulo was started to ignore.
    ///
    /// # Errors
    /// E_SIGNAL with the errno.
    pub(crate) fn of(_signals: &Signals) -> Result<EndSignals> {
        let mut set = SigSet::empty();
        for number in ENDING.into_iter().filter(|number| !ignores(*number)) {
            if let Ok(signal) = Signal::try_from(number) {
                set.add(signal);
            }
        }
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).context(Code::Signal, "make", "a signalfd")?;
        Ok(EndSignals(fd))
    }

    /// Returns the number of one that has arrived. The signal stays pending: the undo that follows may have to wait,
    /// too.
    pub(crate) fn arrived(&self) -> Option<i32> {
        signal::ending()
    }
}

impl AsFd for EndSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Parent: waits until `process` has ended and returns its exit code, or 128 + the signal that killed it. `pidfd` is
/// that of `process`. `relay` moves all bytes of its terminal, if it has one. `notify` is served until the process
/// ends. Every other child that ends meanwhile is reaped too: casulo may be a subreaper.
///
/// # Errors
/// E_SIGNAL with the errno; E_PROCESS with ECHILD if `process` is not our child.
pub(crate) fn wait(
    signals: &Signals,
    process: Pid,
    pidfd: BorrowedFd<'_>,
    mut relay: Option<Relay<'_>>,
    mut notify: Option<&mut Proxy>,
) -> Result<i32> {
    let mut ended = None;
    loop {
        if let Some(ended) = ended.filter(|_| relay.as_ref().is_none_or(Relay::is_drained)) {
            return Ok(exit_code(ended));
        }
        let process_fd = Some(pidfd).filter(|_| ended.is_none());
        let mut look = wait_for_something(signals, process_fd, relay.as_ref(), notify.as_deref())?;
        if let Some(proxy) = &mut notify {
            proxy.serve();
        }
        if let Some(relay) = &mut relay {
            relay.serve();
        }
        // The process is gone, and our output takes no more bytes. The signal stays pending: the clean-up that
        // follows may have to wait, too.
        if let Some(ended) = ended.filter(|_| signal::ending().is_some()) {
            return Ok(exit_code(ended));
        }
        while let Some(number) = next(signals)? {
            handle(number, pidfd, relay.as_mut());
            look |= number == libc::SIGCHLD;
        }
        if look && ended.is_none() {
            ended = reap(process)?;
            if let Some(relay) = relay.as_mut().filter(|_| ended.is_some()) {
                relay.finish();
            }
            // The process may have sent its last messages after the call above.
            if let Some(proxy) = &mut notify {
                proxy.serve();
            }
        }
    }
}

/// Waits for a signal, for the end of the process, or until the relay can move bytes. True if the
/// process has ended.
fn wait_for_something(
    signals: &Signals,
    pidfd: Option<BorrowedFd<'_>>,
    relay: Option<&Relay<'_>>,
    notify: Option<&Proxy>,
) -> Result<bool> {
    let mut fds = vec![PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN)];
    fds.extend(pidfd.map(|pidfd| PollFd::new(pidfd, PollFlags::POLLIN)));
    let proxy = notify.map_or(PollTimeout::NONE, |proxy| proxy.watch(&mut fds));
    let relay = relay.map_or(PollTimeout::NONE, |relay| relay.watch(&mut fds));
    // PollTimeout::NONE waits for ever; it is no number of milliseconds.
    let timeout = [proxy, relay]
        .into_iter()
        .filter(PollTimeout::is_some)
        .min();
    match poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno).context(Code::Signal, "wait for", "the process"),
    }
    let second = fds.get(1).and_then(PollFd::any);
    Ok(pidfd.is_some() && second == Some(true))
}

/// Returns the number of the next signal that has arrived, if any.
fn next(signals: &Signals) -> Result<Option<i32>> {
    loop {
        match signals.fd.read_signal() {
            Err(Errno::EINTR) => {}
            result => {
                let info = result.context(Code::Signal, "read", "a signal")?;
                return Ok(info.and_then(|info| i32::try_from(info.ssi_signo).ok()));
            }
        }
    }
}

fn handle(number: i32, pidfd: BorrowedFd<'_>, relay: Option<&mut Relay<'_>>) {
    match relay {
        Some(relay) if number == libc::SIGWINCH => return relay.copy_size(),
        // The shell that stopped us may have used the terminal since.
        Some(relay) if number == libc::SIGCONT => relay.resume(),
        _ => {}
    }
    // A signal that casulo was started to ignore (SIGHUP, by nohup) is not passed on either.
    if OWN.contains(&number) || ignores(number) {
        return;
    }
    match pidfd_send_signal(pidfd, number) {
        // ESRCH: the process has just ended.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => log::warn!("signal {number} is not passed on: {}", errno.desc()),
    }
}

/// Reaps every child that has ended, and returns how `process` ended, if it has. Each call asks for any child:
/// between a call for `process` and one for the others, `process` could end and be taken for another.
fn reap(process: Pid) -> Result<Option<Ended>> {
    let mut found = None;
    loop {
        match child::wait(None, WaitMode::NoHang) {
            Ok(Some((pid, ended))) if pid == process => found = Some(ended),
            Ok(Some(_)) => {}
            Err(errno) if found.is_none() => {
                let object = format_args!("process {process}");
                return Err(errno).context(Code::Process, "wait for", object);
            }
            Ok(None) | Err(_) => return Ok(found),
        }
    }
}

/// Returns the exit code that a shell would report.
fn exit_code(ended: Ended) -> i32 {
    match ended {
        Ended::Exited(code) => code,
        Ended::Killed(number) => 128 + number,
    }
}

#[cfg(test)]
mod tests;
