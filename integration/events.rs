//! `events`: statistics and what happens, one JSON object a line; and what `run` says of an OOM kill.

use crate::support::{Bundle, Lab, Output, Running, cases, field, finish, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

cases! {
    [Root] => statistics_once, statistics_each_interval_until_the_end, events_of_nothing;
    [Root, Casulo] => interval_must_be_a_duration, closed_pipe_ends_it_quietly, nothing_is_done_in_between, stopped_container_has_its_last_figures,
        cgroup_of_the_caller_is_not_looked_at;
    [Root, Casulo, Controller("memory"), Controller("pids")] => figures_are_the_kernels;
    [Root, Casulo, Controller("memory")] => kills_are_announced_between_intervals, counts_at_the_limit_are_told,
        last_kill_is_told_before_the_end, run_says_what_the_limit_killed, run_keeps_silent_otherwise;
    [Root, Casulo, Controller("memory"), Controller("cpu"), Controller("io"), Program("/usr/sbin/runc")] => members_are_runcs;
}

const MEBI: i64 = 1 << 20;

fn sleeping(lab: &Lab) -> Bundle<'_> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

fn limited<'lab>(lab: &'lab Lab, memory: i64) -> Bundle<'lab> {
    let limits = json!({"limit": memory, "swap": memory});
    lab.bundle().set("/linux/resources/memory", limits)
}

fn events(lab: &Lab, bundle: &Bundle<'_>, options: &[&str]) -> Command {
    let mut command = lab.command();
    command.arg("events").args(options).arg(bundle.id());
    command
}

/// The events in a text, each of this container.
#[track_caller]
fn parse(text: &str, bundle: &Bundle<'_>) -> Vec<Value> {
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<Value> = lines.collect();
    assert!(events.iter().all(|it| it["id"] == bundle.id()), "{text}");
    events
}

fn of_type(events: &[Value], kind: &str) -> Vec<Value> {
    let is_kind = |event: &&Value| event["type"] == kind;
    events.iter().filter(is_kind).cloned().collect()
}

fn statistics(bundle: &Bundle<'_>) -> Value {
    let out = bundle.call("events", &["--stats"], &[]).ok();
    let mut events = parse(&out.stdout, bundle);
    assert_eq!(events.len(), 1, "{out:?}");
    assert_eq!(events[0]["type"], "stats");
    events[0]["data"].take()
}

fn statistics_once(lab: &Lab) {
    let bundle = lab
        .bundle()
        .sh("i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; touch /ready; sleep 1000 & wait");
    bundle.run_detached();
    wait_until("it is ready", || bundle.rootfs().join("ready").exists());
    let stat = || {
        let text = fs::read_to_string(bundle.cgroup().join("cpu.stat")).unwrap();
        let line = text.lines().find_map(|it| it.strip_prefix("usage_usec "));
        line.unwrap().parse::<u64>().unwrap() * 1000
    };
    let before = stat();
    let data = statistics(&bundle);
    let total = data["cpu"]["usage"]["total"].as_u64().unwrap();
    assert!(total > 0 && (before..=stat()).contains(&total), "{data}");
    assert!(data["pids"]["current"].as_u64().unwrap() >= 1, "{data}");
}

fn statistics_each_interval_until_the_end(lab: &Lab) {
    let bundle = sleeping(lab);
    let running = Running::new(events(lab, &bundle, &["--interval", "20ms"]), b"");
    wait_until("three lines", || running.stdout().lines().count() >= 3);
    bundle.call("kill", &[], &["KILL"]).ok();
    let out = running.wait().ok();
    let events = parse(&out.stdout, &bundle);
    assert_eq!(of_type(&events, "stats").len(), events.len(), "{events:?}");
}

fn events_of_nothing(lab: &Lab) {
    lab.casulo(&["events", "nobody-knows-it"])
        .fails_with(&["does not exist"]);
}

fn interval_must_be_a_duration(lab: &Lab) {
    let bundle = sleeping(lab);
    for (interval, why) in [
        ("0s", "must be more than 0"),
        ("5", "not a duration"),
        ("soon", "not a duration"),
        ("-1s", "not a duration"),
    ] {
        let option = format!("--interval={interval}");
        let named = format!("--interval {interval}: ");
        finish(events(lab, &bundle, &[&option]), b"").fails_with(&[&named, why]);
    }
}

