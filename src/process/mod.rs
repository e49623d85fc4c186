//! `process` (config.md, Process), and what `linux` says about a process: everything between a
//! process in its namespaces and the program it becomes.
//!
//! [`plan`] runs in the parent and is pure; exec plans a process.json by it, too. The rest in order:
//!
//! | who    | call                        | needs                                     |
//! |--------|-----------------------------|-------------------------------------------|
//! | parent | [`Plan::grant`]             | the host's privileges, the child's pid    |
//! | child  | [`signals::own_session`]    | nothing; before the terminal              |
//! | child  | [`Plan::make_cwd`]          | a root that is not yet read-only          |
//! | child  | [`Plan::prepare`]           | its user namespace's root, a procfs       |
//! | child  | [`Plan::enter`]             | the same, inside the container            |
//! | child  | [`Plan::become_user`]       | the same                                  |
//! | child  | [`Plan::locate`]            | to be the user                            |
//! | child  | [`Program::ready`]          | no seccomp filter                         |
//! | child  | [`last_steps`]              | nothing                                   |

pub(crate) mod asked;
pub(crate) mod bitlist;
pub(crate) mod environment;
pub(crate) mod keyring;
pub(crate) mod last_steps;
pub(crate) mod limits;
pub(crate) mod numa;
pub(crate) mod program;
pub(crate) mod schedule;
pub(crate) mod signals;
pub(crate) mod user;

#[cfg(test)]
pub(crate) mod fixtures;

use crate::capabilities::{self, SysAdmin};
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Problems, Result};
use crate::host::Host;
use crate::lsm;
use crate::namespaces;
use crate::options::Options;
use crate::procfs::ProcFs;
use crate::sys::sched::SchedAttr;
use crate::sys::tty;
use environment::Environment;
use keyring::Keyring;
pub(crate) use limits::Rlimit;
use nix::sys::personality::{self, Persona};
use nix::sys::prctl;
use nix::unistd::Pid;
use numa::MemoryPolicy;
use oci_spec::runtime::{LinuxPersonality, LinuxPersonalityDomain, Process, Spec};
pub(crate) use program::{Command, Entered, Program};
pub(crate) use schedule::Affinity;
pub(crate) use user::Identity;

/// `PER_LINUX` and `PER_LINUX32` of linux/personality.h; libc has neither for musl.
const PER_LINUX: i32 = 0;
const PER_LINUX32: i32 = 8;

/// Everything decided about a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// Whether `no_new_privs` is set: only when the config says true.
    pub no_new_privs: bool,
    /// Some if a terminal is wanted; (rows, columns) if given.
    pub terminal: Option<Option<tty::Size>>,
    /// User, groups, umask.
    pub identity: Identity,
    /// The five sets.
    pub capabilities: capabilities::Plan,
    /// AppArmor profile and SELinux label.
    pub labels: lsm::Plan,
    /// Resource limits, in the config's order.
    pub rlimits: Vec<Rlimit>,
    /// `oom_score_adj`; None leaves the caller's.
    pub oom_score_adj: Option<i32>,
    /// Scheduling policy; None leaves the caller's.
    pub scheduler: Option<SchedAttr>,
    /// Class and level as ioprio_set(2) wants them; None leaves the caller's.
    pub io_priority: Option<u16>,
    /// CPUs of an exec; ignored for init, as the spec says.
    pub exec_affinity: Option<Affinity>,
    /// Execution domain; None leaves the caller's.
    pub personality: Option<Domain>,
    /// NUMA memory policy; None leaves the caller's.
    pub memory_policy: Option<MemoryPolicy>,
    /// The session keyring that is joined; None stays in the caller's.
    pub keyring: Option<Keyring>,
    /// Environment.
    pub environment: Environment,
    /// Working directory, arguments, where the program may be.
    pub command: Command,
    /// Signals that casulo ignores and the process must not: [`signals::reset`].
    pub ignored_signals: u64,
    /// Descriptors from this number on are closed at execve: 3, and more when some are preserved.
    pub first_closed_fd: u32,
    /// What the caller may do to a process that is not dumpable.
    pub caller: Caller,
}

/// Whether casulo's caller has CAP_SYS_PTRACE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caller {
    /// It has.
    #[default]
    MayTrace,
    /// It has not: an ordinary user.
    MayNot,
}

/// `linux.personality.domain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// The kernel's own.
    Linux,
    /// uname(2) shows a 32-bit machine.
    Linux32,
}

