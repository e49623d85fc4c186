//! Nothing is visible in a container's pid namespace but what belongs there.
//!
//! Each attack stops what is born there before it has executed anything (PF_FORKNOEXEC; none caught is a
//! failure), and compares it with the container's own process: whatever it has more is a finding.

mod finding;
mod held;
mod waiting;

use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, Case, Lab, Need, Output, Running, cases, finish, wait_until};
use finding::{Finding, Kind, findings};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
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
        exec_with_new_privileges_and_a_filter, exec_as_a_user, exec_in_a_user_namespace, exec_in_a_shared_pid_namespace,
        exec_in_a_shared_pid_namespace_with_ptrace, create_in_a_joined_pid_namespace,
        create_in_a_joined_pid_namespace_with_ptrace, forged_records, program_is_unlocked,
        terminal_of_the_caller;
    [Root, TestBuild] => every_defence_has_a_switch;
}

/// In the environment of whoever calls the runtime.
const SECRET_OF_THE_CALLER: &str = "secret-1c57a9-of-the-caller";
/// In an annotation of a container, so in its record.
const SECRET_OF_A_RECORD: &str = "secret-88e2d0-of-a-record";
/// So many processes are caught before a test has seen enough.
const ENOUGH: usize = 6;

/// The longest that a test tries to catch them.
fn limit() -> Duration {
    patient(Duration::from_secs(40))
}

/// A time for this machine: an emulated one gets six times as much.
fn patient(time: Duration) -> Duration {
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
        command.args([SECRET_OF_THE_CALLER, SECRET_OF_A_RECORD]);
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
    while held(&stopper.said()).len() < ENOUGH && begin.elapsed() < limit() {
        // A program that the host has, too, for whoever enters with the host's root.
        finish(exec(lab, scene.victim, scene.options, &["/bin/true"]), b"");
    }
    compare(lab, &stopper.end(), &own)
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

fn compare(lab: &Lab, said: &[Value], own: &Value) -> Vec<Finding> {
    assert!(
        own.is_object(),
        "the container's own process has never looked at itself"
    );
    let held = held(said);
    assert!(
        !held.is_empty(),
        "none was stopped before execve: {said:#?}"
    );
    let caller = lab.root().display().to_string();
    let mut found: Vec<Finding> = Vec::new();
    for it in &held {
        for finding in findings(it, own, &caller) {
            if !found.iter().any(|known| known == &finding) {
                found.push(finding);
            }
        }
    }
    for written in said.iter().filter(|it| it["by"] == "written") {
        let text = format!("the program of {} was written", written["written"]);
        found.push(Finding {
            kind: Kind::Program,
            text,
        });
    }
    println!(
        "{} stopped before execve, {} findings",
        held.len(),
        found.len()
    );
    found
}

/// Runs the attack: it may find nothing at all; without one of the defences it finds what that one hides.
fn nothing_is_found(
    lab: &Lab,
    name: &'static str,
    of: &[Kind],
    catch: impl Fn(&Lab) -> Vec<Finding>,
) {
    let outcome = |found: Vec<Finding>| match found.is_empty() {
        true => Outcome::Held,
        false => Outcome::GotThrough(format!("{found:#?}")),
    };
    let whole = Attack {
        cve: "hardening",
        name,
        without: "",
    };
    zoo(lab, &whole, |lab| outcome(catch(lab)));
    // A build that has no such switch cannot be tried: `every_defence_has_a_switch` says so.
    // Nor can an attack that this kernel has no call for.
    let can = |kind: &&Kind| **kind != Kind::Peers || Need::Kernel(6, 5).check().is_ok();
    for kind in of.iter().filter(|kind| kind.has_switch(lab)).filter(can) {
        lab.use_test_build("CASULO_WITHOUT", kind.switch());
        let found = catch(lab);
        lab.use_runtime();
        assert!(
            found.iter().any(|it| it.kind == *kind),
            "{name} must find {kind:?} without {}, but it found {found:#?}",
            kind.switch()
        );
    }
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

fn exec_from_a_user_namespace(lab: &Lab) {
    nothing_is_found(
        lab,
        "what `exec` brings is stopped from a user namespace",
        &[],
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

fn exec_in_a_user_namespace(lab: &Lab) {
    nothing_is_found(lab, "`exec` into a user namespace is traced", &[], |lab| {
        exec_into(lab, ALL_WORDS, &[], |it| {
            it.capabilities(TRACER).in_user_namespace()
        })
    });
}

/// `exec` into a container that shares the attacker's pid namespace.
fn exec_beside(lab: &Lab, words: &'static str, capabilities: Option<&[&str]>) -> Vec<Finding> {
    let first = match capabilities {
        Some(names) => sleeping(lab).capabilities(names),
        None => sleeping(lab),
    };
    first.run_detached();
    let second = sleeping(lab).join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()));
    second.run_detached();
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
    nothing_is_found(
        lab,
        "`exec` in a shared pid namespace is stopped",
        &[],
        |lab| exec_beside(lab, "memory", None),
    );
}

fn exec_in_a_shared_pid_namespace_with_ptrace(lab: &Lab) {
    nothing_is_found(
        lab,
        "`exec` in a shared pid namespace is traced",
        &[],
        |lab| exec_beside(lab, ALL_WORDS, Some(TRACER)),
    );
}

/// `create` into the attacker's pid namespace: all that is born there on the way, and the waiting init.
fn create_beside(lab: &Lab, words: &'static str, capabilities: Option<&[&str]>) -> Vec<Finding> {
    let first = match capabilities {
        Some(names) => sleeping(lab).capabilities(names),
        None => sleeping(lab),
    };
    first.run_detached();
    let stopper = Stopper::new(lab, &first, words);
    let begin = Instant::now();
    let (mut found, mut compared, mut looked) = (Vec::new(), 0, 0);
    while compared < ENOUGH && begin.elapsed() < limit() {
        let second = lab
            .bundle()
            .join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()))
            .set("/annotations/secret", json!(SECRET_OF_A_RECORD))
            .sh("exec /bin/probe look self >/seen");
        let mut create = second.command(&[], "create", &[]);
        create.env("SECRET", SECRET_OF_THE_CALLER);
        let created = finish(create, b"");
        if created.stderr.contains("connection timed out") {
            // Whoever stops the maker of its procfs wins its time. It has no look of its own to be compared with.
            looked = held(&stopper.said()).len();
            continue;
        }
        created.ok();
        second.verb("start").ok();
        second.wait_stopped();
        let seen = fs::read_to_string(second.rootfs().join("seen")).unwrap_or_default();
        second.call("delete", &["--force"], &[]).ok();
        // Each has namespaces of its own: what was caught since the last one is this one's.
        let said = stopper.said();
        let new = held(&said).split_off(looked);
        let new: Vec<Value> = new.into_iter().cloned().collect();
        if !new.is_empty() {
            compared += new.len();
            looked += new.len();
            found.extend(compare(
                lab,
                &new,
                &objects(&seen).pop().unwrap_or(Value::Null),
            ));
        }
    }
    let said = stopper.end();
    first.call("delete", &["--force"], &[]).ok();
    assert!(compared > 0, "none was stopped before execve: {said:#?}");
    found
}

