//! Nothing is visible in a container's pid namespace but what belongs there.
//!
//! Each attack stops what is born there before it has executed anything (PF_FORKNOEXEC; none caught is a
//! failure), and compares it with the container's own process: whatever it has more is a finding.

mod finding;
mod held;
mod waiting;

use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, Case, Lab, Need, Output, Running, cases, field, finish, wait_until};
use finding::{Finding, Host, Kind, Who, findings, findings_of_maker, in_the_place_of};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The cases of the files below this one.
pub(super) fn files() -> Vec<(&'static str, &'static [Case])> {
    vec![
        ("hostile::unseen", CASES),
        ("hostile::unseen::held", held::CASES),
        ("hostile::unseen::waiting", waiting::CASES),
    ]
}

cases! {
    [Root] => exec_with_default_capabilities, exec_with_ptrace, exec_from_a_user_namespace,
        exec_with_new_privileges_and_a_filter, exec_as_a_user,
        exec_as_the_same_user_with_suid_dumpable, exec_in_a_user_namespace, exec_in_a_shared_pid_namespace,
        exec_in_a_shared_pid_namespace_with_ptrace, create_in_a_joined_pid_namespace,
        create_in_a_joined_pid_namespace_with_ptrace, run_in_a_joined_pid_namespace, forged_records,
        program_is_unlocked, terminal_of_the_caller;
    [Root, TestBuild] => makers, makers_with_ptrace, makers_in_a_user_namespace;
    [Root, TestBuild] => every_defence_has_a_switch;
}

/// In the environment of whoever calls the runtime.
const SECRET_OF_THE_CALLER: &str = "secret-1c57a9-of-the-caller";
/// In an annotation of a container that is entered, so in its config and record.
const SECRET_OF_A_RECORD: &str = "secret-88e2d0-of-a-record";
/// The same of the container that attacks.
const SECRET_OF_THE_ATTACKER: &str = "secret-d3417b-of-the-attacker";
const SECRETS: [&str; 3] = [
    SECRET_OF_THE_CALLER,
    SECRET_OF_A_RECORD,
    SECRET_OF_THE_ATTACKER,
];
/// So many processes are caught before a test has seen enough, with all defences.
const ENOUGH: usize = 6;
/// So often an attacker is tried that must win.
const TRIES: usize = 4;
/// The switch by which makers of a procfs are made on every kernel.
const MAKERS: &str = "pidns-parameter";

/// The longest that a test tries to catch them.
fn limit() -> Duration {
    patient(Duration::from_secs(40))
}

/// A time for this machine: an emulated one gets six times as much.
pub(super) fn patient(time: Duration) -> Duration {
    match Need::Quick.check() {
        Ok(()) => time,
        Err(_) => time * 6,
    }
}

/// A filter that matters to nobody, and is there.
fn filter() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]
    })
}

/// A container that is attacked from `by`, maybe itself.
struct Scene<'a> {
    by: &'a Bundle<'a>,
    victim: &'a Bundle<'a>,
    /// Words of `probe stopper`.
    words: &'static str,
    /// Options of `exec`.
    options: &'static [&'static str],
}

/// A `probe stopper` in a container.
struct Stopper {
    stop: PathBuf,
    process: Running,
}

impl Stopper {
    fn new(lab: &Lab, by: &Bundle<'_>, words: &str) -> Stopper {
        let stop = by.rootfs().join("stop");
        let _ = fs::remove_file(&stop);
        let mut command = lab.command();
        command.args(["exec", by.id(), "/bin/probe", "stopper", "/stop", words]);
        // The attacker itself enters as it should.
        command.env("CASULO_WITHOUT", "");
        command.args(SECRETS);
        let process = Running::new(command, b"");
        wait_until("the attacker is there", || {
            process.stdout().contains("stops")
        });
        Stopper { stop, process }
    }

    /// What it has said so far, object by object.
    fn said(&self) -> Vec<Value> {
        objects(&self.process.stdout())
    }

