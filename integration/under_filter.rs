//! What the runtime itself still calls under the container's filter, between seccomp(2) and execve(2): calls that the
//! filter may notify an agent of, and that a profile may not forbid (docs/seccomp.md).

use crate::rootless;
use crate::support::{Agent, Bundle, Lab, Running, Terminal, cases, finish, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command};

cases! {
    [Root, Casulo] => every_call_may_notify, needed_calls_may_notify, needed_calls_may_notify_in_a_joined_pid_namespace,
        agent_is_told_the_status, forbidden_call_is_named_before_anything_is_made, a_created_container_may_be_forbidden_getcwd;
    [Root, Casulo, Program("/usr/bin/setpriv")] => needed_calls_of_an_ordinary_user_may_notify;
    [Root, Casulo, Program("/usr/bin/gcc")] => shortest_list_is_enough;
    [Root, TestBuild, Program("/usr/bin/gcc")] => nothing_else_is_called;
}

/// The calls that docs/seccomp.md says are enough for everything.
fn shortest_list() -> Vec<&'static str> {
    let page = include_str!("../docs/seccomp.md");
    let (_, list) = page.split_once("The shortest list").unwrap();
    let list = list.split('`').nth(1).unwrap();
    list.split_whitespace().collect()
}

/// A profile that lets these calls be made, and refuses all others.
fn allowing(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    })
}

/// A bundle with all that makes the last steps call something, and a program that stays.
fn busy(bundle: Bundle<'_>, profile: Value) -> Bundle<'_> {
    fs::create_dir_all(bundle.rootfs().join("tmp")).unwrap();
    std::os::unix::fs::chown(bundle.rootfs().join("tmp"), Some(1000), None).unwrap();
    with_limit(bundle)
        .set("/linux/seccomp", profile)
        .push(
            "/hooks/startContainer",
            json!({"path": "/bin/sh", "args": ["sh", "-c", "echo hook >>/tmp/ran"]}),
        )
        .sh("echo program >>/tmp/ran; sleep 1000")
}

fn with_limit(bundle: Bundle<'_>) -> Bundle<'_> {
    let limit = json!([{"type": "RLIMIT_NPROC", "soft": 500, "hard": 500}]);
    bundle.set("/process/rlimits", limit)
}

/// Every way into a [`busy`] container.
fn every_way(lab: &Lab, bundle: &Bundle<'_>) {
    let ran = |times: usize| {
        let file = bundle.rootfs().join("tmp/ran");
        wait_until("hook and program run", || {
            fs::read_to_string(&file).unwrap_or_default() == "hook\nprogram\n".repeat(times)
        });
    };
    bundle.create(&[]).ok();
    assert_eq!(bundle.exec("echo early").ok().text(), "early");
    bundle.verb("start").ok();
    ran(1);
    assert_eq!(bundle.exec("echo late").ok().text(), "late");
    let (mut terminal, mut child) = on_terminal(lab, bundle, &["/bin/sh", "-c", "echo $((6 * 7))"]);
    terminal.expect("42");
    assert!(child.wait().unwrap().success());
    bundle.call("delete", &["--force"], &[]).ok();
    bundle.run_detached();
    ran(2);
    bundle.call("delete", &["--force"], &[]).ok();
}

/// `exec --tty`.
fn on_terminal(lab: &Lab, bundle: &Bundle<'_>, args: &[&str]) -> (Terminal, Child) {
    let mut exec = lab.command();
    exec.args(["exec", "--tty", bundle.id()]).args(args);
    Terminal::spawn(exec, 24, 80)
}

fn every_call_may_notify(lab: &Lab) {
    let agent = Agent::new(lab.join("agent"));
    every_way(lab, &busy(lab.bundle(), notifying_of_all(&agent)));
    let (documents, calls) = agent.heard();
    // create, three times exec, and run.
    assert_eq!(documents.len(), 5);
    assert!(calls.contains(&libc::SYS_execve), "{calls:?}");
}

/// A profile that notifies of all that the last steps may call, and of what sends descriptors.
fn notifying(agent: &Agent) -> Value {
    let mut names = shortest_list();
    names.extend(["sendmsg", "clone3", "execveat", "ppoll", "munmap"]);
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path(),
        "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}]
    })
}

fn notifying_of_all(agent: &Agent) -> Value {
    json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": agent.path()})
}

