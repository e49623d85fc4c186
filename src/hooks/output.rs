//! Where the words of hooks go: files of the annotations, and the end of them into an error.

use super::Plan;
use crate::error::{Code, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fstat};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How much of a hook's last words an error shows, in bytes.
const SHOWN: usize = 1024;

/// How often a file is looked up anew when somebody makes or removes it at the same time.
const ATTEMPTS: usize = 8;

/// The files of `run.oci.hooks.stdout` and `run.oci.hooks.stderr`, opened. No hook gets them: whoever has a descriptor
/// of a file opens it for reading by `/proc/self/fd`, if its mode lets him, and hooks inside are the image's.
#[derive(Debug, Default)]
pub struct Output {
    /// Gets the stdout of hooks, if it was asked for.
    pub(crate) stdout: Option<OwnedFd>,
    /// Gets the stderr of hooks, if it was asked for.
    pub(crate) stderr: Option<OwnedFd>,
}

impl Output {
    /// Parent, before the clone (init, which runs hooks of the container, inherits the fds): opens
    /// the files for appending, makes missing ones with mode 0600. `bundle` is what relative paths
    /// start from. Without hooks nothing is opened.
    ///
    /// # Errors
    /// E_HOOK with the path: for a link anywhere in it, and for what is no regular file, which is not opened.
    pub fn open(plan: &Plan, bundle: &Path) -> Result<Output> {
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
    let folder = open(bundle, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
    let look_up = |flags: OFlag, mode| {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(mode)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&folder, path, how)
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

/// The last bytes of a stream of any length.
#[derive(Debug, Default)]
pub struct Tail(Vec<u8>);

impl Tail {
    /// Adds what was read; forgets what is too far back.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(SHOWN);
        self.0.drain(..surplus);
    }

    /// The words in one line, as an error is one: lines joined by `; `, nothing that would move a
    /// terminal's cursor.
    pub fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.replace(char::is_control, " ").trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        lines.join("; ")
    }
}
