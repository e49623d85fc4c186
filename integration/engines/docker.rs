//! Docker, with the runtime under test as its default one. Each daemon has a containerd of its own.

use super::alike::{
    a_device, apparmor_profile, capabilities_are_set, detached_and_logs, exec_in_all_ways,
    init_reaps, input_is_passed_on, limits_of_processes, other_namespaces, output_and_exit_codes,
    pause_and_unpause, privileged, read_only_root, restart, security_options, smoke_test,
    stop_kill_wait, terminal, user_is_set, users_by_name, volumes,
};
use super::container::{Container, shell};
use super::image::{self, Image};
use super::{daemon, lines, say_and_run};
use crate::support::{Case, Lab, cases, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

const DOCKERD: &str = "/usr/sbin/dockerd";

mod smoke {
    use super::*;
    cases! {
        [Root, Program(DOCKERD)] => smoke_test::<Docker>;
    }
}
pub(crate) const SMOKE: &[Case] = smoke::CASES;

cases! {
    [Root, Program(DOCKERD)] => output_and_exit_codes::<Docker>, input_is_passed_on::<Docker>, terminal::<Docker>,
        detached_and_logs::<Docker>, exec_in_all_ways::<Docker>, stop_kill_wait::<Docker>, restart::<Docker>,
        pause_and_unpause::<Docker>, init_reaps::<Docker>, read_only_root::<Docker>, user_is_set::<Docker>,
        capabilities_are_set::<Docker>, privileged::<Docker>, security_options::<Docker>, volumes::<Docker>,
        limits_of_processes::<Docker>, other_namespaces::<Docker>;
    [Root, Program(DOCKERD)] => exit_codes_of_failures, top_lists_the_processes, health, restart_policy, events_of_a_life,
        names_on_a_network, user_namespace_of_the_daemon, containers_outlive_the_daemon, image_is_built;
    [Root, Program(DOCKERD), Fuse] => a_device::<Docker>;
    [Root, Program(DOCKERD), AppArmor] => apparmor_profile::<Docker>;
    [Root, Program(DOCKERD), DebianRoot] => users_by_name::<Docker>;
    [Root, Program(DOCKERD), Controller("memory")] => limits_are_applied_and_updated, stats_of_a_container, oom_is_known;
}

/// A Docker daemon of the tests.
#[derive(Clone)]
struct Daemon {
    directory: PathBuf,
    socket: PathBuf,
}

/// The daemon of most tests.
fn shared_daemon(lab: &Lab) -> &'static Daemon {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    DAEMON.get_or_init(|| start(lab, "docker", &json!({})))
}

/// Starts a daemon with the documentation's lines, and gives it the image.
fn start(lab: &Lab, name: &str, more: &Value) -> Daemon {
    let directory = lab.shared_directory(name);
    let daemon = Daemon {
        socket: directory.join("socket"),
        directory,
    };
    let in_directory = |name: &str| daemon.directory.join(name).to_string_lossy().into_owned();
    let mut config: Value =
        serde_json::from_str(&lines::of(lab, "/etc/docker/daemon.json")).unwrap();
    if !lines::under_systemd() {
        config["exec-opts"] = json!(["native.cgroupdriver=cgroupfs"]);
    }
    for (key, value) in [
        ("data-root", json!(in_directory("root"))),
        ("exec-root", json!(in_directory("exec"))),
        ("pidfile", json!(in_directory("pid"))),
        (
            "hosts",
            json!([format!("unix://{}", in_directory("socket"))]),
        ),
    ] {
        config[key] = value;
    }
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(in_directory("daemon.json"), config.to_string()).unwrap();
    daemon.launch();
    Docker::of(lab, &daemon).load(lab, &image::BUSYBOX);
    daemon
}

impl Daemon {
    #[track_caller]
    fn launch(&self) {
        let file = self.directory.join("daemon.json");
        let arguments = ["--config-file", &file.to_string_lossy()];
        daemon::start(&self.directory, DOCKERD, &arguments, || {
            let mut version = self.docker();
            version.arg("version");
            version
        });
    }

    fn docker(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.arg("--host");
        command.arg(format!("unix://{}", self.socket.display()));
        command.env("DOCKER_CONFIG", &self.directory);
        command
    }
}

/// A container of a daemon.
struct Docker {
    daemon: Daemon,
    name: String,
}