fn needed_calls_may_notify(lab: &Lab) {
    for (uid, no_new_privileges) in [(0, true), (0, false), (1000, true), (1000, false)] {
        let agent = Agent::new(lab.join(&format!("agent-{uid}-{no_new_privileges}")));
        let bundle = busy(lab.bundle(), notifying(&agent))
            .set("/process/user", json!({"uid": uid, "gid": uid}))
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        every_way(lab, &bundle);
        assert_eq!(agent.heard().0.len(), 5);
    }
}

fn needed_calls_may_notify_in_a_joined_pid_namespace(lab: &Lab) {
    let first = lab.bundle().args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let namespace = format!("/proc/{}/ns/pid", first.pid());
    for (uid, no_new_privileges) in [(0, true), (1000, false)] {
        let agent = Agent::new(lab.join(&format!("agent-{uid}")));
        let bundle = busy(lab.bundle(), notifying(&agent))
            .join_namespace("pid", &namespace)
            .set("/process/user", json!({"uid": uid, "gid": uid}))
            .set("/process/noNewPrivileges", json!(no_new_privileges));
        every_way(lab, &bundle);
        let (documents, calls) = agent.heard();
        assert_eq!(documents.len(), 5);
        assert_eq!(documents[0]["state"]["status"], "creating");
        assert!(calls.contains(&libc::SYS_setsid), "{calls:?}");
    }
}

fn needed_calls_of_an_ordinary_user_may_notify(lab: &Lab) {
    let agent = Agent::new(lab.join("agent"));
    let bundle = rootless::bundle(
        lab,
        "echo through; if [ -e /wait ]; then sleep 1000; fi",
        |config| {
            config["linux"]["seccomp"] = notifying(&agent);
        },
    );
    let call = |args: &[&str]| rootless::call(lab, bundle.path(), args).ok();
    assert_eq!(call(&["run", bundle.id()]).text(), "through");
    let (documents, calls) = agent.heard();
    assert_eq!(documents.len(), 1);
    // It was dumpable until its listener was taken.
    assert!(calls.contains(&libc::SYS_prctl), "{calls:?}");
    fs::write(bundle.rootfs().join("wait"), "").unwrap();
    call(&["create", bundle.id()]);
    let exec = ["exec", bundle.id(), "/bin/sh", "-c", "echo inside"];
    assert_eq!(call(&exec).text(), "inside");
    call(&["start", bundle.id()]);
    assert_eq!(call(&exec).text(), "inside");
    call(&["delete", "--force", bundle.id()]);
    let statuses: Vec<Value> = agent.heard().0.iter().map(status_of).collect();
    assert_eq!(statuses, ["creating", "created", "running"]);
}

fn status_of(document: &Value) -> Value {
    document["state"]["status"].clone()
}

fn agent_is_told_the_status(lab: &Lab) {
    let agent = Agent::new(lab.join("agent"));
    let bundle = lab
        .bundle()
        .set("/linux/seccomp", notifying(&agent))
        .args(&["/bin/sleep", "1000"]);
    let file = lab.join("pid");
    let pid_file = ["--pid-file", file.to_str().unwrap()];
    let told = || {
        let documents = agent.told();
        assert_eq!(documents.len(), 1, "{documents:?}");
        let [pid, init] = [&documents[0]["pid"], &documents[0]["state"]["pid"]];
        assert_eq!(pid.to_string(), fs::read_to_string(&file).unwrap());
        assert_eq!(init.to_string(), bundle.pid().to_string());
        status_of(&documents[0])
    };
    bundle.create(&pid_file).ok();
    assert_eq!(told(), "creating");
    bundle.call("exec", &pid_file, &["/bin/true"]).ok();
    assert_eq!(told(), "created");
    bundle.verb("start").ok();
    bundle.call("exec", &pid_file, &["/bin/true"]).ok();
    assert_eq!(told(), "running");
    // The second container is created in the namespace of the first.
    let second = bundle.pid();
    let joined = lab
        .bundle()
        .set("/linux/seccomp", notifying(&agent))
        .join_namespace("pid", &format!("/proc/{second}/ns/pid"));
    joined.create(&[]).ok();
    let documents = agent.told();
    assert_eq!(status_of(&documents[0]), "creating");
    assert_eq!(documents[0]["pid"], joined.pid());
}

/// A profile that refuses nothing but these calls.
fn forbidding(name: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO"}]
    })
}

