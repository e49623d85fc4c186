//! Tables for the plan; then the real effects, as root, in forked children.

use super::*;
use crate::skip;
use crate::sys::child::leave;
use crate::sys::forked::{check_in_child, in_child};
use crate::sys::namespace::{set_group, set_user};
use netlink::Netlink;
use nix::errno::Errno;
use nix::fcntl::readlink;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{get_dumpable, set_dumpable};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
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

// From here on the real effects. Each test forks first, so that it has one thread and its own
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

/// The parent's and init's sequence around the functions of this module; init runs `inside` and
/// then waits. Returns once `inside` is done.
fn start(plan: &Plan, inside: impl FnOnce() -> Outcome) -> std::result::Result<Container, String> {
    start_in(None, plan, inside)
}

/// [`start`] in a cgroup.
fn start_in(
    cgroup: Option<BorrowedFd<'_>>,
    plan: &Plan,
    inside: impl FnOnce() -> Outcome,
) -> std::result::Result<Container, String> {
    let host = says("host", Host::ask(None, None))?;
    let joins = says("open joins", open_joins(plan))?;
    let (go, give_go) = says("pipe", pipe())?;
    let (answer, give_answer) = says("pipe", pipe())?;
    let pid = match says("spawn", spawn(plan, &joins, cgroup))? {
        Spawned::Init => {
            let _ = read(&go, &mut [0]);
            let outcome = says("enter", enter(plan, &joins)).and_then(|()| inside());
            let text = outcome.err().unwrap_or_else(|| String::from("ok"));
            let _ = write(&give_answer, text.as_bytes());
            loop {
                nix::unistd::pause();
            }
        }
        Spawned::Parent(pid) => pid,
    };
    let container = Container(pid);
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

#[test]
fn a_container_with_every_namespace_has_its_own() {
    as_root(|| {
        let before = Kind::ALL.map(link);
        let plan = Plan {
            time_offsets: vec![TimeOffset {
                clock: Clock::Boottime,
                seconds: 100_000_000,
                nanoseconds: 0,
            }],
            ..mapped(new(&Kind::ALL), 0, 100_000, 65536)
        };
        let container = start(&plan, || {
            for (kind, before) in Kind::ALL.into_iter().zip(before) {
                ensure(link(kind) != before, || format!("{kind:?} is the host's"))?;
            }
            ensure(getpid().as_raw() == 1, || format!("pid {}", getpid()))?;
            ensure(getuid().is_root(), || format!("uid {}", getuid()))?;
            let uptime = says("uptime", read_to_string("/proc/uptime"))?;
            let seconds: f64 = says("uptime", uptime.split(' ').next().unwrap_or("").parse())?;
            ensure(seconds > 1e8, || format!("uptime {uptime}"))?;
            let lo = says("lo", Netlink::open().and_then(|mut it| it.find("lo")))?;
            ensure(lo.is_some_and(|it| it.up), || format!("lo: {lo:?}"))
        })?;
        let status = says(
            "status",
            read_to_string(format!("/proc/{}/status", container.0)),
        )?;
        ensure(status.contains("Uid:\t100000\t100000\t"), || status.clone())
    });
}

#[test]
fn a_time_namespace_without_offsets_is_made_by_the_clone() {
    as_root(|| {
        let before = link(Kind::Time);
        start(&new(&[Kind::Time]), || {
            ensure(get_dumpable() == Ok(false), || "dumpable".into())?;
            ensure(link(Kind::Time) != before, || "the host's".into())
        })
        .map(drop)
    });
}

#[test]
fn a_pod_shares_namespaces_by_path() {
    as_root(|| {
        let shared = [
            Kind::Pid,
            Kind::Network,
            Kind::Ipc,
            Kind::Uts,
            Kind::Mount,
            Kind::Cgroup,
            Kind::Time,
        ];
        let first = start(&new(&shared), nothing)?;
        let here = link(Kind::Pid);
        let plan = joining(Plan::default(), &first, &shared);
        // Init sees its own pid before it mounts a /proc of its own.
        let second = start(&plan, || {
            ensure(getpid().as_raw() == 2, || format!("pid {}", getpid()))
        })?;
        for kind in shared {
            let (a, b) = (link_of(first.0, kind), link_of(second.0, kind));
            ensure(a == b, || format!("{kind:?}: {a} and {b}"))?;
        }
        ensure(get_dumpable() == Ok(false), || {
            "the parent was dumpable while init was born into a foreign pid namespace".into()
        })?;
        let children = says("link", readlink("/proc/self/ns/pid_for_children"))?;
        ensure(children.to_string_lossy() == here, || {
            "the parent's next child would be born inside".into()
        })
    });
}

#[test]
fn a_new_user_namespace_and_a_joined_network_meet_over_a_bridge() {
    as_root(|| {
        let first = start(&new(&[Kind::Network, Kind::Uts]), nothing)?;
        let plan = new(&[Kind::User, Kind::Pid, Kind::Mount]);
        let plan = joining(
            mapped(plan, 0, 100_000, 1000),
            &first,
            &[Kind::Network, Kind::Uts],
        );
        let second = start(&plan, || {
            ensure(getpid().as_raw() == 1, || format!("pid {}", getpid()))?;
            ensure(getuid().is_root(), || format!("uid {}", getuid()))
        })?;
        for kind in [Kind::Network, Kind::Uts] {
            let (a, b) = (link_of(first.0, kind), link_of(second.0, kind));
            ensure(a == b, || format!("{kind:?}: {a} and {b}"))?;
        }
        let user = link_of(second.0, Kind::User);
        ensure(user != link(Kind::User), || "no user namespace".into())?;
        drop(second);
        drop(first);
        no_child_is_left()
    });
}

#[test]
fn a_new_user_namespace_needs_no_bridge_into_a_joined_pid_namespace() {
    as_root(|| {
        let first = start(&new(&[Kind::Pid]), nothing)?;
        let plan = mapped(new(&[Kind::User]), 0, 100_000, 1000);
        let second = start(&joining(plan, &first, &[Kind::Pid]), nothing)?;
        let (a, b) = (link_of(first.0, Kind::Pid), link_of(second.0, Kind::Pid));
        ensure(a == b, || format!("{a} and {b}"))
    });
}

#[test]
fn a_joined_user_namespace_opens_what_it_owns() {
    as_root(|| {
        let kinds = [Kind::User, Kind::Network, Kind::Ipc, Kind::Pid, Kind::Time];
        let first = start(&mapped(new(&kinds), 0, 100_000, 1000), nothing)?;
        // The same maps may be given, as engines do.
        let plan = joining(
            mapped(new(&[Kind::Mount, Kind::Uts]), 0, 100_000, 1000),
            &first,
            &kinds,
        );
        let second = start(&plan, || {
            ensure(getuid().is_root(), || format!("uid {}", getuid()))?;
            ensure(getpid().as_raw() == 2, || format!("pid {}", getpid()))?;
            // The mount namespace belongs to the joined user namespace.
            says(
                "mount",
                nix::mount::mount(
                    Some("none"),
                    "/tmp",
                    Some("tmpfs"),
                    nix::mount::MsFlags::empty(),
                    None::<&str>,
                ),
            )
        })?;
        for kind in kinds {
            let (a, b) = (link_of(first.0, kind), link_of(second.0, kind));
            ensure(a == b, || format!("{kind:?}: {a} and {b}"))?;
        }
        let other = joining(mapped(Plan::default(), 0, 200_000, 1000), &first, &kinds);
        let error = start(&other, nothing).err().unwrap_or_default();
        ensure(error.contains("linux.uidMappings differs"), || {
            error.clone()
        })
    });
}

#[test]
fn an_ordinary_user_joins_a_pod_through_its_user_namespace() {
    as_root(|| {
        become_nobody()?;
        let kinds = [Kind::Network, Kind::User, Kind::Pid];
        // Dumpable, as a program that was executed is: only then may its owner see its namespaces.
        let first = start(&mapped(new(&kinds), 0, 65534, 1), || {
            says("dumpable", set_dumpable(true))
        })?;
        let second = start(&joining(new(&[Kind::Uts]), &first, &kinds), || {
            ensure(getuid().is_root(), || format!("uid {}", getuid()))?;
            ensure(getpid().as_raw() == 2, || format!("pid {}", getpid()))?;
            says("dumpable", set_dumpable(true))
        })?;
        for kind in kinds {
            let (a, b) = (link_of(first.0, kind), link_of(second.0, kind));
            ensure(a == b, || format!("{kind:?}: {a} and {b}"))?;
        }
        // Process 1 of a pid namespace ends only when the others in it have been waited for.
        drop(second);
        drop(first);
        no_child_is_left()
    });
}

#[test]
fn a_joined_user_namespace_can_be_the_only_one() {
    as_root(|| {
        let first = start(&mapped(new(&[Kind::User]), 0, 100_000, 1000), nothing)?;
        let plan = joining(Plan::default(), &first, &[Kind::User]);
        let second = start(&plan, || {
            ensure(getuid().is_root(), || format!("uid {}", getuid()))
        })?;
        let (a, b) = (link_of(first.0, Kind::User), link_of(second.0, Kind::User));
        ensure(a == b, || format!("{a} and {b}"))
    });
}

#[test]
fn a_failing_bridge_names_the_namespace_and_leaves_no_child() {
    as_root(|| {
        let first = start(&new(&[Kind::Network]), nothing)?;
        let path = format!("/proc/{}/ns/net", first.0);
        let holder = says("open", std::fs::File::open(&path))?;
        let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&holder));
        // The user who asks is not allowed to join it; a child asks, to keep the rest privileged.
        in_child(move || {
            become_nobody()?;
            let mut plan = mapped(new(&[Kind::User]), 0, 65534, 1);
            plan.join.push(Join {
                kind: Kind::Network,
                path: own.clone().into(),
                index: 3,
            });
            let joins = says("open", open_joins(&plan))?;
            let error = match spawn(&plan, &joins, None) {
                Ok(Spawned::Init) => leave(0),
                Ok(Spawned::Parent(_)) => return Err("joined".into()),
                Err(error) => error,
            };
            let wanted = format!(
                "join network namespace {own} (linux.namespaces[3].path): operation not permitted"
            );
            ensure(error.to_string() == wanted, || error.to_string())?;
            ensure(error.hint.is_some(), || "no hint".into())?;
            no_child_is_left().map(|()| String::new())
        })
        .map(drop)
    });
}

