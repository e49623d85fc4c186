//! What a process inherits from its caller: casulo counts on none of it, and the program gets it.

use crate::support::{Bundle, Lab, cases, finish};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

cases! {
    [Root] => limits_of_the_caller_are_the_programs, a_limit_of_the_config_wins, hooks_have_the_callers_limits,
        no_umask_of_the_callers_is_taken, ignored_children_are_waited_for;
    [Root, Casulo, Program("/usr/bin/setpriv")] => a_callers_umask_lets_nobody_start_a_container;
    [Root, Casulo] => few_descriptors_and_a_small_stack_are_enough, a_callers_mask_and_ignored_signals_are_not_casulos;
}

/// Limits and signals as the program has them.
const LOOK: &str = "ulimit -Sn; ulimit -Hn; ulimit -Ss; ulimit -Hs";

fn plain(lab: &Lab) -> Bundle<'_> {
    lab.bundle().remove("/process/rlimits")
}

fn limits_of_the_caller_are_the_programs(lab: &Lab) {
    let script = "ulimit -Sn 100; ulimit -Hn 4000; ulimit -Ss 512; ulimit -Hs 9000; exec \"$@\"";
    let expected = ["100", "4000", "512", "9000"];
    let bundle = plain(lab).sh(LOOK);
    let out = lab.through_shell(script, &bundle.command(&[], "run", &[]));
    assert_eq!(out.ok().lines(), expected);

    let bundle = plain(lab).args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let mut exec = lab.command();
    exec.args(["exec", bundle.id(), "/bin/sh", "-c", LOOK]);
    assert_eq!(lab.through_shell(script, &exec).ok().lines(), expected);
}

fn a_limit_of_the_config_wins(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]),
        )
        .sh("ulimit -Sn; ulimit -Hn; ulimit -Ss");
    let script = "ulimit -Sn 100; ulimit -Ss 512; exec \"$@\"";
    let out = lab.through_shell(script, &bundle.command(&[], "run", &[]));
    assert_eq!(out.ok().lines(), ["64", "128", "512"]);
}

fn hooks_have_the_callers_limits(lab: &Lab) {
    let notes = lab.join("notes");
    let script = format!("ulimit -Sn >>{}", notes.display());
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    let bundle = lab
        .bundle()
        .set(
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]),
        )
        .set("/hooks/createRuntime", hook.clone())
        .set("/hooks/createContainer", hook.clone())
        .set("/hooks/poststop", hook);
    let script = "ulimit -Sn 100; exec \"$@\"";
    lab.through_shell(script, &bundle.command(&[], "run", &[]))
        .ok();
    assert_eq!(fs::read_to_string(notes).unwrap(), "100\n100\n100\n");
}

fn few_descriptors_and_a_small_stack_are_enough(lab: &Lab) {
    let mut bundle = plain(lab).sh(LOOK);
    for number in 0..400 {
        let path = format!("/many/{number}");
        bundle = bundle.bind(lab.path(), &path, &["ro"]);
    }
    let script = "ulimit -Sn 20; ulimit -Ss 64; exec \"$@\"";
    let out = lab.through_shell(script, &bundle.command(&[], "run", &[]));
    let out = out.ok();
    assert_eq!((out.lines()[0], out.lines()[2]), ("20", "64"));
    let mut list = lab.command();
    list.arg("list");
    lab.through_shell(script, &list).ok();
}

fn no_umask_of_the_callers_is_taken(lab: &Lab) {
    for mask in ["000", "077"] {
        let bundle = plain(lab)
            .set("/process/cwd", json!("/new/one"))
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .bind(lab.path(), "/deep/bind", &["ro"])
            .sh("umask; pwd; stat -c %a /new /new/one /deep");
        let pid_file = bundle.path().join("pid");
        let options = ["--pid-file", pid_file.to_str().unwrap()];
        let script = format!("umask {mask}; exec \"$@\"");
        let out = lab.through_shell(&script, &bundle.command(&[], "run", &options));
        assert_eq!(out.ok().lines(), ["0022", "/new/one", "755", "755", "755"]);
        let mode = fs::metadata(pid_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{mask}");
    }
}

fn a_callers_umask_lets_nobody_start_a_container(lab: &Lab) {
    let hook = json!([{"path": "/bin/true"}]);
    let bundle = plain(lab)
        .set("/hooks/startContainer", hook)
        .args(&["/bin/sleep", "1000"]);
    // Everyone can get at the directory of each container.
    fs::create_dir_all(lab.root()).unwrap();
    for directory in [lab.root().as_path(), lab.path()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = "umask 000; exec \"$@\" </dev/null >/dev/null 2>said";
    lab.through_shell(script, &bundle.command(&[], "create", &[]))
        .ok();
    let record = lab.root().join(bundle.id());
    let mode = |name: &str| {
        let about = fs::metadata(record.join(name)).unwrap();
        about.permissions().mode() & 0o7777
    };
    assert_eq!(mode(""), 0o711);
    for name in [
        "state.json",
        "config.json",
        "start.fifo",
        "answer.fifo",
        "words.fifo",
    ] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let stranger = "exec setpriv --reuid 54321 --regid 54321 --clear-groups \"$@\"";
    let fifo = record.join("start.fifo");
    lab.through_shell(stranger, Command::new("stat").arg(&fifo))
        .ok();
    let mut write = Command::new("sh");
    write.args(["-c", "printf 1 >\"$0\""]).arg(&fifo);
    lab.through_shell(stranger, &write)
        .fails_with(&["Permission denied"]);
    let mut start = lab.command();
    start.args(["start", bundle.id()]);
    lab.through_shell(stranger, &start)
        .fails_with(&[bundle.id(), "permission denied"]);
    assert_eq!(bundle.status(), "created");
    finish(start, b"").ok();
    assert_eq!(bundle.status(), "running");
}

fn ignored_children_are_waited_for(lab: &Lab) {
    let script = "trap '' CHLD; exec \"$@\"";
    let bundle = plain(lab)
        .set(
            "/hooks/createRuntime",
            json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]),
        )
        .sh("grep SigIgn /proc/self/status; exit 7");
    let out = lab.through_shell(script, &bundle.command(&[], "run", &[]));
    assert_eq!(out.code, 7, "{out:?}");
    assert_eq!(out.field("SigIgn"), "0000000000000000");

    let bundle = plain(lab).args(&["/bin/sleep", "1000"]);
    let out = lab.through_shell(script, &bundle.command(&[], "run", &["--detach"]));
    out.ok();
    let mut ps = lab.command();
    ps.args(["ps", bundle.id()]);
    let out = lab.through_shell(script, &ps).ok();
    assert!(out.stdout.contains("sleep 1000"), "{out:?}");
    let mut exec = lab.command();
    exec.args(["exec", bundle.id(), "/bin/sh", "-c", "exit 5"]);
    assert_eq!(lab.through_shell(script, &exec).code, 5);
}

/// A command that waits ends by TERM, though its caller blocks and ignores it.
fn a_callers_mask_and_ignored_signals_are_not_casulos(lab: &Lab) {
    let bundle = plain(lab).args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let mut events = lab.command();
    events.args(["events", "--interval", "1h", bundle.id()]);
    let mut timeout = Command::new("timeout");
    timeout
        .args(["--kill-after=5", "0.5", "env"])
        .args(["--block-signal", "--ignore-signal=TERM"])
        .arg(events.get_program())
        .args(events.get_args());
    // 124 of timeout(1): TERM was enough; 137 would be its KILL.
    assert_eq!(finish(timeout, b"").code, 124);
}
