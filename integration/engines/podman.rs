//! Podman: rootful, with casulo as its only runtime. In the test host with systemd's cgroups under
//! systemd, with cgroupfs elsewhere.

use super::alike::{
    a_device, apparmor_profile, capabilities_are_set, detached_and_logs, exec_in_all_ways,
    init_reaps, input_is_passed_on, limits_of_processes, other_namespaces, output_and_exit_codes,
    pause_and_unpause, privileged, read_only_root, restart, security_options, smoke_test,
    stop_kill_wait, terminal, user_is_set, users_by_name, volumes,
};
use super::container::{Container, shell};
use super::image::{self, Image};
use super::{daemon, lines, say_and_run};
use crate::support::{Case, Lab, Need, Output, cases, finish, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PODMAN: &str = "/usr/bin/podman";

/// Where runtimes keep their states: Podman leaves that to them.
const STATES: [&str; 3] = ["/run/casulo", "/run/crun", "/run/runc"];

mod smoke {
    use super::*;
    cases! {
        [Root, Program(PODMAN)] => smoke_test::<Podman>;
    }
}
pub(crate) const SMOKE: &[Case] = smoke::CASES;

cases! {
    [Root, Program(PODMAN)] => output_and_exit_codes::<Podman>, input_is_passed_on::<Podman>, terminal::<Podman>,
        detached_and_logs::<Podman>, exec_in_all_ways::<Podman>, stop_kill_wait::<Podman>, restart::<Podman>,
        pause_and_unpause::<Podman>, read_only_root::<Podman>, user_is_set::<Podman>, capabilities_are_set::<Podman>,
        privileged::<Podman>, security_options::<Podman>, volumes::<Podman>, limits_of_processes::<Podman>,
        other_namespaces::<Podman>;
    [Root, Program(PODMAN)] => terminal_without_one_outside, exit_codes_of_failures, top_lists_the_processes, healthcheck,
        volume_of_the_user, pod_shares_namespaces, no_cgroups, user_namespace_by_itself,
        user_namespaces_that_podman_chooses, events_of_a_life, sdnotify_of_the_container, no_limit_of_processes,
        preserved_descriptors;
    [Root, Program(PODMAN), IdMounts] => mapped_volume;
    [Root, Program(PODMAN), Program("/usr/lib/podman/netavark"), Systemd] => default_network;
    [Root, Program(PODMAN), Systemd] => unit_of_systemd;
    [Root, Program(PODMAN), Program("/usr/libexec/podman/catatonit")] => init_reaps::<Podman>;
    [Root, Program(PODMAN), Controller("memory")] => limits_are_applied, stats_of_a_container, oom_is_a_kill;
    [Root, Program(PODMAN), Fuse] => a_device::<Podman>;
    [Root, Program(PODMAN), AppArmor] => apparmor_profile::<Podman>;
    [Root, Program(PODMAN), DebianRoot] => users_by_name::<Podman>;
    [Root, Program("/usr/bin/buildah")] => buildah_builds;
    [Root, Program("/usr/bin/buildah"), DebianRoot] => buildah_builds_from_debian;
}

/// A container in the store that the tests share.
struct Podman {
    store: &'static Store,
    name: String,
}

/// Directories and settings, made once with the image.
struct Store {
    directory: PathBuf,
    config: PathBuf,
}

fn store(lab: &Lab) -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| {
        let directory = lab.shared_directory("podman");
        let config = directory.join("containers.conf");
        let manager = if lines::under_systemd() {
            "systemd"
        } else {
            "cgroupfs"
        };
        let pids_limit = match Need::Controller("pids").check() {
            Ok(()) => "",
            // Podman's default is a limit, which needs the controller.
            Err(_) => "pids_limit = 0\n",
        };
        let ours = format!("[engine]\ncgroup_manager = \"{manager}\"\nevents_logger = \"file\"\n");
        // The test host's journal is so small that one test's output drives out another's.
        let text = format!(
            "[containers]\n\
             netns = \"none\"\n\
             log_driver = \"k8s-file\"\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
             {pids_limit}{}",
            lines::of(lab, "/etc/containers/containers.conf").replace("[engine]\n", &ours)
        );
        fs::write(&config, text).unwrap();
        let store = Store { directory, config };
        let mut import = store.podman();
        import
            .arg("import")
            .arg(image::with_probe(lab))
            .arg(image::BUSYBOX.name);
        say_and_run(import, b"").ok();
        store
    })
}

