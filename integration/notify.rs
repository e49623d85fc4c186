//! The sd_notify proxy: what a container says about itself reaches who started it.

use crate::rootless;
use crate::support::{Bundle, Lab, Output, Running, cases, finish, wait_until};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

cases! {
    [Root, Casulo] => the_containers_socket_is_its_own, foreground_passes_on_what_is_said,
        start_waits_until_ready, detached_run_waits_until_ready, start_ends_with_a_container_that_is_never_ready,
        other_words_are_not_passed_on, exec_is_not_given_the_socket, an_ordinary_user_inside_may_speak,
        a_manager_that_is_gone_is_no_reason_to_fail, a_container_that_is_not_ready_can_be_deleted;
    [Root, Casulo, Program("/usr/bin/setpriv")] => an_ordinary_users_container_is_heard;
}

/// A service manager's socket.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(lab: &Lab) -> Manager {
        let path = lab.join("manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Manager { socket, path }
    }

    /// The next message.
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// True if nothing waits.
    fn is_silent(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let silent = self.socket.recv(&mut [0; 64]).is_err();
        self.socket.set_nonblocking(false).unwrap();
        silent
    }

    /// A command that was started by this manager.
    fn starts(&self, mut command: Command) -> Command {
        command.env("NOTIFY_SOCKET", &self.path);
        command
    }
}

/// A bundle whose container says these things, one after the other, and then sleeps.
fn speaker<'lab>(lab: &'lab Lab, words: &[&str]) -> Bundle<'lab> {
    let words: Vec<String> = words
        .iter()
        .map(|it| format!("/bin/probe notify '{it}'; "))
        .collect();
    lab.bundle()
        .sh(&format!("{}exec sleep 1000", words.concat()))
}

fn the_containers_socket_is_its_own(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = lab.bundle().sh(
        "echo $NOTIFY_SOCKET; ls -l $NOTIFY_SOCKET | cut -c 1; grep manager.sock /proc/self/mountinfo; \
         touch ${NOTIFY_SOCKET%/*}/x 2>&1; ls /run/notify 2>/dev/null; true",
    );
    let out = finish(manager.starts(bundle.command(&[], "run", &[])), b"").ok();
    let inside = manager.path.join("notify");
    let lines = out.lines();
    assert_eq!(lines[0], inside.to_str().unwrap());
    assert_eq!(lines[1], "s");
    assert!(lines[2].contains(" ro,nosuid,nodev,noexec"), "{}", lines[2]);
    assert!(lines[3].contains("Read-only file system"), "{out:?}");
    assert_eq!(lines.len(), 4, "{out:?}");
}

fn foreground_passes_on_what_is_said(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = lab
        .bundle()
        .sh("/bin/probe notify STATUS=almost; /bin/probe notify READY=1; /bin/probe notify WATCHDOG=1; /bin/probe notify STOPPING=1");
    let out = finish(manager.starts(bundle.command(&[], "run", &[])), b"").ok();
    assert_eq!(out.lines(), ["sent"; 4]);
    let said: Vec<String> = (0..5).map(|_| manager.next()).collect();
    assert_eq!(said[..2], ["STATUS=almost", "READY=1"]);
    assert!(said[2].starts_with("MAINPID="), "{said:?}");
    assert_eq!(said[3..], ["WATCHDOG=1", "STOPPING=1"]);
}

/// Answers the barrier, so that nobody waits for it.
fn expect_ready(manager: &Manager, bundle: &Bundle<'_>) {
    assert_eq!(manager.next(), "READY=1");
    assert_eq!(manager.next(), format!("MAINPID={}", bundle.pid()));
    assert_eq!(manager.next(), "BARRIER=1");
}

fn start_waits_until_ready(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = lab
        .bundle()
        .sh("while ! [ -e /go ]; do sleep 0.05; done; /bin/probe notify READY=1; exec sleep 1000");
    // Create only prepares: it does not wait, and nobody listens yet.
    finish(manager.starts(bundle.command(&[], "create", &[])), b"").ok();
    let mut start = lab.command();
    start.args(["start", bundle.id()]);
    let start = Running::new(manager.starts(start), b"");
    wait_until("the container runs", || bundle.status() == "running");
    assert!(manager.is_silent());
    std::fs::write(bundle.rootfs().join("go"), "").unwrap();
    expect_ready(&manager, &bundle);
    start.wait().ok();
}

