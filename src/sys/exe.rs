//! The host binary's protection (CVE-2019-5736): what enters a container runs from a copy of
//! casulo that cannot be written, whatever happens to the process later.

use super::{check, mount};
use crate::testing::without::{Defence, without};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// All seals of a memfd that nobody can change any more.
fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// Makes sure this process runs from a read-only mount or a sealed memfd: re-executes casulo
/// from one, with the same `argv` and environment, if it does not yet. Runs first thing in
/// `main`, in the parent, before anything is opened; returns only when protected.
///
/// As root a detached, read-only clone of the mount that holds the binary is used (nothing is
/// copied); without CAP_SYS_ADMIN a sealed memfd.
///
/// # Errors
/// The errno of the call that failed.
pub fn protect() -> nix::Result<()> {
    if without(Defence::ProtectedBinary) {
        return Ok(());
    }
    // What may be written but for its mount being read-only: access(2) says EROFS of nothing else, and
    // needs a tenth of the time of statfs(2), which counts the blocks of the file system.
    if faccessat(
        AT_FDCWD,
        "/proc/self/exe",
        AccessFlags::W_OK,
        AtFlags::empty(),
    ) == Err(Errno::EROFS)
    {
        return Ok(());
    }
    match read_only_clone() {
        Ok(clone) => {
            re_execute(clone.as_fd())?;
        }
        Err(_) => {
            let readable = open(
                "/proc/self/exe",
                OFlag::O_RDONLY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?;
            if is_sealed(&readable) {
                return Ok(());
            }
            re_execute(sealed_copy(&readable)?.as_fd())?;
        }
    }
    Ok(())
}

/// `madvise(program, MADV_DONTNEED)`, madvise(2): the pages of the program's text and constants go back to
/// the page cache, and come again one by one when they are needed. For a process that will wait for long.
pub fn give_back_program() {
    unsafe extern "C" {
        // Of the linker: where the program begins in memory, and where what it may write begins.
        static __executable_start: u8;
        static __init_array_start: u8;
    }
    // SAFETY: an integer goes in and one comes out.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // The kernel rounds the length up to whole pages: what may be written must not share the last one.
    let page = usize::try_from(page).unwrap_or(usize::MAX);
    let begin = (&raw const __executable_start).addr();
    let end = (&raw const __init_array_start).addr() / page * page;
    // SAFETY: nothing between the two is ever written, so what comes again from the file is what was there.
    // What fails leaves the pages where they are.
    unsafe {
        libc::madvise(
            std::ptr::with_exposed_provenance_mut(begin),
            end.saturating_sub(begin),
            libc::MADV_DONTNEED,
        )
    };
}

fn is_sealed(fd: &OwnedFd) -> bool {
    fcntl(fd, FcntlArg::F_GET_SEALS)
        .is_ok_and(|seals| SealFlag::from_bits_truncate(seals).contains(all_seals()))
}

/// A detached mount of the binary alone, read-only for ever: no path leads to it.
fn read_only_clone() -> nix::Result<OwnedFd> {
    let tree = mount::open_tree(AT_FDCWD, c"/proc/self/exe", libc::OPEN_TREE_CLONE)?;
    let read_only = mount::MountAttr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        ..Default::default()
    };
    mount::mount_setattr(tree.as_fd(), 0, &read_only)?;
    Ok(tree)
}

/// A memfd with the binary's bytes that nobody can write, grow, shrink or unseal.
fn sealed_copy(exe: &OwnedFd) -> nix::Result<OwnedFd> {
    let memfd = memfd_create(
        c"casulo",
        MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
    )?;
    let size = usize::try_from(nix::sys::stat::fstat(exe)?.st_size).unwrap_or(0);
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
    use std::os::unix::ffi::OsStringExt;
    unsafe extern "C" {
        /// environ(7).
        static environ: *const *const libc::c_char;
    }
    let arguments: Vec<CString> = std::env::args_os()
        .filter_map(|arg| CString::new(arg.into_vec()).ok())
        .collect();
    let argv: Vec<*const libc::c_char> = arguments
        .iter()
        .map(|arg| arg.as_ptr())
        .chain([std::ptr::null()])
        .collect();
    // SAFETY: the C library has set `environ` before main, and nothing in casulo changes the
    // environment (`std::env::set_var` is a disallowed method).
    let env = unsafe { environ };
    // SAFETY: both arrays end in null and point at C strings that outlive the call; on success
    // the call does not return.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            exe.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env,
            libc::AT_EMPTY_PATH,
        )
    };
    check(result)?;
    Err(Errno::EIO)
}