    fn end(self) -> Vec<Value> {
        fs::write(&self.stop, "").unwrap();
        objects(&self.process.wait().ok().stdout)
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(Value::is_object)
        .collect()
}

/// The processes that were stopped before execve.
fn held(said: &[Value]) -> Vec<&Value> {
    said.iter()
        .filter(|it| it["before_execve"] == true)
        .collect()
}

/// The runtime's `exec` as the tests call it: with a secret around it.
fn exec(lab: &Lab, victim: &Bundle<'_>, options: &[&str], program: &[&str]) -> Command {
    let mut command = lab.command();
    command.env("SECRET", SECRET_OF_THE_CALLER);
    command
        .arg("exec")
        .args(options)
        .arg(victim.id())
        .args(program);
    command
}

/// Executes again and again until enough processes are caught; what was found in them.
fn catch_execs(lab: &Lab, scene: &Scene<'_>) -> Vec<Finding> {
    let own = own_look(lab, scene);
    let stopper = Stopper::new(lab, scene.by, scene.words);
    let begin = Instant::now();
    while held(&stopper.said()).len() < enough(lab) && begin.elapsed() < limit() {
        // A program that the host has, too, for whoever enters with the host's root.
        finish(exec(lab, scene.victim, scene.options, &["/bin/true"]), b"");
    }
    let said = stopper.end();
    let held = held(&said);
    assert!(
        !held.is_empty(),
        "none was stopped before execve: {said:#?}"
    );
    sees_all(lab, scene.words, &held);
    let mut found = compare(&held, &own);
    found.extend(written(&said));
    found
}

/// An attacker that may do all that its words say has done it at least once: what it does not find is not there.
fn sees_all(lab: &Lab, words: &str, held: &[&Value]) {
    let may_trace = held.iter().any(|it| it["may_trace"] == true);
    if words == ALL_WORDS && may_trace && !goes_without(lab) {
        assert!(
            held.iter().any(|it| finding::is_seen_wholly(it)),
            "none was seen wholly: {held:#?}"
        );
    }
}

/// What a process that enters with all defences sees of itself.
fn own_look(lab: &Lab, scene: &Scene<'_>) -> Value {
    let look = |options: &[&str]| {
        let mut command = exec(lab, scene.victim, options, &["/bin/probe", "look", "self"]);
        command.env("CASULO_WITHOUT", "");
        objects(&finish(command, b"").ok().stdout).pop().unwrap()
    };
    let mut own = look(scene.options);
    if !scene.options.is_empty() {
        // Until execve takes them from another user than root it has what the config permits, and no more.
        let of_root = look(&[]);
        for name in ["CapPrm", "CapEff"] {
            own[name] = of_root[name].clone();
        }
    }
    own
}

/// What is found in those, each once.
fn compare(held: &[&Value], own: &Value) -> Vec<Finding> {
    let host = Host::new();
    let found = once(held.iter().flat_map(|it| findings(it, own, &host)));
    println!(
        "{} stopped before execve, {} findings",
        held.len(),
        found.len()
    );
    found
}

fn once(all: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for finding in all {
        if !found.contains(&finding) {
            found.push(finding);
        }
    }
    found
}

/// The programs that were kept and written.
fn written(said: &[Value]) -> Vec<Finding> {
    said.iter()
        .filter(|it| it["by"] == "written")
        .map(|it| {
            let text = format!("the program of {} was written", it["written"]);
            Finding::of_process(Kind::Program, text)
        })
        .collect()
}

/// Runs the attack: it may find nothing at all; without one of the defences it finds what that one hides.
fn nothing_is_found(
    lab: &Lab,
    name: &'static str,
    of: &[Kind],
    catch: impl Fn(&Lab) -> Vec<Finding>,
) {
    let outcome = |found: Vec<Finding>| {
        if found.is_empty() {
            Outcome::Held
        } else {
            Outcome::GotThrough(format!("{found:#?}"))
        }
    };
    let whole = Attack {
        cve: "hardening",
        name,
        without: "",
    };
    zoo(lab, &whole, |lab| outcome(catch(lab)));
    must_find(lab, name, Who::Process, of, "", &catch);
}

/// Without each of the defences, and without `besides`, it finds in `who` what that one hides.
fn must_find(
    lab: &Lab,
    name: &str,
    who: Who,
    of: &[Kind],
    besides: &str,
    catch: impl Fn(&Lab) -> Vec<Finding>,
) {
    // A build that has no such switch cannot be tried: `every_defence_has_a_switch` says so.
    // Nor can an attack that this kernel has no call for.
    let can = |kind: &&Kind| **kind != Kind::Peers || Need::Kernel(6, 5).check().is_ok();
    for kind in of.iter().filter(|kind| kind.has_switch(lab)).filter(can) {
        let without = [kind.switch(), besides].join(",");
        lab.use_test_build("CASULO_WITHOUT", without.trim_end_matches(','));
        // It is a race, of which a few rounds are run.
        let mut found = Vec::new();
        let is_it = |it: &Finding| it.kind == *kind && it.who == who;
        for _ in 0..TRIES {
            found.extend(catch(lab));
            if found.iter().any(is_it) {
                break;
            }
        }
        lab.use_runtime();
        assert!(
            found.iter().any(is_it),
            "{name} must find {kind:?} in the {who:?} without {without}, but it found {found:#?}",
        );
    }
}

/// Whether the runtime goes without one of the defences that these attacks are for.
fn goes_without(lab: &Lab) -> bool {
    let command = lab.command();
    command.get_envs().any(|(name, value)| {
        let value = value.unwrap_or_default().to_string_lossy();
        name == "CASULO_WITHOUT" && !value.is_empty() && value != MAKERS
    })
}

/// So many processes are caught before a test has seen enough.
fn enough(lab: &Lab) -> usize {
    if goes_without(lab) { 2 } else { ENOUGH }
}

fn every_defence_has_a_switch(lab: &Lab) {
    let missing: Vec<&str> = Kind::ALL
        .into_iter()
        .filter(|kind| !kind.has_switch(lab))
        .map(Kind::switch)
        .collect();
    assert!(
        missing.is_empty(),
        "the test build has no switch {missing:?}"
    );
}

/// A container that sleeps, with a secret in its record.
fn sleeping(lab: &Lab) -> Bundle<'_> {
    lab.bundle()
        .set("/annotations/secret", json!(SECRET_OF_A_RECORD))
        .args(&["/bin/sleep", "1000"])
}