fn detached_run_waits_until_ready(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = speaker(lab, &["STATUS=soon", "READY=1"]);
    let run = Running::new(
        manager.starts(bundle.command(&[], "run", &["--detach"])),
        b"",
    );
    assert_eq!(manager.next(), "STATUS=soon");
    expect_ready(&manager, &bundle);
    run.wait().ok();
    assert_eq!(bundle.status(), "running");
}

fn start_ends_with_a_container_that_is_never_ready(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = lab.bundle();
    let create = manager.starts(bundle.command(&[], "create", &[]));
    finish(create, b"").ok();
    let mut start = lab.command();
    start.args(["start", bundle.id()]);
    finish(manager.starts(start), b"").ok();
    assert!(manager.is_silent());
}

fn other_words_are_not_passed_on(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = lab.bundle().sh(
        "/bin/probe notify MAINPID=1; /bin/probe notify FDSTORE=1; /bin/probe notify STATUS=end",
    );
    finish(manager.starts(bundle.command(&[], "run", &[])), b"").ok();
    assert_eq!(manager.next(), "STATUS=end");
    assert!(manager.is_silent());
}

fn exec_is_not_given_the_socket(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = speaker(lab, &["READY=1"]);
    let run = Running::new(
        manager.starts(bundle.command(&[], "run", &["--detach"])),
        b"",
    );
    expect_ready(&manager, &bundle);
    run.wait().ok();
    let mut exec = lab.command();
    exec.args(["exec", bundle.id(), "env"]);
    let out = finish(manager.starts(exec), b"").ok();
    assert!(!out.stdout.contains("NOTIFY_SOCKET"), "{out:?}");
}

fn an_ordinary_user_inside_may_speak(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = lab
        .bundle()
        .set(
            "/process/user",
            serde_json::json!({"uid": 1234, "gid": 1234}),
        )
        .args(&["/bin/probe", "notify", "STATUS=user"]);
    let out: Output = finish(manager.starts(bundle.command(&[], "run", &[])), b"").ok();
    assert_eq!(out.text(), "sent");
    assert_eq!(manager.next(), "STATUS=user");
}

fn an_ordinary_users_container_is_heard(lab: &Lab) {
    let manager = Manager::new(lab);
    std::fs::set_permissions(&manager.path, std::fs::Permissions::from_mode(0o777)).unwrap();
    let bundle = rootless::bundle(
        lab,
        "/bin/probe notify STATUS=user; /bin/probe notify READY=1",
        |_| {},
    );
    let user = |args: &[&str]| rootless::as_user(lab, bundle.path(), args);
    let run = user(&["run", bundle.id()]);
    let out: Output = finish(manager.starts(run), b"").ok();
    assert_eq!(out.lines(), ["sent", "sent"]);
    assert_eq!(manager.next(), "STATUS=user");
    assert_eq!(manager.next(), "READY=1");
    assert!(manager.next().starts_with("MAINPID="));
    // The waiting init, too, into which `start` has to look.
    finish(manager.starts(user(&["create", bundle.id()])), b"").ok();
    let started = finish(manager.starts(user(&["start", bundle.id()])), b"");
    rootless::call(lab, bundle.path(), &["delete", "--force", bundle.id()]).ok();
    started.ok();
    assert_eq!(manager.next(), "STATUS=user");
    assert_eq!(manager.next(), "READY=1");
}

fn a_manager_that_is_gone_is_no_reason_to_fail(lab: &Lab) {
    let manager = Manager::new(lab);
    std::fs::remove_file(&manager.path).unwrap();
    let script = "/bin/probe notify READY=1; exec sleep 1000";
    let bundle = lab.bundle().sh(script);
    // There is nobody for whom it could wait.
    finish(
        manager.starts(bundle.command(&[], "run", &["--detach"])),
        b"",
    )
    .ok();
    let bundle = lab.bundle().sh("/bin/probe notify READY=1");
    let out = finish(manager.starts(bundle.command(&[], "run", &[])), b"").ok();
    assert_eq!(out.text(), "sent");
}

fn a_container_that_is_not_ready_can_be_deleted(lab: &Lab) {
    let manager = Manager::new(lab);
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    let create = manager.starts(bundle.command(&[], "create", &[]));
    finish(create, b"").ok();
    let mut start = lab.command();
    start.args(["start", bundle.id()]);
    let start = Running::new(manager.starts(start), b"");
    wait_until("the container runs", || bundle.status() == "running");
    bundle.call("delete", &["--force"], &[]).ok();
    lab.assert_nothing_left(bundle.id());
    start.wait().ok();
}
