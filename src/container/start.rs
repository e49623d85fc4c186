//! `start`: a later call than `create`, which knows the container by its state directory only.

use super::delete::{ends_in_time, kill_all, remove};
use super::hooks_outside::{recorded_hooks, run_hooks};
use super::starting::{Decided, Starting, say_start};
use crate::error::{Code, Context, Error, Result};
use crate::hooks::{Kind, Output, Spoken};
use crate::notify::Proxy;
use crate::procfs::ProcFs;
use crate::state::{self, Dir, Seen, State, Status};
use crate::step::{self, Step};
use nix::unistd::Pid;
use std::os::fd::AsFd;

/// `start`: tells the waiting init to execute the program; runs the poststart hooks.
///
/// # Errors
/// `E_STATUS` unless the container is created; the step of init that failed; a poststart hook, whose
/// failure ends the container: it is stopped and destroyed (runtime.md, Lifecycle, step 9).
pub(crate) fn start(dir: Dir) -> Result<()> {
    let lock = dir.lock("start")?;
    let Seen {
        state,
        status,
        init,
    } = dir.look_locked(&lock)?;
    let pidfd = match (status, init) {
        (Status::Created, Some(pidfd)) => pidfd,
        (status, _) => {
            let text = format!(
                "cannot start container {}: it is {}, not created",
                dir.id,
                status.as_str()
            );
            return Err(Error::new(Code::Status, text));
        }
    };
    let pid = Pid::from_raw(state.init_process_pid);
    let notify = Proxy::listen(&state, pidfd.as_fd())?;
    step::begin(Step::ConnectToInit)?;
    let (ends, words) = state::connect_to_init(&dir)?;
    let spoken = if words.is_empty() {
        Spoken::default()
    } else {
        Spoken::of(words, Output::open(&recorded_hooks(&dir)?, &state.bundle)?)
    };
    let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
    step::begin(Step::TellStart)?;
    say_start(&ends);
    let starting = Starting {
        init: pid,
        pidfd: &pidfd,
        ends: &ends,
        spoken: &spoken,
        end: None,
        decided: Decided::Record(&dir, &state),
    };
    let started = starting.wait_for_execve(&proc);
    step::begin(Step::ForgetFifos)?;
    dir.forget_fifos();
    if let Err(error) = started {
        // It leaves after that word: whoever asks next shall see a container that has stopped.
        if !ends_in_time(&pidfd).context(Code::Signal, "wait for init of", &dir.id)? {
            log::warn!("init of container {} does not end", dir.id);
        }
        return Err(error);
    }
    if !dir.is_there() {
        // Somebody was faster to delete it by force.
        return Err(state::not_found(&dir.id));
    }
    // Hooks may use casulo on their own container, and a service may take its time to become ready:
    // from here on it can be paused, killed and deleted like any that runs.
    drop(lock);
    step::begin(Step::Poststart)?;
    if state.has_poststart {
        let document = state
            .document(Status::Running, state.init_process_pid)
            .to_string();
        let ran = recorded_hooks(&dir)
            .and_then(|hooks| run_hooks(&hooks, Kind::Poststart, &document, &state.bundle));
        if let Err(error) = ran {
            if !dir.is_there() {
                return Err(state::not_found(&dir.id));
            }
            // The hook's failure is what the caller must know; what cannot be undone is logged.
            if let Err(failed) = destroy(dir, &state) {
                log::warn!("undo: {failed}");
            }
            return Err(error);
        }
    }
    match notify {
        Some(proxy) => proxy.wait_until_ready(pidfd.as_fd()),
        None => Ok(()),
    }
}

fn destroy(dir: Dir, state: &State) -> Result<()> {
    let _lock = dir.lock("destroy")?;
    kill_all(state)?;
    remove(dir, state)
}
