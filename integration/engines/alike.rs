//! What users of Docker and of Podman do every day in the same words. The two lists of cases name the
//! engine of each test.

use super::container::Container;
use super::{image, say_and_run};
use crate::support::{Lab, Terminal, wait_until};
use std::fs;

pub(super) fn smoke_test<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let out = container.sh("", "echo out; echo err >&2; exit 3");
    assert_eq!((out.code, out.text(), out.stderr.trim()), (3, "out", "err"));
    container.detached("", "exec sleep 1000");
    let out = container.exec("", "echo inside; exit 4");
    assert_eq!((out.code, out.text()), (4, "inside"));
    container.call("kill --signal KILL @").ok();
    assert_eq!(container.call("wait @").ok().text(), "137");
    container.remove();
}

pub(super) fn output_and_exit_codes<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let out = container.sh("", "echo out; echo err >&2; exit 7");
    assert_eq!((out.code, out.text(), out.stderr.trim()), (7, "out", "err"));
    let many = container.sh("", "seq 20000").ok();
    assert_eq!(many.lines().len(), 20_000);
    let out = container.sh("", "sh -c 'kill -KILL $$'; exit $?");
    assert_eq!(out.code, 137);
}

pub(super) fn input_is_passed_on<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let out = say_and_run(container.run("--rm -i", "cat"), b"typed");
    assert_eq!(out.ok().text(), "typed");
}

pub(super) fn terminal<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let script =
        "tty; test -t 0 && test -t 1 && test -t 2 && echo all; read A; echo got $A; exit 5";
    let (mut terminal, mut child) = Terminal::spawn(container.run("--rm -it", script), 33, 77);
    let said = terminal.expect("all");
    assert!(said.starts_with("/dev/pts/0\r\n"), "{said}");
    terminal.type_in("typed\r");
    terminal.expect("got typed");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    container.detached("-t", "exec sleep 1000");
    // The engines set the size once the process runs.
    let script = "until stty size | grep '33 77'; do sleep 0.1; done; read A; echo got $A; exit 6";
    let (mut terminal, mut child) = Terminal::spawn(container.exec_command("-it", script), 33, 77);
    terminal.expect("33 77");
    terminal.type_in("typed\r");
    terminal.expect("got typed");
    assert_eq!(child.wait().unwrap().code(), Some(6));
    container.remove();
}

pub(super) fn detached_and_logs<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    container.detached("", "echo one; echo two >&2; exec sleep 1000");
    wait_until("both lines are in the log", || {
        let out = container.quiet("logs @").ok();
        out.text() == "one" && out.stderr.trim() == "two"
    });
    assert_eq!(container.inspect("State.Status"), "running");
    container.call("stop --time 0 @").ok();
    assert_eq!(container.inspect("State.Status"), "exited");
    container.remove();
}

pub(super) fn exec_in_all_ways<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    container.detached("--env A=1", "exec sleep 1000");
    let out = container.exec("", "echo $A; exit 9");
    assert_eq!((out.code, out.text()), (9, "1"));
    let out = container.exec("--env A=2 --workdir /etc", "echo $A; pwd");
    assert_eq!(out.ok().lines(), ["2", "/etc"]);
    let out = container.exec("--user 1000:1000", "id -u; id -g").ok();
    assert_eq!(out.lines(), ["1000", "1000"]);
    let out = say_and_run(container.exec_command("-i", "cat"), b"typed");
    assert_eq!(out.ok().text(), "typed");
    let status = |options: &str| container.exec(options, "cat /proc/self/status").ok();
    assert!(status("--privileged").field("CapEff") > status("").field("CapEff"));
    container.call("exec --detach @ sleep 1001").ok();
    wait_until("the detached process runs", || {
        let out = container.quiet("exec @ ps -o args");
        out.stdout.contains("sleep 1001")
    });
    container.remove();
}

pub(super) fn stop_kill_wait<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let script =
        "trap 'exit 5' TERM; trap 'echo told' USR1; echo ready; while :; do sleep 0.1; done";
    container.detached("", script);
    wait_until("the traps are set", || {
        container.quiet("logs @").ok().text() == "ready"
    });
    container.call("kill --signal USR1 @").ok();
    wait_until("it was told", || {
        container.quiet("logs @").ok().text() == "ready\ntold"
    });
    container.call("stop --time 50 @").ok();
    assert_eq!(container.call("wait @").ok().text(), "5");
    container.call("start @").ok();
    container.call("kill @").ok();
    assert_eq!(container.call("wait @").ok().text(), "137");
    assert_ne!(container.call("kill @").code, 0);
    container.remove();
}

pub(super) fn restart<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    container.detached("", "echo life; exec sleep 1000");
    container.call("restart --time 0 @").ok();
    wait_until("it has lived twice", || {
        container.quiet("logs @").ok().text() == "life\nlife"
    });
    assert_eq!(container.inspect("State.Status"), "running");
    container.remove();
}

pub(super) fn pause_and_unpause<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    container.detached("", "exec sleep 1000");
    container.call("pause @").ok();
    assert_eq!(container.inspect("State.Status"), "paused");
    assert_ne!(container.exec("", "true").code, 0);
    container.call("unpause @").ok();
    assert_eq!(container.inspect("State.Status"), "running");
    container.exec("", "true").ok();
    container.call("pause @").ok();
    container.remove();
}

pub(super) fn init_reaps<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let out = container.sh("--init", "echo $$; cat /proc/1/comm").ok();
    assert_ne!(out.lines()[0], "1", "the shell is not the first: {out:?}");
    assert!(out.lines()[1].ends_with("init") || out.lines()[1] == "catatonit");
}

