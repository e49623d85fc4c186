//! `exec`: the process from `--process`, or the container's own with what the options change.

use crate::cli::{Exec, Global};
use crate::defence::{Defence, without};
use crate::error::{Code, Error, Problems, Result};
use crate::exec::{self, Executed, Outcome, Request, WhenPaused};
use crate::foreground::{self, Signals};
use crate::host::Host;
use crate::id::Id;
use crate::options::Options;
use crate::state::Status;
use crate::step::{self, Step};
use crate::waiting;
use crate::{capabilities, config, namespaces, process, seccomp};
use oci_spec::runtime::{Capability, Process, Spec};
use std::os::fd::AsFd;
use std::path::{Component, Path};

/// `casulo exec`; without `--detach` returns the exit code of the process.
#[inline(never)]
pub(super) fn run(global: &Global, args: &Exec) -> Result<u8> {
    // What is wrong in the command is wrong whatever the container does.
    args.user.as_deref().map(parse_user).transpose()?;
    let store = super::store(global)?;
    let id: Id = args.id.parse()?;
    let dir = store.open(&id)?;
    let seen = dir.look()?;
    // What is read below is there, and final, once it is created.
    seen.expect_made("exec in")?;
    if seen.status == Status::Stopped {
        return Err(exec::not_running(&args.id));
    }
    let (file, bytes) = dir.read_config()?;
    let mut spec = config::parse(&bytes, &file)?;
    let (wanted, file) = wanted_process(args, &spec, file)?;
    // Which LSMs are asked for is a matter of this process.
    spec.set_process(Some(wanted));
    let options = Options {
        cgroup_manager: super::cgroup_manager(global),
        preserve_fds: args.preserve_fds,
        ..Options::new(id, seen.state.bundle.clone())
    };
    let host = Host::ask(Some(&spec), super::rootless(global))?;
    let (mut plan, filter) = decide(&spec, &options, &host, &file)?;
    super::pass_listeners(&mut plan);
    if args.detach && plan.terminal.is_some() && args.console_socket.is_none() {
        return Err(
            Error::new(Code::Terminal, "a terminal is wanted: use --console-socket")
                .hint("without --detach casulo shows the terminal itself"),
        );
    }

    let signals = if args.detach {
        None
    } else {
        Some(Signals::block()?)
    };
    let pid_file = args.pid_file.as_deref().map(super::absolute).transpose()?;
    let request = Request {
        id: &args.id,
        seen: &seen,
        process: &plan,
        filter: filter.as_ref(),
        pid_file: pid_file.as_deref(),
        console_socket: args.console_socket.as_deref(),
        pidfd_socket: args.pidfd_socket.as_deref(),
        cgroup: args.cgroup.as_deref().map(sub_cgroup).transpose()?,
        paused: if args.ignore_paused {
            WhenPaused::Wait
        } else {
            WhenPaused::Refuse
        },
        signals: signals.as_ref(),
    };
    let executed = match exec::exec(dir, &request)? {
        Outcome::Executed(executed) => executed,
        Outcome::Interrupted(number) => return super::exit_code(128 + number),
    };
    match signals {
        None => Ok(0),
        Some(signals) => attend(&signals, executed),
    }
}

/// Everything about the process of `spec`, which takes the place of the container's own there. `file` is where its
/// problems are.
fn decide(
    spec: &Spec,
    options: &Options,
    host: &Host,
    file: &str,
) -> Result<(process::Plan, Option<seccomp::Filter>)> {
    let mut problems = Problems::default();
    let process = config::require_process(spec, file)?;
    let ns = namespaces::plan(spec, host, &mut problems);
    let plan = process::plan(process, spec, &ns, options, host, "process", &mut problems);
    let filter = seccomp::plan(spec, &mut problems);
    problems.into_result(file)?;
    Ok((plan, filter))
}

/// Until the process has ended: its terminal and its signals. Returns its exit code.
fn attend(signals: &Signals, executed: Executed) -> Result<u8> {
    let Executed {
        pid,
        pidfd,
        console,
    } = executed;
    let attended = step::begin(Step::ExecAttend).and_then(|()| super::relay(console));
    let relay = attended.inspect_err(|_| {
        waiting::end(pid);
    })?;
    super::exit_code(foreground::wait(signals, pid, pidfd.as_fd(), relay, None)?)
}