fn create_in_a_joined_pid_namespace(lab: &Lab) {
    nothing_is_found(
        lab,
        "`create` into a joined pid namespace is stopped",
        &[],
        |lab| create_beside(lab, "memory", None),
    );
}

fn create_in_a_joined_pid_namespace_with_ptrace(lab: &Lab) {
    let of = [Kind::Capabilities, Kind::Memory, Kind::Peers];
    nothing_is_found(
        lab,
        "`create` into a joined pid namespace is traced",
        &of,
        |lab| create_beside(lab, ALL_WORDS, Some(TRACER)),
    );
}

/// Whatever the held process is made to say: the command ends soon, by an answer or an error of its own.
fn forged_records(lab: &Lab) {
    let bundle = sleeping(lab).capabilities(TRACER);
    bundle.run_detached();
    let stopper = Stopper::new(lab, &bundle, "seize,forge");
    let pid_file = lab.join("pid");
    let begin = Instant::now();
    while held(&stopper.said()).len() < 4 * ENOUGH && begin.elapsed() < limit() {
        let _ = fs::remove_file(&pid_file);
        let options = ["--pid-file", pid_file.to_str().unwrap()];
        let running = Running::new(exec(lab, &bundle, &options, &["/bin/true"]), b"");
        let took = time_to_end(&running, patient(Duration::from_secs(15)));
        assert!(
            took.is_some(),
            "it waits for what the container kept: {:?}",
            stopper.said().last()
        );
        let out = running.wait();
        assert!(
            !out.stderr.contains("panick") && (out.code < 128 || out.code == 255),
            "{out:?}"
        );
        assert!(
            out.stderr.len() < 1000 && !out.stderr.contains('\u{fffd}'),
            "{out:?}"
        );
    }
    let said = stopper.end();
    assert!(
        !held(&said).is_empty(),
        "none was stopped before execve: {said:#?}"
    );
    assert_eq!(bundle.status(), "running");
}

/// How long a command takes to its end; None: it is not there within `limit`.
fn time_to_end(running: &Running, limit: Duration) -> Option<Duration> {
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
                .then_some(Finding {
                    kind: Kind::Program,
                    text,
                })
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
            let mut add = |text| {
                found.push(Finding {
                    kind: Kind::Session,
                    text,
                })
            };
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