impl Store {
    fn podman(&self) -> Command {
        let mut command = Command::new(PODMAN);
        self.options(&mut command)
            .arg("--tmpdir")
            .arg(self.directory.join("tmp"));
        command
    }

    /// What tells Podman and Buildah to use this store, and the settings.
    fn options<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.arg("--root").arg(self.directory.join("root"));
        command.arg("--runroot").arg(self.directory.join("run"));
        command.args(["--storage-driver", "vfs"]);
        command.env("CONTAINERS_CONF", &self.config)
    }
}

impl Container for Podman {
    fn new(lab: &Lab) -> Podman {
        Podman {
            store: store(lab),
            name: lab.new_id(),
        }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn engine(&self) -> Command {
        self.store.podman()
    }

    fn run_of(&self, image: &Image, options: &str, script: &str) -> Command {
        self.command(&shell(
            &["run", "--name", "@"],
            options,
            &[image.name],
            script,
        ))
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
        self.call("rm --force --time 0 @").ok();
        daemon::wait_nothing_left(&id, &STATES.map(Path::new));
    }
}

impl Drop for Podman {
    /// After a failed test, too, the container goes.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.quiet("rm --force --time 0 --ignore @");
        }
    }
}

/// A terminal inside, where the caller has none.
fn terminal_without_one_outside(lab: &Lab) {
    let podman = Podman::new(lab);
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && echo all";
    let out = podman.sh("-t", script).ok();
    assert_eq!(out.stdout, "/dev/pts/0\r\nall\r\n");
    podman.detached("", "exec sleep 1000");
    let out = podman.exec("-t", "tty").ok();
    assert!(out.stdout.starts_with("/dev/pts/"), "{out:?}");
    podman.remove();
}

/// 126 and 127 are Podman's words for what it reads in the runtime's error.
fn exit_codes_of_failures(lab: &Lab) {
    let podman = Podman::new(lab);
    let run = "run --rm --name @ %";
    assert_eq!(podman.call(&format!("{run} no-such-program")).code, 127);
    assert_eq!(podman.call(&format!("{run} /etc")).code, 126);
    assert_eq!(podman.call("run --no-such-option % true").code, 125);
    podman.detached("", "exec sleep 1000");
    assert_eq!(podman.call("exec @ no-such-program").code, 127);
    assert_eq!(podman.call("exec @ /etc").code, 126);
    podman.remove();
}

fn top_lists_the_processes(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("", "sleep 1001 & exec sleep 1002");
    let out = podman.call("top @ pid args").ok();
    assert!(
        out.stdout.contains("sleep 1001") && out.stdout.contains("sleep 1002"),
        "{out:?}"
    );
    podman.remove();
}

fn healthcheck(lab: &Lab) {
    for (command, code, status) in [("true", 0, "healthy"), ("false", 1, "unhealthy")] {
        let podman = Podman::new(lab);
        let options =
            format!("--health-cmd {command} --health-retries 1 --health-interval disable");
        podman.detached(&options, "exec sleep 1000");
        assert_eq!(podman.call("healthcheck run @").code, code);
        assert_eq!(podman.inspect("State.Health.Status"), status);
        podman.remove();
    }
}

/// `:U` gives the volume to the container's user.
fn volume_of_the_user(lab: &Lab) {
    let podman = Podman::new(lab);
    let directory = lab.directory("volume");
    fs::write(directory.join("f"), "").unwrap();
    let options = format!("-v {}:/v:U --user 5:6", directory.display());
    let out = podman.sh(&options, "stat -c %u:%g /v/f").ok();
    assert_eq!(out.text(), "5:6");
}

fn mapped_volume(lab: &Lab) {
    let podman = Podman::new(lab);
    let directory = lab.directory("mapped");
    let bind = format!("-v {}:/v:idmap", directory.display());
    let options = format!("{bind} --uidmap 0:100000:65536 --gidmap 0:100000:65536");
    // Root of the container writes as root of the host, though it is another user there.
    podman.sh(&options, "echo x >/v/f").ok();
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(directory.join("f")).unwrap());
    assert_eq!(owner, 0);
}

