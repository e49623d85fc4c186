//! What the container does so that it stays when it is killed and deleted.

use super::{Attack, Outcome, zoo};
use crate::support::{Lab, cases, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::Duration;

cases! {
    [Root, TestBuild] => a_first_thread_that_has_ended;
}

fn a_first_thread_that_has_ended(lab: &Lab) {
    for (name, namespace, verb) in [
        (
            "the first thread of init ends, another one outlives delete --force",
            "",
            "delete",
        ),
        ("the same without a pid namespace", "pid", "delete"),
        (
            "the first thread of init ends, another one outlives kill --all",
            "",
            "kill",
        ),
    ] {
        let attack = Attack {
            cve: "(hardening)",
            name,
            without: "threads-are-alive",
        };
        zoo(lab, &attack, |lab| {
            let mut bundle = lab.bundle().args(&["/bin/probe", "leave-main", "/beats"]);
            if !namespace.is_empty() {
                bundle = bundle.without_namespace(namespace);
            }
            bundle.run_detached();
            let beats = bundle.rootfs().join("beats");
            wait_until("another thread goes on", || beats.exists());
            let out = match verb {
                "kill" => bundle.call("kill", &["--all"], &["KILL"]),
                _ => bundle.call("delete", &["--force"], &[]),
            };
            let length = || fs::metadata(&beats).map_or(0, |it| it.len());
            let before = length();
            std::thread::sleep(Duration::from_millis(200));
            let goes_on = length() > before;
            // The kernel's list has the number, and a signal reaches the process as a whole.
            let procs = fs::read_to_string(bundle.cgroup().join("cgroup.procs"));
            for pid in procs.unwrap_or_default().lines() {
                let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
            }
            Outcome::of(&out, goes_on)
        });
    }
}
