//! Podman: rootful, with casulo as its only runtime. In the test host with systemd's cgroups under
//! systemd, with cgroupfs elsewhere.

use super::{image, lines, say_and_run};
use crate::support::{Case, Lab, Need, Output, Terminal, cases, finish, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PODMAN: &str = "/usr/bin/podman";

mod smoke {
    use super::*;
    cases! {
        [Root, Program(PODMAN)] => smoke_test;
    }
}
pub(crate) const SMOKE: &[Case] = smoke::CASES;

cases! {
    [Root, Program(PODMAN)] => output_and_exit_codes, input_is_passed_on, terminal, detached_and_logs, exec_in_all_ways,
        stop_kill_wait, restart, pause_and_unpause, top_lists_the_processes, read_only_root, user_is_set,
        capabilities_are_set, security_options, volumes, exit_codes_of_failures, pod_shares_namespaces,
        no_cgroups, healthcheck, user_namespace_by_itself, events_of_a_life, sdnotify_of_the_container, limits_of_processes, no_limit_of_processes,
        preserved_descriptors, exec_on_a_terminal, user_namespaces_that_podman_chooses;
    [Root, Program(PODMAN), IdMounts] => mapped_volume;
    [Root, Program(PODMAN), Program("/usr/lib/podman/netavark"), Systemd] => default_network;
    [Root, Program(PODMAN), Systemd] => unit_of_systemd;
    [Root, Program(PODMAN), Program("/usr/libexec/podman/catatonit")] => init_reaps;
    [Root, Program(PODMAN), Controller("memory")] => limits_are_applied, stats_of_a_container, oom_is_a_kill;
    [Root, Program(PODMAN), Fuse] => a_device;
    [Root, Program(PODMAN), AppArmor] => apparmor_profile;
    [Root, Program(PODMAN), DebianRoot] => users_by_name;
    [Root, Program("/usr/bin/buildah")] => buildah_builds;
    [Root, Program("/usr/bin/buildah"), DebianRoot] => buildah_builds_from_debian;
}

/// Gives the store Debian's image; made once.
fn load_debian(lab: &Lab) {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        let mut load = command(store(lab));
        load.args(["load", "--input"])
            .arg(image::DEBIAN.archive(lab));
        say_and_run(load, b"").ok();
    });
}

/// A Podman with a store of its own, shared by the tests, and a container name for each.
struct Podman<'lab> {
    lab: &'lab Lab,
    name: String,
}

/// Folders and settings, made once with the image.
struct Store {
    folder: PathBuf,
    config: PathBuf,
}

fn store(lab: &Lab) -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| {
        let folder = lab.shared_folder("podman");
        let config = folder.join("containers.conf");
        let manager = match lines::under_systemd() {
            true => "systemd",
            false => "cgroupfs",
        };
        let pids_limit = match Need::Controller("pids").check() {
            Ok(()) => "",
            // Podman's default is a limit, which needs the controller.
            Err(_) => "pids_limit = 0\n",
        };
        let ours = format!("[engine]\ncgroup_manager = \"{manager}\"\nevents_logger = \"file\"\n");
        let text = format!(
            "[containers]\n\
             netns = \"none\"\n\
             default_ulimits = [\"nofile=1024:1024\", \"nproc=1000:1000\"]\n\
             {pids_limit}{}",
            lines::of(lab, "/etc/containers/containers.conf").replace("[engine]\n", &ours)
        );
        fs::write(&config, text).unwrap();
        let store = Store { folder, config };
        let mut import = command(&store);
        import
            .arg("import")
            .arg(image::with_probe(lab))
            .arg(image::BUSYBOX.name);
        say_and_run(import, b"").ok();
        store
    })
}

fn command(store: &Store) -> Command {
    let mut command = Command::new(PODMAN);
    for (option, folder) in [
        ("--root", "root"),
        ("--runroot", "run"),
        ("--tmpdir", "tmp"),
    ] {
        command.arg(option).arg(store.folder.join(folder));
    }
    command.args(["--storage-driver", "vfs"]);
    command.env("CONTAINERS_CONF", &store.config);
    command
}

