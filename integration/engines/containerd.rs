//! containerd through its shim for runc: what `ctr` can ask of it.

use super::container::{Container, shell};
use super::image::{self, Image};
use super::{daemon, lines, say_and_run};
use crate::support::{Case, Lab, Running, Terminal, cases, finish, wait_until};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

const CONTAINERD: &str = "/usr/bin/containerd";

/// The tests' namespace in containerd.
const NAMESPACE: &str = "casulo-test";

/// Where the shim lets the runtime keep its state, below it a directory for each namespace.
pub(super) const STATE: &str = "/run/containerd/runc";

mod smoke {
    use super::*;
    cases! {
        // containerd gives every container CPU shares.
        [Root, Program(CONTAINERD), Controller("cpu")] => smoke_test;
    }
}
pub(crate) const SMOKE: &[Case] = smoke::CASES;

cases! {
    [Root, Program(CONTAINERD), Controller("cpu")] => output_and_exit_codes, input_is_passed_on, terminal, exec_in_all_ways,
        lists_and_processes, signals, pause_and_resume, read_only_root, failed_start, events_of_a_life,
        shim_is_killed, user_namespace;
    [Root, Program(CONTAINERD), Controller("memory")] => metrics_and_limits, oom_is_told;
    [Root, Program(CONTAINERD), Controller("cpu"), Systemd] => scope_of_systemd;
    [Root, Program(CONTAINERD), Controller("cpu"), DebianRoot] => users_by_name;
}

/// containerd as the tests started it.
pub(super) struct Daemon {
    pub(super) socket: PathBuf,
}

/// Starts containerd with the documentation's lines, and gives it the image.
pub(super) fn daemon(lab: &Lab) -> &'static Daemon {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    DAEMON.get_or_init(|| {
        let directory = lab.shared_directory("containerd");
        let daemon = Daemon {
            socket: directory.join("socket"),
        };
        let config = directory.join("config.toml");
        fs::write(&config, configuration(lab, &directory, &daemon.socket)).unwrap();
        super::cri::write_network(&directory);
        let arguments = ["--config", &config.to_string_lossy()];
        daemon::start(&directory, CONTAINERD, &arguments, || {
            let mut version = ctr(&daemon.socket, NAMESPACE);
            version.arg("version");
            version
        });
        daemon.import(lab, NAMESPACE, &image::BUSYBOX);
        daemon.import(lab, super::cri::NAMESPACE, &image::BUSYBOX);
        daemon.import(lab, super::cri::NAMESPACE, &image::PAUSE);
        daemon
    })
}

impl Daemon {
    /// Gives it an image.
    #[track_caller]
    pub(super) fn import(&self, lab: &Lab, namespace: &str, image: &Image) {
        let mut import = ctr(&self.socket, namespace);
        import.args(["image", "import"]).arg(image.archive(lab));
        say_and_run(import, b"").ok();
    }
}

/// The documentation's lines, and what makes this containerd the tests' own.
fn configuration(lab: &Lab, directory: &Path, socket: &Path) -> String {
    let text = lines::of(lab, "/etc/containerd/config.toml");
    let (head, tables) = text.split_once("\n[").unwrap();
    let runtime = lab.runtime();
    let (directory, socket, runtime) = (directory.display(), socket.display(), runtime.display());
    format!(
        r#"root = "{directory}/root"
state = "{directory}/state"
{head}
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{directory}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{}]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{}.options]
BinaryName = "{runtime}"
SystemdCgroup = false

[{tables}"#,
        image::PAUSE.name,
        super::cri::WITH_CGROUPFS,
        super::cri::WITH_CGROUPFS,
    )
}

fn ctr(socket: &Path, namespace: &str) -> Command {
    let mut command = Command::new("/usr/bin/ctr");
    command.arg("--address").arg(socket);
    command.args(["--namespace", namespace]);
    command
}

/// A container of containerd's.
struct Ctr {
    /// The runtime under test.
    runtime: String,
    socket: PathBuf,
    id: String,
}

impl Container for Ctr {
    fn new(lab: &Lab) -> Ctr {
        Ctr {
            runtime: lab.runtime().to_string_lossy().into_owned(),
            socket: daemon(lab).socket.clone(),
            id: lab.new_id(),
        }
    }

    fn name(&self) -> &str {
        &self.id
    }

    fn engine(&self) -> Command {
        ctr(&self.socket, NAMESPACE)
    }

    fn run_of(&self, image: &Image, options: &str, script: &str) -> Command {
        let first = ["run", "--runc-binary", &self.runtime];
        self.command(&shell(&first, options, &[image.name, "@"], script))
    }

    fn exec_command(&self, options: &str, script: &str) -> Command {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let id = format!("exec{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let first = ["task", "exec", "--exec-id", &id];
        self.command(&shell(&first, options, &["@"], script))
    }

    fn load(&self, lab: &Lab, image: &Image) {
        daemon(lab).import(lab, NAMESPACE, image);
    }

    #[track_caller]
    fn remove(&self) {
        self.call("task delete --force @").ok();
        self.call("container delete @").ok();
        self.assert_nothing_left();
    }
}

impl Ctr {
    /// A column of the container's line in `ctr task ls`: id, pid, status.
    fn listed(&self, column: usize) -> String {
        let out = self.quiet("task ls").ok();
        let line = out.lines().into_iter().find(|it| it.contains(&self.id));
        let word = line.and_then(|line| line.split_whitespace().nth(column));
        word.unwrap_or_default().to_owned()
    }