const TRACER: &[&str] = &["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"];
const ALL_WORDS: &str = "seize,inject,memory,peers,exe";

/// `exec` into one container, from inside of which it is attacked.
fn exec_into<'lab>(
    lab: &'lab Lab,
    words: &'static str,
    options: &'static [&'static str],
    edit: impl FnOnce(Bundle<'lab>) -> Bundle<'lab>,
) -> Vec<Finding> {
    let bundle = edit(sleeping(lab));
    bundle.run_detached();
    let scene = Scene {
        by: &bundle,
        victim: &bundle,
        words,
        options,
    };
    let found = catch_execs(lab, &scene);
    bundle.call("delete", &["--force"], &[]).ok();
    found
}

fn exec_with_default_capabilities(lab: &Lab) {
    let of = [
        Kind::Outside,
        Kind::Capabilities,
        Kind::Memory,
        Kind::Dumpable,
        Kind::Session,
    ];
    nothing_is_found(lab, "what `exec` brings is stopped", &of, |lab| {
        let mut found = exec_into(lab, "memory", &[], |it| it);
        found.extend(exec_into(lab, "seize,memory", &[], |it| it));
        found
    });
}

fn exec_with_ptrace(lab: &Lab) {
    let of = Kind::ALL.map(|kind| kind);
    let of: Vec<Kind> = of
        .into_iter()
        .filter(|kind| !matches!(kind, Kind::Dumpable | Kind::Ids | Kind::Filter))
        .collect();
    nothing_is_found(lab, "what `exec` brings is traced", &of, |lab| {
        let mut found = exec_into(lab, ALL_WORDS, &[], |it| it.capabilities(TRACER));
        found.extend(exec_into(lab, "memory,peers,exe", &[], |it| {
            it.capabilities(TRACER)
        }));
        found
    });
}

/// Whoever has all capabilities in a user namespace below sees what is there for all to see.
fn exec_from_a_user_namespace(lab: &Lab) {
    let of = [
        Kind::Outside,
        Kind::Capabilities,
        Kind::Memory,
        Kind::Session,
    ];
    nothing_is_found(
        lab,
        "what `exec` brings is stopped from a user namespace",
        &of,
        |lab| exec_into(lab, "userns,seize,memory", &[], |it| it),
    );
}

