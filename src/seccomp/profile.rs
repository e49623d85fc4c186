//! Turns `linux.seccomp` into a [`Filter`]: the checked profile as plain data. Pure; runs in the parent.
//!
//! System calls keep their names here. [`super::compile()`] looks their numbers up.

use crate::error::Problems;
use crate::sys::seccomp as kernel;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use std::path::{Path, PathBuf};

const PATH: &str = "linux.seccomp";

/// The largest errno a system call can return (`MAX_ERRNO` of `linux/err.h`); the kernel cuts
/// larger ones down to it.
const MAX_ERRNO: u16 = 4095;

/// The value of `errnoRet` if it is absent.
const EPERM: u16 = 1;

/// Longest path of a unix socket: `sun_path` without its final zero, unix(7).
const MAX_SOCKET_PATH: usize = 107;

/// What the kernel does with a call, seccomp(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `SCMP_ACT_KILL_PROCESS`
    KillProcess,
    /// `SCMP_ACT_KILL_THREAD`, and its older name `SCMP_ACT_KILL`
    KillThread,
    /// `SCMP_ACT_TRAP`: SIGSYS
    Trap,
    /// `SCMP_ACT_ERRNO` with the errno
    Errno(u16),
    /// `SCMP_ACT_TRACE` with the tracer's message
    Trace(u16),
    /// `SCMP_ACT_NOTIFY`
    Notify,
    /// `SCMP_ACT_LOG`
    Log,
    /// `SCMP_ACT_ALLOW`
    Allow,
}

impl Action {
    /// The value that a filter returns for this action: `SECCOMP_RET_*` of `linux/seccomp.h`.
    pub(super) fn return_value(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Notify => 0x7fc0_0000,
            Action::Trace(message) => 0x7ff0_0000 | u32::from(message),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }

    /// True if the kernel makes the call.
    pub(crate) fn lets_pass(self) -> bool {
        matches!(self, Action::Log | Action::Allow)
    }
}

/// One comparison of a 64-bit argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// The index of the argument, 0 to 5.
    pub(crate) argument: u8,
    /// How the argument is compared with `value`.
    pub(crate) operator: LinuxSeccompOperator,
    /// The value that the argument is compared with; for `SCMP_CMP_MASKED_EQ` the mask.
    pub(crate) value: u64,
    /// The value that the masked argument must have for `SCMP_CMP_MASKED_EQ`; no other operator reads it.
    pub(crate) value_two: u64,
}

/// An entry of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Names of system calls, of any architecture.
    pub(crate) names: Vec<String>,
    /// What the kernel does with a call that the rule matches.
    pub(crate) action: Action,
    /// The conditions under which the rule matches: all must hold, or at least one if two look at the same
    /// argument (as in runc). An empty list always matches.
    pub(crate) conditions: Vec<Condition>,
}

/// `linux.seccomp`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The action for calls that no rule matches.
    pub(crate) default: Action,
    /// `architectures`, as they stand in the config. The native one is always covered.
    pub(crate) architectures: Vec<Arch>,
    /// The entries of `syscalls`, in their order. The first rule that matches a call counts, but a rule
    /// without conditions settles the call wherever it stands.
    pub(crate) rules: Vec<Rule>,
    /// The `SECCOMP_FILTER_FLAG_*` bits for seccomp(2).
    pub(crate) flags: u32,
    /// `listenerPath`, the host's path of the agent's socket as it stands in the config, at most 107 bytes.
    /// Set exactly if some action is `SCMP_ACT_NOTIFY`; otherwise the spec says to ignore it.
    pub(crate) listener_path: Option<PathBuf>,
    /// `listenerMetadata`, for the container process state.
    pub(crate) listener_metadata: Option<String>,
}

/// Turns a whole profile into a filter. `receiver` is the `listenerPath` of one that has none itself. Each problem is
/// noted with its JSON path.
pub(super) fn filter(
    profile: &LinuxSeccomp,
    receiver: Option<&str>,
    problems: &mut Problems,
) -> Filter {
    let default = action(
        profile.default_action(),
        profile.default_errno_ret(),
        || format!("{PATH}.defaultErrnoRet"),
        problems,
    );
    let rules: Vec<Rule> = profile
        .syscalls()
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, entry)| rule(entry, &format!("{PATH}.syscalls[{index}]"), problems))
        .collect();
    let notifies = notifying(default, &rules);
    let listener_path = profile
        .listener_path()
        .clone()
        .filter(|path| !path.as_os_str().is_empty())
        .or_else(|| receiver.map(PathBuf::from));
    let listener_metadata = profile
        .listener_metadata()
        .clone()
        .filter(|metadata| !metadata.is_empty());
    if listener_metadata.is_some() && listener_path.is_none() {
        problems.add(
            format!("{PATH}.listenerMetadata"),
            "must not be set without listenerPath",
        );
    }
    if let Some(user) = &notifies {
        check_listener(user, listener_path.as_deref(), problems);
    }
    Filter {
        default,
        architectures: profile.architectures().clone().unwrap_or_default(),
        rules,
        flags: flags(profile.flags().as_deref(), notifies.as_deref()),
        listener_path: listener_path.filter(|_| notifies.is_some()),
        listener_metadata: listener_metadata.filter(|_| notifies.is_some()),
    }
}

