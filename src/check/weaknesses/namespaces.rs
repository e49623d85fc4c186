//! Namespaces that are the host's, and maps to the host's root.

use crate::check::{Code, Findings, Subject};
use crate::namespaces::{IdMap, Kind};

const LIST: &str = "linux.namespaces";

/// What a container sees and can do if it has no namespace of this kind.
const KINDS: [(Kind, Code, &str); 6] = [
    (
        Kind::Pid,
        Code::HostPidNamespace,
        "all processes of the host are visible, can be signalled and, with the right ids, traced",
    ),
    (
        Kind::Network,
        Code::HostNetworkNamespace,
        "the host's network: its interfaces, its local services and its abstract sockets",
    ),
    (
        Kind::Mount,
        Code::HostMountNamespace,
        "the host's mounts: a chroot alone, no masked and no read-only paths",
    ),
    (
        Kind::Ipc,
        Code::HostIpcNamespace,
        "the host's System V IPC and message queues",
    ),
    (
        Kind::Uts,
        Code::HostUtsNamespace,
        "the host's name, which CAP_SYS_ADMIN can change",
    ),
    (
        Kind::Cgroup,
        Code::HostCgroupNamespace,
        "the host's cgroup paths are visible",
    ),
];

/// Adds the namespaces that the container shares with the host: not listed, or joined by a path of the
/// host's own.
pub(super) fn shared(subject: &Subject<'_>, findings: &mut Findings) {
    let path = |kind| {
        let join = subject
            .plan
            .namespaces
            .join
            .iter()
            .find(|it| it.kind == kind);
        join.map_or(LIST.to_owned(), |join| {
            format!("{LIST}[{}].path", join.index)
        })
    };
    for (kind, code, what) in KINDS {
        if !subject.has(kind) {
            findings.add(
                code,
                path(kind),
                format!("no {} namespace of its own: {what}", kind.spec_name()),
            );
        }
    }
    if subject.is_in_user_namespace() {
        return;
    }
    match subject.plan.process.identity.uid {
        0 => findings.add(
            Code::RootWithoutUserNamespace,
            "process.user.uid",
            "the process is the host's root: what else is missing here counts double",
        ),
        _ => findings.add(
            Code::HostUserNamespace,
            path(Kind::User),
            "no user namespace of its own: a program with the set-user-ID bit makes the host's root of it",
        ),
    }
}

/// Adds ids of a new user namespace that are the host's root.
pub(super) fn id_maps(subject: &Subject<'_>, findings: &mut Findings) {
    let plan = &subject.plan.namespaces;
    if !plan.is_new(Kind::User) || subject.host.in_user_namespace {
        return;
    }
    for (path, map, who) in [
        ("linux.uidMappings", &plan.uid_map, "root"),
        ("linux.gidMappings", &plan.gid_map, "root's group"),
    ] {
        let is_root = |line: &IdMap| line.outside == 0 && line.count > 0;
        if let Some(index) = map.iter().position(is_root) {
            let inside = map.get(index).map_or(0, |line| line.inside);
            let why =
                format!("{inside} inside is the host's {who}: every file of {who} is its own");
            findings.add(Code::IdMapHostRoot, format!("{path}[{index}].hostID"), why);
        }
    }
}
