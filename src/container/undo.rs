//! What `create` has made so far, and how it goes away again when a later step fails.

use super::hooks_outside::run_poststop;
use crate::cgroups::Cgroup;
use crate::cgroups::systemd::{self, Scope};
use crate::error::{Code, Error, Result};
use crate::intel_rdt;
use crate::namespaces::MovedDevices;
use crate::pidfile;
use crate::plan::Plan;
use crate::state::{Dir, State, Status};
use crate::timeout;
use crate::waiting::{self, Farewell};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Everything made so far, in the order of making; undone in reverse.
#[derive(Debug)]
pub(super) struct Rollback<'a> {
    pub(super) plan: &'a Plan,
    pub(super) dir: Option<Dir>,
    pub(super) scope: Option<Scope>,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) rdt_directories: Vec<PathBuf>,
    pub(super) init: Option<Pid>,
    pub(super) net_devices: Option<MovedDevices>,
    pub(super) pid_file: Option<&'a Path>,
    /// The state that poststop hooks are told, once any hook may have run or the container is created.
    pub(super) poststop_state: Option<State>,
}

impl<'a> Rollback<'a> {
    /// The record alone: what is acquired first of all.
    pub(super) fn reserved(plan: &'a Plan, dir: Dir) -> Rollback<'a> {
        Rollback {
            plan,
            dir: Some(dir),
            scope: None,
            cgroup: None,
            rdt_directories: Vec::new(),
            init: None,
            net_devices: None,
            pid_file: None,
            poststop_state: None,
        }
    }

    /// The state directory, which goes last.
    pub(super) fn dir(&self) -> Result<&Dir> {
        let gone = || Error::new(Code::State, "no state directory");
        self.dir.as_ref().ok_or_else(gone)
    }

    /// Undoes everything in reverse and hands `error` back. What cannot be undone is logged: the
    /// first error is the one that the caller needs.
    pub(super) fn undo(&mut self, error: Error) -> Error {
        // Who is held by a tracer in the container is waited for no longer.
        let patience = match self.init.take().map(waiting::end) {
            Some(Farewell::Kept) => Duration::ZERO,
            Some(Farewell::Gone) | None => timeout::KILL,
        };
        if let Some(devices) = self.net_devices.take() {
            devices.return_to_host();
        }
        if let Some(path) = self.pid_file.take() {
            pidfile::remove(path);
        }
        let undone = self
            .cgroup
            .take()
            .map(|cgroup| cgroup.undo(Instant::now() + patience));
        let is_kept = matches!(undone, Some(Err(_)));
        if let Some(Err(failed)) = undone {
            log::warn!("undo: {failed}");
        }
        if let Some(Err(failed)) = self.scope.take().map(|scope| systemd::stop(&scope)) {
            log::warn!("undo: {failed}");
        }
        if let Err(failed) = intel_rdt::remove(&self.rdt_directories) {
            log::warn!("undo: {failed}");
        }
        let state = self.poststop_state.take();
        // Whoever was faster to delete the container has run its hooks, too.
        let is_ours = |_: &State| self.dir.as_ref().is_some_and(Dir::is_there);
        if let Some(state) = state.filter(is_ours) {
            let document = state.document(Status::Stopped, 0).to_string();
            run_poststop(&self.plan.hooks, &document, &self.plan.bundle);
        }
        let dir = self.dir.take();
        if is_kept {
            log::warn!("undo: the record stays, for `delete --force` to find what is left");
        } else if let Some(Err(failed)) = dir.map(Dir::remove) {
            log::warn!("undo: {failed}");
        }
        error
    }

    /// Why init did not hear what was said to it: its death, or else `error`.
    pub(super) fn death_or(&mut self, error: Error, init: Pid) -> Error {
        match error.errno {
            Some(Errno::EPIPE) => self.death_of_init(init),
            _ => error,
        }
    }

    /// Init ended without a word: says how, and whether the memory limit did it.
    pub(super) fn death_of_init(&mut self, init: Pid) -> Error {
        let status = waitpid(init, None);
        self.init = None;
        if let Some(error) = killed_by_limit(self.cgroup.as_ref()) {
            return error;
        }
        let how = match status {
            Ok(WaitStatus::Exited(_, code)) => format!("exited with status {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("was killed by {signal}"),
            _ => "vanished".to_owned(),
        };
        Error::new(
            Code::Sync,
            format!("init {how} before the container was set up"),
        )
    }
}

/// The error of a container that has not come to its program, if its memory limit is the reason.
pub(super) fn killed_by_limit(cgroup: Option<&Cgroup>) -> Option<Error> {
    let killed = cgroup?.memory_events().oom_kill;
    (killed > 0).then(|| {
        Error::new(
            Code::OutOfMemory,
            "the container was killed by its memory limit while it was starting",
        )
        .hint("raise linux.resources.memory.limit")
    })
}
