//! The host binary's protection (CVE-2019-5736): a process that enters a container runs from a mount or a copy of
//! casulo that cannot be written, whatever happens to the process later.

use super::{remap, start};
use crate::defence::{Defence, without};
use crate::sys::{check, mount};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Returns the seals of a memfd that nobody can change any more.
fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// The descriptor of the mount that this process runs from, until [`close_binary_mount`]; 0 for none. Number 0 is
/// always standard input, because `start` opens the streams that the caller has closed.
static MOUNT: AtomicI32 = AtomicI32::new(0);

/// Makes sure that this process runs from a read-only mount or a sealed memfd. The parent calls it first of all in
/// `main`, before it opens anything. Returns only when the binary is protected.
///
/// As root casulo moves onto a detached, read-only clone of the mount that holds the binary, without a second start.
/// Where the kernel refuses that (an ordinary user, or a kernel without CONFIG_CHECKPOINT_RESTORE) it re-executes
/// itself from a sealed memfd, with the same arguments and environment. No other read-only mount counts: somebody
/// may make that one writable.
///
/// # Errors
/// The errno of the call that failed.
pub(crate) fn protect() -> nix::Result<()> {
    if without(Defence::ProtectedBinary) {
        return Ok(());
    }
    match read_only_clone().and_then(run_from_clone) {
        Ok(()) => Ok(()),
        Err(_) => run_from_copy(),
    }
}

/// Closes the descriptor of the mount that this process runs from. The mount stays for as long as a process runs
/// from it. While any process has the descriptor, another that finds the program by `/proc/N/exe` could make the
/// mount writable (mount_setattr(2) in a user namespace of its own); afterwards the kernel answers EINVAL. So all
/// have closed it before a process of casulo can be seen in a container. The last close waits while the kernel takes
/// the mount down (an RCU grace period), so the child closes it at once and the parent meanwhile.
pub(crate) fn close_binary_mount() {
    let mount = MOUNT.swap(0, Ordering::Relaxed);
    if mount > 0 {
        // SAFETY: `run_from_clone` gave it up to this number, which is taken once.
        drop(unsafe { OwnedFd::from_raw_fd(mount) });
    }
}

fn run_from_clone(clone: OwnedFd) -> nix::Result<()> {
    let binary = reopened(&clone)?;
    // SAFETY: the mount is a clone of the one that /proc/self/exe lies on, and holds that file alone.
    unsafe { remap::run_from(binary.as_fd()) }?;
    MOUNT.store(clone.into_raw_fd(), Ordering::Relaxed);
    Ok(())
}

fn run_from_copy() -> nix::Result<()> {
    let readable = open(
        "/proc/self/exe",
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    if !is_sealed(&readable) {
        re_execute(sealed_copy(&readable)?.as_fd())?;
    }
    Ok(())
}

fn is_sealed(fd: &OwnedFd) -> bool {
    fcntl(fd, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_retain(seals).contains(all_seals()))
}

/// Returns a detached mount of the binary alone, read-only for ever. No path leads to it.
fn read_only_clone() -> nix::Result<OwnedFd> {
    let read_only = mount::MountAttr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        ..Default::default()
    };
    mount::clone_with(AT_FDCWD, c"/proc/self/exe", 0, &read_only)
}

/// Opens the file of an `O_PATH` descriptor for reading.
fn reopened(path: &OwnedFd) -> nix::Result<OwnedFd> {
    let name = format!("/proc/self/fd/{}", path.as_raw_fd());
    open(
        name.as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
}

/// Returns a memfd with the binary's bytes that nobody can write, grow, shrink or unseal.
fn sealed_copy(exe: &OwnedFd) -> nix::Result<OwnedFd> {
    let memfd = memfd_create(
        c"casulo",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let size = usize::try_from(nix::sys::stat::fstat(exe)?.st_size).or(Err(Errno::EFBIG))?;
    let mut copied = 0;
    while copied < size {
        match nix::sys::sendfile::sendfile(&memfd, exe, None, size - copied)? {
            0 => return Err(Errno::EIO),
            n => copied += n,
        }
    }
    fcntl(&memfd, FcntlArg::F_ADD_SEALS(all_seals()))?;
    Ok(memfd)
}

/// `int execveat(int fd, "", argv, environ, AT_EMPTY_PATH)`, execveat(2), with our own arguments
/// and environment.
fn re_execute(exe: BorrowedFd<'_>) -> nix::Result<Infallible> {
    unsafe extern "C" {
        /// environ(7).
        static environ: *const *const libc::c_char;
    }
    let (_, arguments) = start::arguments();
    // SAFETY: the C library has set `environ` before main, and nothing in casulo changes the
    // environment (`std::env::set_var` is a disallowed method).
    let env = unsafe { environ };
    // SAFETY: both arrays are the kernel's, which end in null and point at C strings; on success the call
    // does not return.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            exe.as_raw_fd(),
            c"".as_ptr(),
            arguments,
            env,
            libc::AT_EMPTY_PATH,
        )
    };
    check(result)?;
    Err(Errno::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::uio::pwrite;
    use nix::unistd::ftruncate;

    /// Tests each seal by its effect (fcntl(2), "File sealing").
    #[test]
    fn a_copy_cannot_be_changed_in_any_way() {
        let exe = std::fs::File::open("/proc/self/exe").expect("our own program");
        let size = exe.metadata().expect("its size").len().cast_signed();
        let copy = sealed_copy(&exe.into()).expect("a copy");
        assert!(is_sealed(&copy));
        // The write is within the file: beyond its end another seal refuses it.
        assert_eq!(pwrite(&copy, b"X", 0), Err(Errno::EPERM), "write");
        assert_eq!(ftruncate(&copy, 0), Err(Errno::EPERM), "shrink");
        assert_eq!(ftruncate(&copy, size + 1), Err(Errno::EPERM), "grow");
        let more = SealFlag::F_SEAL_FUTURE_WRITE;
        assert_eq!(
            fcntl(&copy, FcntlArg::F_ADD_SEALS(more)),
            Err(Errno::EPERM),
            "seal"
        );
    }

    #[test]
    fn a_file_without_one_of_the_seals_is_no_copy() {
        for missing in all_seals() {
            let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
            let file = memfd_create(c"casulo", flags).expect("a memfd");
            let seals = all_seals() - missing;
            fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("sealed");
            assert!(!is_sealed(&file), "{missing:?}");
        }
    }
}