#[test]
fn a_path_of_another_type_is_refused() {
    let path = |kind: Kind, path: &str| Plan {
        join: vec![Join {
            kind,
            path: path.into(),
            index: 2,
        }],
        ..Plan::default()
    };
    for (plan, why) in [
        (
            path(Kind::Network, "/proc/self/ns/uts"),
            "join network namespace /proc/self/ns/uts (linux.namespaces[2].path): \
             is a uts namespace, wanted a network namespace",
        ),
        (
            path(Kind::Time, "/proc/self/status"),
            "join time namespace /proc/self/status (linux.namespaces[2].path): \
             is no namespace, wanted a time namespace",
        ),
        (
            path(Kind::Ipc, "/nowhere"),
            "open ipc namespace /nowhere (linux.namespaces[2].path): no such file or directory",
        ),
    ] {
        let error = open_joins(&plan).expect_err("refused");
        assert_eq!(error.to_string(), why);
    }
}

#[test]
fn joining_the_own_namespaces_changes_nothing() {
    // Without any privilege, which setns would need.
    as_root(|| {
        become_nobody()?;
        let plan = joining(
            Plan::default(),
            &std::mem::ManuallyDrop::new(Container(getpid())),
            &Kind::ALL,
        );
        let joins = says("open", open_joins(&plan))?;
        for kind in Kind::ALL {
            ensure(joins.is_own(kind), || format!("{kind:?}"))?;
        }
        let before = Kind::ALL.map(link);
        start(&plan, || {
            ensure(Kind::ALL.map(link) == before, || "changed".into())
        })
        .map(drop)
    });
}

