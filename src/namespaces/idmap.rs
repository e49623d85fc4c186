//! uid and gid maps of user namespaces: checked in the plan, written by the parent.

use super::{Kind, Plan};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::host::Host;
use crate::procfs::ProcFs;
use caps::Capability;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;
use oci_spec::runtime::{Linux, LinuxIdMapping};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read};
use std::process::{Command, Output, Stdio};

/// The most lines that the kernel takes (`UID_GID_MAP_MAX_EXTENTS`), user_namespaces(7).
const MAX_LINES: usize = 340;
/// A map is written by one write(2) of fewer bytes than this, a page: user_namespaces(7).
const MAX_BYTES: usize = 4096;

/// The id that no user has, -1. setresuid(2), setresgid(2), chown(2) and the like take it for "leave it as
/// it is", so a process of root's that asked for it would stay root (CVE-2024-40635).
pub(crate) const NO_ID: u32 = u32::MAX;

/// Adds a problem if `id`, a uid or gid at the JSON path `place`, is [`NO_ID`]. Pure.
pub(crate) fn check_id(id: u32, place: impl FnOnce() -> String, problems: &mut Problems) {
    if id == NO_ID && !without(Defence::PlannedIds) {
        problems.add(
            place(),
            format!("{id} is nobody's id: the kernel takes it for \"unchanged\""),
        );
    }
}

/// One line of uid_map or gid_map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdMap {
    /// The first id inside the namespace.
    pub inside: u32,
    /// The first id outside, as casulo's own user namespace numbers it.
    pub outside: u32,
    /// The number of ids, at least one.
    pub count: u32,
}

/// Returns the id outside for the container's `id`; `None` if no line maps it.
pub(crate) fn outside_of(map: &[IdMap], id: u32) -> Option<u32> {
    map.iter().find_map(|line| {
        let offset = id.checked_sub(line.inside)?;
        let outside = line.outside.checked_add(offset)?;
        (offset < line.count).then_some(outside)
    })
}

impl Plan {
    /// True if [`write_maps`] will deny setgroups(2) in the container, as it must for a caller
    /// that maps its own gid without CAP_SETGID: then init cannot set supplementary groups.
    pub(crate) fn denies_setgroups(&self, host: &Host) -> bool {
        self.is_new(Kind::User)
            && writer(&self.gid_map, host.egid, host, Capability::CAP_SETGID) == Writer::OwnId
    }
}

/// The requirement for writing a map of a new user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Every hostID must be mapped in the caller's own user namespace.
    Mapped,
    /// This program must be there, and this file must give the user a range.
    Program(&'static str, &'static str),
}

impl Plan {
    /// Returns the maps that [`write_maps`] will write, each with its JSON path and what writing it needs.
    pub(crate) fn map_needs(&self, host: &Host) -> Vec<(&'static str, &[IdMap], Need)> {
        if !self.is_new(Kind::User) {
            return Vec::new();
        }
        let need = |writer, program| match writer {
            Writer::Privileged | Writer::OwnId => Need::Mapped,
            Writer::Program => program,
        };
        let uids = writer(&self.uid_map, host.euid, host, Capability::CAP_SETUID);
        let gids = writer(&self.gid_map, host.egid, host, Capability::CAP_SETGID);
        let (newuidmap, newgidmap) = (
            Need::Program("newuidmap", "/etc/subuid"),
            Need::Program("newgidmap", "/etc/subgid"),
        );
        vec![
            ("linux.uidMappings", &self.uid_map, need(uids, newuidmap)),
            ("linux.gidMappings", &self.gid_map, need(gids, newgidmap)),
        ]
    }
}

/// Reads `linux.uidMappings` and `linux.gidMappings` for the namespaces in `plan`.
///
/// Both are optional. A new user namespace without any map could run processes of the overflow user only, so
/// without both the caller becomes its root, as with crun and `unshare --map-root-user`. One without the
/// other is more likely a mistake, and a problem.
pub(super) fn plan(linux: &Linux, host: &Host, plan: &mut Plan, problems: &mut Problems) {
    let given = |list: &Option<Vec<LinuxIdMapping>>| list.as_ref().is_some_and(|it| !it.is_empty());
    if plan.is_new(Kind::User) && !given(linux.uid_mappings()) && !given(linux.gid_mappings()) {
        let root_is = |outside| {
            vec![IdMap {
                inside: 0,
                outside,
                count: 1,
            }]
        };
        (plan.uid_map, plan.gid_map) = (root_is(host.euid), root_is(host.egid));
        return;
    }
    let lists = [
        ("linux.uidMappings", linux.uid_mappings()),
        ("linux.gidMappings", linux.gid_mappings()),
    ];
    let [uid_map, gid_map] = lists.map(|(path, list)| {
        let list = list.as_deref().unwrap_or_default();
        if list.is_empty() {
            if plan.is_new(Kind::User) {
                problems.add(
                    path,
                    "missing; a new user namespace needs both maps, or neither",
                );
            }
        } else if !plan.has(Kind::User) {
            problems.add(
                path,
                "given without a user namespace in linux.namespaces, so it would have no effect",
            );
        }
        read(list, path, problems)
    });
    plan.uid_map = uid_map;
    plan.gid_map = gid_map;
}