fn exec_with_new_privileges_and_a_filter(lab: &Lab) {
    nothing_is_found(
        lab,
        "`exec` without no_new_privs is traced",
        &[Kind::Filter],
        |lab| {
            exec_into(lab, ALL_WORDS, &[], |it| {
                it.capabilities(TRACER)
                    .set("/linux/seccomp", filter())
                    .set("/process/noNewPrivileges", json!(false))
            })
        },
    );
}

fn exec_as_a_user(lab: &Lab) {
    let of = [Kind::Ids, Kind::Filter];
    nothing_is_found(lab, "`exec` as another user is stopped", &of, |lab| {
        exec_into(lab, ALL_WORDS, &["--user", "1000:1000"], |it| {
            it.capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"])
                .set("/linux/seccomp", filter())
        })
    });
}

/// `fs.suid_dumpable` says what a change of ids does: until this value is dropped it is the test's.
struct SuidDumpable {
    before: String,
}

const SUID_DUMPABLE: &str = "/proc/sys/fs/suid_dumpable";

impl SuidDumpable {
    fn set(value: &str) -> SuidDumpable {
        let before = fs::read_to_string(SUID_DUMPABLE).unwrap();
        fs::write(SUID_DUMPABLE, value).unwrap();
        SuidDumpable { before }
    }
}

impl Drop for SuidDumpable {
    fn drop(&mut self) {
        let _ = fs::write(SUID_DUMPABLE, &self.before);
    }
}

/// The attacker is the same user, without capabilities: only that what enters is not dumpable keeps it away.
fn exec_as_the_same_user(lab: &Lab, value: &str) {
    let _guard = SuidDumpable::set(value);
    let name = "`exec` as the attacker's user is stopped";
    nothing_is_found(lab, name, &[Kind::Dumpable], |lab| {
        let bundle = sleeping(lab)
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .capabilities(&[]);
        bundle.run_detached();
        let scene = Scene {
            by: &bundle,
            victim: &bundle,
            words: ALL_WORDS,
            options: &[],
        };
        let found = catch_execs(lab, &scene);
        assert_eq!(fs::read_to_string(SUID_DUMPABLE).unwrap().trim(), value);
        bundle.call("delete", &["--force"], &[]).ok();
        found
    });
}

fn exec_as_the_same_user_with_suid_dumpable(lab: &Lab) {
    for value in ["1", "2"] {
        exec_as_the_same_user(lab, value);
    }
}

fn exec_in_a_user_namespace(lab: &Lab) {
    let name = "`exec` into a user namespace is traced";
    let of = [
        Kind::Outside,
        Kind::Capabilities,
        Kind::Filter,
        Kind::Session,
        Kind::Memory,
        Kind::Dumpable,
    ];
    nothing_is_found(lab, name, &of, |lab| {
        exec_into(lab, ALL_WORDS, &[], |it| {
            it.capabilities(TRACER)
                .in_user_namespace()
                .set("/linux/seccomp", filter())
        })
    });
}

/// A container whose processes attack others.
fn attacking<'lab>(lab: &'lab Lab, capabilities: Option<&[&str]>) -> Bundle<'lab> {
    let bundle = sleeping(lab).set("/annotations/secret", json!(SECRET_OF_THE_ATTACKER));
    match capabilities {
        Some(names) => bundle.capabilities(names),
        None => bundle,
    }
}

/// `exec` into a container that shares the attacker's pid namespace.
fn exec_beside(lab: &Lab, words: &'static str, capabilities: Option<&[&str]>) -> Vec<Finding> {
    let first = attacking(lab, capabilities);
    first.run_detached();
    let second = sleeping(lab)
        .join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()))
        .set("/linux/seccomp", filter());
    let mut run = second.command(&[], "run", &["--detach"]);
    run.env("CASULO_WITHOUT", "");
    finish(run, b"").ok();
    let scene = Scene {
        by: &first,
        victim: &second,
        words,
        options: &[],
    };
    let found = catch_execs(lab, &scene);
    for it in [&second, &first] {
        it.call("delete", &["--force"], &[]).ok();
    }
    found
}

fn exec_in_a_shared_pid_namespace(lab: &Lab) {
    let of = [
        Kind::Outside,
        Kind::Capabilities,
        Kind::Filter,
        Kind::Memory,
        Kind::Session,
    ];
    nothing_is_found(
        lab,
        "`exec` in a shared pid namespace is stopped",
        &of,
        |lab| exec_beside(lab, "memory", None),
    );
}

