//! Docker, with the runtime under test as its default one. Each daemon has a containerd of its own.

use super::image::{self, Image};
use super::{daemon, lines, say_and_run};
use crate::support::{Case, Lab, Output, Terminal, cases, finish, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

const DOCKERD: &str = "/usr/sbin/dockerd";

mod smoke {
    use super::*;
    cases! {
        [Root, Program(DOCKERD)] => smoke_test;
    }
}
pub(crate) const SMOKE: &[Case] = smoke::CASES;

cases! {
    [Root, Program(DOCKERD)] => output_and_exit_codes, exit_codes_of_failures, input_is_passed_on, terminal, detached_and_logs,
        exec_in_all_ways, stop_kill_wait, pause_and_unpause, top_lists_the_processes, health, restart_policy, restart, init_reaps,
        read_only_root, user_is_set, capabilities_are_set, security_options, volumes, ulimits, privileged, other_namespaces,
        events_of_a_life, names_on_a_network, user_namespace_of_the_daemon, containers_outlive_the_daemon, image_is_built;
    [Root, Program(DOCKERD), Fuse] => a_device;
    [Root, Program(DOCKERD), DebianRoot] => users_by_name;
    [Root, Program(DOCKERD), Controller("memory")] => limits_are_applied_and_updated, stats_of_a_container, oom_is_known;
}

/// A Docker daemon of the tests.
struct Daemon {
    folder: PathBuf,
    socket: PathBuf,
}

/// The daemon of most tests.
fn shared_daemon(lab: &Lab) -> &'static Daemon {
    static DAEMON: OnceLock<Daemon> = OnceLock::new();
    DAEMON.get_or_init(|| start(lab, "docker", &json!({})))
}

/// Starts a daemon with the documentation's lines, and gives it the image.
fn start(lab: &Lab, name: &str, more: &Value) -> Daemon {
    let folder = lab.shared_folder(name);
    let daemon = Daemon {
        socket: folder.join("socket"),
        folder,
    };
    let in_folder = |name: &str| daemon.folder.join(name).to_string_lossy().into_owned();
    let mut config: Value =
        serde_json::from_str(&lines::of(lab, "/etc/docker/daemon.json")).unwrap();
    if !lines::under_systemd() {
        config["exec-opts"] = json!(["native.cgroupdriver=cgroupfs"]);
    }
    for (key, value) in [
        ("data-root", json!(in_folder("root"))),
        ("exec-root", json!(in_folder("exec"))),
        ("pidfile", json!(in_folder("pid"))),
        ("hosts", json!([format!("unix://{}", in_folder("socket"))])),
    ] {
        config[key] = value;
    }
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(in_folder("daemon.json"), config.to_string()).unwrap();
    daemon.launch();
    load(lab, &daemon, &image::BUSYBOX);
    daemon
}

impl Daemon {
    #[track_caller]
    fn launch(&self) {
        let file = self.folder.join("daemon.json");
        let arguments = ["--config-file", &file.to_string_lossy()];
        daemon::start(&self.folder, DOCKERD, &arguments, || {
            docker(self, &["version"])
        });
    }
}

/// Gives a daemon an image.
fn load(lab: &Lab, daemon: &Daemon, image: &Image) {
    let archive = image.archive(lab).to_string_lossy();
    say_and_run(docker(daemon, &["load", "--input", &archive]), b"").ok();
}

fn docker(daemon: &Daemon, args: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/docker");
    command.arg("--host");
    command.arg(format!("unix://{}", daemon.socket.display()));
    command.args(args);
    command.env("DOCKER_CONFIG", &daemon.folder);
    command
}

/// A container name for each test.
struct Docker<'a> {
    daemon: &'a Daemon,
    name: String,
}

impl<'a> Docker<'a> {
    fn new(lab: &'a Lab) -> Docker<'a> {
        Docker::of(lab, shared_daemon(lab))
    }

    fn of(lab: &'a Lab, daemon: &'a Daemon) -> Docker<'a> {
        Docker {
            daemon,
            name: lab.new_id(),
        }
    }

    /// `docker ARGS…`, where `@` is the container's name and `%` the image.
    fn command(&self, args: &[&str]) -> Command {
        let args: Vec<String> = args
            .iter()
            .map(|arg| match *arg {
                "%" => image::BUSYBOX.name.to_owned(),
                other => other.replace('@', &self.name),
            })
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        docker(self.daemon, &args)
    }

