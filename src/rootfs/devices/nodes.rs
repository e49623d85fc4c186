//! Nodes that the parent makes for a container with a user namespace.
//!
//! Nobody in a user namespace may call mknod, and a node of the host has the host's owner and
//! mode. So the parent, with the host's privileges, makes the nodes of `linux.devices` on a tmpfs
//! that no path leads to, and init binds them.

use super::{Plan, file_type, number, permissions};
use crate::error::{Code, Context, Result};
use crate::sync::answers::{self, ToMaker};
use crate::sys::child::{self, WaitMode};
use crate::sys::clone::Side;
use crate::sys::mount::{fsconfig_create, fsconfig_set, fsmount, fsopen, move_mount, open_tree};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mknodat, umask};
use nix::unistd::{Gid, Uid, fchownat};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Detached mounts of nodes, by the index of their device in the plan. init inherits the fds.
#[derive(Debug, Default)]
pub(crate) struct Nodes(Vec<(usize, OwnedFd)>);

impl Nodes {
    /// Parent, before the clone, with the host's privileges: makes what the plan wants premade.
    /// Makes no system call when that is nothing.
    ///
    /// # Errors
    /// E_DEVICE with the device's path, or the step that failed.
    pub(crate) fn make(plan: &Plan) -> Result<Nodes> {
        let wanted: Vec<usize> = plan
            .devices
            .iter()
            .enumerate()
            .filter(|(_, device)| device.premade.is_some())
            .map(|(index, _)| index)
            .collect();
        if wanted.is_empty() {
            return Ok(Nodes::default());
        }
        let fs = match tmpfs(plan) {
            // CAP_SYS_ADMIN may also be one over a user namespace that does not own this mount namespace; then
            // init binds the host's nodes.
            Err(Errno::EPERM) => return Ok(Nodes::default()),
            fs => fs.context(Code::Device, "make a tmpfs for", "linux.devices")?,
        };
        let inherited = umask(Mode::empty());
        let made = fill(plan, fs.as_fd());
        umask(inherited);
        made?;
        let trees = detach(fs.as_fd(), &wanted).context(
            Code::Device,
            "clone the nodes of",
            "linux.devices",
        )?;
        Ok(Nodes(wanted.into_iter().zip(trees).collect()))
    }

    /// The mount for device number `index` of the plan, if it was made.
    pub(super) fn get(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.0
            .iter()
            .find(|(i, _)| *i == index)
            .map(|(_, tree)| tree.as_fd())
    }
}

fn tmpfs(plan: &Plan) -> nix::Result<OwnedFd> {
    let fs = fsopen(c"tmpfs")?;
    fsconfig_set(fs.as_fd(), c"mode", Some(c"0700"))?;
    if let Some(label) = &plan.label {
        label.apply(fs.as_fd())?;
    }
    fsconfig_create(fs.as_fd())?;
    fsmount(
        fs.as_fd(),
        libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC,
    )
}

/// Makes each node, named by its index, with the owner that the container will see as the config's.
fn fill(plan: &Plan, directory: BorrowedFd<'_>) -> Result<()> {
    for (index, device) in plan.devices.iter().enumerate() {
        let Some((uid, gid)) = device.premade else {
            continue;
        };
        let name = index.to_string();
        let mode = permissions(device);
        mknodat(
            directory,
            name.as_str(),
            file_type(device.kind),
            mode,
            number(device),
        )
        .and_then(|()| {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let flag = AtFlags::AT_SYMLINK_NOFOLLOW;
            fchownat(directory, name.as_str(), owner.0, owner.1, flag)
        })
        // A change of owner clears the set-id bits.
        .and_then(|()| match device.mode & 0o6000 {
            0 => Ok(()),
            _ => fchmodat(directory, name.as_str(), mode, FchmodatFlags::FollowSymlink),
        })
        .context(Code::Device, "make device", device.path.display())?;
    }
    Ok(())
}

/// Clones each file of the detached mount `fs` as a mount of its own.
///
/// Before Linux 6.15 only what is attached in the caller's mount namespace can be cloned, and the
/// host's is not to be touched. So a child attaches it in a mount namespace that ends with it.
fn detach(fs: BorrowedFd<'_>, wanted: &[usize]) -> nix::Result<Vec<OwnedFd>> {
    let (ours, theirs) = answers::pair()?;
    match child::fork()? {
        Side::Child => {
            let made = clone_and_give(fs, wanted, &theirs);
            // If nobody listens any more there is nobody to tell.
            let told = made.or_else(|errno| theirs.fail(errno));
            child::leave(i32::from(told.is_err()));
        }
        Side::Parent(pid) => {
            drop(theirs);
            let trees = wanted.iter().map(|_| ours.take()).collect();
            // Closed first: a child that is still sending must not wait for us.
            drop(ours);
            loop {
                match child::wait(Some(pid), WaitMode::Block) {
                    Err(Errno::EINTR) => {}
                    ended => break ended.and(trees),
                }
            }
        }
    }
}

/// The child's part of [`detach`].
fn clone_and_give(fs: BorrowedFd<'_>, wanted: &[usize], to: &ToMaker) -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    let top = open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    move_mount(fs, top.as_fd())?;
    for index in wanted {
        let name = CString::new(index.to_string()).expect("digits");
        let tree = open_tree(fs, &name, libc::OPEN_TREE_CLONE)?;
        to.give(tree.as_fd())?;
    }
    Ok(())
}
