//! What `run` does with a container that is created: starts it, and clears away behind it. Parent.

use super::Created;
use super::delete::remove;
use super::hooks_outside::run_hooks;
use super::starting::{Decided, Starting, say_start};
use crate::cgroups::Cgroup;
use crate::cgroups::stats::MemoryEvents;
use crate::error::{Code, Context, Error, Result};
use crate::foreground::EndSignals;
use crate::hooks::Kind;
use crate::notify::Proxy;
use crate::procfs::ProcFs;
use crate::state::{State, Status};
use crate::step::{self, Step};
use std::os::fd::AsFd;

impl Created<'_> {
    /// Lets the program be executed, and waits until it was; runs the poststart hooks. `end` is readable when a
    /// signal asks casulo to end.
    ///
    /// # Errors
    /// The step of init that failed, or a poststart hook; the container is then undone.
    pub(crate) fn start(&mut self, end: Option<&EndSignals>) -> Result<()> {
        let started = self.listen_for_notifications().and_then(|()| {
            step::begin(Step::SayStart)?;
            if !self.told_to_start {
                say_start(&self.ends);
            }
            let proc = ProcFs::host().context(Code::State, "open", "/proc")?;
            let starting = Starting {
                init: self.init,
                pidfd: &self.pidfd,
                ends: &self.ends,
                spoken: &self.spoken,
                end,
                decided: Decided::Plan(self.rollback.plan, self.rollback.cgroup.as_ref()),
            };
            starting.wait_for_execve(&proc)
        });
        let poststart = |state: &State| {
            step::begin(Step::RunPoststart)?;
            let document = state
                .document(Status::Running, state.init_process_pid)
                .to_string();
            run_hooks(
                &self.rollback.plan.hooks,
                Kind::Poststart,
                &document,
                &state.bundle,
            )
        };
        started
            .and_then(|()| poststart(&self.state))
            .map_err(|error| self.undo(error))?;
        // From here on they go with the container's network namespace, which nothing of ours holds any more.
        self.rollback.net_devices = None;
        Ok(())
    }

    /// Hands `result` on; after an error of the caller's the container is undone.
    ///
    /// # Errors
    /// That of `result`.
    pub(crate) fn or_undo<T>(&mut self, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.undo(error))
    }

    /// As after any other end, poststop hooks run (runtime.md, Lifecycle).
    fn undo(&mut self, error: Error) -> Error {
        self.rollback.poststop_state = Some(self.state.clone());
        self.rollback.undo(error)
    }

    fn listen_for_notifications(&mut self) -> Result<()> {
        if self.state.notify_directory.is_some() {
            self.notify = Proxy::listen(&self.state, self.pidfd.as_fd())?;
        }
        Ok(())
    }

    /// Says in the log if the kernel has killed a process of it for want of memory: no exit code
    /// tells that from any other SIGKILL.
    pub(crate) fn report_oom_kills(&self) {
        let events = self.rollback.cgroup.as_ref().map(Cgroup::memory_events);
        if let Some(text) = events.and_then(|events| oom_report(&self.state.id, &events)) {
            log::error!("{text}");
        }
    }

    /// Removes what the container leaves after its process has ended (`run` in the foreground).
    ///
    /// # Errors
    /// As [`super::delete()`].
    pub(crate) fn clean_up(mut self) -> Result<()> {
        match self.rollback.dir.take() {
            Some(dir) => remove(dir, &self.state),
            None => Ok(()),
        }
    }
}

/// None where nothing was killed.
pub(super) fn oom_report(id: &str, events: &MemoryEvents) -> Option<String> {
    let processes = match events.oom_kill {
        0 => return None,
        1 => "1 process was",
        count => &format!("{count} processes were"),
    };
    // Without an `oom` of its own the shortage was the host's, or that of a cgroup above.
    let reason = match events.oom {
        0 => "for want of memory, within its own limit",
        _ => "by its memory limit",
    };
    Some(format!("container {id}: {processes} killed {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_killed_for_want_of_memory_is_said_with_the_reason() {
        let report = |oom, oom_kill| {
            oom_report(
                "web",
                &MemoryEvents {
                    max: 9,
                    oom,
                    oom_kill,
                    ..MemoryEvents::default()
                },
            )
        };
        assert_eq!(report(0, 0), None);
        assert_eq!(report(3, 0), None);
        for (oom, oom_kill, expected) in [
            (
                1,
                1,
                "container web: 1 process was killed by its memory limit",
            ),
            (
                2,
                5,
                "container web: 5 processes were killed by its memory limit",
            ),
            (
                0,
                1,
                "container web: 1 process was killed for want of memory, within its own limit",
            ),
        ] {
            assert_eq!(report(oom, oom_kill).as_deref(), Some(expected));
        }
    }
}
