//! What a process that was stopped before execve had more than the container's own process will have.

use crate::support::Lab;
use nix::unistd::{Pid, getpgid, getpgrp, getsid};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;

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

/// In whom it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// What becomes the container's process.
    Process,
    /// The maker of a procfs.
    Maker,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) who: Who,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn of_process(kind: Kind, text: String) -> Finding {
        let who = Who::Process;
        Finding { kind, who, text }
    }
}

/// Of the host and of the caller: what nobody inside may have.
pub(super) struct Host {
    namespaces: Vec<(&'static str, String)>,
    root: String,
    mounts: String,
    autogroup: String,
    session: Pid,
    group: Pid,
}

impl Host {
    /// Whoever calls this calls the runtime, too.
    pub(super) fn new() -> Host {
        let namespace = |kind| {
            let path = format!("/proc/thread-self/ns/{kind}");
            let name = fs::read_link(path).unwrap().display().to_string();
            (kind, name)
        };
        let root = fs::metadata("/").unwrap();
        let autogroup = fs::read_to_string("/proc/self/autogroup").unwrap_or_default();
        Host {
            namespaces: ["mnt", "net", "ipc", "uts", "cgroup"].map(namespace).into(),
            root: format!("{}:{}", root.dev(), root.ino()),
            mounts: fs::read_to_string("/proc/thread-self/mountinfo").unwrap(),
            autogroup: autogroup.split(' ').next().unwrap_or_default().to_owned(),
            session: getsid(None).unwrap(),
            group: getpgrp(),
        }
    }

    /// What the host sees of the session of one of its processes, which cannot be told inside: there it is 0.
    pub(super) fn session_of(&self, pid: i32) -> Vec<Finding> {
        let pid = Pid::from_raw(pid);
        let mut found = Vec::new();
        let (session, group) = (getsid(Some(pid)).unwrap(), getpgid(Some(pid)).unwrap());
        if session == self.session || group == self.group {
            let text = format!("in the caller's session {session}, group {group}");
            found.push(Finding::of_process(Kind::Session, text));
        }
        found
    }
}

/// What the look at a held process shows that it must not: more than `own`, the look of the container's own process
/// at itself, or something of the host's.
pub(super) fn findings(held: &Value, own: &Value, host: &Host) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |kind, text: String| found.push(Finding::of_process(kind, text));
    // Without the defences the container's own process may never have come to look around.
    if own["ns"].is_object() {
        compare_places(held, own, &mut add);
    }
    compare_status(held, own, &mut add);
    compare_streams(held, own, &mut add);
    of_the_host(held, host, &mut add);
    for fd in held["fds"].as_array().into_iter().flatten() {
        if fd["fd"].as_i64() > Some(2) && fd["kind"] != "fifo" && !is_refused(&fd["to"]) {
            add(Kind::Descriptors, name_of(fd));
        }
    }
    traced(held, &mut add);
    taken(held, &mut add);
    found
}

/// The same for the maker of a procfs, which has an empty root and nothing else. `may_be_traced`: it is dumpable once
/// it has its context, for who takes that may not trace it otherwise. `attacker` is a process of the container that attacks.
pub(super) fn findings_of_maker(
    held: &Value,
    attacker: i32,
    host: &Host,
    may_be_traced: bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |kind, text: String| {
        let who = Who::Maker;
        found.push(Finding { kind, who, text });
    };
    of_the_host(held, host, &mut add);
    for kind in ["user", "mnt"] {
        let theirs = fs::read_link(format!("/proc/{attacker}/ns/{kind}")).unwrap();
        if held["ns"][kind] == theirs.to_str().unwrap() {
            add(
                Kind::Outside,
                format!("its {kind} is the attacker's: {theirs:?}"),
            );
        }
    }
    let mounts = held["mountinfo"].as_str().unwrap_or_default();
    if !is_refused(&held["mountinfo"]) && mounts.lines().count() > 1 {
        add(Kind::Outside, format!("more than a root: {mounts}"));
    }
    if held["root_entries"].as_u64() > Some(0) {
        let text = format!("its root is {}, not empty", held["root"]);
        add(Kind::Outside, text);
    }
    const SYS_ADMIN: u64 = 1 << 21;
    for (name, most) in [
        ("CapInh", 0),
        ("CapPrm", SYS_ADMIN),
        ("CapEff", SYS_ADMIN),
        ("CapBnd", 0),
        ("CapAmb", 0),
    ] {
        let more = bits(&held[name]) & !most;
        if more != 0 {
            add(Kind::Capabilities, format!("{name} has {more:x} more"));
        }
    }
    for (name, value) in [("Seccomp", "2"), ("NoNewPrivs", "1")] {
        if held[name] != value {
            add(Kind::Filter, format!("{name} {}", held[name]));
        }
    }
    for fd in held["fds"].as_array().into_iter().flatten() {
        if fd["to"] != "anon_inode:[fscontext]" && !is_refused(&fd["to"]) {
            add(Kind::Descriptors, name_of(fd));
        }
    }
    if !may_be_traced {
        traced(held, &mut add);
    }
    taken(held, &mut add);
    found
}

