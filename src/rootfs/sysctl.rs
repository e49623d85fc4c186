//! `linux.sysctl`: kernel parameters of the container's own namespaces.
//!
//! Plan: parent, pure. Write: child, in its namespaces, through its private procfs. Most of
//! `/proc/sys` belongs to the whole host, so only keys that a namespace of the container owns are
//! accepted; everything else is a config error.

use crate::error::{Code, Error, Problems, Result};
use crate::host::Host;
use crate::namespaces::{self, Kind};
use crate::procfs::ProcFs;
use nix::errno::Errno;
use oci_spec::runtime::Spec;

/// The System V IPC parameters, all owned by the ipc namespace: ipc_namespaces(7), ipc/ipc_sysctl.c.
const IPC: &[&str] = &[
    "kernel/auto_msgmni",
    "kernel/msg_next_id",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/sem_next_id",
    "kernel/shm_next_id",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// What a pid namespace owns, and the kernel since which it does; before, it is the whole host's.
/// kernel/pid_namespace.c and kernel/pid.c.
const PID: &[(&str, (u32, u32))] = &[
    ("kernel/ns_last_pid", (3, 3)),
    ("kernel/pid_max", (6, 14)),
    ("vm/memfd_noexec", (6, 3)),
];

/// One parameter to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// The key as it stands in the config, for errors.
    pub key: String,
    /// The file, relative to the root of a procfs: `sys/net/ipv4/ip_forward`.
    pub path: String,
    /// What is written, without a newline added.
    pub value: String,
}

/// Decides which parameters are written, sorted by key. Pure.
///
/// A key is written `net.ipv4.conf.eth0/1.forwarding` or `net/ipv4/conf/eth0.1/forwarding`: its
/// first separator is the one that separates, the other one then stands for itself (sysctl(8)).
pub(crate) fn plan(
    spec: &Spec,
    ns: &namespaces::Plan,
    host: &Host,
    problems: &mut Problems,
) -> Vec<Sysctl> {
    let map = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.sysctl().as_ref());
    let mut list: Vec<Sysctl> = map
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            let name = file_name(key);
            match refusal(&name, value, spec, ns, host) {
                Some(why) => {
                    problems.add(format!("linux.sysctl[{key:?}]"), why);
                    None
                }
                None => Some(Sysctl {
                    key: key.clone(),
                    path: format!("sys/{name}"),
                    value: value.clone(),
                }),
            }
        })
        .collect();
    list.sort_by(|a, b| a.key.cmp(&b.key));
    list
}

/// The key as a path below `/proc/sys`.
fn file_name(key: &str) -> String {
    if key.chars().find(|c| matches!(c, '.' | '/')) != Some('.') {
        return key.to_owned();
    }
    let swapped = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    key.chars().map(swapped).collect()
}

/// Why the parameter `name` cannot be written for this container, if it cannot.
fn refusal(
    name: &str,
    value: &str,
    spec: &Spec,
    ns: &namespaces::Plan,
    host: &Host,
) -> Option<String> {
    let odd = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0');
    if name.split('/').any(odd) {
        return Some("not the name of a kernel parameter".to_owned());
    }
    if name == "kernel/hostname" {
        return Some("set by the field `hostname`, not by a sysctl".to_owned());
    }
    let Some(kind) = owner(name) else {
        return Some("belongs to the whole host, not to a namespace of the container".to_owned());
    };
    let since = PID.iter().find(|(own, _)| *own == name);
    if let Some((_, (major, minor))) = since.filter(|(_, since)| host.kernel < *since) {
        return Some(format!(
            "belongs to the whole host before Linux {major}.{minor}"
        ));
    }
    if !ns.has(kind) {
        return Some(format!(
            "needs {} {} namespace of the container's own",
            if kind == Kind::Ipc { "an" } else { "a" },
            kind.spec_name()
        ));
    }
    let field = spec.domainname().as_deref().unwrap_or_default();
    if kind == Kind::Uts && !field.is_empty() && field != value {
        return Some("contradicts the field `domainname`".to_owned());
    }
    None
}

/// The namespace that owns the parameter `name`; None if the whole host does. Those of `net/` that the host
/// owns are not there in another network namespace, or are read-only. Mount, cgroup and time namespaces own none.
fn owner(name: &str) -> Option<Kind> {
    match name {
        _ if PID.iter().any(|(own, _)| *own == name) => Some(Kind::Pid),
        // Counts of what users of a user namespace may have, kernel/ucount.c; within those of the one around it.
        _ if name.starts_with("user/") => Some(Kind::User),
        _ if IPC.contains(&name) || name.starts_with("fs/mqueue/") => Some(Kind::Ipc),
        _ if name.starts_with("net/") => Some(Kind::Network),
        "kernel/domainname" => Some(Kind::Uts),
        _ => None,
    }
}

impl Sysctl {
    /// The namespace that the parameter belongs to.
    pub(crate) fn owner(&self) -> Option<Kind> {
        owner(self.path.strip_prefix("sys/")?)
    }
}

/// Child, in its namespaces, with capabilities over them: writes each parameter. `proc` is a
/// procfs of its own: the container's `/proc/sys` may be read-only, masked or a trap by now
/// (CVE-2025-52881).
///
/// # Errors
/// E_SYSCTL with the key: ENOENT for one this kernel lacks, EINVAL for a value it refuses.
pub(crate) fn write(list: &[Sysctl], proc: &ProcFs) -> Result<()> {
    for sysctl in list {
        proc.write(&sysctl.path, sysctl.value.as_bytes())
            .map_err(|errno| failure(sysctl, errno))?;
    }
    Ok(())
}

