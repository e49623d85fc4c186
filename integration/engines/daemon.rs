//! A daemon that the tests of one engine share: started by the first, ended after the last.

use crate::support::finish;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a daemon may take to answer, and to end. Docker's takes half a minute in an emulated
/// host, where the tests of another engine run beside it.
const LIMIT: Duration = Duration::from_secs(180);

/// The modules of the kernel that bridges and their packet filters need. Where they are built in or
/// there is no modprobe, the daemon says what is missing.
const NETWORK_MODULES: &str = "overlay bridge veth br_netfilter nf_nat xt_MASQUERADE xt_conntrack \
                               xt_addrtype xt_comment iptable_nat iptable_filter";

/// By how many descriptors a daemon may grow in all the tests: its own connections and watches. One
/// that stayed for each container would be more.
const DESCRIPTORS: usize = 16;

static STARTED: Mutex<Vec<Daemon>> = Mutex::new(Vec::new());

struct Daemon {
    name: String,
    child: Child,
    /// How many descriptors it had when it first answered.
    descriptors: usize,
}

impl Daemon {
    /// Politely, so that it unmounts what is its own.
    fn ask_to_end(&self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }

    fn wait(&mut self, latest: Instant) {
        while Instant::now() < latest && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `PROGRAM ARGS…` and waits until `question` is answered. It is in a network namespace of
/// its own, so that its bridges and filters end with it.
#[track_caller]
pub(crate) fn start(
    directory: &Path,
    program: &str,
    args: &[&str],
    question: impl Fn() -> Command,
) {
    let log = directory.join("log");
    let script = format!(
        "modprobe -qa {NETWORK_MODULES} 2>/dev/null; exec unshare --net sh -c 'ip link set lo up; exec \"$@\"' sh \"$@\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", program]).args(args);
    let file = File::create(&log).unwrap();
    command
        .stdin(std::process::Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    println!("  {program} {}", args.join(" "));
    let begin = Instant::now();
    let mut child = command.spawn().unwrap();
    while finish(question(), b"").code != 0 {
        let ended = child.try_wait().unwrap();
        if ended.is_some() || begin.elapsed() > LIMIT {
            let _ = child.kill();
            panic!("{program} does not answer ({ended:?}): {}", end_of(&log));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("  {program} answers after {:?}", begin.elapsed());
    STARTED.lock().unwrap().push(Daemon {
        name: directory
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned(),
        descriptors: descriptors_of(&child),
        child,
    });
}

fn descriptors_of(child: &Child) -> usize {
    fs::read_dir(format!("/proc/{}/fd", child.id())).map_or(0, Iterator::count)
}

/// Ends the daemon of a directory, to be started again.
#[track_caller]
pub(crate) fn end(directory: &Path) {
    let name = directory.file_name().unwrap().to_string_lossy();
    let mut started = STARTED.lock().unwrap();
    let place = started.iter().position(|daemon| daemon.name == name);
    let mut daemon = started.swap_remove(place.expect("a daemon of this directory"));
    drop(started);
    daemon.ask_to_end();
    daemon.wait(Instant::now() + LIMIT);
}

/// Ends all daemons. What is wrong with them by then is in the answer.
pub(crate) fn end_all() -> Vec<String> {
    let mut started = STARTED.lock().unwrap();
    let mut wrong = Vec::new();
    for daemon in started.iter() {
        let (before, after) = (daemon.descriptors, descriptors_of(&daemon.child));
        println!(
            "{}: {before} descriptors at first, {after} now",
            daemon.name
        );
        if after > before + DESCRIPTORS {
            wrong.push(format!("{} has leaked descriptors", daemon.name));
        }
        daemon.ask_to_end();
    }
    let latest = Instant::now() + LIMIT;
    for mut daemon in started.drain(..) {
        daemon.wait(latest);
    }
    wrong
}

fn end_of(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// What a container left on the host: its watcher, mounts, cgroups, and its state below one of
/// `states`, the runtimes' `--root`. Empty is good.
fn leftovers(id: &str, states: &[&Path]) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        let watches = arguments.contains("shim") || arguments.contains("conmon");
        if watches && arguments.contains(id) {
            left.push(format!("process: {arguments}"));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(
        mounts
            .lines()
            .filter(|line| line.contains(id))
            .map(str::to_owned),
    );
    cgroups_of(id, Path::new("/sys/fs/cgroup"), &mut left);
    let states = states.iter().map(|state| state.join(id));
    left.extend(
        states
            .filter(|state| state.exists())
            .map(|state| state.display().to_string()),
    );
    left
}

/// Fails if something of a container stays. A watcher ends a little after its last answer.
#[track_caller]
pub(crate) fn wait_nothing_left(id: &str, states: &[&Path]) {
    let begin = Instant::now();
    loop {
        let left = leftovers(id, states);
        if left.is_empty() {
            return;
        }
        assert!(begin.elapsed() < LIMIT / 4, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn cgroups_of(id: &str, parent: &Path, left: &mut Vec<String>) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(id) {
            left.push(path.display().to_string())
        } else {
            cgroups_of(id, &path, left)
        }
    }
}

/// The pid of the shim that watches a container.
#[track_caller]
pub(crate) fn shim_of(id: &str) -> nix::unistd::Pid {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .find_map(|entry| {
            let arguments = fs::read(entry.path().join("cmdline")).ok()?;
            let mut words = arguments.split(|byte| *byte == 0);
            let is_it = words.next()?.ends_with(b"containerd-shim-runc-v2")
                && words.any(|word| word == id.as_bytes());
            let pid = entry.file_name().to_string_lossy().parse().ok()?;
            is_it.then(|| nix::unistd::Pid::from_raw(pid))
        })
        .expect("a shim")
}
