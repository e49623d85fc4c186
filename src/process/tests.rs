//! The process as a whole: what a config plans, and what it does in a child.

mod asked;
mod programs;

use super::fixtures::{process, root, spec, status_line};
use super::limits::Siblings;
use super::*;
use crate::namespaces::Kind;
use crate::root::Root;
use crate::skip;
use crate::sys::forked::words_of_child;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn planned_with(more: &str, linux: &str) -> (Plan, Option<String>) {
    let mut problems = Problems::default();
    let options = Options {
        no_new_keyring: true,
        ..Options::new("web1".parse().expect("an id"), "/bundle".into())
    };
    let spec = spec(&format!(r#"{{"ociVersion":"1.3.0","linux":{linux}}}"#));
    let ns = namespaces::Plan::default();
    let plan = plan(
        &process(more),
        &spec,
        &ns,
        &options,
        &Host::of_root(),
        "process",
        &mut problems,
    );
    (
        plan,
        problems.into_result("c").err().map(|it| it.to_string()),
    )
}

fn planned(more: &str) -> Plan {
    let (plan, error) = planned_with(more, "{}");
    assert_eq!(error, None);
    plan
}

/// The chroot that a child of a test stands in.
fn chroot(root: &Root) {
    nix::unistd::fchdir(root).expect("fchdir");
    nix::unistd::chroot(".").expect("chroot");
    nix::unistd::chdir("/").expect("chdir");
}

fn program(directory: &Path, name: &str, mode: u32) {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
    std::fs::write(&path, "#!/none\n").expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

fn root_of_child() -> Root {
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY;
    Root::from_fd(nix::fcntl::open("/", flags, nix::sys::stat::Mode::empty()).expect("open /"))
}

#[test]
fn problems_of_all_parts_are_collected_with_their_paths() {
    let (_, error) = planned_with(
        r#"{"cwd":"tmp","args":[],"env":["X"],"oomScoreAdj":5000,"terminal":true,
            "consoleSize":{"height":70000,"width":80},"user":{"uid":0,"gid":0,"umask":4096}}"#,
        r#"{"personality":{"domain":"LINUX","flags":["ADDR_NO_RANDOMIZE"]}}"#,
    );
    let error = error.expect("seven problems");
    for part in [
        "process.cwd: \"tmp\" is not an absolute path",
        "process.args: needs at least one entry",
        "process.env[0]: \"X\" is not of the form NAME=value",
        "process.oomScoreAdj: 5000 is outside -1000 to 1000",
        "process.consoleSize.height: 70000 is above 65535",
        "process.user.umask: 4096 is above 511",
        "linux.personality.flags[0]: \"ADDR_NO_RANDOMIZE\" is not supported",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn nul_bytes_are_problems() {
    let (_, error) = planned_with(r#"{"cwd":"/a\u0000b","args":["x","y\u0000z"]}"#, "{}");
    let error = error.expect("two problems");
    assert!(
        error.contains("process.cwd: contains a NUL byte"),
        "{error}"
    );
    assert!(
        error.contains("process.args[1]: contains a NUL byte"),
        "{error}"
    );
}

#[test]
fn absent_fields_leave_everything_alone() {
    let plan = planned("{}");
    assert!(!plan.no_new_privs);
    assert_eq!(plan.terminal, None);
    assert_eq!(
        (plan.oom_score_adj, plan.scheduler, plan.io_priority),
        (None, None, None)
    );
    assert_eq!((plan.personality, plan.keyring), (None, None));
    assert_eq!((plan.memory_policy, plan.exec_affinity), (None, None));
    assert_eq!(plan.first_closed_fd, 3);
}

#[test]
fn a_console_size_counts_beside_a_terminal_only() {
    let rows = [
        (r#"{"consoleSize":{"height":25,"width":80}}"#, None),
        (r#"{"terminal":true}"#, Some(None)),
        (
            r#"{"terminal":true,"consoleSize":{"height":25,"width":80}}"#,
            Some(Some(tty::Size {
                rows: 25,
                columns: 80,
            })),
        ),
        (
            r#"{"terminal":true,"consoleSize":{"height":0,"width":80}}"#,
            Some(None),
        ),
    ];
    for (json, terminal) in rows {
        assert_eq!(planned(json).terminal, terminal, "{json}");
    }
}

#[test]
fn preserved_and_listening_fds_are_one_range() {
    let mut plan = Plan {
        first_closed_fd: 3 + 4,
        ..Plan::default()
    };
    plan.listen(2, Some("a:b"));
    assert_eq!(plan.first_closed_fd, 7);
    plan.listen(6, None);
    assert_eq!(plan.first_closed_fd, 9);
    let expected = [c"LISTEN_FDNAMES=a:b", c"LISTEN_FDS=6"];
    assert_eq!(
        plan.environment.variables,
        expected.map(std::ffi::CStr::to_owned)
    );
}

#[test]
fn a_keyring_is_joined_unless_told_otherwise() {
    let mut problems = Problems::default();
    let options = Options::new("web1".parse().expect("an id"), "/bundle".into());
    let ns = namespaces::Plan {
        new: vec![Kind::User],
        ..Default::default()
    };
    let spec = spec(r#"{"ociVersion":"1.3.0"}"#);
    let plan = plan(
        &process("{}"),
        &spec,
        &ns,
        &options,
        &Host::of_root(),
        "process",
        &mut problems,
    );
    assert_eq!(
        plan.keyring.expect("a keyring").name.as_c_str(),
        c"_ses.web1"
    );
}

#[test]
fn cwd_is_made_entered_and_stays_inside() {
    if skip::unless_root() {
        return;
    }
    let (directory, root) = root();
    program(directory.path(), "bin/true", 0o755);
    let plan = planned(r#"{"cwd":"/new/deep"}"#);
    let result = words_of_child(|| {
        chroot(&root);
        let here = root_of_child();
        plan.make_cwd(&here)?;
        let entered = plan.enter(&here)?;
        plan.locate(&here, entered)?;
        Ok(nix::unistd::getcwd()
            .expect("a directory")
            .display()
            .to_string())
    });
    assert_eq!(result, "/new/deep");
    let mode = std::fs::metadata(directory.path().join("new/deep")).expect("made");
    assert_eq!(mode.permissions().mode() & 0o7777, 0o755);
    let missing = planned(r#"{"cwd":"/missing"}"#);
    assert_eq!(
        words_of_child(|| missing.enter(&root).map(|_| String::new())),
        "chdir to cwd /missing: no such file or directory"
    );
    let file = planned(r#"{"cwd":"/bin/true"}"#);
    assert_eq!(
        words_of_child(|| file.make_cwd(&root).map(|()| String::new())),
        "create cwd /bin/true: not a directory"
    );
}

#[test]
fn cwd_through_a_leaked_fd_is_refused() {
    if skip::unless_root() {
        return;
    }
    for fd in 0..10 {
        let plan = planned(&format!(r#"{{"cwd":"/proc/self/fd/{fd}/"}}"#));
        let result = words_of_child(|| {
            let root = root_of_child();
            let made = plan.make_cwd(&root);
            let entered = plan.enter(&root);
            assert!(entered.is_err());
            made.and(entered.map(|_| "entered".to_owned()))
        });
        assert!(
            result.starts_with("create cwd /proc/self/fd/")
                || result.starts_with("chdir to cwd /proc/self/fd/"),
            "{result}"
        );
    }
}

#[test]
fn a_cwd_outside_the_root_is_noticed() {
    if skip::unless_root() {
        return;
    }
    let (directory, root) = root();
    program(directory.path(), "bin/true", 0o755);
    let plan = planned("{}");
    let result = words_of_child(|| {
        let outside = root_of_child();
        chroot(&root);
        let here = root_of_child();
        let entered = plan.enter(&here)?;
        // What a leaked fd of the host makes possible.
        nix::unistd::fchdir(&outside).expect("out");
        plan.locate(&here, entered).map(|it| format!("{it:?}"))
    });
    assert_eq!(
        result,
        "verify cwd /: it is deleted, or outside the container's root: no such file or directory"
    );
}

#[test]
fn the_process_is_what_its_config_says() {
    if skip::unless_root() {
        return;
    }
    let (plan, error) = planned_with(
        r#"{"user":{"uid":1000,"gid":100,"umask":7,"additionalGids":[5]},"noNewPrivileges":true,
            "rlimits":[{"type":"RLIMIT_NOFILE","soft":50,"hard":60}],"oomScoreAdj":500,
            "capabilities":{"bounding":["CAP_KILL"],"permitted":["CAP_KILL"],"effective":["CAP_KILL"],
            "inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]}}"#,
        r#"{"personality":{"domain":"LINUX32"}}"#,
    );
    assert_eq!(error, None);
    let plan = Plan {
        // SIGPIPE, as casulo itself, and what the caller of the tests ignores.
        ignored_signals: u64::from_str_radix(&status_line("SigIgn"), 16).expect("a mask"),
        capabilities: plan.capabilities.for_this_machine(),
        ..plan
    };
    let result = words_of_child(|| {
        let proc = ProcFs::host().expect("a procfs");
        plan.grant(nix::unistd::getpid(), &proc, Role::Init)?;
        plan.prepare(&plan.labels.open(&proc)?)?;
        let machine = nix::sys::utsname::uname()
            .expect("uname")
            .machine()
            .to_owned();
        let here = root_of_child();
        let entered = plan.enter(&here)?;
        plan.become_user(SysAdmin::Keep)?;
        let kept = status_line("CapEff");
        let program = plan.locate(&here, entered)?;
        drop(here);
        // The harness needs its own.
        let all: Vec<i32> = (3..256).collect();
        program.ready(&plan, &all, Siblings::None)?;
        if let Some([effective, permitted, inheritable]) = plan.capabilities.after_filter() {
            crate::sys::capability::capset(effective, permitted, inheritable).expect("capset");
        }
        let names = [
            "Uid",
            "Gid",
            "Groups",
            "Umask",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "SigIgn",
        ];
        let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
        let files = limits
            .lines()
            .find(|it| it.starts_with("Max open files"))
            .expect("a line");
        let score = std::fs::read_to_string("/proc/self/oom_score_adj").expect("a score");
        Ok(format!(
            "{}|{kept}|{}|{}|{}",
            machine.to_string_lossy(),
            names.map(status_line).join("|"),
            files.split_whitespace().collect::<Vec<_>>().join(" "),
            score.trim()
        ))
    });
    let machine = if cfg!(target_arch = "x86_64") {
        "i686"
    } else {
        "armv8l"
    };
    assert_eq!(
        result,
        format!(
            "{machine}|0000000000200020|1000\t1000\t1000\t1000|100\t100\t100\t100|5|0007|0000000000000020|\
             0000000000000020|0000000000000020|0000000000000020|0000000000000020|1|0000000000000000|\
             Max open files 50 60 files|500"
        )
    );
}

#[test]
fn root_of_a_user_namespace_gets_its_capabilities_there() {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let own = |outside| namespaces::IdMap {
        inside: 0,
        outside,
        count: 1,
    };
    let ns = namespaces::Plan {
        new: vec![Kind::User],
        uid_map: vec![own(uid.as_raw())],
        gid_map: vec![own(gid.as_raw())],
        ..Default::default()
    };
    let caller = Host {
        euid: uid.as_raw(),
        egid: gid.as_raw(),
        effective: 0,
        bounding: 0,
        ..Host::of_root()
    };
    let json = r#"{"capabilities":{"bounding":["CAP_KILL","CAP_SYS_RESOURCE"],"permitted":["CAP_KILL"],
        "effective":["CAP_KILL"]}}"#;
    let mut problems = Problems::default();
    let spec = spec(r#"{"ociVersion":"1.3.0"}"#);
    let options = Options::new("web1".parse().expect("an id"), "/bundle".into());
    let plan = plan(
        &process(json),
        &spec,
        &ns,
        &options,
        &caller,
        "process",
        &mut problems,
    );
    assert!(problems.is_empty());
    let result = words_of_child(|| {
        let flags = nix::sched::CloneFlags::CLONE_NEWUSER;
        if nix::sched::unshare(flags).is_err() {
            return Ok("no user namespaces here".to_owned());
        }
        std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
        plan.become_user(SysAdmin::Drop)?;
        let names = ["Uid", "CapInh", "CapPrm", "CapEff", "CapBnd"];
        Ok(names.map(status_line).join("|"))
    });
    match result.as_str() {
        "no user namespaces here" => skip::because(result),
        result => assert_eq!(
            result,
            "0\t0\t0\t0|0000000000000000|0000000000000020|0000000000000020|0000000001000020"
        ),
    }
}