/// Which process of a container this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first, which the container lives as long as.
    Init,
    /// Who makes the first in the pid namespace of others.
    Entrant,
    /// One that joins it later.
    Exec,
}

/// Decides the process. Pure. `path` is the JSON path of the process object (`process` in a
/// config.json); exec passes the container's `spec` beside its own `process`.
///
/// Problems: everything that cannot be applied, or that the kernel would refuse whatever the host.
pub(crate) fn plan(
    process: &Process,
    spec: &Spec,
    ns: &namespaces::Plan,
    options: &Options,
    host: &Host,
    path: &str,
    problems: &mut Problems,
) -> Plan {
    let none = Vec::new();
    let env = process.env().as_ref().unwrap_or(&none);
    let (environment, directories) = environment::plan(env, &format!("{path}.env"), problems);
    let args = process.args().as_ref().unwrap_or(&none);
    let command = program::plan(process.cwd(), args, &directories, path, problems);
    let user = format!("{path}.user");
    let linux = spec.linux().as_ref();
    Plan {
        no_new_privs: process.no_new_privileges().unwrap_or(false),
        terminal: plan_terminal(process, path, problems),
        identity: user::plan(process.user(), spec, ns, host, &user, problems),
        capabilities: capabilities::plan(
            process.capabilities().as_ref(),
            ns,
            host,
            &format!("{path}.capabilities"),
            problems,
        ),
        labels: lsm::plan(process, host, path, problems),
        rlimits: limits::plan(
            process.rlimits().as_deref().unwrap_or(&[]),
            &format!("{path}.rlimits"),
            problems,
        ),
        oom_score_adj: limits::plan_oom(
            process.oom_score_adj(),
            &format!("{path}.oomScoreAdj"),
            problems,
        ),
        scheduler: process
            .scheduler()
            .as_ref()
            .map(|it| schedule::plan(it, &format!("{path}.scheduler"), problems)),
        io_priority: process
            .io_priority()
            .as_ref()
            .map(|it| schedule::plan_io(it, &format!("{path}.ioPriority"), problems)),
        exec_affinity: process
            .exec_cpu_affinity()
            .as_ref()
            .map(|it| schedule::plan_affinity(it, &format!("{path}.execCPUAffinity"), problems)),
        personality: linux
            .and_then(|it| it.personality().as_ref())
            .map(|it| plan_personality(it, problems)),
        memory_policy: linux
            .and_then(|it| it.memory_policy().as_ref())
            .map(|it| numa::plan(it, "linux.memoryPolicy", problems)),
        keyring: (!options.no_new_keyring).then(|| keyring::plan(&options.id, ns)),
        environment,
        command,
        ignored_signals: host.ignored_signals,
        first_closed_fd: options.preserve_fds.saturating_add(3),
        caller: if host.has_capability(caps::Capability::CAP_SYS_PTRACE) {
            Caller::MayTrace
        } else {
            Caller::MayNot
        },
    }
}

/// `consoleSize` counts only beside a terminal, and 0 is no size.
fn plan_terminal(
    process: &Process,
    path: &str,
    problems: &mut Problems,
) -> Option<Option<tty::Size>> {
    if process.terminal() != Some(true) {
        return None;
    }
    let size = process
        .console_size()
        .filter(|it| it.height() != 0 && it.width() != 0);
    let mut cells = |count: u64, field: &str| {
        u16::try_from(count).unwrap_or_else(|_| {
            problems.add(
                format!("{path}.consoleSize.{field}"),
                format!("{count} is above 65535"),
            );
            0
        })
    };
    Some(size.map(|it| tty::Size {
        rows: cells(it.height(), "height"),
        columns: cells(it.width(), "width"),
    }))
}

/// The spec supports no flags, and unsupported values are errors (config.md, Valid values).
fn plan_personality(wanted: &LinuxPersonality, problems: &mut Problems) -> Domain {
    for (index, flag) in wanted.flags().iter().flatten().enumerate() {
        problems.add(
            format!("linux.personality.flags[{index}]"),
            format!("{flag:?} is not supported: the spec allows no flags"),
        );
    }
    match wanted.domain() {
        LinuxPersonalityDomain::PerLinux => Domain::Linux,
        LinuxPersonalityDomain::PerLinux32 => Domain::Linux32,
    }
}

