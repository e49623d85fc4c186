//! An environment with a process in it that waits, for others to be started beside it, or to be weighed.

use crate::containers::Container;
use crate::environments::{Environment, Kind};
use crate::place::Place;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with this value.
pub(crate) struct Kept<'a> {
    environment: &'a Environment,
    place: &'a Place,
    container: Option<Container<'a>>,
    /// What this program started; none where a runtime has left a container behind.
    child: Option<Child>,
    /// The process inside, as the host numbers it.
    pid: u32,
}

impl<'a> Kept<'a> {
    /// The `number`th of its kind.
    pub(crate) fn new(
        environment: &'a Environment,
        place: &'a Place,
        number: usize,
    ) -> Result<Kept<'a>> {
        let mut kept = Kept {
            environment,
            place,
            container: environment.container(place, None),
            child: None,
            pid: 0,
        };
        if let Some(container) = &mut kept.container {
            container.id = format!("{}-{number}", container.id);
            let mut command = container.run(&["--detach"], &["idle"])?;
            // The container inherits these, so nobody waits for an end of file.
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let status = command.stderr(Stdio::null()).status()?;
            ensure!(status.success(), "run --detach: {status}");
            kept.pid = container.pid()?;
        } else {
            let mut command = environment.run(place, None, &["idle"])?;
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
            let pid = child.id();
            kept.child = Some(child);
            kept.pid = inner(pid, environment)?;
        }
        wait_for_idle(kept.pid)?;
        Ok(kept)
    }

    /// A command that runs this program inside, beside the one that waits.
    pub(crate) fn enter(&self, words: &[&str]) -> Result<Command> {
        if let Some(container) = &self.container {
            return Ok(container.exec(words));
        }
        match self.environment.kind {
            Kind::Unshare(options) => {
                let mut command = Command::new("nsenter");
                command.arg("--target").arg(self.pid.to_string());
                command.arg(options.first().copied().unwrap_or_default());
                if options.contains(&"--user") {
                    command.arg("--preserve-credentials");
                }
                command.arg(self.environment.inside(self.place).0);
                command.args(words);
                Ok(command)
            }
            // There is nothing to enter but the directory.
            _ => self.environment.run(self.place, None, words),
        }
    }

    /// Kilobytes of its processes, pages that are shared with others in part.
    pub(crate) fn memory(&self) -> Result<f64> {
        let mut sum = proportional(self.pid)?;
        if let Some(child) = &self.child
            && child.id() != self.pid
        {
            sum += proportional(child.id())?;
        }
        Ok(sum)
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if let Some(container) = &self.container {
            let _ = container.delete().output();
        }
        if let Some(child) = &mut self.child {
            if let Ok(pid) = i32::try_from(self.pid) {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The process that runs our program: the child itself, or the child of an unshare(1) that forks.
fn inner(child: u32, environment: &Environment) -> Result<u32> {
    let forks = matches!(environment.kind, Kind::Unshare(options) if options.contains(&"--fork"));
    if !forks {
        return Ok(child);
    }
    let mut found = None;
    wait_until("the child inside", || {
        let children = fs::read_to_string(format!("/proc/{child}/task/{child}/children"))?;
        found = children.split_whitespace().find_map(|pid| pid.parse().ok());
        Ok(found.is_some())
    })?;
    found.context("no child inside")
}

/// Waits until the process has become our program, and sleeps: then its memory is what it stays.
fn wait_for_idle(pid: u32) -> Result<()> {
    wait_until("the program inside", || {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
        let state = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(line.ends_with("idle\0") && state.contains(") S "))
    })
}

fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds()? {
        if Instant::now() > deadline {
            bail!("{what} does not start");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// proc(5), smaps_rollup: Pss.
fn proportional(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .context("smaps_rollup has no Pss")
}

/// Kilobytes that the kernel uses for what it cannot show in a process.
pub(crate) fn kernel_memory() -> Result<f64> {
    const KINDS: [&str; 4] = ["Slab:", "KernelStack:", "PageTables:", "Percpu:"];
    let text = fs::read_to_string("/proc/meminfo")?;
    let figures = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(char::is_whitespace)?;
        KINDS.contains(&name).then_some(value)
    });
    Ok(figures
        .filter_map(|value| value.split_whitespace().next()?.parse::<f64>().ok())
        .sum())
}
