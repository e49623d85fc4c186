//! `process.rlimits` and `process.oomScoreAdj`.

use crate::error::{Code, Context, Problems, Result};
use crate::procfs::ProcFs;
use crate::sys::rlimit::{self, Limit};
use nix::errno::Errno;
use nix::unistd::Pid;
use oci_spec::runtime::{PosixRlimit, PosixRlimitType as Type};

/// One resource limit. `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    /// The spec's name, `RLIMIT_NOFILE`.
    pub name: &'static str,
    /// The kernel's number.
    pub resource: u32,
    /// Soft and hard value.
    pub limit: Limit,
}

/// Names and numbers as asm-generic/resource.h has them, the same on every architecture that casulo
/// runs on.
const TABLE: [(Type, &str); 16] = [
    (Type::RlimitCpu, "RLIMIT_CPU"),
    (Type::RlimitFsize, "RLIMIT_FSIZE"),
    (Type::RlimitData, "RLIMIT_DATA"),
    (Type::RlimitStack, "RLIMIT_STACK"),
    (Type::RlimitCore, "RLIMIT_CORE"),
    (Type::RlimitRss, "RLIMIT_RSS"),
    (Type::RlimitNproc, "RLIMIT_NPROC"),
    (Type::RlimitNofile, "RLIMIT_NOFILE"),
    (Type::RlimitMemlock, "RLIMIT_MEMLOCK"),
    (Type::RlimitAs, "RLIMIT_AS"),
    (Type::RlimitLocks, "RLIMIT_LOCKS"),
    (Type::RlimitSigpending, "RLIMIT_SIGPENDING"),
    (Type::RlimitMsgqueue, "RLIMIT_MSGQUEUE"),
    (Type::RlimitNice, "RLIMIT_NICE"),
    (Type::RlimitRtprio, "RLIMIT_RTPRIO"),
    (Type::RlimitRttime, "RLIMIT_RTTIME"),
];

/// RLIMIT_NPROC.
const PROCESSES: u32 = 6;

/// Decides the limits. `path` is the JSON path of the list.
///
/// Problems: a type named twice (the spec demands an error), a soft limit above the hard one.
pub(crate) fn plan(list: &[PosixRlimit], path: &str, problems: &mut Problems) -> Vec<Rlimit> {
    let mut planned: Vec<Rlimit> = Vec::new();
    for (index, entry) in list.iter().enumerate() {
        let Some((resource, (_, name))) = (0..).zip(TABLE).find(|(_, (it, _))| *it == entry.typ())
        else {
            problems.add(format!("{path}[{index}].type"), "no such limit");
            continue;
        };
        if planned.iter().any(|it| it.name == name) {
            problems.add(
                format!("{path}[{index}].type"),
                format!("{name} is set twice"),
            );
        }
        if entry.soft() > entry.hard() {
            problems.add(
                format!("{path}[{index}].soft"),
                format!("{} is above the hard limit {}", entry.soft(), entry.hard()),
            );
        }
        planned.push(Rlimit {
            name,
            resource,
            limit: Limit {
                soft: entry.soft(),
                hard: entry.hard(),
            },
        });
    }
    planned
}

/// Which processes of casulo count in RLIMIT_NPROC beside the process itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Siblings {
    /// None.
    None,
    /// The entrant that makes it, until the process is told to go on.
    Maker,
}

impl Rlimit {
    /// The limit while the process shares it with `siblings`.
    fn beside(&self, siblings: Siblings) -> Limit {
        let more = u64::from(self.resource == PROCESSES && siblings == Siblings::Maker);
        Limit {
            soft: self.limit.soft.saturating_add(more),
            hard: self.limit.hard.saturating_add(more),
        }
    }

