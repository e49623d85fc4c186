//! The probes: each tries one thing from inside and says what it achieved. They are harmless: what they
//! kill, read or rename was made for that; what could do harm is asked with an argument that the kernel
//! refuses after it has checked the permission; what eats resources has a bound.
//!
//! docs/isolation.md explains each, with its source.

/// A list of probes of one group: name, what it tries, what proves it => the function.
macro_rules! probes {
    ($list:ident, $group:ident: $($name:literal, $tries:literal, $proof:ident => $run:ident;)+) => {
        pub(super) const $list: &[Probe] = &[$(Probe {
            name: $name,
            tries: $tries,
            group: Group::$group,
            proof: Proof::$proof,
            run: $run,
        }),+];
    };
}

mod calls;
mod identity;
mod network;
mod privileges;
mod processes;
mod resources;
mod root;

pub(crate) use network::interface_names;
pub(crate) use resources::use_memory;

use super::facts::{FACTS, Facts, Finding};
use anyhow::{Context, Result};
use nix::errno::Errno;
use std::path::Path;

/// One question.
pub(crate) struct Probe {
    /// The word for it on the command line, in the JSON file and in docs/isolation.md.
    pub(crate) name: &'static str,
    /// What it tries, as the matrix says it.
    pub(crate) tries: &'static str,
    pub(crate) group: Group,
    /// Whose word decides.
    pub(crate) proof: Proof,
    pub(crate) run: fn(&Facts) -> Finding,
}

/// The parts of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Root,
    Processes,
    Identity,
    Network,
    Kernel,
    Privileges,
    /// May bring down a machine where a mistake of ours, or a bug of the kernel, comes together with
    /// an environment that holds nothing: run in the test host.
    Danger,
    /// As the last, and needs limits.
    Resources,
}

impl Group {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Root => "Leave the root",
            Group::Processes => "Reach other processes",
            Group::Identity => "See or change what the host is",
            Group::Network => "Reach the host's network",
            Group::Kernel => "Ask the kernel for more",
            Group::Privileges => "Gain privileges",
            Group::Danger => "Take over or stop the machine",
            Group::Resources => "Use up the machine",
        }
    }

    /// True for what runs in the test host unless it is asked for here.
    pub(crate) fn is_dangerous(self) -> bool {
        matches!(self, Group::Danger | Group::Resources)
    }
}

/// How it is known that a probe got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The probe says so: the kernel's answer is the evidence.
    Answer,
    /// It shows the secret, which it cannot know from anywhere else.
    Secret,
    /// The victim is dead.
    VictimEnded,
    /// The host has another name.
    HostRenamed,
    /// The host has another mount.
    MountSeen,
}

/// All probes, in the order of the matrix.
pub(crate) fn all() -> Vec<&'static Probe> {
    [
        root::PROBES,
        processes::PROBES,
        identity::PROBES,
        network::PROBES,
        calls::PROBES,
        privileges::PROBES,
        calls::DANGEROUS,
        resources::PROBES,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `bench probe NAME FACTS`: one probe, inside. Prints its finding as a line of JSON.
pub(crate) fn main(name: &str, facts: &Path) -> Result<()> {
    let text = std::fs::read_to_string(facts).context(FACTS)?;
    let facts: Facts = serde_json::from_str(&text).context(FACTS)?;
    let all = all();
    let probe = all.iter().find(|probe| probe.name == name);
    let probe = probe.with_context(|| format!("no probe {name}"))?;
    let finding = (probe.run)(&facts);
    println!("{}", serde_json::to_string(&finding)?);
    Ok(())
}

/// Leaked if the call did what it was asked for; held with its errno if not.
fn done<T>(call: &str, answer: Result<T, Errno>) -> Finding {
    match answer {
        Ok(_) => Finding::leaked(format!("{call} succeeded")),
        Err(Errno::ENOSYS) => missing(call),
        Err(errno) => Finding::held(format!("{call}: {errno:?}")),
    }
}

/// Leaked if the kernel objects to the impossible argument only, and so has let the caller pass.
fn permitted<T>(call: &str, answer: Result<T, Errno>, objection: Errno) -> Finding {
    match answer {
        Err(errno) if errno == objection => Finding::leaked(format!(
            "{call}: permitted ({errno:?} is about the impossible argument)"
        )),
        Err(Errno::ENOSYS) => missing(call),
        Err(errno) => Finding::held(format!("{call}: {errno:?}")),
        Ok(_) => Finding::leaked(format!("{call} succeeded")),
    }
}

/// No such call: either the kernel has none, or a filter says so. The caller of the probe knows which.
fn missing(call: &str) -> Finding {
    Finding::held(format!("{call}: ENOSYS"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
