//! The process: identity, environment, limits, scheduling, and how its end is reported.

use crate::support::{Lab, cases, field};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

cases! {
    [Root] => user_and_groups, nobodys_id_is_an_error, umask_is_set, default_umask, cwd_is_entered, missing_cwd_is_made_or_an_error, relative_cwd_is_an_error,
        environment_is_exactly_the_configs, last_duplicate_of_a_variable_wins, home_comes_from_the_containers_passwd,
        a_given_home_is_kept, program_is_found_by_the_containers_path, missing_program, program_that_is_a_directory,
        program_without_execute_bit, missing_interpreter, no_args_is_an_error, exit_code_is_passed_on,
        death_by_signal_is_128_and_the_signal, stdin_reaches_the_process, stderr_reaches_the_caller,
        no_new_privileges_is_set, no_new_privileges_is_left, lower_limit_is_set, oom_score_adj_is_set, personality_is_set,
        signals_are_neither_blocked_nor_ignored, only_three_descriptors_are_open, preserved_descriptors_are_open,
        scheduler_policy_and_nice, io_priority_is_set, unknown_limit_is_an_error, death_signal_is_cleared,
        script_with_interpreter_runs, user_name_needs_no_passwd_entry, process_is_not_in_our_session_keyring,
        oom_score_adj_of_the_runtime_is_inherited;
    [Root, Casulo] => listen_fds_are_preserved, original_groups_are_kept, no_new_keyring_keeps_the_callers,
        unknown_personality_is_an_error, extra_descriptors_are_not_leaked_by_a_gap;
    [Root, Program("/usr/bin/setpriv")] => raising_a_limit_that_is_refused, groups_of_the_caller_are_dropped;
    [Root, TwoCpus, Program("/usr/bin/taskset")] => affinity_of_the_caller_is_undone;
    [Root, SysResource] => raised_limit_is_set;
    [Root, Numa] => memory_policy_is_set;
    [Root, AppArmor] => apparmor_profile_is_applied, apparmor_profile_that_is_missing;
    [Root, Selinux] => selinux_label_is_applied;
}

fn user_and_groups(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/process/user",
            json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000]}),
        )
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(
        out.field("Uid").split_whitespace().collect::<Vec<_>>(),
        ["1000"; 4]
    );
    assert_eq!(
        out.field("Gid").split_whitespace().collect::<Vec<_>>(),
        ["1001"; 4]
    );
    let groups = out.field("Groups");
    let mut groups: Vec<&str> = groups.split_whitespace().collect();
    groups.sort_unstable();
    assert_eq!(groups, ["2000", "5"]);
}

/// CVE-2024-40635: -1 leaves the id as it is, and that is root's.
fn nobodys_id_is_an_error(lab: &Lab) {
    let id = u32::MAX;
    let rows = [
        ("/process/user/uid", json!(id)),
        ("/process/user/gid", json!(id)),
        ("/process/user/additionalGids", json!([id])),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": id}]),
        ),
        (
            "/linux/devices",
            json!([{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "gid": id}]),
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": id, "hostID": 0, "size": 1}]),
        ),
    ];
    for (field, value) in rows {
        let field_name = field.trim_start_matches('/').replace('/', ".");
        let out = lab.bundle().set(field, value).sh("id").run();
        let out = out.fails_with(&[field_name.as_str()]);
        assert_eq!(out.stdout, "", "{field}");
    }
}

fn umask_is_set(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/process/user/umask", json!(0o027))
        .sh("umask; touch /f; stat -c %a /f")
        .run()
        .ok();
    assert_eq!(out.lines(), ["0027", "640"]);
}

fn default_umask(lab: &Lab) {
    assert_eq!(lab.bundle().sh("umask").run().ok().text(), "0022");
}

fn cwd_is_entered(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/process/cwd", json!("/home/tester"))
        .args(&["/bin/pwd"])
        .run()
        .ok();
    assert_eq!(out.text(), "/home/tester");
}

