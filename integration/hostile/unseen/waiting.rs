//! A container that waits to be started is as confined as one that runs.

use super::{ALL_WORDS, Kind, TRACER, filter, findings, nothing_is_found, objects};
use crate::support::{Bundle, Lab, cases, field, finish};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

cases! {
    [Root] => waiting_init_with_new_privileges, waiting_init_without, waiting_init_in_a_shared_pid_namespace,
        descriptors_of_the_caller, hooks_inside_run_under_the_filter, term_ends_a_created_container;
}

/// A container whose program looks at itself.
fn looking(lab: &Lab, no_new_privs: bool) -> Bundle<'_> {
    lab.bundle()
        .capabilities(TRACER)
        .set("/linux/seccomp", filter())
        .set("/process/noNewPrivileges", json!(no_new_privs))
        .set("/annotations/secret", json!(super::SECRET_OF_A_RECORD))
        .sh("exec /bin/probe look self >/seen")
}

fn own_look(bundle: &Bundle<'_>) -> Value {
    bundle.verb("start").ok();
    bundle.wait_stopped();
    seen(bundle)
}

fn seen(bundle: &Bundle<'_>) -> Value {
    let seen = fs::read_to_string(bundle.rootfs().join("seen")).unwrap();
    objects(&seen).pop().unwrap()
}

/// What the program of such a container sees of itself, with all defences.
fn reference(bundle: &Bundle<'_>) -> Value {
    let mut run = bundle.command(&[], "run", &[]);
    run.env("CASULO_WITHOUT", "");
    finish(run, b"").ok();
    seen(bundle)
}

/// Attacks the waiting init of `bundle` from `by`, where it is number `pid`.
fn attacked(
    lab: &Lab,
    by: &Bundle<'_>,
    bundle: &Bundle<'_>,
    pid: &str,
    reference: &Value,
) -> Vec<super::Finding> {
    let mut command = lab.command();
    command.args(["exec", by.id(), "/bin/probe", "attack", pid, ALL_WORDS]);
    // The attacker itself enters as it should.
    command.args(super::SECRETS).env("CASULO_WITHOUT", "");
    let out = finish(command, b"").ok();
    let mut held = objects(&out.stdout).pop().unwrap();
    held["is_init"] = (pid == "1").into();
    assert_eq!(held["before_execve"], true, "{held}");
    assert!(super::finding::is_seen_wholly(&held), "{held}");
    let host = super::Host::new();
    let on_the_host = host.session_of(bundle.pid());
    let own = super::in_the_place_of(&own_look(bundle), reference);
    bundle.call("delete", &["--force"], &[]).ok();
    let mut found = findings(&held, &own, &host);
    found.extend(on_the_host);
    found
}

/// By a caller who has a directory of the host open.
fn create(lab: &Lab, bundle: &Bundle<'_>) {
    let mut create = bundle.command(&[], "create", &[]);
    create.env("SECRET", super::SECRET_OF_THE_CALLER);
    lab.through_shell("exec 9</etc; exec \"$@\"", &create).ok();
}

fn in_itself(lab: &Lab, no_new_privs: bool) -> Vec<super::Finding> {
    let reference = reference(&looking(lab, no_new_privs));
    let bundle = looking(lab, no_new_privs);
    create(lab, &bundle);
    attacked(lab, &bundle, &bundle, "1", &reference)
}

/// What is found in an init that waits. Its namespaces it has by its clone, and of what made it nothing is alive.
const OF_WAITING: [Kind; 6] = [
    Kind::Capabilities,
    Kind::Filter,
    Kind::Session,
    Kind::Descriptors,
    Kind::Peers,
    Kind::Memory,
];

fn waiting_init_with_new_privileges(lab: &Lab) {
    nothing_is_found(
        lab,
        "a waiting init without no_new_privs is traced",
        &OF_WAITING,
        |lab| in_itself(lab, false),
    );
}

fn waiting_init_without(lab: &Lab) {
    nothing_is_found(lab, "a waiting init is traced", &OF_WAITING, |lab| {
        in_itself(lab, true)
    });
}