impl<'lab> Podman<'lab> {
    fn new(lab: &'lab Lab) -> Podman<'lab> {
        store(lab);
        Podman {
            lab,
            name: lab.new_id(),
        }
    }

    /// `podman ARGS…`, where `@` is the container's name and `%` the image.
    #[track_caller]
    fn call(&self, line: &str) -> Output {
        self.call_with(&line.split(' ').collect::<Vec<_>>(), b"")
    }

    #[track_caller]
    fn call_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        say_and_run(self.command(args), stdin)
    }

    /// The same, without saying so: for what is asked again and again.
    #[track_caller]
    fn quiet(&self, args: &[&str]) -> Output {
        finish(self.command(args), b"")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(store(self.lab));
        command.args(args.iter().map(|arg| match *arg {
            "%" => image::BUSYBOX.name.to_owned(),
            other => other.replace('@', &self.name),
        }));
        command
    }

    /// `podman run --rm OPTIONS… IMAGE sh -c SCRIPT`.
    #[track_caller]
    fn sh(&self, options: &str, script: &str) -> Output {
        let mut args = vec!["run", "--rm", "--name", "@"];
        args.extend(options.split(' ').filter(|it| !it.is_empty()));
        args.extend(["%", "sh", "-c", script]);
        self.call_with(&args, b"")
    }

    /// Starts a container that stays.
    #[track_caller]
    fn detached(&self, options: &str, script: &str) {
        let mut args = vec!["run", "-d", "--name", "@"];
        args.extend(options.split(' ').filter(|it| !it.is_empty()));
        args.extend(["%", "sh", "-c", script]);
        self.call_with(&args, b"").ok();
    }

    fn status(&self) -> String {
        let out = self.call("inspect --format {{.State.Status}} @").ok();
        out.text().to_owned()
    }
}

impl Drop for Podman<'_> {
    /// Whatever happened, the container goes, and with it all that the runtime has of it.
    fn drop(&mut self) {
        let mut command = command(store(self.lab));
        command.args(["rm", "--force", "--time", "0", "--ignore", &self.name]);
        let out = say_and_run(command, b"");
        if !std::thread::panicking() {
            out.ok();
        }
    }
}

fn smoke_test(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman.sh("", "echo out; echo err >&2; exit 3");
    assert_eq!((out.code, out.text(), out.stderr.trim()), (3, "out", "err"));
    podman.detached("", "exec sleep 1000");
    assert_eq!(podman.call("exec @ echo inside").ok().text(), "inside");
    podman.call("kill --signal KILL @").ok();
    assert_eq!(podman.call("wait @").ok().text(), "137");
}

fn output_and_exit_codes(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman.sh("", "echo out; echo err >&2; exit 7");
    assert_eq!((out.code, out.text(), out.stderr.trim()), (7, "out", "err"));
    let many = podman.sh("", "seq 20000").ok();
    assert_eq!(many.lines().len(), 20_000);
}

fn input_is_passed_on(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman.call_with(&["run", "--rm", "-i", "--name", "@", "%", "cat"], b"typed");
    assert_eq!(out.ok().text(), "typed");
}

fn terminal(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman
        .sh("-t", "tty; test -t 0 && test -t 1 && test -t 2 && echo all")
        .ok();
    assert_eq!(out.stdout, "/dev/pts/0\r\nall\r\n");
    let script = "read x; echo got $x; exit 5";
    let args = ["run", "--rm", "-it", "--name", "@", "%", "sh", "-c", script];
    let (mut terminal, mut child) = Terminal::spawn(podman.command(&args), 33, 77);
    terminal.type_in("word\r");
    terminal.expect("got word");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    podman.detached("-t", "exec sleep 1000");
    let out = podman
        .call_with(&["exec", "-t", "@", "sh", "-c", "tty; stty size"], b"")
        .ok();
    assert!(out.stdout.starts_with("/dev/pts/"), "{out:?}");
}

