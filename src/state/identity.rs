//! Which of all that have ever had their names a record means: the cgroup, those above it, the RDT groups and the
//! process that it names are gone when the name has come to mean another, and after a boot all of them are.
//!
//! Beside `state.json` the same facts are kept as the target of a link that leads nowhere, `identity`: made by one
//! system call, it is there whole or not at all, and survives whatever becomes of the file.

use super::{Dir, State};
use crate::cgroups::Cgroup;
use crate::cgroups::hold::Holder;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Result};
use crate::host::mount_of_host;
use crate::intel_rdt;
use crate::procfs::ProcFs;
use crate::sys::stat::{identity, inode as inode_of};
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{fstat, lstat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// The link's name in the container's directory.
pub(super) const IDENTITY: &str = "identity";

/// What tells the things that a record names from later ones with their names. All are numbers of inodes of file
/// systems that the kernel makes up (kernfs), which it does not give twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Identity {
    /// The boot (`/proc/sys/kernel/random/boot_id`) in which all of it was made.
    pub boot: String,
    /// The cgroup's directory; 0 where it has none of its own.
    pub cgroup: u64,
    /// Those of `cgroup_parents`, in their order; 0 for one that is not there.
    pub parents: Vec<u64>,
    /// Those of `intel_rdt_paths`, in their order.
    pub resctrl: Vec<u64>,
}

impl Identity {
    /// Of what `state` names, where `cgroup` is the container's.
    ///
    /// # Errors
    /// `E_CGROUP`, or `E_STATE` where /proc says nothing of the boot.
    pub(crate) fn of(state: &State, cgroup: Option<&Cgroup>) -> Result<Identity> {
        let inodes = |paths: &[PathBuf]| paths.iter().map(|path| inode(path)).collect();
        Ok(Identity {
            boot: boot()?.to_owned(),
            cgroup: cgroup.map(Cgroup::id).transpose()?.unwrap_or(0),
            parents: inodes(&state.cgroup_parents),
            resctrl: inodes(&state.intel_rdt_paths),
        })
    }
}

fn inode(path: &Path) -> u64 {
    lstat(path).map_or(0, |it| inode_of(&it))
}

/// The id of this boot, read once.
fn boot() -> Result<&'static str> {
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot);
    }
    let file = "sys/kernel/random/boot_id";
    let text = ProcFs::host().and_then(|proc| proc.read_to_string(file));
    let text = text.context(Code::State, "read", format!("/proc/{file}"))?;
    Ok(BOOT.get_or_init(|| text.trim().to_owned()))
}

impl State {
    /// False when what the record names was made before the host was booted: all of it is gone.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        let Some(identity) = &self.identity else {
            return true;
        };
        boot().is_ok_and(|boot| *boot == identity.boot)
    }

    /// Opens the container's own cgroup: the one that casulo made, and no other. `None` where it has none, and
    /// where it is gone, whoever has its name now. This is the only way to it.
    ///
    /// # Errors
    /// `E_CGROUP`, `E_STATE` when it cannot be looked at.
    pub(crate) fn open_cgroup(&self) -> Result<Option<Cgroup>> {
        let Some(path) = self.cgroup() else {
            return Ok(None);
        };
        let cgroup = match Cgroup::open(path) {
            Err(error)
                if matches!(
                    error.errno,
                    Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
                ) =>
            {
                return Ok(None);
            }
            result => result?,
        };
        let is_ours = match &self.identity {
            _ if without(Defence::OwnCgroup) => true,
            Some(identity) => self.is_of_this_boot() && has_id(&cgroup, identity.cgroup)?,
            // Not recorded yet: create is at it, or was killed in the midst. An older casulo recorded none: what a
            // living init is in cannot have gone.
            None => match self.init() {
                Some(init) if is_below(path, &cgroup_mount()) => init
                    .open(&ProcFs::host().context(Code::State, "open", "/proc")?)
                    .is_some(),
                _ => false,
            },
        };
        Ok(is_ours.then_some(cgroup))
    }

    /// The path of the cgroup of a create that was killed before it recorded which it is. What is outside the
    /// host's cgroups is no cgroup that casulo made, whatever the record says.
    pub(crate) fn begun_cgroup(&self) -> Option<&Path> {
        let path = self.cgroup()?;
        let is_in = self.is_in(path, &cgroup_mount());
        (is_in && self.identity.is_none()).then_some(path)
    }

    /// Of the Intel RDT groups those that are still the same, from the top down.
    pub(crate) fn own_intel_rdt_paths(&self) -> Vec<PathBuf> {
        let numbers: fn(&Identity) -> &Vec<u64> = |identity| &identity.resctrl;
        let made = |path: &Path| without(Defence::OwnCgroup) || intel_rdt::was_made(path);
        self.still_there(&self.intel_rdt_paths, numbers, resctrl_mount, made)
    }

    /// Before there is an identity, create is at it, or was killed: it recorded only what was not there, but somebody
    /// else may have made it since, which `may_be_made` tells.
    fn still_there(
        &self,
        paths: &[PathBuf],
        inodes: fn(&Identity) -> &Vec<u64>,
        mount: fn() -> Option<PathBuf>,
        may_be_made: impl Fn(&Path) -> bool,
    ) -> Vec<PathBuf> {
        if paths.is_empty() || !self.is_of_this_boot() {
            return Vec::new();
        }
        let mount = mount();
        let is_in = |path: &Path| self.is_in(path, &mount);
        let is_ours = |index: usize, path: &Path| match &self.identity {
            None => is_in(path) && may_be_made(path),
            Some(identity) => match inodes(identity).get(index) {
                None | Some(0) => false,
                Some(known) => inode(path) == *known && is_in(path),
            },
        };
        paths
            .iter()
            .enumerate()
            .filter(|(index, path)| is_ours(*index, path))
            .map(|(_, path)| path.clone())
            .collect()
    }

    /// [`is_below`]; says so where it is not.
    fn is_in(&self, path: &Path, mount: &Option<PathBuf>) -> bool {
        let is_in = is_below(path, mount);
        if !is_in {
            let (id, path) = (&self.id, path.display());
            log::warn!(
                "{path} is in the record of container {id}, but in no file system of the host's that holds such: it stays"
            );
        }
        is_in
    }
}

