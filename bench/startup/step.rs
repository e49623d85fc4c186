//! A step of a case: one command, from its spawn to its end, with a limit on its time.

use crate::sys;
use anyhow::{Context, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No step takes as long, not even in an emulated machine.
const LONGEST: Duration = Duration::from_secs(10);

/// What all steps share: the file that takes their standard errors, so that none needs a pipe.
pub(crate) struct Steps {
    path: PathBuf,
    errors: File,
}

impl Steps {
    pub(crate) fn new(path: PathBuf) -> Result<Steps> {
        let errors = OpenOptions::new().append(true).create(true).open(&path)?;
        Ok(Steps { path, errors })
    }

    /// Milliseconds of the command.
    pub(crate) fn time(&self, command: Command) -> Result<f64> {
        let step = self.begin(command)?;
        step.wait()?;
        step.finish(self)
    }

    /// Starts the command.
    pub(crate) fn begin(&self, mut command: Command) -> Result<Step> {
        self.errors.set_len(0)?;
        let errors = self.errors.try_clone()?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(errors);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| program(&command))?;
        let end = sys::pidfd(child.id())?;
        Ok(Step {
            command,
            child,
            end,
            begun,
        })
    }

    /// What the last step has said.
    fn said(&self) -> String {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().last().unwrap_or_default().to_owned()
    }
}

/// A command that runs.
pub(crate) struct Step {
    command: Command,
    child: Child,
    end: OwnedFd,
    begun: Instant,
}

impl Step {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&self) -> bool {
        let mut end = [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
        poll(&mut end, PollTimeout::ZERO) == Ok(1)
    }

    /// Waits for its end, but not for ever.
    pub(crate) fn wait(&self) -> Result<()> {
        ends(&self.end, &program(&self.command))
    }

    /// Milliseconds since its start, once it has ended, and has succeeded.
    pub(crate) fn finish(mut self, steps: &Steps) -> Result<f64> {
        let status = self.child.wait()?;
        let took = self.begun.elapsed().as_secs_f64() * 1e3;
        if !status.success() {
            bail!("{}: {status}: {}", program(&self.command), steps.said());
        }
        Ok(took)
    }
}

impl Drop for Step {
    /// One that is given up does not go on by itself. What has been waited for is not killed again.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The index of the first of these to end.
pub(crate) fn first_to_end(steps: &[Step]) -> Result<usize> {
    let mut ends: Vec<PollFd<'_>> = steps
        .iter()
        .map(|step| PollFd::new(step.end.as_fd(), PollFlags::POLLIN))
        .collect();
    wait(&mut ends)?;
    let ended = ends.iter().position(|end| end.any() == Some(true));
    ended.with_context(|| format!("nothing has ended after {LONGEST:?}"))
}

/// Waits for the end of a process, by its pidfd.
pub(crate) fn ends(process: &OwnedFd, what: &str) -> Result<()> {
    let mut end = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let ended = wait(&mut end)?;
    ensure!(ended > 0, "{what} has not ended after {LONGEST:?}");
    Ok(())
}

fn wait(ends: &mut [PollFd<'_>]) -> Result<i32> {
    Ok(poll(ends, PollTimeout::try_from(LONGEST)?)?)
}

/// Waits until something that a file tells is so.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + LONGEST;
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("{what} is not there after {LONGEST:?}");
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn program(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name();
    name.unwrap_or_default().to_string_lossy().into_owned()
}
