//! `process.scheduler`, `process.ioPriority` and `process.execCPUAffinity`. All are set from the
//! parent: they need privileges over the host that the child may not have.

use super::bitlist;
use crate::error::{Code, Context, Problems, Result};
use crate::sys::sched::{self, SchedAttr};
use nix::errno::Errno;
use nix::unistd::Pid;
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxSchedulerFlag as Flag,
    LinuxSchedulerPolicy as Policy, Scheduler,
};

/// CONFIG_NR_CPUS is at most this on every architecture.
const MAX_CPUS: usize = 8192;

/// Decides the scheduling policy. `path` is the JSON path of the scheduler.
///
/// Problems: what sched_setattr(2) would refuse or forget (a priority without a real-time policy, a
/// runtime without SCHED_DEADLINE), and SCHED_ISO, which Linux reserves and does not have. A nice
/// value that the policy ignores is warned of.
pub(crate) fn plan(scheduler: &Scheduler, path: &str, problems: &mut Problems) -> SchedAttr {
    let policy = *scheduler.policy();
    let nice = scheduler.nice().unwrap_or(0);
    let priority = scheduler.priority().unwrap_or(0);
    let [runtime, deadline, period] = [
        scheduler.runtime(),
        scheduler.deadline(),
        scheduler.period(),
    ]
    .map(|it| it.unwrap_or(0));
    if policy == Policy::SchedIso {
        problems.add(
            format!("{path}.policy"),
            "Linux does not implement SCHED_ISO",
        );
    }
    if !(-20..=19).contains(&nice) {
        problems.add(
            format!("{path}.nice"),
            format!("{nice} is outside -20 to 19"),
        );
    } else if nice != 0 && !matches!(policy, Policy::SchedOther | Policy::SchedBatch) {
        log::warn!("{path}.nice: {policy} has no nice value");
    }
    if matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
        if !(1..=99).contains(&priority) {
            problems.add(
                format!("{path}.priority"),
                format!("{priority} is outside 1 to 99, which {policy} needs"),
            );
        }
    } else if priority != 0 {
        problems.add(
            format!("{path}.priority"),
            format!("{policy} has no priority"),
        );
    }
    if policy == Policy::SchedDeadline {
        check_deadline(runtime, deadline, period, path, problems);
    } else if (runtime, deadline, period) != (0, 0, 0) {
        problems.add(
            path,
            format!("runtime, deadline and period belong to SCHED_DEADLINE, not to {policy}"),
        );
    }
    let flags = scheduler.flags().iter().flatten();
    SchedAttr {
        sched_policy: policy_number(policy),
        sched_flags: flags.fold(0, |all, flag| all | flag_bit(*flag)),
        sched_nice: nice,
        // A negative one is a problem by now.
        sched_priority: priority.unsigned_abs(),
        sched_runtime: runtime,
        sched_deadline: deadline,
        sched_period: period,
        ..SchedAttr::default()
    }
}

/// What sched(7) demands of SCHED_DEADLINE, in crun's words; the kernel says only EINVAL.
fn check_deadline(runtime: u64, deadline: u64, period: u64, path: &str, problems: &mut Problems) {
    let mut wrong = |field: &str, why: String| {
        let why = format!("sched_setattr: `SCHED_DEADLINE` {why}");
        problems.add(format!("{path}.{field}"), why);
    };
    let range = 1024..(1 << 63);
    for (field, value) in [("runtime", runtime), ("deadline", deadline)] {
        if value == 0 {
            wrong(field, format!("requires `{field}`"));
            wrong(field, format!("{field} must be greater than 0"));
        } else if !range.contains(&value) {
            wrong(
                field,
                format!("{field} {value} must be between 1024 and 2^63 nanoseconds"),
            );
        }
    }
    if runtime > deadline {
        wrong(
            "runtime",
            format!("runtime {runtime} must be <= deadline {deadline}"),
        );
    }
    // A period of 0 means one as long as the deadline.
    if period != 0 && deadline > period {
        wrong(
            "deadline",
            format!("deadline {deadline} must be <= period {period}"),
        );
    }
}

