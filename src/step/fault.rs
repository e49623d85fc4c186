//! Steps that are made to fail, or at which the process is killed (`CASULO_FAULT`). Any casulo process.
//!
//! The environment of a test build names a step. `CASULO_FAULT=mounts:ENOMEM` makes it fail with this
//! errno, `mounts:kill` kills the process that is at it, and `mounts:stop` stops the process until
//! SIGCONT. A third part (`replace-record:kill:2`) means the second time.

use super::table::Step;
use crate::binary::landing::Fault;
#[cfg(feature = "testing")]
use crate::binary::landing::{FaultKind, FaultPlace};
use crate::error::Result;
#[cfg(feature = "testing")]
use crate::error::{Code, Error};
#[cfg(feature = "testing")]
use nix::errno::Errno;

/// Fails, kills or stops if the environment names this step.
///
/// # Errors
/// The errno that the environment names.
#[cfg(feature = "testing")]
pub(super) fn at(step: Step) -> Result<()> {
    errno_at(step).map_err(|errno| Error::step(Code::Unsupported, "fault at", step.name(), errno))
}

/// Does nothing, in every other build.
///
/// # Errors
/// None.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(super) const fn at(_: Step) -> Result<()> {
    Ok(())
}

/// Does as [`at`], with an errno as the error.
///
/// # Errors
/// The errno that the environment names.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(super) const fn errno_at(_: Step) -> nix::Result<()> {
    Ok(())
}

/// Does as [`at`], with an errno as the error.
///
/// # Errors
/// The errno that the environment names.
#[cfg(feature = "testing")]
pub(super) fn errno_at(step: Step) -> nix::Result<()> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEEN: AtomicU32 = AtomicU32::new(0);

    let Some((how, time)) = told_of(step) else {
        return Ok(());
    };
    if SEEN.fetch_add(1, Ordering::Relaxed) + 1 != time {
        return Ok(());
    }
    match how {
        FaultKind::Kill => die(),
        FaultKind::Stop => stop(),
        FaultKind::Errno(errno) => Err(errno),
    }
}

/// Returns the fault that the environment asks for at this step, and the how many-th time.
#[cfg(feature = "testing")]
fn told_of(step: Step) -> Option<(FaultKind, u32)> {
    let told = std::env::var("CASULO_FAULT").ok()?;
    let mut parts = told.split(':');
    if parts.next() != Some(step.name()) {
        return None;
    }
    let how = match parts.next().unwrap_or_default() {
        "kill" => FaultKind::Kill,
        "stop" => FaultKind::Stop,
        name => FaultKind::Errno(errno_of(name)),
    };
    let time = parts.next().and_then(|text| text.parse().ok());
    Some((how, time.unwrap_or(1)))
}

/// Returns the fault that [`crate::process::last_steps`] takes to the landing area for this step, if
/// there is one.
#[cfg(feature = "testing")]
pub(crate) fn last(step: Step) -> Option<Fault> {
    let at = match step {
        Step::StartHooks => FaultPlace::Hooks,
        _ => FaultPlace::Execute,
    };
    let (how, _) = told_of(step)?;
    Some(Fault { at, how })
}

/// Returns None, in every other build.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) const fn last(_: Step) -> Option<Fault> {
    None
}

/// Ends by SIGKILL, or by exit code 137: pid 1 of a namespace cannot be killed from inside.
#[cfg(feature = "testing")]
fn die() -> ! {
    // The kernel drops the signal for pid 1.
    let _ = signal_self(nix::sys::signal::Signal::SIGKILL);
    crate::sys::child::leave(137)
}

/// Stops by SIGSTOP. Pid 1 of a namespace cannot be stopped from inside, so it sleeps until it is
/// killed.
#[cfg(feature = "testing")]
fn stop() -> nix::Result<()> {
    if nix::unistd::getpid().as_raw() == 1 {
        loop {
            nix::unistd::pause();
        }
    }
    signal_self(nix::sys::signal::Signal::SIGSTOP)
}

/// Sends by kill(2), not raise(3): after clone3 the C library takes the parent's thread for ours.
#[cfg(feature = "testing")]
fn signal_self(signal: nix::sys::signal::Signal) -> nix::Result<()> {
    nix::sys::signal::kill(nix::unistd::getpid(), signal)
}

#[cfg(feature = "testing")]
fn errno_of(name: &str) -> Errno {
    match name {
        "EIO" => Errno::EIO,
        "EPERM" => Errno::EPERM,
        "EINTR" => Errno::EINTR,
        "ENOSPC" => Errno::ENOSPC,
        _ => Errno::ENOMEM,
    }
}
