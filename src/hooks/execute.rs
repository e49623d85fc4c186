//! One hook: its process, its stdin and its words, its end.

use super::output::{AT_ONCE, Tail};
use super::{Call, Hook};
use crate::binary::start;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::step::{self, Step};
use crate::sync::answers;
use crate::sys::child::{self, Ended, WaitMode};
use crate::sys::clone::Side;
use crate::sys::fd::close_on_exec_from;
use crate::sys::pidfd::{pidfd_open, pidfd_send_signal};
use crate::sys::signal;
use crate::waiting::Watch;
use crate::whole_file::write_all;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{
    Pid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, pipe2, read, setpgid, write,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Runs `hook` in the caller's namespaces until it ends or its time is up.
///
/// # Errors
/// E_HOOK with the hook's name and how it ended.
pub(super) fn run(hook: &Hook, call: &Call<'_>) -> Result<()> {
    let mut process = Process::start(hook, call).context(Code::Hook, &hook.step(), hook)?;
    let attended = process.attend(call.state, hook.timeout);
    if attended.is_err() {
        process.kill();
        let _ = process.reap();
    }
    let ended = attended.context(Code::Hook, &hook.step(), hook)?;
    let how = match ended {
        End::Of(Ended::Exited(0)) => return Ok(()),
        End::NotExecuted(errno) => {
            return Err(Error::step(
                Code::Hook,
                hook.step(),
                hook.to_string(),
                errno,
            ));
        }
        End::Of(ended) => how(ended),
        End::TimedOut => format!(
            "killed after its timeout of {:?}",
            hook.timeout.unwrap_or_default()
        ),
        End::Asked => "killed, as a signal asked casulo to end".to_owned(),
    };
    Err(failed(hook, &how, &process.words.line()))
}

/// How a process ended, in words.
pub(super) fn how(ended: Ended) -> String {
    match ended {
        Ended::Exited(code) => format!("exit status {code}"),
        Ended::Killed(number) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal} ({})", signal::text(number)),
            Err(_) => format!("killed by signal {number}"),
        },
    }
}

/// That a hook has failed: how it ended, and its last words.
pub(super) fn failed(hook: &Hook, how: &str, words: &str) -> Error {
    let detail = if words.is_empty() {
        how.to_owned()
    } else {
        format!("{how}: {words}")
    };
    Error {
        step: hook.step(),
        object: hook.to_string(),
        ..Error::new(Code::Hook, detail)
    }
}

/// How a hook ended.
enum End {
    /// By itself, or by a signal that is not ours.
    Of(Ended),
    /// The program could not be executed.
    NotExecuted(Errno),
    /// We killed it: its time was up.
    TimedOut,
    /// We killed it: a signal asked casulo to end.
    Asked,
}

/// A running hook.
struct Process<'a> {
    pid: Pid,
    pidfd: OwnedFd,
    /// Where the state goes; closed once all of it is written, so that the hook reads to an end.
    to_stdin: Option<OwnedFd>,
    /// The other end. As long as we hold it, a hook that does not read cannot send us SIGPIPE.
    _stdin: OwnedFd,
    /// What it says on stdout and stderr, and where that goes.
    said: Vec<Said<'a>>,
    /// Closed by execve, else tells why there was none.
    failure: OwnedFd,
    words: Tail,
}

/// One pipe with words of the hook.
struct Said<'a> {
    pipe: OwnedFd,
    /// Gets a copy.
    file: Option<&'a OwnedFd>,
    /// Whether an error shows them.
    shown: Shown,
}

/// Whether an error shows what a hook has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Yes,
    No,
}

