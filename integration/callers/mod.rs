//! Fake callers: the command lines, environments, descriptors and habits of those who call a runtime,
//! word for word, without them. Whoever changes what a runtime prints or leaves finds out here who
//! would notice.
//!
//! What callers rely on, and the tests of it (those of other files by their file's name):
//!
//! | | rule | tests |
//! |---|---|---|
//! | 1 | global options in any order, with `=` or without, repeated: the last wins | `conmon_rs::create_and_exec`, `containerd::rootless_in_words`, `lifecycle::repeated_global_options`, `tests/cli.rs` |
//! | 2 | `restore -no-subreaper` | none: there is no restore, and `podman::checkpoint_is_not_claimed` |
//! | 3 | the cgroup's manager is the container's, not the call's | `conmon::scope_of_systemd`, `containerd::scope_of_systemd`, `crio::update_without_the_cgroup_manager`, `systemd` |
//! | 4 | next to no environment; `XDG_RUNTIME_DIR` may be empty | `podman::a_life_in_direct_calls`, and each caller's own |
//! | 5 | the log: appended, one JSON object a failure, RFC 3339 | `containerd::log_of_many_calls`, `podman::log_is_one_object`, `errors` |
//! | 6 | stderr repeats the error beside a log, and is silent on success | `conmon::failed_create_is_explained`, each caller's own |
//! | 7 | pid files: digits, by rename, none after a failed exec | `containerd::pid_file_is_replaced`, `conmon::failed_exec_leaves_no_pid_file` |
//! | 8 | stdio is the container's own, and nobody else's | `conmon::life`, `containerd::life`, `containerd::streams_of_an_ordinary_user` |
//! | 9 | one message with one descriptor at the console socket, however long its path | `conmon::terminal_by_console_socket`, `containerd::exec_with_a_console_socket`, `terminal::long_socket_paths` |
//! | 10 | the caller's death signal does not reach the container | `conmon::container_outlives_its_caller`, `process::death_signal_is_cleared` |
//! | 11 | init and exec's process become children of the caller | `conmon::life`, `conmon::exec`, `buildah::life` |
//! | 12 | signals as numbers, as names, or none; `--all` of a container that has ended | `podman::a_life_in_direct_calls`, `containerd::kill_all_after_the_end`, `containerd::kill_all_without_init`, `buildah::kill_with_and_without_a_signal` |
//! | 13 | words in errors | `words` |
//! | 14 | state: its keys, its statuses, also of a stopped container | `buildah::life`, `crio::state_document` |
//! | 15 | features without options or a state directory | `docker::features_without_options`, `lifecycle::features_document` |
//! | 16 | the lines of `--version` | `docker::version_lines`, `lifecycle::version_lines` |
//! | 17 | `checkpoint --help` succeeds only where restore is there, too | `podman::checkpoint_is_not_claimed` |
//! | 18 | `delete --force` of nobody succeeds, `delete` says `does not exist` | `containerd::delete_of_nobody`, `lifecycle` |
//! | 19 | LISTEN_FDS beside `--preserve-fds` means the same descriptors | `conmon::sockets_of_the_service_manager` |
//! | 20 | create does not wait for NOTIFY_SOCKET's reader | `notify::start_waits_until_ready` |
//! | 21 | a script with `$@` in between | `docker::wrapper_script` |
//! | 22 | exec, state, kill and features are fast | measured, not tested |

mod buildah;
mod buildkit;
mod conmon;
mod conmon_rs;
mod containerd;
mod crio;
mod docker;
mod podman;
pub(crate) mod shim;
mod words;

use crate::support::{Bundle, Case, Lab, Listener, Output, Terminal, finish, wait_until};
use serde_json::{Value, json};
use shim::Shim;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of tests, one per caller.
pub(crate) fn files() -> Vec<(&'static str, &'static [Case])> {
    vec![
        ("callers::buildah", buildah::CASES),
        ("callers::buildkit", buildkit::CASES),
        ("callers::conmon", conmon::CASES),
        ("callers::conmon_rs", conmon_rs::CASES),
        ("callers::containerd", containerd::CASES),
        ("callers::crio", crio::CASES),
        ("callers::docker", docker::CASES),
        ("callers::podman", podman::CASES),
        ("callers::words", words::CASES),
    ]
}

/// How one caller calls.
struct Caller<'lab> {
    lab: &'lab Lab,
    /// What it puts before each verb.
    global: Vec<String>,
    /// The whole environment.
    environment: Vec<(&'static str, String)>,
    directory: PathBuf,
}

impl<'lab> Caller<'lab> {
    fn new(lab: &'lab Lab, global: &[&str], environment: &[(&'static str, &str)]) -> Caller<'lab> {
        Caller {
            lab,
            global: global.iter().map(|word| (*word).to_owned()).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
            directory: lab.path().to_path_buf(),
        }
    }

    /// The call in nothing but this caller's environment, and dying with it.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.lab.runtime());
        command.args(&self.global).args(args);
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.directory);
        shim::die_with_caller(&mut command);
        command
    }

    /// Calls and waits.
    #[track_caller]
    fn call(&self, args: &[&str]) -> Output {
        finish(self.command(args), b"")
    }

    /// A call that must succeed without a word.
    #[track_caller]
    fn silent(&self, args: &[&str]) {
        let out = self.call(args);
        assert_eq!(
            (out.code, out.stdout.as_str(), out.stderr.as_str()),
            (0, "", ""),
            "{args:?}"
        );
    }

    /// Has a process of this caller's own do the call: for what leaves a process behind.
    fn shim(&self, args: &[&str]) -> Shim {
        Shim::start(&self.command(args), self.lab.path(), &[])
    }
}

