//! Making init: one clone3, with a detour for a foreign pid namespace and a bridge for foreign
//! user namespaces.

use super::join::{Joins, Opened};
use super::{Kind, Plan};
use crate::error::{Code, Context, Error, Result};
use crate::sys::child::leave;
use crate::sys::clone::{Side, clone3};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::setns;
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2, read, write};
use std::os::fd::{BorrowedFd, OwnedFd};

/// Which process this is after [`spawn`].
#[derive(Debug)]
pub enum Spawned {
    /// The parent, with init's pid in the parent's pid namespace. Init is its child in every case.
    Parent(Pid),
    /// Init, with a copy of the parent's memory and descriptors.
    Init,
}

/// Parent: makes init in its new namespaces and in `cgroup` (a directory fd), which becomes the
/// root of a new cgroup namespace. Returns twice. Init must then wait for the parent, who writes
/// its id maps ([`super::write_maps`]), before it calls [`super::enter()`].
///
/// Where a namespace is joined the parent stops being dumpable first, and init and the bridge with
/// it: a process of that namespace could otherwise ptrace them and use their open files
/// (CVE-2016-9962).
///
/// # Errors
/// E_NAMESPACE: what could not be made or joined, with the limit to raise where one is known. No
/// process is left behind.
pub fn spawn(plan: &Plan, joins: &Joins, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    if !joins.is_empty() {
        set_dumpable(false).context(Code::Namespace, "prctl", "PR_SET_DUMPABLE")?;
    }
    if joins.need_bridge(plan) {
        return spawn_over_bridge(plan, joins, cgroup);
    }
    match joins.pid() {
        None => spawn_here(plan, cgroup),
        Some((foreign, home)) => spawn_into(plan, foreign, home, cgroup),
    }
}

fn spawn_here(plan: &Plan, cgroup: Option<BorrowedFd<'_>>) -> Result<Spawned> {
    match clone3(flags(plan), cgroup) {
        Ok(Side::Parent(pid)) => Ok(Spawned::Parent(pid)),
        Ok(Side::Child) => Ok(Spawned::Init),
        Err(errno) => Err(clone_error(plan, errno)),
    }
}

/// setns(2) with a pid namespace moves only the children born later, so the parent borrows it for
/// the one clone. It goes back before anything else is done: a hook born inside would be the
/// container's to trace.
fn spawn_into(
    plan: &Plan,
    foreign: &Opened,
    home: &OwnedFd,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    foreign.enter().map_err(|errno| foreign.error(errno))?;
    let spawned = spawn_here(plan, cgroup);
    if let Ok(Spawned::Init) = spawned {
        return spawned;
    }
    let back = setns(home, Kind::Pid.clone_flags());
    match (spawned, back) {
        (Ok(Spawned::Parent(pid)), Err(errno)) => {
            // It has done nothing yet and nobody else knows it; both calls can fail only if it is gone.
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            Err(errno).context(Code::Namespace, "return to", "own pid namespace")
        }
        (spawned, _) => spawned,
    }
}

/// The `CLONE_NEW*` flags of one clone3. A time namespace with offsets is made later, by
/// [`super::time::enter`].
fn flags(plan: &Plan) -> u64 {
    plan.new
        .iter()
        .filter(|kind| **kind != Kind::Time || plan.time_offsets.is_empty())
        .fold(0, |flags, kind| flags | kind.flag())
}

fn clone_error(plan: &Plan, errno: Errno) -> Error {
    let names: Vec<&str> = plan.new.iter().map(|kind| kind.spec_name()).collect();
    let error = match names.is_empty() {
        true => Error::step(Code::Namespace, "create", "process", errno),
        false => Error::step(
            Code::Namespace,
            "create namespaces",
            names.join(", "),
            errno,
        ),
    };
    match errno {
        Errno::ENOSPC => {
            let limits: Vec<String> = plan
                .new
                .iter()
                .map(|kind| format!("/proc/sys/user/max_{}_namespaces", kind.proc_name()))
                .collect();
            error.hint(format!(
                "a limit is reached: one of {}, or 32 nested user or pid namespaces",
                limits.join(", ")
            ))
        }
        Errno::EPERM if plan.is_new(Kind::User) => error.hint(
            "user namespaces are not allowed here: see kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces, and chroot",
        ),
        Errno::EPERM => error.hint(
            "CAP_SYS_ADMIN is missing: run as root, or add a user namespace to linux.namespaces",
        ),
        Errno::EUSERS => error.hint("user namespaces are nested 32 deep"),
        Errno::EAGAIN => error.hint("a limit of processes is reached (RLIMIT_NPROC, pids.max)"),
        Errno::EINVAL => error.hint("the kernel lacks one of these namespaces"),
        Errno::EBUSY | Errno::EOPNOTSUPP => {
            error.hint("the container's cgroup cannot hold processes: it has controllers enabled for children, or is threaded")
        }
        _ => error,
    }
}

/// What the bridge tells the parent: three numbers, so that no text is made in a process with
/// half-changed privileges; the parent knows the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    /// Init was made; its pid in the parent's pid namespace.
    Init(i32),
    /// This join failed.
    Join(Kind, Errno),
    /// The clone failed.
    Clone(Errno),
}

impl Report {
    const SIZE: usize = 12;

    fn encode(self) -> [u8; Report::SIZE] {
        let numbers = match self {
            Report::Init(pid) => [0, pid, 0],
            Report::Join(kind, errno) => [1, kind.clone_flags().bits(), errno as i32],
            Report::Clone(errno) => [2, 0, errno as i32],
        };
        let mut bytes = [0; Report::SIZE];
        for (to, from) in bytes.chunks_exact_mut(4).zip(numbers) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        bytes
    }

