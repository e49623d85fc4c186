//! Tables for the plan; then the real effects, as root, in forked children.

mod devices;
mod joined;
mod made;

use super::*;
use crate::skip;
use crate::sys::child::{self, leave};
use crate::sys::clone::Side;
use crate::sys::forked::{check_in_child, in_child};
use crate::sys::namespace::{set_group, set_user};
use netlink::Netlink;
use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{get_dumpable, set_dumpable};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getuid, pipe, read, setgroups, write};
use serde_json::{Value, json};
use std::fs::read_to_string;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;

type Outcome = std::result::Result<(), String>;

fn planned(linux: Value) -> (Plan, String) {
    let spec = json!({"ociVersion": "1.3.0", "linux": linux});
    let spec: Spec = serde_json::from_value(spec).expect("a spec");
    let mut problems = Problems::default();
    let plan = plan(&spec, &Host::of_root(), &mut problems);
    let text = problems.into_result("c").err();
    (plan, text.map_or(String::new(), |error| error.to_string()))
}

#[test]
fn every_kind_is_made_or_joined() {
    let all: Vec<Value> = Kind::ALL
        .iter()
        .map(|kind| json!({"type": kind.spec_name()}))
        .collect();
    let one = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let (plan, problems) =
        planned(json!({"namespaces": all, "uidMappings": one, "gidMappings": one}));
    assert_eq!(problems, "");
    assert_eq!(plan.new, Kind::ALL);
    assert!(plan.has(Kind::Time) && plan.is_new(Kind::Time) && !plan.joins(Kind::Time));

    let (plan, problems) = planned(json!({"namespaces": [
        {"type": "uts"}, {"type": "network", "path": "/run/netns/a"}, {"type": "ipc", "path": ""}
    ]}));
    assert_eq!(problems, "");
    assert_eq!(plan.new, [Kind::Uts, Kind::Ipc]);
    assert_eq!(
        plan.join,
        [Join {
            kind: Kind::Network,
            path: "/run/netns/a".into(),
            index: 1
        }]
    );
    assert!(plan.has(Kind::Network) && !plan.is_new(Kind::Network) && !plan.has(Kind::Pid));
}

#[test]
fn without_maps_the_caller_is_root_of_a_new_user_namespace() {
    let (plan, problems) = planned(json!({"namespaces": [{"type": "user"}]}));
    let caller = |id| {
        vec![IdMap {
            inside: 0,
            outside: id,
            count: 1,
        }]
    };
    assert_eq!(problems, "");
    assert_eq!(plan.uid_map, caller(Host::of_root().euid));
    assert_eq!(plan.gid_map, caller(Host::of_root().egid));
}