fn missing_cwd_is_made_or_an_error(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/process/cwd", json!("/new/directory"))
        .args(&["/bin/pwd"])
        .run();
    assert!(
        out.code == 0 && out.text() == "/new/directory" || out.stderr.contains("/new/directory"),
        "{out:?}"
    );
}

fn relative_cwd_is_an_error(lab: &Lab) {
    lab.bundle()
        .set("/process/cwd", json!("home"))
        .run()
        .fails_with(&["cwd"]);
}

fn environment_is_exactly_the_configs(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/process/env",
            json!(["PATH=/bin", "HOME=/root", "A=1 2", "EMPTY="]),
        )
        .args(&["/bin/env"])
        .run()
        .ok();
    let mut lines = out.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["A=1 2", "EMPTY=", "HOME=/root", "PATH=/bin"]);
}

fn last_duplicate_of_a_variable_wins(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/process/env",
            json!(["PATH=/bin", "A=first", "HOME=/", "A=last"]),
        )
        .args(&["/bin/env"])
        .run()
        .ok();
    let lines = out.lines();
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("A="))
            .collect::<Vec<_>>(),
        [&"A=last"]
    );
}

fn home_comes_from_the_containers_passwd(lab: &Lab) {
    for (uid, home) in [(0, "/root"), (1000, "/home/tester")] {
        let out = lab
            .bundle()
            .set("/process/user/uid", json!(uid))
            .sh("echo $HOME")
            .run()
            .ok();
        assert_eq!(out.text(), home);
    }
}

fn a_given_home_is_kept(lab: &Lab) {
    let out = lab
        .bundle()
        .push("/process/env", json!("HOME=/elsewhere"))
        .sh("echo $HOME")
        .run()
        .ok();
    assert_eq!(out.text(), "/elsewhere");
}

fn user_name_needs_no_passwd_entry(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/process/user/uid", json!(4711))
        .sh("id -u; echo $HOME")
        .run()
        .ok();
    assert_eq!(out.lines(), ["4711", "/"]);
}

fn program_is_found_by_the_containers_path(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/process/env", json!(["PATH=/nowhere:/opt/tools"]))
        .args(&["tool"]);
    fs::create_dir_all(bundle.rootfs().join("opt/tools")).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", bundle.rootfs().join("opt/tools/tool")).unwrap();
    // busybox under a name it does not know says so: it was found and run.
    bundle.run().fails_with(&["applet not found"]);
}

fn missing_program(lab: &Lab) {
    lab.bundle()
        .args(&["no-such-program"])
        .run()
        .fails_with(&["executable file", "no-such-program"]);
    lab.bundle()
        .args(&["/no/such/program"])
        .run()
        .fails_with(&["o such file or directory", "/no/such/program"]);
}

fn program_that_is_a_directory(lab: &Lab) {
    let out = lab.bundle().args(&["/etc"]).run();
    assert_ne!(out.code, 0);
    let said = out.stderr.to_lowercase();
    assert!(
        said.contains("permission denied") || said.contains("is a directory"),
        "{out:?}"
    );
}

fn program_without_execute_bit(lab: &Lab) {
    let out = lab.bundle().args(&["/etc/passwd"]).run();
    assert_ne!(out.code, 0);
    assert!(
        out.stderr.to_lowercase().contains("permission denied"),
        "{out:?}"
    );
}

fn missing_interpreter(lab: &Lab) {
    let bundle = lab.bundle().args(&["/script"]);
    let script = bundle.rootfs().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    bundle.run().fails_with(&["o such file or directory"]);
}

