//! Namespaces that are made.

use super::*;
use crate::namespaces::time::Clock;

#[test]
fn a_container_with_every_namespace_has_its_own() {
    as_root(|| {
        let before = Kind::ALL.map(link);
        let plan = mapped(new(&Kind::ALL), 0, 100_000, 65536);
        let plan = ahead(plan, Clock::Boottime, 100_000_000);
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
fn a_network_namespace_is_inits_own_with_its_loopback_up() {
    as_root(|| {
        let before = link(Kind::Network);
        let container = start(&new(&[Kind::Network, Kind::Uts]), || {
            ensure(link(Kind::Network) != before, || "the host's".into())?;
            let lo = says("lo", Netlink::open().and_then(|mut it| it.find("lo")))?;
            ensure(lo.is_some_and(|it| it.up), || format!("lo: {lo:?}"))
        })?;
        ensure(link(Kind::Network) == before, || {
            "the parent's has changed".into()
        })?;
        drop(container);
        no_child_is_left()
    });
}

#[test]
fn an_ordinary_user_gets_every_namespace() {
    as_root(|| {
        become_nobody()?;
        let plan = ahead(mapped(new(&Kind::ALL), 0, 65534, 1), Clock::Monotonic, 5);
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
        is_refused(Kind::Pid, error.err().ok_or("spawned")?)
    });
}

/// Checks that `error` is that of a process which may not make a namespace of this kind.
fn is_refused(kind: Kind, error: crate::error::Error) -> Outcome {
    let wanted = format!(
        "create namespaces {}: operation not permitted",
        kind.spec_name()
    );
    ensure(error.to_string() == wanted, || error.to_string())?;
    let hint = error.hint.unwrap_or_default();
    ensure(hint.contains("add a user namespace"), || hint.clone())
}

/// `plan` with one clock of its time namespace set ahead.
fn ahead(plan: Plan, clock: Clock, seconds: i64) -> Plan {
    Plan {
        time_offsets: vec![TimeOffset {
            clock,
            seconds,
            nanoseconds: 0,
        }],
        ..plan
    }
}

/// Gives uid 65534 100 ids from 300000 on, in files mounted over the host's for this process alone.
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

/// Cgroups in a hierarchy that only this process's mount namespace shows; removed when dropped.
struct Hierarchy(tempfile::TempDir, Vec<std::path::PathBuf>);

impl Hierarchy {
    fn mount() -> std::result::Result<Hierarchy, String> {
        let none = None::<&str>;
        says("unshare", unshare(CloneFlags::CLONE_NEWNS))?;
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        says("private", nix::mount::mount(none, "/", none, private, none))?;
        let directory = says("directory", tempfile::tempdir())?;
        let flags = nix::mount::MsFlags::empty();
        let mounted = nix::mount::mount(none, directory.path(), Some("cgroup2"), flags, none);
        says("mount cgroup2", mounted)?;
        Ok(Hierarchy(directory, Vec::new()))
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

        // By a bridge, which stays out of the cgroup.
        let plan = mapped(new(&[Kind::Cgroup]), 0, 100_000, 1000);
        let plan = joining(plan, &first, &[Kind::User]);
        drop(start_in(Some(second_cgroup.as_fd()), &plan, || is("/"))?);

        // By a bridge that is born in the cgroup, because the cgroup namespace is another container's.
        let plan = joining(Plan::default(), &first, &kinds);
        let outside = format!("/../{b}");
        let second = start_in(Some(second_cgroup.as_fd()), &plan, || is(&outside))?;
        drop(second);
        drop(first);
        Ok(())
    });
}