impl Docker {
    fn of(lab: &Lab, daemon: &Daemon) -> Docker {
        Docker {
            daemon: daemon.clone(),
            name: lab.new_id(),
        }
    }
}

impl Container for Docker {
    fn new(lab: &Lab) -> Docker {
        Docker::of(lab, shared_daemon(lab))
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn engine(&self) -> Command {
        self.daemon.docker()
    }

    /// A network costs seconds: only what asks for one has it.
    fn run_of(&self, image: &Image, options: &str, script: &str) -> Command {
        let mut first = vec!["run", "--name", "@"];
        if !options.contains("--network") {
            first.extend(["--network", "none"]);
        }
        self.command(&shell(&first, options, &[image.name], script))
    }

    fn exec_command(&self, options: &str, script: &str) -> Command {
        self.command(&shell(&["exec"], options, &["@"], script))
    }

    fn load(&self, lab: &Lab, image: &Image) {
        let archive = image.archive(lab).to_string_lossy();
        say_and_run(self.command(&["load", "--input", &archive]), b"").ok();
    }

    #[track_caller]
    fn remove(&self) {
        let id = self.inspect("Id");
        self.call("rm --force --volumes @").ok();
        let state = self.daemon.directory.join("exec/runtime-runc/moby");
        daemon::wait_nothing_left(&id, &[&state]);
    }
}

impl Drop for Docker {
    /// After a failed test, too, the container goes.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.quiet("rm --force --volumes @");
        }
    }
}

/// 125: Docker's own failure; 126 and 127: its words for what it reads in the runtime's error.
fn exit_codes_of_failures(lab: &Lab) {
    let docker = Docker::new(lab);
    assert_eq!(docker.call("run --rm --no-such-option % true").code, 125);
    let run = "run --rm --network none --name @ %";
    assert_eq!(docker.call(&format!("{run} no-such-program")).code, 127);
    assert_eq!(docker.call(&format!("{run} /no/such/program")).code, 127);
    assert_eq!(docker.call(&format!("{run} /etc")).code, 126);
    assert_eq!(docker.call(&format!("{run} /etc/passwd")).code, 126);
    docker.detached("", "exec sleep 1000");
    assert_eq!(docker.call("exec @ no-such-program").code, 126);
    assert_eq!(docker.call("exec @ /etc").code, 126);
    docker.remove();
}

fn top_lists_the_processes(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("", "sleep 1001 & exec sleep 1002");
    let out = docker.call("top @ -o pid,args").ok();
    assert!(out.stdout.contains("sleep 1001"), "{out:?}");
    assert!(out.stdout.contains("sleep 1002"), "{out:?}");
    docker.remove();
}

fn stats_of_a_container(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("--memory 64m", "exec sleep 1000");
    let out = docker
        .call("stats --no-stream --format {{.MemUsage}}|{{.PIDs}} @")
        .ok();
    assert!(out.text().ends_with("/ 64MiB|1"), "{out:?}");
    assert!(!out.text().starts_with("0B"), "{out:?}");
    docker.remove();
}

fn limits_are_applied_and_updated(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached(
        "--memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 50 --cpuset-cpus 0",
        "exec sleep 1000",
    );
    let look = "cd /sys/fs/cgroup; cat memory.max memory.swap.max cpu.max pids.max cpuset.cpus";
    let out = docker.exec("", look).ok();
    assert_eq!(
        out.lines(),
        ["67108864", "33554432", "50000 100000", "50", "0"]
    );
    docker
        .call("update --memory 128m --memory-swap 256m --cpus 0.25 --pids-limit 77 @")
        .ok();
    let out = docker.exec("", look).ok();
    assert_eq!(
        out.lines(),
        ["134217728", "134217728", "25000 100000", "77", "0"]
    );
    docker.remove();
}

fn oom_is_known(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached(
        "--memory 16m --memory-swap 16m",
        "head -c 100m /dev/zero | tail | cat; exit 137",
    );
    assert_eq!(docker.call("wait @").ok().text(), "137");
    wait_until("the kill is known", || {
        docker.inspect("State.OOMKilled") == "true"
    });
    docker.remove();
}