#[test]
fn an_ordinary_user_gets_every_namespace() {
    as_root(|| {
        become_nobody()?;
        let plan = Plan {
            time_offsets: vec![TimeOffset {
                clock: Clock::Monotonic,
                seconds: 5,
                nanoseconds: 0,
            }],
            ..mapped(new(&Kind::ALL), 0, 65534, 1)
        };
        start(&plan, || {
            ensure(getuid().is_root(), || format!("uid {}", getuid()))?;
            ensure(getpid().as_raw() == 1, || format!("pid {}", getpid()))?;
            let setgroups = says("setgroups", read_to_string("/proc/self/setgroups"))?;
            ensure(setgroups == "deny\n", || setgroups.clone())
        })
        .map(drop)
    });
}

#[test]
fn an_ordinary_user_without_a_user_namespace_gets_a_hint() {
    as_root(|| {
        become_nobody()?;
        let error = spawn(&new(&[Kind::Pid]), &Joins::default(), None);
        let error = error.err().ok_or("spawned")?;
        ensure(
            error.to_string() == "create namespaces pid: operation not permitted",
            || error.to_string(),
        )?;
        let hint = error.hint.unwrap_or_default();
        ensure(hint.contains("add a user namespace"), || hint.clone())
    });
}

/// 65534 gets 100 ids from 300000 on, in files mounted over the host's for this process alone.
fn give_ranges() -> Outcome {
    let none = None::<&str>;
    says("unshare", unshare(CloneFlags::CLONE_NEWNS))?;
    let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
    says("private", nix::mount::mount(none, "/", none, private, none))?;
    let file = says("file", tempfile::NamedTempFile::new())?;
    says("write", std::fs::write(file.path(), "65534:300000:100\n"))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    says("mode", std::fs::set_permissions(file.path(), mode))?;
    for target in ["/etc/subuid", "/etc/subgid"] {
        let bind = nix::mount::MsFlags::MS_BIND;
        says(
            target,
            nix::mount::mount(Some(file.path()), target, none, bind, none),
        )?;
    }
    Ok(())
}

