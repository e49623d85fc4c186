//! Whom casulo waits for outside the container, and who does not answer: agents, consoles, hooks, systemd. In the
//! foreground all signals are blocked, and those that ask casulo to end must end the wait all the same.

pub(super) mod systemd;

use super::unseen::time_to_end;
use super::{Attack, Outcome, zoo};
use crate::support::{Bundle, Lab, Listener, Need, Running, cases, wait_until, wrapped};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen, socket,
};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

cases! {
    [Root, Casulo, TestBuild] => run_hears_while_nobody_accepts, exec_hears_while_nobody_accepts, run_hears_while_an_agent_does_not_read,
        exec_hears_while_an_agent_does_not_read, run_hears_while_a_hook_runs;
    [Root, Casulo] => nobody_is_waited_for_without_end, an_ignored_signal_ends_no_wait, what_is_quick_is_done_by_who_shall_end;
}

/// The longest that a command may take to end: twice what it may on a machine that has nothing else to do, and less than
/// what ends a wait anyway.
fn soon() -> Duration {
    match Need::Quick.check() {
        Ok(()) => Duration::from_secs(4),
        Err(_) => Duration::from_secs(8),
    }
}

/// Exit codes of a command that a signal has ended: `run` has failed, and `exec` says by which.
const RUN: i32 = 1;
const EXEC: i32 = 128 + libc::SIGTERM;

/// TERM for a command that waits for somebody; `release` has them answer after all. What it says must have `word`, and
/// nothing of it may be left.
fn told_to_end(
    running: Running,
    code: i32,
    word: &str,
    release: impl FnOnce(),
    is_clean: impl Fn(),
) -> Outcome {
    running.signal(Signal::SIGTERM);
    let took = time_to_end(&running, soon());
    if took.is_none() {
        release();
        let out = running.wait();
        is_clean();
        return Outcome::GotThrough(format!("deaf for {:?}: {out:?}", soon()));
    }
    let out = running.wait();
    assert_eq!(out.code, code, "{out:?}");
    assert!(out.stderr.contains(word), "{out:?}");
    is_clean();
    Outcome::Refused(out.stderr)
}

/// A socket whose queue of connections is full; nobody takes one from there.
struct Full {
    path: PathBuf,
    _all: (UnixListener, Vec<OwnedFd>),
}

impl Full {
    fn at(path: PathBuf) -> Full {
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let mut queue = Vec::new();
        loop {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
            if connect(fd.as_raw_fd(), &UnixAddr::new(&path).unwrap()).is_err() {
                break;
            }
            queue.push(fd);
        }
        assert!(!queue.is_empty());
        Full {
            path,
            _all: (listener, queue),
        }
    }
}

/// Waits until a process is in connect(2).
fn wait_until_it_connects(running: &Running) {
    let file = format!("/proc/{}/syscall", running.pid());
    let call = format!("{} ", libc::SYS_connect);
    wait_until("it connects", || {
        fs::read_to_string(&file).is_ok_and(|it| it.starts_with(&call))
    });
}

/// A filter that notifies an agent of what nobody does.
fn filter(agent: &Path, metadata: &str) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": agent,
        "listenerMetadata": metadata,
        "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_NOTIFY"}]
    })
}

/// More than a socket holds.
fn much() -> String {
    "m".repeat(2_000_000)
}

fn sleeping(lab: &Lab) -> Bundle<'_> {
    lab.bundle().args(&["/bin/sleep", "1000"])
}

/// A container that runs, whose agent has got its listener and listens no more. Whoever holds what came with it answers
/// nobody, and nobody asks.
fn served<'lab>(lab: &'lab Lab, path: &Path, metadata: &str) -> (Bundle<'lab>, Vec<OwnedFd>) {
    let _ = fs::remove_file(path);
    let agent = Listener::new(path.to_owned());
    let bundle = sleeping(lab).set("/linux/seccomp", filter(path, metadata));
    let run = Running::new(bundle.command(&[], "run", &["--detach"]), b"");
    let received = agent.receive_to_end();
    run.wait().ok();
    (bundle, received.fds)
}

/// Only init is left of what was in the container.
fn has_init_alone(bundle: &Bundle<'_>) {
    let processes = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).unwrap();
    assert_eq!(processes.trim(), bundle.pid().to_string());
}

