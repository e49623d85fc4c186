//! Decides which process makes which of the new namespaces: the clone of init, init itself, or an entrant. Explains
//! why one could not be made.

use super::{Kind, Kinds, Plan};
use crate::error::{Code, Error, Result};
use nix::errno::Errno;

/// Makes those new namespaces that are to be made `by` the calling process. Does nothing if there are none.
///
/// # Errors
/// E_NAMESPACE, as [`super::unshare`].
pub(super) fn unshare_all(plan: &Plan, by: Creator) -> Result<()> {
    let kinds = made_by(plan, by);
    if kinds.is_empty() {
        return Ok(());
    }
    let all: Kinds = kinds.iter().copied().collect();
    nix::sched::unshare(all.clone_flags()).map_err(|errno| creation_error(plan, &kinds, errno))
}

/// The step that makes a new namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Creator {
    /// The clone3 of init.
    Clone,
    /// Init itself, by one unshare(2), while the parent does its part.
    Init,
    /// An entrant, once it has joined the pid namespace, which it could not join from the new user namespace.
    Entrant,
}

/// Returns the step that makes a new namespace of this kind.
///
/// The parent needs some namespaces at once: it writes the maps of user, moves network devices into network, and may
/// move init to another cgroup than the one that init's cgroup namespace shows. unshare(2) makes pid and time
/// namespaces for later children only. A time namespace with offsets is made by it all the same, because they must be
/// written before the first process is in it ([`super::time::enter`]).
fn maker(plan: &Plan, kind: Kind) -> Creator {
    match kind {
        Kind::User if plan.joins(Kind::Pid) => Creator::Entrant,
        // They belong to the user namespace of the process that makes them. A time namespace that the entrant makes
        // for its children is that of the container's process.
        Kind::Cgroup | Kind::Time if plan.joins(Kind::Pid) && plan.has(Kind::User) => Creator::Init,
        Kind::User | Kind::Pid | Kind::Cgroup => Creator::Clone,
        Kind::Network if !plan.net_devices.is_empty() => Creator::Clone,
        Kind::Time if plan.time_offsets.is_empty() => Creator::Clone,
        Kind::Mount | Kind::Network | Kind::Ipc | Kind::Uts | Kind::Time => Creator::Init,
    }
}

/// Returns the kinds of new namespaces that are made `by` this step, in the config's order.
pub(super) fn made_by(plan: &Plan, by: Creator) -> Vec<Kind> {
    let new = plan.new.iter().copied();
    new.filter(|kind| maker(plan, *kind) == by).collect()
}

/// Returns the kinds of new namespaces that init's clone3 makes.
pub(super) fn cloned(plan: &Plan) -> Kinds {
    made_by(plan, Creator::Clone).into_iter().collect()
}

/// Explains why the clone3 of init failed, as E_NAMESPACE.
pub(super) fn clone_error(plan: &Plan, errno: Errno) -> Error {
    let error = creation_error(plan, &made_by(plan, Creator::Clone), errno);
    match errno {
        Errno::EAGAIN => error.hint("a limit of processes is reached (RLIMIT_NPROC, pids.max)"),
        Errno::EBUSY | Errno::EOPNOTSUPP => {
            error.hint("the container's cgroup cannot hold processes: it has controllers enabled for children, or is threaded")
        }
        _ => error,
    }
}

/// Explains why namespaces of these kinds could not be made; if there are none, why a process could not.
fn creation_error(plan: &Plan, kinds: &[Kind], errno: Errno) -> Error {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.spec_name()).collect();
    let error = if names.is_empty() {
        Error::step(Code::Namespace, "create", "process", errno)
    } else {
        Error::step(
            Code::Namespace,
            "create namespaces",
            names.join(", "),
            errno,
        )
    };
    match errno {
        Errno::ENOSPC => {
            let limits: Vec<String> = kinds
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
        Errno::EINVAL => error.hint("the kernel lacks one of these namespaces"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clone_makes_what_the_parent_or_every_process_needs_at_once() {
        let mut plan = Plan {
            new: vec![Kind::Network, Kind::Pid],
            ..Plan::default()
        };
        assert_eq!(made_by(&plan, Creator::Init), [Kind::Network]);
        plan.new = Kind::ALL.to_vec();
        assert_eq!(made_by(&plan, Creator::Entrant), []);
        assert_eq!(
            made_by(&plan, Creator::Clone),
            [Kind::User, Kind::Pid, Kind::Cgroup, Kind::Time]
        );
        assert_eq!(
            made_by(&plan, Creator::Init),
            [Kind::Mount, Kind::Network, Kind::Ipc, Kind::Uts]
        );
        plan.time_offsets.push(crate::namespaces::TimeOffset {
            clock: crate::namespaces::time::Clock::Boottime,
            seconds: 1,
            nanoseconds: 0,
        });
        plan.net_devices.push(crate::namespaces::NetDevice {
            host_name: "eth0".to_owned(),
            name: "eth0".to_owned(),
        });
        let clones = [Kind::User, Kind::Pid, Kind::Network, Kind::Cgroup];
        assert_eq!(made_by(&plan, Creator::Clone), clones);
        assert_eq!(cloned(&plan), clones.into_iter().collect());
    }

    #[test]
    fn a_reached_limit_is_named() {
        let plan = Plan::default();
        let error = creation_error(&plan, &[Kind::Mount, Kind::Network], Errno::ENOSPC);
        let hint = error.hint.expect("a hint");
        assert!(hint.contains("max_mnt_namespaces"), "{hint}");
        assert!(hint.contains("max_net_namespaces"), "{hint}");
        assert!(!hint.contains("max_pid_namespaces"), "{hint}");
    }
}
