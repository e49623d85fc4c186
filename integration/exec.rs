//! Further processes in a running container.

use crate::support::{Bundle, Lab, cases, finish};
use serde_json::json;
use std::fs;

cases! {
    [Root] => it_is_in_all_namespaces, exit_code_is_the_processes, environment_and_directory, user_and_group, user_that_is_missing_is_root, nobodys_id_is_an_error, process_file,
        detached_with_pid_file, no_pid_file_after_a_failure, arguments_with_dashes, exec_in_a_stopped_container,
        exec_in_a_created_container, stdin_reaches_it, config_user_is_the_default, no_new_privileges_is_the_configs,
        many_at_once, working_directory_is_the_configs, masks_hold_for_exec, added_capability;
    [Root, Casulo] => failure_to_start_is_255, added_capability_is_not_inheritable, no_descriptors_leak, unknown_user_text,
        no_new_privileges_option, process_file_has_the_whole_process, death_by_signal, oom_score_and_limits_of_the_process;
    [Root, Casulo] => cgroup_below_the_containers;
    [Root, Casulo, TwoCpus] => exec_affinity;
}

fn sleeping<'lab>(lab: &'lab Lab) -> Bundle<'lab> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle
}

fn it_is_in_all_namespaces(lab: &Lab) {
    let bundle = sleeping(lab);
    let out = bundle.exec("for n in pid net ipc uts mnt cgroup user; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done").ok();
    assert_eq!(out.text(), "");
    let out = bundle
        .exec("ls -d /etc/passwd; hostname; cat /proc/self/cgroup | grep ^0")
        .ok();
    assert_eq!(out.lines(), ["/etc/passwd", "bundle", "0::/"]);
}

fn exit_code_is_the_processes(lab: &Lab) {
    let bundle = sleeping(lab);
    for code in [0, 3, 77] {
        assert_eq!(bundle.exec(&format!("exit {code}")).code, code);
    }
    assert_eq!(bundle.status(), "running");
}

fn death_by_signal(lab: &Lab) {
    assert_eq!(sleeping(lab).exec("kill -KILL $$").code, 128 + 9);
}

fn failure_to_start_is_255(lab: &Lab) {
    let bundle = sleeping(lab);
    let out = bundle.call("exec", &[], &["/no/such/program"]);
    assert_eq!(out.code, 255, "{out:?}");
    out.fails_with(&["/no/such/program", "o such file or directory"]);
}

fn environment_and_directory(lab: &Lab) {
    let bundle = sleeping(lab);
    let out = bundle.call(
        "exec",
        &["--env", "A=1", "--env", "B=2", "--cwd", "/etc"],
        &["/bin/sh", "-c", "echo $A $B; pwd; echo $PATH"],
    );
    assert_eq!(out.ok().lines(), ["1 2", "/etc", "/usr/bin:/bin"]);
}

fn working_directory_is_the_configs(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/process/cwd", json!("/home"))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert_eq!(bundle.exec("pwd").ok().text(), "/home");
}

fn user_and_group(lab: &Lab) {
    let bundle = sleeping(lab);
    let out = bundle
        .call(
            "exec",
            &["--user", "1000:1001"],
            &["/bin/cat", "/proc/self/status"],
        )
        .ok();
    assert_eq!(out.field("Uid").split_whitespace().next(), Some("1000"));
    assert_eq!(out.field("Gid").split_whitespace().next(), Some("1001"));
    assert_eq!(out.field("CapEff"), "0000000000000000");
}

fn user_that_is_missing_is_root(lab: &Lab) {
    let ids = "id -u; id -g";
    let bundle = lab.bundle().sh(ids).remove("/process/user");
    assert_eq!(bundle.run().ok().lines(), ["0", "0"]);
    // Whoever the container's own process is.
    let bundle = sleeping_as(lab, 7);
    let file = lab.join("process.json");
    let process =
        json!({"args": ["/bin/sh", "-c", ids], "env": ["PATH=/bin:/usr/bin"], "cwd": "/"});
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let out = bundle.call("exec", &["--process", &file.to_string_lossy()], &[]);
    assert_eq!(out.ok().lines(), ["0", "0"]);
}

fn sleeping_as<'lab>(lab: &'lab Lab, id: u32) -> Bundle<'lab> {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let bundle = bundle.set("/process/user", json!({"uid": id, "gid": id}));
    bundle.run_detached();
    bundle
}