fn run_hears_while_nobody_accepts(lab: &Lab) {
    for who in ["agent", "console", "pidfd"] {
        let attack = Attack {
            cve: "(hardening)",
            name: "`run` is deaf to signals, as nobody accepts its connection",
            without: "asked-to-end",
        };
        zoo(lab, &attack, |lab| {
            let full = Full::at(lab.join("full"));
            let socket = full.path.to_str().unwrap().to_owned();
            let (bundle, options) = match who {
                "agent" => (
                    sleeping(lab).set("/linux/seccomp", filter(&full.path, "")),
                    vec![],
                ),
                "console" => (
                    sleeping(lab).set("/process/terminal", json!(true)),
                    vec!["--console-socket", &socket],
                ),
                _ => (sleeping(lab), vec!["--pidfd-socket", &socket]),
            };
            let running = Running::new(bundle.command(&[], "run", &options), b"");
            wait_until_it_connects(&running);
            told_to_end(
                running,
                RUN,
                &socket,
                || {
                    // It is refused, or goes on and hears.
                    drop(full);
                },
                || lab.assert_nothing_left(bundle.id()),
            )
        });
    }
}

fn exec_hears_while_nobody_accepts(lab: &Lab) {
    for who in ["agent", "console", "pidfd"] {
        let attack = Attack {
            cve: "(hardening)",
            name: "`exec` is deaf to signals, as nobody accepts its connection",
            without: "asked-to-end",
        };
        zoo(lab, &attack, |lab| {
            let path = lab.join("full");
            let (bundle, _listeners) = match who {
                "agent" => served(lab, &path, ""),
                _ => {
                    let bundle = sleeping(lab);
                    bundle.run_detached();
                    (bundle, Vec::new())
                }
            };
            let full = Full::at(path);
            let socket = full.path.to_str().unwrap();
            let mut command = lab.command();
            command.arg("exec");
            match who {
                "agent" => &mut command,
                "console" => command.args(["--tty", "--console-socket", socket]),
                _ => command.args(["--pidfd-socket", socket]),
            };
            command.args([bundle.id(), "/bin/sleep", "1000"]);
            let running = Running::new(command, b"");
            wait_until_it_connects(&running);
            let ended = told_to_end(running, EXEC, "", || drop(full), || has_init_alone(&bundle));
            bundle.call("delete", &["--force"], &[]).ok();
            ended
        });
    }
}

/// A connection that nobody reads from, once there is something to read.
fn unread(agent: &UnixListener) -> UnixStream {
    let (stream, _) = agent.accept().unwrap();
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::NONE), Ok(1));
    stream
}

fn run_hears_while_an_agent_does_not_read(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "`run` is deaf to signals, as the agent does not read",
        without: "asked-to-end",
    };
    zoo(lab, &attack, |lab| {
        let path = lab.join("agent");
        let _ = fs::remove_file(&path);
        let agent = UnixListener::bind(&path).unwrap();
        let bundle = sleeping(lab).set("/linux/seccomp", filter(&path, &much()));
        let running = bundle.running();
        let connection = unread(&agent);
        told_to_end(
            running,
            RUN,
            "the agent",
            || drop(connection),
            || lab.assert_nothing_left(bundle.id()),
        )
    });
}

fn exec_hears_while_an_agent_does_not_read(lab: &Lab) {
    let attack = Attack {
        cve: "(hardening)",
        name: "`exec` is deaf to signals, as the agent does not read",
        without: "asked-to-end",
    };
    zoo(lab, &attack, |lab| {
        let path = lab.join("agent");
        let (bundle, _listeners) = served(lab, &path, &much());
        fs::remove_file(&path).unwrap();
        let agent = UnixListener::bind(&path).unwrap();
        let mut command = lab.command();
        command.args(["exec", bundle.id(), "/bin/sleep", "1000"]);
        let running = Running::new(command, b"");
        let connection = unread(&agent);
        let ended = told_to_end(
            running,
            EXEC,
            "",
            || drop(connection),
            || has_init_alone(&bundle),
        );
        bundle.call("delete", &["--force"], &[]).ok();
        ended
    });
}

fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