fn forbidden_call_is_named_before_anything_is_made(lab: &Lab) {
    let first = lab.bundle().args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let namespace = format!("/proc/{}/ns/pid", first.pid());
    let made = lab.join("made");
    let (pid_file, mark) = (lab.join("pid"), format!("touch {}", made.display()));
    let forbids = |name: &str, bundle: Bundle<'_>| {
        let bundle = bundle.set("/linux/seccomp", forbidding(name)).push(
            "/hooks/createRuntime",
            json!({"path": "/bin/sh", "args": ["sh", "-c", mark]}),
        );
        let options = ["--pid-file", pid_file.to_str().unwrap()];
        // This looks for a record, a cgroup, mounts and processes, too.
        let out = bundle.create(&options);
        out.fails_with(&["linux.seccomp", &format!("the profile forbids {name}, ")]);
        assert!(!made.exists(), "a hook ran: {name}");
        assert!(!pid_file.exists(), "{name}");
    };
    for name in ["read", "write", "execve", "exit_group"] {
        forbids(name, lab.bundle());
    }
    for name in ["clone", "wait4", "dup", "close"] {
        forbids(name, busy(lab.bundle(), Value::Null));
    }
    for name in ["clone", "setsid"] {
        forbids(name, lab.bundle().join_namespace("pid", &namespace));
    }
    forbids(
        "capset",
        lab.bundle().set("/process/noNewPrivileges", json!(false)),
    );
    for name in ["setsid", "clone", "ioctl", "prlimit64"] {
        let bundle = with_limit(lab.bundle())
            .set("/linux/seccomp", forbidding(name))
            .args(&["/bin/sleep", "1000"]);
        bundle.run_detached();
        let processes = || fs::read_to_string(bundle.cgroup().join("cgroup.procs")).unwrap();
        let before = processes();
        let path = lab.join("console");
        let options = [
            "--pid-file",
            pid_file.to_str().unwrap(),
            "--tty",
            "--detach",
        ];
        let console = ["--console-socket", path.to_str().unwrap()];
        let options = [&options[..], &console[..]].concat();
        let out = bundle.call("exec", &options, &["/bin/touch", "/made"]);
        out.fails_with(&["linux.seccomp", &format!("the profile forbids {name}")]);
        assert_eq!(processes(), before);
        assert_eq!(bundle.status(), "running");
        assert!(!pid_file.exists() && !bundle.rootfs().join("made").exists());
    }
}

fn a_created_container_may_be_forbidden_getcwd(lab: &Lab) {
    let bundle = lab
        .bundle()
        .set("/linux/seccomp", forbidding("getcwd"))
        .set("/process/cwd", json!("/home/tester"))
        .sh("test . -ef /home/tester && ls -d /proc/self/cwd/ && ! /bin/pwd -P");
    let out = create_and_start(&bundle, || {});
    assert_eq!(out.trim(), "/proc/self/cwd/", "{out}");
}

/// A program that calls nothing but write, read and exit_group: says `ran`, reads to the end of a line, and ends.
const PROGRAM: &str = r#"
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
void _start(void) {
    char byte;
    call(1, 1, (long)"ran\n", 4);
    call(0, 0, (long)&byte, 1);
    for (;;) call(231, 0, 0, 0);
}
"#;

/// A bundle with the program at `/least`, which it runs.
fn least(lab: &Lab) -> Bundle<'_> {
    let bundle = lab.bundle();
    let source = lab.join("least.c");
    fs::write(&source, PROGRAM).unwrap();
    let mut gcc = Command::new("gcc");
    gcc.args(["-nostdlib", "-static", "-fno-stack-protector", "-O1", "-o"]);
    gcc.arg(bundle.rootfs().join("least")).arg(&source);
    finish(gcc, b"").ok();
    bundle.args(&["/least"])
}

/// `create`, something with the created container, and `start`; what its processes have written.
fn create_and_start(bundle: &Bundle<'_>, created: impl FnOnce()) -> String {
    let mut create = Running::new(bundle.command(&[], "create", &[]), b"");
    wait_until("create is done", || create.has_ended());
    assert_eq!(bundle.status(), "created");
    created();
    bundle.verb("start").ok();
    bundle.wait_stopped();
    bundle.verb("delete").ok();
    create.wait().ok().stdout
}