/// What a tracer finds.
const OF_TRACED: [Kind; 8] = [
    Kind::Outside,
    Kind::Capabilities,
    Kind::Filter,
    Kind::Session,
    Kind::Descriptors,
    Kind::Peers,
    Kind::Memory,
    Kind::Program,
];

fn exec_in_a_shared_pid_namespace_with_ptrace(lab: &Lab) {
    nothing_is_found(
        lab,
        "`exec` in a shared pid namespace is traced",
        &OF_TRACED,
        |lab| exec_beside(lab, ALL_WORDS, Some(TRACER)),
    );
}

/// Containers that are made in the attacker's pid namespace.
#[derive(Clone, Copy)]
struct Beside {
    /// `create` and `start`, or `run` in the foreground.
    verb: &'static str,
    words: &'static str,
    capabilities: Option<&'static [&'static str]>,
    /// Both are in a user namespace that is the first one's.
    in_user_namespace: bool,
}

/// One of them.
struct Second {
    /// The number of its init inside, unless it was not made.
    number: Option<String>,
    /// What its program saw of itself; Null if that never ran.
    own: Value,
}

/// Whatever was stopped before execve.
struct Stopped<'a> {
    /// Each with its container.
    inits: Vec<(&'a Value, &'a Second)>,
    /// Whoever else came from outside.
    makers: Vec<&'a Value>,
}

impl<'a> Stopped<'a> {
    /// The attacker may speak of one when its container is gone already: numbers are given once.
    fn of(said: &'a [Value], seconds: &'a [Second]) -> Stopped<'a> {
        let (mut inits, mut makers) = (Vec::new(), Vec::new());
        for it in held(said) {
            let number = it["pid"].as_str();
            match seconds
                .iter()
                .find(|second| second.number.as_deref() == number)
            {
                Some(second) => inits.push((it, second)),
                None => makers.push(it),
            }
        }
        Stopped { inits, makers }
    }

    fn count(&self, of: Who) -> usize {
        match of {
            Who::Maker => self.makers.len(),
            Who::Process => self.inits.len(),
        }
    }
}