/// Returns the lines of the map at the JSON path `path`. Checks what the kernel will check, so that the
/// error can name the line. Pure.
pub(crate) fn read(list: &[LinuxIdMapping], path: &str, problems: &mut Problems) -> Vec<IdMap> {
    let map: Vec<IdMap> = list
        .iter()
        .map(|line| IdMap {
            inside: line.container_id(),
            outside: line.host_id(),
            count: line.size(),
        })
        .collect();
    check(&map, path, problems);
    map
}

/// Checks a map as [`read`] does, for lines that come from elsewhere.
pub(crate) fn check(map: &[IdMap], path: &str, problems: &mut Problems) {
    for (index, line) in map.iter().enumerate() {
        if line.count == 0 {
            problems.add(format!("{path}[{index}].size"), "0 maps nothing");
        }
        // Neither side may hold NO_ID, so a range ends before it.
        if line.inside.checked_add(line.count).is_none() {
            problems.add(
                format!("{path}[{index}]"),
                "containerID and size reach past the last id",
            );
        }
        if line.outside.checked_add(line.count).is_none() {
            problems.add(
                format!("{path}[{index}]"),
                "hostID and size reach past the last id",
            );
        }
        for (earlier, other) in map.iter().enumerate().take(index) {
            if overlap(line.inside, other.inside, line.count, other.count) {
                problems.add(
                    format!("{path}[{index}]"),
                    format!("maps a containerID that {path}[{earlier}] maps already"),
                );
            }
            if overlap(line.outside, other.outside, line.count, other.count) {
                problems.add(
                    format!("{path}[{index}]"),
                    format!("maps a hostID that {path}[{earlier}] maps already"),
                );
            }
        }
    }
    if map.len() > MAX_LINES {
        problems.add(
            path,
            format!("{} entries; the kernel takes {MAX_LINES}", map.len()),
        );
    } else if text(map).len() >= MAX_BYTES {
        problems.add(
            path,
            "too long; the kernel takes less than 4096 bytes of text",
        );
    }
}

fn overlap(a: u32, b: u32, a_count: u32, b_count: u32) -> bool {
    u64::from(a) < u64::from(b) + u64::from(b_count)
        && u64::from(b) < u64::from(a) + u64::from(a_count)
}

fn text(map: &[IdMap]) -> String {
    map.iter().fold(String::new(), |mut text, line| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{} {} {}", line.inside, line.outside, line.count);
        text
    })
}

/// The way in which a map is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writer {
    /// By casulo, with CAP_SETUID or CAP_SETGID over the ids.
    Privileged,
    /// By casulo: any process may map its own id alone. For a gid_map the kernel wants setgroups(2) denied
    /// first: otherwise a process could drop a group that a file denies access to (CVE-2014-8989).
    OwnId,
    /// By newuidmap or newgidmap, which consult /etc/subuid and /etc/subgid, and themselves deny setgroups
    /// where they must.
    Program,
}

fn writer(map: &[IdMap], own: u32, host: &Host, capability: Capability) -> Writer {
    match map {
        _ if host.has_capability(capability) => Writer::Privileged,
        [line] if line.count == 1 && line.outside == own => Writer::OwnId,
        _ => Writer::Program,
    }
}