#[test]
fn what_cannot_be_is_a_problem() {
    for (linux, why) in [
        (
            json!({"namespaces": [{"type": "pid"}, {"type": "pid", "path": "/p"}]}),
            "c: linux.namespaces[1].type: a second pid namespace; a container has one of each type",
        ),
        (
            json!({"namespaces": [{"type": "uts", "path": "run/x"}]}),
            "c: linux.namespaces[0].path: run/x is not absolute",
        ),
        (
            json!({"namespaces": [{"type": "uts", "path": "/run\u{0}x"}]}),
            "c: linux.namespaces[0].path: holds a zero byte",
        ),
        (
            json!({"namespaces": [{"type": "user"}],
                   "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
            "c: linux.uidMappings: missing; a new user namespace needs both maps, or neither",
        ),
        (
            json!({"gidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
            "c: linux.gidMappings: given without a user namespace in linux.namespaces, \
             so it would have no effect",
        ),
        (
            json!({"timeOffsets": {"boottime": {"secs": 1}}}),
            "c: linux.timeOffsets: needs a new time namespace in linux.namespaces",
        ),
        (
            json!({"namespaces": [{"type": "time", "path": "/p"}],
                   "timeOffsets": {"boottime": {"secs": 1}}}),
            "c: linux.timeOffsets: needs a new time namespace in linux.namespaces",
        ),
        (
            json!({"namespaces": [{"type": "time"}],
                   "timeOffsets": {"monotonic": {"nanosecs": 1_000_000_000}, "realtime": {}}}),
            "c: linux.timeOffsets.monotonic.nanosecs: 1000000000 is a second or more; \
             linux.timeOffsets.realtime: no such clock; there are monotonic and boottime",
        ),
        (
            json!({"netDevices": {"eth0": {}}}),
            "c: linux.netDevices: needs a network namespace in linux.namespaces",
        ),
        (
            json!({"namespaces": [{"type": "network"}],
                   "netDevices": {"a": {"name": "x/y"}, "b": {"name": "c"}, "c": {}}}),
            "c: linux.netDevices.a.name: has a slash, a colon, white space or a zero byte; \
             linux.netDevices.c.name: c is taken by b",
        ),
    ] {
        assert_eq!(planned(linux).1, why);
    }
}

#[test]
fn templates_of_device_names_come_last() {
    let (plan, problems) = planned(json!({"namespaces": [{"type": "network"}],
        "netDevices": {"a": {"name": "eth%d"}, "b": {"name": "eth%d"}, "c": {"name": "eth0"}}}));
    assert_eq!(problems, "");
    let names: Vec<&str> = plan.net_devices.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["eth0", "eth%d", "eth%d"]);
}

#[test]
fn moving_devices_needs_the_hosts_privilege() {
    let spec = json!({"ociVersion": "1.3.0", "linux":
        {"namespaces": [{"type": "network"}], "netDevices": {"eth0": {}}}});
    let spec: Spec = serde_json::from_value(spec).expect("a spec");
    let mut problems = Problems::default();
    let rootless = Host {
        euid: 1000,
        rootless: true,
        effective: 0,
        ..Host::of_root()
    };
    plan(&spec, &rootless, &mut problems);
    let error = problems.into_result("c").expect_err("a problem");
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}

// The tests from here on have real effects. Each forks first, so that it has one thread and its own
// privileges, and is skipped (by name, on stderr) without root.

fn says<T, E: std::fmt::Display>(
    what: &str,
    result: std::result::Result<T, E>,
) -> std::result::Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn as_root(body: impl FnOnce() -> Outcome) {
    if !skip::unless_root() {
        check_in_child(body);
    }
}

fn link(kind: Kind) -> String {
    let path = format!("/proc/self/ns/{}", kind.proc_name());
    readlink(path.as_str()).map_or_else(|e| e.to_string(), |it| it.to_string_lossy().into_owned())
}

fn link_of(pid: Pid, kind: Kind) -> String {
    let path = format!("/proc/{pid}/ns/{}", kind.proc_name());
    readlink(path.as_str()).map_or_else(|e| e.to_string(), |it| it.to_string_lossy().into_owned())
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what()) }
}

/// An init that waits to be killed, and what the parent knows of it.
struct Container(Pid);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Runs the functions of this module as the parent and init do. Init runs `inside` and then waits.
/// Returns once `inside` is done.
fn start(plan: &Plan, inside: impl FnOnce() -> Outcome) -> std::result::Result<Container, String> {
    start_in(None, plan, inside)
}

/// Does as [`start`], with init in a cgroup.
fn start_in(
    cgroup: Option<BorrowedFd<'_>>,
    plan: &Plan,
    inside: impl FnOnce() -> Outcome,
) -> std::result::Result<Container, String> {
    let host = says("host", Host::ask(None, None))?;
    let joins = says("open joins", open_joins(plan))?;
    let (go, give_go) = says("pipe", pipe())?;
    let (answer, give_answer) = says("pipe", pipe())?;
    let (ready, give_ready) = says("pipe", pipe())?;
    let pid = match says("spawn", spawn(plan, &joins, cgroup))? {
        Spawned::Init => {
            let joined = if joins.joins(Kind::Pid) {
                says("join", join_as_entrant(plan, &joins))
                    .and_then(|()| says("join", join_pids_for_birth(plan, &joins)))
            } else {
                Ok(())
            };
            let made = joined.and_then(|()| says("unshare", super::unshare(plan)));
            let _ = write(&give_ready, b"!");
            let _ = read(&go, &mut [0]);
            let outcome = made
                .and_then(|()| says("enter", enter(plan, &joins)))
                .and_then(|()| inside());
            let text = outcome.err().unwrap_or_else(|| String::from("ok"));
            let _ = write(&give_answer, text.as_bytes());
            loop {
                nix::unistd::pause();
            }
        }
        Spawned::Parent(pid) => pid,
    };
    let container = Container(pid);
    says("ready", read(&ready, &mut [0]))?;
    says("maps", write_maps(plan, pid, &host))?;
    says("devices", move_devices(plan, &joins, pid))?;
    says("go", write(&give_go, b"!"))?;
    drop(give_answer);
    let mut text = vec![0; 4096];
    let length = says("answer", read(&answer, &mut text))?;
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
    ensure(text == "ok", || format!("inside: {text}"))?;
    Ok(container)
}

/// An entrant, or init: returns the pid of its next child, as that child sees it.
fn pid_of_next_child() -> std::result::Result<i32, String> {
    match says("fork", child::fork())? {
        Side::Child => child::leave(getpid().as_raw()),
        Side::Parent(pid) => match says("wait", waitpid(pid, None))? {
            WaitStatus::Exited(_, code) => Ok(code),
            status => Err(format!("{status:?}")),
        },
    }
}

fn nothing() -> Outcome {
    Ok(())
}

fn new(kinds: &[Kind]) -> Plan {
    Plan {
        new: kinds.to_vec(),
        ..Plan::default()
    }
}

fn mapped(plan: Plan, inside: u32, outside: u32, count: u32) -> Plan {
    let map = vec![IdMap {
        inside,
        outside,
        count,
    }];
    Plan {
        uid_map: map.clone(),
        gid_map: map,
        ..plan
    }
}

fn joining(mut plan: Plan, container: &Container, kinds: &[Kind]) -> Plan {
    for (index, kind) in kinds.iter().enumerate() {
        plan.join.push(Join {
            kind: *kind,
            path: format!("/proc/{}/ns/{}", container.0, kind.proc_name()).into(),
            index,
        });
    }
    plan
}

/// Becomes an ordinary user as a login would; exec would have made the process dumpable.
fn become_nobody() -> Outcome {
    says("setgroups", setgroups(&[]))?;
    says("setresgid", set_group(65534))?;
    says("setresuid", set_user(65534))?;
    says("dumpable", set_dumpable(true))
}

fn no_child_is_left() -> Outcome {
    ensure(waitpid(None, None) == Err(Errno::ECHILD), || {
        "a child is left".into()
    })
}