impl Beside {
    fn second<'lab>(&self, lab: &'lab Lab, first: i32) -> Bundle<'lab> {
        let second = lab
            .bundle()
            .join_namespace("pid", &format!("/proc/{first}/ns/pid"))
            .set("/annotations/secret", json!(SECRET_OF_A_RECORD))
            .set("/linux/seccomp", filter())
            .args(&["/bin/probe", "look", "self"]);
        if !self.in_user_namespace {
            return second;
        }
        second
            .in_user_namespace()
            .join_namespace("user", &format!("/proc/{first}/ns/user"))
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings")
    }

    /// What the program of such a container sees of itself, with all defences.
    fn reference(&self, lab: &Lab, first: i32) -> Value {
        let second = self.second(lab, first);
        let mut run = second.command(&[], "run", &[]);
        run.env("CASULO_WITHOUT", "");
        objects(&finish(run, b"").ok().stdout).pop().unwrap()
    }

    /// Makes one container, from its beginning to its end. What the host sees of its waiting init is added to `found`.
    fn make_one(&self, lab: &Lab, first: i32, found: &mut Vec<Finding>) -> Second {
        let second = self.second(lab, first);
        let (out, err) = (lab.join("out"), lab.join("err"));
        let mut command = second.command(&[], self.verb, &[]);
        command.env("SECRET", SECRET_OF_THE_CALLER);
        // What the program says after the call has ended, too.
        command.stdout(fs::File::create(&out).unwrap());
        command.stderr(fs::File::create(&err).unwrap());
        let ended = command.stdin(Stdio::null()).status().unwrap();
        let said = fs::read_to_string(&err).unwrap();
        let timed_out = said.contains("Connection timed out");
        assert!(
            ended.success() || timed_out || goes_without(lab),
            "{ended}: {said}"
        );
        let mut number = None;
        if ended.success() && self.verb == "create" {
            let pid = second.pid();
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let numbers = field(&status, "NSpid");
            number = numbers.split_whitespace().last().map(str::to_owned);
            found.extend(Host::new().session_of(pid));
            second.verb("start");
            second.wait_stopped();
        }
        second.call("delete", &["--force"], &[]);
        let own = objects(&fs::read_to_string(&out).unwrap()).pop();
        assert!(
            own.is_some() || timed_out || goes_without(lab),
            "the container's own process has never looked at itself: {said}"
        );
        let own = own.unwrap_or(Value::Null);
        let number = number.or_else(|| own["number"].as_u64().map(|it| it.to_string()));
        Second { number, own }
    }

    /// Makes containers until enough of `of` are caught; what was found in all that was.
    fn catch(&self, lab: &Lab, of: Who) -> Vec<Finding> {
        let first = attacking(lab, self.capabilities);
        let first = if self.in_user_namespace {
            first.in_user_namespace()
        } else {
            first
        };
        first.run_detached();
        let pid = first.pid();
        let reference = self.reference(lab, pid);
        let stopper = Stopper::new(lab, &first, self.words);
        let begin = Instant::now();
        let (mut found, mut seconds) = (Vec::new(), Vec::new());
        while Stopped::of(&stopper.said(), &seconds).count(of) < enough(lab)
            && begin.elapsed() < limit()
        {
            seconds.push(self.make_one(lab, pid, &mut found));
            // Whoever stops the maker of a procfs wins its time, which is longer than a look takes.
            let lost = seconds.iter().filter(|it| it.own.is_null()).count();
            assert!(
                lost <= ENOUGH / 2 || goes_without(lab),
                "{lost} of {} containers were not made",
                seconds.len()
            );
        }
        let said = stopper.end();
        let stopped = Stopped::of(&said, &seconds);
        assert!(
            stopped.count(of) > 0,
            "none was stopped before execve: {said:#?}"
        );
        if of == Who::Process {
            let inits: Vec<&Value> = stopped.inits.iter().map(|(it, _)| *it).collect();
            sees_all(lab, self.words, &inits);
        }
        found.extend(self.found_in(&stopped, pid, &reference));
        found.extend(written(&said));
        first.call("delete", &["--force"], &[]).ok();
        let found = once(found.into_iter());
        println!(
            "{} and {} makers stopped before execve, {} findings",
            stopped.inits.len(),
            stopped.makers.len(),
            found.len()
        );
        found
    }

    fn found_in(&self, stopped: &Stopped<'_>, attacker: i32, reference: &Value) -> Vec<Finding> {
        let host = Host::new();
        let mut found = Vec::new();
        for (it, second) in &stopped.inits {
            let own = in_the_place_of(&second.own, reference);
            found.extend(findings(it, &own, &host));
        }
        for it in &stopped.makers {
            let may_be_traced = self.in_user_namespace;
            found.extend(findings_of_maker(it, attacker, &host, may_be_traced));
        }
        found
    }
}

/// `create` into the attacker's pid namespace: all that is born there on the way, and the waiting init.
fn create_in_a_joined_pid_namespace(lab: &Lab) {
    let beside = Beside {
        verb: "create",
        words: "memory",
        capabilities: None,
        in_user_namespace: false,
    };
    let of = [
        Kind::Outside,
        Kind::Capabilities,
        Kind::Filter,
        Kind::Memory,
        Kind::Session,
    ];
    nothing_is_found(
        lab,
        "`create` into a joined pid namespace is stopped",
        &of,
        |lab| beside.catch(lab, Who::Process),
    );
}

fn create_in_a_joined_pid_namespace_with_ptrace(lab: &Lab) {
    let beside = Beside {
        verb: "create",
        words: ALL_WORDS,
        capabilities: Some(TRACER),
        in_user_namespace: false,
    };
    nothing_is_found(
        lab,
        "`create` into a joined pid namespace is traced",
        &OF_TRACED,
        |lab| beside.catch(lab, Who::Process),
    );
}

/// While `run` is in the foreground it lives as long as its container.
fn run_in_a_joined_pid_namespace(lab: &Lab) {
    let beside = Beside {
        verb: "run",
        words: ALL_WORDS,
        capabilities: Some(TRACER),
        in_user_namespace: false,
    };
    nothing_is_found(
        lab,
        "`run` into a joined pid namespace is traced",
        &[Kind::Program],
        |lab| beside.catch(lab, Who::Process),
    );
}

