//! Seccomp: what a filter lets through, refuses, logs or hands to a listener.

use crate::support::{Answer, Bundle, Lab, Listener, Running, answer, cases, next_call};
use serde_json::{Value, json};

cases! {
    [Root] => filter_mode_is_on, listed_call_gets_its_errno, default_errno_is_eperm, killed_call_kills, argument_decides,
        masked_argument_decides, unknown_call_names_are_skipped, allowed_by_default, filter_without_no_new_privileges,
        ordinary_user_with_no_new_privileges, all_architectures_are_accepted, unknown_action, unknown_architecture,
        log_action_lets_through, filter_holds_for_exec, several_rules_for_one_call, flags_are_accepted;
    [Root, Casulo] => newer_than_the_profile_is_enosys, unknown_operator, second_run_uses_the_same_filter, listener_gets_the_calls, receiver_gets_the_calls, listener_gets_a_state_of_any_length,
        listener_without_anybody_there, listener_path_without_notify, unknown_flag, two_conditions_on_one_argument,
        filter_does_not_hinder_the_runtime;
}

/// Calls that the shell and its programs need.
const NEEDED: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "clone",
    "clone3",
    "close",
    "dup",
    "dup2",
    "dup3",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fcntl",
    "fork",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "mmap",
    "mprotect",
    "munmap",
    "newfstatat",
    "open",
    "openat",
    "pipe",
    "pipe2",
    "poll",
    "pread64",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sendfile",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setuid",
    "sigaltstack",
    "stat",
    "statx",
    "tgkill",
    "uname",
    "umask",
    "unlink",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
    "capget",
    "capset",
    "fchdir",
    "chdir",
    "setresuid",
    "setresgid",
    "sched_getaffinity",
    "close_range",
    "madvise",
    "mremap",
    "gettid",
    "kill",
    "sync",
    "nanosleep",
    "clock_nanosleep",
    "fchown",
    "getxattr",
    "openat2",
    "seccomp",
    "execveat",
    "recvmsg",
    "sendmsg",
];

fn deny_listed(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

fn with<'lab>(lab: &'lab Lab, filter: Value) -> Bundle<'lab> {
    lab.bundle().set("/linux/seccomp", filter)
}

/// What the probe says of system call `number` under a filter.
fn call(lab: &Lab, filter: Value, number: i64, args: &[&str]) -> String {
    let number = number.to_string();
    let args = [&["/bin/probe", "syscall", &number], args].concat();
    with(lab, filter).args(&args).run().ok().text().to_owned()
}

fn filter_mode_is_on(lab: &Lab) {
    let out = with(lab, deny_listed(json!([])))
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    // A filter that allows everything may be left out; one with a rule may not.
    assert!(["0", "2"].contains(&out.field("Seccomp").as_str()));
    let filter = deny_listed(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    let out = with(lab, filter)
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(out.field("Seccomp"), "2");
}

fn listed_call_gets_its_errno(lab: &Lab) {
    let rule =
        json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOMEM}]);
    assert_eq!(
        call(lab, deny_listed(rule), libc::SYS_getpriority, &["0", "0"]),
        "errno ENOMEM"
    );
}

fn default_errno_is_eperm(lab: &Lab) {
    let rule = json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]);
    assert_eq!(
        call(lab, deny_listed(rule), libc::SYS_getpriority, &["0", "0"]),
        "errno EPERM"
    );
}

fn killed_call_kills(lab: &Lab) {
    let rule = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]);
    let bundle = with(lab, deny_listed(rule)).sh("mkdir /new; echo $?");
    assert_eq!(bundle.run().ok().text(), (128 + libc::SIGSYS).to_string());
}

fn argument_decides(lab: &Lab) {
    let rule = json!([{
        "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENODEV,
        "args": [{"index": 1, "value": 1, "op": "SCMP_CMP_EQ"}]
    }]);
    assert_eq!(
        call(
            lab,
            deny_listed(rule.clone()),
            libc::SYS_getpriority,
            &["0", "1"]
        ),
        "errno ENODEV"
    );
    assert_eq!(
        call(lab, deny_listed(rule), libc::SYS_getpriority, &["0", "0"]),
        priority()
    );
}