/// `reference`, the look of a process with all defences, in the place of `own`, one that may be without.
pub(super) fn in_the_place_of(own: &Value, reference: &Value) -> Value {
    let mut look = reference.clone();
    for name in ["root", "cwd", "net", "mountinfo", "ns"] {
        look[name] = own[name].clone();
    }
    look
}

/// Where it is.
fn compare_places(held: &Value, own: &Value, add: &mut impl FnMut(Kind, String)) {
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
}

/// Who it is and what it may do.
fn compare_status(held: &Value, own: &Value, add: &mut impl FnMut(Kind, String)) {
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
}

/// Its standard streams are those that the program has.
fn compare_streams(held: &Value, own: &Value, add: &mut impl FnMut(Kind, String)) {
    let all = |look: &Value| look["fds"].as_array().cloned().unwrap_or_default();
    let ours = all(own);
    for fd in all(held)
        .iter()
        .filter(|it| it["fd"].as_i64() <= Some(2) && !is_refused(&it["to"]))
    {
        // Files and pipes are others for each call.
        let is_same = |it: &Value| {
            it["fd"] == fd["fd"]
                && it["kind"] == fd["kind"]
                && (it["to"] == fd["to"] || fd["kind"] == "file" || fd["kind"] == "fifo")
        };
        if !ours.iter().any(is_same) {
            add(Kind::Descriptors, name_of(fd));
        }
    }
}

/// What it shares with the host or the caller.
fn of_the_host(held: &Value, host: &Host, add: &mut impl FnMut(Kind, String)) {
    for (kind, name) in &host.namespaces {
        if held["ns"][kind] == name.as_str() {
            add(Kind::Outside, format!("{name} is the host's"));
        }
    }
    for name in ["root", "cwd"] {
        if held[name] == host.root.as_str() {
            add(Kind::Outside, format!("its {name} is the host's root"));
        }
    }
    let mounts = held["mountinfo"].as_str().unwrap_or_default();
    if let Some(mount) = mounts
        .lines()
        .find(|it| host.mounts.lines().any(|of_host| of_host == *it))
    {
        add(Kind::Outside, format!("a mount of the host: {mount}"));
    }
    if held["autogroup"] == host.autogroup.as_str() {
        add(Kind::Session, "the caller's autogroup".into());
    }
    if held["tty"] != 0 {
        add(Kind::Session, format!("terminal {}", held["tty"]));
    }
    // The session that an entrant made is nobody's inside, which is 0; init of a new pid namespace leads its own.
    let itself = held["pid"].as_str().and_then(|it| it.parse::<i64>().ok());
    let is_init = held["is_init"] == true;
    let nobody_or_itself = |it: &Value| it.as_i64() == itself || !is_init && it.as_i64() == Some(0);
    for name in ["session", "pgrp"] {
        if !nobody_or_itself(&held[name]) {
            add(Kind::Session, format!("{name} {}", held[name]));
        }
    }
    let session = &held["calls"]["getsid"];
    if session.is_i64() && !nobody_or_itself(session) {
        add(Kind::Session, format!("getsid: {session}"));
    }
}

fn traced(held: &Value, add: &mut impl FnMut(Kind, String)) {
    if held["may_trace"] == false && (held["seized"] == true || !is_refused(&held["exe"])) {
        let text = format!("it could be traced: {}", held["exe"]);
        add(Kind::Dumpable, text);
    }
}

/// What could be taken from it.
fn taken(held: &Value, add: &mut impl FnMut(Kind, String)) {
    for (socket, theirs) in held["peers"].as_object().into_iter().flatten() {
        add(Kind::Peers, format!("{socket} leads to {theirs}"));
    }
    for name in ["cmdline", "environ"] {
        let text = held[name].as_str().unwrap_or_default();
        if !text.is_empty() && !is_refused(&held[name]) {
            add(Kind::Memory, format!("{name} {text}"));
        }
    }
    for needle in held["memory"]["found"].as_array().into_iter().flatten() {
        add(Kind::Memory, format!("{needle} in its memory"));
    }
    calls(held, add);
    if held["kept"]["unlocked"] == 0 {
        add(Kind::Program, format!("made writable: {}", held["kept"]));
    }
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

/// The attacker saw all that there is: what it did not find there is not there.
pub(super) fn is_seen_wholly(held: &Value) -> bool {
    // Where there is no way to make a process call, none is asked for (`attacker/inject.rs`).
    let has_called = !cfg!(target_arch = "x86_64") || !held["calls"]["mount"].is_null();
    held["seized"] == true
        && !is_refused(&held["root"])
        && held["fds"].is_array()
        && held["memory"]["read"].as_u64() > Some(0)
        && has_called
}

fn name_of(fd: &Value) -> String {
    format!("{} {} {}", fd["fd"], fd["kind"], fd["to"])
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