    #[track_caller]
    fn call(&self, line: &str) -> Output {
        say_and_run(self.command(&line.split(' ').collect::<Vec<_>>()), b"")
    }

    /// The same, without saying so: for what is asked again and again.
    #[track_caller]
    fn quiet(&self, line: &str) -> Output {
        finish(self.command(&line.split(' ').collect::<Vec<_>>()), b"")
    }

    /// `docker run OPTIONS… IMAGE sh -c SCRIPT`. A network costs seconds: only what asks for one has it.
    fn run(&self, options: &str, script: &str) -> Command {
        let mut args = vec!["run", "--name", "@"];
        if !options.contains("--network") {
            args.extend(["--network", "none"]);
        }
        args.extend(options.split(' ').filter(|it| !it.is_empty()));
        args.extend(["%", "sh", "-c", script]);
        self.command(&args)
    }

    #[track_caller]
    fn sh(&self, options: &str, script: &str) -> Output {
        say_and_run(self.run(&format!("--rm {options}"), script), b"")
    }

    /// Starts a container that stays.
    #[track_caller]
    fn detached(&self, options: &str, script: &str) {
        say_and_run(self.run(&format!("-d {options}"), script), b"").ok();
    }

    #[track_caller]
    fn exec(&self, options: &str, script: &str) -> Output {
        let mut args = vec!["exec"];
        args.extend(options.split(' ').filter(|it| !it.is_empty()));
        args.extend(["@", "sh", "-c", script]);
        say_and_run(self.command(&args), b"")
    }

    #[track_caller]
    fn inspect(&self, template: &str) -> String {
        let out = self
            .quiet(&format!("inspect --format {{{{.{template}}}}} @"))
            .ok();
        out.text().to_owned()
    }

    /// Where the runtime keeps the states of Docker's containers.
    fn state(&self) -> PathBuf {
        self.daemon.folder.join("exec/runtime-runc/moby")
    }

    /// Removes the container; nothing of it may be left then.
    #[track_caller]
    fn remove(&self) {
        let id = self.inspect("Id");
        self.call("rm --force --volumes @").ok();
        daemon::wait_nothing_left(&id, &self.state());
    }
}

impl Drop for Docker<'_> {
    /// After a failed test, too, the container goes.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.quiet("logs @");
            self.quiet("rm --force --volumes @");
        }
    }
}

fn smoke_test(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("", "exec sleep 1000");
    let out = docker.exec("", "echo inside; exit 3");
    assert_eq!((out.code, out.text()), (3, "inside"));
    docker.remove();
}

