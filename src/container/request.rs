//! What is asked of `create`, and what follows from it alone.

use crate::foreground::EndSignals;
use crate::hooks::Kind;
use crate::host::Host;
use crate::init::StartBy;
use crate::namespaces;
use crate::notify;
use crate::plan::Plan;
use crate::process::asked::{self, Asked, Birth, Hooks};
use crate::process::last_steps::{Tracer, WorkingDirectory};
use crate::seccomp::Bpf;
use crate::state::Store;
use std::path::Path;

/// What `create` and `run` ask for, beside the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// All decisions.
    pub plan: &'a Plan,
    /// config.json as read; a copy is kept for `exec` and late hooks.
    pub config: &'a [u8],
    /// Facts about the host.
    pub host: &'a Host,
    /// `--root`.
    pub store: &'a Store,
    /// Who will say `Start`.
    pub start: StartBy,
    /// Where the pid goes, in digits.
    pub pid_file: Option<&'a Path>,
    /// Unix socket that gets the master of the pty; without one it is returned.
    pub console_socket: Option<&'a Path>,
    /// Unix socket that gets a pidfd of init.
    pub pidfd_socket: Option<&'a Path>,
    /// Readable when a signal asks casulo to end; none where that ends it anyway.
    pub end: Option<&'a EndSignals>,
    /// Whether the plan mounts a notify socket.
    pub notify: &'a notify::Socket,
}

impl Request<'_> {
    /// What the filter is asked about.
    pub(super) fn asked(&self) -> Asked {
        Asked {
            birth: if self.plan.namespaces.joins(namespaces::Kind::Pid) {
                Birth::Sibling
            } else {
                Birth::Itself
            },
            hooks: if self.plan.hooks.has(Kind::StartContainer) {
                Hooks::Some
            } else {
                Hooks::None
            },
        }
    }

    /// Whether init looks at its working directory again before it executes its program.
    pub(super) fn working_directory(&self, bpf: Option<&Bpf>) -> WorkingDirectory {
        match self.start {
            StartBy::Fifo => asked::after_the_wait(bpf),
            StartBy::Parent => WorkingDirectory::Verified,
        }
    }

    /// Who looks into init while it waits: `exec`, and who binds the notify socket.
    pub(super) fn tracer(&self) -> Tracer {
        match (self.start, self.notify) {
            (StartBy::Parent, notify::Socket::None) => Tracer::for_listener(&self.plan.process),
            _ => Tracer::while_waiting(&self.plan.process),
        }
    }

    /// Who wants a pidfd of init: whom the command line names, then whom the config does.
    pub(super) fn pidfd_sockets(&self) -> impl Iterator<Item = &Path> {
        let of_config = self.plan.pidfd_receiver.as_deref();
        self.pidfd_socket.into_iter().chain(of_config)
    }

    /// True if nothing is to be done between the record and the start that the process could notice: then
    /// init is told to start before it is ready, and does not wait.
    pub(super) fn starts_at_once(&self) -> bool {
        self.start == StartBy::Parent
            && self.pid_file.is_none()
            && self.pidfd_sockets().next().is_none()
            && *self.notify == notify::Socket::None
            && self.plan.process.terminal.is_none()
            && !self.plan.reports_populated()
            && !self.plan.notifies()
            && !self.plan.namespaces.joins(namespaces::Kind::Pid)
    }
}