fn failure(sysctl: &Sysctl, errno: Errno) -> Error {
    let step = format!("set sysctl {} to", sysctl.key);
    let error = Error::step(Code::Sysctl, step, sysctl.value.clone(), errno);
    match errno {
        Errno::ENOENT => {
            error.hint("this kernel has no such parameter, or its module is not loaded")
        }
        Errno::EPERM if sysctl.owner() == Some(Kind::User) => {
            error.hint("it needs CAP_SYS_RESOURCE over the user namespace")
        }
        Errno::EINVAL if sysctl.path.ends_with("/ping_group_range") => {
            error.hint("every group of the range must be mapped in the user namespace")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip;
    use crate::sys::forked::check_in_child;
    use nix::sched::{CloneFlags, unshare};

    fn planned(key: &str, value: &str, kinds: &[Kind]) -> std::result::Result<Sysctl, String> {
        let config = format!(
            r#"{{"ociVersion":"1.3.0","domainname":"house","linux":{{"sysctl":{{{key:?}:{value:?}}}}}}}"#
        );
        let spec: Spec = serde_json::from_str(&config).expect("a spec");
        let ns = namespaces::Plan {
            new: kinds.to_vec(),
            ..Default::default()
        };
        let mut problems = Problems::default();
        let mut list = plan(&spec, &ns, &Host::of_root(), &mut problems);
        problems.into_result("c").map_err(|e| e.to_string())?;
        Ok(list.remove(0))
    }

    #[test]
    fn both_forms_of_a_key_name_the_same_file() {
        let rows = [
            ("net.ipv4.ip_forward", "sys/net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "sys/net/ipv4/ip_forward"),
            (
                "net.ipv4.conf.eth0/1.forwarding",
                "sys/net/ipv4/conf/eth0.1/forwarding",
            ),
            (
                "net/ipv4/conf/eth0.1/forwarding",
                "sys/net/ipv4/conf/eth0.1/forwarding",
            ),
        ];
        for (key, path) in rows {
            let sysctl = planned(key, "1", &[Kind::Network]).expect(key);
            assert_eq!(sysctl.path, path);
        }
    }

    #[test]
    fn a_key_needs_the_namespace_that_owns_it() {
        let rows = [
            ("kernel.shmmax", Kind::Ipc),
            ("fs.mqueue.msg_max", Kind::Ipc),
            ("net.core.somaxconn", Kind::Network),
            ("kernel/domainname", Kind::Uts),
            ("kernel.sem_next_id", Kind::Ipc),
            ("user.max_user_namespaces", Kind::User),
            ("user/max_inotify_watches", Kind::User),
            ("kernel.ns_last_pid", Kind::Pid),
        ];
        for (key, kind) in rows {
            assert!(planned(key, "house", &[kind]).is_ok(), "{key}");
            let error = planned(key, "house", &[Kind::Mount]).expect_err(key);
            assert!(
                error.contains("namespace of the container's own"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_became_a_pid_namespaces_own_was_the_hosts() {
        let config = r#"{"ociVersion":"1.3.0","linux":{"sysctl":{"kernel.pid_max":"400"}}}"#;
        let spec: Spec = serde_json::from_str(config).expect("a spec");
        let ns = namespaces::Plan {
            new: vec![Kind::Pid],
            ..Default::default()
        };
        for (kernel, expected) in [
            ((6, 14), None),
            ((7, 0), None),
            ((6, 13), Some("belongs to the whole host before Linux 6.14")),
        ] {
            let host = Host {
                kernel,
                ..Host::of_root()
            };
            let mut problems = Problems::default();
            plan(&spec, &ns, &host, &mut problems);
            let why = problems.into_list().pop().map(|(_, why)| why);
            assert_eq!(why.as_deref(), expected);
        }
    }

    #[test]
    fn the_hosts_own_parameters_are_refused_with_their_path() {
        let all = [Kind::Ipc, Kind::Network, Kind::Uts, Kind::User];
        for key in [
            "kernel.core_pattern",
            "vm.swappiness",
            "fs.file-max",
            "fs.inotify.max_user_watches",
            "kernel.cad_pid",
            "vm.memfd",
            "kernel.hostname",
            "net",
        ] {
            let error = planned(key, "1", &all).expect_err(key);
            assert!(
                error.starts_with(&format!("c: linux.sysctl[\"{key}\"]: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_key_cannot_climb_out() {
        for key in [
            "net/../kernel/core_pattern",
            "net.//.kernel",
            "/net/core",
            "net//x",
            "",
        ] {
            assert!(planned(key, "1", &[Kind::Network]).is_err(), "{key}");
        }
    }

    #[test]
    fn a_domain_name_must_agree_with_its_field() {
        let error = planned("kernel.domainname", "other", &[Kind::Uts]).expect_err("two names");
        assert!(error.contains("contradicts"), "{error}");
    }

    #[test]
    fn a_value_is_written_in_the_own_namespace() {
        if skip::unless_root() {
            return;
        }
        check_in_child(|| {
            unshare(CloneFlags::CLONE_NEWIPC).map_err(|e| format!("unshare: {e}"))?;
            let proc = ProcFs::private().map_err(|e| format!("procfs: {e}"))?;
            let sysctl = planned("kernel.msgmax", "4321", &[Kind::Ipc])?;
            write(&[sysctl], &proc).map_err(|e| e.to_string())?;
            let text = std::fs::read_to_string("/proc/sys/kernel/msgmax");
            match text.map_err(|e| e.to_string())?.trim() {
                "4321" => Ok(()),
                other => Err(other.to_owned()),
            }
        });
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let proc = ProcFs::host().expect("procfs");
        let sysctl = planned("net.no.such", "1", &[Kind::Network]).expect("planned");
        let error = write(&[sysctl], &proc).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "set sysctl net.no.such to 1: no such file or directory"
        );
    }
}