/// Parent, after [`super::spawn()`] and before init is told to go on: writes setgroups, uid_map and gid_map
/// of `pid`, which made a new user namespace. Where a user namespace was joined and the config has maps too,
/// compares them: engines send both, and a difference would mean that files were prepared for other ids.
/// Does nothing for other plans.
///
/// # Errors
/// E_ID_MAP with a hint: the file and the kernel's errno, or what newuidmap wrote to its stderr.
pub(crate) fn write_maps(plan: &Plan, pid: Pid, host: &Host) -> Result<()> {
    if !plan.is_new(Kind::User) {
        return compare_maps(plan, pid);
    }
    let proc = ProcFs::host().context(Code::IdMap, "open", "/proc")?;
    match writer(&plan.uid_map, host.euid, host, Capability::CAP_SETUID) {
        Writer::Privileged | Writer::OwnId => write(&proc, pid, "uid_map", &text(&plan.uid_map))?,
        Writer::Program => run("newuidmap", pid, &plan.uid_map, "/etc/subuid", host)?,
    }
    let gid_writer = writer(&plan.gid_map, host.egid, host, Capability::CAP_SETGID);
    match gid_writer {
        Writer::Privileged => write(&proc, pid, "gid_map", &text(&plan.gid_map)),
        Writer::OwnId => {
            write(&proc, pid, "setgroups", "deny")?;
            write(&proc, pid, "gid_map", &text(&plan.gid_map))
        }
        Writer::Program => run("newgidmap", pid, &plan.gid_map, "/etc/subgid", host),
    }
}

fn write(proc: &ProcFs, pid: Pid, file: &str, text: &str) -> Result<()> {
    proc.write(&format!("{pid}/{file}"), text.as_bytes())
        .map_err(|errno| {
            let shown = text.trim_end().replace('\n', ", ");
            let error = Error::step(
                Code::IdMap,
                "write",
                format!("/proc/{pid}/{file} ({shown})"),
                errno,
            );
            match errno {
                Errno::EPERM => error.hint(
                    "every hostID must be mapped in the caller's own user namespace; mapping \
                     hostID 0 also needs CAP_SETFCAP",
                ),
                _ => error,
            }
        })
}

/// Runs newuidmap or newgidmap: setuid (or setcap) programs of the package `uidmap`.
fn run(program: &str, pid: Pid, map: &[IdMap], ranges: &str, host: &Host) -> Result<()> {
    let arguments: Vec<String> = map
        .iter()
        .flat_map(|line| [line.inside, line.outside, line.count])
        .map(|number| number.to_string())
        .collect();
    let try_run = |name: &str| -> std::io::Result<Output> {
        Command::new(name)
            .arg(pid.to_string())
            .args(&arguments)
            .stdin(Stdio::null())
            .output()
    };
    // Engines may call casulo without PATH.
    let outcome = match try_run(program) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            try_run(&format!("/usr/bin/{program}"))
        }
        outcome => outcome,
    };
    let failed = match outcome {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Error {
                step: program.to_owned(),
                object: arguments.join(" "),
                ..Error::new(Code::IdMap, format!("{}: {}", output.status, said.trim()))
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::new(
                Code::IdMap,
                format!("{program} is needed to map more than the own id, and is not installed"),
            )
            .hint("install the package uidmap (shadow-utils)"));
        }
        Err(error) => return Err(error).context(Code::IdMap, "run", program),
    };
    Err(failed.hint(format!(
        "{ranges} must give the user with uid {} the whole range",
        host.euid
    )))
}

fn compare_maps(plan: &Plan, pid: Pid) -> Result<()> {
    if plan.uid_map.is_empty() && plan.gid_map.is_empty() {
        return Ok(());
    }
    let proc = ProcFs::host().context(Code::IdMap, "open", "/proc")?;
    for (file, json, wanted) in [
        ("uid_map", "linux.uidMappings", &plan.uid_map),
        ("gid_map", "linux.gidMappings", &plan.gid_map),
    ] {
        let object = format!("/proc/{pid}/{file}");
        let fd = proc
            .open(&format!("{pid}/{file}"), OFlag::O_RDONLY)
            .context(Code::IdMap, "open", &object)?;
        let mut found = String::new();
        std::fs::File::from(fd)
            .read_to_string(&mut found)
            .context(Code::IdMap, "read", &object)?;
        if !same(&parse(&found), wanted) {
            let found = found.split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(Error::new(
                Code::IdMap,
                format!(
                    "{json} differs from the map of the user namespace that is joined ({found})"
                ),
            )
            .hint("give either the namespace's path or the mappings, or the same mappings"));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Vec<IdMap> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some(IdMap {
                inside: numbers.next()?.ok()?,
                outside: numbers.next()?.ok()?,
                count: numbers.next()?.ok()?,
            })
        })
        .collect()
}

/// True if both maps have the same lines. Their order has no meaning; the kernel sorts maps of more than
/// five lines.
fn same(a: &[IdMap], b: &[IdMap]) -> bool {
    let sorted = |map: &[IdMap]| {
        let mut map = map.to_vec();
        map.sort_unstable();
        map
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests;
