//! Whoever holds what enters wins the time for which he holds it, and nothing else: commands end, and so does
//! what was held.

use super::{Stopper, TRACER, exec, held, sleeping};
use crate::support::{Bundle, Lab, Running, cases, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

cases! {
    [Root] => term_while_it_is_stopped, term_while_it_is_traced, int_while_it_is_traced, kill_while_it_is_stopped,
        kill_while_it_is_traced, program_missing_while_it_is_traced, kept_pipes_delay_no_exec,
        kept_pipes_delay_no_start, emptied_pipes_delay_no_exec, filled_pipes_delay_no_exec,
        an_emptied_fifo_delays_no_start, term_ends_a_run_whose_init_is_traced;
}

/// The longest that `exec` may take to end: twice what it may on a machine that has nothing else to do. Who holds what
/// enters does not let it go before.
const SOON: Duration = Duration::from_secs(4);

/// An `exec` whose process is held.
struct Scene<'lab> {
    bundle: Bundle<'lab>,
    stopper: Stopper,
    exec: Running,
}

impl<'lab> Scene<'lab> {
    fn new(lab: &'lab Lab, words: &str, capabilities: Option<&[&str]>) -> Scene<'lab> {
        let bundle = match capabilities {
            Some(names) => sleeping(lab).capabilities(names),
            None => sleeping(lab),
        };
        bundle.run_detached();
        let stopper = Stopper::new(lab, &bundle, words);
        let begin = Instant::now();
        loop {
            let exec = Running::new(exec(lab, &bundle, &[], &["/bin/sleep", "1000"]), b"");
            let until = Instant::now() + Duration::from_millis(400);
            while Instant::now() < until {
                if !held(&stopper.said()).is_empty() {
                    return Scene {
                        bundle,
                        stopper,
                        exec,
                    };
                }
            }
            // It was missed, and executes: the next one.
            exec.signal(Signal::SIGTERM);
            exec.wait();
            assert!(
                begin.elapsed() < super::limit(),
                "none was stopped before execve"
            );
        }
    }

    /// Nobody's child but the command's: what the host sees of its session is neither the caller's nor the command's.
    fn has_its_own_session(&self) {
        let pid = self.exec.pid();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(children).unwrap();
        let host = super::Host::new();
        let mut looked = 0;
        for child in children.split_whitespace() {
            let found = host.session_of(child.parse().unwrap());
            assert!(found.is_empty(), "{child}: {found:?}");
            looked += 1;
        }
        assert!(looked > 0, "the command has no child");
    }

    /// Sends a signal to the command, which must end soon.
    fn ends_soon(&self, signal: Signal) {
        self.exec.signal(signal);
        if super::time_to_end(&self.exec, super::patient(SOON)).is_none() {
            self.let_go();
            panic!("{signal} did not end the command in {SOON:?}");
        }
    }

    fn let_go(&self) {
        fs::write(self.bundle.rootfs().join("stop.go"), "").unwrap();
    }

    /// Lets the held process go: what it says of its end.
    fn end(self) -> Value {
        self.let_go();
        let after = |said: &[Value]| {
            said.iter()
                .find(|it| !it["gone"].is_null() || !it["alive"].is_null())
                .cloned()
        };
        wait_until("it says what became of it", || {
            after(&self.stopper.said()).is_some()
        });
        let said = self.stopper.end();
        let last = after(&said).unwrap();
        drop(self.exec);
        assert_eq!(self.bundle.status(), "running");
        last
    }
}

fn signalled(lab: &Lab, signal: Signal, words: &str, capabilities: Option<&[&str]>) {
    // Before the command has let it go on, and after that, which it has in its pipe then.
    for moment in [Duration::ZERO, Duration::from_millis(200)] {
        signalled_after(lab, moment, signal, words, capabilities);
    }
}

fn signalled_after(
    lab: &Lab,
    moment: Duration,
    signal: Signal,
    words: &str,
    capabilities: Option<&[&str]>,
) {
    let scene = Scene::new(lab, words, capabilities);
    scene.has_its_own_session();
    std::thread::sleep(super::patient(moment));
    scene.ends_soon(signal);
    // It ends by itself, having executed nothing: a program that it had become would sleep on.
    let last = scene.end();
    println!("{signal}: {last}");
    assert!(
        last["gone"].as_u64() < Some(super::patient(SOON).as_millis() as u64),
        "it lives on: {last}"
    );
    assert_ne!(last["execve"], true, "it has executed: {last}");
}

fn term_while_it_is_stopped(lab: &Lab) {
    signalled(lab, Signal::SIGTERM, "hold", None);
}

fn term_while_it_is_traced(lab: &Lab) {
    signalled(lab, Signal::SIGTERM, "seize,hold", Some(TRACER));
}

fn int_while_it_is_traced(lab: &Lab) {
    signalled(lab, Signal::SIGINT, "seize,hold", Some(TRACER));
}

fn kill_while_it_is_stopped(lab: &Lab) {
    signalled(lab, Signal::SIGKILL, "hold", None);
}

fn kill_while_it_is_traced(lab: &Lab) {
    signalled(lab, Signal::SIGKILL, "seize,hold", Some(TRACER));
}

/// A container that stops all births delays an exec, and no more: let go it runs.
fn program_missing_while_it_is_traced(lab: &Lab) {
    let bundle = sleeping(lab).capabilities(TRACER);
    bundle.run_detached();
    let stopper = Stopper::new(lab, &bundle, "seize");
    let begin = Instant::now();
    while held(&stopper.said()).len() < super::ENOUGH && begin.elapsed() < super::limit() {
        let out = crate::support::finish(exec(lab, &bundle, &[], &["/bin/missing"]), b"");
        out.fails_with(&["/bin/missing", "no such file"]);
        let out = crate::support::finish(exec(lab, &bundle, &[], &["/bin/echo", "ran"]), b"");
        assert_eq!(out.ok().text(), "ran");
    }
    assert!(
        !held(&stopper.end()).is_empty(),
        "none was stopped before execve"
    );
}

/// Has `first` stop and let go, with its pipes kept, until one of `run`'s births was caught so; each must be soon.
fn with_kept_pipes(lab: &Lab, first: &Bundle<'_>, run: impl Fn()) {
    with_pipes(lab, first, "pipes", 2, run);
}

/// The same with what `word` does to at least `count` of them.
fn with_pipes(lab: &Lab, first: &Bundle<'_>, word: &str, count: u64, run: impl Fn()) {
    first.run_detached();
    let stopper = Stopper::new(lab, first, word);
    let caught = |said: &[Value]| held(said).iter().any(|it| it[word].as_u64() >= Some(count));
    let begin = Instant::now();
    while !caught(&stopper.said()) && begin.elapsed() < super::limit() {
        run();
    }
    assert!(caught(&stopper.end()), "no pipe was ever taken");
}

fn is_soon(what: &str, command: std::process::Command) {
    let running = Running::new(command, b"");
    let took = super::time_to_end(&running, super::patient(SOON));
    assert!(took.is_some(), "{what} waits for who keeps a pipe");
    running.wait().ok();
}

/// The end of file that tells of execve never comes: the kernel is asked.
fn kept_pipes_delay_no_exec(lab: &Lab) {
    let bundle = sleeping(lab).capabilities(TRACER);
    with_kept_pipes(lab, &bundle, || {
        let command = exec(lab, &bundle, &["--detach"], &["/bin/sleep", "1000"]);
        is_soon("exec", command);
    });
}

fn kept_pipes_delay_no_start(lab: &Lab) {
    let first = sleeping(lab).capabilities(TRACER);
    with_kept_pipes(lab, &first, || {
        let path = format!("/proc/{}/ns/pid", first.pid());
        let second = sleeping(lab).join_namespace("pid", &path);
        crate::support::finish(second.command(&[], "create", &[]), b"").ok();
        let mut start = lab.command();
        start.args(["start", second.id()]);
        is_soon("start", start);
        second.call("delete", &["--force"], &[]).ok();
    });
}

/// The byte that lets it go on is lost: it is said again.
fn emptied_pipes_delay_no_exec(lab: &Lab) {
    pipes_delay_no_exec(lab, "drain");
}

/// Its word has no room: it is let go on without.
fn filled_pipes_delay_no_exec(lab: &Lab) {
    pipes_delay_no_exec(lab, "fill");
}

fn pipes_delay_no_exec(lab: &Lab, word: &str) {
    let bundle = sleeping(lab).capabilities(TRACER);
    with_pipes(lab, &bundle, word, 1, || {
        let command = exec(lab, &bundle, &["--detach"], &["/bin/sleep", "1000"]);
        is_soon("exec", command);
    });
}

fn an_emptied_fifo_delays_no_start(lab: &Lab) {
    let first = sleeping(lab).capabilities(TRACER);
    first.run_detached();
    let path = format!("/proc/{}/ns/pid", first.pid());
    let second = sleeping(lab).join_namespace("pid", &path);
    second.create(&[]).ok();
    // Its own init sleeps; what else waits is the other container's.
    let script = "for fd in /proc/[0-9]*/fd/*; do
        case $(readlink $fd) in *start.fifo)
            pid=${fd#/proc/}; pid=${pid%%/*}
            kill -STOP $pid; : >/taken; timeout 1 cat $fd; kill -CONT $pid; exit;;
        esac
    done";
    let thief = Running::new(exec(lab, &first, &[], &["/bin/sh", "-c", script]), b"");
    let taken = first.rootfs().join("taken");
    wait_until("the thief waits", || taken.exists());
    let mut start = lab.command();
    start.args(["start", second.id()]);
    is_soon("start", start);
    thief.wait();
    assert_eq!(second.status(), "running");
}

/// Init is held at its end, too: the record stays until it is gone, so that nothing is lost.
fn term_ends_a_run_whose_init_is_traced(lab: &Lab) {
    let first = sleeping(lab).capabilities(TRACER);
    first.run_detached();
    let stopper = Stopper::new(lab, &first, "seize,hold");
    let path = format!("/proc/{}/ns/pid", first.pid());
    let begin = Instant::now();
    loop {
        assert!(
            begin.elapsed() < super::limit(),
            "none was stopped before execve"
        );
        let second = sleeping(lab).join_namespace("pid", &path);
        let run = Running::new(second.command(&[], "run", &[]), b"");
        let until = Instant::now() + Duration::from_millis(400);
        while Instant::now() < until && held(&stopper.said()).is_empty() {}
        let is_held = !held(&stopper.said()).is_empty();
        run.signal(Signal::SIGTERM);
        let took = super::time_to_end(&run, super::patient(SOON));
        fs::write(first.rootfs().join("stop.go"), "").unwrap();
        assert!(took.is_some(), "run is deaf while its init is held");
        run.wait();
        second.call("delete", &["--force"], &[]);
        if is_held {
            break;
        }
    }
    stopper.end();
}