fn masked_argument_decides(lab: &Lab) {
    // Docker's own rule for clone: no flags of a namespace.
    let rule = json!([{
        "names": ["personality"], "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 0, "value": 0x8, "valueTwo": 0x8, "op": "SCMP_CMP_MASKED_EQ"}]
    }]);
    assert_eq!(
        call(
            lab,
            deny_listed(rule.clone()),
            libc::SYS_personality,
            &["8"]
        ),
        "errno EPERM"
    );
    assert_eq!(
        call(lab, deny_listed(rule), libc::SYS_personality, &["0"]),
        "ok 0"
    );
}

fn several_rules_for_one_call(lab: &Lab) {
    let rule = |value: u64, errno: i32| {
        json!({
            "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
            "args": [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]
        })
    };
    let filter = deny_listed(json!([rule(1, libc::ENODEV), rule(2, libc::ENOSPC)]));
    assert_eq!(
        call(lab, filter.clone(), libc::SYS_getpriority, &["0", "1"]),
        "errno ENODEV"
    );
    assert_eq!(
        call(lab, filter.clone(), libc::SYS_getpriority, &["0", "2"]),
        "errno ENOSPC"
    );
    assert_eq!(
        call(lab, filter, libc::SYS_getpriority, &["0", "0"]),
        priority()
    );
}

fn two_conditions_on_one_argument(lab: &Lab) {
    // The kernel's library takes one condition an argument: as in runc, two are alternatives.
    let rule = json!([{
        "names": ["getpriority"], "action": "SCMP_ACT_ERRNO",
        "args": [
            {"index": 1, "value": 1, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}
        ]
    }]);
    let (let_through, eperm) = (priority(), String::from("errno EPERM"));
    for (argument, answer) in [("0", &let_through), ("1", &eperm), ("2", &eperm)] {
        let said = call(
            lab,
            deny_listed(rule.clone()),
            libc::SYS_getpriority,
            &["0", argument],
        );
        assert_eq!(&said, answer, "{argument}");
    }
}

/// What getpriority(2) answers in a container: its caller's own priority, which nice(1) changes.
fn priority() -> String {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let nice: i32 = fields.split(' ').nth(16).unwrap().parse().unwrap();
    format!("ok {}", 20 - nice)
}

fn allow_list(more: &[&str]) -> Value {
    let names: Vec<&str> = NEEDED.iter().chain(more).copied().collect();
    json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]})
}

fn newer_than_the_profile_is_enosys(lab: &Lab) {
    // A libc tries the newest call first and falls back on ENOSYS alone, never on EPERM.
    assert_eq!(call(lab, allow_list(&[]), 500, &[]), "errno ENOSYS");
    assert_eq!(
        call(lab, allow_list(&[]), libc::SYS_getpriority, &["0", "0"]),
        "errno EPERM"
    );
    assert_eq!(
        call(
            lab,
            allow_list(&["getpriority"]),
            libc::SYS_getpriority,
            &["0", "0"]
        ),
        priority()
    );
    // A call that the host's libseccomp may be too old to know: it is resolved all the same.
    let futex_waitv = call(
        lab,
        allow_list(&["futex_waitv"]),
        libc::SYS_futex_waitv,
        &["0", "0", "0", "0", "0"],
    );
    assert_eq!(futex_waitv, "errno EINVAL");
}