fn script_with_interpreter_runs(lab: &Lab) {
    let bundle = lab.bundle().args(&["/script", "one"]);
    let script = bundle.rootfs().join("script");
    fs::write(&script, "#!/bin/sh\necho \"$0 $1\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(bundle.run().ok().text(), "/script one");
}

fn no_args_is_an_error(lab: &Lab) {
    lab.bundle().args(&[]).run().fails_with(&["args"]);
}

fn exit_code_is_passed_on(lab: &Lab) {
    for code in [0, 1, 42, 255] {
        assert_eq!(lab.bundle().sh(&format!("exit {code}")).run().code, code);
    }
}

fn death_by_signal_is_128_and_the_signal(lab: &Lab) {
    // Pid 1 of a pid namespace survives a signal without handler: the host's namespace it is.
    let bundle = lab.bundle().without_namespace("pid").sh("kill -TERM $$");
    assert_eq!(bundle.run().code, 128 + 15);
}

fn stdin_reaches_the_process(lab: &Lab) {
    let out = lab
        .bundle()
        .args(&["/bin/tr", "a-z", "A-Z"])
        .run_with(&[], b"quiet words")
        .ok();
    assert_eq!(out.text(), "QUIET WORDS");
}

fn stderr_reaches_the_caller(lab: &Lab) {
    let out = lab.bundle().sh("echo to stderr >&2").run().ok();
    assert_eq!(out.stderr, "to stderr\n");
    assert_eq!(out.stdout, "");
}

fn no_new_privileges_is_set(lab: &Lab) {
    let out = lab
        .bundle()
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(out.field("NoNewPrivs"), "1");
}

fn no_new_privileges_is_left(lab: &Lab) {
    let bundle = lab.bundle().set("/process/noNewPrivileges", json!(false));
    let out = bundle.args(&["/bin/cat", "/proc/self/status"]).run().ok();
    assert_eq!(out.field("NoNewPrivs"), "0");
}

fn lower_limit_is_set(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),
        )
        .args(&["/bin/cat", "/proc/self/limits"])
        .run()
        .ok();
    let words = |name: &str| -> Vec<String> {
        let line = out
            .lines()
            .into_iter()
            .find(|line| line.starts_with(name))
            .unwrap();
        line[name.len()..]
            .split_whitespace()
            .take(2)
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(words("Max open files"), ["64", "128"]);
    assert_eq!(words("Max core file size"), ["0", "0"]);
}

fn raised_limit_is_set(lab: &Lab) {
    let limit = json!([{"type": "RLIMIT_MEMLOCK", "soft": 1_u64 << 40, "hard": 1_u64 << 41}]);
    let out = lab
        .bundle()
        .set("/process/rlimits", limit)
        .sh("ulimit -l; ulimit -Hl")
        .run()
        .ok();
    assert_eq!(
        out.lines(),
        [(1_u64 << 30).to_string(), (1_u64 << 31).to_string()]
    );
}

fn raising_a_limit_that_is_refused(lab: &Lab) {
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1 << 30, "hard": 1 << 30}]);
    let bundle = lab.bundle().set("/process/rlimits", limit);
    let inner = bundle.command(&[], "run", &[]);
    let script = "exec setpriv --bounding-set -sys_resource \"$@\"";
    lab.through_shell(script, &inner)
        .fails_with(&["not permitted"]);
    lab.assert_nothing_left(bundle.id());
}

fn unknown_limit_is_an_error(lab: &Lab) {
    let limit = json!([{"type": "RLIMIT_PATIENCE", "soft": 1, "hard": 1}]);
    lab.bundle()
        .set("/process/rlimits", limit)
        .run()
        .fails_with(&["RLIMIT_PATIENCE"]);
}

fn oom_score_adj_is_set(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/process/oomScoreAdj", json!(500))
        .args(&["/bin/cat", "/proc/self/oom_score_adj"]);
    assert_eq!(out.run().ok().text(), "500");
}

fn oom_score_adj_of_the_runtime_is_inherited(lab: &Lab) {
    let ours = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let out = lab
        .bundle()
        .args(&["/bin/cat", "/proc/self/oom_score_adj"])
        .run()
        .ok();
    assert_eq!(out.text(), ours.trim());
}

fn personality_is_set(lab: &Lab) {
    // ADDR_NO_RANDOMIZE has no word in the spec; the domain LINUX32 changes what uname says.
    let out = lab
        .bundle()
        .set("/linux/personality", json!({"domain": "LINUX32"}))
        .sh("uname -m")
        .run()
        .ok();
    assert_ne!(out.text(), std::env::consts::ARCH);
}

