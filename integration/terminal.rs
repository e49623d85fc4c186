//! Terminals: the runtime's own in the foreground, the console socket's otherwise.

use crate::support::{Bundle, Lab, Listener, Terminal, cases, finish, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::fs;
use std::process::Command;

cases! {
    [Root] => foreground_terminal_is_a_tty, typed_text_arrives, window_size_is_the_callers, console_socket_gets_the_master,
        console_size_of_the_config, detached_terminal_needs_a_socket, dev_console_is_the_terminal, control_c_interrupts,
        exec_with_a_tty, exec_with_a_console_socket, exit_code_through_a_terminal, resize_is_passed_on,
        standard_streams_are_the_terminal, it_is_the_controlling_terminal, resize_is_passed_on_to_exec,
        all_output_arrives;
    // runc wants to be on a terminal itself.
    [Root, Casulo] => lines_in_a_file_end_as_they_were_written;
    [Root, Casulo] => socket_without_terminal_is_an_error, callers_terminal_is_restored, long_socket_paths;
    // Casulo is stopped when the program runs, before it does anything for it.
    [Root, TestBuild] => an_executed_program_finds_the_size_at_once;
}

fn terminal_bundle<'lab>(lab: &'lab Lab, script: &str) -> Bundle<'lab> {
    lab.bundle()
        .set("/process/terminal", json!(true))
        .sh(script)
}

fn foreground_terminal_is_a_tty(lab: &Lab) {
    let bundle = terminal_bundle(
        lab,
        "tty; test -t 0 && test -t 1 && test -t 2 && echo three ttys",
    );
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    let text = terminal.expect("three ttys");
    assert!(text.starts_with("/dev/pts/"), "{text:?}");
    assert!(child.wait().unwrap().success());
}

fn typed_text_arrives(lab: &Lab) {
    let bundle = terminal_bundle(lab, "read line; echo got $line");
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    terminal.type_in("some words\r");
    terminal.expect("got some words");
    assert!(child.wait().unwrap().success());
}

fn window_size_is_the_callers(lab: &Lab) {
    let bundle = terminal_bundle(lab, "sleep 0.3; stty size");
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 33, 99);
    terminal.expect("33 99");
    child.wait().unwrap();
}

fn resize_is_passed_on(lab: &Lab) {
    let bundle = terminal_bundle(
        lab,
        "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done",
    );
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    terminal.expect("ready");
    terminal.resize(50, 132);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGWINCH).unwrap();
    terminal.expect("50 132");
    bundle.call("kill", &[], &["KILL"]).ok();
    child.wait().unwrap();
}

fn resize_is_passed_on_to_exec(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let script = "trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.1; done";
    let mut exec = lab.command();
    exec.args(["exec", "--tty", bundle.id(), "/bin/sh", "-c", script]);
    let (mut terminal, mut child) = Terminal::spawn(exec, 24, 80);
    terminal.expect("ready");
    terminal.resize(50, 132);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGWINCH).unwrap();
    terminal.expect("50 132");
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

fn an_executed_program_finds_the_size_at_once(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    lab.use_test_build("CASULO_FAULT", "exec-attend:stop");
    let mut exec = lab.command();
    let script = "stty size >/size.new; mv /size.new /size";
    exec.args(["exec", "--tty", bundle.id(), "/bin/sh", "-c", script]);
    let (_terminal, mut child) = Terminal::spawn(exec, 33, 99);
    let size = bundle.rootfs().join("size");
    wait_until("the program has asked", || size.exists());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGCONT).unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(size).unwrap(), "33 99\n");
}