    fn decode(bytes: [u8; Report::SIZE]) -> Option<Report> {
        let mut numbers = [0; 3];
        for (to, from) in numbers.iter_mut().zip(bytes.chunks_exact(4)) {
            *to = i32::from_ne_bytes(from.try_into().ok()?);
        }
        match numbers {
            [0, pid, 0] => Some(Report::Init(pid)),
            [1, flag, errno] => {
                let kind = Kind::of_flag(u64::from(flag.cast_unsigned()))?;
                Some(Report::Join(kind, Errno::from_raw(errno)))
            }
            [2, 0, errno] => Some(Report::Clone(Errno::from_raw(errno))),
            _ => None,
        }
    }
}

/// Makes a bridge that joins, clones init as its own sibling (CLONE_PARENT) and ends. The parent
/// waits for it, so that no zombie is left and init's namespaces are complete on return.
fn spawn_over_bridge(
    plan: &Plan,
    joins: &Joins,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Spawned> {
    let (receiver, sender) =
        pipe2(OFlag::O_CLOEXEC).context(Code::Namespace, "create", "pipe to the bridge process")?;
    // A process in a foreign cgroup namespace may not move one from outside into it (nsdelegate),
    // so there the bridge itself is born in the cgroup and init inherits it. Elsewhere the bridge
    // stays out: it would count against the limits.
    let (bridge_cgroup, init_cgroup) = match joins.get(Kind::Cgroup) {
        Some(_) => (cgroup, None),
        None => (None, cgroup),
    };
    let bridge = match clone3(0, bridge_cgroup) {
        Ok(Side::Parent(pid)) => pid,
        Ok(Side::Child) => {
            let report = match cross(plan, joins, init_cgroup) {
                Ok(Side::Child) => return Ok(Spawned::Init),
                Ok(Side::Parent(init)) => Report::Init(init.as_raw()),
                Err(report) => report,
            };
            // If the parent is gone there is nobody to tell; init then finds its socket closed.
            let sent = write(&sender, &report.encode());
            leave(i32::from(sent.is_err()));
        }
        Err(errno) => {
            return Err(errno).context(Code::Namespace, "create", "bridge process");
        }
    };
    drop(sender);
    let mut bytes = [0; Report::SIZE];
    let received = loop {
        match read(&receiver, &mut bytes) {
            Err(Errno::EINTR) => {}
            received => break received,
        }
    };
    let ended = reap(bridge);
    let report = match received {
        Ok(Report::SIZE) => Report::decode(bytes),
        _ => None,
    };
    match report {
        Some(Report::Init(pid)) => Ok(Spawned::Parent(Pid::from_raw(pid))),
        Some(Report::Join(kind, errno)) => Err(match joins.get(kind) {
            Some(join) => join.error(errno),
            None => Error::step(Code::Namespace, "join namespace", kind.spec_name(), errno),
        }),
        Some(Report::Clone(errno)) => Err(clone_error(plan, errno)),
        None => Err(Error::new(
            Code::Namespace,
            format!("the process that joins the namespaces ended early ({ended})"),
        )),
    }
}

fn reap(pid: Pid) -> String {
    loop {
        match waitpid(pid, None) {
            Err(Errno::EINTR) => {}
            Ok(status) => return format!("{status:?}"),
            // The caller of casulo may have set SIGCHLD to be ignored; then the kernel reaps.
            Err(errno) => return errno.desc().to_owned(),
        }
    }
}

/// The bridge: joins what the privileges of outside allow, then the user namespace, then with its
/// capabilities the rest; then clones init.
fn cross(
    plan: &Plan,
    joins: &Joins,
    cgroup: Option<BorrowedFd<'_>>,
) -> std::result::Result<Side, Report> {
    let user = joins.get(Kind::User);
    let mut refused = Vec::new();
    for join in joins.all().iter().filter(|join| join.kind != Kind::User) {
        match join.enter() {
            Ok(()) => {}
            // What the user namespace owns opens up once that one is joined.
            Err(Errno::EPERM) if user.is_some() => refused.push(join),
            Err(errno) => return Err(Report::Join(join.kind, errno)),
        }
    }
    for join in user.into_iter().chain(refused) {
        join.enter()
            .map_err(|errno| Report::Join(join.kind, errno))?;
    }
    let flags = flags(plan) | u64::from(libc::CLONE_PARENT.cast_unsigned());
    clone3(flags, cgroup).map_err(Report::Clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_the_bridge_round_trip() {
        for report in [
            Report::Init(4711),
            Report::Join(Kind::Time, Errno::EPERM),
            Report::Join(Kind::Network, Errno::EINVAL),
            Report::Clone(Errno::ENOSPC),
        ] {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        assert_eq!(Report::decode([9; Report::SIZE]), None);
    }

    #[test]
    fn offsets_keep_the_time_namespace_out_of_the_clone() {
        let mut plan = Plan {
            new: vec![Kind::Time, Kind::Uts],
            ..Plan::default()
        };
        assert_eq!(flags(&plan), Kind::Time.flag() | Kind::Uts.flag());
        plan.time_offsets.push(crate::namespaces::TimeOffset {
            clock: crate::namespaces::Clock::Boottime,
            seconds: 1,
            nanoseconds: 0,
        });
        assert_eq!(flags(&plan), Kind::Uts.flag());
    }

    #[test]
    fn a_reached_limit_is_named() {
        let plan = Plan {
            new: vec![Kind::Mount, Kind::Network],
            ..Plan::default()
        };
        let error = clone_error(&plan, Errno::ENOSPC);
        let hint = error.hint.expect("a hint");
        assert!(hint.contains("max_mnt_namespaces"), "{hint}");
        assert!(hint.contains("max_net_namespaces"), "{hint}");
        assert!(!hint.contains("max_pid_namespaces"), "{hint}");
    }
}