/// The process to execute, and the file that its problems are reported against.
fn wanted_process(args: &Exec, spec: &Spec, config_file: String) -> Result<(Process, String)> {
    let own = spec.process().clone().unwrap_or_default();
    let (mut process, file) = match &args.process {
        Some(path) => {
            let (bytes, file) = super::read(path)?;
            (inherit(config::parse_process(&bytes, &file)?, &own), file)
        }
        None => {
            if args.command.is_empty() {
                return Err(Error::new(
                    Code::Usage,
                    "exec needs a command, or --process FILE",
                ));
            }
            let mut process = own;
            process.set_args(Some(args.command.clone()));
            process.set_terminal(Some(false));
            (process, config_file)
        }
    };
    if args.tty {
        process.set_terminal(Some(true));
    }
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.into());
    }
    if !args.env.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(args.env.iter().cloned());
        process.set_env(Some(env));
    }
    if let Some(user) = &args.user {
        let (uid, gid) = parse_user(user)?;
        let mut changed = process.user().clone();
        changed.set_uid(uid);
        if let Some(gid) = gid {
            changed.set_gid(gid);
        }
        process.set_user(changed);
    }
    if !args.additional_gids.is_empty() {
        let mut user = process.user().clone();
        let mut gids = user.additional_gids().clone().unwrap_or_default();
        gids.extend(&args.additional_gids);
        user.set_additional_gids(Some(gids));
        process.set_user(user);
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if !args.cap.is_empty() {
        // A name that nobody knows is warned of, as in a config (config.md, capabilities).
        let known = |name: &String| {
            let capability = capabilities::parse(name);
            if capability.is_none() {
                log::warn!("unknown capability {name:?} is left out");
            }
            capability
        };
        let extra: Vec<Capability> = args.cap.iter().filter_map(known).collect();
        let sets = capabilities::add_for_exec(process.capabilities().as_ref(), &extra);
        process.set_capabilities(Some(sets));
    }
    Ok((process, file))
}

/// What a process.json leaves out it takes from the container's own process.
fn inherit(mut process: Process, own: &Process) -> Process {
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(own.rlimits().clone());
    }
    if process
        .apparmor_profile()
        .as_deref()
        .is_none_or(str::is_empty)
    {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if process.selinux_label().as_deref().is_none_or(str::is_empty) {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.no_new_privileges().is_none() {
        process.set_no_new_privileges(own.no_new_privileges());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
    if process.user().umask().is_none() {
        let mut user = process.user().clone();
        user.set_umask(own.user().umask());
        process.set_user(user);
    }
    process
}

/// The path of `--cgroup` below the container's cgroup; a leading slash means that cgroup, too. Nothing
/// leads out of it: a cgroup hierarchy has no symbolic links.
fn sub_cgroup(path: &Path) -> Result<&Path> {
    let inside = path.strip_prefix("/").unwrap_or(path);
    if inside.components().any(|part| part == Component::ParentDir) {
        Err(Error::new(
            Code::Usage,
            format!(
                "--cgroup: bad sub cgroup path {}: `..` components are not allowed",
                path.display()
            ),
        ))
    } else {
        Ok(inside)
    }
}

/// `UID` or `UID:GID`, decimal digits only: what follows a number is an error, never ignored
/// (CVE-2026-30892).
pub(crate) fn parse_user(text: &str) -> Result<(u32, Option<u32>)> {
    let number = |part: &str| -> Option<u32> {
        let part = if without(Defence::UserDigits) {
            part.trim_end_matches(|it: char| !it.is_ascii_digit())
        } else {
            part
        };
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| part.parse().ok())
            .flatten()
            .filter(|id| *id != u32::MAX)
    };
    let parsed = match text.split_once(':') {
        None => number(text).map(|uid| (uid, None)),
        Some((uid, gid)) => number(uid)
            .zip(number(gid))
            .map(|(uid, gid)| (uid, Some(gid))),
    };
    parsed.ok_or_else(|| {
        Error::new(
            Code::Usage,
            format!("invalid user {text:?}: UID or UID:GID is expected"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::{parse_user, sub_cgroup};
    use std::path::Path;

    #[test]
    fn a_cgroup_is_below_the_containers() {
        for (typed, inside) in [("a", "a"), ("/a/b", "a/b"), ("/", ""), ("./a", "./a")] {
            assert_eq!(sub_cgroup(Path::new(typed)).ok(), Some(Path::new(inside)));
        }
        for bad in ["..", "../a", "a/..", "/a/../../b", "./.."] {
            assert!(sub_cgroup(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_digits_and_nothing_else() {
        assert_eq!(parse_user("1000").ok(), Some((1000, None)));
        assert_eq!(parse_user("0:7").ok(), Some((0, Some(7))));
        for bad in [
            "",
            ":",
            "1:",
            ":1",
            "1a",
            "+1",
            "-1",
            " 1",
            "1:2:3",
            "4294967295",
            "4294967296",
            "root",
            "0x0",
            "1\n",
        ] {
            assert!(parse_user(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_accepted_user_prints_back_as_typed(text in "[0-9:+ a-f-]{0,12}") {
            if let Ok((uid, gid)) = parse_user(&text) {
                let back = gid.map_or(uid.to_string(), |gid| format!("{uid}:{gid}"));
                let strip = |t: &str| t.split(':').map(|p| p.trim_start_matches('0').to_owned()).collect::<Vec<_>>();
                proptest::prop_assert_eq!(strip(&back), strip(&text));
            }
        }
    }
}
