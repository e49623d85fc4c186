//! What a process that was stopped before execve had more than the container's own process will have.

use crate::support::Lab;
use serde_json::Value;
use std::fs;

/// A thing that a visible process must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A namespace, root or working directory that is not the container's.
    Outside,
    Ids,
    Capabilities,
    /// No filter, or no `no_new_privs`.
    Filter,
    /// The caller's session, process group or terminal.
    Session,
    /// A descriptor other than stdio and pipes.
    Descriptors,
    /// A socket whose peer is a process of the host.
    Peers,
    /// Secrets in its memory, arguments or environment.
    Memory,
    Dumpable,
    /// A program that can be made writable.
    Program,
}

impl Kind {
    pub(super) const ALL: [Kind; 10] = [
        Kind::Outside,
        Kind::Ids,
        Kind::Capabilities,
        Kind::Filter,
        Kind::Session,
        Kind::Descriptors,
        Kind::Peers,
        Kind::Memory,
        Kind::Dumpable,
        Kind::Program,
    ];

    /// The defence that keeps it away, as `CASULO_WITHOUT` takes it.
    pub(super) fn switch(self) -> &'static str {
        match self {
            Kind::Outside => "joined-before-birth",
            Kind::Ids => "ids-before-birth",
            Kind::Capabilities => "caps-before-birth",
            Kind::Filter => "filter-before-birth",
            Kind::Session => "own-session",
            Kind::Descriptors => "descriptors-closed",
            Kind::Peers => "pipes-only",
            Kind::Memory => "not-forked",
            Kind::Dumpable => "not-dumpable",
            Kind::Program => "own-mount-closed",
        }
    }

    /// Whether the test build has the defence's switch.
    pub(super) fn has_switch(self, lab: &Lab) -> bool {
        let name: String = self
            .switch()
            .split('-')
            .map(|word| word[..1].to_uppercase() + &word[1..])
            .collect();
        lab.use_test_build("CASULO_WITHOUT", "");
        let bytes = fs::read(lab.command().get_program()).unwrap();
        lab.use_runtime();
        bytes.windows(name.len()).any(|it| it == name.as_bytes())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What the look at a held process shows that `own`, the look of the container's own process at itself, has
/// not. `caller` stands in the caller's arguments: no argument of a held process may have it.
pub(super) fn findings(held: &Value, own: &Value, caller: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |kind, text: String| found.push(Finding { kind, text });
    if is_maker(held) {
        return found;
    }
    // mountinfo and net are there for all to read; for the others a refusal is no finding.
    let names = ["root", "cwd", "net", "mountinfo"];
    let mut places: Vec<_> = names.iter().map(|it| (*it, &held[it], &own[it])).collect();
    let kinds = ["user", "mnt", "net", "ipc", "uts", "cgroup", "time", "pid"];
    places.extend(
        kinds
            .iter()
            .map(|it| (*it, &held["ns"][it], &own["ns"][it])),
    );
    for (name, theirs, ours) in places {
        let (theirs, ours) = (&without_cgroup_roots(theirs), &without_cgroup_roots(ours));
        if !is_refused(theirs) && theirs != ours {
            let (theirs, ours) = first_difference(theirs, ours);
            add(Kind::Outside, format!("{name} is {theirs}, not {ours}"));
        }
    }
    for name in ["Uid", "Gid", "Groups"] {
        // Who looks from a user namespace of its own sees no ids of others.
        let is_seen = !held[name].as_str().is_some_and(|it| it.contains("65534"));
        if is_seen && held[name] != own[name] {
            add(
                Kind::Ids,
                format!("{name} {} not {}", held[name], own[name]),
            );
        }
    }
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let more = bits(&held[name]) & !bits(&own[name]);
        if more != 0 {
            add(Kind::Capabilities, format!("{name} has {more:x} more"));
        }
    }
    for name in ["Seccomp", "NoNewPrivs"] {
        if held[name] != own[name] {
            add(
                Kind::Filter,
                format!("{name} {} not {}", held[name], own[name]),
            );
        }
    }
    if held["autogroup"].as_str() == Some(own_autogroup().as_str()) {
        add(Kind::Session, "the caller's autogroup".into());
    }
    if held["tty"] != 0 {
        add(Kind::Session, format!("terminal {}", held["tty"]));
    }
    for fd in held["fds"].as_array().into_iter().flatten() {
        if fd["fd"].as_i64() > Some(2) && fd["kind"] != "fifo" && !is_refused(&fd["to"]) {
            let text = format!("{} {} {}", fd["fd"], fd["kind"], fd["to"]);
            add(Kind::Descriptors, text);
        }
    }
    if held["may_trace"] == false && (held["seized"] == true || !is_refused(&held["exe"])) {
        add(
            Kind::Dumpable,
            format!("it could be traced: {}", held["exe"]),
        );
    }
    for (socket, theirs) in held["peers"].as_object().into_iter().flatten() {
        add(Kind::Peers, format!("{socket} leads to {theirs}"));
    }
    for name in ["cmdline", "environ"] {
        if held[name].as_str().is_some_and(|it| it.contains(caller)) {
            add(Kind::Memory, format!("{name} {}", held[name]));
        }
    }
    for needle in held["memory"]["found"].as_array().into_iter().flatten() {
        add(Kind::Memory, format!("{needle} in its memory"));
    }
    calls(held, &mut add);
    if held["kept"]["unlocked"] == 0 {
        add(Kind::Program, format!("made writable: {}", held["kept"]));
    }
    found
}

