//! Where everything happens: a host of our own. The benchmark leaves the namespaces of mounts, host
//! name and System V objects that it was started in, so that a probe that gets through changes nothing
//! that anybody else sees. Processes, network, users, time and cgroups are those of the machine.

use crate::isolation::facts::FACTS;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The program in every root file system: this one.
pub(crate) const PROGRAM: &str = "/bin/probe";

/// The same beside it, with the set-user-ID bit.
pub(crate) const SETUID_NAME: &str = "setuid-probe";

/// The first id of the host that a user namespace of ours has.
pub(crate) const MAPPED: u32 = 100_000;

/// The directories and mounts of a run.
pub(crate) struct Place {
    dir: TempDir,
    /// The cgroup below the mount that holds all that this run starts: another run has another.
    pub(crate) cgroup: String,
    /// The cgroup that we were in.
    came_from: Option<PathBuf>,
}

impl Place {
    /// Enters the namespaces and makes the root file systems. Needs root, and one thread.
    pub(crate) fn prepare() -> io::Result<Place> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        let unified =
            statfs("/sys/fs/cgroup").is_ok_and(|it| it.filesystem_type() == CGROUP2_SUPER_MAGIC);
        if !unified {
            let flags = MsFlags::empty();
            mount(Some("none"), "/sys/fs/cgroup", Some("cgroup2"), flags, none)?;
        }
        let dir = tempfile::Builder::new().prefix("casulo-bench.").tempdir()?;
        open_to_all(dir.path())?;
        let mut place = Place {
            dir,
            cgroup: format!("casulo-bench-{}", std::process::id()),
            came_from: None,
        };
        place.came_from = place.enter_cgroup().ok();
        make_root(&place.root(), 0)?;
        make_root(&place.mapped_root(), MAPPED)?;
        make_root(&place.chroot_root(), 0)?;
        dress(&place.chroot_root())?;
        Ok(place)
    }

    /// Puts this process into a cgroup of its own, so that there is a name to be seen or hidden.
    fn enter_cgroup(&self) -> io::Result<PathBuf> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let own = Path::new("/sys/fs/cgroup").join(own.unwrap_or_default());
        let here = Path::new("/sys/fs/cgroup").join(&self.cgroup).join("host");
        fs::create_dir_all(&here)?;
        fs::write(here.join("cgroup.procs"), "0")?;
        Ok(own)
    }

    /// A path in the directory of this run.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The root file system of containers.
    pub(crate) fn root(&self) -> PathBuf {
        self.join("root")
    }

    /// The same for containers with a user namespace: it belongs to the root of that.
    pub(crate) fn mapped_root(&self) -> PathBuf {
        self.join("mapped-root")
    }

    /// The same for chroot, with /proc and /dev.
    pub(crate) fn chroot_root(&self) -> PathBuf {
        self.join("chroot")
    }

    /// Where runtimes keep their state.
    pub(crate) fn state(&self) -> PathBuf {
        self.join("state")
    }

    /// Lays what probes need to know into every root file system, and beside them.
    pub(crate) fn lay_facts(&self, facts: &str) -> io::Result<()> {
        for dir in [
            self.dir.path().to_owned(),
            self.root(),
            self.mapped_root(),
            self.chroot_root(),
        ] {
            fs::write(dir.join(FACTS), facts)?;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = umount2(&self.chroot_root().join("proc"), MntFlags::MNT_DETACH);
        if let Some(cgroup) = &self.came_from {
            let _ = fs::write(cgroup.join("cgroup.procs"), "0");
            let ours = Path::new("/sys/fs/cgroup").join(&self.cgroup);
            let _ = fs::remove_dir(ours.join("host"));
            let _ = fs::remove_dir(ours);
        }
    }
}

fn open_to_all(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// A root file system with nothing but this program, owned by `owner`.
fn make_root(root: &Path, owner: u32) -> io::Result<()> {
    let belongs = |path: &Path| lchown(path, Some(owner), Some(owner));
    for name in ["", "bin", "dev", "etc", "proc", "sys", "tmp"] {
        let dir = root.join(name);
        fs::create_dir_all(&dir)?;
        open_to_all(&dir)?;
        belongs(&dir)?;
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))?;
    let program = root.join(PROGRAM.trim_start_matches('/'));
    let setuid = program.with_file_name(SETUID_NAME);
    for (file, mode) in [(program, 0o755), (setuid, 0o4755)] {
        fs::copy("/proc/self/exe", &file)?;
        belongs(&file)?;
        fs::set_permissions(&file, Permissions::from_mode(mode))?;
    }
    let users = root.join("etc/passwd");
    fs::write(
        &users,
        "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
    )?;
    belongs(&users)
}

/// What whoever builds in a chroot mounts and makes in it.
fn dress(root: &Path) -> io::Result<()> {
    let none = None::<&str>;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &root.join("proc"), Some("proc"), flags, none)?;
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("urandom", 9)] {
        let path = root.join("dev").join(name);
        let mode = Mode::from_bits_truncate(0o666);
        mknod(&path, SFlag::S_IFCHR, mode, makedev(1, minor))?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    }
    Ok(())
}
