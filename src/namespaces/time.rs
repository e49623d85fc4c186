//! Clock offsets of a time namespace, time_namespaces(7).

use super::{Kind, Plan, join};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::procfs::ProcFs;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sched::setns;
use nix::sys::stat::Mode;
use oci_spec::runtime::Linux;
use std::fmt::Write as _;

/// The clocks that a time namespace can shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Clock {
    /// CLOCK_MONOTONIC and its variants.
    Monotonic,
    /// CLOCK_BOOTTIME and its alarm clock; `/proc/uptime` shows it.
    Boottime,
}

impl Clock {
    /// The clock's name in config.json and in timens_offsets.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Clock::Monotonic => "monotonic",
            Clock::Boottime => "boottime",
        }
    }
}

/// How far a clock in the namespace is ahead of the host's, or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeOffset {
    /// The clock that is shifted.
    pub clock: Clock,
    /// Seconds; negative sets the clock back.
    pub seconds: i64,
    /// Nanoseconds to add, below 10^9.
    pub nanoseconds: u32,
}

/// Reads `linux.timeOffsets` for the namespaces in `plan`.
pub(super) fn plan(linux: &Linux, plan: &mut Plan, problems: &mut Problems) {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|it| !it.is_empty()) else {
        return;
    };
    if !plan.is_new(Kind::Time) {
        // A namespace that has processes keeps its offsets, so a joined one cannot get any.
        problems.add(
            "linux.timeOffsets",
            "needs a new time namespace in linux.namespaces",
        );
    }
    let mut names: Vec<_> = offsets.iter().collect();
    names.sort_by_key(|(name, _)| *name);
    for (name, offset) in names {
        let path = format!("linux.timeOffsets.{name}");
        let Some(clock) = [Clock::Monotonic, Clock::Boottime]
            .into_iter()
            .find(|clock| clock.name() == name)
        else {
            problems.add(path, "no such clock; there are monotonic and boottime");
            continue;
        };
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        if nanoseconds >= 1_000_000_000 {
            problems.add(
                format!("{path}.nanosecs"),
                format!("{nanoseconds} is a second or more"),
            );
        }
        plan.time_offsets.push(TimeOffset {
            clock,
            seconds: offset.secs().unwrap_or(0),
            nanoseconds,
        });
    }
}

fn text(offsets: &[TimeOffset]) -> String {
    offsets.iter().fold(String::new(), |mut text, offset| {
        let (clock, seconds) = (offset.clock.name(), offset.seconds);
        // Writing to a String does not fail.
        let _ = writeln!(text, "{clock} {seconds} {}", offset.nanoseconds);
        text
    })
}

/// Init: sets the clocks of the time namespace that it has made, and enters it. The offsets must be written before
/// the first process is in it, so clone3 cannot make it. [`super::unshare`] made it for later children only, and
/// setns(2) takes init itself there.
///
/// Runs before init changes its ids or stops being dumpable, because timens_offsets belongs to another user after
/// that. Runs before the pivot, so that /proc is the host's.
///
/// # Errors
/// E_NAMESPACE: the step and the errno; ERANGE for offsets that would put a clock below zero.
pub(super) fn enter(offsets: &[TimeOffset]) -> Result<()> {
    let proc = ProcFs::host().context(Code::Namespace, "open", "/proc")?;
    let text = text(offsets);
    proc.write("self/timens_offsets", text.as_bytes())
        .map_err(|errno| {
            let object = format!("/proc/self/timens_offsets ({})", text.trim_end());
            let error = Error::step(Code::Namespace, "write", object, errno);
            match errno {
                Errno::ERANGE => error.hint("no clock of the container may be below zero"),
                _ => error,
            }
        })?;
    // ProcFs follows no magic link, and this is one. So the file that it led to is checked to be a namespace.
    let name = "self/ns/time_for_children";
    let fd = openat(
        &proc,
        name,
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .context(Code::Namespace, "open /proc", name)?;
    join::check_kind(&fd, Kind::Time)
        .map_err(|why| Error::new(Code::Namespace, format!("/proc/{name}: {why}")))?;
    setns(&fd, Kind::Time.clone_flags()).context(Code::Namespace, "enter", "time namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_one_clock_a_line() {
        let offsets = [
            TimeOffset {
                clock: Clock::Boottime,
                seconds: -3,
                nanoseconds: 4,
            },
            TimeOffset {
                clock: Clock::Monotonic,
                seconds: 1,
                nanoseconds: 0,
            },
        ];
        assert_eq!(text(&offsets), "boottime -3 4\nmonotonic 1 0\n");
    }
}