fn shortest_list_is_enough(lab: &Lab) {
    let first = lab.bundle().args(&["/bin/sleep", "1000"]);
    first.run_detached();
    let namespace = format!("/proc/{}/ns/pid", first.pid());
    let hook = json!({"path": "/least"});
    for (uid, no_new_privileges) in [(0, true), (0, false), (1000, true), (1000, false)] {
        let bundle = || {
            with_limit(least(lab))
                .set("/linux/seccomp", allowing(&shortest_list()))
                .set("/process/user", json!({"uid": uid, "gid": uid}))
                .set("/process/noNewPrivileges", json!(no_new_privileges))
        };
        let joined = || bundle().join_namespace("pid", &namespace);
        for bundle in [bundle(), joined()] {
            assert_eq!(bundle.run().ok().stdout, "ran\n");
            let out = create_and_start(&bundle, || {
                let exec = bundle.call("exec", &[], &["/least"]);
                assert_eq!(exec.ok().stdout, "ran\n");
                let (mut terminal, mut child) = on_terminal(lab, &bundle, &["/least"]);
                terminal.expect("ran");
                terminal.type_in("\n");
                assert!(child.wait().unwrap().success());
            });
            assert_eq!(out, "ran\n");
        }
        for bundle in [bundle(), joined()] {
            let said = lab.join(&format!("hook-{}", bundle.id()));
            let bundle = bundle
                .push("/hooks/startContainer", hook.clone())
                .set("/annotations/run.oci.hooks.stdout", json!(said));
            assert_eq!(bundle.run().ok().stdout, "ran\n");
            assert_eq!(create_and_start(&bundle, || {}), "ran\n");
            assert_eq!(fs::read_to_string(said).unwrap(), "ran\nran\n");
        }
        let run = bundle().set("/process/terminal", json!(true));
        let (mut terminal, mut child) = Terminal::spawn(run.command(&[], "run", &[]), 24, 80);
        terminal.expect("ran");
        terminal.type_in("\n");
        assert!(child.wait().unwrap().success());
    }
}

/// The numbers of calls.
fn numbers(lists: &[&[i64]]) -> BTreeSet<i64> {
    lists.concat().into_iter().collect()
}

fn nothing_else_is_called(lab: &Lab) {
    use libc::{SYS_capset, SYS_clone, SYS_close, SYS_dup, SYS_execve, SYS_exit_group};
    use libc::{SYS_getcwd, SYS_ioctl, SYS_read, SYS_setsid, SYS_wait4, SYS_write};
    // The program's own, and execve.
    let least_calls = [SYS_read, SYS_write, SYS_execve, SYS_exit_group];
    // What casulo answers itself the agent would not hear of.
    lab.use_test_build("CASULO_WITHOUT", "agent-after-confinement");
    let agent = Agent::new(lab.join("agent"));
    let bundle = || with_limit(least(lab)).set("/linux/seccomp", notifying_of_all(&agent));
    let heard = || agent.heard().1;
    bundle().run().ok();
    assert_eq!(heard(), numbers(&[&least_calls, &[SYS_close]]));
    bundle()
        .set("/process/noNewPrivileges", json!(false))
        .run()
        .ok();
    assert_eq!(heard(), numbers(&[&least_calls, &[SYS_close, SYS_capset]]));
    let created = bundle();
    let waiting = numbers(&[&least_calls, &[SYS_close, SYS_getcwd]]);
    let mut before = BTreeSet::new();
    create_and_start(&created, || {
        before = heard();
        // What the entrant calls before its process is there, casulo answers itself.
        created.call("exec", &[], &["/least"]).ok();
        assert_eq!(heard(), numbers(&[&least_calls, &[SYS_setsid]]));
        let (mut terminal, mut child) = on_terminal(lab, &created, &["/least"]);
        terminal.expect("ran");
        terminal.type_in("\n");
        assert!(child.wait().unwrap().success());
        let with_terminal = numbers(&[&least_calls, &[SYS_setsid, SYS_ioctl]]);
        assert_eq!(heard(), with_terminal);
    });
    before.extend(heard());
    assert_eq!(before, waiting);
    bundle()
        .push("/hooks/startContainer", json!({"path": "/least"}))
        .run()
        .ok();
    let with_hook = [SYS_close, SYS_clone, SYS_wait4, SYS_dup];
    assert_eq!(heard(), numbers(&[&least_calls, &with_hook]));
}
