//! `run`: create and start, in the foreground until the process ends, or detached.

use super::create::Prepared;
use crate::cli::{Global, Run};
use crate::error::{Code, Context, Error, Result};
use crate::foreground::{self, EndSignals, Signals};
use crate::init::StartBy;
use crate::step::{self, Step};
use crate::sys::pidfd::pidfd_open;
use std::os::fd::AsFd;

/// `casulo run`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Run) -> Result<u8> {
    let prepared = Prepared::new(global, &args.create)?;
    if args.detach
        && prepared.plan.process.terminal.is_some()
        && args.create.console_socket.is_none()
    {
        return Err(Error::new(
            Code::Terminal,
            "process.terminal is true: use --console-socket",
        )
        .hint("without --detach casulo shows the terminal itself"));
    }
    if args.detach {
        let mut created = prepared.create(&args.create, StartBy::Parent, None)?;
        created.start(None)?;
        if let Some(proxy) = created.notify.take() {
            let pidfd =
                pidfd_open(created.init).context(Code::Process, "open a pidfd of", created.init)?;
            proxy.wait_until_ready(pidfd.as_fd())?;
        }
        return Ok(0);
    }
    if !args.create.no_subreaper {
        nix::sys::prctl::set_child_subreaper(true).context(
            Code::Process,
            "become a subreaper",
            "",
        )?;
    }
    // Signals are taken over before init exists, so that none is lost between its start and our waiting.
    let signals = Signals::block()?;
    let end = EndSignals::of(&signals)?;
    let mut created = prepared.create(&args.create, StartBy::Parent, Some(&end))?;
    // Before the process starts: it may ask for the terminal's size at once.
    let console = created.console.take();
    let attended = step::begin(Step::Attend).and_then(|()| super::relay(console));
    let relay = created.or_undo(attended)?;
    created.start(Some(&end))?;
    let notify = created.notify.as_mut();
    let (init, pidfd) = (created.init, created.pidfd.as_fd());
    let ended = step::begin(Step::WaitForEnd)
        .and_then(|()| foreground::wait(&signals, init, pidfd, relay, notify));
    created.report_oom_kills();
    if !args.keep {
        created.clean_up()?;
    }
    super::exit_code(ended?)
}
