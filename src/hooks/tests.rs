use super::*;
use crate::error::Code;
use std::fs;
use std::time::Instant;

fn planned(hooks: &str) -> std::result::Result<Plan, String> {
    let config = format!(r#"{{"ociVersion":"1.3.0",{hooks}}}"#);
    let spec: Spec = serde_json::from_str(&config).expect("a spec");
    let mut problems = Problems::default();
    let plan = plan(&spec, &mut problems);
    problems.into_result("c").map_err(|e| e.to_string())?;
    Ok(plan)
}

/// A plan with one createRuntime hook that runs `script` in a shell.
fn shell(script: &str) -> Plan {
    let args = serde_json::to_string(&["sh", "-c", script]).expect("json");
    let hook = format!(r#"{{"path":"/bin/sh","args":{args},"env":["PATH=/usr/bin:/bin"]}}"#);
    planned(&format!(r#""hooks":{{"createRuntime":[{hook}]}}"#)).expect("a plan")
}

fn run(plan: &Plan, state: &[u8], output: &Output) -> std::result::Result<(), String> {
    let env = [CString::from(c"FROM=caller")];
    let call = Call {
        state,
        cwd: Some(Path::new("/tmp")),
        env: &env,
        output,
    };
    let result = plan.run(Kind::CreateRuntime, &call);
    result.map_err(|error| {
        assert_eq!(error.code, Code::Hook);
        error.to_string()
    })
}

fn with_timeout(mut plan: Plan, timeout: Duration) -> Plan {
    for hook in &mut plan.hooks {
        hook.timeout = Some(timeout);
    }
    plan
}

#[test]
fn hooks_keep_their_order_and_default_to_their_path_as_arguments() {
    let plan = planned(
        r#""hooks":{"prestart":[{"path":"/a"},{"path":"/b","args":[],"timeout":5}],
           "poststop":[{"path":"/c","args":["c","d"],"env":[]}]}"#,
    )
    .expect("a plan");
    let shown: Vec<String> = plan.hooks.iter().map(Hook::to_string).collect();
    assert_eq!(
        shown,
        [
            "hooks.prestart[0] /a",
            "hooks.prestart[1] /b",
            "hooks.poststop[0] /c"
        ]
    );
    let second = plan.hooks.get(1).expect("b");
    assert_eq!(second.args, [CString::from(c"/b")]);
    assert_eq!(second.timeout, Some(Duration::from_secs(5)));
    assert!(plan.has(Kind::Poststop) && !plan.has(Kind::Poststart));
}

#[test]
fn wrong_hooks_are_named_by_their_path() {
    let rows = [
        (
            r#"{"path":"bin/x"}"#,
            "path: \"bin/x\" is not an absolute path",
        ),
        (
            r#"{"path":"/x","timeout":0}"#,
            "timeout: 0 is not greater than 0",
        ),
        (
            r#"{"path":"/x","timeout":-3}"#,
            "timeout: -3 is not greater than 0",
        ),
        (
            r#"{"path":"/x","args":["a","\u0000"]}"#,
            "args[1]: contains a NUL byte",
        ),
        (
            r#"{"path":"/x","env":["\u0000"]}"#,
            "env[0]: contains a NUL byte",
        ),
    ];
    for (hook, why) in rows {
        let hooks = format!(r#""hooks":{{"startContainer":[{{"path":"/ok"}},{hook}]}}"#);
        let error = planned(&hooks).expect_err(hook);
        assert_eq!(error, format!("c: hooks.startContainer[1].{why}"));
    }
}

#[test]
fn a_hook_gets_the_state_its_arguments_and_its_environment() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("seen");
    let script = format!("{{ cat; echo; echo $0; env; pwd; }} > {}", file.display());
    let args = serde_json::to_string(&["my-name", "-c", &script]).expect("json");
    let plan = planned(&format!(
        r#""hooks":{{"createRuntime":[{{"path":"/bin/sh","args":{args},"env":["PATH=/bin:/usr/bin","A=1"]}}]}}"#
    ))
    .expect("a plan");
    run(&plan, br#"{"id":"x"}"#, &Output::default()).expect("success");
    let seen = fs::read_to_string(file).expect("read");
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.first(), Some(&r#"{"id":"x"}"#));
    assert_eq!(lines.get(1), Some(&"my-name"));
    assert!(lines.contains(&"A=1") && lines.contains(&"/tmp"), "{seen}");
    assert!(!seen.contains("FROM=") && !seen.contains("CARGO"), "{seen}");
}

#[test]
fn a_hook_without_an_environment_gets_the_callers() {
    let plan = planned(
        r#""hooks":{"createRuntime":[{"path":"/usr/bin/env","args":["env","sh","-c","exit $FROM"]}]}"#,
    )
    .expect("a plan");
    let error = run(&plan, b"", &Output::default()).expect_err("exit caller");
    assert!(error.contains("caller"), "{error}");
}

#[test]
fn a_big_state_neither_hangs_nor_fails() {
    let state = vec![b' '; 3_000_000];
    run(&shell("exit 0"), &state, &Output::default()).expect("not read at all");
    run(&shell("exec <&-; sleep 0.2"), &state, &Output::default()).expect("closed");
    run(
        &shell("test $(wc -c) = 3000000"),
        &state,
        &Output::default(),
    )
    .expect("read to its end");
}

#[test]
fn a_failing_hook_says_which_and_why() {
    let rows = [
        (
            "echo oops >&2; echo again; exit 3",
            "exit status 3: oops; again",
        ),
        ("kill -9 $$", "killed by SIGKILL (killed)"),
        ("kill -SYS $$", "killed by SIGSYS (bad system call)"),
        ("exit 1", "exit status 1"),
    ];
    for (script, how) in rows {
        let error = run(&shell(script), b"", &Output::default()).expect_err(script);
        assert_eq!(
            error,
            format!("error running createRuntime hook #0: hooks.createRuntime[0] /bin/sh: {how}")
        );
    }
    let missing = planned(r#""hooks":{"createRuntime":[{"path":"/no/such"}]}"#).expect("a plan");
    assert_eq!(
        run(&missing, b"", &Output::default()).expect_err("missing"),
        "error running createRuntime hook #0: hooks.createRuntime[0] /no/such: no such file or directory"
    );
}

#[test]
fn only_the_end_of_many_words_is_shown() {
    let script = "i=0; while [ $i -lt 30000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1";
    let error = run(&shell(script), b"", &Output::default()).expect_err("fails");
    assert!(
        error.len() < 1500 && error.ends_with("line 29998; line 29999"),
        "{error}"
    );
}

#[test]
fn a_timeout_kills_the_hook_and_its_commands() {
    let plan = with_timeout(
        shell("sleep 34567 & echo waiting; sleep 34567"),
        Duration::from_millis(300),
    );
    let began = Instant::now();
    let error = run(&plan, b"", &Output::default()).expect_err("too long");
    assert!(
        error.contains("killed after its timeout of 300ms: waiting"),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(20));
    let left = std::process::Command::new("pgrep")
        .args(["-f", "-x", "sleep 34567"])
        .output();
    if let Ok(found) = left {
        assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    }
}

#[test]
fn what_a_hook_leaves_in_the_background_is_not_waited_for() {
    let began = Instant::now();
    run(&shell("sleep 5 & exit 0"), b"", &Output::default()).expect("success");
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn signals_are_as_at_the_beginning() {
    // 32 to 34, which the C library keeps for itself, may be ignored as our caller had it.
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status | grep -vE '0{7}[0-3][08]0{7}'; \
                  test $? = 1 || exit 9; ls -l /proc/self/fd | grep -c -- '->' >&2; exit 5";
    let error = run(&shell(script), b"", &Output::default()).expect_err("exit 5");
    // Stdio, and the directory that ls itself reads.
    assert!(error.ends_with("exit status 5: 4"), "{error}");
}

#[test]
fn words_go_to_the_files_of_the_annotations() {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("err"), "before\n").expect("write");
    let mut plan = shell("echo out; echo err >&2; exit 2");
    plan.stdout = Some(PathBuf::from("out"));
    plan.stderr = Some(directory.path().join("err"));
    let output = Output::open(&plan, directory.path()).expect("opened");
    for _ in 0..2 {
        let error = run(&plan, b"", &output).expect_err("exit 2");
        assert!(error.ends_with("/bin/sh: exit status 2: err"), "{error}");
    }
    let text = |name| fs::read_to_string(directory.path().join(name)).expect("read");
    assert_eq!(text("out"), "out\nout\n");
    assert_eq!(text("err"), "before\nerr\nerr\n");
}

#[test]
fn words_go_to_regular_files_alone_and_no_link_leads_there() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let directory = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "").expect("a file");
    fs::hard_link(at("file"), at("second name")).expect("a hard link");
    symlink(at("missing"), at("link")).expect("a link");
    symlink(directory.path(), at("way")).expect("a link");
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    for (path, why) in [
        ("link", "not a regular file"),
        ("way/new", "Too many levels of symbolic links"),
        ("fifo", "not a regular file"),
        ("socket", "not a regular file"),
        ("file", "with one name"),
        (".", "not a regular file"),
        ("/dev/null", "not a regular file"),
        ("/proc/self/fd/1", "Too many levels of symbolic links"),
        ("nowhere/new", "no such file"),
    ] {
        let mut plan = shell("echo out");
        plan.stdout = Some(PathBuf::from(path));
        let error = Output::open(&plan, directory.path()).expect_err(path);
        let shown = error.to_string();
        let named = directory.path().join(path).display().to_string();
        assert!(shown.contains(why) && shown.contains(&named), "{shown}");
    }
    let missing = at("missing").symlink_metadata();
    assert!(missing.is_err(), "made through a link");
    let kind = at("fifo").symlink_metadata().expect("a FIFO").file_type();
    assert!(kind.is_fifo());
}

#[test]
fn a_hook_that_talks_all_the_time_has_no_more_time_than_others() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut plan = shell("exec cat /dev/zero");
    plan.stdout = Some(PathBuf::from("out"));
    plan.hooks[0].timeout = Some(Duration::from_millis(200));
    let output = Output::open(&plan, directory.path()).expect("opened");
    let error = run(&plan, b"", &output).expect_err("too long");
    assert!(error.contains("killed after its timeout"), "{error}");
}

#[test]
fn all_poststop_hooks_run_whatever_fails() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("ran").display().to_string();
    let plan = planned(&format!(
        r#""hooks":{{"poststop":[{{"path":"/bin/false"}},{{"path":"/bin/touch","args":["touch",{file:?}]}}]}}"#
    ))
    .expect("a plan");
    let call = Call {
        state: b"",
        cwd: Some(Path::new("/a/bundle/that/is/gone")),
        env: &[],
        output: &Output::default(),
    };
    assert_eq!(plan.run_all(Kind::Poststop, &call).len(), 1);
    assert!(fs::metadata(file).is_ok());
}