fn unknown_call_names_are_skipped(lab: &Lab) {
    let rule = json!([{"names": ["call_of_the_future", "getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]);
    assert_eq!(
        call(lab, deny_listed(rule), libc::SYS_getpriority, &["0", "0"]),
        "errno EIO"
    );
}

fn allowed_by_default(lab: &Lab) {
    assert_eq!(
        call(
            lab,
            deny_listed(json!([])),
            libc::SYS_getpriority,
            &["0", "0"]
        ),
        priority()
    );
}

fn filter_without_no_new_privileges(lab: &Lab) {
    let rule = json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]);
    let bundle = with(lab, deny_listed(rule))
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .args(&["/bin/cat", "/proc/self/status"]);
    let out = bundle.run().ok();
    assert_eq!(out.field("Seccomp"), "2");
    // A filter is no reason to set a flag that the config does not ask for.
    assert_eq!(out.field("NoNewPrivs"), "0");
    assert_eq!(out.field("CapEff"), "0000000000000000");
}

fn ordinary_user_with_no_new_privileges(lab: &Lab) {
    let rule = json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]);
    let bundle = with(lab, deny_listed(rule))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .args(&["/bin/cat", "/proc/self/status"]);
    let out = bundle.run().ok();
    assert_eq!(
        (out.field("Seccomp"), out.field("NoNewPrivs")),
        ("2".into(), "1".into())
    );
}

fn all_architectures_are_accepted(lab: &Lab) {
    let mut filter = deny_listed(json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]));
    filter["architectures"] = json!([
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_ARM"
    ]);
    assert_eq!(
        call(lab, filter, libc::SYS_getpriority, &["0", "0"]),
        "errno EPERM"
    );
}

fn unknown_architecture(lab: &Lab) {
    let mut filter = deny_listed(json!([]));
    filter["architectures"] = json!(["SCMP_ARCH_Z80"]);
    with(lab, filter).run().fails_with(&["SCMP_ARCH_Z80"]);
}

fn unknown_action(lab: &Lab) {
    let filter = deny_listed(json!([{"names": ["mkdir"], "action": "SCMP_ACT_SIGH"}]));
    with(lab, filter).run().fails_with(&["SCMP_ACT_SIGH"]);
}

fn unknown_operator(lab: &Lab) {
    let filter = deny_listed(json!([{
        "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NEAR"}]
    }]));
    with(lab, filter)
        .run()
        .fails_with(&["linux.seccomp.syscalls[0].args[0].op", "SCMP_CMP_NEAR"]);
}

fn unknown_flag(lab: &Lab) {
    let mut filter = deny_listed(json!([]));
    filter["flags"] = json!(["SECCOMP_FILTER_FLAG_SHRUG"]);
    with(lab, filter)
        .run()
        .fails_with(&["SECCOMP_FILTER_FLAG_SHRUG"]);
}

fn flags_are_accepted(lab: &Lab) {
    let mut filter = deny_listed(json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]));
    filter["flags"] = json!([
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC"
    ]);
    assert_eq!(
        call(lab, filter, libc::SYS_getpriority, &["0", "0"]),
        "errno EPERM"
    );
}

fn log_action_lets_through(lab: &Lab) {
    let rule = json!([{"names": ["getpriority"], "action": "SCMP_ACT_LOG"}]);
    assert_eq!(
        call(lab, deny_listed(rule), libc::SYS_getpriority, &["0", "0"]),
        priority()
    );
}

fn filter_holds_for_exec(lab: &Lab) {
    let rule = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSPC}]);
    let bundle = with(lab, deny_listed(rule)).args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    bundle.exec("mkdir /new").fails_with(&["No space left"]);
}

fn second_run_uses_the_same_filter(lab: &Lab) {
    let rule =
        json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOMEM}]);
    for _ in 0..3 {
        assert_eq!(
            call(
                lab,
                deny_listed(rule.clone()),
                libc::SYS_getpriority,
                &["0", "0"]
            ),
            "errno ENOMEM"
        );
    }
    // A filter that differs in one number is another one.
    let rule =
        json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENODEV}]);
    assert_eq!(
        call(lab, deny_listed(rule), libc::SYS_getpriority, &["0", "0"]),
        "errno ENODEV"
    );
}