#[test]
fn ranges_of_ids_are_mapped_by_newuidmap() {
    as_root(|| {
        give_ranges()?;
        become_nobody()?;
        let line = |inside, outside, count| IdMap {
            inside,
            outside,
            count,
        };
        let mut plan = new(&[Kind::User]);
        plan.uid_map = vec![line(0, 65534, 1), line(1, 300_000, 100)];
        plan.gid_map = plan.uid_map.clone();
        let outcome = start(&plan, || {
            let map = says("map", read_to_string("/proc/self/uid_map"))?;
            let numbers: Vec<&str> = map.split_whitespace().collect();
            let wanted = ["0", "65534", "1", "1", "300000", "100"];
            ensure(numbers == wanted, || map.clone())?;
            says("setresgid", set_group(100))?;
            says("setresuid", set_user(100))
        });
        match outcome {
            Err(error) if error.contains("newuidmap is needed") => {
                skip::because("newuidmap of the package uidmap is not installed");
            }
            outcome => drop(outcome?),
        }
        plan.uid_map = vec![line(0, 400_000, 2)];
        let error = start(&plan, nothing).err().unwrap_or_default();
        ensure(error.contains("newuidmap"), || error.clone())
    });
}

/// Cgroups in a hierarchy that only this process's mount namespace shows; gone with the value.
struct Hierarchy(tempfile::TempDir, Vec<std::path::PathBuf>);

impl Hierarchy {
    fn mount() -> std::result::Result<Hierarchy, String> {
        let none = None::<&str>;
        says("unshare", unshare(CloneFlags::CLONE_NEWNS))?;
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        says("private", nix::mount::mount(none, "/", none, private, none))?;
        let folder = says("folder", tempfile::tempdir())?;
        let flags = nix::mount::MsFlags::empty();
        let mounted = nix::mount::mount(none, folder.path(), Some("cgroup2"), flags, none);
        says("mount cgroup2", mounted)?;
        Ok(Hierarchy(folder, Vec::new()))
    }

    fn cgroup(&mut self, name: &str) -> std::result::Result<std::fs::File, String> {
        let path = self.0.path().join(name);
        says("mkdir", std::fs::create_dir(&path))?;
        self.1.push(path.clone());
        says("open", std::fs::File::open(path))
    }
}

impl Drop for Hierarchy {
    fn drop(&mut self) {
        for path in &self.1 {
            let _ = std::fs::remove_dir(path);
        }
        let _ = nix::mount::umount(self.0.path());
    }
}

