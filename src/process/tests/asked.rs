//! What a filter is asked before anything is made: every process's calls, each taken out of the profile.

use super::*;
use crate::process::asked::{Asked, Birth, Hooks};
use crate::seccomp::{self, Bpf};
use serde_json::{Value, json};

/// The filter of a profile, compiled.
fn compiled(profile: &Value) -> Bpf {
    let config = json!({"ociVersion": "1.3.0", "linux": {"seccomp": profile}});
    let spec = serde_json::from_value(config).expect("a config");
    let mut problems = Problems::default();
    let filter = seccomp::plan(&spec, &mut problems).expect("a filter");
    problems.into_result("c").expect("no problem");
    seccomp::compile(&filter).expect("a program")
}

/// A profile that allows these calls alone, and notifies of none that is needed if it notifies at all.
fn allowing(names: &[&str], notifies: bool) -> Bpf {
    let mut rules = vec![json!({"names": names, "action": "SCMP_ACT_ALLOW"})];
    if notifies {
        rules.push(json!({"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"}));
    }
    compiled(&json!({
        "defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/agent", "syscalls": rules,
    }))
}

/// One process: what is asked, how the config has it, and what docs/seccomp.md says that it needs.
struct Row {
    asked: Asked,
    config: String,
    notifies: bool,
    needs: Vec<&'static str>,
}

/// All processes that there are: each choice with each other.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for choices in 0..1_u32 << 6 {
        let chosen = |bit: u32| choices & (1 << bit) != 0;
        let [is_sibling, has_hooks] = [0, 1].map(chosen);
        let [has_terminal, has_limit, has_no_new_privileges, notifies] = [2, 3, 4, 5].map(chosen);
        let needs = [
            (true, &["read", "write", "execve", "exit_group"][..]),
            (has_hooks, &["clone", "wait4", "dup", "close"]),
            (is_sibling, &["clone", "setsid"]),
            (is_sibling && has_terminal, &["ioctl"]),
            (is_sibling && has_limit, &["prlimit64"]),
            (notifies, &["close", "prctl"]),
            (!has_no_new_privileges, &["capset"]),
        ];
        let limits = if has_limit {
            json!([{"type": "RLIMIT_NPROC", "soft": 10, "hard": 10}])
        } else {
            json!([])
        };
        rows.push(Row {
            asked: Asked {
                birth: if is_sibling { Birth::Sibling } else { Birth::Itself },
                hooks: if has_hooks { Hooks::Some } else { Hooks::None },
            },
            config: json!({
                "terminal": has_terminal, "rlimits": limits, "noNewPrivileges": has_no_new_privileges,
            })
            .to_string(),
            notifies,
            needs: needs
                .into_iter()
                .filter(|(is_needed, _)| *is_needed)
                .flat_map(|(_, names)| names.iter().copied())
                .collect(),
        });
    }
    rows
}

#[test]
fn each_needed_call_that_a_profile_forbids_is_named() {
    for row in rows() {
        let plan = planned(&row.config);
        let asked = |names: &[&str]| {
            let error = plan.ask_filter(&allowing(names, row.notifies), row.asked);
            error.err().map(|error| error.to_string())
        };
        assert_eq!(asked(&row.needs), None, "{:?} {}", row.asked, row.config);
        for name in &row.needs {
            let others: Vec<&str> = row.needs.iter().filter(|it| *it != name).copied().collect();
            let error = asked(&others).unwrap_or_default();
            let [exactly, with_argument] = [',', '('].map(|end| format!("forbids {name}{end}"));
            assert!(
                error.contains(&exactly) || error.contains(&with_argument),
                "{name}, {:?} {}: {error:?}",
                row.asked,
                row.config
            );
        }
    }
}

#[test]
fn what_keeps_the_privilege_that_loads_a_filter_sets_no_capabilities_after_it() {
    let asked = Asked {
        birth: Birth::Itself,
        hooks: Hooks::None,
    };
    let bpf = allowing(&["read", "write", "execve", "exit_group"], false);
    for (kept, is_refused) in [("CAP_SYS_ADMIN", false), ("CAP_KILL", true)] {
        let sets = json!({"bounding": [kept], "effective": [kept], "permitted": [kept]});
        let plan = planned(&json!({"capabilities": sets}).to_string());
        assert_eq!(plan.ask_filter(&bpf, asked).is_err(), is_refused, "{kept}");
    }
}

#[test]
fn what_is_known_of_arguments_counts() {
    let everything = Asked {
        birth: Birth::Sibling,
        hooks: Hooks::Some,
    };
    let plan =
        planned(r#"{"terminal":true,"rlimits":[{"type":"RLIMIT_NPROC","soft":10,"hard":10}]}"#);
    for (name, index, value, refused) in [
        ("ioctl", 1, 0x540e, Some("ioctl(TIOCSCTTY)")),
        ("ioctl", 1, 0x5412, None),
        ("prlimit64", 1, 6, Some("prlimit64(RLIMIT_NPROC)")),
        ("prlimit64", 1, 7, None),
        ("prctl", 0, 4, Some("prctl")),
        ("prctl", 0, 22, None),
        // A hook's: SIGCHLD alone. A sibling's: CLONE_PARENT, CLONE_PARENT_SETTID and CLONE_CHILD_SETTID.
        ("clone", 0, 17, Some("clone")),
        ("clone", 0, 0x0110_8000, Some("clone")),
        ("clone", 0, 0x1000_0000, None),
    ] {
        for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY", "SCMP_ACT_LOG"] {
            let bpf = compiled(&json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent",
                "syscalls": [
                    {"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"},
                    {"names": [name], "action": action,
                     "args": [{"index": index, "value": value, "op": "SCMP_CMP_EQ"}]},
                ],
            }));
            let error = plan.ask_filter(&bpf, everything).err();
            let said = refused.filter(|_| action == "SCMP_ACT_ERRNO");
            let said = said.map(|call| {
                format!(
                    "linux.seccomp: the profile forbids {call}, which the process needs to begin"
                )
            });
            assert_eq!(
                error.map(|error| error.detail),
                said,
                "{name} {value:#x} {action}"
            );
        }
    }
}
