use super::*;
use crate::root::Root;
use crate::skip;
use crate::sys::child::{fork, leave};
use crate::sys::clone::Side;
use crate::sys::forked::check_in_child;
use crate::sys::pidfd::pidfd_open;
use crate::sys::tty;
use crate::terminal;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{dup2_stdin, dup2_stdout, execv, getpid, pipe2, setsid, write};
use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

type Outcome = std::result::Result<(), String>;
type Answer<T> = std::result::Result<T, String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn truth(holds: bool, what: &str) -> Outcome {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

fn become_shell(script: &str) -> i32 {
    let script = CString::new(script).unwrap_or_default();
    let _ = execv(c"/bin/sh", &[c"sh", c"-c", &script]);
    126
}

/// Starts a shell, on a terminal if `slave` is given, as init would.
fn start(slave: Option<&OwnedFd>, script: &str) -> Answer<Pid> {
    match fork().map_err(text)? {
        Side::Parent(pid) => Ok(pid),
        Side::Child => {
            // Under nohup the shell would outlive its terminal.
            let hangup = 1 << (libc::SIGHUP - 1);
            let ready = crate::process::signals::reset(hangup).and_then(|()| match slave {
                None => Ok(()),
                Some(slave) => setsid()
                    .context(Code::Process, "setsid", "")
                    .and_then(|_| terminal::attach(slave.as_fd())),
            });
            leave(ready.map_or(125, |()| become_shell(script)));
        }
    }
}

fn exit_of(script: &str) -> Answer<i32> {
    let signals = Signals::block().map_err(text)?;
    let pid = start(None, script)?;
    let pidfd = pidfd_open(pid).map_err(text)?;
    wait(&signals, pid, pidfd.as_fd(), None, None).map_err(text)
}

fn a_terminal() -> Answer<terminal::Terminal> {
    let top = open("/", OFlag::O_PATH, Mode::empty()).map_err(text)?;
    terminal::open(&Root::from_fd(top), None).map_err(text)
}

/// Runs `body` by [`check_in_child`] if the caller may open terminals: not every /dev/pts lets all
/// users.
fn check_with_terminals(body: impl FnOnce() -> Outcome) {
    match a_terminal() {
        Ok(_) => check_in_child(body),
        Err(why) => skip::because(why),
    }
}

/// Runs `script` on a terminal between `input` and `output`. Returns its exit code.
fn on_a_terminal(script: &str, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Answer<i32> {
    let signals = Signals::block().map_err(text)?;
    let pty = a_terminal()?;
    let relay = Relay::between(pty.master, input, output).map_err(text)?;
    let pid = start(Some(&pty.slave), script)?;
    drop(pty.slave);
    let pidfd = pidfd_open(pid).map_err(text)?;
    wait(&signals, pid, pidfd.as_fd(), Some(relay), None).map_err(text)
}

fn a_file() -> Answer<(tempfile::NamedTempFile, OwnedFd)> {
    let file = tempfile::NamedTempFile::new().map_err(text)?;
    let fd = open(file.path(), OFlag::O_WRONLY, Mode::empty()).map_err(text)?;
    Ok((file, fd))
}

/// A pipe that holds `bytes` and then ends.
fn input_of(bytes: &[u8]) -> Answer<OwnedFd> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(text)?;
    write(&writer, bytes).map_err(text)?;
    Ok(reader)
}

/// A pipe that stays open and empty.
fn silence() -> Answer<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC).map_err(text)
}

#[test]
fn the_exit_code_is_the_processs_or_128_and_the_signal() {
    let rows = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("kill -34 $$", 162),
    ];
    for (script, code) in rows {
        check_in_child(|| {
            let found = exit_of(script)?;
            truth(found == code, &format!("{script}: {found}"))
        });
    }
}

