//! Namespaces that are joined.

use super::*;

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
        let me = getpid();
        let second = start(&plan, || {
            let here = link(Kind::Pid);
            ensure(getpid() != me && here == link_of(me, Kind::Pid), || {
                format!("the entrant can be seen in {here}")
            })?;
            let born = pid_of_next_child()?;
            ensure(born == 2, || format!("pid {born}"))
        })?;
        for kind in shared.into_iter().filter(|kind| *kind != Kind::Pid) {
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
        start(&joining(plan, &first, &[Kind::Pid]), || {
            ensure(getuid().is_root(), || format!("uid {}", getuid()))?;
            let born = pid_of_next_child()?;
            ensure(born == 2, || format!("pid {born}"))
        })
        .map(drop)
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
            pid_of_next_child().and_then(|born| ensure(born == 2, || format!("pid {born}")))?;
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
        for kind in kinds.into_iter().filter(|kind| *kind != Kind::Pid) {
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
        // It is dumpable, as after an execve: only then may its owner see its namespaces.
        let first = start(&mapped(new(&kinds), 0, 65534, 1), || {
            says("dumpable", set_dumpable(true))
        })?;
        let second = start(&joining(new(&[Kind::Uts]), &first, &kinds), || {
            ensure(getuid().is_root(), || format!("uid {}", getuid()))?;
            pid_of_next_child().and_then(|born| ensure(born == 2, || format!("pid {born}")))?;
            says("dumpable", set_dumpable(true))
        })?;
        for kind in kinds.into_iter().filter(|kind| *kind != Kind::Pid) {
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
        // The user may not join it. A child tries, so that this process keeps its privileges.
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
    // The process has no privilege, and setns(2) would need one.
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
fn what_a_join_wants_is_said() {
    let opened = |kind| join::Opened {
        kind,
        fd: std::fs::File::open("/proc/self/ns/net")
            .expect("a namespace")
            .into(),
        object: "/it".to_owned(),
    };
    let hints = [
        (
            Kind::User,
            Errno::EPERM,
            "only its owner, or CAP_SYS_ADMIN in its parent",
        ),
        (
            Kind::Network,
            Errno::EPERM,
            "in the user namespace that owns it",
        ),
        (
            Kind::Pid,
            Errno::EPERM,
            "in the user namespace that owns it",
        ),
        (Kind::Pid, Errno::EINVAL, "only from above it"),
        (Kind::Pid, Errno::ENOMEM, "its process 1 has ended"),
    ];
    for (kind, errno, hint) in hints {
        let text = format!("{:?}", opened(kind).error(errno).hint);
        assert!(text.contains(hint), "{kind:?}, {errno}: {text}");
    }
    let other = format!("{:?}", opened(Kind::Network).error(Errno::EINVAL).hint);
    assert!(!other.contains("pid namespace"), "{other}");
}
