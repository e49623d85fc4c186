//! Buildah: in the bundle's directory, waits for init itself and asks for the state all the time.

use super::shim::Shim;
use super::{Caller, SAYS_AND_ENDS, let_go, parent_of, pid_in, text};
use crate::support::{Bundle, Lab, cases, wait_until};
use serde_json::Value;

cases! {
    [Root] => life, kill_with_and_without_a_signal, failure_is_on_stderr;
}

/// Containers have names of this form; the cgroup has another.
const NAME: &str = "buildah-busybox-working-container-buildah_1.33";

fn buildah<'lab>(lab: &'lab Lab, bundle: &Bundle<'_>) -> Caller<'lab> {
    bundle.write();
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/root"),
        ("XDG_RUNTIME_DIR", "/run/user/0"),
    ];
    let mut caller = Caller::new(lab, &["--root", text(&lab.root())], &environment);
    caller.directory = bundle.path().to_path_buf();
    caller
}

fn create(caller: &Caller<'_>, bundle: &Bundle<'_>) -> Shim {
    let pid_file = bundle.path().join("pid");
    caller.shim(&[
        "create",
        "--bundle",
        text(bundle.path()),
        "--pid-file",
        text(&pid_file),
        "--no-new-keyring",
        NAME,
    ])
}

/// Asks as Buildah does. It gives up at any status that it does not know.
#[track_caller]
fn status(caller: &Caller<'_>) -> String {
    let out = caller.call(&["state", NAME]).ok();
    assert_eq!(out.stderr, "");
    let state: Value = serde_json::from_str(&out.stdout).unwrap();
    for key in [
        "ociVersion",
        "id",
        "pid",
        "status",
        "bundle",
        "rootfs",
        "created",
        "owner",
    ] {
        assert!(!state[key].is_null(), "{key}: {state}");
    }
    let status = state["status"].as_str().unwrap().to_owned();
    assert!(["created", "running", "stopped"].contains(&status.as_str()));
    // A pid of nobody would be waited for.
    assert_eq!(state["pid"] == 0, status == "stopped", "{state}");
    status
}

/// Rules 11, 14: the whole step of a build.
fn life(lab: &Lab) {
    let bundle = lab.bundle().sh(SAYS_AND_ENDS);
    let caller = buildah(lab, &bundle);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 0, "{:?}", shim.said());
    let pid = pid_in(&bundle.path().join("pid"));
    assert_eq!(parent_of(pid), shim.pid());
    assert_eq!(status(&caller), "created");
    caller.silent(&["start", NAME]);
    assert_eq!(status(&caller), "running");
    let_go(&bundle);
    assert_eq!(shim.ended(pid), 7);
    wait_until("it stops", || status(&caller) == "stopped");
    assert_eq!(shim.stdout_to_its_end(), "out\n");
    assert_eq!(shim.stderr_to_its_end(), "err\n");
    caller.silent(&["delete", NAME]);
    drop(shim);
    lab.assert_nothing_left(bundle.id());
    assert!(!lab.root().join(NAME).exists());
}

/// Rule 12: no signal is SIGTERM, and SIGKILL has its whole name.
fn kill_with_and_without_a_signal(lab: &Lab) {
    for (signal, code) in [(&[][..], 12), (&["SIGKILL"], 128 + 9)] {
        let bundle = lab
            .bundle()
            .sh("trap 'exit 12' TERM; touch /ready; while :; do sleep 0.02; done");
        let caller = buildah(lab, &bundle);
        let shim = create(&caller, &bundle);
        assert_eq!(shim.code(), 0, "{:?}", shim.said());
        caller.silent(&["start", NAME]);
        wait_until("the trap is set", || bundle.rootfs().join("ready").exists());
        caller.silent(&[&["kill", NAME], signal].concat());
        assert_eq!(shim.ended(pid_in(&bundle.path().join("pid"))), code);
        caller.silent(&["delete", NAME]);
    }
}

/// Rule 6: Buildah has no log, and shows what the runtime wrote where the container would have.
fn failure_is_on_stderr(lab: &Lab) {
    let bundle = lab.bundle().bind("/no/such/source".as_ref(), "/mnt", &[]);
    let caller = buildah(lab, &bundle);
    let shim = create(&caller, &bundle);
    assert_eq!(shim.code(), 1);
    let said = shim.stderr_to_its_end();
    assert!(said.contains("/no/such/source"), "{said}");
    drop(shim);
    lab.assert_nothing_left(bundle.id());
}
