//! Into the new root and out of the old one. Runs in the child.

use super::{Plan, RootSwitch};
use crate::error::{Code, Context, Result};
use crate::procfs::ProcFs;
use crate::root::Root;
use crate::step::{self, Step};
use crate::sys::mount::{fsconfig_create, fsconfig_set, fsmount, fsopen, move_mount};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlinkat};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir, pivot_root};
use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Makes `root` the root and the current directory of this process; of the host's tree nothing stays
/// reachable. Gives the root back: its fd is the new `/`.
///
/// # Errors
/// E_MOUNT
pub(crate) fn pivot(plan: &Plan, root: Root) -> Result<Root> {
    fchdir(&root).context(Code::Mount, "enter", plan.path.display())?;
    match plan.switch {
        RootSwitch::PivotRoot => {
            // pivot_root(2), "pivot_root(".", ".")": the old root lands on top of the new one at
            // `/`, and `.` finds it there. No directory for it is needed in the image.
            pivot_root(".", ".").context(Code::Mount, "pivot_root to", plan.path.display())?;
            step::begin(Step::DetachOldRoot)?;
            umount2(".", MntFlags::MNT_DETACH).context(Code::Mount, "detach", "the old root")?;
        }
        RootSwitch::Move => {
            hide_kernel_file_systems(&root)?;
            let old = open_directory("/").context(Code::Mount, "open", "/")?;
            move_mount(root.as_fd(), old.as_fd()).context(Code::Mount, "move the root to", "/")?;
            chroot(".").context(Code::Mount, "chroot to", plan.path.display())?;
        }
        RootSwitch::Chroot => chroot(".").context(Code::Mount, "chroot to", plan.path.display())?,
    }
    Ok(root)
}

/// Unmounts every whole procfs and sysfs of the host that will stay mounted beneath the new root: a
/// user namespace that sees an unmasked one may mount another unmasked one (user_namespaces(7)).
/// What is locked in place is covered instead.
fn hide_kernel_file_systems(root: &Root) -> Result<()> {
    let proc = ProcFs::host().context(Code::Mount, "open", "/proc")?;
    let read = || -> std::io::Result<(Vec<u8>, PathBuf)> {
        let mut text = Vec::new();
        let file = proc.open("self/mountinfo", OFlag::O_RDONLY)?;
        std::fs::File::from(file).read_to_end(&mut text)?;
        let own = format!("self/fd/{}", root.as_fd().as_raw_fd());
        Ok((text, readlinkat(&proc, own.as_str())?.into()))
    };
    let (mounts, own) = read().context(Code::Mount, "read", "/proc/self/mountinfo")?;
    for path in kernel_file_systems(&mounts) {
        if path.starts_with(&own) {
            continue;
        }
        match umount2(&path, MntFlags::MNT_DETACH) {
            // Another mount on the way there hides it already.
            Ok(()) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            // Locked, or beneath a locked one.
            Err(Errno::EINVAL | Errno::EPERM) => {
                cover(&path).context(Code::Mount, "cover", path.display())?;
            }
            Err(errno) => return Err(errno).context(Code::Mount, "unmount", path.display()),
        }
    }
    Ok(())
}

/// The mount points of whole procfs and sysfs in a mountinfo text (proc_pid_mountinfo(5)), the last
/// mounted first.
fn kernel_file_systems(mountinfo: &[u8]) -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            let end = fields.iter().position(|field| *field == b"-")?;
            let fstype = *fields.get(end + 1)?;
            let whole = *fields.get(3)? == b"/";
            let wanted = whole && (fstype == b"proc" || fstype == b"sysfs");
            wanted.then(|| unescape(fields.get(4).copied().unwrap_or_default()))
        })
        .collect();
    list.reverse();
    list
}

/// Blanks and backslashes stand as `\040` and the like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(octal.unwrap_or(byte));
        rest = match octal {
            Some(_) => after.get(3..).unwrap_or_default(),
            None => after,
        };
    }
    OsString::from_vec(path).into()
}

/// An empty, read-only tmpfs over `path`.
fn cover(path: &Path) -> nix::Result<()> {
    let fs = fsopen(c"tmpfs")?;
    fsconfig_set(fs.as_fd(), c"nr_inodes", Some(c"1"))?;
    fsconfig_create(fs.as_fd())?;
    let empty = fsmount(fs.as_fd(), libc::MOUNT_ATTR_RDONLY)?;
    move_mount(empty.as_fd(), open_directory(path)?.as_fd())
}

fn open_directory(path: impl AsRef<Path>) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path.as_ref(), flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_kernel_file_systems_are_found() {
        let text = b"22 27 0:21 / /proc rw shared:5 - proc proc rw\n\
            23 27 0:22 / /a\\040b rw - sysfs sysfs rw\n\
            24 22 0:21 /kcore /masked rw - proc proc rw\n\
            25 27 0:6 / /dev rw - devtmpfs devtmpfs rw\n";
        assert_eq!(
            kernel_file_systems(text),
            [PathBuf::from("/a b"), PathBuf::from("/proc")]
        );
    }

    #[test]
    fn a_backslash_without_digits_stays() {
        assert_eq!(unescape(b"/a\\134b\\"), Path::new("/a\\b\\"));
        assert_eq!(unescape(b"/x"), Path::new("/x"));
    }
}
