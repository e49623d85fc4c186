//! `events`: what a container uses and what happens to it, as long as it has a process. Any casulo
//! process on the host.
//!
//! One poll(2) over the files whose changes the kernel announces and the caller's stdout; nothing
//! is asked in between but the statistics that are due.

use super::processes::not_running;
use super::update::planned_rdt;
use crate::cgroups::Cgroup;
use crate::cgroups::notify::EventsWatch;
use crate::cgroups::stats::{MemoryEvents, Stats};
use crate::error::{Code, Context, Error, Result};
use crate::intel_rdt::{self, stats::Groups};
use crate::state::Dir;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The counts of `memory.events` are told at most once in this time: a container that lives at its
/// limit changes them a hundred times a second. Kills are told at once.
const MEMORY_PAUSE: Duration = Duration::from_secs(1);

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Event {
    /// What it uses now.
    Stats(Box<Stats>),
    /// The kernel has killed a process of it for want of memory.
    Oom,
    /// A count of `memory.events` has changed. Not in runc.
    Memory(MemoryEvents),
}

impl Event {
    /// In runc's envelope, as one line of JSON; its members in runc's order.
    pub(crate) fn line(&self, id: &str) -> String {
        #[derive(Serialize)]
        struct Envelope<'a> {
            r#type: &'static str,
            id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a Event>,
        }
        let (r#type, data) = match self {
            Event::Stats(_) => ("stats", Some(self)),
            Event::Oom => ("oom", None),
            Event::Memory(_) => ("memory", Some(self)),
        };
        let envelope = Envelope { r#type, id, data };
        let line = serde_json::to_string(&envelope).expect("strings and finite numbers");
        format!("{line}\n")
    }
}

/// `events --stats`. A stopped container has its last figures until it is deleted.
///
/// # Errors
/// `E_STATUS` while it is created, when it has no cgroup of its own, or none any more.
pub(crate) fn stats(dir: &Dir) -> Result<Event> {
    let (cgroup, rdt) = subject(dir)?;
    Ok(read_stats(&cgroup, rdt.as_ref()))
}

/// What the cgroup and, if there are any, the resctrl groups say.
fn read_stats(cgroup: &Cgroup, rdt: Option<&Groups>) -> Event {
    Event::Stats(Box::new(Stats {
        intel_rdt: rdt.map(Groups::stats).unwrap_or_default(),
        ..Stats::read(cgroup)
    }))
}

/// The events of a container to come.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    cgroup: Cgroup,
    rdt: Option<Groups>,
    processes: EventsWatch,
    /// None without the memory controller.
    memory: Option<EventsWatch>,
    interval: Duration,
    next_stats: Instant,
    /// The counts at the last look, and those told last and when.
    seen: MemoryEvents,
    told: MemoryEvents,
    told_at: Option<Instant>,
    /// Found and not told yet.
    found: VecDeque<Event>,
    ended: bool,
    reader: BorrowedFd<'a>,
}

