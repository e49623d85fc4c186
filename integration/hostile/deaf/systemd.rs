//! A systemd that does not answer.

use super::{Full, RUN, sleeping, told_to_end, wait_until_it_connects};
use crate::hostile::{Attack, zoo};
use crate::support::{Bundle, Lab, Running, cases, wait_until, wrapped};
use serde_json::json;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

cases! {
    [Root, Casulo, TestBuild, Program("/usr/bin/unshare")] => run_hears_while_systemd_is_deaf, run_hears_while_systemd_drips,
        run_hears_while_systemd_floods, run_hears_while_systemd_announces, run_hears_while_systemd_does_not_accept;
}

/// What is wrong with systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It accepts, and says nothing.
    Deaf,
    /// A message that comes byte by byte.
    Drips,
    /// Signals about something else.
    Floods,
    /// A message as long as casulo takes, of which nothing comes.
    Announces,
}

/// What stands on systemd's socket.
struct Bus {
    directory: PathBuf,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl Bus {
    fn start(lab: &Lab, trouble: Trouble) -> Bus {
        let directory = lab.directory("run");
        let path = directory.join("private");
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&connections);
        // It waits for the next connection as long as the tests run.
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                kept.lock().unwrap().push(stream.try_clone().unwrap());
                // Who is asked has hung up, or the test has.
                std::thread::spawn(move || serve(stream, trouble));
            }
        });
        Bus {
            directory,
            connections,
        }
    }

    fn hang_up(&self) {
        for stream in self.connections.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The fixed part of a message.
fn header(kind: u8, length: u32, serial: u32) -> Vec<u8> {
    let mut bytes = vec![b'l', kind, 0, 1];
    for number in [length, serial, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

fn serve(mut stream: UnixStream, trouble: Trouble) -> std::io::Result<()> {
    if trouble == Trouble::Deaf {
        return Ok(());
    }
    let _ = stream.read(&mut [0; 4096])?;
    stream.write_all(b"DATA\r\nOK 1234\r\n")?;
    match trouble {
        Trouble::Deaf => Ok(()),
        Trouble::Announces => stream.write_all(&header(2, 0xf_fff0, 1)),
        Trouble::Drips => {
            stream.write_all(&header(2, 1 << 16, 1))?;
            loop {
                stream.write_all(&[0])?;
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Trouble::Floods => loop {
            stream.write_all(&header(4, 0, 1).repeat(100))?;
            std::thread::sleep(Duration::from_millis(1));
        },
    }
}

/// The command in a mount namespace of its own, where `directory` is systemd's.
fn beside(directory: &Path, command: &Command) -> Command {
    let mut shell = Command::new("unshare");
    let script = format!(
        "mount -t tmpfs none /run && mkdir /run/systemd && mount --bind {} /run/systemd && exec \"$@\"",
        directory.display()
    );
    shell.args(["--mount", "sh", "-c", &script, "sh"]);
    wrapped(shell, command)
}

fn run_hears_while_systemd_is_deaf(lab: &Lab) {
    run_hears_while_systemd(lab, Trouble::Deaf);
}

fn run_hears_while_systemd_drips(lab: &Lab) {
    run_hears_while_systemd(lab, Trouble::Drips);
}

fn run_hears_while_systemd_floods(lab: &Lab) {
    run_hears_while_systemd(lab, Trouble::Floods);
}

fn run_hears_while_systemd_announces(lab: &Lab) {
    run_hears_while_systemd(lab, Trouble::Announces);
}

fn attack() -> Attack {
    Attack {
        cve: "(hardening)",
        name: "`run` is deaf to signals, as systemd does not answer",
        without: "asked-to-end",
    }
}

/// A bundle in a scope of its own, and `run` of it where `directory` is systemd's.
fn in_scope<'lab>(lab: &'lab Lab, directory: &Path) -> (Bundle<'lab>, Running) {
    let bundle = sleeping(lab);
    let path = format!("system.slice:casulotest:{}", bundle.id());
    let bundle = bundle.set("/linux/cgroupsPath", json!(path));
    let command = bundle.command(&["--systemd-cgroup"], "run", &[]);
    let running = Running::new(beside(directory, &command), b"");
    (bundle, running)
}

const WORD: &str = "a signal came before systemd";

fn run_hears_while_systemd(lab: &Lab, trouble: Trouble) {
    zoo(lab, &attack(), |lab| {
        let bus = Bus::start(lab, trouble);
        let (bundle, running) = in_scope(lab, &bus.directory);
        wait_until("it connects", || {
            !bus.connections.lock().unwrap().is_empty()
        });
        let is_clean = || lab.assert_nothing_left(bundle.id());
        let ended = told_to_end(running, RUN, WORD, || bus.hang_up(), is_clean);
        bus.hang_up();
        ended
    });
}

fn run_hears_while_systemd_does_not_accept(lab: &Lab) {
    zoo(lab, &attack(), |lab| {
        let directory = lab.directory("run");
        let full = Full::at(directory.join("private"));
        let (bundle, running) = in_scope(lab, &directory);
        wait_until_it_connects(&running);
        let is_clean = || lab.assert_nothing_left(bundle.id());
        told_to_end(running, RUN, WORD, || drop(full), is_clean)
    });
}