impl Plan {
    /// With the host's privileges, after `pid` has entered its cgroup and before it loses them: what it may not
    /// give itself later. The parent for init, an entrant for itself. `proc` is the host's.
    ///
    /// # Errors
    /// E_PROCESS naming what was refused.
    pub(crate) fn grant(&self, pid: Pid, proc: &ProcFs, role: Role) -> Result<()> {
        if let Some(score) = self.oom_score_adj {
            limits::set_oom(pid, score, proc)?;
        }
        // CPUs before the policy: SCHED_DEADLINE is refused to a process that may not use them all.
        match role {
            Role::Init | Role::Entrant => schedule::pin(pid, None)?,
            Role::Exec => schedule::pin(pid, self.exec_affinity.as_ref())?,
        }
        if let Some(attr) = &self.scheduler
            && (role == Role::Init || schedule::is_inherited(attr))
        {
            schedule::set(pid, attr)?;
        }
        if let Some(ioprio) = self.io_priority {
            schedule::set_io(pid, ioprio)?;
        }
        let room = match role {
            Role::Init => limits::Siblings::None,
            Role::Entrant | Role::Exec => limits::Siblings::Maker,
        };
        self.rlimits
            .iter()
            .try_for_each(|it| it.raise_hard(pid, room))
    }

    /// Parent, with the host's privileges, once `pid` was born as an entrant's sibling and before it goes on: what a
    /// clone would lose or refuse.
    ///
    /// # Errors
    /// E_PROCESS naming what was refused.
    pub(crate) fn grant_at_birth(&self, pid: Pid) -> Result<()> {
        match &self.scheduler {
            Some(attr) if !schedule::is_inherited(attr) => schedule::set(pid, attr),
            _ => Ok(()),
        }
    }

    /// True if [`Plan::prepare`] needs a procfs, because there is a label to set.
    pub(crate) fn writes_proc(&self) -> bool {
        self.labels != lsm::Plan::default()
    }

    /// Child, root of its user namespace, after the pivot: what has no order among itself but comes
    /// before the change of user. `labels` are the files of its own labels, where [`Plan::writes_proc`].
    ///
    /// # Errors
    /// E_PROCESS, E_LSM
    pub(crate) fn prepare(&self, labels: &lsm::Files) -> Result<()> {
        if let Some(keyring) = &self.keyring {
            keyring.join(&self.labels, labels)?;
        }
        self.labels.set_for_exec(labels)?;
        if let Some(domain) = self.personality {
            let persona = match domain {
                Domain::Linux => PER_LINUX,
                Domain::Linux32 => PER_LINUX32,
            };
            personality::set(Persona::from_bits_retain(persona)).context(
                Code::Process,
                "set the personality",
                format_args!("{domain:?}"),
            )?;
        }
        match &self.memory_policy {
            Some(policy) => policy.apply(),
            None => Ok(()),
        }
    }

    /// Child: becomes the user, with the umask, groups and capabilities of the plan. With
    /// [`SysAdmin::Keep`] CAP_SYS_ADMIN stays until the filter is loaded ([`last_steps`]): loading a seccomp filter
    /// takes it where `no_new_privs` is not set.
    ///
    /// The process is not dumpable from here to execve(2), which decides anew: prctl(2),
    /// PR_SET_DUMPABLE. Its own /proc/self then belongs to root, so whatever writes there comes before.
    ///
    /// # Errors
    /// E_PROCESS naming what was refused.
    pub(crate) fn become_user(&self, sys_admin: SysAdmin) -> Result<()> {
        self.identity.own_stdio()?;
        if !without(Defence::CapsBeforeBirth) {
            self.capabilities.drop_bounding()?;
        }
        if self.identity.uid != 0 {
            // Otherwise setresuid(2) from root would empty the permitted set. execve(2) clears it.
            prctl::set_keepcaps(true).context(
                Code::Process,
                "keep capabilities across setresuid",
                "",
            )?;
        }
        if !without(Defence::IdsBeforeBirth) {
            self.identity.assume()?;
        }
        if !without(Defence::CapsBeforeBirth) {
            self.capabilities.apply(sys_admin)?;
        }
        if self.no_new_privs {
            prctl::set_no_new_privs().context(Code::Process, "set no_new_privs", "")?;
        }
        Ok(())
    }

    /// Whether CAP_SYS_ADMIN stays until `filter` is loaded: the kernel wants that or no_new_privs, and
    /// no_new_privs is only ever set when the config says so. Pure; for init and for exec.
    pub(crate) fn sys_admin_until(&self, filter: Option<&crate::seccomp::Filter>) -> SysAdmin {
        match filter {
            Some(_) if !self.no_new_privs => SysAdmin::Keep,
            _ => SysAdmin::Drop,
        }
    }
}

#[cfg(test)]
mod tests;
