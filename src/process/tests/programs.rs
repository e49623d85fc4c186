//! Which program is executed, and that it is.

use super::*;
use crate::binary::shared::Shared;
use crate::process::last_steps::{LastSteps, Tracer, Wait, WorkingDirectory};
use crate::sync::Channel;
use crate::sync::pipes::{Heard, pipes};
use std::os::fd::AsFd;

/// `locate` for root in `directory`, in a child: the path found, or the error.
fn located(root: &Root, more: &str) -> String {
    let plan = planned(more);
    words_of_child(|| {
        chroot(root);
        let here = root_of_child();
        let entered = plan.enter(&here)?;
        let program = plan.locate(&here, entered)?;
        Ok(format!("{program:?}"))
    })
}

#[test]
fn programs_are_found_by_path_and_by_name() {
    if skip::unless_root() {
        return;
    }
    let (directory, root) = root();
    program(directory.path(), "bin/tool", 0o755);
    program(directory.path(), "work/tool", 0o755);
    program(directory.path(), "data/plain", 0o644);
    std::fs::create_dir(directory.path().join("bin/directory")).expect("a directory");
    symlink("/bin/tool", directory.path().join("link")).expect("a link");
    std::os::unix::net::UnixListener::bind(directory.path().join("bin/socket")).expect("a socket");
    let rows = [
        (
            r#""args":["tool"],"env":["PATH=/none:/bin","HOME=/"]"#,
            "/bin/tool",
        ),
        (r#""args":["tool"],"env":["HOME=/"]"#, "/bin/tool"),
        (
            r#""args":["tool"],"env":["PATH=","HOME=/"],"cwd":"/work""#,
            "./tool",
        ),
        (r#""args":["./tool"],"cwd":"/work""#, "./tool"),
        (r#""args":["bin/tool"]"#, "bin/tool"),
        (r#""args":["/link"]"#, "/link"),
        (
            r#""args":["tool"],"env":["PATH=../bin/","HOME=/"],"cwd":"/work""#,
            "../bin/tool",
        ),
    ];
    for (json, path) in rows {
        let found = located(&root, &format!("{{{json}}}"));
        assert!(
            found.contains(&format!("path: {path:?}")),
            "{json}: {found}"
        );
    }
    let rows = [
        (
            r#""args":["none"]"#,
            r#"exec: "none": executable file not found in $PATH"#,
        ),
        (
            r#""args":["directory"]"#,
            r#"exec: "directory": executable file not found in $PATH"#,
        ),
        (
            r#""args":[""]"#,
            r#"exec: "": executable file not found in $PATH"#,
        ),
        (
            r#""args":["/none"]"#,
            r#"exec /none: no such file or directory"#,
        ),
        (
            r#""args":["./none"]"#,
            r#"exec ./none: no such file or directory"#,
        ),
        (
            r#""args":["/bin/tool/x"]"#,
            r#"exec /bin/tool/x: not a directory"#,
        ),
        (
            r#""args":["/data/plain"]"#,
            r#"exec /data/plain: permission denied"#,
        ),
        (
            r#""args":["plain"],"env":["PATH=/data:/none","HOME=/"]"#,
            r#"exec: "plain": permission denied"#,
        ),
        (
            r#""args":["/bin"]"#,
            r#"exec /bin: is a directory: permission denied"#,
        ),
        (
            r#""args":["/bin/socket"]"#,
            r#"exec /bin/socket: permission denied"#,
        ),
    ];
    for (json, error) in rows {
        assert_eq!(located(&root, &format!("{{{json}}}")), error, "{json}");
    }
}

#[test]
fn a_program_behind_a_magic_link_is_refused() {
    if skip::unless_root() {
        return;
    }
    let plan = planned(r#"{"args":["/proc/self/exe"]}"#);
    let result = words_of_child(|| {
        let root = root_of_child();
        let entered = plan.enter(&root)?;
        plan.locate(&root, entered).map(|it| format!("{it:?}"))
    });
    assert_eq!(
        result,
        "exec /proc/self/exe: a ring of symlinks, or a magic link of /proc: Too many levels of symbolic links"
    );
}

#[test]
fn the_users_rights_decide_about_a_program() {
    if skip::unless_root() {
        return;
    }
    let (directory, root) = root();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))
        .expect("chmod");
    program(directory.path(), "secret/tool", 0o755);
    let secret = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(directory.path().join("secret"), secret).expect("chmod");
    program(directory.path(), "mine", 0o700);
    let rows = [
        (
            r#""args":["/secret/tool"]"#,
            "exec /secret/tool: permission denied",
        ),
        (r#""args":["/mine"]"#, "exec /mine: permission denied"),
        // DAC_OVERRIDE reaches the user by the ambient set, and with it the program.
        (
            r#""args":["/mine"],"capabilities":{"bounding":["CAP_DAC_OVERRIDE"],
            "effective":["CAP_DAC_OVERRIDE"],"permitted":["CAP_DAC_OVERRIDE"],
            "inheritable":["CAP_DAC_OVERRIDE"],"ambient":["CAP_DAC_OVERRIDE"]}"#,
            "found",
        ),
        // The directory was entered as root, as runc does.
        (
            r#""cwd":"/secret","args":["/bin/x"]"#,
            "exec /bin/x: no such file or directory",
        ),
    ];
    for (json, expected) in rows {
        let capabilities = if json.contains("capabilities") {
            ""
        } else {
            r#","capabilities":{}"#
        };
        let plan = planned(&format!(
            r#"{{{json}{capabilities},"user":{{"uid":1000,"gid":1000}}}}"#
        ));
        let plan = Plan {
            capabilities: plan.capabilities.for_this_machine(),
            ..plan
        };
        let result = words_of_child(|| {
            chroot(&root);
            let here = root_of_child();
            let entered = plan.enter(&here)?;
            plan.become_user(SysAdmin::Drop)?;
            plan.locate(&here, entered)?;
            Ok("found".to_owned())
        });
        assert_eq!(result, expected, "{json}");
    }
}

#[test]
fn exec_runs_the_program_and_words_its_failure() {
    let execute = |path: &std::ffi::CStr| {
        let program = Program::for_test(path);
        let (ends, theirs) = pipes().expect("pipes");
        ends.say_go();
        let plan = Plan {
            first_closed_fd: 3,
            ..Plan::default()
        };
        let said = words_of_child(|| {
            let (channel, _parent) = Channel::pair()?;
            let steps = LastSteps {
                program: &program,
                bpf: None,
                sys_admin: SysAdmin::Drop,
                go: theirs.go.as_fd(),
                tell: theirs.tell.as_fd(),
                wait: Wait::Silent,
                working_directory: WorkingDirectory::VerifyAgain,
                shared: Shared::new().expect("a page"),
                tracer: Tracer::Privileged,
                hooks: &[],
                hook_output: [None; 2],
                execute: crate::step::Step::Execute,
            };
            Err::<String, _>(steps.land(&plan, channel).1)
        });
        drop(theirs);
        // A child of another test may hold the other end until it executes something.
        let mut heard = ends.hear();
        for _ in 0..500 {
            if heard != Heard::Nothing {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            heard = ends.hear();
        }
        match heard {
            Heard::End => said,
            Heard::Word(told) => {
                let mut plan = plan;
                plan.command.args = vec![path.to_owned()];
                plan.explain(told).expect("a failure").to_string()
            }
            other => format!("{other:?}"),
        }
    };
    let (directory, _root) = root();
    program(directory.path(), "script", 0o755);
    program(directory.path(), "text", 0o755);
    std::fs::write(directory.path().join("text"), "just text").expect("a file");
    let path = |name: &str| {
        std::ffi::CString::new(directory.path().join(name).to_string_lossy().into_owned())
            .expect("no NUL")
    };
    let script = execute(&path("script"));
    assert!(
        script.ends_with("/script: no such file or directory"),
        "{script}"
    );
    let text = execute(&path("text"));
    assert!(text.ends_with("/text: Exec format error"), "{text}");
    assert_eq!(execute(c"/bin/true"), "", "it runs, and says nothing");
}