    fn status(&self) -> String {
        self.listed(2)
    }

    /// A file of the container's cgroup. `ctr` mounts no cgroups in a container.
    #[track_caller]
    fn limit(&self, file: &str) -> String {
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", self.listed(1))).unwrap();
        let path = cgroup.trim().strip_prefix("0::/").unwrap();
        let file = Path::new("/sys/fs/cgroup").join(path).join(file);
        fs::read_to_string(file).unwrap().trim().to_owned()
    }

    #[track_caller]
    fn wait_stopped(&self) {
        wait_until("the task is stopped", || self.status() == "STOPPED");
    }

    #[track_caller]
    fn assert_nothing_left(&self) {
        daemon::wait_nothing_left(&self.id, &[&Path::new(STATE).join(NAMESPACE)]);
    }
}

impl Drop for Ctr {
    /// After a failed test, too, the container goes.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.quiet("task delete --force @");
            self.quiet("container delete @");
        }
    }
}

fn smoke_test(lab: &Lab) {
    let container = Ctr::new(lab);
    container.detached("", "exec sleep 1000");
    let out = container.exec("", "echo inside; exit 3");
    assert_eq!((out.code, out.text()), (3, "inside"));
    container.call("task kill --signal KILL @").ok();
    container.wait_stopped();
    container.remove();
}

fn output_and_exit_codes(lab: &Lab) {
    let container = Ctr::new(lab);
    let out = container.sh("", "echo out; echo err >&2; exit 7");
    assert_eq!((out.code, out.text(), out.stderr.trim()), (7, "out", "err"));
    container.assert_nothing_left();
    assert_eq!(container.sh("", "sh -c 'kill -KILL $$'; exit $?").code, 137);
    let many = container.sh("", "seq 20000").ok();
    assert_eq!(many.lines().len(), 20_000);
    container.assert_nothing_left();
}

fn input_is_passed_on(lab: &Lab) {
    let container = Ctr::new(lab);
    // `ctr` does not always hand the end of its input on.
    let out = say_and_run(container.run("--rm", "head -c 5"), b"typed");
    assert_eq!(out.ok().text(), "typed");
    container.assert_nothing_left();
}

fn terminal(lab: &Lab) {
    let container = Ctr::new(lab);
    let command = container.run("--rm --tty", "tty; read A; echo \"got $A\"; exit 5");
    let (mut terminal, mut child) = Terminal::spawn(command, 33, 99);
    terminal.expect("/dev/pts/0");
    terminal.type_in("typed\n");
    terminal.expect("got typed");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    container.assert_nothing_left();
}

fn exec_in_all_ways(lab: &Lab) {
    let container = Ctr::new(lab);
    container.detached("--env A=1", "exec sleep 1000");
    let out = container.exec("", "echo $A; echo err >&2; exit 9");
    assert_eq!((out.code, out.text(), out.stderr.trim()), (9, "1", "err"));
    let out = container.exec("--cwd /etc --user 1000:1000", "pwd; id -u");
    assert_eq!(out.ok().lines(), ["/etc", "1000"]);
    let out = say_and_run(container.exec_command("", "cat"), b"typed");
    assert_eq!(out.ok().text(), "typed");
    let (mut terminal, mut child) = Terminal::spawn(
        container.exec_command("--tty", "tty; read A; exit $A"),
        24,
        80,
    );
    terminal.expect("/dev/pts/");
    terminal.type_in("5\n");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    let missing = container.call(&format!(
        "task exec --exec-id {} @ no-such-program",
        lab.new_id()
    ));
    missing.fails_with(&["no-such-program"]);
    container.remove();
}

fn lists_and_processes(lab: &Lab) {
    let container = Ctr::new(lab);
    container.detached("", "sleep 1001 & exec sleep 1002");
    assert_eq!(container.status(), "RUNNING");
    wait_until("both processes are listed", || {
        container.quiet("task ps @").ok().lines().len() == 3
    });
    container.remove();
}

fn signals(lab: &Lab) {
    let container = Ctr::new(lab);
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let running = Running::new(container.run("", script), b"");
    wait_until("the trap is set", || running.stdout().contains("ready"));
    container.call("task kill --signal TERM @").ok();
    assert_eq!(running.wait().code, 5);
    container.call("container delete @").ok();
    container.detached("", "sleep 1001 & exec sleep 1002");
    container.call("task kill --all --signal KILL @").ok();
    container.wait_stopped();
    container
        .call("task kill @")
        .fails_with(&["process already finished"]);
    container.remove();
}

