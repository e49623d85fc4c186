//! The pid file: digits without a line feed, as go-runc parses them, put in place by rename.

use crate::error::{Code, Context, Result};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};

/// Writes `pid` to `path`. Runs in the parent, as the caller's user.
///
/// # Errors
/// `E_IO`.
pub fn write(path: &Path, pid: Pid) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, pid.to_string()).context(
        Code::Io,
        "write the pid file",
        path.display(),
    )?;
    std::fs::rename(&temporary, path)
        .inspect_err(|_| {
            // The rename's error is the one to report.
            let _ = std::fs::remove_file(&temporary);
        })
        .context(Code::Io, "write the pid file", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_holds_digits_only() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("pid");
        write(&path, Pid::from_raw(4711)).expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"4711");
        assert_eq!(std::fs::read_dir(folder.path()).expect("list").count(), 1);
    }
}