fn filter_does_not_hinder_the_runtime(lab: &Lab) {
    // Only what the shell itself needs: none of the runtime's own mounts and ids.
    let bundle = with(lab, allow_list(&[]))
        .set("/process/noNewPrivileges", json!(false))
        .sh("echo through");
    assert_eq!(bundle.run().ok().text(), "through");
}

fn listener_gets_the_calls(lab: &Lab) {
    let listener = Listener::new(lab.join("listener"));
    let mut filter = deny_listed(json!([{"names": ["getpriority"], "action": "SCMP_ACT_NOTIFY"}]));
    filter["listenerPath"] = json!(listener.path());
    filter["listenerMetadata"] = json!("words for the listener");
    let number = libc::SYS_getpriority.to_string();
    let bundle = with(lab, filter).args(&["/bin/probe", "syscall", &number, "0", "0"]);
    let running = Running::new(bundle.command(&[], "run", &[]), b"");
    let received = listener.receive();
    assert_eq!(received.fds.len(), 1, "{received:?}");
    let state: Value = serde_json::from_str(&received.text).unwrap();
    assert_eq!(state["metadata"], "words for the listener");
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["state"]["id"], bundle.id());
    assert!(state["pid"].as_i64().unwrap() > 0, "{state}");
    let call = next_call(&received.fds[0]).unwrap();
    assert_eq!(i64::from(call.number), libc::SYS_getpriority);
    assert!(answer(&received.fds[0], &call, Answer::Value(4711)));
    assert_eq!(running.wait().ok().text(), "ok 4711");
}

/// crun's name for the path of the listener.
fn receiver_gets_the_calls(lab: &Lab) {
    let listener = Listener::new(lab.join("listener"));
    let filter = deny_listed(json!([{"names": ["getpriority"], "action": "SCMP_ACT_NOTIFY"}]));
    let number = libc::SYS_getpriority.to_string();
    let receiver = |path: Value| json!({"run.oci.seccomp.receiver": path});
    let bundle = with(lab, filter.clone())
        .set("/annotations", receiver(json!(listener.path())))
        .args(&["/bin/probe", "syscall", &number, "0", "0"]);
    let running = Running::new(bundle.command(&[], "run", &[]), b"");
    let received = listener.receive();
    let call = next_call(&received.fds[0]).unwrap();
    assert_eq!(i64::from(call.number), libc::SYS_getpriority);
    assert!(answer(&received.fds[0], &call, Answer::Value(4711)));
    assert_eq!(running.wait().ok().text(), "ok 4711");
    with(lab, filter)
        .set("/annotations", receiver(json!("relative")))
        .run()
        .fails_with(&["run.oci.seccomp.receiver", "absolute"]);
}

fn listener_gets_a_state_of_any_length(lab: &Lab) {
    let listener = Listener::new(lab.join("listener"));
    let mut filter = deny_listed(json!([{"names": ["getpriority"], "action": "SCMP_ACT_NOTIFY"}]));
    filter["listenerPath"] = json!(listener.path());
    let long = "x".repeat(1 << 20);
    let bundle = with(lab, filter).set("/annotations", json!({"long": long}));
    let running = Running::new(bundle.command(&[], "run", &[]), b"");
    let received = listener.receive_to_end();
    let state: Value = serde_json::from_str(&received.text).unwrap();
    assert_eq!(state["state"]["annotations"]["long"], long);
    assert_eq!(received.fds.len(), 1);
    running.wait().ok();
}

fn listener_without_anybody_there(lab: &Lab) {
    let mut filter = deny_listed(json!([{"names": ["getpriority"], "action": "SCMP_ACT_NOTIFY"}]));
    filter["listenerPath"] = json!(lab.join("nobody"));
    with(lab, filter).run().fails_with(&["nobody"]);
}

fn listener_path_without_notify(lab: &Lab) {
    // The spec: without a notify action the path is ignored.
    let mut filter = deny_listed(json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO"}]));
    filter["listenerPath"] = json!(lab.join("nobody"));
    assert_eq!(
        call(lab, filter, libc::SYS_getpriority, &["0", "0"]),
        "errno EPERM"
    );
}