fn detached_and_logs(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("", "echo one; echo two >&2; exec sleep 1000");
    wait_until("both lines are in the log", || {
        let out = podman.quiet(&["logs", "@"]).ok();
        out.text() == "one" && out.stderr.trim() == "two"
    });
    assert_eq!(podman.status(), "running");
    podman.call("stop --time 0 @").ok();
    assert_eq!(podman.status(), "exited");
}

fn exec_in_all_ways(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("--env A=1", "exec sleep 1000");
    let sh = |options: &[&str], script: &str| {
        let mut args = vec!["exec"];
        args.extend(options);
        args.extend(["@", "sh", "-c", script]);
        podman.call_with(&args, b"")
    };
    assert_eq!(sh(&[], "echo $A").ok().text(), "1");
    assert_eq!(
        sh(&["--env", "A=2", "--workdir", "/etc"], "echo $A; pwd")
            .ok()
            .lines(),
        ["2", "/etc"]
    );
    assert_eq!(
        sh(&["--user", "1000:1000"], "id -u; id -g").ok().lines(),
        ["1000", "1000"]
    );
    assert_eq!(sh(&[], "exit 9").code, 9);
    let out = podman.call_with(&["exec", "-i", "@", "cat"], b"typed");
    assert_eq!(out.ok().text(), "typed");
    assert_eq!(
        sh(
            &["--privileged"],
            "grep CapEff /proc/self/status | cut -f 2"
        )
        .ok()
        .text()
        .trim_start_matches('0')
        .len(),
        11
    );
    // 127 and 126 are Podman's words for what it reads in the runtime's error.
    assert_eq!(podman.call("exec @ no-such-program").code, 127);
    assert_eq!(podman.call("exec @ /etc").code, 126);
    let id = podman.call("exec --detach @ sleep 1001").ok();
    assert_eq!(id.text().len(), 64);
    wait_until("the detached process runs", || {
        podman
            .quiet(&["exec", "@", "ps", "-o", "args"])
            .stdout
            .contains("sleep 1001")
    });
}

fn stop_kill_wait(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("", "trap 'exit 5' TERM; while :; do sleep 0.1; done");
    podman.call("stop @").ok();
    assert_eq!(podman.call("wait @").ok().text(), "5");
    podman.call("start @").ok();
    podman.call("kill --signal USR1 @").ok();
    podman.call("kill @").ok();
    let code = podman.call("wait @").ok();
    assert!(["137", "138"].contains(&code.text()), "{code:?}");
    assert_ne!(podman.call("kill @").code, 0);
}

fn restart(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("", "echo life; exec sleep 1000");
    podman.call("restart --time 0 @").ok();
    wait_until("it has lived twice", || {
        podman.quiet(&["logs", "@"]).ok().text() == "life\nlife"
    });
    assert_eq!(podman.status(), "running");
}

fn pause_and_unpause(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("", "exec sleep 1000");
    podman.call("pause @").ok();
    assert_eq!(podman.status(), "paused");
    assert_ne!(podman.call("exec @ true").code, 0);
    podman.call("unpause @").ok();
    assert_eq!(podman.status(), "running");
    podman.call("exec @ true").ok();
    podman.call("pause @").ok();
    podman.call("rm --force --time 0 @").ok();
}

fn top_lists_the_processes(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("", "sleep 1001 & exec sleep 1002");
    let out = podman.call("top @ pid args").ok();
    assert!(
        out.stdout.contains("sleep 1001") && out.stdout.contains("sleep 1002"),
        "{out:?}"
    );
}

fn init_reaps(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman.sh("--init", "cat /proc/1/comm; echo $$").ok();
    assert_ne!(out.lines()[1], "1", "the shell is not the first: {out:?}");
    assert_ne!(out.lines()[0], "sh");
}