/// Whether it is a cgroup, and the one with this number.
fn has_id(cgroup: &Cgroup, id: u64) -> Result<bool> {
    match cgroup.id() {
        Err(error) if error.errno == Some(Errno::EINVAL) => Ok(false),
        found => Ok(found? == id),
    }
}

/// Whether `path` is below `mount`, by its name alone: there are no links below either of them.
fn is_below(path: &Path, mount: &Option<PathBuf>) -> bool {
    let goes_up = || path.components().any(|part| part == Component::ParentDir);
    let is_below = |mount: &PathBuf| path != mount && path.starts_with(mount) && !goes_up();
    without(Defence::OwnCgroup) || mount.as_ref().is_some_and(is_below)
}

fn cgroup_mount() -> Option<PathBuf> {
    mount_of_host().map(|mount| mount.path)
}

/// Where nothing is mounted no directory can be made either.
fn resctrl_mount() -> Option<PathBuf> {
    Some(PathBuf::from(intel_rdt::MOUNT))
}

impl Dir {
    /// The cgroup at `path`, if that says itself that this record holds it.
    pub(crate) fn open_held_cgroup(&self, path: &Path) -> Option<Cgroup> {
        let cgroup = Cgroup::open(path).ok()?;
        let holder = cgroup.holder()?;
        self.is(&holder).then_some(cgroup)
    }

    fn is(&self, holder: &Holder) -> bool {
        self.holder()
            .is_ok_and(|own| own.directory == holder.directory)
    }

    /// Of the directories above the cgroup that were made for it those that are still the same, from the top down.
    pub(crate) fn own_cgroup_parents(&self, state: &State) -> Vec<PathBuf> {
        let numbers: fn(&Identity) -> &Vec<u64> = |identity| &identity.parents;
        let made = |path: &Path| self.may_have_made(path);
        state.still_there(&state.cgroup_parents, numbers, cgroup_mount, made)
    }

    /// Whether the cgroup at `path` is one that a create of this record has made, which was killed before it recorded
    /// that. It says so itself; where it names no record yet, that a casulo has made it.
    pub(crate) fn may_have_made(&self, path: &Path) -> bool {
        let is_made = |cgroup: Cgroup| match cgroup.holder() {
            Some(holder) => self.is(&holder),
            None => cgroup.was_made(),
        };
        without(Defence::OwnCgroup) || Cgroup::open(path).is_ok_and(is_made)
    }

    /// This record as the holder of a cgroup.
    ///
    /// # Errors
    /// `E_STATE`
    pub(crate) fn holder(&self) -> Result<Holder> {
        let stat = fstat(&self.fd).context(Code::State, "look at", self.path.display())?;
        Ok(Holder {
            path: self.path.clone(),
            directory: identity(&stat),
        })
    }

    /// Keeps beside the record what it takes to find the container without it: when init is there, and anew
    /// where an entrant has made it.
    ///
    /// # Errors
    /// `E_STATE`
    pub(crate) fn keep_identity(&self, state: &State) -> Result<()> {
        let kept = State {
            id: state.id.clone(),
            owner: state.owner,
            init_process_pid: state.init_process_pid,
            init_process_start: state.init_process_start,
            cgroup_paths: state.cgroup_paths.clone(),
            cgroup_parents: state.cgroup_parents.clone(),
            cgroup_is_callers: state.cgroup_is_callers,
            systemd_scope: state.systemd_scope.clone(),
            intel_rdt_paths: state.intel_rdt_paths.clone(),
            namespaces: state.namespaces,
            identity: state.identity.clone(),
            ..State::default()
        };
        let path = self.path.join(IDENTITY);
        let text = serde_json::to_vec(&kept).map_err(|error| {
            Error::new(Code::State, format!("write {}: {error}", path.display()))
        })?;
        let keep = || symlinkat(text.as_slice(), &self.fd, IDENTITY);
        let kept = match keep() {
            // Of the entrant that has made init.
            Err(Errno::EEXIST) => {
                unlinkat(&self.fd, IDENTITY, UnlinkatFlags::NoRemoveDir).and_then(|()| keep())
            }
            kept => kept,
        };
        match kept {
            // With names as long as that the record is all there is.
            Err(Errno::ENAMETOOLONG) => Ok(()),
            result => result.context(Code::State, "make", path.display()),
        }
    }

    /// What was kept; `None` where there is nothing, or nothing that is this container's.
    pub(crate) fn kept_identity(&self) -> Option<State> {
        let text = readlinkat(self.as_fd(), IDENTITY).ok()?;
        let state: State = serde_json::from_slice(text.as_bytes()).ok()?;
        (*state.id == *self.id && state.unsound().is_none()).then_some(state)
    }
}
