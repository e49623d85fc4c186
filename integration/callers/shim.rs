//! The process that calls a runtime: conmon, containerd's shim, Buildah. It is a subreaper, gives the
//! runtime a death signal, holds none of its pipes, and waits for whatever becomes its child.
//!
//! It is this program itself under the name `/shim`: `shim REPORT [N<PATH]… -- PROGRAM ARGUMENT…`.
//! REPORT gets a line `runtime PID`, and `PID CODE` for each child that ends.

#![allow(
    unsafe_code,
    reason = "descriptors get numbers, and a child a death signal before it executes"
)]

use crate::support::wait_until;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::{Arc, Mutex};

/// Has the kernel kill the command when the thread that started it ends, as Go's and C's callers do.
pub(super) fn die_with_caller(command: &mut Command) {
    let set = || set_pdeathsig(Signal::SIGKILL).map_err(Into::into);
    // SAFETY: prctl(2) is async-signal-safe.
    unsafe { command.pre_exec(set) };
}

/// The shim's own main.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    set_child_subreaper(true).unwrap();
    let mut report = out_of_the_way(File::create(args.next().unwrap()).unwrap());
    for word in args.by_ref().take_while(|word| word != "--") {
        let word = word.into_string().unwrap();
        let (number, path) = word.split_once('<').unwrap();
        let file = out_of_the_way(File::open(path).unwrap());
        // SAFETY: nothing of ours has such a low number.
        let result = unsafe { libc::dup2(file.as_raw_fd(), number.parse().unwrap()) };
        assert_ne!(result, -1);
    }
    let mut command = Command::new(args.next().unwrap());
    command.args(args);
    die_with_caller(&mut command);
    let runtime = command.spawn().unwrap().id();
    // Whoever reads the pipes must see their end when the container closes them.
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    nix::unistd::dup2_stdin(&null).unwrap();
    nix::unistd::dup2_stdout(&null).unwrap();
    nix::unistd::dup2_stderr(&null).unwrap();
    writeln!(report, "runtime {runtime}").unwrap();
    loop {
        let (pid, code) = match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            Ok(_) => continue,
            Err(_no_child) => return ExitCode::SUCCESS,
        };
        writeln!(report, "{pid} {code}").unwrap();
    }
}

/// The file under a number that the runtime is not given.
fn out_of_the_way(file: File) -> File {
    let number = fcntl(&file, FcntlArg::F_DUPFD_CLOEXEC(100)).unwrap();
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { File::from_raw_fd(number) }
}

/// A shim at work, seen from the test.
pub(super) struct Shim {
    child: Child,
    report: PathBuf,
    stdout: Stream,
    stderr: Stream,
}

impl Shim {
    /// Has a shim run `command`, in its environment and directory, with pipes as stdout and stderr and,
    /// as `3</path`, further descriptors.
    pub(super) fn start(command: &Command, directory: &Path, fds: &[&str]) -> Shim {
        let report = tempfile::Builder::new()
            .prefix("report.")
            .tempfile_in(directory)
            .unwrap();
        let (_, report) = report.keep().unwrap();
        let mut shim = Command::new("/proc/self/exe");
        shim.arg0("/shim")
            .arg(&report)
            .args(fds)
            .arg("--")
            .arg(command.get_program())
            .args(command.get_args());
        shim.env_clear()
            .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        if let Some(directory) = command.get_current_dir() {
            shim.current_dir(directory);
        }
        let (stdout, stderr) = (Stream::default(), Stream::default());
        shim.stdin(std::process::Stdio::null());
        for stream in [&stdout, &stderr] {
            let (reader, writer) = std::io::pipe().unwrap();
            stream.read_in_background(reader);
            if std::ptr::eq(stream, &stdout) {
                shim.stdout(writer)
            } else {
                shim.stderr(writer)
            };
        }
        let child = shim.spawn().unwrap();
        Shim {
            child,
            report,
            stdout,
            stderr,
        }
    }

    /// The shim's own number.
    pub(super) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for the end of the runtime: its exit code.
    #[track_caller]
    pub(super) fn code(&self) -> i32 {
        let runtime = self.line("runtime");
        self.ended(runtime)
    }

    /// Waits until this child of the shim has ended: its exit code, or 128 + the signal.
    #[track_caller]
    pub(super) fn ended(&self, pid: i32) -> i32 {
        self.line(&pid.to_string())
    }

    fn line(&self, first: &str) -> i32 {
        let mut second = None;
        wait_until(&format!("the shim reports {first}"), || {
            let text = fs::read_to_string(&self.report).unwrap();
            // The last line may not be written to its end.
            let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
            second = whole.lines().find_map(|line| {
                let (word, number) = line.split_once(' ')?;
                (word == first).then(|| number.parse().unwrap())
            });
            second.is_some()
        });
        second.expect("wait_until returned")
    }

    /// Standard output to its end: nobody else may hold the pipe.
    pub(super) fn stdout_to_its_end(&self) -> String {
        self.stdout.to_its_end()
    }

    /// Standard error to its end.
    pub(super) fn stderr_to_its_end(&self) -> String {
        self.stderr.to_its_end()
    }

    /// Standard output and error so far.
    pub(super) fn said(&self) -> (String, String) {
        (self.stdout.text(), self.stderr.text())
    }

    /// Kills the shim, as a crash of conmon would.
    pub(super) fn dies(&mut self) {
        nix::sys::signal::kill(Pid::from_raw(self.pid()), Signal::SIGKILL).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came out of a pipe, and whether it is all.
#[derive(Clone, Default)]
struct Stream(Arc<Mutex<(Vec<u8>, bool)>>);

impl Stream {
    fn read_in_background(&self, mut reader: PipeReader) {
        let shared = self.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                shared.0.lock().unwrap().0.extend_from_slice(&bytes[..n]);
            }
            shared.0.lock().unwrap().1 = true;
        });
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap().0).into_owned()
    }

    fn to_its_end(&self) -> String {
        wait_until("the pipe is at its end", || self.0.lock().unwrap().1);
        self.text()
    }
}