/// The maker of a procfs, which kernels need that cannot mount the procfs of another pid namespace.
fn makers_are_hidden(lab: &Lab, name: &'static str, of: &[Kind], beside: Beside) {
    let catch = |lab: &Lab| beside.catch(lab, Who::Maker);
    lab.use_test_build("CASULO_WITHOUT", MAKERS);
    let found = catch(lab);
    lab.use_runtime();
    assert!(found.is_empty(), "{name}: {found:#?}");
    must_find(lab, name, Who::Maker, of, MAKERS, catch);
}

fn makers(lab: &Lab) {
    let beside = Beside {
        verb: "create",
        words: "memory",
        capabilities: None,
        in_user_namespace: false,
    };
    let of = [
        Kind::Outside,
        Kind::Capabilities,
        Kind::Filter,
        Kind::Memory,
        Kind::Session,
    ];
    makers_are_hidden(lab, "the maker of a procfs is stopped", &of, beside);
}

fn makers_with_ptrace(lab: &Lab) {
    let beside = Beside {
        verb: "create",
        words: ALL_WORDS,
        capabilities: Some(TRACER),
        in_user_namespace: false,
    };
    let of = [
        Kind::Outside,
        Kind::Capabilities,
        Kind::Filter,
        Kind::Session,
        Kind::Descriptors,
        Kind::Memory,
        Kind::Program,
    ];
    makers_are_hidden(lab, "the maker of a procfs is traced", &of, beside);
}

/// It is dumpable there once it has its context.
fn makers_in_a_user_namespace(lab: &Lab) {
    let beside = Beside {
        verb: "create",
        words: ALL_WORDS,
        capabilities: Some(TRACER),
        in_user_namespace: true,
    };
    let of = [Kind::Capabilities, Kind::Filter, Kind::Memory];
    let name = "the maker of a procfs is traced in its user namespace";
    makers_are_hidden(lab, name, &of, beside);
}

/// Whatever the held process is made to say: the command ends soon, by its program's result or an error of its own,
/// and knows no other process than the one that it has made.
fn forged_records(lab: &Lab) {
    let bundle = sleeping(lab).capabilities(TRACER);
    bundle.run_detached();
    let stopper = Stopper::new(lab, &bundle, "seize,forge");
    let pid_file = lab.join("pid");
    let program = ["/bin/sh", "-c", "echo ran; sleep 0.1; exit 7"];
    let begin = Instant::now();
    let (mut errors, mut longest) = (0, Duration::ZERO);
    while held(&stopper.said()).len() < 4 * ENOUGH && begin.elapsed() < limit() {
        let _ = fs::remove_file(&pid_file);
        let options = ["--pid-file", pid_file.to_str().unwrap()];
        let running = Running::new(exec(lab, &bundle, &options, &program), b"");
        let (ended, made) = until_its_end(&running, patient(FORGED_SOON));
        let took = ended.unwrap_or_else(|| {
            running.signal(Signal::SIGTERM);
            let end = time_to_end(&running, patient(Duration::from_secs(2)));
            panic!(
                "it waits for what the container kept, and TERM ends it after {end:?}: {:?}",
                stopper.said().last()
            )
        });
        longest = longest.max(took);
        let out = running.wait();
        let is_result = out.code == 7 && out.stdout == "ran\n" && out.stderr.is_empty();
        let is_error = out.code == 255 && out.stderr.starts_with("casulo: ");
        assert!(is_result || is_error, "{out:?}");
        errors += usize::from(is_error);
        assert!(
            !out.stderr.contains("panick")
                && !out.stderr.contains('\u{fffd}')
                && out.stderr.len() < 1000,
            "{out:?}"
        );
        let told = fs::read_to_string(&pid_file).unwrap_or_default();
        assert!(
            told.is_empty() && is_error || made.contains(&told),
            "pid {told:?}, but it has made {made:?}: {out:?}"
        );
    }
    println!("{errors} errors, {longest:?} at most");
    let said = stopper.end();
    assert!(
        held(&said).iter().any(|it| it["forged"].as_i64() > Some(0)),
        "nothing was ever forged: {said:#?}"
    );
    assert_eq!(bundle.status(), "running");
}

/// The longest that a command may take whose process says what the attacker wants.
const FORGED_SOON: Duration = Duration::from_secs(4);