impl<'a> Process<'a> {
    fn start(hook: &Hook, call: &Call<'a>) -> nix::Result<Process<'a>> {
        let (stdin, to_stdin) = pipe2(OFlag::O_CLOEXEC)?;
        let (failure, fail) = pipe2(OFlag::O_CLOEXEC)?;
        let (from_output, output) = pipe2(OFlag::O_CLOEXEC)?;
        let mut said = vec![Said {
            pipe: from_output,
            file: call.output.stdout.as_ref(),
            shown: Shown::Yes,
        }];
        // In one pipe they keep their order.
        let error_output = match (&call.output.stdout, &call.output.stderr) {
            (None, None) => None,
            (_, file) => {
                let (from_output, output) = pipe2(OFlag::O_CLOEXEC)?;
                said.iter_mut().for_each(|it| it.shown = Shown::No);
                said.push(Said {
                    pipe: from_output,
                    file: file.as_ref(),
                    shown: Shown::Yes,
                });
                Some(output)
            }
        };
        for ours in [&to_stdin, &failure]
            .into_iter()
            .chain(said.iter().map(|it| &it.pipe))
        {
            fcntl(ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        step::begin_or_errno(Step::ForkHook)?;
        let parent = Pid::this();
        let pid = match child::fork()? {
            Side::Child => {
                let errno = become_hook(
                    hook,
                    call,
                    parent,
                    [&stdin, &output, error_output.as_ref().unwrap_or(&output)],
                );
                // Nobody is left to tell if this fails; the exit code tells as much as it can.
                let _ = answers::say_errno(&fail, errno);
                child::leave(127);
            }
            Side::Parent(pid) => pid,
        };
        let pidfd = pidfd_open(pid).inspect_err(|_| {
            // Never left running unattended; it is our child, so the number is still its own.
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            let _ = child::wait(Some(pid), WaitMode::Block);
        })?;
        Ok(Process {
            pid,
            pidfd,
            to_stdin: Some(to_stdin),
            _stdin: stdin,
            said,
            failure,
            words: Tail::default(),
        })
    }

    /// Feeds `state` to the hook, listens, and waits for its end. What it left running in the
    /// background may keep the pipes: only the hook itself is waited for.
    fn attend(&mut self, mut state: &[u8], timeout: Option<Duration>) -> nix::Result<End> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut watch = Watch::begin();
        let mut over = None;
        while over.is_none() && !self.wait_for_something(deadline, watch.left())? {
            self.feed(&mut state)?;
            self.listen()?;
            over = match deadline {
                Some(deadline) if Instant::now() >= deadline => Some(End::TimedOut),
                _ => watch.asked_to_end().then_some(End::Asked),
            };
        }
        if over.is_some() {
            self.kill();
        }
        let ended = self.reap()?;
        self.listen()?;
        Ok(match answers::heard_errno(&self.failure) {
            Some(errno) => End::NotExecuted(errno),
            None => match over {
                Some(over) if ended == Ended::Killed(libc::SIGKILL) => over,
                _ => End::Of(ended),
            },
        })
    }

    /// Kills the whole group, so that a shell's command does not outlive the shell. The leader is
    /// not reaped yet, so the group's number cannot be another's.
    fn kill(&self) {
        let _ = killpg(self.pid, Signal::SIGKILL);
        // A hook that is not yet in its group.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
    }

    fn reap(&self) -> nix::Result<Ended> {
        loop {
            match child::wait(Some(self.pid), WaitMode::Block) {
                Err(Errno::EINTR) => {}
                Ok(Some((_, ended))) => return Ok(ended),
                Ok(None) => return Err(Errno::ECHILD),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Waits until the hook reads, speaks or ends, for `longest` and to the deadline at most. True if it has ended.
    fn wait_for_something(
        &self,
        deadline: Option<Instant>,
        longest: Duration,
    ) -> nix::Result<bool> {
        let mut fds = vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        let pipes = self.said.iter().map(|it| it.pipe.as_fd());
        fds.extend(pipes.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        if let Some(stdin) = &self.to_stdin {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let wait = left.map_or(longest, |left| left.min(longest));
        // Rounded up: a wait that ends just before the time would only be repeated.
        let wait = u16::try_from(wait.as_millis() + 1).expect("about a second at most");
        match poll(&mut fds, PollTimeout::from(wait)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(fds.first().and_then(PollFd::any) == Some(true))
    }

    /// Writes what the pipe takes of the state.
    fn feed(&mut self, state: &mut &[u8]) -> nix::Result<()> {
        while let Some(stdin) = self.to_stdin.as_ref().filter(|_| !state.is_empty()) {
            match write(stdin, state) {
                Ok(n) => *state = state.get(n..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        self.to_stdin = None;
        Ok(())
    }

    /// Reads what there is to read, at most a pipe full: a hook that talks all the time does not talk its time away.
    fn listen(&mut self) -> nix::Result<()> {
        let mut buffer = [0; 4096];
        let words = &mut self.words;
        let mut hear = |said: &Said<'_>| {
            for _ in 0..AT_ONCE {
                let length = match read(&said.pipe, &mut buffer) {
                    Err(Errno::EINTR) => continue,
                    Err(Errno::EAGAIN) => return Ok(true),
                    Ok(0) | Err(_) => return Ok(false),
                    Ok(length) => length,
                };
                let bytes = buffer.get(..length).unwrap_or_default();
                if said.shown == Shown::Yes {
                    words.add(bytes);
                }
                if let Some(file) = said.file {
                    write_all(file, bytes)?;
                }
            }
            Ok(true)
        };
        let mut result = Ok(());
        self.said.retain(|said| {
            hear(said).unwrap_or_else(|errno| {
                result = Err(errno);
                false
            })
        });
        result
    }
}

/// Without the defence: the hook gets the file and no pipe.
fn file_itself(file: Option<&OwnedFd>) -> Option<&OwnedFd> {
    file.filter(|_| without(Defence::HookPipes))
}

/// The child: stdio, default signals, working directory, execve. Returns only what went wrong.
fn become_hook(
    hook: &Hook,
    call: &Call<'_>,
    parent: Pid,
    [stdin, stdout, stderr]: [&OwnedFd; 3],
) -> Errno {
    let become_it = || {
        // A group of its own, which a timeout can kill whole.
        setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        step::begin_or_errno(Step::BecomeHook)?;
        // A casulo that is killed waits for nobody and sees no timeout: its hook ends with it.
        child::end_with(parent)?;
        dup2_stdin(stdin)?;
        dup2_stdout(file_itself(call.output.stdout.as_ref()).unwrap_or(stdout))?;
        dup2_stderr(file_itself(call.output.stderr.as_ref()).unwrap_or(stderr))?;
        // Descriptors that our caller wants the container to have are none of a hook's business.
        close_on_exec_from(3)?;
        for number in 1..=64 {
            // execve resets handlers only; what is ignored (SIGPIPE, by Rust) would stay so.
            // SIGKILL, SIGSTOP and the C library's own cannot be set, and need not be.
            let _ = signal::set_default(number);
        }
        SigSet::empty().thread_set_mask()?;
        start::restore_limits(|_| false)?;
        if let Some(cwd) = call.cwd {
            chdir(cwd).or_else(|_| chdir("/"))?;
        }
        execve(
            &hook.path,
            &hook.args,
            hook.env.as_deref().unwrap_or(call.env),
        )
    };
    match become_it() {
        Err(errno) => errno,
        Ok(never) => match never {},
    }
}
