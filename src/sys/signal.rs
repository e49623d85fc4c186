//! Signal dispositions: nix's enum has no real-time signals.

use nix::errno::Errno;

/// `signal(number, SIG_DFL)`, signal(2). `number` is 1 to 64.
///
/// # Errors
/// EINVAL for SIGKILL, SIGSTOP and the numbers that the C library keeps for itself.
pub fn set_default(number: i32) -> nix::Result<()> {
    // SAFETY: SIG_DFL installs no handler, so no code of this program can run in signal context.
    let previous = unsafe { libc::signal(number, libc::SIG_DFL) };
    if previous == libc::SIG_ERR {
        return Err(Errno::last());
    }
    Ok(())
}