fn closed_pipe_ends_it_quietly(lab: &Lab) {
    let bundle = sleeping(lab);
    for (interval, lines) in [("10ms", 1), ("1h", 0)] {
        let mut command = events(lab, &bundle, &["--interval", interval]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A line is there as soon as it is written, not when a buffer is full.
        let stdout = BufReader::new(child.stdout.take().unwrap());
        assert_eq!(stdout.lines().take(lines).count(), lines);
        // The reader has gone with the iterator; within the hour nothing else would happen.
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        assert_eq!(out.stderr, b"", "{out:?}");
    }
}

fn nothing_is_done_in_between(lab: &Lab) {
    let bundle = sleeping(lab);
    let running = Running::new(events(lab, &bundle, &["--interval", "1h"]), b"");
    let status = || {
        let text = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
        assert_eq!(field(&text, "Threads"), "1");
        (
            field(&text, "State"),
            field(&text, "voluntary_ctxt_switches"),
            field(&text, "nonvoluntary_ctxt_switches"),
        )
    };
    let wchan = format!("/proc/{}/wchan", running.pid());
    wait_until("it waits", || {
        fs::read_to_string(&wchan).is_ok_and(|it| it.contains("poll"))
            || (status().0.starts_with('S') && fs::read_to_string(&wchan).is_ok_and(|it| it == "0"))
    });
    let before = status();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(status(), before);
    bundle.call("kill", &[], &["KILL"]).ok();
    assert_eq!(running.wait().ok().stdout, "");
}

fn stopped_container_has_its_last_figures(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    bundle
        .verb("events")
        .fails_with(&["container not running", bundle.id()]);
    let data = statistics(&bundle);
    assert!(
        data["cpu"]["usage"]["total"].as_u64().unwrap() > 0,
        "{data}"
    );
    assert_eq!(data["pids"]["current"], 0);
}

fn cgroup_of_the_caller_is_not_looked_at(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let run = bundle.command(&["--cgroup-manager", "disabled"], "run", &["--detach"]);
    finish(run, b"").ok();
    for options in [&["--stats"][..], &[]] {
        bundle
            .call("events", options, &[])
            .fails_with(&["no cgroup of its own"]);
    }
}

fn figures_are_the_kernels(lab: &Lab) {
    let bundle = limited(lab, 64 * MEBI)
        .set("/linux/resources/pids", json!({"limit": 17}))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let file = |name: &str| fs::read_to_string(bundle.cgroup().join(name)).unwrap();
    let number = |name: &str| file(name).trim().parse::<u64>().unwrap();
    let data = statistics(&bundle);
    let memory = &data["memory"];
    assert_eq!(memory["usage"]["limit"], 64 * MEBI);
    // The kernel's count moves a little while nothing happens.
    let is_near = |member: &Value, file: &str| {
        member.as_u64().unwrap().abs_diff(number(file)) < 1 << 20 && member.as_u64() > Some(0)
    };
    assert!(
        is_near(&memory["usage"]["usage"], "memory.current"),
        "{data}"
    );
    if bundle.cgroup().join("memory.peak").exists() {
        assert!(is_near(&memory["usage"]["max"], "memory.peak"), "{data}");
    }
    let raw: BTreeSet<&str> = memory["raw"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let stat = file("memory.stat");
    let lines: BTreeSet<&str> = stat
        .lines()
        .map(|it| it.split(' ').next().unwrap())
        .collect();
    assert_eq!(raw, lines);
    assert_eq!(
        (&data["pids"]["current"], &data["pids"]["limit"]),
        (&json!(1), &json!(17))
    );
    for (member, name) in [
        ("cpu", "cpu.pressure"),
        ("memory", "memory.pressure"),
        ("blkio", "io.pressure"),
    ] {
        let text = fs::read_to_string(bundle.cgroup().join(name)).unwrap_or_default();
        let has = |line: &str| text.lines().any(|it| it.starts_with(line));
        for line in ["some", "full"] {
            assert_eq!(
                !data[member]["psi"][line].is_null(),
                has(line),
                "{member} {line}: {data}"
            );
        }
    }
    let sizes = fs::read_dir(bundle.cgroup())
        .unwrap()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with("hugetlb.") && name.ends_with(".current") && !name.contains("rsvd")
        });
    assert_eq!(data["hugetlb"].as_object().unwrap().len(), sizes.count());
}