/// How long a command takes to its end, and the pids of its children in a pid namespace of a container.
fn until_its_end(running: &Running, limit: Duration) -> (Option<Duration>, BTreeSet<String>) {
    let pid = running.pid();
    let mut made = BTreeSet::new();
    let begin = Instant::now();
    while begin.elapsed() < limit {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            if field(&status, "NSpid").split_whitespace().count() > 1 {
                made.insert(child.to_owned());
            }
        }
        if let Some(took) = time_to_end(running, Duration::from_millis(1)) {
            return (Some(begin.elapsed().max(took)), made);
        }
    }
    (None, made)
}

/// How long a command takes to its end; None: it is not there within `limit`.
pub(super) fn time_to_end(running: &Running, limit: Duration) -> Option<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        let stat = fs::read_to_string(format!("/proc/{}/stat", running.pid())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return Some(begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

/// A copy of the runtime that nobody else runs, kept by the container, unlocked and written.
fn program_is_unlocked(lab: &Lab) {
    let of = [Kind::Program];
    nothing_is_found(
        lab,
        "the runtime's own mount is made writable",
        &of,
        |lab| {
            let copy = super::entering::copy(lab);
            let before = fs::read(&copy).unwrap();
            let bundle = sleeping(lab).capabilities(TRACER);
            bundle.run_detached();
            let stopper = Stopper::new(lab, &bundle, "seize,exe");
            let begin = Instant::now();
            while held(&stopper.said()).len() < 8 * ENOUGH && begin.elapsed() < limit() {
                let command = exec(lab, &bundle, &[], &["/bin/true"]);
                // Once it is overwritten it cannot be executed.
                let mut command = super::entering::from_a_copy(&copy, &command);
                if command.stdin(std::process::Stdio::null()).output().is_err() {
                    break;
                }
            }
            let said = stopper.end();
            bundle.call("delete", &["--force"], &[]).ok();
            assert!(
                !held(&said).is_empty(),
                "none was stopped before execve: {said:#?}"
            );
            let written = fs::read(&copy).unwrap() != before;
            let text = "the host's file is another one".to_owned();
            written
                .then(|| Finding::of_process(Kind::Program, text))
                .into_iter()
                .collect()
        },
    );
}

/// The caller has a terminal, and somebody else in its process group.
fn terminal_of_the_caller(lab: &Lab) {
    nothing_is_found(
        lab,
        "the caller's terminal and process group",
        &[Kind::Session],
        |lab| {
            let bundle = sleeping(lab).capabilities(TRACER);
            bundle.run_detached();
            let stopper = Stopper::new(lab, &bundle, "seize,inject");
            let rung = lab.join("rung");
            let _ = fs::remove_file(&rung);
            let begin = Instant::now();
            while held(&stopper.said()).len() < ENOUGH && begin.elapsed() < limit() {
                in_a_session(&rung, &exec(lab, &bundle, &[], &["/bin/true"]));
            }
            let said = stopper.end();
            bundle.call("delete", &["--force"], &[]).ok();
            let held = held(&said);
            assert!(!held.is_empty(), "none was stopped before execve");
            let mut found = Vec::new();
            let mut add = |text| found.push(Finding::of_process(Kind::Session, text));
            if rung.exists() {
                add("the caller's process group was signalled".to_owned());
            }
            for it in held
                .iter()
                .filter(|it| it["calls"]["tty"].as_i64() >= Some(0))
            {
                add(format!("it opened the caller's terminal: {}", it["calls"]));
            }
            found
        },
    );
}

/// Runs `command` in a session of its own on a terminal of its own; whoever else is in its process group says in
/// `rung` that a signal came.
fn in_a_session(rung: &Path, command: &Command) -> Output {
    let script = format!(
        "trap 'echo rung >{}' URG; \"$@\" </dev/null; true",
        rung.display()
    );
    let mut words = vec!["sh".into(), "-c".into(), script, "sh".into()];
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(
        command
            .get_args()
            .map(|it| it.to_string_lossy().into_owned()),
    );
    let quoted: Vec<String> = words
        .iter()
        .map(|it| format!("'{}'", it.replace('\'', "'\\''")))
        .collect();
    // script(1) makes the session and the terminal.
    let mut outer = Command::new("script");
    outer.args(["-qec", &quoted.join(" "), "/dev/null"]);
    outer.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    finish(outer, b"")
}