fn pod_shares_namespaces(lab: &Lab) {
    let podman = Podman::new(lab);
    let create = "pod create --name @-pod --share net,ipc,uts,pid --infra-image % --infra-command";
    let mut create: Vec<&str> = create.split(' ').collect();
    create.push("/bin/sleep 1000");
    say_and_run(podman.command(&create), b"").ok();
    podman.detached("--pod @-pod", "exec sleep 1001");
    let look = "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; ps -o args | grep -c '^sleep'";
    let one = podman.exec("", look).ok();
    let other = Podman::new(lab);
    let options = format!("--pod {}-pod", podman.name);
    assert_eq!(one.lines(), other.sh(&options, look).ok().lines());
    podman.remove();
    podman.call("pod rm --force --time 0 @-pod").ok();
}

fn no_cgroups(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman
        .sh(
            "--cgroups=disabled --cgroupns=host",
            "grep ^0: /proc/self/cgroup",
        )
        .ok();
    assert!(!out.text().contains("libpod-"), "{out:?}");
}

fn user_namespace_by_itself(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman
        .sh(
            "--uidmap 0:100000:65536 --gidmap 0:100000:65536",
            "cat /proc/self/uid_map; id -u; touch /made && echo made",
        )
        .ok();
    assert_eq!(
        out.lines()[0].split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    assert_eq!(out.lines()[1..], ["0", "made"]);
}

fn user_namespaces_that_podman_chooses(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman.sh("--userns auto:size=1000", "cat /proc/self/uid_map");
    let out = out.ok();
    let words: Vec<&str> = out.text().split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("0", "1000"));
    let first: u32 = words[1].parse().unwrap();
    assert!((1_000_000..2_000_000).contains(&first), "{words:?}");
}

fn events_of_a_life(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.sh("", "true").ok();
    let out = podman
        .call("events --stream=false --filter container=@ --format {{.Status}}")
        .ok();
    for expected in ["create", "start", "died", "remove"] {
        assert!(out.lines().contains(&expected), "{expected} in {out:?}");
    }
}