#[test]
fn signals_are_passed_on_even_those_from_before_the_process() {
    check_in_child(|| {
        let signals = Signals::block().map_err(text)?;
        for signal in [Signal::SIGUSR1, Signal::SIGCHLD, Signal::SIGURG] {
            kill(getpid(), signal).map_err(text)?;
        }
        let (ready, tell) = silence()?;
        let pid = match fork().map_err(text)? {
            Side::Parent(pid) => pid,
            Side::Child => {
                // Only the shell restores the signal mask: until it runs, all signals stay pending.
                let _ = dup2_stdout(&tell);
                let restored = crate::process::signals::reset(0).is_ok();
                let script = "trap 'exit 42' USR1; echo ready; while :; do sleep 0.05; done";
                leave(if restored { become_shell(script) } else { 125 });
            }
        };
        nix::unistd::read(&ready, &mut [0; 16]).map_err(text)?;
        let pidfd = pidfd_open(pid).map_err(text)?;
        let code = wait(&signals, pid, pidfd.as_fd(), None, None).map_err(text)?;
        truth(code == 42, &code.to_string())
    });
}

#[test]
fn a_process_that_is_not_our_child_is_an_error() {
    check_in_child(|| {
        let signals = Signals::block().map_err(text)?;
        let pid = start(None, "exit 0")?;
        let pidfd = pidfd_open(pid).map_err(text)?;
        child::wait(Some(pid), WaitMode::Block).map_err(text)?;
        match wait(&signals, pid, pidfd.as_fd(), None, None) {
            Err(error) if error.errno == Some(Errno::ECHILD) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn the_end_among_those_of_others_is_not_lost() {
    check_in_child(|| {
        for delay in 0..40 {
            let (go, give_go) = pipe2(OFlag::O_CLOEXEC).map_err(text)?;
            let process = match fork().map_err(text)? {
                Side::Parent(pid) => pid,
                Side::Child => {
                    let _ = nix::unistd::read(&go, &mut [0]);
                    std::thread::sleep(Duration::from_micros(10 * delay));
                    leave(7)
                }
            };
            for _ in 0..60 {
                if let Side::Child = fork().map_err(text)? {
                    leave(0);
                }
            }
            write(&give_go, b"!").map_err(text)?;
            let ended = loop {
                if let Some(ended) = reap(process).map_err(text)? {
                    break ended;
                }
            };
            truth(ended == Ended::Exited(7), &format!("{ended:?}"))?;
        }
        Ok(())
    });
}

#[test]
fn orphans_are_reaped() {
    check_in_child(|| {
        nix::sys::prctl::set_child_subreaper(true).map_err(text)?;
        let code = exit_of("(sh -c 'exit 3' &) ; sleep 0.3; exit 1")?;
        truth(code == 1, &code.to_string())?;
        let left = child::wait(None, WaitMode::NoHang);
        truth(left == Err(Errno::ECHILD), &format!("{left:?}"))
    });
}

#[test]
fn a_terminal_gives_its_output_to_the_last_byte() {
    check_with_terminals(|| {
        let (_open, input) = silence()?;
        let (file, output) = a_file()?;
        let script = "seq 1 50000; printf end";
        let code = on_a_terminal(script, input.as_fd(), output.as_fd())?;
        truth(code == 0, &code.to_string())?;
        let found = fs::read_to_string(file.path()).map_err(text)?;
        let mut wanted: String = (1..=50_000).map(|i| format!("{i}\n")).collect();
        wanted.push_str("end");
        truth(
            found == wanted,
            &format!("{} bytes of {}", found.len(), wanted.len()),
        )
    });
}

#[test]
fn a_slow_reader_slows_the_process_down_and_loses_nothing() {
    check_with_terminals(|| {
        let (_open, input) = silence()?;
        let (file, count) = a_file()?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(text)?;
        let Side::Parent(counter) = fork().map_err(text)? else {
            let _ = dup2_stdin(&reader);
            let _ = dup2_stdout(&count);
            leave(become_shell("sleep 0.5; wc -c"))
        };
        drop(reader);
        let script = "head -c 300000 /dev/zero; exit 3";
        let code = on_a_terminal(script, input.as_fd(), writer.as_fd())?;
        truth(code == 3, &code.to_string())?;
        drop(writer);
        // `wait` reaps every child, so the counter may be among them.
        let _ = child::wait(Some(counter), WaitMode::Block);
        let found = fs::read_to_string(file.path()).map_err(text)?;
        truth(found.trim() == "300000", &found)
    });
}

#[test]
fn input_is_typed_and_its_end_is_an_end_of_file() {
    let rows: [(&str, &[u8], &str); 3] = [
        (
            "stty -echo; read line; echo got $line; exit 5",
            b"hello\n",
            "got hello",
        ),
        // The input ends in the middle of a line, and at the start of one.
        ("stty -echo; sleep 0.1; cat; exit 5", b"abc", "abc"),
        ("stty -echo; sleep 0.1; cat; exit 5", b"", ""),
    ];
    for (script, bytes, wanted) in rows {
        check_with_terminals(|| {
            let (file, output) = a_file()?;
            let input = input_of(bytes)?;
            let code = on_a_terminal(script, input.as_fd(), output.as_fd())?;
            let found = fs::read_to_string(file.path()).map_err(text)?;
            truth(
                code == 5 && found.contains(wanted),
                &format!("{code}: {found:?}"),
            )
        });
    }
}

#[test]
fn a_reader_that_goes_away_hangs_the_terminal_up() {
    check_with_terminals(|| {
        let (_open, input) = silence()?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(text)?;
        drop(reader);
        let script = "while :; do echo y; sleep 0.01; done";
        let code = on_a_terminal(script, input.as_fd(), writer.as_fd())?;
        truth(code == 129, &code.to_string())
    });
}

#[test]
fn a_terminal_that_nobody_has_open_comes_back() {
    check_with_terminals(|| {
        let (_open, input) = silence()?;
        let (file, output) = a_file()?;
        let script = "exec 0<&- 1>&- 2>&-; sleep 0.4; echo back > /dev/tty";
        on_a_terminal(script, input.as_fd(), output.as_fd())?;
        let found = fs::read_to_string(file.path()).map_err(text)?;
        truth(found == "back\n", &found)
    });
}

#[test]
fn background_processes_that_keep_the_terminal_are_not_waited_for() {
    check_with_terminals(|| {
        let (_open, input) = silence()?;
        let (file, output) = a_file()?;
        let began = Instant::now();
        let script = "trap '' HUP; sleep 6 & printf done; exit 4";
        let code = on_a_terminal(script, input.as_fd(), output.as_fd())?;
        truth(
            code == 4 && began.elapsed() < Duration::from_secs(5),
            "in time",
        )?;
        let found = fs::read_to_string(file.path()).map_err(text)?;
        truth(found == "done", &found)
    });
}

#[test]
fn our_terminal_is_raw_meanwhile_lends_its_size_and_is_restored() {
    check_with_terminals(|| {
        let ours = a_terminal()?;
        let size = tty::Size {
            rows: 33,
            columns: 99,
        };
        tty::set_size(ours.slave.as_fd(), size).map_err(text)?;
        let before = tcgetattr(&ours.slave).map_err(text)?;
        let (file, output) = a_file()?;
        let signals = Signals::block().map_err(text)?;
        let pty = a_terminal()?;
        let relay = Relay::between(pty.master, ours.slave.as_fd(), output.as_fd()).map_err(text)?;
        let meanwhile = tcgetattr(&ours.slave).map_err(text)?;
        truth(
            !meanwhile.local_flags.contains(LocalFlags::ICANON),
            "raw meanwhile",
        )?;
        // Control-D is typed on our terminal, and reaches the other one as a plain character.
        write(&ours.master, b"size\n\x04").map_err(text)?;
        let script = "stty -echo; read x; stty size; cat; exit 6";
        let pid = start(Some(&pty.slave), script)?;
        drop(pty.slave);
        let pidfd = pidfd_open(pid).map_err(text)?;
        let code = wait(&signals, pid, pidfd.as_fd(), Some(relay), None).map_err(text)?;
        let found = fs::read_to_string(file.path()).map_err(text)?;
        truth(
            code == 6 && found.contains("33 99"),
            &format!("{code}: {found:?}"),
        )?;
        let after = tcgetattr(&ours.slave).map_err(text)?;
        let flags = |modes: &Termios| (modes.input_flags, modes.output_flags, modes.local_flags);
        truth(flags(&after) == flags(&before), "restored")
    });
}
