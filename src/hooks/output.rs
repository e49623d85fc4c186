//! Where the words of hooks go: files of the annotations, and the end of them into an error.

use super::Plan;
use crate::error::{Code, Context, Error, Result};
use crate::whole_file::write_all;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// How many pieces of 4096 bytes are read at a time: as much as the largest pipe of an ordinary user holds.
pub(super) const AT_ONCE: usize = 256;

/// How much of a hook's last words an error shows, in bytes.
const SHOWN: usize = 1024;

/// How often a file is looked up anew when somebody makes or removes it at the same time.
const ATTEMPTS: usize = 8;

/// The files of `run.oci.hooks.stdout` and `run.oci.hooks.stderr`, opened. No hook gets them: whoever has a descriptor
/// of a file opens it for reading by `/proc/self/fd`, if its mode lets him, and hooks inside are the image's.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Gets the stdout of hooks, if it was asked for.
    pub(super) stdout: Option<OwnedFd>,
    /// Gets the stderr of hooks, if it was asked for.
    pub(super) stderr: Option<OwnedFd>,
}

impl Output {
    /// Parent, before the clone (init, which runs hooks of the container, inherits the fds): opens
    /// the files for appending, makes missing ones with mode 0600. `bundle` is what relative paths
    /// start from. Without hooks nothing is opened.
    ///
    /// # Errors
    /// E_HOOK with the path: for a link anywhere in it, and for what is no regular file, which is not opened.
    pub(crate) fn open(plan: &Plan, bundle: &Path) -> Result<Output> {
        if plan.hooks.is_empty() {
            return Ok(Output::default());
        }
        let file = |path: &Option<PathBuf>| match path {
            Some(path) => file_at(bundle, path).map(Some),
            None => Ok(None),
        };
        Ok(Output {
            stdout: file(&plan.stdout)?,
            stderr: file(&plan.stderr)?,
        })
    }
}

fn file_at(bundle: &Path, path: &Path) -> Result<OwnedFd> {
    let step = "open the output file of hooks";
    let shown = bundle.join(path);
    let failed = |errno| Error::step(Code::Hook, step, shown.display().to_string(), errno);
    let directory =
        open(bundle, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
    let look_up = |flags: OFlag, mode| {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(mode)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&directory, path, how)
    };
    let append = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NOCTTY;
    for _ in 0..ATTEMPTS {
        // Without effect on what is there, whatever that is.
        let found = match look_up(OFlag::O_PATH, Mode::empty()) {
            Err(Errno::ENOENT) => {
                let create = append | OFlag::O_CREAT | OFlag::O_EXCL;
                match look_up(create, Mode::from_bits_truncate(0o600)) {
                    Err(Errno::EEXIST) => continue,
                    made => return made.map_err(failed),
                }
            }
            Err(Errno::ELOOP) => {
                return Err(failed(Errno::ELOOP).hint("no part of the path may be a link"));
            }
            found => found.map_err(failed)?,
        };
        let about = fstat(&found).map_err(failed)?;
        if about.st_mode & libc::S_IFMT != libc::S_IFREG || about.st_nlink > 1 {
            let why = "it is not a regular file with one name";
            return Err(failed(Errno::EINVAL).because(why));
        }
        let number = format!("/proc/self/fd/{}", found.as_raw_fd());
        return open(number.as_str(), append | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed);
    }
    Err(failed(Errno::EEXIST))
}

impl Output {
    /// Test builds, without the defence: the descriptors of the files of stdout and stderr.
    pub(crate) fn descriptors(&self) -> [Option<RawFd>; 2] {
        [&self.stdout, &self.stderr].map(|file| file.as_ref().map(AsRawFd::as_raw_fd))
    }
}

/// What startContainer hooks say, as the parent hears it: the pipes that they write to, of which it appends to the files.
/// One pipe for both streams, so that they keep their order; with a file for either, one for each.
#[derive(Debug, Default)]
pub(crate) struct Spoken {
    /// Readable ends, which do not block: of stdout and stderr together, or of stdout and of stderr.
    pipes: Vec<OwnedFd>,
    output: Output,
}

impl Spoken {
    /// `pipes` are one or two.
    pub(crate) fn of(pipes: Vec<OwnedFd>, output: Output) -> Spoken {
        Spoken { pipes, output }
    }

    /// The pipes, for poll(2).
    pub(crate) fn pipes(&self) -> &[OwnedFd] {
        &self.pipes
    }

    /// Reads what there is to read, at most a pipe full; the last words are added to `said`.
    ///
    /// # Errors
    /// E_HOOK for a file that cannot be written.
    pub(crate) fn listen(&self, said: &mut Tail) -> Result<()> {
        let last = self.pipes.len().saturating_sub(1);
        let files = [self.output.stdout.as_ref(), self.output.stderr.as_ref()];
        let mut buffer = [0; 4096];
        for (at, (pipe, file)) in self.pipes.iter().zip(files).enumerate() {
            for _ in 0..AT_ONCE {
                let Ok(length @ 1..) = read(pipe, &mut buffer) else {
                    break;
                };
                let bytes = buffer.get(..length).unwrap_or_default();
                if at == last {
                    said.add(bytes);
                }
                if let Some(file) = file {
                    let written = write_all(file, bytes);
                    written.context(Code::Hook, "write", "the output file of hooks")?;
                }
            }
        }
        Ok(())
    }
}

/// The last bytes of a stream of any length.
#[derive(Debug, Default)]
pub(crate) struct Tail(Vec<u8>);

impl Tail {
    /// Adds what was read; forgets what is too far back.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(SHOWN);
        self.0.drain(..surplus);
    }

    /// The words in one line, as an error is one: lines joined by `; `, nothing that would move a
    /// terminal's cursor.
    pub(crate) fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.replace(char::is_control, " ").trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        lines.join("; ")
    }
}
