//! What the caller may not give the process: ids, resource limits, an OOM score, a label.

use crate::check::{Code, Findings, Subject};
use crate::namespaces::{IdMap, Need};
use crate::sys::rlimit;
use caps::Capability;
use nix::unistd::Pid;

/// Adds lines of id maps that will be refused.
pub(super) fn id_maps(subject: &Subject<'_>, findings: &mut Findings) {
    for (path, map, need) in subject.plan.namespaces.map_needs(subject.host) {
        let is_user = path == "linux.uidMappings";
        match need {
            Need::Mapped => {
                let file = if is_user {
                    "/proc/self/uid_map"
                } else {
                    "/proc/self/gid_map"
                };
                let Some(text) = subject.files.text(file) else {
                    continue;
                };
                let ranges = ranges(&text, |words| Some((number(words, 0)?, number(words, 2)?)));
                for (index, line) in map.iter().enumerate() {
                    if !is_covered(line, &ranges) {
                        let why =
                            format!("{} is not mapped where casulo runs ({file})", text_of(line));
                        findings.add(Code::IdMapDenied, format!("{path}[{index}].hostID"), why);
                    }
                }
            }
            Need::Program(program, file) => {
                if !subject.files.has_program(program) {
                    let why = format!(
                        "{program} is needed to map more than the own id, and is not installed"
                    );
                    findings.add(Code::IdMapDenied, path, why);
                }
                let own = if is_user {
                    subject.host.euid
                } else {
                    subject.host.egid
                };
                let mut ranges = subordinate(subject, file);
                ranges.push((own, 1));
                // If nsswitch.conf names a source (subid), newuidmap asks that instead of the file.
                let elsewhere = subject
                    .files
                    .text("/etc/nsswitch.conf")
                    .is_some_and(|text| {
                        text.lines()
                            .any(|line| line.trim_start().starts_with("subid:"))
                    });
                for (index, line) in map.iter().enumerate().filter(|_| !elsewhere) {
                    if !is_covered(line, &ranges) {
                        let why = format!(
                            "{file} does not give {} to the user with uid {}",
                            text_of(line),
                            subject.host.euid
                        );
                        findings.add(Code::IdMapDenied, format!("{path}[{index}].hostID"), why);
                    }
                }
            }
        }
    }
}

fn text_of(line: &IdMap) -> String {
    format!(
        "{} (and {} more)",
        line.outside,
        line.count.saturating_sub(1)
    )
}

/// Returns the ranges in a text, which `read` takes from the words of each line: first id and count.
fn ranges(text: &str, read: impl Fn(&[&str]) -> Option<(u32, u32)>) -> Vec<(u32, u32)> {
    let words = |line: &str| {
        read(
            &line
                .split([' ', '\t', ':'])
                .filter(|it| !it.is_empty())
                .collect::<Vec<_>>(),
        )
    };
    text.lines().filter_map(words).collect()
}

fn number(words: &[&str], place: usize) -> Option<u32> {
    words.get(place)?.parse().ok()
}

/// Returns the caller's ranges in /etc/subuid or /etc/subgid, whose lines are `NAME:START:COUNT`, with
/// a name or a uid.
fn subordinate(subject: &Subject<'_>, file: &str) -> Vec<(u32, u32)> {
    let uid = subject.host.euid.to_string();
    let passwd = subject.files.text("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    });
    let text = subject.files.text(file).unwrap_or_default();
    ranges(&text, |words| {
        let owner = *words.first()?;
        let is_ours = owner == uid || Some(owner) == name;
        is_ours.then_some((number(words, 1)?, number(words, 2)?))
    })
}

fn is_covered(line: &IdMap, ranges: &[(u32, u32)]) -> bool {
    let end = |start: u32, count: u32| u64::from(start) + u64::from(count);
    ranges.iter().any(|(start, count)| {
        *start <= line.outside && end(line.outside, line.count) <= end(*start, *count)
    })
}

/// Adds hard limits above the caller's, if the caller may not raise them.
pub(super) fn rlimits(subject: &Subject<'_>, findings: &mut Findings) {
    // The capability counts over the initial user namespace only: setrlimit(2).
    let may_raise = has_resource(subject);
    for (index, wanted) in subject.plan.process.rlimits.iter().enumerate() {
        let at = format!("process.rlimits[{index}].hard");
        if wanted.name == "RLIMIT_NOFILE"
            && let Some(most) = subject.files.text("/proc/sys/fs/nr_open")
            && let Ok(most) = most.trim().parse::<u64>()
            && wanted.limit.hard > most
        {
            let why = format!(
                "{} is above {most}, /proc/sys/fs/nr_open",
                wanted.limit.hard
            );
            findings.add(Code::RlimitTooHigh, &at, why);
        } else if let Ok(now) = rlimit::get(Pid::from_raw(0), wanted.resource)
            && wanted.limit.hard > now.hard
            && !may_raise
        {
            let why = format!(
                "{} of {} is above the caller's {}, and raising it needs CAP_SYS_RESOURCE",
                wanted.limit.hard, wanted.name, now.hard
            );
            findings.add(Code::RlimitTooHigh, &at, why);
        }
    }
}

fn has_resource(subject: &Subject<'_>) -> bool {
    subject.host.has_capability(Capability::CAP_SYS_RESOURCE) && !subject.host.in_user_namespace
}

/// Adds a score below the caller's: proc_pid_oom_score_adj(5).
pub(super) fn oom_score(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(score) = subject.plan.process.oom_score_adj else {
        return;
    };
    let now = subject.files.text("/proc/self/oom_score_adj");
    let now = now
        .and_then(|text| text.trim().parse::<i32>().ok())
        .unwrap_or(0);
    if !has_resource(subject) && score < now.min(0) {
        let why = format!("{score} is below the caller's {now}, which needs CAP_SYS_RESOURCE");
        findings.add(Code::OomScoreDenied, "process.oomScoreAdj", why);
    }
}

/// Adds an AppArmor profile that is not loaded. Adds nothing if the caller may not read the list.
pub(super) fn apparmor(subject: &Subject<'_>, findings: &mut Findings) {
    let Some(profile) = &subject.plan.process.labels.apparmor else {
        return;
    };
    let Some(loaded) = subject.files.text("/sys/kernel/security/apparmor/profiles") else {
        return;
    };
    // `NAME (mode)`; a profile of another policy namespace (`:ns:NAME`) and stacks are not in the list.
    let is_plain = !profile.starts_with(':') && !profile.contains("//&");
    let is_loaded = |line: &str| {
        line.rsplit_once(" (")
            .is_some_and(|(name, _)| name == profile)
    };
    if profile != "unconfined" && is_plain && !loaded.lines().any(is_loaded) {
        let why = format!("the profile {profile:?} is not loaded");
        findings.add(Code::ApparmorProfileMissing, "process.apparmorProfile", why);
    }
}
