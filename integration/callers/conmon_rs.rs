//! conmon-rs: global options twice, values after `=`, exec without a process file.

use super::shim::Shim;
use super::{Caller, SAYS_AND_ENDS, let_go, one_terminal, parent_of, pid_in, text};
use crate::support::{Bundle, Lab, Listener, cases};

cases! {
    [Root] => create_and_exec, exec_with_a_terminal;
}

/// Rule 1: each option comes once from the server's configuration and once from its own.
fn conmon_rs(lab: &Lab) -> Caller<'_> {
    let root = format!("--root={}", text(&lab.root()));
    Caller::new(
        lab,
        &["--root=/run/nothing", &root, &root],
        &[("XDG_RUNTIME_DIR", "/run/user/0")],
    )
}

fn create(caller: &Caller<'_>, bundle: &Bundle<'_>) -> Shim {
    bundle.write();
    let pid_file = bundle.path().join("pidfile");
    caller.shim(&[
        "create",
        "--bundle",
        text(bundle.path()),
        "--pid-file",
        text(&pid_file),
        bundle.id(),
    ])
}

/// Rule 1; environment and directory of exec are the config's.
fn create_and_exec(lab: &Lab) {
    let caller = conmon_rs(lab);
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    caller.silent(&["start", bundle.id()]);
    let pid_file = format!("--pid-file={}/exec", text(lab.path()));
    let command = ["/bin/sh", "-c", SAYS_AND_ENDS];
    let exec = caller.shim(&[&["exec", "-d", &pid_file, bundle.id()][..], &command].concat());
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    let pid = pid_in(&lab.join("exec"));
    assert_eq!(parent_of(pid), exec.pid());
    let_go(&bundle);
    assert_eq!(exec.ended(pid), 7);
    assert_eq!(exec.stdout_to_its_end(), "out\n");
}

/// The order of its options for a terminal.
fn exec_with_a_terminal(lab: &Lab) {
    let caller = conmon_rs(lab);
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    caller.silent(&["start", bundle.id()]);
    let listener = Listener::new(lab.join("console"));
    let socket = format!("--console-socket={}", text(listener.path()));
    let pid_file = format!("--pid-file={}/exec", text(lab.path()));
    let exec = caller.shim(&[
        "exec",
        "-d",
        &socket,
        "--tty",
        &pid_file,
        bundle.id(),
        "/bin/sh",
        "-c",
        "tty; exit 5",
    ]);
    assert_eq!(exec.code(), 0, "{:?}", exec.said());
    let mut terminal = one_terminal(&listener);
    terminal.expect("/dev/pts/");
    assert_eq!(exec.ended(pid_in(&lab.join("exec"))), 5);
}
