//! Looks after a cgroup that exists, and after whatever the container made below it: processes,
//! signals, events, removal. Any casulo process on the host; the container may be running.

use super::directories::remove_empty;
use super::fs::Origin;
use super::fs::{Cgroup, read, value_of};
use super::notify::EventsWatch;
use super::stats::MemoryEvents;
use crate::defence::{Defence, without};
use crate::descent::{What, each_directory, remove_below};
use crate::error::{Code, Context, Error, Result};
use crate::timeout;
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, UnlinkatFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

impl Cgroup {
    /// Pids in it and below, as the caller's pid namespace numbers them: without those that it does not
    /// see. Empty when the cgroup was removed.
    ///
    /// # Errors
    /// `E_CGROUP` when one of the directories cannot be read.
    pub(crate) fn pids(&self) -> Result<Vec<Pid>> {
        let mut pids = self.listed()?;
        pids.retain(|pid| pid.as_raw() > 0);
        Ok(pids)
    }

    /// The same, with a 0 for each process that the caller's pid namespace does not see.
    pub(super) fn listed(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        each_directory(self.directory.as_fd(), |directory| {
            pids_in(directory, &mut pids)
        })
        .context(
            Code::Cgroup,
            "list processes in or below",
            self.path.display(),
        )?;
        Ok(pids)
    }

    /// Pids in the cgroup itself, without those below.
    ///
    /// # Errors
    /// `E_CGROUP`; its errno is ENOENT or ENODEV when the cgroup was removed.
    #[cfg(test)]
    pub(crate) fn procs(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        pids_in(self.directory.as_fd(), &mut pids).context(
            Code::Cgroup,
            "list processes in",
            self.path.display(),
        )?;
        pids.retain(|pid| pid.as_raw() > 0);
        Ok(pids)
    }

    /// The names of the files in its directory.
    pub(super) fn file_names(&self) -> nix::Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::from_fd(openat(&self.directory, ".", flags, Mode::empty())?)?;
        dir.iter()
            .filter(|it| !matches!(it, Ok(it) if it.file_type() == Some(Type::Directory)))
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// SIGKILL for every process in it and below. A process that forks at the same time does not
    /// escape, and a frozen one dies too (cgroup-v2.rst, "cgroup.kill"). No error when there is no
    /// process, or no cgroup any more.
    ///
    /// The kernel sends the signal to the first thread of each process, where it is lost if that thread has ended and
    /// others go on. So who is left is signalled by number, too, which reaches the process as a whole.
    ///
    /// # Errors
    /// `E_CGROUP`
    pub(crate) fn kill(&self) -> Result<()> {
        let written = self.write("cgroup.kill", "1").or_else(|errno| match errno {
            Errno::EACCES if !without(Defence::RightsTakenBack) => {
                self.take_rights_back();
                self.write("cgroup.kill", "1")
            }
            errno => Err(errno),
        });
        match written {
            Ok(()) if self.is_populated() && !without(Defence::ThreadsAreAlive) => {
                // Most are dying already, and may be gone.
                let _ = self.kill_frozen();
                Ok(())
            }
            Ok(()) | Err(Errno::ENODEV) => Ok(()),
            // Before Linux 5.14, and in a threaded cgroup: nothing can fork while frozen, and the
            // freezer of cgroup v2 lets a killed process die.
            Err(Errno::ENOENT | Errno::EOPNOTSUPP) => self.kill_frozen(),
            Err(errno) => Err(Error::step(
                Code::Cgroup,
                "kill the processes of",
                self.path.display().to_string(),
                errno,
            )),
        }
    }

    /// SIGKILL for each of its processes, while none can fork.
    fn kill_frozen(&self) -> Result<()> {
        let frozen = self.write("cgroup.freeze", "1");
        let result = self.signal(libc::SIGKILL);
        if frozen.is_ok() {
            // The processes are gone or going; a cgroup that cannot be thawed is empty.
            let _ = self.write("cgroup.freeze", "0");
        }
        result
    }

    /// Removes the cgroup and all below it, when the processes are gone: it waits for those that
    /// are dying, but kills nobody. Also removes the directories above that this object's `create`
    /// made, if nothing else is in them. No error when it was removed already.
    ///
    /// # Errors
    /// `E_CGROUP` when processes are left after ten seconds, naming them.
    pub(crate) fn remove(&self) -> Result<()> {
        self.remove_until(Instant::now() + timeout::KILL)
    }