fn unknown_personality_is_an_error(lab: &Lab) {
    lab.bundle()
        .set("/linux/personality", json!({"domain": "PLAN9"}))
        .run()
        .fails_with(&["linux.personality.domain", "PLAN9"]);
}

fn signals_are_neither_blocked_nor_ignored(lab: &Lab) {
    let out = lab
        .bundle()
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    for field in ["SigBlk", "SigIgn"] {
        assert_eq!(
            u64::from_str_radix(&out.field(field), 16).unwrap(),
            0,
            "{field}"
        );
    }
}

fn only_three_descriptors_are_open(lab: &Lab) {
    // The fourth is ls's own, on the directory it lists.
    let out = lab.bundle().args(&["/bin/ls", "/proc/self/fd"]).run().ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3"]);
}

fn preserved_descriptors_are_open(lab: &Lab) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "kept").unwrap();
    let bundle = lab.bundle().args(&["/bin/cat", "/proc/self/fd/3"]);
    let script = format!("exec \"$@\" 3<{0} 4<{0}", file.path().display());
    let inner = bundle.command(&[], "run", &["--preserve-fds", "2"]);
    let out = lab.through_shell(&script, &inner).ok();
    assert_eq!(out.text(), "kept");
}

fn extra_descriptors_are_not_leaked_by_a_gap(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/ls", "/proc/self/fd"]);
    let inner = bundle.command(&[], "run", &["--preserve-fds", "2"]);
    let out = lab
        .through_shell(
            "exec \"$@\" 3</dev/null 4</dev/null 5</dev/null 7</dev/null",
            &inner,
        )
        .ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3", "4", "5"]);
}

fn listen_fds_are_preserved(lab: &Lab) {
    let bundle = lab
        .bundle()
        .sh("ls /proc/self/fd; echo \"$LISTEN_FDS $LISTEN_PID\"");
    let mut inner = bundle.command(&[], "run", &[]);
    inner.env("LISTEN_FDS", "1");
    let out = lab
        .through_shell("LISTEN_PID=$$ exec \"$@\" 3</dev/null", &inner)
        .ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3", "4", "1 1"]);
}

fn original_groups_are_kept(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/annotations", json!({"run.oci.keep_original_groups": "1"}))
        .args(&["/bin/cat", "/proc/self/status"]);
    let inner = bundle.command(&[], "run", &[]);
    let out = lab
        .through_shell("exec setpriv --groups 7,77 \"$@\"", &inner)
        .ok();
    assert_eq!(
        out.field("Groups").split_whitespace().collect::<Vec<_>>(),
        ["7", "77"]
    );
}

fn death_signal_is_cleared(lab: &Lab) {
    // PR_GET_PDEATHSIG is 2 and writes to a pointer; the effect is what counts: the caller sets
    // one, ends, and the container lives on.
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let inner = bundle.command(&[], "run", &["--detach"]);
    lab.through_shell("setpriv --pdeathsig KILL \"$@\"; exit $?", &inner)
        .ok();
    assert_eq!(bundle.status(), "running");
}

fn scheduler_policy_and_nice(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 5}),
        )
        .sh("cut -d' ' -f19,41 /proc/self/stat")
        .run()
        .ok();
    assert_eq!(out.text(), "5 3");
}

fn io_priority_is_set(lab: &Lab) {
    let get = libc::SYS_ioprio_get.to_string();
    let out = lab
        .bundle()
        .set(
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
        )
        .args(&["/bin/probe", "syscall", &get, "1", "0"])
        .run()
        .ok();
    // Class 2 (best effort) in the bits from 13 on.
    assert_eq!(out.text(), format!("ok {}", 2 << 13 | 6));
}

