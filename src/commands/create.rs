//! `create`, and what `run` shares with it.

use crate::bundle::Bundle;
use crate::cli::{Create, Global};
use crate::container::{self, Created, Request};
use crate::error::{Code, Error, Result};
use crate::foreground::EndSignals;
use crate::host::Host;
use crate::id::Id;
use crate::init::StartBy;
use crate::options::Options;
use crate::plan::Plan;
use crate::state::Store;
use crate::{config, notify};
use std::path::PathBuf;

/// `casulo create`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Create) -> Result<u8> {
    let prepared = Prepared::new(global, args)?;
    if args.console_socket.is_none() && prepared.plan.process.terminal.is_some() {
        return Err(Error::new(
            Code::Terminal,
            "process.terminal is true: use --console-socket",
        )
        .hint("only `run` in the foreground can show a terminal by itself"));
    }
    if args.console_socket.is_some() && prepared.plan.process.terminal.is_none() {
        return Err(Error::new(
            Code::Terminal,
            "--console-socket is given, but process.terminal is not true",
        ));
    }
    prepared.create(args, StartBy::Fifo, None)?;
    Ok(0)
}

/// Everything that is decided before anything is made.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) store: Store,
    config: Vec<u8>,
    host: Host,
    pid_file: Option<PathBuf>,
    notify: notify::Socket,
}

impl Prepared {
    /// Reads the bundle, asks the host, makes the plan.
    pub(super) fn new(global: &Global, args: &Create) -> Result<Prepared> {
        let store = super::store(global)?;
        let id: Id = args.id.parse()?;
        let mut bundle = Bundle::open(&args.bundle, args.config.as_deref())?;
        config::require_process(&bundle.spec, &bundle.file)?;
        let notify = match notify::manager_socket() {
            Some(manager) => notify::add_to(&mut bundle.spec, &manager),
            None => notify::Socket::None,
        };
        let host = Host::ask(Some(&bundle.spec), super::rootless(global))?;
        let options = Options {
            id,
            bundle: bundle.path.clone(),
            cgroup_manager: super::cgroup_manager(global),
            no_pivot: args.no_pivot,
            no_new_keyring: args.no_new_keyring,
            preserve_fds: args.preserve_fds,
        };
        let mut plan = Plan::new(&bundle.spec, &options, &host, &bundle.file)?;
        super::pass_listeners(&mut plan.process);
        let pid_file = args.pid_file.as_deref().map(super::absolute).transpose()?;
        Ok(Prepared {
            plan,
            store,
            config: bundle.config,
            host,
            pid_file,
            notify,
        })
    }

    /// Creates the container.
    pub(super) fn create<'a>(
        &'a self,
        args: &'a Create,
        start: StartBy,
        end: Option<&'a EndSignals>,
    ) -> Result<Created<'a>> {
        container::create(&Request {
            plan: &self.plan,
            config: &self.config,
            host: &self.host,
            store: &self.store,
            start,
            pid_file: self.pid_file.as_deref(),
            console_socket: args.console_socket.as_deref(),
            pidfd_socket: args.pidfd_socket.as_deref(),
            end,
            notify: &self.notify,
        })
    }
}
