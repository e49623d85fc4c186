use super::*;
use serde_json::{Value, json};

fn decide(profile: Value) -> (Filter, Vec<String>) {
    let profile: LinuxSeccomp = serde_json::from_value(profile).unwrap();
    let mut problems = Problems::default();
    let filter = filter(&profile, None, &mut problems);
    let problems = match problems.into_result("") {
        Ok(()) => Vec::new(),
        Err(error) => error
            .detail
            .trim_start_matches(": ")
            .split("; ")
            .map(|problem| problem.replace("linux.seccomp.", ""))
            .collect(),
    };
    (filter, problems)
}

fn accepted(profile: Value) -> Filter {
    let (filter, problems) = decide(profile);
    assert_eq!(problems, Vec::<String>::new());
    filter
}

#[test]
fn every_action_and_its_return_code() {
    for (name, errno, action) in [
        ("SCMP_ACT_KILL", None, Action::KillThread),
        ("SCMP_ACT_KILL_THREAD", None, Action::KillThread),
        ("SCMP_ACT_KILL_PROCESS", None, Action::KillProcess),
        ("SCMP_ACT_TRAP", None, Action::Trap),
        ("SCMP_ACT_ERRNO", None, Action::Errno(1)),
        ("SCMP_ACT_ERRNO", Some(0), Action::Errno(0)),
        ("SCMP_ACT_ERRNO", Some(4095), Action::Errno(4095)),
        ("SCMP_ACT_TRACE", None, Action::Trace(1)),
        ("SCMP_ACT_TRACE", Some(65535), Action::Trace(65535)),
        ("SCMP_ACT_LOG", None, Action::Log),
        ("SCMP_ACT_ALLOW", None, Action::Allow),
    ] {
        let mut profile = json!({"defaultAction": name});
        let mut entry = json!({"names": ["getcwd"], "action": name});
        if let Some(errno) = errno {
            profile["defaultErrnoRet"] = json!(errno);
            entry["errnoRet"] = json!(errno);
        }
        profile["syscalls"] = json!([entry]);
        let filter = accepted(profile);
        assert_eq!((filter.default, filter.rules[0].action), (action, action));
    }
}

#[test]
fn problems_name_the_json_path_and_all_are_found() {
    let (_, problems) = decide(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "defaultErrnoRet": 1,
        "listenerMetadata": "x",
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096},
            {"names": [], "action": "SCMP_ACT_KILL", "errnoRet": 1},
            {"names": ["write"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536, "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                {"index": 6, "value": 1, "op": "SCMP_CMP_EQ"},
            ]},
        ],
    }));
    assert_eq!(
        problems,
        [
            "defaultErrnoRet: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take a return code",
            "syscalls[0].errnoRet: 4096 is larger than 4095",
            "syscalls[1].names: must name at least one call",
            "syscalls[1].errnoRet: only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take a return code",
            "syscalls[2].args[1].index: 6 is not the index of an argument: there are 0 to 5",
            "syscalls[2].errnoRet: 65536 is larger than 65535",
            "listenerMetadata: must not be set without listenerPath",
        ]
    );
}

#[test]
fn flags_become_the_kernels() {
    let notify = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    let all = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    ]);
    for (flags, syscalls, expected) in [
        (None, json!([]), 0b00_0100),
        (Some(json!([])), json!([]), 0),
        (Some(all.clone()), json!([]), 0b00_0111),
        (None, notify.clone(), 0b00_1100),
        (Some(all), notify, 0b11_1111),
    ] {
        let mut profile = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls, "listenerPath": "/l",
        });
        if let Some(flags) = flags {
            profile["flags"] = flags;
        }
        assert_eq!(accepted(profile).flags, expected);
    }
}

#[test]
fn a_listener_is_needed_exactly_for_notify() {
    let quiet = accepted(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "listenerMetadata": "m",
    }));
    assert_eq!(quiet.listener_path, None);
    let notify = accepted(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l", "listenerMetadata": "m",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }));
    assert!(notify.listener_path.is_some());
    assert_eq!(notify.listener_path.as_deref(), Some(Path::new("/l")));
    assert_eq!(notify.listener_metadata.as_deref(), Some("m"));
}

#[test]
fn notify_needs_a_path_that_fits_a_socket_address() {
    for path in [json!(null), json!("")] {
        let (_, problems) = decide(json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        }));
        assert_eq!(
            problems,
            ["listenerPath: missing, but syscalls[0].action is SCMP_ACT_NOTIFY"]
        );
    }
    let (_, problems) = decide(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/".repeat(108),
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }));
    assert_eq!(problems.len(), 1);
}

#[test]
fn any_call_may_notify_or_be_refused_beside_one_that_does() {
    let notify = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    for (default, names, action) in [
        ("SCMP_ACT_ALLOW", json!(["sendmsg"]), "SCMP_ACT_NOTIFY"),
        ("SCMP_ACT_ALLOW", json!(["sendmsg"]), "SCMP_ACT_KILL"),
        ("SCMP_ACT_ERRNO", json!(["read"]), "SCMP_ACT_ALLOW"),
        ("SCMP_ACT_NOTIFY", json!(["read"]), "SCMP_ACT_ALLOW"),
    ] {
        let filter = accepted(json!({
            "defaultAction": default, "listenerPath": "/l",
            "syscalls": [notify, {"names": names, "action": action}],
        }));
        assert!(filter.listener_path.is_some());
    }
}
