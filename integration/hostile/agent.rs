//! A seccomp agent that answers in the kernel's stead.

use super::{Attack, Outcome, zoo};
use crate::support::{Agent, Answer, Lab, cases};
use serde_json::json;
use std::fs;

cases! {
    [Root, TestBuild] => privileges_are_kept;
}

/// Says of `capset` that it was made, and lets everything else be made.
fn lies_about_capset(number: i64) -> Answer {
    if number == libc::SYS_capset {
        Answer::Value(0)
    } else {
        Answer::Continue
    }
}

fn privileges_are_kept(lab: &Lab) {
    let attack = Attack {
        cve: "hardening",
        name: "an agent says that `capset` was made: a waiting init keeps CAP_SYS_ADMIN",
        without: "agent-after-confinement",
    };
    zoo(lab, &attack, |lab| {
        let socket = lab.join("agent");
        let agent = Agent::that_answers(socket.clone(), lies_about_capset);
        let filter = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path(),
            "syscalls": [{"names": ["capset"], "action": "SCMP_ACT_NOTIFY"}]
        });
        let bundle = lab
            .bundle()
            .set("/linux/seccomp", filter)
            .set("/process/noNewPrivileges", json!(false));
        let out = bundle.create(&[]);
        let status = fs::read_to_string(format!("/proc/{}/status", bundle.pid())).unwrap();
        let effective = status.lines().find_map(|it| it.strip_prefix("CapEff:\t"));
        let effective = u64::from_str_radix(effective.unwrap(), 16).unwrap();
        bundle.call("delete", &["--force"], &[]).ok();
        drop(agent);
        fs::remove_file(socket).unwrap();
        Outcome::of(&out, effective & 1 << 21 != 0)
    });
}