fn read_only_root(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman
        .sh(
            "--read-only --tmpfs /t",
            "touch /x; touch /t/x && echo made",
        )
        .ok();
    assert_eq!(out.text(), "made");
    assert!(out.stderr.contains("Read-only file system"), "{out:?}");
}

fn user_is_set(lab: &Lab) {
    let podman = Podman::new(lab);
    assert_eq!(
        podman
            .sh("--user tester", "id -un; echo $HOME")
            .ok()
            .lines(),
        ["tester", "/home/tester"]
    );
    let out = podman
        .sh(
            "--user 77:88 --group-add 99",
            "id -u; id -g; grep Groups /proc/self/status",
        )
        .ok();
    assert_eq!(out.lines()[..2], ["77", "88"]);
    assert!(out.lines()[2].contains("99"), "{out:?}");
}

fn users_by_name(lab: &Lab) {
    let podman = Podman::new(lab);
    load_debian(lab);
    let mut args = vec!["run", "--rm", "--name", "@", "--user", "www-data"];
    args.extend([image::DEBIAN.name, "sh", "-c", image::ASK_WWW_DATA]);
    let out = podman.call_with(&args, b"").ok();
    assert_eq!(out.lines(), image::SAID_BY_WWW_DATA);
}

fn capabilities_are_set(lab: &Lab) {
    let podman = Podman::new(lab);
    let set = |options: &str| {
        podman
            .sh(options, "cat /proc/self/status")
            .ok()
            .field("CapEff")
    };
    assert_eq!(set("--cap-drop all"), "0000000000000000");
    assert_eq!(set("--cap-drop all --cap-add kill"), "0000000000000020");
    assert_ne!(set("--privileged"), set(""));
}

fn security_options(lab: &Lab) {
    let podman = Podman::new(lab);
    let status = |options: &str| podman.sh(options, "cat /proc/self/status").ok();
    assert_eq!(status("").field("Seccomp"), "2");
    assert_eq!(
        status("--security-opt seccomp=unconfined").field("Seccomp"),
        "0"
    );
    assert_eq!(
        status("--security-opt no-new-privileges").field("NoNewPrivs"),
        "1"
    );
    let profile = lab.join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    fs::write(&profile, text).unwrap();
    let out = podman.sh(
        &format!("--security-opt seccomp={}", profile.display()),
        "mkdir /made",
    );
    assert!(out.stderr.contains("not permitted"), "{out:?}");
}

/// One that no container has by default: opening it is all that is granted or refused.
fn a_device(lab: &Lab) {
    let podman = Podman::new(lab);
    let script = "(: </dev/mine) && echo read; (: >/dev/mine) && echo written; true";
    let out = podman.sh("--device /dev/fuse:/dev/mine:r", script).ok();
    assert_eq!(out.lines(), ["read"]);
    assert!(out.stderr.contains("Operation not permitted"), "{out:?}");
    let out = podman.sh("--device /dev/fuse:/dev/mine", script).ok();
    assert_eq!(out.lines(), ["read", "written"]);
}

fn volumes(lab: &Lab) {
    let podman = Podman::new(lab);
    let folder = lab.folder("volume");
    let bind = |options: &str| format!("-v {}:/v{options}", folder.display());
    podman.sh(&bind(""), "echo x >/v/f").ok();
    assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "x\n");
    assert_ne!(podman.sh(&bind(":ro"), "echo y >/v/f").code, 0);
    // `:U` gives the volume to the container's user.
    let out = podman
        .sh(&format!("{} --user 5:6", bind(":U")), "stat -c %u:%g /v/f")
        .ok();
    assert_eq!(out.text(), "5:6");
    podman.call("volume create @-v").ok();
    podman.sh("-v @-v:/data", "echo kept >/data/f").ok();
    assert_eq!(podman.sh("-v @-v:/data", "cat /data/f").ok().text(), "kept");
    podman.call("volume rm @-v").ok();
    let out = podman
        .sh(
            "--mount type=tmpfs,destination=/t,tmpfs-size=1m",
            "df -k /t | tail -n 1",
        )
        .ok();
    assert!(out.text().contains("1024"), "{out:?}");
}

