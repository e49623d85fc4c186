//! The last steps of a process: from the moment at which it is what it will be to execve(2).
//!
//! They are made on a landing area ([`crate::binary::landing`]), with nothing of casulo's memory, under the filter and
//! with the final capabilities. There are two ways there. Init of a new pid namespace, in which nobody is who could
//! look, *lands* itself. What enters a pid namespace of others is *born* there, as the sibling of an entrant that
//! nobody inside can see and that has done everything else.

use super::{Caller, Plan, Program, environment};
use crate::binary::landing::{
    Confinement, Dumpable, Landing, Last, LastHook, ListenPid, Session, hand_over,
};
pub(crate) use crate::binary::landing::{Wait, WorkingDirectory};
use crate::binary::remap;
use crate::binary::shared::Shared;
use crate::capabilities::SysAdmin;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::hooks;
use crate::seccomp::{self, Bpf};
use crate::step::{self, Step};
use crate::sync::Channel;
use crate::sync::page::LastCall;
use crate::sys::child::leave;
use crate::sys::namespace::stop_being_dumpable;
use crate::sys::rlimit::Limit;
use nix::errno::Errno;
use nix::sys::prctl::set_dumpable;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// What the last steps need beside the process's own plan.
#[derive(Debug)]
pub(crate) struct LastSteps<'a> {
    /// The program, found.
    pub program: &'a Program,
    /// The filter.
    pub bpf: Option<&'a Bpf>,
    /// Whether CAP_SYS_ADMIN is still there, for the filter.
    pub sys_admin: SysAdmin,
    /// From where it is told to go on.
    pub go: BorrowedFd<'a>,
    /// Where it tells.
    pub tell: BorrowedFd<'a>,
    /// Whether it waits.
    pub wait: Wait,
    /// Whether its working directory is looked at after the wait.
    pub working_directory: WorkingDirectory,
    /// The page that it shares with the parent.
    pub shared: &'static Shared,
    /// Who may trace it while it waits.
    pub tracer: Tracer,
    /// startContainer hooks.
    pub hooks: &'a [hooks::Inside],
    /// Where those write.
    pub hook_output: [Option<RawFd>; 2],
    /// The step at which it executes its program.
    pub execute: Step,
}

/// Who needs to trace the process before it executes its program, prctl(2), PR_SET_DUMPABLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracer {
    /// Nobody who has not CAP_SYS_PTRACE.
    Privileged,
    /// The caller, an ordinary user: to take the filter's listener, and then nobody.
    CallerForListener,
    /// The caller, an ordinary user: `exec` could not enter a created container otherwise, nor `start` or `run` bind
    /// its notify socket.
    CallerWhileWaiting,
}

impl Tracer {
    /// For a process that does not wait.
    pub(crate) fn for_listener(plan: &Plan) -> Tracer {
        match plan.caller {
            Caller::MayTrace => Tracer::Privileged,
            Caller::MayNot => Tracer::CallerForListener,
        }
    }

    /// For a process that waits to be started.
    pub(crate) fn while_waiting(plan: &Plan) -> Tracer {
        match plan.caller {
            Caller::MayTrace => Tracer::Privileged,
            Caller::MayNot => Tracer::CallerWhileWaiting,
        }
    }
}

