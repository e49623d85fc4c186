//! The five capability sets, as the process sees them.

use crate::support::{Lab, Output, cases, finish};
use serde_json::json;

cases! {
    [Root] => sets_are_exactly_those_configured, no_capabilities_at_all, ambient_reaches_an_ordinary_user,
        ordinary_user_without_ambient_has_none, dropped_bounding_cannot_come_back, without_the_field_there_are_none,
        exec_inherits_the_sets, a_capability_that_is_missing_is_missed;
    [Root, Casulo] => unknown_name_is_a_warning, warnings_reach_stderr_without_a_log;
}

const CHOWN: u64 = 1 << 0;
const KILL: u64 = 1 << 5;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// The sets in `/proc/self/status`: inheritable, permitted, effective, bounding, ambient.
fn sets(out: &Output) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(&out.field(name), 16).unwrap())
}

fn sets_are_exactly_those_configured(lab: &Lab) {
    let out = lab
        .bundle()
        .set(
            "/process/capabilities",
            json!({
                "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
                "permitted": ["CAP_CHOWN", "CAP_KILL"],
                "effective": ["CAP_KILL"],
                "inheritable": ["CAP_CHOWN"],
                "ambient": []
            }),
        )
        .set("/process/user/uid", json!(0))
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    let [inheritable, permitted, effective, bounding, ambient] = sets(&out);
    assert_eq!(bounding, CHOWN | KILL | NET_BIND_SERVICE);
    assert_eq!(inheritable, CHOWN);
    assert_eq!(ambient, 0);
    // execve(2) of root would add the bounding set; no_new_privs keeps what was permitted before.
    assert_eq!(permitted, CHOWN | KILL);
    assert_eq!(effective, permitted);
}

fn no_capabilities_at_all(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/process/capabilities", json!({}))
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(sets(&out), [0; 5]);
}

fn ambient_reaches_an_ordinary_user(lab: &Lab) {
    let list = json!(["CAP_NET_BIND_SERVICE"]);
    let out = lab
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .set(
            "/process/capabilities",
            json!({"bounding": list, "permitted": list, "effective": list, "inheritable": list, "ambient": list}),
        )
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(sets(&out), [NET_BIND_SERVICE; 5]);
}

fn ordinary_user_without_ambient_has_none(lab: &Lab) {
    let out = lab
        .bundle()
        .set("/process/user", json!({"uid": 1000, "gid": 1000}))
        .capabilities(&["CAP_CHOWN", "CAP_KILL"])
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(sets(&out), [0, 0, 0, CHOWN | KILL, 0]);
}

fn dropped_bounding_cannot_come_back(lab: &Lab) {
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_CHOWN"])
        .set("/process/noNewPrivileges", json!(false));
    let out = bundle
        .sh("su root -c 'cat /proc/self/status' || cat /proc/self/status")
        .run()
        .ok();
    assert_eq!(sets(&out)[3], CHOWN);
}

fn without_the_field_there_are_none(lab: &Lab) {
    let out = lab
        .bundle()
        .remove("/process/capabilities")
        .args(&["/bin/cat", "/proc/self/status"])
        .run()
        .ok();
    assert_eq!(sets(&out), [0; 5]);
}

fn exec_inherits_the_sets(lab: &Lab) {
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_CHOWN"])
        .args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let out = bundle.exec("cat /proc/self/status").ok();
    assert_eq!(sets(&out), [0, CHOWN, CHOWN, CHOWN, 0]);
}

fn a_capability_that_is_missing_is_missed(lab: &Lab) {
    let script = "touch /f; chown 1000 /f";
    lab.bundle()
        .capabilities(&["CAP_CHOWN"])
        .sh(script)
        .run()
        .ok();
    lab.bundle()
        .capabilities(&["CAP_KILL"])
        .sh(script)
        .run()
        .fails_with(&["not permitted"]);
}

fn unknown_name_is_a_warning(lab: &Lab) {
    let bundle = lab
        .bundle()
        .capabilities(&["CAP_CHOWN", "CAP_TIME_TRAVEL"])
        .args(&["/bin/cat", "/proc/self/status"]);
    let log = lab.join("log");
    let out = finish(
        bundle.command(&["--log", &log.to_string_lossy()], "run", &[]),
        b"",
    );
    let out = out.ok();
    assert_eq!(sets(&out)[3], CHOWN);
    // With a log stderr is the container's.
    assert_eq!(out.stderr, "");
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("CAP_TIME_TRAVEL"), "{log}");
}

fn warnings_reach_stderr_without_a_log(lab: &Lab) {
    let out = lab.bundle().capabilities(&["CAP_TIME_TRAVEL"]).run().ok();
    let lines: Vec<&str> = out.stderr.lines().collect();
    // One for each of the three sets.
    assert_eq!(lines.len(), 3, "{out:?}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("casulo: warning: ") && line.contains("CAP_TIME_TRAVEL")),
        "{out:?}"
    );
    // What every day's containers have is no warning.
    assert_eq!(lab.bundle().run().ok().stderr, "");
    let quiet = lab.bundle().capabilities(&["CAP_TIME_TRAVEL"]);
    let out = finish(quiet.command(&["--log-level", "error"], "run", &[]), b"");
    assert_eq!(out.ok().stderr, "");
}