/// What it did when it was made to call.
fn calls(held: &Value, add: &mut impl FnMut(Kind, String)) {
    let calls = &held["calls"];
    if calls["mount"] == 0 {
        add(Kind::Capabilities, "it mounted a tmpfs".into());
    }
    if calls["tty"].as_i64() >= Some(0) {
        add(
            Kind::Session,
            format!("it opened /dev/tty, TIOCSTI {}", calls["sti"]),
        );
    }
    for (fd, to) in calls["through"].as_object().into_iter().flatten() {
        add(Kind::Descriptors, format!("{fd}/.. is {to}"));
    }
}

/// The process that asks for a procfs in another pid namespace: nothing but a user namespace of its own, no
/// descriptor but that procfs, no bounding set, a filter.
fn is_maker(held: &Value) -> bool {
    let fds = held["fds"].as_array();
    fds.is_some_and(|fds| fds.iter().all(|fd| fd["to"] == "anon_inode:[fscontext]"))
        && held["Seccomp"] == "2"
        && held["NoNewPrivs"] == "1"
        && bits(&held["CapBnd"]) == 0
}

/// The kernel's answer was an errno.
fn is_refused(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() < 16 && text.starts_with('E') || text == "UnknownErrno"
}

fn bits(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap_or_default(), 16).unwrap_or(u64::MAX)
}

/// Where a cgroup mount begins is written as the reader's cgroup namespace has it.
fn without_cgroup_roots(value: &Value) -> Value {
    let line = |line: &str| match line.contains(" - cgroup2 ") {
        false => line.to_owned(),
        true => {
            let words: Vec<&str> = line.split(' ').collect();
            [&words[..3], &words[4..]].concat().join(" ")
        }
    };
    match value.as_str() {
        Some(text) => text.lines().map(line).collect::<Vec<_>>().join("\n").into(),
        None => value.clone(),
    }
}

/// The first lines that differ.
fn first_difference<'a>(theirs: &'a Value, ours: &'a Value) -> (&'a str, &'a str) {
    let (theirs, ours) = (theirs.as_str().unwrap_or(""), ours.as_str().unwrap_or(""));
    let mut pairs = theirs.lines().zip(ours.lines());
    pairs.find(|(a, b)| a != b).unwrap_or((theirs, ours))
}

fn own_autogroup() -> String {
    let text = fs::read_to_string("/proc/self/autogroup").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