    fn remove_until(&self, end: Instant) -> Result<()> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.remove_once() {
                Ok(()) | Err(Errno::ENOENT) => break,
                Err(Errno::EBUSY) if Instant::now() >= end => return Err(self.not_removed()),
                Err(Errno::EBUSY) if self.is_populated() => {
                    self.wait_until_empty(end);
                }
                Err(Errno::EBUSY) => {
                    // The kernel is just taking the last process out.
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                Err(errno) => {
                    let object = self.path.display().to_string();
                    return Err(Error::step(Code::Cgroup, "remove cgroup", object, errno));
                }
            }
        }
        remove_empty(&self.parents);
        Ok(())
    }

    /// The undo of [`Cgroup::create`], once whoever was born in it may be killed: a directory that was there before
    /// stays, without a holder. It waits until `end` for those that are dying.
    ///
    /// # Errors
    /// As [`Cgroup::remove`].
    pub(crate) fn undo(&self, end: Instant) -> Result<()> {
        if self.origin == Origin::Made {
            self.kill()?;
            return self.remove_until(end);
        }
        // Not by cgroup.kill: since Linux 6.14 what is cloned into a cgroup that was killed once dies at birth, unless
        // the parent's own was killed as often.
        if self.is_populated() {
            self.kill_frozen()?;
        }
        self.wait_until_empty(end);
        self.release();
        remove_empty(&self.parents);
        Ok(())
    }

    fn remove_once(&self) -> nix::Result<()> {
        let remove =
            || nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, &self.path, UnlinkatFlags::RemoveDir);
        // Nearly always there is nothing below.
        match remove() {
            Err(Errno::EBUSY | Errno::ENOTEMPTY) => {}
            result => return result,
        }
        remove_below(self.directory.as_fd(), What::Directories)?;
        remove()
    }

    /// Waits until the last process in it and below is gone. False if some are left at `end`.
    pub(crate) fn wait_until_empty(&self, end: Instant) -> bool {
        self.wait_for_event("populated", 0, end)
    }

    /// Waits until `cgroup.events` has this value, by the kernel's own announcement; false if it
    /// has not at `end`. A cgroup that was removed is neither populated nor frozen.
    pub(super) fn wait_for_event(&self, key: &str, value: u64, end: Instant) -> bool {
        let Ok(events) = EventsWatch::open(self, "cgroup.events") else {
            return value == 0;
        };
        loop {
            let text = events.read().unwrap_or_default();
            if value_of(&text, key).unwrap_or(0) == value {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            // A change, the time or a signal: all lead to another look.
            let _ = poll(&mut fds, timeout);
        }
    }

    fn not_removed(&self) -> Error {
        let object = self.path.display().to_string();
        let error = Error::step(Code::Cgroup, "remove cgroup", object, Errno::EBUSY);
        let pids: Vec<String> = self
            .pids()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        if pids.is_empty() {
            return error;
        }
        error.because(format!("still has processes ({})", pids.join(", ")))
    }

    /// True if all processes in it are frozen (`cgroup.events`).
    pub(crate) fn is_frozen(&self) -> bool {
        self.event("cgroup.events", "frozen") == 1
    }

    /// True if it, or a cgroup below it, has a process (`cgroup.events`).
    pub(crate) fn is_populated(&self) -> bool {
        self.event("cgroup.events", "populated") == 1
    }

    /// How often which memory limit was met, in it and below. Zeros without the memory controller.
    pub(crate) fn memory_events(&self) -> MemoryEvents {
        MemoryEvents::parse(&self.read("memory.events").unwrap_or_default())
    }

    fn event(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        text.ok().and_then(|it| value_of(&it, key)).unwrap_or(0)
    }
}

/// Adds the processes of one cgroup; a 0 stands for a process that the caller's pid namespace does not see.
fn pids_in(directory: BorrowedFd<'_>, pids: &mut Vec<Pid>) -> nix::Result<()> {
    match read(directory, Path::new("cgroup.procs")) {
        Ok(text) => {
            let numbers = text.lines().filter_map(|line| line.parse().ok());
            pids.extend(numbers.map(Pid::from_raw));
            Ok(())
        }
        // A threaded cgroup: its processes are listed by the domain above it.
        Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests;