fn control_c_interrupts(lab: &Lab) {
    let bundle = terminal_bundle(
        lab,
        "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.1; done",
    );
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    terminal.expect("ready");
    terminal.type_in("\x03");
    terminal.expect("interrupted");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

fn exit_code_through_a_terminal(lab: &Lab) {
    let bundle = terminal_bundle(lab, "echo bye; exit 9");
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    terminal.expect("bye");
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

fn standard_streams_are_the_terminal(lab: &Lab) {
    let bundle = terminal_bundle(
        lab,
        "readlink /proc/$$/fd/0; readlink /proc/$$/fd/1; readlink /proc/$$/fd/2; ls /proc/self/fd; echo end",
    );
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 200);
    let text = terminal.expect("end\r\n").replace('\r', "");
    assert!(child.wait().unwrap().success());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{lines:?}");
    assert!(lines[0] == lines[1] && lines[1] == lines[2], "{lines:?}");
    assert_eq!(
        lines[3].split_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3"]
    );
}

fn it_is_the_controlling_terminal(lab: &Lab) {
    let bundle = terminal_bundle(
        lab,
        "echo to the tty >/dev/tty; cut -d' ' -f6,7 /proc/self/stat; echo end",
    );
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    let text = terminal.expect("end");
    assert!(child.wait().unwrap().success());
    assert!(text.contains("to the tty"), "{text:?}");
    // Session 1, and a terminal: not 0.
    assert!(
        text.contains("1 34816") || text.contains("\n1 "),
        "{text:?}"
    );
    assert!(!text.contains("\n1 0"), "{text:?}");
}

fn dev_console_is_the_terminal(lab: &Lab) {
    let bundle = terminal_bundle(
        lab,
        "stat -c '%F' /dev/console; echo through the console >/dev/console; echo end",
    );
    let (mut terminal, mut child) = Terminal::spawn(bundle.command(&[], "run", &[]), 24, 80);
    let text = terminal.expect("end");
    child.wait().unwrap();
    assert!(text.contains("character special file"), "{text:?}");
    assert!(text.contains("through the console"), "{text:?}");
}

/// However the command ends, and also when it never began.
fn callers_terminal_is_restored(lab: &Lab) {
    let sleeping = lab.bundle().args(&["/bin/sleep", "1000"]);
    sleeping.run_detached();
    let exec = |args: &[&str]| {
        let mut command = lab.command();
        command.args(["exec", "--tty", sleeping.id()]).args(args);
        command
    };
    let ended = terminal_bundle(lab, "exit 3");
    let missing = terminal_bundle(lab, "").args(&["/no/such/program"]);
    let hooked =
        terminal_bundle(lab, "sleep 1000").push("/hooks/poststart", json!({"path": "/bin/false"}));
    let killed = ["/bin/sh", "-c", "kill -KILL $$"];
    for (inner, code) in [
        (ended.command(&[], "run", &[]), 3),
        (missing.command(&[], "run", &[]), 1),
        (hooked.command(&[], "run", &[]), 1),
        (exec(&["/bin/true"]), 0),
        (exec(&["/no/such/program"]), 255),
        (exec(&killed), 128 + 9),
    ] {
        let mut shell = Command::new("sh");
        let script = "stty -a >before; \"$@\"; code=$?; stty -a >after; cmp before after && echo the same $code.";
        shell.args(["-c", script, "sh"]);
        shell
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir(lab.path());
        let (mut terminal, mut child) = Terminal::spawn(shell, 24, 80);
        terminal.expect(&format!("the same {code}."));
        child.wait().unwrap();
    }
}

/// Runs a bundle detached with a console socket at `path`; returns its terminal.
fn through_socket(lab: &Lab, bundle: &Bundle<'_>, name: &str) -> Terminal {
    let listener = Listener::new(lab.join(name));
    let path = listener.path().to_string_lossy().into_owned();
    let receiver = std::thread::spawn(move || listener.receive());
    finish(
        bundle.command(&[], "run", &["--detach", "--console-socket", &path]),
        b"",
    )
    .ok();
    let mut received = receiver.join().unwrap();
    assert_eq!(received.fds.len(), 1, "{received:?}");
    assert!(received.text.len() < 4096);
    Terminal::from_master(received.fds.remove(0))
}

fn console_socket_gets_the_master(lab: &Lab) {
    let bundle = terminal_bundle(lab, "echo hello; read line; echo got $line; read more");
    let mut terminal = through_socket(lab, &bundle, "console");
    terminal.expect("hello");
    terminal.type_in("words\r");
    terminal.expect("got words");
}

fn console_size_of_the_config(lab: &Lab) {
    let bundle = terminal_bundle(lab, "stty size; read line")
        .set("/process/consoleSize", json!({"height": 41, "width": 77}));
    through_socket(lab, &bundle, "console").expect("41 77");
}

/// Listens in a directory so deep that its path does not fit the 108 bytes of sun_path: engines nest so.
fn deep_listener(lab: &Lab, name: &str) -> (Listener, String) {
    let deep = (0..6).fold(lab.path().to_path_buf(), |path, _| {
        path.join("a-directory-with-a-long-name")
    });
    std::fs::create_dir_all(&deep).unwrap();
    let short = lab.join("s");
    let listener = Listener::new(short.clone());
    std::fs::rename(&short, deep.join(name)).unwrap();
    let path = deep.join(name).to_string_lossy().into_owned();
    (listener, path)
}

fn long_socket_paths(lab: &Lab) {
    let bundle = terminal_bundle(lab, "echo hello; read line");
    let (listener, path) = deep_listener(lab, "console");
    let receiver = std::thread::spawn(move || listener.receive());
    let options = ["--detach", "--console-socket", &path];
    finish(bundle.command(&[], "run", &options), b"").ok();
    let mut of_run = receiver.join().unwrap();
    let mut of_run = Terminal::from_master(of_run.fds.remove(0));
    of_run.expect("hello");
    let (listener, path) = deep_listener(lab, "console-of-exec");
    let receiver = std::thread::spawn(move || listener.receive());
    let options = ["--tty", "--detach", "--console-socket", &path];
    bundle.call("exec", &options, &["/bin/echo", "hello"]).ok();
    let mut of_exec = receiver.join().unwrap();
    Terminal::from_master(of_exec.fds.remove(0)).expect("hello");
}

/// More than a pty holds, and nothing behind it: it must not be lost with the process.
fn all_output_arrives(lab: &Lab) {
    let script = "seq 1 4000; printf end";
    let bundle = terminal_bundle(lab, script);
    let sleeping = lab.bundle().args(&["/bin/sleep", "1000"]);
    sleeping.run_detached();
    let mut exec = lab.command();
    exec.args(["exec", "--tty", sleeping.id(), "/bin/sh", "-c", script]);
    for command in [bundle.command(&[], "run", &[]), exec] {
        let (mut terminal, mut child) = Terminal::spawn(command, 24, 80);
        let text = terminal.expect("end").replace('\r', "");
        assert!(child.wait().unwrap().success());
        let expected: String = (1..=4000).map(|n| format!("{n}\n")).collect();
        assert!(text == expected + "end", "{} bytes", text.len());
    }
}

/// The carriage returns that a terminal adds are for a terminal.
fn lines_in_a_file_end_as_they_were_written(lab: &Lab) {
    let out = terminal_bundle(lab, "echo one; echo two; test -t 1 && echo tty").run();
    assert_eq!(out.ok().stdout, "one\ntwo\ntty\n");
}

fn detached_terminal_needs_a_socket(lab: &Lab) {
    let bundle = terminal_bundle(lab, "true");
    finish(bundle.command(&[], "run", &["--detach"]), b"").fails_with(&["console"]);
    bundle.create(&[]).fails_with(&["console"]);
    lab.assert_nothing_left(bundle.id());
}

fn socket_without_terminal_is_an_error(lab: &Lab) {
    let listener = Listener::new(lab.join("console"));
    let bundle = lab.bundle();
    bundle
        .create(&["--console-socket", &listener.path().to_string_lossy()])
        .fails_with(&["terminal"]);
}

fn exec_with_a_tty(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let mut command = lab.command();
    command.args([
        "exec",
        "--tty",
        bundle.id(),
        "/bin/sh",
        "-c",
        "tty; read line; echo got $line; exit 5",
    ]);
    let (mut terminal, mut child) = Terminal::spawn(command, 24, 80);
    terminal.expect("/dev/pts/");
    terminal.type_in("it\r");
    terminal.expect("got it");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

fn exec_with_a_console_socket(lab: &Lab) {
    let bundle = lab.bundle().args(&["/bin/sleep", "1000"]);
    bundle.run_detached();
    let listener = Listener::new(lab.join("console"));
    let path = listener.path().to_string_lossy().into_owned();
    let receiver = std::thread::spawn(move || listener.receive());
    bundle
        .call(
            "exec",
            &["--tty", "--detach", "--console-socket", &path],
            &["/bin/sh", "-c", "tty; read line"],
        )
        .ok();
    let mut received = receiver.join().unwrap();
    Terminal::from_master(received.fds.remove(0)).expect("/dev/pts/");
}