impl<'a> Watch<'a> {
    /// From now on: what has happened before is not told, and the first statistics come after one
    /// interval. The watch ends with the last process, or when nobody reads the pipe `reader` any
    /// more.
    ///
    /// # Errors
    /// `E_STATUS` while it is created, for a container without a process, or without a cgroup of its own; `E_CGROUP`.
    pub(crate) fn new(dir: &Dir, interval: Duration, reader: BorrowedFd<'a>) -> Result<Watch<'a>> {
        let (cgroup, rdt) = subject(dir)?;
        let processes = EventsWatch::open(&cgroup, "cgroup.events").context(
            Code::Cgroup,
            "open cgroup.events of",
            cgroup.path().display(),
        )?;
        let memory = EventsWatch::open(&cgroup, "memory.events").ok();
        let now = memory.as_ref().and_then(read_counts).unwrap_or_default();
        if !has_processes(&processes) {
            return Err(not_running(&dir.id));
        }
        Ok(Watch {
            cgroup,
            rdt,
            processes,
            memory,
            interval,
            next_stats: Instant::now() + interval,
            seen: now,
            told: now,
            told_at: None,
            found: VecDeque::new(),
            ended: false,
            reader,
        })
    }

    /// Waits for a change or for the time of something that is due. False if the reader has gone.
    fn wait(&self) -> Result<bool> {
        let due = match self.told_at {
            Some(told_at) if self.seen != self.told => self.next_stats.min(told_at + MEMORY_PAUSE),
            _ => self.next_stats,
        };
        // One millisecond more than rounded down: it would wake up too early and spin.
        let left = due.saturating_duration_since(Instant::now()).as_millis() + 1;
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        // A reader that goes is told without being asked for.
        let mut fds = vec![PollFd::new(self.reader, PollFlags::empty())];
        fds.push(PollFd::new(self.processes.as_fd(), PollFlags::POLLPRI));
        fds.extend(
            self.memory
                .as_ref()
                .map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI)),
        );
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(Code::Cgroup, "wait for", "events"),
        }
        Ok(fds.first().and_then(PollFd::any) != Some(true))
    }

    /// Finds what has happened and what is due.
    fn look(&mut self, now: Instant) {
        // In this order: what killed the last process was counted before that was gone.
        self.ended = !has_processes(&self.processes);
        if let Some(counts) = self.memory.as_ref().and_then(read_counts) {
            self.look_at_memory(counts, now);
        }
        if now >= self.next_stats && !self.ended {
            self.next_stats += self.interval;
            if self.next_stats <= now {
                // Whoever reads slowly gets fewer, not all at once.
                self.next_stats = now + self.interval;
            }
            let stats = read_stats(&self.cgroup, self.rdt.as_ref());
            self.found.push_back(stats);
        }
    }

    fn look_at_memory(&mut self, counts: MemoryEvents, now: Instant) {
        let kills = counts.oom_kill.saturating_sub(self.seen.oom_kill);
        self.seen = counts;
        let may_tell = self.told_at.is_none_or(|at| now >= at + MEMORY_PAUSE);
        if counts != self.told && (may_tell || kills > 0 || self.ended) {
            self.found.push_back(Event::Memory(counts));
            (self.told, self.told_at) = (counts, Some(now));
        }
        self.found.extend((0..kills).map(|_| Event::Oom));
    }
}

impl Iterator for Watch<'_> {
    type Item = Result<Event>;

    /// Waits for the next event; None when the watch has ended.
    fn next(&mut self) -> Option<Result<Event>> {
        loop {
            if let Some(event) = self.found.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            match self.wait() {
                Ok(true) => self.look(Instant::now()),
                Ok(false) => return None,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn has_processes(file: &EventsWatch) -> bool {
    // A cgroup that was removed has none.
    file.read().is_ok_and(|text| text.contains("populated 1"))
}

fn read_counts(file: &EventsWatch) -> Option<MemoryEvents> {
    Some(MemoryEvents::parse(&file.read().ok()?))
}

/// What there is to look at of a container.
fn subject(dir: &Dir) -> Result<(Cgroup, Option<Groups>)> {
    let seen = dir.look()?;
    seen.expect_made("tell of")?;
    let state = seen.state;
    if state.cgroup_is_callers {
        let text = format!("container {} has no cgroup of its own to look at", dir.id);
        return Err(Error::new(Code::Status, text)
            .hint("what the caller's own cgroup counts is not the container's alone"));
    }
    let cgroup = state.open_cgroup()?.ok_or_else(|| not_running(&dir.id))?;
    // Few hosts have it, so the config is mostly not read for this.
    let rdt = match intel_rdt::mount_of_host() {
        Ok(_) => planned_rdt(dir, &state)?.and_then(|plan| plan.groups()),
        Err(_) => None,
    };
    Ok((cgroup, rdt))
}