fn output_and_exit_codes(lab: &Lab) {
    let docker = Docker::new(lab);
    let out = docker.sh("", "echo out; echo err >&2; exit 7");
    assert_eq!((out.code, out.text(), out.stderr.trim()), (7, "out", "err"));
    let many = docker.sh("", "seq 20000").ok();
    assert_eq!(many.lines().len(), 20_000);
    assert_eq!(docker.sh("", "sh -c 'kill -KILL $$'; exit $?").code, 137);
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

fn input_is_passed_on(lab: &Lab) {
    let docker = Docker::new(lab);
    let out = say_and_run(docker.run("--rm -i", "cat"), b"typed");
    assert_eq!(out.ok().text(), "typed");
}

fn terminal(lab: &Lab) {
    let docker = Docker::new(lab);
    let script = "tty; stty size; read A; echo \"got $A\"; exit 5";
    let (mut terminal, mut child) = Terminal::spawn(docker.run("--rm -it", script), 33, 99);
    terminal.expect("/dev/pts/0");
    terminal.type_in("typed\n");
    terminal.expect("got typed");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    docker.detached("-t", "exec sleep 1000");
    let exec = docker.command(&["exec", "-it", "@", "sh", "-c", "tty; read A; exit $A"]);
    let (mut terminal, mut child) = Terminal::spawn(exec, 33, 99);
    terminal.expect("/dev/pts/");
    terminal.type_in("5\n");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    docker.remove();
}

fn detached_and_logs(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("", "echo one; echo two >&2; exec sleep 1000");
    wait_until("both lines are in the log", || {
        let out = docker.quiet("logs @").ok();
        out.text() == "one" && out.stderr.trim() == "two"
    });
    assert_eq!(docker.inspect("State.Status"), "running");
    docker.remove();
}

fn exec_in_all_ways(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("--env A=1", "exec sleep 1000");
    assert_eq!(docker.exec("", "echo $A").ok().text(), "1");
    let out = docker.exec("--env A=2 --workdir /etc", "echo $A; pwd").ok();
    assert_eq!(out.lines(), ["2", "/etc"]);
    let out = docker.exec("--user 1000:1000", "id -u; id -g").ok();
    assert_eq!(out.lines(), ["1000", "1000"]);
    let out = say_and_run(docker.command(&["exec", "-i", "@", "cat"]), b"typed");
    assert_eq!(out.ok().text(), "typed");
    let set = |options: &str| {
        docker
            .exec(options, "cat /proc/self/status")
            .ok()
            .field("CapEff")
    };
    assert!(set("--privileged") > set(""));
    docker.call("exec --detach @ sleep 1001").ok();
    wait_until("the detached process runs", || {
        docker
            .quiet("exec @ ps -o args")
            .stdout
            .contains("sleep 1001")
    });
    docker.remove();
}

fn stop_kill_wait(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("", "trap 'exit 5' TERM; while :; do sleep 0.1; done");
    docker.call("stop --time 50 @").ok();
    assert_eq!(docker.call("wait @").ok().text(), "5");
    docker.call("start @").ok();
    docker.call("kill @").ok();
    assert_eq!(docker.call("wait @").ok().text(), "137");
    assert_ne!(docker.call("kill @").code, 0);
    docker.remove();
}

fn restart(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("", "echo life; exec sleep 1000");
    docker.call("restart --time 0 @").ok();
    wait_until("it has lived twice", || {
        docker.quiet("logs @").ok().text() == "life\nlife"
    });
    docker.remove();
}

fn pause_and_unpause(lab: &Lab) {
    let docker = Docker::new(lab);
    docker.detached("", "exec sleep 1000");
    docker.call("pause @").ok();
    assert_eq!(docker.inspect("State.Status"), "paused");
    assert_ne!(docker.exec("", "true").code, 0);
    docker.call("unpause @").ok();
    docker.exec("", "true").ok();
    docker.call("pause @").ok();
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

fn init_reaps(lab: &Lab) {
    let docker = Docker::new(lab);
    let out = docker.sh("--init", "ps -o pid,args").ok();
    assert!(out.lines()[1].contains("docker-init"), "{out:?}");
}

fn read_only_root(lab: &Lab) {
    let docker = Docker::new(lab);
    let out = docker
        .sh(
            "--read-only --tmpfs /t",
            "touch /x; touch /t/x && echo made",
        )
        .ok();
    assert_eq!(out.text(), "made");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

fn user_is_set(lab: &Lab) {
    let docker = Docker::new(lab);
    let out = docker.sh("--user tester", "id -un; echo $HOME").ok();
    assert_eq!(out.lines(), ["tester", "/home/tester"]);
    let script = "id -u; id -g; grep Groups /proc/self/status";
    let out = docker.sh("--user 77:88 --group-add 99", script).ok();
    assert_eq!(out.lines()[..2], ["77", "88"]);
    assert!(out.lines()[2].contains("99"), "{out:?}");
}

fn users_by_name(lab: &Lab) {
    let docker = Docker::new(lab);
    load(lab, docker.daemon, &image::DEBIAN);
    let mut args = vec!["run", "--rm", "--network", "none", "--user", "www-data"];
    args.extend([image::DEBIAN.name, "sh", "-c", image::ASK_WWW_DATA]);
    let out = say_and_run(docker.command(&args), b"").ok();
    assert_eq!(out.lines(), image::SAID_BY_WWW_DATA);
}

fn capabilities_are_set(lab: &Lab) {
    let docker = Docker::new(lab);
    let set = |options: &str| {
        docker
            .sh(options, "cat /proc/self/status")
            .ok()
            .field("CapEff")
    };
    assert_eq!(set("--cap-drop all"), "0000000000000000");
    assert_eq!(set("--cap-drop all --cap-add kill"), "0000000000000020");
}

fn security_options(lab: &Lab) {
    let docker = Docker::new(lab);
    let status = |options: &str| docker.sh(options, "cat /proc/self/status").ok();
    assert_eq!(status("").field("Seccomp"), "2");
    assert_eq!(
        status("--security-opt seccomp=unconfined").field("Seccomp"),
        "0"
    );
    assert_eq!(
        status("--security-opt no-new-privileges").field("NoNewPrivs"),
        "1"
    );
}

/// One that no container has by default: opening it is all that is granted or refused.
fn a_device(lab: &Lab) {
    let docker = Docker::new(lab);
    let script = "(: </dev/mine) && echo read; (: >/dev/mine) && echo written; true";
    let out = docker.sh("--device /dev/fuse:/dev/mine:r", script).ok();
    assert_eq!(out.lines(), ["read"]);
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
    let out = docker.sh("--device /dev/fuse:/dev/mine", script).ok();
    assert_eq!(out.lines(), ["read", "written"]);
}

fn volumes(lab: &Lab) {
    let docker = Docker::new(lab);
    let folder = lab.folder("volume");
    let bind = |options: &str| format!("-v {}:/v{options}", folder.display());
    docker.sh(&bind(""), "echo x >/v/f").ok();
    assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "x\n");
    assert_ne!(docker.sh(&bind(":ro"), "echo y >/v/f").code, 0);
    docker.call("volume create @-v").ok();
    docker.sh("-v @-v:/data", "echo kept >/data/f").ok();
    assert_eq!(docker.sh("-v @-v:/data", "cat /data/f").ok().text(), "kept");
    docker.call("volume rm @-v").ok();
    let tmpfs = "--mount type=tmpfs,destination=/t,tmpfs-size=1048576";
    let out = docker.sh(tmpfs, "df -k /t | tail -n 1").ok();
    assert!(out.text().contains("1024"), "{out:?}");
}

fn ulimits(lab: &Lab) {
    let docker = Docker::new(lab);
    let options =
        "--ulimit nofile=99:100 --oom-score-adj 500 --shm-size 2m --sysctl kernel.msgmax=4096";
    let script = "ulimit -n; cat /proc/self/oom_score_adj /proc/sys/kernel/msgmax; df -k /dev/shm | tail -n 1";
    let out = docker.sh(options, script).ok();
    assert_eq!(out.lines()[..3], ["99", "500", "4096"]);
    assert!(out.lines()[3].contains("2048"), "{out:?}");
}

fn privileged(lab: &Lab) {
    let docker = Docker::new(lab);
    let script = "mount -t tmpfs tmpfs /tmp && cat /proc/self/status";
    let status = docker.sh("--privileged", script).ok();
    assert_eq!(status.field("Seccomp"), "0");
}

fn other_namespaces(lab: &Lab) {
    let docker = Docker::new(lab);
    let ours = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let out = docker
        .sh(
            "--pid host --ipc host --uts host --cgroupns host",
            "for n in pid ipc uts cgroup; do readlink /proc/self/ns/$n; done",
        )
        .ok();
    let expected = ["pid", "ipc", "uts", "cgroup"].map(ours);
    assert_eq!(
        out.lines(),
        expected.each_ref().map(|it| it.to_str().unwrap())
    );
    docker.detached("", "sleep 1001 & exec sleep 1002");
    let other = Docker::new(lab);
    let options = format!("--pid container:{0} --network container:{0}", docker.name);
    let out = other.sh(&options, "ps -o args | grep ^sleep").ok();
    assert_eq!(out.lines().len(), 2);
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
    daemon::end(&daemon.folder);
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
    let context = lab.folder("context");
    let text = format!(
        "FROM {}\nRUN echo built >/built\nUSER tester\nRUN id -un >/tmp/user\n",
        image::BUSYBOX.name
    );
    fs::write(context.join("Dockerfile"), text).unwrap();
    let build = ["build", "--network", "none", "--tag", "@"];
    let mut build = docker.command(&build);
    build.arg(&context).env("DOCKER_BUILDKIT", "0");
    say_and_run(build, b"").ok();
    let run = ["run", "--rm", "--network", "none", "@"];
    let look = ["cat", "/built", "/tmp/user"];
    let out = say_and_run(docker.command(&[&run[..], &look].concat()), b"").ok();
    assert_eq!(out.lines(), ["built", "tester"]);
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