fn exit_codes_of_failures(lab: &Lab) {
    let podman = Podman::new(lab);
    assert_eq!(podman.call("run --rm --name @ % no-such-program").code, 127);
    assert_eq!(podman.call("run --rm --name @ % /etc").code, 126);
    assert_eq!(
        podman
            .call("run --rm --name @ --no-such-option % true")
            .code,
        125
    );
}

fn pod_shares_namespaces(lab: &Lab) {
    let podman = Podman::new(lab);
    let create = [
        "pod",
        "create",
        "--name",
        "@-pod",
        "--share",
        "net,ipc,uts,pid",
        "--infra-image",
        "%",
        "--infra-command",
        "/bin/sleep 1000",
    ];
    podman.call_with(&create, b"").ok();
    podman.detached("--pod @-pod", "exec sleep 1001");
    let look = "for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; ps -o args | grep -c '^sleep'";
    let mut first = vec!["exec", "@", "sh", "-c", look];
    let one = podman.call_with(&first, b"").ok();
    first = vec![
        "run", "--rm", "--pod", "@-pod", "--name", "@-b", "%", "sh", "-c", look,
    ];
    let other = podman.call_with(&first, b"").ok();
    assert_eq!(one.lines(), other.lines());
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

fn healthcheck(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached(
        "--health-cmd true --health-interval disable",
        "exec sleep 1000",
    );
    podman.call("healthcheck run @").ok();
    let out = podman
        .call("inspect --format {{.State.Health.Status}} @")
        .ok();
    assert_eq!(out.text(), "healthy");
    podman.call("rm --force --time 0 @").ok();
    podman.detached(
        "--health-cmd false --health-retries 1 --health-interval disable",
        "exec sleep 1000",
    );
    assert_eq!(podman.call("healthcheck run @").code, 1);
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
    let mut command = command(store(lab));
    command.env("NOTIFY_SOCKET", &path).args([
        "run",
        "-d",
        "--name",
        &podman.name,
        "--sdnotify=container",
        image::BUSYBOX.name,
    ]);
    command.args(["sh", "-c", "/bin/probe notify READY=1; exec sleep 1000"]);
    let running = crate::support::Running::new(command, b"");
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while !said.contains(&"READY=1".to_owned()) {
        let length = socket.recv(&mut buffer).expect("a message");
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        said.extend(text.lines().map(str::to_owned));
    }
    running.wait().ok();
}

fn limits_of_processes(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman
        .sh(
            "--ulimit nofile=99:100 --ulimit nproc=500:500 --oom-score-adj 500",
            "ulimit -n; cat /proc/self/oom_score_adj",
        )
        .ok();
    assert_eq!(out.lines(), ["99", "500"]);
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
    assert_eq!(
        podman
            .call_with(&["exec", "@", "sh", "-c", look], b"")
            .ok()
            .text(),
        expected
    );
}

fn preserved_descriptors(lab: &Lab) {
    let podman = Podman::new(lab);
    let mut inner = command(store(lab));
    inner.args([
        "run",
        "--rm",
        "--name",
        &podman.name,
        "--preserve-fds",
        "1",
        image::BUSYBOX.name,
        "sh",
        "-c",
        "cat <&3",
    ]);
    let out = lab.through_shell("echo held >held; exec 3<held; exec \"$@\"", &inner);
    assert_eq!(out.ok().text(), "held");
}

fn limits_are_applied(lab: &Lab) {
    let podman = Podman::new(lab);
    let out = podman
        .sh(
            "--memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 50 --cpu-shares 512",
            "cd /sys/fs/cgroup; cat memory.max cpu.max pids.max cpu.weight",
        )
        .ok();
    assert_eq!(out.lines(), ["67108864", "50000 100000", "50", "59"]);
    podman.detached("--memory 64m", "exec sleep 1000");
    let out = podman.call("exec @ cat /sys/fs/cgroup/memory.max").ok();
    assert_eq!(out.text(), "67108864");
}

fn stats_of_a_container(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("--memory 64m", "exec sleep 1000");
    let out = podman
        .call("stats --no-stream --format {{.MemUsage}}/{{.PIDS}} @")
        .ok();
    assert!(out.text().contains("67.11MB"), "{out:?}");
    assert!(out.text().ends_with("/1"), "{out:?}");
}

fn oom_is_a_kill(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached(
        "--memory 16m --memory-swap 16m",
        "head -c 100m /dev/zero | tail",
    );
    // OOMKilled stays false here with every runtime: Podman 4.3 looks too late.
    assert_eq!(podman.call("wait @").ok().text(), "137");
}

fn apparmor_profile(lab: &Lab) {
    let podman = Podman::new(lab);
    crate::process::load_profile(lab, "casulo-podman");
    let out = podman
        .sh(
            "--security-opt apparmor=casulo-podman",
            "cat /proc/self/attr/current",
        )
        .ok();
    assert_eq!(out.text(), "casulo-podman (enforce)");
}

fn buildah_builds(lab: &Lab) {
    let podman = Podman::new(lab);
    build(
        &podman,
        &[
            &format!("FROM {}", image::BUSYBOX.name),
            "RUN echo built >/built && ! echo x >/proc/sys/kernel/core_pattern",
            "USER tester",
            "RUN id -un >/tmp/user",
        ],
    );
    let out = run_built(&podman, "cat /built /tmp/user");
    assert_eq!(out.lines(), ["built", "tester"]);
}

/// A step with programs that are linked dynamically, and the files of another build.
fn buildah_builds_from_debian(lab: &Lab) {
    let podman = Podman::new(lab);
    load_debian(lab);
    build(
        &podman,
        &[
            &format!("FROM {} AS maker", image::DEBIAN.name),
            "USER www-data",
            &format!("RUN {{ {}; }} >/tmp/said", image::ASK_WWW_DATA),
            &format!("FROM {}", image::DEBIAN.name),
            "COPY --from=maker /tmp/said /said",
        ],
    );
    let out = run_built(&podman, "cat /said");
    assert_eq!(out.lines(), image::SAID_BY_WWW_DATA);
}

/// `buildah build` of a file with these lines; the image has the container's name.
#[track_caller]
fn build(podman: &Podman<'_>, lines: &[&str]) {
    let lab = podman.lab;
    let context = lab.folder("context");
    fs::write(context.join("Containerfile"), lines.join("\n")).unwrap();
    let store = store(lab);
    let mut build = Command::new("/usr/bin/buildah");
    build
        .arg("--root")
        .arg(store.folder.join("root"))
        .arg("--runroot")
        .arg(store.folder.join("run"));
    build.args([
        "--storage-driver",
        "vfs",
        "build",
        "--network",
        "none",
        "--isolation",
        "oci",
        "--runtime",
    ]);
    build
        .arg(lab.runtime())
        .args(["--tag", &format!("localhost/{}", podman.name)])
        .arg(&context);
    build.env("CONTAINERS_CONF", &store.config);
    say_and_run(build, b"").ok();
}

/// Runs a script in what [`build`] has built, and removes the image.
#[track_caller]
fn run_built(podman: &Podman<'_>, script: &str) -> Output {
    let run = ["run", "--rm", "--name", "@", "localhost/@"];
    let out = podman.call_with(&[&run[..], &["sh", "-c", script]].concat(), b"");
    podman.call("rmi localhost/@").ok();
    out.ok()
}

fn exec_on_a_terminal(lab: &Lab) {
    let podman = Podman::new(lab);
    podman.detached("", "exec sleep 1000");
    // Podman sets the size once the process runs.
    let script =
        "until stty size 2>/dev/null | grep '33 77'; do sleep 0.1; done; read x; echo got $x";
    let args = ["exec", "-it", "@", "sh", "-c", script];
    let (mut terminal, mut child) = Terminal::spawn(podman.command(&args), 33, 77);
    terminal.expect("33 77");
    terminal.type_in("word\r");
    terminal.expect("got word");
    assert!(child.wait().unwrap().success());
}

fn user_namespaces_that_podman_chooses(lab: &Lab) {
    let podman = Podman::new(lab);
    let map = |name: &str| {
        let args = [
            "run",
            "--rm",
            "--name",
            name,
            "--userns",
            "auto:size=1000",
            "%",
        ];
        let look = ["cat", "/proc/self/uid_map"];
        let out = podman.call_with(&[&args[..], &look].concat(), b"").ok();
        let words: Vec<String> = out.text().split_whitespace().map(str::to_owned).collect();
        words
    };
    let words = map("@");
    let first: u32 = words[1].parse().unwrap();
    assert_eq!((words[0].as_str(), words[2].as_str()), ("0", "1000"));
    assert!((1_000_000..2_000_000).contains(&first), "{words:?}");
}

fn mapped_volume(lab: &Lab) {
    let podman = Podman::new(lab);
    let folder = lab.folder("mapped");
    let bind = format!("-v {}:/v:idmap", folder.display());
    let options = format!("{bind} --uidmap 0:100000:65536 --gidmap 0:100000:65536");
    // Root of the container writes as root of the host, though it is another user there.
    podman.sh(&options, "echo x >/v/f").ok();
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.join("f")).unwrap());
    assert_eq!(owner, 0);
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
    let address = podman
        .call("inspect --format {{.NetworkSettings.Networks.podman.IPAddress}} @")
        .ok();
    let address = address.text().to_owned();
    assert!(address.starts_with("10.88."), "{address}");
    let ask = format!("nc -w 5 {address} 80 </dev/null");
    let mut said = String::new();
    wait_until("the other container answers", || {
        let args = ["run", "--rm", "--network", "podman", "%", "sh", "-c", &ask];
        said = podman.quiet(&args).stdout;
        said.contains("served")
    });
    podman.call("rm --force --time 0 @").ok();
}