fn waiting_init_in_a_shared_pid_namespace(lab: &Lab) {
    nothing_is_found(
        lab,
        "a waiting init is traced by its neighbour",
        &OF_WAITING,
        |lab| {
            let first = super::attacking(lab, Some(TRACER));
            first.run_detached();
            let path = format!("/proc/{}/ns/pid", first.pid());
            let reference = reference(&looking(lab, false).join_namespace("pid", &path));
            let second = looking(lab, false).join_namespace("pid", &path);
            create(lab, &second);
            let status = fs::read_to_string(format!("/proc/{}/status", second.pid())).unwrap();
            let inside = field(&status, "NSpid");
            let inside = inside.split_whitespace().last().unwrap();
            let found = attacked(lab, &first, &second, inside, &reference);
            first.call("delete", &["--force"], &[]).ok();
            found
        },
    );
}

/// What the caller has open is not open in a created container.
fn descriptors_of_the_caller(lab: &Lab) {
    let bundle = looking(lab, true);
    let create = bundle.command(&[], "create", &[]);
    lab.through_shell("exec 9</etc; exec 7<>/dev/null; exec \"$@\"", &create)
        .ok();
    let directory = format!("/proc/{}/fd", bundle.pid());
    let mut more = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let is_stdio = ["0", "1", "2"].iter().any(|it| entry.file_name() == *it);
        let kind = fs::metadata(entry.path()).unwrap().file_type();
        if !is_stdio && !kind.is_fifo() {
            more.push(fs::read_link(entry.path()).unwrap());
        }
    }
    assert!(more.is_empty(), "{more:?}");
}

fn hooks_inside_run_under_the_filter(lab: &Lab) {
    for no_new_privs in [true, false] {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "cat /proc/self/status >/hook"]});
        let bundle = looking(lab, no_new_privs).push("/hooks/startContainer", hook);
        bundle.create(&[]).ok();
        let own = own_look(&bundle);
        let hook = fs::read_to_string(bundle.rootfs().join("hook")).unwrap();
        for name in ["Seccomp", "NoNewPrivs", "CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(own[name], field(&hook, name), "{name} {no_new_privs}");
        }
        assert_eq!(field(&hook, "Seccomp"), "2");
    }
}

fn term_ends_a_created_container(lab: &Lab) {
    for signal in [
        "TERM", "INT", "HUP", "USR1", "ALRM", "QUIT", "PIPE", "RTMIN+3", "RTMAX",
    ] {
        let bundle = looking(lab, true);
        bundle.create(&[]).ok();
        bundle.call("kill", &[], &[signal]).ok();
        let begin = Instant::now();
        while bundle.status() != "stopped" {
            assert!(
                begin.elapsed() < super::patient(Duration::from_secs(5)),
                "{signal} does not end it"
            );
        }
        bundle.verb("delete").ok();
    }
    let bundle = looking(lab, true);
    bundle.create(&[]).ok();
    for signal in ["CHLD", "CONT", "WINCH", "URG"] {
        bundle.call("kill", &[], &[signal]).ok();
        // What has an effect has it at once.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(bundle.status(), "created", "{signal}");
    }
    bundle.verb("start").ok();
    bundle.wait_stopped();
    let seen = fs::read_to_string(bundle.rootfs().join("seen")).unwrap();
    assert!(seen.contains('{'), "the program has not run: {seen}");
    bundle.verb("delete").ok();
    // The program starts with the dispositions that it should have.
    // No shell, which ignores SIGQUIT.
    let copy = ["/bin/cp", "/proc/self/status", "/seen"];
    let bundle = lab.bundle().args(&copy);
    bundle.create(&[]).ok();
    bundle.verb("start").ok();
    bundle.wait_stopped();
    let seen = fs::read_to_string(bundle.rootfs().join("seen")).unwrap();
    assert_eq!(field(&seen, "SigBlk"), "0000000000000000", "{seen}");
    assert_eq!(field(&seen, "SigIgn"), "0000000000000000", "{seen}");
}
