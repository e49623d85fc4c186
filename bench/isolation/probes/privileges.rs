//! Becoming more than one was made.

use super::{Group, Probe, Proof};
use crate::isolation::facts::{Facts, Finding};
use crate::place::SETUID_NAME;
use caps::{CapSet, Capability};
use nix::unistd::geteuid;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: "capabilities",
        tries: "have or raise CAP_SYS_ADMIN",
        group: Group::Privileges,
        proof: Proof::Answer,
        run: capabilities,
    },
    Probe {
        name: "setuid",
        tries: "be root through a set-user-ID program",
        group: Group::Privileges,
        proof: Proof::Answer,
        run: setuid,
    },
];

fn capabilities(_: &Facts) -> Finding {
    let wanted = Capability::CAP_SYS_ADMIN;
    let has = |set| caps::has_cap(None, set, wanted).unwrap_or(false);
    if has(CapSet::Effective) {
        return if over_all_users() {
            Finding::leaked("CAP_SYS_ADMIN is effective")
        } else {
            Finding::held("has CAP_SYS_ADMIN over its own user namespace alone")
        };
    }
    let raised = caps::raise(None, CapSet::Permitted, wanted)
        .and_then(|()| caps::raise(None, CapSet::Effective, wanted));
    match raised {
        Ok(()) => Finding::leaked("capset gave CAP_SYS_ADMIN"),
        Err(error) => Finding::held(format!(
            "capset: {error}; in the bounding set: {}",
            has(CapSet::Bounding)
        )),
    }
}

/// True in the first user namespace, which maps every number to itself.
fn over_all_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// As an ordinary user, executes a program of root's with the set-user-ID bit.
fn setuid(_: &Facts) -> Finding {
    let program = match std::env::current_exe() {
        Ok(path) => path.with_file_name(SETUID_NAME),
        Err(error) => return Finding::not_applicable(format!("/proc/self/exe: {error}")),
    };
    let mut command = Command::new(program);
    command.arg("euid");
    if geteuid().is_root() {
        command.uid(1000).gid(1000);
    }
    match command.output() {
        Ok(output) => match super::text(&output.stdout).as_str() {
            "0" => Finding::leaked("uid 1000 became root"),
            user => Finding::held(format!("the program ran as user {user}")),
        },
        Err(error) => {
            Finding::not_applicable(format!("there is no user 1000 to come from: {error}"))
        }
    }
}
