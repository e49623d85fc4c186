//! The shape of our errors, and the words in them that callers look for.

use super::*;
use crate::container::{Force, KillTarget, Update, delete, kill, pause, resume, start, update};
use crate::exec::{Request, WhenPaused, exec};
use crate::host::Host;
use crate::lsm;
use crate::options::Options;
use crate::process::{self, fixtures};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::state::{Dir, State, Store};
use crate::sys::forked::words_of_child;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{LinuxIntelRdt, LinuxResources};

#[test]
fn an_errno_error_reads_step_object_reason() {
    let error = Error::step(
        Code::Cgroup,
        "set memory.max to 64M in",
        "/sys/fs/cgroup/web1",
        Errno::EBUSY,
    );
    assert_eq!(
        error.to_string(),
        "set memory.max to 64M in /sys/fs/cgroup/web1: Device or resource busy"
    );
}

#[test]
fn problems_are_joined_with_their_paths() {
    let mut problems = Problems::default();
    problems.add("root.path", "missing");
    problems.add("process.args", "empty");
    let error = problems
        .into_result("/b/config.json")
        .expect_err("two problems");
    assert_eq!(
        error.to_string(),
        "/b/config.json: root.path: missing; process.args: empty"
    );
}

/// Callers and log readers know these texts, so each stands here once more.
#[test]
fn every_code_has_its_text_for_ever() {
    let texts = "E_USAGE E_CONFIG E_BUNDLE E_ID E_EXISTS E_NOT_FOUND E_STATUS E_STATE E_NAMESPACE E_ID_MAP E_CGROUP \
        E_SYSTEMD E_DEVICES E_MOUNT E_DEVICE E_UNSAFE_PATH E_SYSCTL E_SECCOMP E_LSM E_PROCESS E_EXEC E_HOOK E_TERMINAL \
        E_NETWORK E_INTEL_RDT E_SIGNAL E_OUT_OF_MEMORY E_SYNC E_UNSUPPORTED E_IO";
    let found: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(found.join(" "), texts);
    // No code is missing from the table: it has them in order, up to the last one.
    for (index, code) in Code::ALL.iter().enumerate() {
        assert_eq!(*code as usize, index, "{code:?}");
    }
    assert_eq!(Code::ALL.len(), Code::Io as usize + 1);
}

#[test]
fn codes_round_trip_and_are_unique() {
    for code in Code::ALL {
        assert_eq!(Code::parse(code.as_str()), *code);
    }
    assert_eq!(Code::parse("E_NOBODY"), Code::Sync);
}

/// A container `web1` whose create has ended.
fn reserved(store: &Store) -> Dir {
    let state = State {
        id: "web1".to_owned(),
        ..State::default()
    };
    let dir = store.reserve(&state).expect("reserved");
    dir.unlock().expect("unlocked");
    dir
}

/// The error of a container `web1` that was made and has ended.
fn of_ended(what: impl FnOnce(Dir) -> Result<()>) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path().to_owned());
    let dir = reserved(&store);
    what(dir).expect_err("it has ended").to_string()
}