impl Filter {
    /// True if loading the filter makes a listener.
    pub(crate) fn notifies(&self) -> bool {
        self.flags & kernel::FILTER_FLAG_NEW_LISTENER != 0
    }
}

/// Returns the action for its name and `errnoRet`. `at` makes the JSON path of `errnoRet`, for problems.
fn action(
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    at: impl Fn() -> String,
    problems: &mut Problems,
) -> Action {
    let mut data = |max: u16| match errno_ret {
        None => EPERM,
        Some(value) => match u16::try_from(value) {
            Ok(value) if value <= max => value,
            _ => {
                problems.add(at(), format!("{value} is larger than {max}"));
                0
            }
        },
    };
    let action = match action {
        LinuxSeccompAction::ScmpActErrno => return Action::Errno(data(MAX_ERRNO)),
        LinuxSeccompAction::ScmpActTrace => return Action::Trace(data(u16::MAX)),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            Action::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActNotify => Action::Notify,
        LinuxSeccompAction::ScmpActLog => Action::Log,
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
    };
    if errno_ret.is_some() {
        problems.add(
            at(),
            "only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take a return code",
        );
    }
    action
}

fn rule(entry: &LinuxSyscall, path: &str, problems: &mut Problems) -> Rule {
    if entry.names().is_empty() {
        problems.add(format!("{path}.names"), "must name at least one call");
    }
    let conditions = entry
        .args()
        .iter()
        .flatten()
        .enumerate()
        .filter_map(|(index, arg)| condition(arg, || format!("{path}.args[{index}]"), problems))
        .collect();
    Rule {
        names: entry.names().clone(),
        action: action(
            entry.action(),
            entry.errno_ret(),
            || format!("{path}.errnoRet"),
            problems,
        ),
        conditions,
    }
}

fn condition(
    arg: &LinuxSeccompArg,
    at: impl Fn() -> String,
    problems: &mut Problems,
) -> Option<Condition> {
    match u8::try_from(arg.index()) {
        Ok(argument @ 0..=5) => Some(Condition {
            argument,
            operator: arg.op(),
            value: arg.value(),
            value_two: arg.value_two().unwrap_or(0),
        }),
        _ => {
            let why = format!(
                "{} is not the index of an argument: there are 0 to 5",
                arg.index()
            );
            problems.add(format!("{}.index", at()), why);
            None
        }
    }
}

/// Returns the kernel's flags. A profile without `flags` gets `SPEC_ALLOW`, as in runc and crun: the
/// mitigation slows every program down, and Linux gave it up for seccomp in 5.16. An empty list means no flag.
///
/// `WAIT_KILLABLE_RECV` changes how a process waits for the listener. The kernel refuses it for a filter
/// without one (EINVAL), so it is left out there. `notifying` is the JSON path of an `SCMP_ACT_NOTIFY`, if
/// any.
fn flags(listed: Option<&[LinuxSeccompFilterFlag]>, notifying: Option<&str>) -> u32 {
    let mut flags = match listed {
        None => kernel::FILTER_FLAG_SPEC_ALLOW,
        Some(listed) => listed.iter().fold(0, |flags, flag| flags | value(*flag)),
    };
    if notifying.is_some() {
        flags |= kernel::FILTER_FLAG_NEW_LISTENER;
        if flags & kernel::FILTER_FLAG_TSYNC != 0 {
            flags |= kernel::FILTER_FLAG_TSYNC_ESRCH;
        }
    } else {
        flags &= !kernel::FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    flags
}

fn value(flag: LinuxSeccompFilterFlag) -> u32 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => kernel::FILTER_FLAG_TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => kernel::FILTER_FLAG_LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => kernel::FILTER_FLAG_SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => {
            kernel::FILTER_FLAG_WAIT_KILLABLE_RECV
        }
    }
}

/// Returns the JSON path of the first `SCMP_ACT_NOTIFY`, if there is one.
fn notifying(default: Action, rules: &[Rule]) -> Option<String> {
    if default == Action::Notify {
        return Some(format!("{PATH}.defaultAction"));
    }
    rules
        .iter()
        .position(|rule| rule.action == Action::Notify)
        .map(|index| format!("{PATH}.syscalls[{index}].action"))
}

fn check_listener(user: &str, listener_path: Option<&Path>, problems: &mut Problems) {
    let at = format!("{PATH}.listenerPath");
    match listener_path {
        None => problems.add(at, format!("missing, but {user} is SCMP_ACT_NOTIFY")),
        Some(path) if path.as_os_str().len() > MAX_SOCKET_PATH => problems.add(
            at,
            format!("longer than the {MAX_SOCKET_PATH} bytes of a unix socket's path"),
        ),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests;