/// `--sdnotify=container`: Podman hands the manager's socket to the runtime.
fn sdnotify_of_the_container(lab: &Lab) {
    let podman = Podman::new(lab);
    let path = lab.join("manager.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(50)))
        .unwrap();
    let script = "/bin/probe notify READY=1; exec sleep 1000";
    let mut command = podman.run("--detach --sdnotify=container", script);
    command.env("NOTIFY_SOCKET", &path);
    let running = crate::support::Running::new(command, b"");
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while !said.contains(&"READY=1".to_owned()) {
        let length = socket.recv(&mut buffer).expect("a message");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        said.extend(text.lines().map(str::to_owned));
    }
    running.wait().ok();
    podman.remove();
}

/// Minus one is no limit. Where the host has no such controller, the runtime may not ask for it.
fn no_limit_of_processes(lab: &Lab) {
    let podman = Podman::new(lab);
    let look = "cat /sys/fs/cgroup/pids.max 2>/dev/null || echo none";
    let expected = match Need::Controller("pids").check() {
        Ok(()) => "max",
        Err(_) => "none",
    };
    let out = podman.sh("--pids-limit=-1", look).ok();
    assert_eq!(out.text(), expected);
    podman.detached("--pids-limit=-1", "exec sleep 1000");
    assert_eq!(podman.exec("", look).ok().text(), expected);
    podman.remove();
}

fn preserved_descriptors(lab: &Lab) {
    let podman = Podman::new(lab);
    let inner = podman.run("--rm --preserve-fds 1", "cat <&3");
    let out = lab.through_shell("echo held >held; exec 3<held; exec \"$@\"", &inner);
    assert_eq!(out.ok().text(), "held");
}

fn limits_are_applied(lab: &Lab) {
    let podman = Podman::new(lab);
    // The weight that CPU shares become is each runtime's own conversion.
    let options = "--memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 50 --cpu-shares 512";
    let look = "cd /sys/fs/cgroup; cat memory.max memory.swap.max cpu.max pids.max";
    let expected = ["67108864", "33554432", "50000 100000", "50"];
    assert_eq!(podman.sh(options, look).ok().lines(), expected);
    podman.detached(options, "exec sleep 1000");
    assert_eq!(podman.exec("", look).ok().lines(), expected);
    podman.remove();
}

fn stats_of_a_container(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("--memory 64m", "exec sleep 1000");
    let out = podman
        .call("stats --no-stream --format {{.MemUsage}}/{{.PIDS}} @")
        .ok();
    assert!(out.text().contains("67.11MB"), "{out:?}");
    assert!(out.text().ends_with("/1"), "{out:?}");
    podman.remove();
}

fn oom_is_a_kill(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached(
        "--memory 16m --memory-swap 16m",
        "head -c 100m /dev/zero | tail",
    );
    // OOMKilled stays false here with every runtime: Podman 4.3 looks too late.
    assert_eq!(podman.call("wait @").ok().text(), "137");
    podman.remove();
}

fn default_network(lab: &Lab) {
    let podman = Podman::new(lab);
    for module in ["bridge", "veth", "nf_tables"] {
        let _ = Command::new("modprobe").arg(module).status();
    }
    podman.detached(
        "--network podman",
        "while :; do echo served | nc -l -p 80; done",
    );
    let address = podman.inspect("NetworkSettings.Networks.podman.IPAddress");
    assert!(address.starts_with("10.88."), "{address}");
    let ask = format!("nc -w 5 {address} 80 </dev/null");
    let other = Podman::new(lab);
    wait_until("the other container answers", || {
        let out = finish(other.run("--rm --network podman", &ask), b"");
        out.text() == "served"
    });
    podman.remove();
}

/// `podman generate systemd`: systemd starts and stops the container as a service.
fn unit_of_systemd(lab: &Lab) {
    let podman = Podman::new(lab);
    let program = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let create = ["create", "--name", "@", "%", "sh", "-c", program];
    say_and_run(podman.command(&create), b"").ok();
    let unit = podman.call("generate systemd --new --name @").ok().stdout;
    podman.call("rm --force @").ok();
    let name = format!("casulo-{}.service", podman.name);
    let file = Path::new("/run/systemd/system").join(&name);
    // The service has no environment of ours.
    let config = podman.store.config.display();
    let service = format!("[Service]\nEnvironment=CONTAINERS_CONF={config}\n");
    fs::write(&file, unit.replacen("[Service]\n", &service, 1)).unwrap();
    let systemctl = |args: &[&str]| {
        let mut command = Command::new("systemctl");
        command.args(args);
        say_and_run(command, b"")
    };
    systemctl(&["daemon-reload"]).ok();
    systemctl(&["start", &name]).ok();
    assert_eq!(podman.inspect("State.Status"), "running");
    assert_eq!(podman.exec("", "echo inside").ok().text(), "inside");
    let main = systemctl(&["show", "--value", "-p", "SubState", &name]).ok();
    assert_eq!(main.text(), "running");
    systemctl(&["stop", &name]).ok();
    assert_ne!(podman.call("container exists @").code, 0);
    fs::remove_file(file).unwrap();
    systemctl(&["daemon-reload"]).ok();
}

fn buildah_builds(lab: &Lab) {
    let podman = Podman::new(lab);
    let from = format!("FROM {}", image::BUSYBOX.name);
    let steps = [
        &from,
        "RUN echo built >/built && ! echo x >/proc/sys/kernel/core_pattern",
        "USER tester",
        "RUN id -un >/tmp/user",
    ];
    let out = built(lab, &podman, &steps, "cat /built /tmp/user");
    assert_eq!(out.lines(), ["built", "tester"]);
}

/// Programs that are linked dynamically, and the files of another stage.
fn buildah_builds_from_debian(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.load(lab, &image::DEBIAN);
    let from = format!("FROM {}", image::DEBIAN.name);
    let steps = [
        &format!("{from} AS maker"),
        "USER www-data",
        &format!("RUN {{ {}; }} >/tmp/said", image::ASK_WWW_DATA),
        &from,
        "COPY --from=maker /tmp/said /said",
    ];
    let out = built(lab, &podman, &steps, "cat /said");
    assert_eq!(out.lines(), image::SAID_BY_WWW_DATA);
}

/// What a script says in an image that Buildah has built by these steps.
#[track_caller]
fn built(lab: &Lab, podman: &Podman, steps: &[&str], script: &str) -> Output {
    let context = lab.directory("context");
    fs::write(context.join("Containerfile"), steps.join("\n")).unwrap();
    let image = format!("localhost/{}", podman.name);
    let mut build = Command::new("/usr/bin/buildah");
    podman.store.options(&mut build);
    build.args(["build", "--network", "none", "--isolation", "oci"]);
    build.arg("--runtime").arg(lab.runtime());
    build.args(["--tag", &image]).arg(&context);
    say_and_run(build, b"").ok();
    let mut run = podman.command(&["run", "--rm", "--name", "@", &image]);
    run.args(["sh", "-c", script]);
    let out = say_and_run(run, b"").ok();
    podman.call(&format!("rmi {image}")).ok();
    out
}