fn planned(more: &str) -> process::Plan {
    let mut problems = Problems::default();
    let plan = process::plan(
        &fixtures::process(more),
        &fixtures::spec(r#"{"ociVersion":"1.3.0"}"#),
        &crate::namespaces::Plan::default(),
        &Options::new("web1".parse().expect("an id"), "/bundle".into()),
        &Host::of_root(),
        "process",
        &mut problems,
    );
    assert!(problems.is_empty());
    plan
}

fn exec_in(dir: Dir) -> Result<()> {
    let id = dir.id.clone();
    let seen = dir.look()?;
    let request = Request {
        id: &id,
        seen: &seen,
        process: &planned("{}"),
        filter: None,
        pid_file: None,
        console_socket: None,
        pidfd_socket: None,
        cgroup: None,
        paused: WhenPaused::Refuse,
        signals: None,
    };
    exec(dir, &request).map(|_| ())
}

fn update_of(dir: &Dir) -> Result<()> {
    let request = Update {
        resources: &LinuxResources::default(),
        rdt: &LinuxIntelRdt::default(),
        file: "update",
        host: &Host::of_root(),
    };
    update(dir, &request)
}

/// The error of looking for the program `arg` on this machine.
fn of_program(arg: &str) -> String {
    let plan = planned(&format!(r#"{{"args":[{arg:?}]}}"#));
    words_of_child(|| {
        let top = open("/", OFlag::O_PATH, Mode::empty()).context(Code::Io, "open", "/")?;
        let root = Root::from_fd(top);
        let entered = plan.enter(&root)?;
        plan.locate(&root, entered)
            .map(|found| format!("{found:?}"))
    })
}

fn of_errno(code: Code, errno: Errno) -> String {
    let failed: nix::Result<()> = Err(errno);
    let error = failed.context(code, "mount", "data on /mnt (mounts[3])");
    error.expect_err("it failed").to_string()
}

/// containerd, cri-o, Podman and Docker tell by words in the message what happened, some of them
/// by case. None of these may ever change.
#[test]
fn errors_have_the_words_that_callers_look_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "no program").expect("a file");
    let inside = |name: &str| directory.path().join(name).display().to_string();
    let labels = lsm::Plan {
        apparmor: Some("no such profile".to_owned()),
        selinux: None,
    };
    let rows = [
        (
            of_ended(|dir| kill(&dir, 15, KillTarget::Init)),
            "container not running",
        ),
        (of_ended(exec_in), "container not running"),
        (of_ended(|dir| pause(&dir)), "container not running"),
        (of_ended(|dir| resume(&dir)), "container not paused"),
        (of_ended(|dir| update_of(&dir)), "container not running"),
        (
            Store::at(directory.path().to_owned())
                .open(&"web1".parse().expect("an id"))
                .expect_err("there is none")
                .to_string(),
            "does not exist",
        ),
        (
            of_program("no-such-program"),
            "executable file not found in $PATH",
        ),
        (of_program("/no/such"), "no such file or directory"),
        (of_program(&inside("plain")), "permission denied"),
        (of_program(&inside("")), "is a directory"),
        (of_program(&inside("")), "permission denied"),
        (of_program(&inside("plain/x")), "not a directory"),
        (of_errno(Code::Mount, Errno::ENOTDIR), "not a directory"),
        (
            of_errno(Code::Mount, Errno::ENOENT),
            "no such file or directory",
        ),
        (of_errno(Code::Mount, Errno::EACCES), "permission denied"),
        (
            of_errno(Code::Namespace, Errno::EPERM),
            "operation not permitted",
        ),
        (of_errno(Code::Signal, Errno::ESRCH), "no such process"),
        (
            words_of_child(|| {
                let proc = ProcFs::host().context(Code::Io, "open", "/proc")?;
                labels
                    .open(&proc)
                    .and_then(|files| labels.set_for_exec(&files))
                    .map(|()| String::new())
            }),
            "exec`: ",
        ),
    ];
    for (message, words) in rows {
        assert!(message.contains(words), "no {words:?} in {message:?}");
        assert_eq!(message.lines().count(), 1, "{message:?}");
    }
}

/// A caller takes `does not exist` for success of a deletion, and `not found` for the lack of a
/// program: words in the wrong place are lies.
#[test]
fn other_errors_lack_these_words() {
    let never = [
        "does not exist",
        "container not running",
        "executable file not found",
        "no such process",
    ];
    let rows = [
        of_ended(start),
        of_program("/no/such"),
        of_errno(Code::Mount, Errno::ENOENT),
        of_errno(Code::Cgroup, Errno::EBUSY),
    ];
    for message in rows {
        for words in never {
            assert!(!message.contains(words), "{words:?} in {message:?}");
        }
    }
}

#[test]
fn what_has_ended_can_be_deleted_and_killed_with_all_its_processes() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path().to_owned());
    let dir = reserved(&store);
    kill(&dir, 15, KillTarget::All).expect("nothing to kill is no error");
    delete(dir, Force::No).expect("deleted");
    assert!(store.open(&"web1".parse().expect("an id")).is_err());
}
