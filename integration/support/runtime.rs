//! Calls of the runtime under test, and what comes back.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest a call may take before the test fails. Emulated test hosts are slow.
const LIMIT: Duration = Duration::from_secs(120);

/// `command`, with its arguments and variables, as the last arguments of `wrapper`, which becomes it.
pub(crate) fn wrapped(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    let variables = command.get_envs();
    wrapper.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    wrapper
}

/// What a call printed and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Exit code; 128 + signal where a signal ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The output, if the call ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Output {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The output, if the call failed and said each of these words on stderr: at least one, for a failure
    /// for another reason is none of the test's.
    #[track_caller]
    pub(crate) fn fails_with(self, words: &[&str]) -> Output {
        assert!(!words.is_empty(), "no word: it may fail for any reason");
        assert_ne!(self.code, 0, "no failure: {self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
        self
    }

    /// Standard output without blanks at both ends.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// The lines of standard output.
    pub(crate) fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// A field of a `/proc/PID/status` text on standard output.
    pub(crate) fn field(&self, name: &str) -> String {
        field(&self.stdout, name)
    }
}

/// The value of `name` in a `/proc/PID/status` text; empty if it is not there.
pub(crate) fn field(status: &str, name: &str) -> String {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .unwrap_or_default()
}

/// What `make build` and `make test-build` leave in the project's directory.
fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .with_file_name("bin")
        .join(name)
}

/// The runtime's binary, as `CASULO` names it.
pub(crate) fn original() -> PathBuf {
    match std::env::var_os("CASULO") {
        Some(path) => PathBuf::from(path),
        None => built("casulo"),
    }
}

/// casulo's test build, as `CASULO_TESTING` names it.
pub(crate) fn test_build() -> PathBuf {
    match std::env::var_os("CASULO_TESTING") {
        Some(path) => PathBuf::from(path),
        None => built("casulo-testing"),
    }
}

/// casulo's position-independent build, as `CASULO_PIE` names it.
pub(crate) fn pie_build() -> PathBuf {
    match std::env::var_os("CASULO_PIE") {
        Some(path) => PathBuf::from(path),
        None => built("casulo-pie"),
    }
}

/// True if the runtime under test is casulo.
pub(crate) fn is_casulo() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let mut command = Command::new(original());
        command.arg("--version");
        finish(command, b"").stdout.starts_with("casulo ")
    })
}

/// Runs a command to its end. Its output goes to files, so that a container it leaves behind may
/// keep them open.
#[track_caller]
pub(crate) fn finish(command: Command, stdin: &[u8]) -> Output {
    Running::new(command, stdin).wait()
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Starts `command` with these bytes (none: /dev/null) as its standard input.
    #[track_caller]
    pub(crate) fn new(mut command: Command, stdin: &[u8]) -> Running {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        if stdin.is_empty() {
            command.stdin(Stdio::null());
        } else {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(stdin).unwrap();
            file.rewind().unwrap();
            command.stdin(file);
        }
        command.stdout(stdout.try_clone().unwrap());
        command.stderr(stderr.try_clone().unwrap());
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Running {
            child,
            stdout,
            stderr,
        }
    }

    /// The process's number.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Standard output so far.
    pub(crate) fn stdout(&self) -> String {
        text_of(&self.stdout)
    }

    /// True once the command itself has ended, whatever it has left running.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, not for ever.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        let end = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "not done after {LIMIT:?}; stdout: {} stderr: {}",
                    text_of(&self.stdout),
                    text_of(&self.stderr)
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Output {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: text_of(&self.stdout),
            stderr: text_of(&self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// All that a file holds, whatever the position its writers share with us.
fn text_of(file: &File) -> String {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until `condition` holds; fails with `what` when it never does.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