    /// Raises the hard limit of `pid` to what it will be, if it is lower, with the host's privileges. The process
    /// itself could not later: it has dropped CAP_SYS_RESOURCE by then, and in a user namespace never had it
    /// where it counts. Until then its limits are ours. They are not read from it: it may be the container's
    /// user already, whose limits a root without CAP_SYS_RESOURCE may not see (prlimit(2)).
    ///
    /// # Errors
    /// E_PROCESS naming the limit; EPERM for an unprivileged caller.
    pub(crate) fn raise_hard(&self, pid: Pid, siblings: Siblings) -> Result<()> {
        let ours = Pid::from_raw(0);
        let now = rlimit::get(ours, self.resource).context(Code::Process, "read", self.name)?;
        let wanted = self.beside(siblings).hard;
        if wanted <= now.hard {
            return Ok(());
        }
        let raised = Limit {
            soft: now.soft,
            hard: wanted,
        };
        match rlimit::set(pid, self.resource, raised) {
            // There is room for the process, if not for its maker.
            Err(Errno::EPERM) if self.limit.hard <= now.hard => Ok(()),
            result => result.context(
                Code::Process,
                "raise the hard limit of",
                format_args!(
                    "{} from {} to {}",
                    self.name,
                    text(now.hard),
                    text(raised.hard)
                ),
            ),
        }
    }

    /// Child, right before its last steps: soft and hard limit.
    ///
    /// # Errors
    /// E_PROCESS naming the limit.
    pub(crate) fn apply(&self, siblings: Siblings) -> Result<()> {
        let mut limit = self.beside(siblings);
        if limit != self.limit {
            let own = Pid::from_raw(0);
            let now = rlimit::get(own, self.resource).context(Code::Process, "read", self.name)?;
            limit.hard = limit.hard.min(now.hard.max(self.limit.hard));
            limit.soft = limit.soft.min(limit.hard);
        }
        rlimit::set(Pid::from_raw(0), self.resource, limit).context(
            Code::Process,
            "set",
            format_args!(
                "{} to {} (hard {})",
                self.name,
                text(limit.soft),
                text(limit.hard)
            ),
        )
    }

    /// True for RLIMIT_NPROC, which its maker counts in too.
    pub(crate) fn counts_processes(&self) -> bool {
        self.resource == PROCESSES
    }
}

fn text(value: u64) -> String {
    if value == u64::MAX {
        "unlimited".to_owned()
    } else {
        value.to_string()
    }
}

/// Decides `oomScoreAdj`; `path` is its JSON path. The kernel takes -1000 to 1000.
pub(crate) fn plan_oom(score: Option<i32>, path: &str, problems: &mut Problems) -> Option<i32> {
    if let Some(score) = score.filter(|it| !(-1000..=1000).contains(it)) {
        problems.add(path, format!("{score} is outside -1000 to 1000"));
    }
    score
}

