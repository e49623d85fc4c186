//! A procfs of a pid namespace that the caller is not in, for an entrant. A procfs belongs to the pid namespace of who
//! asks for it, so an outsider would mount the host's.
//!
//! Since Linux 6.18 the namespace can be said (`pidns=`). Before, a *maker* inside asks for it. It can be seen there, so
//! it is made of nothing: no descriptor, a user namespace of its own over an empty mount namespace, a landing
//! area, and a filter of six calls. It opens the context of a procfs, which remembers the pid namespace, and the
//! entrant takes that (pidfd_getfd(2)), sets a parameter that procfs alone knows, and makes the mount itself. Whoever
//! swaps the name that the maker opens gets a context that is refused, and whoever joins its namespaces finds nothing.
//!
//! It is not dumpable. Only where the entrant has joined a user namespace, or the caller is an ordinary user, it is once
//! it has opened the context: without CAP_SYS_PTRACE in the user namespace in which casulo was executed nobody could
//! take that. Who traces it then has those calls and a procfs of his own processes.

use crate::binary::landing::{MakerLanding, Taker, born};
use crate::binary::shared::Shared;
use crate::defence::{Defence, without};
use crate::sync::page::LastCall;
use crate::sys::capability;
use crate::sys::child::{self, WaitMode, leave};
use crate::sys::clone::Side;
use crate::sys::fd::close_everything;
use crate::sys::mount::{
    fsconfig_create, fsconfig_set, fsconfig_set_fd, fsmount, fsopen, move_mount,
};
use crate::sys::namespace::stop_being_dumpable;
use crate::sys::pidfd::{pidfd_getfd, pidfd_open, pidfd_send_signal};
use crate::sys::seccomp::{Instruction, set_mode_filter};
use crate::timeout;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open as open_path};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{fchdir, pivot_root, setsid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(100);

/// A context of fsopen(2) for the procfs of the pid `namespace`.
///
/// # Errors
/// EPERM where the namespace is not the caller's user namespace's, or where a maker may not make a user namespace;
/// ETIMEDOUT where something inside stops the maker.
pub(super) fn open(namespace: BorrowedFd<'_>, taker: Taker) -> nix::Result<OwnedFd> {
    if without(Defence::PidnsParameter) {
        return context_of_maker(namespace, taker);
    }
    let fs = fsopen(c"proc")?;
    match fsconfig_set_fd(fs.as_fd(), c"pidns", namespace) {
        Ok(()) => Ok(fs),
        // Not known: Linux before 6.18, Documentation/filesystems/proc.rst.
        Err(Errno::EINVAL) => context_of_maker(namespace, taker),
        Err(errno) => Err(errno),
    }
}

/// That `mount` is a procfs of the pid `namespace`: its process 1 is in it.
///
/// # Errors
/// EPERM where it is not.
pub(super) fn verify(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> nix::Result<()> {
    if fstatfs(mount)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::EPERM);
    }
    let (found, wanted) = (
        fstatat(mount, "1/ns/pid", AtFlags::empty())?,
        fstat(namespace)?,
    );
    if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// The entrant: has a helper make the maker, takes the context from it, and ends it.
fn context_of_maker(namespace: BorrowedFd<'_>, taker: Taker) -> nix::Result<OwnedFd> {
    let shared = Shared::new()?;
    let helper = match child::fork()? {
        Side::Child => {
            let failed = make_maker(namespace, shared, taker);
            if let Err(errno) = failed {
                shared.tell_failure(LastCall::Birth, errno);
            }
            leave(i32::from(failed.is_err()))
        }
        Side::Parent(pid) => pid,
    };
    child::wait(Some(helper), WaitMode::Block)?;
    let Some(maker) = born(shared) else {
        return Err(shared
            .told_failure()
            .map_or(Errno::ECHILD, |(_, errno)| errno));
    };
    let pidfd = pidfd_open(maker)?;
    let taken = take_context(&pidfd, taker);
    let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
    // Nobody waits for what a container can hold.
    let _ = child::wait(Some(maker), WaitMode::NoHang);
    let context = taken?;
    // Of all file systems only procfs has it.
    fsconfig_set(context.as_fd(), c"hidepid", Some(c"off"))?;
    Ok(context)
}

fn take_context(maker: &OwnedFd, taker: Taker) -> nix::Result<OwnedFd> {
    let end = Instant::now() + timeout::PROCFS;
    loop {
        match (pidfd_getfd(maker.as_fd(), 0), taker) {
            // It has not opened it yet, or is not dumpable yet.
            (Err(Errno::EBADF), _) | (Err(Errno::EPERM), Taker::MayNot) if Instant::now() < end => {
                std::thread::sleep(PAUSE);
            }
            (Err(Errno::EBADF), _) => return Err(Errno::ETIMEDOUT),
            (result, _) => return result,
        }
    }
}

/// The helper, in the caller's pid namespace, so that nobody inside sees it: leaves everything, and has the maker born
/// in the joined one. Its end tells the entrant that the maker is there, or why not.
fn make_maker(namespace: BorrowedFd<'_>, shared: &'static Shared, taker: Taker) -> nix::Result<()> {
    if !without(Defence::OwnSession) {
        setsid()?;
    }
    if !without(Defence::JoinedBeforeBirth) {
        enter_nothing()?;
    }
    setns(namespace, CloneFlags::CLONE_NEWPID)?;
    // Of its own, so that it may ask for a procfs and for nothing else. A network namespace would open sysfs.
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    let landing = MakerLanding::new()?;
    set_no_new_privs()?;
    if !without(Defence::CapsBeforeBirth) {
        keep_sys_admin_alone()?;
    }
    stop_being_dumpable()?;
    if !without(Defence::NotForked) {
        landing.leave_the_rest()?;
    }
    close_everything()?;
    if !without(Defence::FilterBeforeBirth) {
        set_mode_filter(0, &filter())?;
    }
    landing.bear(shared, taker)
}

fn keep_sys_admin_alone() -> nix::Result<()> {
    for cap in 0..=40 {
        capability::bounding_drop(cap)?;
    }
    let sys_admin = crate::capabilities::SYS_ADMIN;
    capability::capset(sys_admin, sys_admin, 0)
}

/// The root of this process, and its mount namespace, become one empty directory.
fn enter_nothing() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let fs = fsopen(c"tmpfs")?;
    fsconfig_create(fs.as_fd())?;
    let attributes = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;
    let empty = fsmount(fs.as_fd(), attributes)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open_path("/", flags, Mode::empty())?;
    move_mount(empty.as_fd(), root.as_fd())?;
    fchdir(&empty)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)
}

/// fsopen, prctl, nanosleep and its restart, clone and exit_group; EPERM to any other call.
fn filter() -> Vec<Instruction> {
    const LOAD_NUMBER: Instruction = Instruction {
        code: 0x20,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let calls = [
        libc::SYS_fsopen,
        libc::SYS_prctl,
        libc::SYS_nanosleep,
        // Which a stop makes of nanosleep.
        libc::SYS_restart_syscall,
        libc::SYS_clone,
        libc::SYS_exit_group,
    ];
    let mut program = vec![LOAD_NUMBER];
    for (number, left) in calls.into_iter().zip((0..6_u8).rev()) {
        let k = u32::try_from(number).expect("numbers of calls are small");
        program.push(Instruction {
            code: 0x15,
            jt: left + 1,
            jf: 0,
            k,
        });
    }
    let eperm = 0x0005_0000 | libc::EPERM.unsigned_abs();
    program.push(Instruction {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: eperm,
    });
    program.push(Instruction {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0x7fff_0000,
    });
    program
}