impl LastSteps<'_> {
    /// Descriptors that outlive the closing of all others.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.go.as_raw_fd(), self.tell.as_raw_fd()];
        all.extend(self.hook_output.iter().flatten());
        all.extend(self.hooks.iter().map(|hook| hook.stdin.as_raw_fd()));
        all
    }

    fn area(
        &self,
        plan: &Plan,
        session: Session,
        confinement: &Confinement<'_>,
    ) -> Result<Landing> {
        let (path, arguments, environment) = self.program.words();
        let hooks: Vec<LastHook<'_>> = self
            .hooks
            .iter()
            .map(|it| LastHook {
                path: &it.path,
                arguments: &it.args,
                environment: it.env.as_deref().unwrap_or(environment),
                stdin: it.stdin.as_raw_fd(),
            })
            .collect();
        let [hook_stdout, hook_stderr] = self.hook_output;
        let last = Last {
            path,
            arguments,
            environment,
            listen_pid: match plan.environment.listen_pid {
                environment::ListenPid::AsGiven => ListenPid::AsGiven,
                environment::ListenPid::Own => ListenPid::Own,
            },
            go: self.go.as_raw_fd(),
            tell: self.tell.as_raw_fd(),
            wait: self.wait,
            session,
            working_directory: self.working_directory,
            hooks: &hooks,
            hook_stdout,
            hook_stderr,
            first_closed: plan.first_closed_fd,
            processes: match session {
                Session::Present => None,
                Session::New | Session::NewWithTerminal => plan.process_limit(),
            },
            fault: [Step::StartHooks, self.execute]
                .into_iter()
                .find_map(step::last),
        };
        Landing::new(&last, confinement).context(Code::Process, "map a landing area", "")
    }

    fn filter(&self) -> Option<&Bpf> {
        self.bpf.filter(|_| !without(Defence::FilterBeforeBirth))
    }

    fn sets_after_filter(&self, plan: &Plan) -> Option<[u64; 3]> {
        match self.sys_admin {
            SysAdmin::Keep => plan.capabilities.after_filter(),
            SysAdmin::Drop => None,
        }
    }

    /// The last thing about memory and ids that can be said; nothing changes an id after it.
    fn dumpable(&self) -> Result<Dumpable> {
        let has_listener = self.bpf.is_some_and(Bpf::has_listener);
        let result = match self.tracer {
            Tracer::CallerWhileWaiting => set_dumpable(true),
            Tracer::CallerForListener if has_listener => set_dumpable(true),
            Tracer::CallerForListener | Tracer::Privileged => stop_being_dumpable(),
        };
        result.context(Code::Process, "prctl", "PR_SET_DUMPABLE")?;
        Ok(match self.tracer {
            Tracer::CallerForListener if has_listener => Dumpable::UntilListenerIsTaken,
            _ => Dumpable::Unchanged,
        })
    }

    /// Init of a new pid namespace: becomes the program, or waits until it is told to. All descriptors but its own
    /// are closed already, and `parent`, which is closed here: then the filter is loaded.
    ///
    /// Returns only what failed before that, E_PROCESS, and `parent` to tell it.
    pub(crate) fn land(&self, plan: &Plan, parent: Channel) -> (Channel, Error) {
        let listener = self
            .bpf
            .is_some_and(Bpf::has_listener)
            .then_some(self.shared);
        let landing = self.dumpable().and_then(|dumpable| {
            let confinement = Confinement {
                filter: self.filter().map(|bpf| (bpf.program(), bpf.flags())),
                listener,
                capabilities: self.sets_after_filter(plan),
                dumpable,
            };
            self.area(plan, Session::Present, &confinement)
        });
        match landing {
            Err(error) => (parent, error),
            Ok(landing) => {
                step::begin_last(self.execute);
                leave_parent(parent);
                if self.wait == Wait::Announced {
                    // It may be long before somebody starts the container.
                    remap::drop_clean_pages();
                }
                landing.land(listener)
            }
        }
    }

    /// An entrant: has the process born as its sibling, and ends. Once `parent` is closed only the shared page
    /// says what has failed ([`birth_failed`]).
    ///
    /// Returns only what failed before that, E_PROCESS, and `parent` to tell it.
    pub(crate) fn bear(&self, plan: &Plan, parent: Channel) -> (Channel, Error) {
        let prepared = self.dumpable().and_then(|dumpable| {
            let session = match plan.terminal {
                None => Session::New,
                Some(_) => Session::NewWithTerminal,
            };
            let nothing = Confinement {
                filter: None,
                listener: None,
                capabilities: None,
                dumpable: Dumpable::Unchanged,
            };
            let landing = self.area(plan, session, &nothing)?;
            if !without(Defence::NotForked) {
                let left = landing.leave_the_rest();
                left.context(Code::Process, "madvise", "MADV_DONTFORK")?;
            }
            Ok((landing, dumpable))
        });
        let (landing, dumpable) = match prepared {
            Err(error) => return (parent, error),
            Ok(prepared) => prepared,
        };
        let sets = self.sets_after_filter(plan);
        step::begin_last(self.execute);
        leave_parent(parent);
        // What is mapped from here on would come along, so nothing is allocated.
        let born = self.confine(dumpable, sets).and_then(|()| {
            landing
                .bear(self.shared)
                .map_err(|errno| (LastCall::Birth, errno))
        });
        if let Err((call, errno)) = born {
            self.shared.tell_failure(call, errno);
        }
        leave(i32::from(born.is_err()))
    }

    /// The filter, and what comes after it. From seccomp(2) to the moment at which the parent has its listener no
    /// system call is made: the filter may notify of any.
    fn confine(
        &self,
        dumpable: Dumpable,
        sets: Option<[u64; 3]>,
    ) -> std::result::Result<(), (LastCall, Errno)> {
        let loaded = self
            .filter()
            .map(|bpf| bpf.load().map_err(|errno| (LastCall::Filter, errno)));
        if let Some(listener) = loaded.transpose()?.flatten() {
            hand_over(self.shared, listener.as_raw_fd());
            // Or whoever traces the process would answer its notifications.
            drop(listener);
            if dumpable == Dumpable::UntilListenerIsTaken {
                set_dumpable(false).map_err(|errno| (LastCall::NotDumpable, errno))?;
            }
        }
        if let Some([effective, permitted, inheritable]) = sets {
            crate::sys::capability::capset(effective, permitted, inheritable)
                .map_err(|errno| (LastCall::Capabilities, errno))?;
        }
        Ok(())
    }
}

/// Closes the socket to the parent: its end of file says that the last steps begin.
fn leave_parent(parent: Channel) {
    match without(Defence::PipesOnly) {
        false => drop(parent),
        // The end of file is said, and the descriptor stays.
        true => parent.end_and_keep(),
    }
}

/// Parent: what an entrant left in the shared page, as an error; None where it left nothing.
pub(crate) fn birth_failed(shared: &Shared) -> Option<Error> {
    let (call, errno) = shared.told_failure()?;
    Some(match call {
        LastCall::Filter => seccomp::refused(errno),
        LastCall::NotDumpable => Error::step(Code::Process, "prctl", "PR_SET_DUMPABLE", errno),
        LastCall::Capabilities => Error::step(Code::Process, "set the capabilities", "", errno),
        LastCall::Birth => {
            let error = Error::step(Code::Process, "create", "the process", errno);
            match errno {
                Errno::EAGAIN => error.hint(
                    "a limit of processes is reached (RLIMIT_NPROC, pids.max); entering a container takes \
                     room for two for a moment",
                ),
                _ => error,
            }
        }
    })
}

impl Plan {
    /// RLIMIT_NPROC of the process, if the config has one.
    pub(crate) fn process_limit(&self) -> Option<Limit> {
        let limit = self.rlimits.iter().find(|it| it.counts_processes());
        limit.map(|it| it.limit)
    }
}