/// Parent: writes `oom_score_adj` of `pid`, through the host's procfs.
///
/// # Errors
/// E_PROCESS; EACCES for a score below the current one without CAP_SYS_RESOURCE.
pub(crate) fn set_oom(pid: Pid, score: i32, proc: &ProcFs) -> Result<()> {
    let file = format!("{pid}/oom_score_adj");
    proc.write(&file, score.to_string().as_bytes()).context(
        Code::Process,
        &format!("set the OOM score adjustment to {score} in"),
        format_args!("/proc/{file}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::words_of_child;

    fn planned(json: &str) -> (Vec<Rlimit>, Option<String>) {
        let list: Vec<PosixRlimit> = serde_json::from_str(json).expect("rlimits");
        let mut problems = Problems::default();
        let plan = plan(&list, "process.rlimits", &mut problems);
        let error = problems.into_result("c").err();
        (plan, error.map(|it| it.to_string()))
    }

    #[test]
    fn every_name_of_the_spec_has_the_kernels_number() {
        let rows = [
            ("RLIMIT_CPU", libc::RLIMIT_CPU),
            ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
            ("RLIMIT_DATA", libc::RLIMIT_DATA),
            ("RLIMIT_STACK", libc::RLIMIT_STACK),
            ("RLIMIT_CORE", libc::RLIMIT_CORE),
            ("RLIMIT_RSS", libc::RLIMIT_RSS),
            ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
            ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
            ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
            ("RLIMIT_AS", libc::RLIMIT_AS),
            ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
            ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
            ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
            ("RLIMIT_NICE", libc::RLIMIT_NICE),
            ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
            ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
        ];
        for (name, number) in rows {
            let json = format!(r#"[{{"type":"{name}","soft":1,"hard":18446744073709551615}}]"#);
            let (plan, error) = planned(&json);
            let limit = Limit {
                soft: 1,
                hard: u64::MAX,
            };
            let resource = u32::try_from(number).expect("small");
            assert_eq!(
                (plan, error),
                (
                    vec![Rlimit {
                        name,
                        resource,
                        limit
                    }],
                    None
                ),
                "{name}"
            );
        }
    }

    #[test]
    fn duplicates_and_soft_above_hard_are_problems() {
        let (_, error) = planned(
            r#"[{"type":"RLIMIT_NOFILE","soft":2048,"hard":1024},
                {"type":"RLIMIT_CORE","soft":0,"hard":0},
                {"type":"RLIMIT_NOFILE","soft":1,"hard":1}]"#,
        );
        assert_eq!(
            error.expect("two problems"),
            "c: process.rlimits[0].soft: 2048 is above the hard limit 1024; \
             process.rlimits[2].type: RLIMIT_NOFILE is set twice"
        );
    }

    #[test]
    fn an_oom_score_outside_the_kernels_range_is_a_problem() {
        for (score, good) in [(-1001, false), (-1000, true), (0, true), (1001, false)] {
            let mut problems = Problems::default();
            plan_oom(Some(score), "process.oomScoreAdj", &mut problems);
            assert_eq!(problems.is_empty(), good, "{score}");
        }
    }

    #[test]
    fn a_limit_is_set_and_a_refused_one_is_named() {
        let (plan, _) = planned(
            r#"[{"type":"RLIMIT_NOFILE","soft":70,"hard":71},{"type":"RLIMIT_CORE","soft":0,"hard":5}]"#,
        );
        let result = words_of_child(|| {
            for limit in &plan {
                limit.raise_hard(nix::unistd::getpid(), Siblings::None)?;
                limit.apply(Siblings::None)?;
            }
            let read = |it: &Rlimit| rlimit::get(Pid::from_raw(0), it.resource).expect("a limit");
            Ok(format!("{:?}", plan.iter().map(read).collect::<Vec<_>>()))
        });
        assert_eq!(
            result,
            "[Limit { soft: 70, hard: 71 }, Limit { soft: 0, hard: 5 }]"
        );
        let (plan, _) =
            planned(r#"[{"type":"RLIMIT_NOFILE","soft":1,"hard":18446744073709551615}]"#);
        // Above /proc/sys/fs/nr_open: refused whatever the privileges.
        let result = words_of_child(|| {
            plan[0]
                .raise_hard(nix::unistd::getpid(), Siblings::None)
                .map(|()| String::new())
        });
        assert!(
            result.starts_with("raise the hard limit of RLIMIT_NOFILE from ")
                && result.ends_with(" to unlimited: operation not permitted"),
            "{result}"
        );
    }

    #[test]
    fn a_limit_that_is_not_raised_needs_no_privilege_over_the_child() {
        let (plan, _) = planned(r#"[{"type":"RLIMIT_NOFILE","soft":1,"hard":1}]"#);
        let result = words_of_child(|| {
            if nix::unistd::geteuid().is_root() {
                let nobody = nix::unistd::Uid::from_raw(65534);
                nix::unistd::setuid(nobody).expect("another user");
            }
            let of_root = Pid::from_raw(1);
            plan[0]
                .raise_hard(of_root, Siblings::None)
                .map(|()| "left alone".into())
        });
        assert_eq!(result, "left alone");
    }

    #[test]
    fn the_parent_sets_the_oom_score_of_the_child() {
        let result = words_of_child(|| {
            let proc = ProcFs::host().expect("a procfs");
            set_oom(nix::unistd::getpid(), 777, &proc)?;
            Ok(std::fs::read_to_string("/proc/self/oom_score_adj").expect("a score"))
        });
        assert_eq!(result, "777\n");
    }
}