fn unknown_user_text(lab: &Lab) {
    // A uid with rubbish behind it must never be taken for the uid (CVE-2026-30892).
    let bundle = sleeping(lab);
    for user in [
        "1000x",
        "0x0",
        "1000:",
        ":5",
        "-1",
        "4294967296",
        "root:root:root",
        "",
    ] {
        let out = bundle.call("exec", &["--user", user], &["/bin/id", "-u"]);
        assert_ne!(out.code, 0, "{user:?}: {out:?}");
    }
}

fn config_user_is_the_default(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert_eq!(bundle.exec("id -u").ok().text(), "1000");
}

fn process_file(lab: &Lab) {
    let bundle = sleeping(lab);
    let file = lab.join("process.json");
    let process = json!({
        "user": {"uid": 7, "gid": 8},
        "args": ["/bin/sh", "-c", "id -u; id -g; echo $A; pwd"],
        "env": ["PATH=/bin", "A=b"],
        "cwd": "/etc"
    });
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let out = bundle
        .call("exec", &["--process", &file.to_string_lossy()], &[])
        .ok();
    assert_eq!(out.lines(), ["7", "8", "b", "/etc"]);
}

/// CVE-2024-40635, by each way that an exec gets an id.
fn nobodys_id_is_an_error(lab: &Lab) {
    let bundle = sleeping(lab);
    let file = lab.join("process.json");
    for user in [
        json!({"uid": u32::MAX, "gid": 0}),
        json!({"uid": 0, "gid": u32::MAX}),
        json!({"uid": 0, "gid": 0, "additionalGids": [u32::MAX]}),
    ] {
        let process = json!({"user": user, "args": ["/bin/id"], "env": ["PATH=/bin"], "cwd": "/"});
        fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
        let out = bundle.call("exec", &["--process", &file.to_string_lossy()], &[]);
        out.fails_with(&["user.", "4294967295"]);
    }
    let out = bundle.call("exec", &["--additional-gids", "4294967295"], &["/bin/id"]);
    out.fails_with(&["4294967295"]);
}

fn process_file_has_the_whole_process(lab: &Lab) {
    let bundle = sleeping(lab);
    let file = lab.join("process.json");
    let process = json!({
        "user": {"uid": 0, "gid": 0, "umask": 0o077, "additionalGids": [9]},
        "args": ["/bin/sh", "-c", "umask; cat /proc/self/status"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "noNewPrivileges": true,
        "capabilities": {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}
    });
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let out = bundle
        .call("exec", &["--process", &file.to_string_lossy()], &[])
        .ok();
    assert_eq!(out.lines()[0], "0077");
    assert_eq!(out.field("Groups"), "9");
    assert_eq!(out.field("NoNewPrivs"), "1");
    assert_eq!(out.field("CapBnd"), "0000000000000020");
}

fn oom_score_and_limits_of_the_process(lab: &Lab) {
    let bundle = sleeping(lab);
    let file = lab.join("process.json");
    let process = json!({
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", "-c", "cat /proc/self/oom_score_adj; ulimit -n"],
        "env": ["PATH=/bin"], "cwd": "/", "oomScoreAdj": 444,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]
    });
    fs::write(&file, serde_json::to_vec(&process).unwrap()).unwrap();
    let out = bundle
        .call("exec", &["--process", &file.to_string_lossy()], &[])
        .ok();
    assert_eq!(out.lines(), ["444", "99"]);
}

fn detached_with_pid_file(lab: &Lab) {
    let bundle = sleeping(lab);
    let file = lab.join("exec.pid");
    bundle
        .call(
            "exec",
            &["--detach", "--pid-file", &file.to_string_lossy()],
            &["/bin/sleep", "1001"],
        )
        .ok();
    let pid = fs::read_to_string(&file).unwrap();
    crate::support::wait_until("it runs", || {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        line == "/bin/sleep\x001001\x00"
    });
    let cgroup = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).unwrap();
    assert!(cgroup.lines().any(|line| line == pid), "{cgroup}");
}

fn no_pid_file_after_a_failure(lab: &Lab) {
    let bundle = sleeping(lab);
    let file = lab.join("exec.pid");
    bundle
        .call(
            "exec",
            &["--pid-file", &file.to_string_lossy()],
            &["/no/such/program"],
        )
        .fails_with(&["/no/such/program", "no such file or directory"]);
    assert!(!file.exists());
}

