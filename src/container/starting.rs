//! From `GO` to the moment at which a container's program runs. Parent: `run`, or `start`.
//!
//! Init is a process of the container already. What it says is believed in range only, nobody waits for it without
//! looking whether it lives, and whether it has executed its program says the kernel.

use super::hooks_outside::recorded_hooks;
use super::interruption::Interruption;
use super::undo::killed_by_limit;
use crate::binary::landing::{Tells, Told};
use crate::cgroups::Cgroup;
use crate::defence::{Defence, without};
use crate::error::{Code, Error, Result};
use crate::foreground::EndSignals;
use crate::hooks::{self, Spoken, Tail};
use crate::plan::Plan;
use crate::procfs::ProcFs;
use crate::seccomp::listener::Listener;
use crate::state::{Dir, State};
use crate::sync::hearing::Hearing;
use crate::sync::pipes::{Ends, Heard};
use crate::sys::pidfd::pidfd_send_signal;
use crate::{config, process};
use nix::poll::{PollFd, PollFlags};
use nix::unistd::Pid;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The time between two looks at what init calls under a filter that notifies.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// Where the words for a failure come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decided<'a> {
    /// `run`: the plan, and the cgroup that was made by it.
    Plan(&'a Plan, Option<&'a Cgroup>),
    /// `start`: the config that the record keeps, and what it says of the container.
    Record(&'a Dir, &'a State),
}

/// The one word that starts a container: init executes its program, or its startContainer hooks first. Said before
/// init is ready it waits in the pipe, and said again it changes nothing.
pub(super) fn say_start(ends: &Ends) {
    ends.say_go();
}

/// What is known of a start that goes on.
#[derive(Debug)]
struct Known {
    /// The end of what startContainer hooks have said.
    said: Tail,
    /// The hook that runs, and until when it may.
    hook: Option<(usize, Option<Instant>)>,
    /// The first failure that init has told.
    failure: Option<Told>,
    hearing: Hearing,
}

impl Known {
    fn at_the_start() -> Known {
        Known {
            said: Tail::default(),
            hook: None,
            failure: None,
            hearing: Hearing::begin(),
        }
    }

    fn longest_wait(&self) -> Duration {
        let deadline = self.hook.and_then(|(_, deadline)| deadline);
        let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        let look = self.hearing.longest_wait();
        left.map_or(look, |left| left.min(look))
    }
}

/// A container that is being started.
#[derive(Debug)]
pub(super) struct Starting<'a> {
    pub(super) init: Pid,
    pub(super) pidfd: &'a OwnedFd,
    pub(super) ends: &'a Ends,
    /// What startContainer hooks say.
    pub(super) spoken: &'a Spoken,
    /// Readable when a signal asks casulo to end; none where that ends it anyway.
    pub(super) end: Option<&'a EndSignals>,
    pub(super) decided: Decided<'a>,
}

