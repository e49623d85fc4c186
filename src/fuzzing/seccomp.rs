//! Seccomp profiles: whatever a profile says, the compiled program says the same.

use super::bytes::Bytes;
use crate::config::names::SECCOMP_ACTIONS;
use crate::error::Problems;
use crate::seccomp::{self, reference};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// Calls of every kind: old and new, of one architecture, through another call, unknown.
const NAMES: [&str; 24] = [
    "read",
    "splice",
    "ioctl",
    "mseal",
    "statmount",
    "socket",
    "bind",
    "sendmsg",
    "send",
    "shmat",
    "semget",
    "semop",
    "socketcall",
    "ipc",
    "execve",
    "clone3",
    "open_tree_attr",
    "uretprobe",
    "no_such_call",
    "futex_time64",
    "_llseek",
    "getpid",
    "exit_group",
    "arm_fadvise64_64",
];

const ARCHITECTURES: [&str; 7] = [
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_NATIVE",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// Bytes are choices. Panics where program and profile differ.
pub(super) fn seccomp(bytes: &[u8]) {
    let mut choices = Bytes::new(bytes);
    let pool: Vec<u64> = (0..4).map(|_| choices.number()).collect();
    let profile = profile(&mut choices);
    let spec = json!({"ociVersion": "1.3.0", "linux": {"seccomp": profile}});
    let Ok(spec) = serde_json::from_value::<Spec>(spec) else {
        return;
    };
    let mut problems = Problems::default();
    let Some(filter) = seccomp::plan(&spec, &mut problems) else {
        return;
    };
    if !problems.is_empty() {
        return;
    }
    if let Some(difference) = reference::first_mismatch(&filter, &pool) {
        panic!("{difference}\n{profile:#}");
    }
}

fn profile(choices: &mut Bytes<'_>) -> Value {
    let (default, errno) = action(choices);
    let architectures: Vec<&str> = (0..choices.below(4))
        .filter_map(|_| choices.pick(&ARCHITECTURES))
        .collect();
    let mut profile = json!({
        "defaultAction": default,
        "architectures": architectures,
        "listenerPath": "/run/agent",
        "flags": [],
    });
    if let Some(errno) = errno {
        profile["defaultErrnoRet"] = json!(errno);
    }
    let mut rules = Vec::new();
    while choices.has_more() && rules.len() < 40 {
        rules.push(rule(choices));
    }
    profile["syscalls"] = Value::from(rules);
    profile
}

fn rule(choices: &mut Bytes<'_>) -> Value {
    let names: Vec<&str> = (0..=choices.below(3))
        .filter_map(|_| choices.pick(&NAMES))
        .collect();
    let (action, errno) = action(choices);
    let args: Vec<Value> = (0..choices.below(5))
        .map(|_| {
            json!({
                "index": choices.below(6),
                "op": choices.pick(&OPERATORS),
                "value": choices.number(),
                "valueTwo": choices.number(),
            })
        })
        .collect();
    let mut rule = json!({"names": names, "action": action, "args": args});
    if let Some(errno) = errno {
        rule["errnoRet"] = json!(errno);
    }
    rule
}

/// An action, and what it returns where it can have that.
fn action(choices: &mut Bytes<'_>) -> (&'static str, Option<u8>) {
    let action = choices.pick(SECCOMP_ACTIONS).unwrap_or_default();
    let takes_one = matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
    let errno = (takes_one && choices.below(3) == 0).then(|| choices.byte());
    (action, errno)
}