/// Lets a process of the container take more than it may have.
#[track_caller]
fn overeat(bundle: &Bundle<'_>) {
    let out = bundle.call("exec", &[], &["/bin/tail", "/dev/zero"]);
    assert_eq!(out.code, 137, "{out:?}");
}

fn kills_are_announced_between_intervals(lab: &Lab) {
    let bundle = limited(lab, 24 * MEBI).args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    // What happened before is not told again.
    overeat(&bundle);
    let running = Running::new(events(lab, &bundle, &["--interval", "1h"]), b"");
    // It has looked at the counts once it waits.
    let stat = format!("/proc/{}/stat", running.pid());
    wait_until("it waits", || {
        fs::read_to_string(&stat).is_ok_and(|it| it.contains(") S "))
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let so_far = || parse(&running.stdout(), &bundle);
    for count in [1, 2] {
        overeat(&bundle);
        wait_until("it is told", || of_type(&so_far(), "oom").len() >= count);
        assert_eq!(of_type(&so_far(), "oom").len(), count);
    }
    let oom = &of_type(&so_far(), "oom")[0];
    assert_eq!(oom, &json!({"type": "oom", "id": bundle.id()}));
    bundle.call("kill", &[], &["KILL"]).ok();
    let out = running.wait().ok();
    let all = parse(&out.stdout, &bundle);
    assert_eq!(of_type(&all, "stats"), [] as [Value; 0]);
    assert_eq!(of_type(&all, "oom").len(), 2);
    let counts = of_type(&all, "memory");
    assert_eq!(counts.last().unwrap()["data"]["oom_kill"], 3, "{all:?}");
}

fn counts_at_the_limit_are_told(lab: &Lab) {
    // At memory.high a process is slowed down, not killed; the counts run.
    let bundle = lab
        .bundle()
        .set(
            "/linux/resources/unified",
            json!({"memory.high": (8 * MEBI).to_string()}),
        )
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let running = Running::new(events(lab, &bundle, &["--interval", "1h"]), b"");
    let eater = [
        "/bin/sh",
        "-c",
        "head -c 12000000 /dev/zero | tail -c 11000000 >/dev/null",
    ];
    bundle.call("exec", &["--detach"], &eater).ok();
    let so_far = || of_type(&parse(&running.stdout(), &bundle), "memory");
    wait_until("it is told", || !so_far().is_empty());
    let first = &so_far()[0]["data"];
    assert!(first["high"].as_u64().unwrap() > 0, "{first}");
    assert_eq!(first["oom_kill"], 0);
}

fn last_kill_is_told_before_the_end(lab: &Lab) {
    let bundle =
        limited(lab, 24 * MEBI).sh("while [ ! -e /go ]; do sleep 0.05; done; exec tail /dev/zero");
    bundle.run_detached();
    let running = Running::new(events(lab, &bundle, &["--interval", "1h"]), b"");
    let stat = format!("/proc/{}/stat", running.pid());
    wait_until("it waits", || {
        fs::read_to_string(&stat).is_ok_and(|it| it.contains(") S "))
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    fs::write(bundle.rootfs().join("go"), "").unwrap();
    let out = running.wait().ok();
    let events = parse(&out.stdout, &bundle);
    assert_eq!(of_type(&events, "oom").len(), 1, "{events:?}");
    // What is left of it says so, too.
    bundle.wait_stopped();
    assert_eq!(statistics(&bundle)["memory"]["events"]["oom_kill"], 1);
}

fn run_says_what_the_limit_killed(lab: &Lab) {
    let said = |id: &str| format!("container {id}: 1 process was killed by its memory limit");
    let bundle = limited(lab, 24 * MEBI).args(&["/bin/tail", "/dev/zero"]);
    let out = bundle.run();
    assert_eq!(out.code, 137);
    assert_eq!(out.stderr.lines().count(), 1, "{out:?}");
    assert!(out.stderr.contains(&said(bundle.id())), "{out:?}");

    let log = lab.join("log");
    let global = ["--log", &log.to_string_lossy(), "--log-format", "json"];
    let out = finish(bundle.command(&global, "run", &["--keep"]), b"");
    assert_eq!((out.code, out.stderr.as_str()), (137, ""));
    let line: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(line["msg"], said(bundle.id()));
    assert_eq!(line["level"], "error");
    // Who started it can see for themselves.
    let counts = fs::read_to_string(bundle.cgroup().join("memory.events")).unwrap();
    assert!(counts.lines().any(|it| it == "oom_kill 1"), "{counts}");
    bundle.verb("delete").ok();
}

fn run_keeps_silent_otherwise(lab: &Lab) {
    let silent = |out: &Output| assert_eq!((out.code, out.stderr.as_str()), (137, ""));
    silent(&limited(lab, 64 * MEBI).sh("exit 137").run());
    let bundle = limited(lab, 64 * MEBI).sh("touch /ready; exec sleep 1000");
    let running = bundle.running();
    wait_until("it runs", || bundle.rootfs().join("ready").exists());
    bundle.call("kill", &[], &["KILL"]).ok();
    silent(&running.wait());
}

/// The paths of all members of a document; what stands for an element is `[]`.
fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{path}.{key}");
                found.insert(path.clone());
                members(value, &path, found);
            }
        }
        Value::Array(list) => {
            for value in list {
                members(value, &format!("{path}[]"), found);
            }
        }
        _ => {}
    }
}