/// `SCHED_*` of linux/sched.h.
fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    }
}

/// `SCHED_FLAG_*` of linux/sched.h.
fn flag_bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

/// True if a child has it from its parent. SCHED_DEADLINE is refused to one, and SCHED_FLAG_RESET_ON_FORK undoes what
/// was set (sched(7)).
pub(crate) fn is_inherited(attr: &SchedAttr) -> bool {
    attr.sched_policy != policy_number(Policy::SchedDeadline)
        && attr.sched_flags & flag_bit(Flag::SchedResetOnFork) == 0
}

/// Parent: sets the scheduling policy of `pid`.
///
/// # Errors
/// E_PROCESS; EPERM without CAP_SYS_NICE on the host, or for SCHED_DEADLINE below a cpuset.
pub(crate) fn set(pid: Pid, attr: &SchedAttr) -> Result<()> {
    sched::sched_setattr(pid, attr)
        .context(Code::Process, "set the scheduler of the process", "")
        .map_err(|error| match error.errno {
            Some(Errno::EPERM) => error.hint(
                "real-time and deadline policies and lower nice values need CAP_SYS_NICE; \
                 SCHED_DEADLINE needs all CPUs of the host, so no cpuset",
            ),
            _ => error,
        })
}

/// Decides the I/O priority: class and level as ioprio_set(2) wants them. `path` is its JSON path.
pub(crate) fn plan_io(wanted: &LinuxIOPriority, path: &str, problems: &mut Problems) -> u16 {
    let class = match wanted.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u16::try_from(wanted.priority()).ok().filter(|it| *it <= 7);
    if level.is_none() {
        problems.add(
            format!("{path}.priority"),
            format!("{} is outside 0 to 7", wanted.priority()),
        );
    }
    class << 13 | level.unwrap_or(0)
}

/// Parent: sets the I/O priority of `pid`; its children inherit it.
///
/// # Errors
/// E_PROCESS; EPERM for the real-time class without CAP_SYS_NICE or CAP_SYS_ADMIN on the host.
pub(crate) fn set_io(pid: Pid, ioprio: u16) -> Result<()> {
    sched::ioprio_set(pid, ioprio).context(Code::Process, "set the I/O priority of the process", "")
}

/// `execCPUAffinity`: bit masks of CPUs, word by word. Empty is not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Where the parent of an exec runs, and so its child until it is in the container's cgroup.
    pub initial: Vec<u64>,
    /// Where the process runs after that.
    pub last: Vec<u64>,
}

/// Decides the CPUs of an exec. `path` is the JSON path of execCPUAffinity.
pub(crate) fn plan_affinity(
    wanted: &ExecCPUAffinity,
    path: &str,
    problems: &mut Problems,
) -> Affinity {
    let mut mask = |list: &Option<String>, field: &str| {
        let list = list.as_deref().unwrap_or("");
        bitlist::parse(list, MAX_CPUS).unwrap_or_else(|why| {
            problems.add(format!("{path}.{field}"), why);
            Vec::new()
        })
    };
    Affinity {
        initial: mask(wanted.initial(), "initial"),
        last: mask(wanted.cpu_affinity_final(), "final"),
    }
}

/// Parent, exec, before it makes the child: takes itself to the initial CPUs. The child inherits them.
///
/// # Errors
/// E_PROCESS; EINVAL when casulo may use none of these CPUs.
pub(crate) fn pin_parent(affinity: &Affinity) -> Result<()> {
    if affinity.initial.is_empty() {
        return Ok(());
    }
    sched::sched_setaffinity(Pid::from_raw(0), &affinity.initial).context(
        Code::Process,
        "set the initial CPU affinity",
        "",
    )
}