/// Two hooks after each other: the one that is hung in, and a poststop hook.
fn run_hears_while_a_hook_runs(lab: &Lab) {
    let kinds = [
        ("prestart", RUN),
        ("createRuntime", RUN),
        ("startContainer", RUN),
        ("poststart", RUN),
        // The program has ended, with 0.
        ("poststop", 0),
    ];
    for (kind, code) in kinds {
        let attack = Attack {
            cve: "(hardening)",
            name: "`run` is deaf to signals, as a hook does not end",
            without: "asked-to-end",
        };
        zoo(lab, &attack, |lab| {
            let (notes, go) = (lab.join("notes"), lab.join("go"));
            let _ = (fs::remove_file(&notes), fs::remove_file(&go));
            fs::write(&notes, "").unwrap();
            let script = |notes: &Path| {
                let (notes, go) = (notes.display(), go.display());
                // It is busy talking, which is no reason to hear nothing.
                hook(&format!(
                    "trap '' TERM; echo here >>{notes}; while ! [ -e {go} ]; do echo waits; sleep 0.1; done"
                ))
            };
            let inside = match kind {
                "startContainer" => Path::new("/notes"),
                _ => &notes,
            };
            let bundle = lab
                .bundle()
                .bind(&notes, "/notes", &[])
                .args(&["/bin/true"])
                // Else an undo has no hooks to run.
                .push("/hooks/createRuntime", hook("true"))
                .push(&format!("/hooks/{kind}"), script(inside))
                .push("/hooks/poststop", script(&notes));
            let running = bundle.running();
            wait_until("the hook runs", || {
                !fs::read_to_string(&notes).unwrap().is_empty()
            });
            let ended = told_to_end(
                running,
                code,
                "asked casulo to end",
                || fs::write(&go, "").unwrap(),
                || lab.assert_nothing_left(bundle.id()),
            );
            // Each had its second.
            let here = fs::read_to_string(&notes).unwrap();
            assert_eq!(here.lines().count(), 2, "{kind}");
            ended
        });
    }
}

/// Without a signal, too: who neither accepts nor reads is given up, by `create` as well.
fn nobody_is_waited_for_without_end(lab: &Lab) {
    let full = Full::at(lab.join("full"));
    let path = lab.join("agent");
    let agent = UnixListener::bind(&path).unwrap();
    for (path, metadata, step) in [
        (
            &full.path,
            String::new(),
            "failed to connect with seccomp agent",
        ),
        (&path, much(), "send the listener to the agent"),
    ] {
        let bundle = sleeping(lab).set("/linux/seccomp", filter(path, &metadata));
        let began = Instant::now();
        bundle.create(&[]).fails_with(&[step, "timed out"]);
        let took = began.elapsed();
        assert!(took > Duration::from_secs(9), "{took:?}");
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
    drop(agent);
}

/// nohup(1) and the like: what casulo was started to ignore asks for nothing.
fn an_ignored_signal_ends_no_wait(lab: &Lab) {
    let notes = lab.join("notes");
    let script = format!("echo here >{}; sleep 2.5", notes.display());
    let bundle = lab
        .bundle()
        .args(&["/bin/true"])
        .push("/hooks/prestart", hook(&script));
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let running = Running::new(wrapped(nohup, &bundle.command(&[], "run", &[])), b"");
    wait_until("the hook runs", || notes.exists());
    running.signal(Signal::SIGHUP);
    running.wait().ok();
}

/// Who is asked to end undoes what was made, and a hook that clears away behind a container is given its second.
fn what_is_quick_is_done_by_who_shall_end(lab: &Lab) {
    let notes = lab.join("notes");
    let here = format!("echo here >{}; exec sleep 1000", notes.display());
    let cleared = lab.join("cleared");
    let clear = format!("sleep 0.2; echo cleared >{}", cleared.display());
    let bundle = lab
        .bundle()
        .push("/hooks/prestart", hook(&here))
        .push("/hooks/poststop", hook(&clear));
    let running = bundle.running();
    wait_until("the hook runs", || notes.exists());
    running.signal(Signal::SIGINT);
    running
        .wait()
        .fails_with(&["hooks.prestart[0]", "asked casulo to end"]);
    assert_eq!(fs::read_to_string(&cleared).unwrap(), "cleared\n");
    lab.assert_nothing_left(bundle.id());
}
