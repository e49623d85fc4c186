//! `memory.*`.

use super::pressure::Pressure;
use super::text::{flat_keyed, limit, number};
use crate::cgroups::fs::value_of;
use serde::Serialize;
use std::collections::BTreeMap;

/// Memory and swap, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Memory {
    /// Of it cached files.
    pub cache: u64,
    /// Memory.
    pub usage: Amount,
    /// Memory and swap together, as cgroup v1 counted them.
    pub swap: Amount,
    /// Of the memory what the kernel uses; without a limit of its own in v2.
    pub kernel: Amount,
    /// Of the memory what sockets use; without a limit of its own in v2.
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: Amount,
    /// Every line of `memory.stat`.
    pub raw: BTreeMap<String, u64>,
    /// Time that was waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
    /// Swap alone. Not in runc.
    #[serde(rename = "swapOnly")]
    pub swap_only: Amount,
    /// How often which limit was met. Not in runc.
    pub events: Events,
}

/// Bytes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Amount {
    /// The limit; the largest number without one, zero where there can be none.
    pub limit: u64,
    /// Used now.
    pub usage: u64,
    /// The most that was ever used; zero where the kernel does not say.
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// `memory.events`: counts since the cgroup was made, of it and all below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Events {
    /// Reclaimed although below `memory.low`.
    pub low: u64,
    /// Slowed down by `memory.high`.
    pub high: u64,
    /// Stopped by `memory.max`.
    pub max: u64,
    /// Out of memory: nothing could be reclaimed.
    pub oom: u64,
    /// Processes that were killed for it.
    pub oom_kill: u64,
}

impl Memory {
    pub(super) fn read(file: impl Fn(&str) -> Option<String>) -> Memory {
        let raw: BTreeMap<String, u64> = flat_keyed(&file("memory.stat").unwrap_or_default())
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        let part = |key: &str| raw.get(key).copied().unwrap_or_default();
        let of_kernel = |key: &str| Amount {
            usage: part(key),
            ..Amount::default()
        };
        let usage = Amount::read("memory", &file);
        let swap_only = Amount::read("memory.swap", &file);
        Memory {
            cache: part("file"),
            swap: Amount {
                limit: usage.limit.saturating_add(swap_only.limit),
                usage: usage.usage.saturating_add(swap_only.usage),
                // Both may have had their highest use at different times.
                max: 0,
                failcnt: swap_only.failcnt,
            },
            usage,
            swap_only,
            kernel: of_kernel("kernel"),
            kernel_tcp: of_kernel("sock"),
            events: Events::parse(&file("memory.events").unwrap_or_default()),
            psi: file("memory.pressure").as_deref().and_then(Pressure::parse),
            raw,
        }
    }
}

impl Amount {
    /// From `NAME.current`, `NAME.max`, `NAME.peak` and `NAME.events`.
    fn read(name: &str, file: impl Fn(&str) -> Option<String>) -> Amount {
        let file = |end: &str| file(&format!("{name}.{end}")).unwrap_or_default();
        Amount {
            limit: limit(&file("max")).unwrap_or_default(),
            usage: number(&file("current")).unwrap_or_default(),
            max: number(&file("peak")).unwrap_or_default(),
            failcnt: value_of(&file("events"), "max").unwrap_or_default(),
        }
    }
}

impl Events {
    /// What was counted since `before`.
    pub(crate) fn since(self, before: &Events) -> Events {
        Events {
            low: self.low.saturating_sub(before.low),
            high: self.high.saturating_sub(before.high),
            max: self.max.saturating_sub(before.max),
            oom: self.oom.saturating_sub(before.oom),
            oom_kill: self.oom_kill.saturating_sub(before.oom_kill),
        }
    }

    /// From the text of `memory.events`.
    pub(crate) fn parse(text: &str) -> Events {
        let mut events = Events::default();
        for (key, count) in flat_keyed(text) {
            match key {
                "low" => events.low = count,
                "high" => events.high = count,
                "max" => events.max = count,
                "oom" => events.oom = count,
                "oom_kill" => events.oom_kill = count,
                _ => {}
            }
        }
        events
    }
}