/// Parent, after `pid` entered its cgroup: takes it to the final CPUs of an exec, or, if no
/// affinity is given at all, undoes what the caller of casulo was confined to: since Linux 6.2 the
/// kernel remembers a mask across a change of cpuset, and the container would stay on the CPUs of
/// the service that started it.
///
/// # Errors
/// E_PROCESS; EINVAL when the cgroup allows none of the final CPUs.
pub(crate) fn pin(pid: Pid, affinity: Option<&Affinity>) -> Result<()> {
    match affinity {
        None => {
            if let Err(errno) = sched::sched_setaffinity(pid, &[u64::MAX; MAX_CPUS / 64]) {
                log::debug!("the process keeps the CPU affinity of casulo's caller: {errno}");
            }
            Ok(())
        }
        Some(affinity) if affinity.last.is_empty() => Ok(()),
        Some(affinity) => sched::sched_setaffinity(pid, &affinity.last).context(
            Code::Process,
            "set the final CPU affinity",
            "",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixtures::status_line;
    use crate::skip;
    use crate::sys::forked::words_of_child;
    use nix::unistd::getpid;

    fn planned(json: &str) -> (SchedAttr, Option<String>) {
        let mut problems = Problems::default();
        let scheduler: Scheduler = serde_json::from_str(json).expect("a scheduler");
        let attr = plan(&scheduler, "process.scheduler", &mut problems);
        let error = problems.into_result("c").err();
        (attr, error.map(|it| it.to_string()))
    }

    #[test]
    fn policies_have_the_kernels_numbers() {
        let rows = [
            ("SCHED_OTHER", 0, libc::SCHED_OTHER),
            ("SCHED_FIFO", 1, libc::SCHED_FIFO),
            ("SCHED_RR", 1, libc::SCHED_RR),
            ("SCHED_BATCH", 0, libc::SCHED_BATCH),
            ("SCHED_IDLE", 0, libc::SCHED_IDLE),
        ];
        for (policy, priority, number) in rows {
            let (attr, error) =
                planned(&format!(r#"{{"policy":"{policy}","priority":{priority}}}"#));
            assert_eq!(error, None, "{policy}");
            assert_eq!(i32::try_from(attr.sched_policy), Ok(number), "{policy}");
        }
    }

    #[test]
    fn a_deadline_carries_its_times_and_flags() {
        let scheduler = Scheduler::default();
        let mut scheduler = scheduler;
        scheduler
            .set_policy(Policy::SchedDeadline)
            .set_flags(Some(vec![Flag::SchedResetOnFork, Flag::SchedFlagDLOverrun]))
            .set_runtime(Some(10_000))
            .set_deadline(Some(20_000))
            .set_period(Some(30_000));
        let mut problems = Problems::default();
        let attr = plan(&scheduler, "process.scheduler", &mut problems);
        assert!(problems.is_empty());
        assert_eq!((attr.sched_policy, attr.sched_flags), (6, 5));
        assert_eq!(
            (attr.sched_runtime, attr.sched_deadline, attr.sched_period),
            (10_000, 20_000, 30_000)
        );
    }

    #[test]
    fn what_a_policy_cannot_have_is_a_problem() {
        let rows = [
            (
                r#"{"policy":"SCHED_ISO"}"#,
                "policy: Linux does not implement SCHED_ISO",
            ),
            (
                r#"{"policy":"SCHED_OTHER","nice":20}"#,
                "nice: 20 is outside -20 to 19",
            ),
            (
                r#"{"policy":"SCHED_OTHER","priority":1}"#,
                "priority: SCHED_OTHER has no priority",
            ),
            (
                r#"{"policy":"SCHED_FIFO"}"#,
                "priority: 0 is outside 1 to 99, which SCHED_FIFO needs",
            ),
            (
                r#"{"policy":"SCHED_RR","priority":-5}"#,
                "priority: -5 is outside 1 to 99, which SCHED_RR needs",
            ),
            (
                r#"{"policy":"SCHED_DEADLINE","runtime":9000,"deadline":8000,"period":7000}"#,
                "runtime: sched_setattr: `SCHED_DEADLINE` runtime 9000 must be <= deadline 8000; \
                 process.scheduler.deadline: sched_setattr: `SCHED_DEADLINE` deadline 8000 must be <= period 7000",
            ),
            (
                r#"{"policy":"SCHED_DEADLINE","runtime":1,"deadline":2048}"#,
                "runtime: sched_setattr: `SCHED_DEADLINE` runtime 1 must be between 1024 and 2^63 nanoseconds",
            ),
            (
                r#"{"policy":"SCHED_DEADLINE","deadline":2048}"#,
                "runtime: sched_setattr: `SCHED_DEADLINE` requires `runtime`; \
                 process.scheduler.runtime: sched_setattr: `SCHED_DEADLINE` runtime must be greater than 0",
            ),
        ];
        for (json, why) in rows {
            let (_, error) = planned(json);
            assert_eq!(error, Some(format!("c: process.scheduler.{why}")), "{json}");
        }
        let (_, error) = planned(r#"{"policy":"SCHED_BATCH","runtime":1}"#);
        assert!(
            error.is_some_and(|it| it.contains("belong to SCHED_DEADLINE, not to SCHED_BATCH"))
        );
    }

    #[test]
    fn io_priorities_are_class_and_level() {
        let rows = [
            ("IOPRIO_CLASS_RT", 0, 0x2000),
            ("IOPRIO_CLASS_BE", 7, 0x4007),
            ("IOPRIO_CLASS_IDLE", 4, 0x6004),
        ];
        for (class, level, expected) in rows {
            let json = format!(r#"{{"class":"{class}","priority":{level}}}"#);
            let wanted: LinuxIOPriority = serde_json::from_str(&json).expect("a priority");
            let mut problems = Problems::default();
            assert_eq!(plan_io(&wanted, "p", &mut problems), expected, "{class}");
            assert!(problems.is_empty());
        }
        for level in [-1_i64, 8, 1 << 40] {
            let json = format!(r#"{{"class":"IOPRIO_CLASS_BE","priority":{level}}}"#);
            let wanted: LinuxIOPriority = serde_json::from_str(&json).expect("a priority");
            let mut problems = Problems::default();
            plan_io(&wanted, "process.ioPriority", &mut problems);
            let error = problems.into_result("c").expect_err("out of range");
            assert_eq!(
                error.to_string(),
                format!("c: process.ioPriority.priority: {level} is outside 0 to 7")
            );
        }
    }

    #[test]
    fn the_kernel_takes_policy_priority_and_cpus() {
        if skip::unless_root() {
            return;
        }
        let (attr, _) = planned(r#"{"policy":"SCHED_BATCH","nice":7}"#);
        let cpu0 = Affinity {
            initial: Vec::new(),
            last: vec![1],
        };
        let result = words_of_child(|| {
            set(getpid(), &attr)?;
            set_io(getpid(), 0x4003)?;
            pin(getpid(), Some(&cpu0))?;
            let one = status_line("Cpus_allowed_list");
            pin(getpid(), None)?;
            let all = status_line("Cpus_allowed_list");
            let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
            let after_name = stat.rsplit(')').next().expect("fields");
            // Fields 19 (nice) and 41 (policy) of proc_pid_stat(5); the first here is field 3.
            let field = |n: usize| {
                after_name
                    .split_whitespace()
                    .nth(n - 3)
                    .expect("field")
                    .to_owned()
            };
            Ok(format!(
                "{} {} {one} {}",
                field(19),
                field(41),
                all != "0" || all == one
            ))
        });
        assert_eq!(result, "7 3 0 true");
    }

    #[test]
    fn affinity_lists_are_parsed_and_kept_apart() {
        let wanted: ExecCPUAffinity =
            serde_json::from_str(r#"{"initial":"7","final":"0-3,7"}"#).expect("an affinity");
        let mut problems = Problems::default();
        let affinity = plan_affinity(&wanted, "process.execCPUAffinity", &mut problems);
        assert_eq!((affinity.initial, affinity.last), (vec![0x80], vec![0x8f]));
        let wanted: ExecCPUAffinity =
            serde_json::from_str(r#"{"initial":"9-8","final":"9000"}"#).expect("an affinity");
        plan_affinity(&wanted, "process.execCPUAffinity", &mut problems);
        assert_eq!(
            problems.into_result("c").expect_err("two").to_string(),
            "c: process.execCPUAffinity.initial: the range \"9-8\" runs backwards; \
             process.execCPUAffinity.final: 9000 is not below 8192"
        );
    }
}