impl Starting<'_> {
    /// Waits until init is what it will be, and waits itself. What it still calls under a filter that notifies, casulo
    /// answers by its `listener`: an agent that said that a call is made, and let it not be made, would leave init its
    /// privileges.
    ///
    /// # Errors
    /// What it told of its failure; E_SYNC when it ended without a word; E_SIGNAL when one asks casulo to end
    /// while something in the container holds init.
    pub(super) fn wait_until_ready(&self, listener: Option<&Listener>) -> Result<()> {
        let mut interruption = Interruption::by(self.end);
        let longest = listener.map(|_| LOOK);
        loop {
            let ended = self.wait_for_something(longest, Some(self.ends), &mut interruption)?;
            if let Some(listener) = listener {
                listener.answer_for(self.init);
            }
            match self.ends.hear() {
                Heard::Word(Told {
                    what: Tells::Ready, ..
                }) => return Ok(()),
                Heard::Word(told) => return Err(self.explain(told, "")),
                Heard::Junk | Heard::Nothing | Heard::End if ended => return Err(died()),
                Heard::End => return Err(died()),
                Heard::Junk | Heard::Nothing => {}
            }
            interruption.look()?;
        }
    }

    /// Waits until the program was executed.
    ///
    /// # Errors
    /// What init told of its failure; E_HOOK for a startContainer hook that took too long.
    pub(super) fn wait_for_execve(&self, proc: &ProcFs) -> Result<()> {
        let mut known = Known::at_the_start();
        let mut interruption = Interruption::by(self.end);
        loop {
            let pipe = Some(self.ends).filter(|_| known.hearing.goes_on());
            let longest = Some(known.longest_wait());
            let ended = self.wait_for_something(longest, pipe, &mut interruption)?;
            self.spoken.listen(&mut known.said)?;
            self.hear_words(&mut known)?;
            if ended {
                return self.judge_end(known, proc);
            }
            if known.hearing.is_time_to_look() {
                // One that is gone has had its time, unless it has said that it fails: its end comes at once.
                let executed = proc.has_executed(self.init);
                if executed.unwrap_or(known.failure.is_none()) {
                    return Ok(());
                }
                say_start(self.ends);
                known.hearing.has_looked();
            }
            interruption.look()?;
            self.end_late_hook(&known, proc)?;
        }
    }

    /// What init has said meanwhile.
    fn hear_words(&self, known: &mut Known) -> Result<()> {
        for told in known.hearing.hear(self.ends) {
            match told.what {
                Tells::Ready | Tells::Executes => {}
                Tells::HookBegins => {
                    // Each begins once, in order: whoever repeats it would have more time.
                    if told.index == known.hook.map_or(0, |(before, _)| before + 1) {
                        let timeout = self.hooks()?.timeout_inside(told.index);
                        known.hook = Some((told.index, timeout.map(|it| Instant::now() + it)));
                    }
                }
                _ => {
                    known.failure.get_or_insert(told);
                    if without(Defence::FailureEnds) {
                        return Err(self.explain(told, &known.said.line()));
                    }
                }
            }
        }
        Ok(())
    }

    /// How a program that has ended has ended is no business of who has started it. One that fails before that ends by
    /// itself; whoever traces it can only say so.
    fn judge_end(&self, mut known: Known, proc: &ProcFs) -> Result<()> {
        match known.failure {
            Some(told) if proc.has_executed(self.init) != Some(true) => {
                self.spoken.listen(&mut known.said)?;
                Err(self.explain(told, &known.said.line()))
            }
            // Its words are lost where the container fills the pipe.
            None if proc.has_executed(self.init) == Some(false) => Err(self.not_executed()),
            _ => Ok(()),
        }
    }

    /// Kills init where a startContainer hook takes longer than it may.
    fn end_late_hook(&self, known: &Known, proc: &ProcFs) -> Result<()> {
        match known.hook {
            Some((index, Some(deadline)))
                if Instant::now() >= deadline && !proc.has_executed(self.init).unwrap_or(true) =>
            {
                // With init its hook goes, where it has a pid namespace of its own; else with its cgroup.
                let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
                Err(self.hooks()?.timed_out_inside(index, &known.said.line()))
            }
            _ => Ok(()),
        }
    }

    /// Waits until init says something in `pipe` or ends, for `longest` at most, or until a signal asks casulo to end. Whether
    /// init has ended.
    fn wait_for_something(
        &self,
        longest: Option<Duration>,
        pipe: Option<&Ends>,
        interruption: &mut Interruption<'_>,
    ) -> Result<bool> {
        let mut fds = vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        fds.extend(pipe.map(|ends| PollFd::new(ends.tell(), PollFlags::POLLIN)));
        let spoken = self.spoken.pipes().iter();
        fds.extend(spoken.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        interruption.poll(&mut fds, longest)?;
        Ok(fds.first().and_then(PollFd::any) == Some(true))
    }

    /// Init has ended on its way to the program, and nothing is known of the reason but what the cgroup counts.
    fn not_executed(&self) -> Error {
        let killed = match self.decided {
            Decided::Plan(_, cgroup) => killed_by_limit(cgroup),
            Decided::Record(_, state) => {
                let cgroup = state.open_cgroup().ok().flatten();
                killed_by_limit(cgroup.as_ref())
            }
        };
        killed.unwrap_or_else(|| {
            Error::new(
                Code::Process,
                "init ended before it had executed its program",
            )
        })
    }

    fn hooks(&self) -> Result<hooks::Plan> {
        match self.decided {
            Decided::Plan(plan, _) => Ok(plan.hooks.clone()),
            Decided::Record(dir, _) => recorded_hooks(dir),
        }
    }

    fn explain(&self, told: Told, words: &str) -> Error {
        let of_hooks = self.hooks().map(|hooks| hooks.explain(told, words));
        let explained = match of_hooks {
            Err(error) => return error,
            Ok(Some(error)) => return error,
            Ok(None) => match self.decided {
                Decided::Plan(plan, _) => plan.process.explain(told),
                Decided::Record(dir, _) => match recorded_process(dir) {
                    Ok(process) => process.explain(told),
                    Err(error) => return error,
                },
            },
        };
        explained.unwrap_or_else(|| Error::new(Code::Sync, format!("init said {told:?}")))
    }
}

fn died() -> Error {
    Error::new(Code::Sync, "init ended before it was ready")
}

/// As much of the recorded process as its error messages need.
fn recorded_process(dir: &Dir) -> Result<process::Plan> {
    let (file, bytes) = dir.read_config()?;
    let spec = config::parse(&bytes, &file)?;
    let mut plan = process::Plan::default();
    if let Some(process) = spec.process() {
        plan.command.cwd.clone_from(process.cwd());
        let args = process.args().iter().flatten();
        plan.command.args = args
            .filter_map(|it| CString::new(it.as_str()).ok())
            .collect();
    }
    Ok(plan)
}