/// A path as the text it is on a command line.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A complete process object, as engines write it for exec.
fn process_file(lab: &Lab, name: &str, process: Value) -> PathBuf {
    let mut whole = json!({
        "user": {"uid": 0, "gid": 0, "umask": 0o022, "additionalGids": [0]},
        "env": ["PATH=/usr/bin:/bin", "HOME=/root"],
        "cwd": "/",
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "noNewPrivileges": true
    });
    let Value::Object(process) = process else {
        panic!("an object")
    };
    whole.as_object_mut().unwrap().extend(process);
    let path = lab.join(name);
    fs::write(&path, serde_json::to_vec(&whole).unwrap()).unwrap();
    path
}

/// The terminal that came by a console socket. go-runc refuses anything but one descriptor, and a
/// payload of 4096 bytes. To drop it is to hang up.
#[track_caller]
fn one_terminal(listener: &Listener) -> Terminal {
    let received = listener.receive();
    assert!(received.text.len() < 4096);
    let [master] = <[OwnedFd; 1]>::try_from(received.fds).expect("one descriptor");
    Terminal::from_master(master)
}

/// A pid file's pid. The bytes are digits and nothing else: go-runc parses them strictly.
#[track_caller]
fn pid_in(file: &Path) -> i32 {
    let bytes = fs::read(file).unwrap();
    assert!(
        !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit),
        "{bytes:?}"
    );
    String::from_utf8(bytes).unwrap().parse().unwrap()
}

/// The parent of a process.
fn parent_of(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    crate::support::field(&status, "PPid").parse().unwrap()
}

/// The numbers of a process's open descriptors.
fn descriptors_of(pid: i32) -> Vec<i32> {
    let mut numbers: Vec<i32> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Where engines look for a container's cgroup: in its first process's `/proc/PID/cgroup`.
#[track_caller]
fn assert_in_cgroup_of(bundle: &Bundle<'_>, pid: i32) {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    assert!(
        path.is_some_and(|path| path.ends_with(bundle.id())),
        "{text}"
    );
    assert!(bundle.cgroup().join("cgroup.procs").exists());
}

/// A scope of systemd's for a container.
struct Scope {
    slice: &'static str,
    unit: String,
}

impl Scope {
    /// Has the bundle ask for the scope `PREFIX-ID.scope` in a slice.
    fn of<'lab>(bundle: Bundle<'lab>, slice: &'static str, prefix: &str) -> (Scope, Bundle<'lab>) {
        let id = bundle.id().to_owned();
        let unit = format!("{prefix}-{id}.scope");
        let path = json!(format!("{slice}:{prefix}:{id}"));
        (
            Scope { slice, unit },
            bundle.set("/linux/cgroupsPath", path),
        )
    }

    /// Fails unless the process is there, or in a cgroup below.
    #[track_caller]
    fn assert_holds(&self, pid: i32) {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let place = format!("0::/{}/{}", self.slice, self.unit);
        let rest = text.trim().strip_prefix(&place);
        assert!(
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            "{text}"
        );
    }

    /// Waits until systemd has forgotten it.
    #[track_caller]
    fn wait_gone(&self) {
        wait_until("systemd forgets the scope", || {
            !crate::systemd::is_loaded(&self.unit)
        });
    }
}

/// The entries of a JSON log. Each has what containerd decodes.
#[track_caller]
fn log_entries(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let entries: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for entry in &entries {
        assert!(entry["msg"].is_string(), "{entry}");
        let time = entry["time"].as_str().unwrap();
        // humantime knows UTC only, and runc writes the zone's offset as +00:00 or Z.
        let utc = time.replace("+00:00", "Z");
        assert!(humantime::parse_rfc3339(&utc).is_ok(), "{time}");
    }
    entries
}

/// A shell that says something on both streams as soon as `/go` is there, and ends with code 7.
const SAYS_AND_ENDS: &str =
    "while ! [ -e /go ]; do sleep 0.02; done; echo out; echo err >&2; exit 7";

/// [`SAYS_AND_ENDS`] runs as `pid` with the three streams alone, says what it has to say, and ends.
#[track_caller]
fn assert_says_and_ends(bundle: &Bundle<'_>, shim: &Shim, pid: i32) {
    wait_until("it runs", || {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sh\n")
    });
    assert_eq!(descriptors_of(pid), [0, 1, 2]);
    let_go(bundle);
    assert_eq!(shim.ended(pid), 7);
    assert_eq!(shim.stdout_to_its_end(), "out\n");
    assert_eq!(shim.stderr_to_its_end(), "err\n");
}

/// Lets [`SAYS_AND_ENDS`] go on.
fn let_go(bundle: &Bundle<'_>) {
    fs::write(bundle.rootfs().join("go"), "").unwrap();
}