fn own_cgroup() -> std::result::Result<String, String> {
    let text = says("cgroup", read_to_string("/proc/self/cgroup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(line.unwrap_or_default().to_owned())
}

#[test]
fn the_cgroup_of_the_clone_is_the_root_of_its_namespace() {
    as_root(|| {
        let mut hierarchy = Hierarchy::mount()?;
        let name = |which| format!("casulo-test-{}-{which}", getpid());
        let (a, b) = (name("a"), name("b"));
        let (first_cgroup, second_cgroup) = (hierarchy.cgroup(&a)?, hierarchy.cgroup(&b)?);
        let is = |wanted: &str| {
            let found = own_cgroup()?;
            ensure(found == wanted, || format!("{found}, wanted {wanted}"))
        };
        let kinds = [Kind::User, Kind::Cgroup, Kind::Uts];
        let plan = mapped(new(&kinds), 0, 100_000, 1000);
        let first = start_in(Some(first_cgroup.as_fd()), &plan, || is("/"))?;

        // Over a bridge, which stays out of the cgroup.
        let plan = mapped(new(&[Kind::Cgroup]), 0, 100_000, 1000);
        let plan = joining(plan, &first, &[Kind::User]);
        drop(start_in(Some(second_cgroup.as_fd()), &plan, || is("/"))?);

        // Over a bridge that is born in it, because the cgroup namespace is another's.
        let plan = joining(Plan::default(), &first, &kinds);
        let outside = format!("/../{b}");
        let second = start_in(Some(second_cgroup.as_fd()), &plan, || is(&outside))?;
        drop(second);
        drop(first);
        Ok(())
    });
}

fn ip(arguments: &str) -> Outcome {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = says("ip", output)?;
    ensure(output.status.success(), || {
        format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

fn address_count(name: &str) -> std::result::Result<(bool, usize), String> {
    let mut netlink = says("netlink", Netlink::open())?;
    let link = says("find", netlink.find(name))?.ok_or(format!("no {name}"))?;
    let addresses = says("addresses", netlink.addresses(link.index))?;
    Ok((link.up, addresses.len()))
}

/// A network namespace that plays the host, with three devices; false if this machine has none.
fn play_host() -> std::result::Result<bool, String> {
    says("unshare", unshare(CloneFlags::CLONE_NEWNET))?;
    if ip("link add name left type veth peer name right").is_err() {
        skip::because("needs ip and veth devices");
        return Ok(false);
    }
    ip("link add name third type bridge")?;
    ip("addr add 10.1.2.3/24 brd + dev left")?;
    ip("addr add fd00::5/64 dev left")?;
    ip("link set left up")?;
    Ok(true)
}

fn device(host_name: &str, name: &str) -> NetDevice {
    NetDevice {
        host_name: host_name.into(),
        name: name.into(),
    }
}

#[test]
fn network_devices_move_with_name_addresses_and_flags() {
    as_root(|| {
        if !play_host()? {
            return Ok(());
        }
        let before = link(Kind::Network);
        let mut plan = mapped(new(&[Kind::Network, Kind::User]), 0, 100_000, 10);
        plan.net_devices = vec![device("right", "eth0"), device("left", "eth%d")];
        let first = start(&plan, || {
            let found = address_count("eth1")?;
            ensure(found == (true, 2), || format!("eth1: {found:?}"))?;
            let found = address_count("eth0")?;
            ensure(found == (true, 0), || format!("eth0: {found:?}"))
        })?;
        ensure(link(Kind::Network) == before, || "not back".into())?;
        ensure(address_count("left").is_err(), || "left is here".into())?;

        // A name that is taken: what was moved before comes back, as it was.
        ip("link add name fourth type veth peer name fifth")?;
        ip("addr add 10.9.9.9/32 dev fourth")?;
        let mut plan = joining(Plan::default(), &first, &[Kind::Network]);
        plan.net_devices = vec![device("fourth", "moved"), device("fifth", "eth0")];
        let error = start(&plan, nothing).err().unwrap_or_default();
        ensure(error.contains("as eth0: file exists"), || error.clone())?;
        let found = address_count("fourth")?;
        ensure(found == (false, 1), || format!("fourth: {found:?}"))?;

        plan.net_devices = vec![device("fourth", "moved")];
        let second = start(&plan, || {
            let found = address_count("moved")?;
            ensure(found == (true, 1), || format!("moved: {found:?}"))
        })?;
        drop(second);

        plan.net_devices = vec![device("missing", "missing")];
        let error = start(&plan, nothing).err().unwrap_or_default();
        ensure(
            error.contains("find network device missing: no such device"),
            || error.clone(),
        )
    });
}
