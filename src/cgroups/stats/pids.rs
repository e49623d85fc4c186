//! `pids.*`.

use super::text::{limit, number};
use crate::cgroups::fs::value_of;
use serde::Serialize;

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Pids {
    /// There are now. Without the pids controller the processes of the cgroup itself.
    pub current: u64,
    /// There may be; zero without a limit, as runc prints it.
    pub limit: u64,
    /// How often the limit was met. Not in runc.
    pub events: Events,
}

/// `pids.events`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Events {
    /// Forks that the limit refused.
    pub max: u64,
}

impl Pids {
    pub(super) fn read(file: impl Fn(&str) -> Option<String>) -> Pids {
        let in_cgroup = || {
            let lines = file("cgroup.procs")?.lines().count();
            u64::try_from(lines).ok()
        };
        let current = file("pids.current").as_deref().and_then(number);
        let events = file("pids.events").unwrap_or_default();
        Pids {
            current: current.or_else(in_cgroup).unwrap_or_default(),
            limit: file("pids.max")
                .as_deref()
                .and_then(limit)
                .filter(|limit| *limit != u64::MAX)
                .unwrap_or_default(),
            events: Events {
                max: value_of(&events, "max").unwrap_or_default(),
            },
        }
    }
}
