//! Where the words of hooks go: files of the annotations, and the end of them into an error.

use super::Plan;
use crate::error::{Code, Context, Result};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::sys::uio::pread;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// How much of a hook's last words an error shows, in bytes.
const SHOWN: usize = 1024;

/// The files of `run.oci.hooks.stdout` and `run.oci.hooks.stderr`, opened.
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
    /// E_HOOK with the path.
    pub fn open(plan: &Plan, bundle: &Path) -> Result<Output> {
        if plan.hooks.is_empty() {
            return Ok(Output::default());
        }
        let flags =
            OFlag::O_RDWR | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let open = |path: &Option<PathBuf>| {
            path.as_ref()
                .map(|path| {
                    let path = bundle.join(path);
                    open(&path, flags, Mode::from_bits_truncate(0o600)).context(
                        Code::Hook,
                        "open the output file of hooks",
                        path.display(),
                    )
                })
                .transpose()
        };
        Ok(Output {
            stdout: open(&plan.stdout)?,
            stderr: open(&plan.stderr)?,
        })
    }

    /// How long the file for stderr is now, so that [`Output::said_since`] can tell new words from
    /// old ones.
    pub(super) fn mark(&self) -> i64 {
        self.stderr
            .as_ref()
            .and_then(|file| fstat(file).ok())
            .map_or(0, |stat| stat.st_size)
    }

    /// The end of what was added to the file for stderr since `mark`; nothing for what is no file.
    pub(super) fn said_since(&self, mark: i64) -> Tail {
        let mut tail = Tail::default();
        let mut buffer = [0; SHOWN];
        if let Some(file) = &self.stderr {
            let last = i64::try_from(SHOWN).map_or(0, |shown| self.mark() - shown);
            let read = pread(file, &mut buffer, last.max(mark)).unwrap_or(0);
            tail.add(buffer.get(..read).unwrap_or_default());
        }
        tail
    }
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