fn arguments_with_dashes(lab: &Lab) {
    let bundle = sleeping(lab);
    let out = bundle
        .call(
            "exec",
            &[],
            &["/bin/echo", "--user", "-x", "--", "-e", "end"],
        )
        .ok();
    assert!(out.text().contains("--user -x -- -e end"), "{out:?}");
}

fn exec_in_a_stopped_container(lab: &Lab) {
    let bundle = lab.bundle();
    bundle.run_detached();
    bundle.wait_stopped();
    bundle.exec("true").fails_with(&["not running"]);
}

fn exec_in_a_created_container(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    // runc allows it, and engines' hooks have come to rely on it.
    let out = bundle.exec("echo inside");
    assert!(out.code != 0 || out.text() == "inside", "{out:?}");
    assert_eq!(bundle.status(), "created");
}

fn stdin_reaches_it(lab: &Lab) {
    let bundle = sleeping(lab);
    let mut command = lab.command();
    command.args(["exec", bundle.id(), "/bin/tr", "a-z", "A-Z"]);
    assert_eq!(finish(command, b"quiet").ok().text(), "QUIET");
}

fn no_new_privileges_is_the_configs(lab: &Lab) {
    let out = sleeping(lab).exec("cat /proc/self/status").ok();
    assert_eq!(out.field("NoNewPrivs"), "1");
}

fn no_new_privileges_option(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/process/noNewPrivileges", json!(false))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert_eq!(
        bundle
            .exec("cat /proc/self/status")
            .ok()
            .field("NoNewPrivs"),
        "0"
    );
    let out = bundle
        .call(
            "exec",
            &["--no-new-privs"],
            &["/bin/cat", "/proc/self/status"],
        )
        .ok();
    assert_eq!(out.field("NoNewPrivs"), "1");
}

fn added_capability(lab: &Lab) {
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_KILL"])
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle
        .call(
            "exec",
            &["--cap", "CAP_CHOWN"],
            &["/bin/cat", "/proc/self/status"],
        )
        .ok();
    assert_eq!(
        u64::from_str_radix(&out.field("CapEff"), 16).unwrap() & 1,
        1
    );
}

fn added_capability_is_not_inheritable(lab: &Lab) {
    // CVE-2022-29162.
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_KILL"])
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle
        .call(
            "exec",
            &["--cap", "CAP_CHOWN"],
            &["/bin/cat", "/proc/self/status"],
        )
        .ok();
    assert_eq!(out.field("CapInh"), "0000000000000000");
    assert_eq!(out.field("CapAmb"), "0000000000000000");
}

fn no_descriptors_leak(lab: &Lab) {
    let bundle = sleeping(lab);
    let mut inner = lab.command();
    inner.args(["exec", bundle.id(), "/bin/ls", "/proc/self/fd"]);
    let out = lab.through_shell("exec \"$@\" 3</ 5</ 9</", &inner).ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3"]);
}

fn many_at_once(lab: &Lab) {
    let bundle = sleeping(lab);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..6)
            .map(|n| {
                let mut command = lab.command();
                command.args(["exec", bundle.id(), "/bin/echo", &n.to_string()]);
                scope.spawn(move || finish(command, b"").ok().text().to_owned())
            })
            .collect();
        for (n, thread) in all.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), n.to_string());
        }
    });
}

fn masks_hold_for_exec(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/linux/maskedPaths", json!(["/etc/passwd"]))
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    assert_eq!(bundle.exec("wc -c </etc/passwd").ok().text(), "0");
}

fn exec_affinity(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set(
            "/process/execCPUAffinity",
            json!({"initial": "0", "final": "1"}),
        )
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle.exec("grep Cpus_allowed_list /proc/self/status").ok();
    assert_eq!(out.field("Cpus_allowed_list"), "1");
}

fn cgroup_below_the_containers(lab: &Lab) {
    let bundle = sleeping(lab);
    fs::create_dir_all(bundle.cgroup().join("below/deep")).unwrap();
    for below in ["below", "/below/deep"] {
        let out = bundle.call(
            "exec",
            &["--cgroup", below],
            &["/bin/cat", "/proc/self/cgroup"],
        );
        let cgroup = out
            .ok()
            .lines()
            .into_iter()
            .find_map(|line| line.strip_prefix("0::/").map(str::to_owned));
        assert_eq!(cgroup.as_deref(), Some(below.trim_start_matches('/')));
    }
    for outside in ["..", "below/../.."] {
        bundle
            .call("exec", &["--cgroup", outside], &["/bin/true"])
            .fails_with(&[outside]);
    }
}
