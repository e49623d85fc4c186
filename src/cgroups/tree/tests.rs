use super::*;
use crate::cgroups::tests::{TestCgroup, sleeper};
use crate::sys::clone::{Parent, Side, clone3};
use crate::sys::kind::Kinds;
use nix::sys::time::TimeValLike;
use nix::sys::wait::{WaitStatus, waitpid};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

fn below(cgroup: &Cgroup, name: &str) -> Cgroup {
    let path = cgroup.path().join(name);
    std::fs::create_dir(&path).expect("nested cgroup");
    Cgroup::open(&path).expect("open it")
}

fn open_directory(base: BorrowedFd<'_>, path: &Path) -> std::os::fd::OwnedFd {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    openat(base, path, flags, Mode::empty()).expect("open")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

fn signal_that_ended(mut child: Child) -> Option<i32> {
    child.wait().expect("reaped").signal()
}

#[test]
fn kill_reaches_the_nested_processes_and_remove_waits_for_them() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let nested = below(&cgroup, "made by the container");
    let (first, second) = (sleeper(&cgroup), sleeper(&nested));
    let mut expected = vec![pid_of(&first), pid_of(&second)];
    expected.sort();
    let mut pids = cgroup.pids().expect("pids");
    pids.sort();
    assert_eq!(pids, expected);
    assert_eq!(cgroup.procs().expect("pids"), [pid_of(&first)]);
    assert!(cgroup.is_populated());

    cgroup.kill().expect("killed");
    cgroup
        .remove()
        .expect("removed although they have only just died");
    assert!(!test.path.is_dir());
    assert_eq!(signal_that_ended(first), Some(libc::SIGKILL));
    assert_eq!(signal_that_ended(second), Some(libc::SIGKILL));

    assert_eq!(cgroup.pids().expect("a removed cgroup is empty"), []);
    cgroup.kill().expect("nobody to kill");
    cgroup.signal(libc::SIGTERM).expect("nobody to signal");
    assert!(!cgroup.is_populated());
}

#[test]
fn removal_waits_as_long_as_a_process_takes_to_end() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let mut process = std::process::Command::new("sh")
        .args(["-c", "echo $$ > $1/cgroup.procs && sleep 0.3", "sh"])
        .arg(cgroup.path())
        .spawn()
        .expect("sh runs");
    while !cgroup.is_populated() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let cpu = || nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD);
    let before = cpu().expect("getrusage");
    cgroup.remove().expect("removed");
    let after = cpu().expect("getrusage");
    let spent = after.system_time().num_microseconds() - before.system_time().num_microseconds();
    assert!(spent < 100_000, "it slept instead of spinning: {spent} µs");
    process.wait().expect("reaped");
}

#[test]
fn a_signal_reaches_every_process() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let nested = below(&cgroup, "nested");
    let (first, second) = (sleeper(&cgroup), sleeper(&nested));
    cgroup.signal(libc::SIGTERM).expect("signalled");
    assert_eq!(signal_that_ended(first), Some(libc::SIGTERM));
    assert_eq!(signal_that_ended(second), Some(libc::SIGTERM));
    cgroup.remove().expect("removed");
}

#[test]
fn a_frozen_process_dies_without_thawing() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let process = sleeper(&cgroup);
    assert!(!cgroup.is_frozen());
    cgroup.write("cgroup.freeze", "1").expect("frozen");
    let end = Instant::now() + timeout::KILL;
    while !cgroup.is_frozen() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(cgroup.is_frozen());
    cgroup.kill().expect("killed");
    assert_eq!(signal_that_ended(process), Some(libc::SIGKILL));
    cgroup.remove().expect("removed");
}

#[test]
fn a_process_is_born_in_the_cgroup() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let (program, args) = (c"/bin/sh", [c"sh", c"-c", c"exec sleep 1000"]);
    let pid = match clone3(Kinds::NONE, Parent::This, cgroup.fd()).expect("clone3") {
        Side::Parent(pid) => pid,
        Side::Child => {
            // Returns only after an error; abort ends this copy of the test without unwinding.
            let _ = nix::unistd::execv(program, &args);
            std::process::abort();
        }
    };
    assert_eq!(cgroup.procs().expect("pids"), [pid]);
    cgroup.kill().expect("killed");
    let status = waitpid(pid, None).expect("reaped");
    assert!(matches!(status, WaitStatus::Signaled(..)), "{status:?}");
    cgroup.remove().expect("removed");
}

#[test]
fn a_tree_deeper_than_a_path_can_be_is_removed() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let name = "x".repeat(200);
    let mut here = open_directory(cgroup.fd().expect("a directory"), Path::new("."));
    for _ in 0..30 {
        nix::sys::stat::mkdirat(&here, name.as_str(), Mode::from_bits_truncate(0o755))
            .expect("nested cgroup");
        here = open_directory(here.as_fd(), Path::new(&name));
    }
    below(&cgroup, "beside");
    cgroup.remove().expect("removed");
    assert!(!test.path.is_dir());
}

#[test]
fn processes_deeper_than_a_path_can_be_are_listed_and_signalled() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    let name = "x".repeat(250);
    let mut here = open_directory(cgroup.fd().expect("a directory"), Path::new("."));
    for _ in 0..20 {
        let mode = Mode::from_bits_truncate(0o755);
        nix::sys::stat::mkdirat(&here, name.as_str(), mode).expect("nested cgroup");
        here = open_directory(here.as_fd(), Path::new(&name));
    }
    let process = std::process::Command::new("sleep").arg("1000").spawn();
    let process = process.expect("sleep runs");
    let pid = pid_of(&process);
    crate::cgroups::fs::write(here.as_fd(), Path::new("cgroup.procs"), &pid.to_string())
        .expect("moved");
    assert_eq!(cgroup.pids().expect("listed"), [pid]);
    cgroup.signal(libc::SIGTERM).expect("signalled");
    assert_eq!(signal_that_ended(process), Some(libc::SIGTERM));
    cgroup.remove().expect("removed");
    assert!(!test.path.is_dir());
}

#[test]
fn an_oom_kill_is_read_from_memory_events() {
    for (text, kills) in [
        ("oom 1\noom_kill 0\noom_group_kill 3\n", 0),
        ("oom 1\noom_kill 2\n", 2),
    ] {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::write(directory.path().join("memory.events"), text).expect("events");
        let cgroup = Cgroup::open(directory.path()).expect("open");
        assert_eq!(cgroup.memory_events().oom_kill, kills);
    }
}

#[test]
fn waiting_for_the_end_gives_up_in_time() {
    let Some(test) = TestCgroup::new() else {
        return;
    };
    let cgroup = test.create();
    assert!(cgroup.wait_until_empty(Instant::now()), "nobody is in it");
    let process = sleeper(&cgroup);
    assert!(!cgroup.wait_until_empty(Instant::now() + Duration::from_millis(20)));
    cgroup.kill().expect("killed");
    assert!(cgroup.wait_until_empty(Instant::now() + timeout::KILL));
    assert_eq!(signal_that_ended(process), Some(libc::SIGKILL));
    cgroup.remove().expect("removed");
    assert!(cgroup.wait_until_empty(Instant::now()), "it is gone");
}