/// `podman generate systemd`: systemd starts and stops the container as a service.
fn unit_of_systemd(lab: &Lab) {
    let podman = Podman::new(lab);
    let program = "trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let create = ["create", "--name", "@", "%", "sh", "-c", program];
    podman.call_with(&create, b"").ok();
    let unit = podman.call("generate systemd --new --name @").ok().stdout;
    podman.call("rm --force @").ok();
    let name = format!("casulo-{}.service", podman.name);
    let file = Path::new("/run/systemd/system").join(&name);
    // The service has no environment of ours.
    let config = store(lab).config.display().to_string();
    let service = format!("[Service]\nEnvironment=CONTAINERS_CONF={config}\n");
    fs::write(&file, unit.replacen("[Service]\n", &service, 1)).unwrap();
    let systemctl = |args: &[&str]| {
        let mut command = Command::new("systemctl");
        command.args(args);
        say_and_run(command, b"")
    };
    systemctl(&["daemon-reload"]).ok();
    systemctl(&["start", &name]).ok();
    assert_eq!(podman.status(), "running");
    assert_eq!(podman.call("exec @ echo inside").ok().text(), "inside");
    let main = systemctl(&["show", "--value", "-p", "SubState", &name]).ok();
    assert_eq!(main.text(), "running");
    systemctl(&["stop", &name]).ok();
    assert_ne!(podman.call("container exists @").code, 0);
    fs::remove_file(file).unwrap();
    systemctl(&["daemon-reload"]).ok();
}
