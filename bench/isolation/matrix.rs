//! Every probe in every environment.

use super::facts::{Finding, MOUNT, NEW_NAME, Outcome};
use super::host::Host;
use super::probes::{Group, Probe, Proof};
use crate::containers::Limits;
use crate::environments::{Environment, Kind};
use crate::place::Place;
use anyhow::Result;
use nix::mount::{MntFlags, umount2};
use nix::unistd::{gethostname, sethostname};
use serde::{Deserialize, Serialize};
use std::process::Output;
use std::time::Duration;

/// One cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) probe: String,
    pub(crate) environment: String,
    pub(crate) finding: Finding,
}

/// All cells that were asked on one kernel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Matrix {
    /// `uname -r`, and what the machine is.
    pub(crate) kernel: String,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Runs these probes in these environments. `tick` is called before each with what comes.
pub(crate) fn fill(
    place: &Place,
    host: &mut Host<'_>,
    environments: &[Environment],
    probes: &[&Probe],
    mut tick: impl FnMut(&str, &str),
) -> Result<Matrix> {
    let mut verdicts = Vec::new();
    for environment in environments {
        for probe in probes {
            tick(&environment.name, probe.name);
            let finding = ask(place, host, environment, probe)?;
            verdicts.push(Verdict {
                probe: probe.name.into(),
                environment: environment.name.clone(),
                finding,
            });
        }
    }
    forgive(&mut verdicts);
    Ok(Matrix {
        kernel: crate::machine::kernel(),
        verdicts,
    })
}

fn ask(
    place: &Place,
    host: &mut Host<'_>,
    environment: &Environment,
    probe: &Probe,
) -> Result<Finding> {
    let limits = match probe.group {
        Group::Resources => Some(Limits {
            disk: host.facts.disk,
        }),
        _ => None,
    };
    let is_container = matches!(environment.kind, Kind::Container(..));
    if let (Some(name), true) = (missing_controller(probe, host), is_container) {
        let why = format!("cgroup v2 has no {name} controller here");
        return Ok(Finding::not_applicable(why));
    }
    let facts = environment.inside(place).1;
    let facts = facts.to_string_lossy();
    let mut command = environment.run(place, limits, &["probe", probe.name, &facts])?;
    let output = command.output()?;
    let finding = heard(&output);
    if !output.status.success()
        && let Some(container) = environment.container(place, limits)
    {
        let _ = container.delete().output();
    }
    prove(host, probe, finding)
}

/// The controller that the limit of this probe needs, if it is missing.
fn missing_controller(probe: &Probe, host: &Host<'_>) -> Option<&'static str> {
    let wanted = match probe.name {
        "memory" => "memory",
        "fork" | "threads" => "pids",
        "cpu" => "cpu",
        "disk-rate" => "io",
        _ => return None,
    };
    let is_there = host.facts.controllers.iter().any(|it| it == wanted);
    (!is_there).then_some(wanted)
}

/// What the probe said; if it said nothing, it did not run, and that is no answer.
fn heard(output: &Output) -> Finding {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().last().unwrap_or_default();
        Finding::not_applicable(format!("the probe did not run: {} {why}", output.status))
    })
}

/// Looks at the host where a probe's own word is not enough.
fn prove(host: &mut Host<'_>, probe: &Probe, finding: Finding) -> Result<Finding> {
    let said = finding.outcome == Outcome::Leaked;
    let happened = match probe.proof {
        Proof::Answer => return Ok(finding),
        Proof::Secret => finding.evidence.contains(&host.secret),
        // A signal that was sent has its effect in the end, on however slow a machine.
        Proof::VictimEnded => {
            host.victim_ended(Duration::from_millis(if said { 5000 } else { 20 }))?
        }
        Proof::MountSeen => mount_seen()?,
        Proof::HostRenamed => {
            let renamed = gethostname()?.to_string_lossy() == NEW_NAME;
            if renamed {
                sethostname("host")?;
            }
            renamed
        }
    };
    Ok(match (said, happened) {
        (true, false) => Finding::held(format!(
            "{}, but nothing came of it on the host",
            finding.evidence
        )),
        (false, true) => Finding::leaked(format!("{}, and yet it happened", finding.evidence)),
        _ => finding,
    })
}

/// True if a probe's mount is among those of the host, from which it is taken then.
fn mount_seen() -> Result<bool> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    // proc_pid_mountinfo(5): the fifth field is the mount point; the source comes after the dash.
    let ours = mounts.lines().find_map(|line| {
        let (place, source) = line.split_once(" - ")?;
        let is_ours = source.split(' ').nth(1) == Some(MOUNT);
        is_ours.then(|| place.split(' ').nth(4)).flatten()
    });
    if let Some(place) = ours {
        umount2(place, MntFlags::MNT_DETACH)?;
    }
    Ok(ours.is_some())
}

/// What does not get through where nothing is in its way says nothing about the other environments:
/// the kernel does not have it, or the machine is in a box itself.
fn forgive(verdicts: &mut [Verdict]) {
    let reasons: Vec<(String, String)> = verdicts
        .iter()
        .filter(|it| it.environment == "nothing" && it.finding.outcome != Outcome::Leaked)
        .map(|it| (it.probe.clone(), it.finding.evidence.clone()))
        .collect();
    for verdict in verdicts {
        let reason = reasons.iter().find(|(probe, _)| *probe == verdict.probe);
        if let Some((_, reason)) = reason {
            let why = format!("not possible on this machine at all: {reason}");
            verdict.finding = Finding::not_applicable(why);
        }
    }
}

impl Matrix {
    /// The rows that have an answer.
    pub(crate) fn answered(&self, probe: &str) -> bool {
        self.verdicts
            .iter()
            .any(|it| it.probe == probe && it.finding.outcome != Outcome::NotApplicable)
    }
}