fn members_are_runcs(lab: &Lab) {
    // runc enables every controller, casulo those that something is asked of.
    let make = || {
        limited(lab, 64 * MEBI)
            .set("/linux/resources/pids", json!({"limit": 17}))
            .set(
                "/linux/resources/cpu",
                json!({"quota": 50_000, "period": 100_000, "cpus": "0"}),
            )
            .set(
                "/linux/resources/unified",
                json!({"io.weight": "200", "hugetlb.2MB.max": "max"}),
            )
            .sh("dd if=/dev/zero of=/file bs=4k count=9 conv=fsync; touch /ready; sleep 1000")
    };
    let (ours, theirs) = (make(), make());
    ours.run_detached();
    wait_until("it is ready", || ours.rootfs().join("ready").exists());
    theirs.write();
    let runc = |args: &[&str]| {
        let mut command = Command::new("/usr/sbin/runc");
        command.arg("--root").arg(lab.join("runc")).args(args);
        finish(command, b"").ok()
    };
    let path = theirs.path().to_string_lossy().into_owned();
    runc(&["run", "--detach", "--bundle", &path, theirs.id()]);
    let out = runc(&["events", "--stats", theirs.id()]);
    runc(&["delete", "--force", theirs.id()]);
    let event = parse(&out.stdout, &theirs);
    assert_eq!(event[0]["type"], "stats");

    let (mut our_members, mut their_members) = (BTreeSet::new(), BTreeSet::new());
    members(&statistics(&ours), "", &mut our_members);
    members(&event[0]["data"], "", &mut their_members);
    // runc's zeros for the flags of cgroup v1's cpusets.
    their_members.retain(|path| !path.starts_with(".cpuset."));
    let missing: Vec<&String> = their_members.difference(&our_members).collect();
    assert!(missing.is_empty(), "runc has, casulo has not: {missing:#?}");
    // What runc leaves out where it is zero or where it is too old, and what is casulo's own.
    let known = [
        ".cpu.burst",
        ".cpu.psi",
        ".cpu.throttling.",
        ".cpuset.",
        ".memory.cache",
        ".memory.events",
        ".memory.kernel.",
        ".memory.kernelTCP.",
        ".memory.psi",
        ".memory.swap.",
        ".memory.swapOnly",
        ".memory.usage.",
        ".pids.events",
        ".blkio.",
        ".hugetlb.",
        ".rdma",
    ];
    let is_known = |path: &&String| known.iter().any(|prefix| path.starts_with(prefix));
    let surprising: Vec<&String> = our_members
        .difference(&their_members)
        .filter(|path| !is_known(path))
        .collect();
    assert!(surprising.is_empty(), "casulo alone has {surprising:#?}");
}