fn health(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached(
        "--health-cmd=/tmp/check --health-interval=1s --health-retries=1 --health-timeout=50s",
        "echo exit 0 >/tmp/check; chmod +x /tmp/check; exec sleep 1000",
    );
    wait_until("it is healthy", || {
        docker.inspect("State.Health.Status") == "healthy"
    });
    docker.exec("", "echo exit 1 >/tmp/check").ok();
    wait_until("it is unhealthy", || {
        docker.inspect("State.Health.Status") == "unhealthy"
    });
    docker.remove();
}

fn restart_policy(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("--restart on-failure:2", "echo life; exit 1");
    wait_until("it was restarted twice", || {
        docker.inspect("RestartCount") == "2" && docker.inspect("State.Status") == "exited"
    });
    assert_eq!(docker.quiet("logs @").ok().text(), "life\nlife\nlife");
    docker.remove();
}

fn events_of_a_life(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.sh("", "true").ok();
    // Docker counts seconds: what is of this one is not told yet.
    wait_until("all of its life is told", || {
        let out = docker
            .quiet("events --since 10m --until 0s --filter container=@ --format {{.Status}}")
            .ok();
        let told = out.lines();
        ["create", "start", "die", "destroy"]
            .iter()
            .all(|it| told.contains(it))
    });
}

/// What a compose file makes of two services: a network of their own and names on it.
fn names_on_a_network(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.call("network create @-net").ok();
    docker.detached(
        "--network @-net --network-alias server",
        "while :; do echo served | nc -l -p 80; done",
    );
    let client = Docker::new(lab);
    let out = client.sh(
        &format!("--network {}-net", docker.name),
        "for i in 1 2 3 4 5 6 7 8 9; do nc -w 9 server 80 </dev/null && exit; sleep 1; done; cat /etc/resolv.conf",
    );
    assert_eq!(out.text(), "served", "{out:?}");
    docker.remove();
    docker.call("network rm @-net").ok();
}

/// `live-restore`: another daemon finds what the one before it has left running.
fn containers_outlive_the_daemon(lab: &Lab) {
    let daemon = start(lab, "docker-restored", &json!({"live-restore": true}));
    let docker = Docker::of(lab, &daemon);
    docker.detached("", "echo before; sleep 1001 & exec sleep 1002");
    let pid = docker.inspect("State.Pid");
    daemon::end(&daemon.directory);
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm, "sleep\n");
    daemon.launch();
    assert_eq!(docker.inspect("State.Status"), "running");
    assert_eq!(docker.inspect("State.Pid"), pid);
    assert_eq!(docker.exec("", "echo again").ok().text(), "again");
    assert_eq!(docker.call("logs @").ok().text(), "before");
    docker.call("pause @").ok();
    docker.call("unpause @").ok();
    docker.call("kill @").ok();
    assert_eq!(docker.call("wait @").ok().text(), "137");
    docker.remove();
}

/// The steps of a build are containers, too.
fn image_is_built(lab: &Lab) {
    let docker = Docker::new(lab);
    let context = lab.directory("context");
    let steps = [
        &format!("FROM {}", image::BUSYBOX.name),
        "RUN echo built >/built",
        "USER tester",
        "RUN id -un >/tmp/user",
    ];
    fs::write(context.join("Dockerfile"), steps.join("\n")).unwrap();
    let mut build = docker.command(&["build", "--network", "none", "--tag", "@"]);
    build.arg(&context).env("DOCKER_BUILDKIT", "0");
    say_and_run(build, b"").ok();
    let out = docker.call("run --rm --network none @ cat /built /tmp/user");
    assert_eq!(out.ok().lines(), ["built", "tester"]);
    docker.call("rmi @").ok();
}

/// `userns-remap`: every container of a daemon is in a user namespace.
fn user_namespace_of_the_daemon(lab: &Lab) {
    // By number: a group of the user's own name is not on every host.
    let daemon = start(lab, "docker-remapped", &json!({"userns-remap": "65534"}));
    let docker = Docker::of(lab, &daemon);
    let script = "cat /proc/self/uid_map; id -u; touch /made && echo made";
    let out = docker.sh("", script).ok();
    let map: Vec<&str> = out.lines()[0].split_whitespace().collect();
    assert_eq!(map, ["0", "100000", "65536"]);
    assert_eq!(out.lines()[1..], ["0", "made"]);
    docker.detached("", "exec sleep 1000");
    let out = docker
        .exec("", "cat /proc/self/uid_map; touch /again && echo made")
        .ok();
    assert_eq!(out.lines()[1], "made");
    docker.remove();
}