pub(super) fn read_only_root<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let script = "touch /x; touch /t/x && echo made";
    let out = container.sh("--read-only --tmpfs /t", script).ok();
    assert_eq!(out.text(), "made");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

pub(super) fn user_is_set<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let out = container.sh("--user tester", "id -un; echo $HOME").ok();
    assert_eq!(out.lines(), ["tester", "/home/tester"]);
    let script = "id -u; id -g; grep Groups /proc/self/status";
    let out = container.sh("--user 77:88 --group-add 99", script).ok();
    assert_eq!(out.lines()[..2], ["77", "88"]);
    assert!(out.lines()[2].contains("99"), "{out:?}");
}

/// Programs that are linked dynamically, and a user of a whole distribution.
pub(super) fn users_by_name<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    container.load(lab, &image::DEBIAN);
    let run = container.run_of(&image::DEBIAN, "--rm --user www-data", image::ASK_WWW_DATA);
    let out = say_and_run(run, b"").ok();
    assert_eq!(out.lines(), image::SAID_BY_WWW_DATA);
}

pub(super) fn capabilities_are_set<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let set = |options: &str| {
        let out = container.sh(options, "cat /proc/self/status").ok();
        out.field("CapEff")
    };
    assert_eq!(set("--cap-drop all"), "0000000000000000");
    assert_eq!(set("--cap-drop all --cap-add kill"), "0000000000000020");
}

pub(super) fn privileged<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let script = "mount -t tmpfs tmpfs /tmp && cat /proc/self/status";
    let status = container.sh("--privileged", script).ok();
    assert_eq!(status.field("Seccomp"), "0");
}

pub(super) fn security_options<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let status = |options: &str| container.sh(options, "cat /proc/self/status").ok();
    assert_eq!(status("").field("Seccomp"), "2");
    let status_of = |option: &str| status(&format!("--security-opt {option}"));
    assert_eq!(status_of("seccomp=unconfined").field("Seccomp"), "0");
    assert_eq!(status_of("no-new-privileges").field("NoNewPrivs"), "1");
    let profile = lab.join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    fs::write(&profile, text).unwrap();
    let options = format!("--security-opt seccomp={}", profile.display());
    let out = container.sh(&options, "mkdir /made");
    assert!(out.stderr.contains("not permitted"), "{out:?}");
}

/// A profile of the host's, loaded by the test.
pub(super) fn apparmor_profile<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let profile = container.name();
    crate::process::load_profile(lab, profile);
    let options = format!("--security-opt apparmor={profile}");
    let out = container.sh(&options, "cat /proc/self/attr/current").ok();
    assert_eq!(out.text(), format!("{profile} (enforce)"));
}

/// One that no container has by default: opening it is all that is granted or refused.
pub(super) fn a_device<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let script = "(: </dev/mine) && echo read; (: >/dev/mine) && echo written; true";
    let out = container.sh("--device /dev/fuse:/dev/mine:r", script).ok();
    assert_eq!(out.lines(), ["read"]);
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
    let out = container.sh("--device /dev/fuse:/dev/mine", script).ok();
    assert_eq!(out.lines(), ["read", "written"]);
}

pub(super) fn volumes<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let directory = lab.directory("volume");
    let bind = |options: &str| format!("-v {}:/v{options}", directory.display());
    container.sh(&bind(""), "echo x >/v/f").ok();
    assert_eq!(fs::read_to_string(directory.join("f")).unwrap(), "x\n");
    assert_ne!(container.sh(&bind(":ro"), "echo y >/v/f").code, 0);
    container.call("volume create @-v").ok();
    container.sh("-v @-v:/data", "echo kept >/data/f").ok();
    let out = container.sh("-v @-v:/data", "cat /data/f").ok();
    assert_eq!(out.text(), "kept");
    container.call("volume rm @-v").ok();
    let tmpfs = "--mount type=tmpfs,destination=/t,tmpfs-size=1048576";
    let out = container.sh(tmpfs, "df -k /t | tail -n 1").ok();
    assert!(out.text().contains("1024"), "{out:?}");
}

pub(super) fn limits_of_processes<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let options = "--ulimit nofile=99:100 --ulimit nproc=500:500 --oom-score-adj 500 \
                   --shm-size 2m --sysctl kernel.msgmax=4096";
    let script = "ulimit -n; cat /proc/self/oom_score_adj /proc/sys/kernel/msgmax; \
                  df -k /dev/shm | tail -n 1; grep processes /proc/self/limits";
    let out = container.sh(options, script).ok();
    assert_eq!(out.lines()[..3], ["99", "500", "4096"]);
    assert!(out.lines()[3].contains("2048"), "{out:?}");
    let words: Vec<&str> = out.lines()[4].split_whitespace().collect();
    assert_eq!(words, ["Max", "processes", "500", "500", "processes"]);
}

pub(super) fn other_namespaces<C: Container>(lab: &Lab) {
    let container = C::new(lab);
    let ours = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let out = container.sh(
        "--pid host --ipc host --uts host --cgroupns host",
        "for n in pid ipc uts cgroup; do readlink /proc/self/ns/$n; done",
    );
    let expected = ["pid", "ipc", "uts", "cgroup"].map(ours);
    let expected = expected.each_ref().map(|link| link.to_str().unwrap());
    assert_eq!(out.ok().lines(), expected);
    container.detached("", "sleep 1001 & exec sleep 1002");
    let other = C::new(lab);
    let options = format!(
        "--pid container:{0} --network container:{0}",
        container.name()
    );
    let out = other.sh(&options, "ps -o args | grep ^sleep").ok();
    assert_eq!(out.lines().len(), 2);
    container.remove();
}