fn pause_and_resume(lab: &Lab) {
    let container = Ctr::new(lab);
    container.detached("", "exec sleep 1000");
    container.call("task pause @").ok();
    assert_eq!(container.status(), "PAUSED");
    container.call("task resume @").ok();
    assert_eq!(container.status(), "RUNNING");
    container.exec("", "true").ok();
    container.remove();
}

fn metrics_and_limits(lab: &Lab) {
    let container = Ctr::new(lab);
    container.detached(
        "--memory-limit 67108864 --cpu-quota 25000 --cpu-period 100000 --cpu-shares 102",
        "exec sleep 1000",
    );
    assert_eq!(container.limit("memory.max"), "67108864");
    assert_eq!(container.limit("cpu.max"), "25000 100000");
    let out = container.call("task metrics --format json @").ok();
    let metrics: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(metrics["memory"]["usage_limit"], 67_108_864, "{metrics:#}");
    assert_eq!(metrics["pids"]["current"], 1, "{metrics:#}");
    assert!(
        metrics["memory"]["usage"].as_u64().unwrap() > 0,
        "{metrics:#}"
    );
    container.remove();
}

fn oom_is_told(lab: &Lab) {
    let container = Ctr::new(lab);
    let events = Running::new(container.command(&["events"]), b"");
    let out = container.sh(
        "--memory-limit 16777216",
        "head -c 100m /dev/zero | tail | cat",
    );
    drop(out);
    wait_until("the kill is told", || {
        let said = events.stdout();
        said.lines()
            .any(|line| line.contains("/tasks/oom") && line.contains(&container.id))
    });
    container.assert_nothing_left();
}

fn read_only_root(lab: &Lab) {
    let container = Ctr::new(lab);
    let out = container.sh("--read-only", "touch /x");
    out.fails_with(&["Read-only file system"]);
    container.assert_nothing_left();
}

fn failed_start(lab: &Lab) {
    let container = Ctr::new(lab);
    let runtime = lab.runtime();
    let options = format!(
        "run --rm --runc-binary {} % @ no-such-program",
        runtime.display()
    );
    container.call(&options).fails_with(&["no-such-program"]);
    container.assert_nothing_left();
}

fn events_of_a_life(lab: &Lab) {
    let container = Ctr::new(lab);
    let events = Running::new(container.command(&["events"]), b"");
    container.sh("", "true").ok();
    let expected = [
        "/tasks/create",
        "/tasks/start",
        "/tasks/exit",
        "/tasks/delete",
    ];
    wait_until("all of its life is told", || {
        let said = events.stdout();
        let mine = |line: &&str| line.contains(&container.id);
        expected
            .iter()
            .all(|word| said.lines().filter(mine).any(|line| line.contains(word)))
    });
    container.assert_nothing_left();
}

/// containerd then calls the shim's clean-up, and that `delete --force`.
fn shim_is_killed(lab: &Lab) {
    let container = Ctr::new(lab);
    container.detached("", "sleep 1001 & exec sleep 1002");
    kill(daemon::shim_of(&container.id), Signal::SIGKILL).unwrap();
    wait_until("containerd forgets the task", || {
        !["RUNNING", "UNKNOWN"].contains(&&*container.status())
    });
    container.call("container delete @").ok();
    container.assert_nothing_left();
}

fn user_namespace(lab: &Lab) {
    let container = Ctr::new(lab);
    let out = container.sh(
        "--uidmap 0:100000:65536 --gidmap 0:100000:65536",
        "cat /proc/self/uid_map; id -u",
    );
    let out = out.ok();
    let map: Vec<&str> = out.lines()[0].split_whitespace().collect();
    assert_eq!((map, out.lines()[1]), (vec!["0", "100000", "65536"], "0"));
    container.assert_nothing_left();
}

fn users_by_name(lab: &Lab) {
    let container = Ctr::new(lab);
    container.load(lab, &image::DEBIAN);
    let run = container.run_of(&image::DEBIAN, "--detach", "exec sleep 1000");
    say_and_run(run, b"").ok();
    // `ctr run` has no such option.
    let out = container.exec("--user www-data", image::ASK_WWW_DATA).ok();
    assert_eq!(out.lines(), image::SAID_BY_WWW_DATA);
    container.remove();
}

fn scope_of_systemd(lab: &Lab) {
    let container = Ctr::new(lab);
    container.detached(
        "--runc-systemd-cgroup --cgroup system.slice:ctr:@ --memory-limit 67108864",
        "exec sleep 1000",
    );
    assert_eq!(container.limit("memory.max"), "67108864");
    let scope = format!("ctr-{}.scope", container.id);
    let show = |property: &str| {
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["show", "--property", property, "--value", &scope]);
        finish(systemctl, b"").ok().text().to_owned()
    };
    assert_eq!(show("ActiveState"), "active");
    assert_eq!(show("MemoryMax"), "67108864");
    let out = container.call("task metrics --format json @").ok();
    let metrics: Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(metrics["memory"]["usage_limit"], 67_108_864, "{metrics:#}");
    container.call("task pause @").ok();
    container.call("task resume @").ok();
    container.call("task kill --signal KILL @").ok();
    container.wait_stopped();
    container.remove();
    assert_ne!(show("ActiveState"), "active");
}
