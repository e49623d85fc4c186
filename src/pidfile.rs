//! The pid file: digits without a line feed, as go-runc parses them, there whole or not at all.

use crate::error::{Code, Context, Result};
use crate::testing::fault::Step;
use crate::whole_file;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use std::path::Path;

/// Writes `pid` to `path`. Runs in the parent, as the caller's user.
///
/// # Errors
/// `E_IO`.
pub fn write(path: &Path, pid: Pid) -> Result<()> {
    let digits = pid.to_string();
    let mode = Mode::from_bits_truncate(0o666);
    whole_file::put(AT_FDCWD, path, digits.as_bytes(), mode, Step::NamePidFile).context(
        Code::Io,
        "write the pid file",
        path.display(),
    )
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