fn affinity_of_the_caller_is_undone(lab: &Lab) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ours = field(&status, "Cpus_allowed_list");
    let first = ours.split(['-', ',']).next().unwrap();
    assert_ne!(first, ours, "the tests may use one CPU alone");
    let pinned = format!("exec taskset --cpu-list {first} \"$@\"");
    let bundle = lab.bundle().sh("cat /proc/self/status; exec sleep 1000");
    let running = lab.through_shell(&pinned, &bundle.command(&[], "create", &[]));
    running.ok();
    let of = |pid: i32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert_eq!(field(&of(bundle.pid()), "Cpus_allowed_list"), ours);
    bundle.verb("start").ok();
    let mut exec = lab.command();
    exec.args(["exec", bundle.id(), "/bin/cat", "/proc/self/status"]);
    let out = lab.through_shell(&pinned, &exec).ok();
    assert_eq!(out.field("Cpus_allowed_list"), ours);
}

fn groups_of_the_caller_are_dropped(lab: &Lab) {
    let none: [&str; 0] = [];
    let called = "exec setpriv --groups 7,77 \"$@\"";
    let groups = |command: &std::process::Command| {
        let out = lab.through_shell(called, command).ok();
        assert!(out.stdout.contains("Groups:"), "{out:?}");
        out.field("Groups")
    };
    let show = ["/bin/cat", "/proc/self/status"];
    for user in [
        json!({"uid": 0, "gid": 0}),
        json!({"uid": 1000, "gid": 1000}),
    ] {
        let bundle = lab.bundle().set("/process/user", user.clone()).args(&show);
        let seen = groups(&bundle.command(&[], "run", &[]));
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), none, "{user}");
        let bundle = lab
            .bundle()
            .set("/process/user", user.clone())
            .args(&["/bin/sleep", "1000"]);
        bundle.run_detached();
        let mut exec = lab.command();
        exec.args(["exec", bundle.id()]).args(show);
        let seen = groups(&exec);
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), none, "{user}");
    }
}

fn memory_policy_is_set(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}),
        )
        .args(&["/bin/cat", "/proc/self/numa_maps"])
        .run()
        .ok();
    assert!(out.stdout.contains("interleave:0"), "{out:?}");
}

fn process_is_not_in_our_session_keyring(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/probe", "keyring"]);
    let out = bundle.run().ok();
    assert!(out.text().contains(bundle.id()), "{out:?}");
}

fn no_new_keyring_keeps_the_callers(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/probe", "keyring"]);
    let out = bundle.run_with(&["--no-new-keyring"], b"").ok();
    assert!(!out.stdout.contains(bundle.id()), "{out:?}");
}

/// Loads an AppArmor profile that forbids writing below /forbidden.
pub(crate) fn load_profile(lab: &Lab, name: &str) {
    let file = lab.join("profile");
    let text = format!(
        "profile {name} flags=(attach_disconnected,mediate_deleted) {{ file, capability, network, signal, ptrace, deny /forbidden/** w, }}\n"
    );
    fs::write(&file, text).unwrap();
    let done = std::process::Command::new("/sbin/apparmor_parser")
        .arg("-r")
        .arg(&file)
        .status()
        .unwrap();
    assert!(done.success());
}

fn apparmor_profile_is_applied(lab: &Lab) {
    load_profile(lab, "casulo-integration");
    let bundle = lab
        .bundle()
        .set("/process/apparmorProfile", json!("casulo-integration"))
        .sh("cat /proc/self/attr/current; touch /forbidden/f 2>/dev/null || echo denied");
    fs::create_dir(bundle.rootfs().join("forbidden")).unwrap();
    let out = bundle.run().ok();
    assert_eq!(out.lines(), ["casulo-integration (enforce)", "denied"]);
}

fn apparmor_profile_that_is_missing(lab: &Lab) {
    lab.bundle()
        .set("/process/apparmorProfile", json!("no-such-profile"))
        .run()
        .fails_with(&["no-such-profile"]);
}

fn selinux_label_is_applied(lab: &Lab) {
    let label = "system_u:system_r:unconfined_t:s0";
    let out = lab
        .bundle()
        .set("/process/selinuxLabel", json!(label))
        .args(&["/bin/cat", "/proc/self/attr/current"])
        .run()
        .ok();
    assert_eq!(out.text().trim_end_matches('\0'), label);
}
