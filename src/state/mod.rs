//! The state directory: one folder a container below `--root`, holding facts, never a status.
//!
//! `<root>/<id>/` has `state.json` (the facts, replaced by rename), `config.json` (a copy of the
//! bundle's at create, for `exec` and the late hooks), `identity` (what it takes to find the
//! container without the facts) and, until the container is started, FIFOs for that. Everything
//! here runs in the parent. A status is computed from the facts and from
//! the kernel each time it is asked for.

pub mod identity;
mod lock;
mod ownership;
mod start_fifo;
mod status;
mod store;

pub use identity::Identity;
pub use start_fifo::{Fifos, Words, connect as connect_to_init, make as make_fifos};
pub use status::{ProcessRef, Status, status};
pub use store::{Store, check_id};

use crate::cgroups::systemd::Scope;
use crate::descent::{What, remove_below};
use crate::error::{Code, Context, Error, Result};
use crate::namespaces::Kind;
use crate::testing::fault::{self, Step};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sched::CloneFlags;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat, write};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const STATE: &str = "state.json";
const STATE_NEW: &str = "state.json.new";
const CONFIG: &str = "config.json";

/// What is known of a container. Written before each resource is acquired, so that a later
/// `delete --force` finds it even after a SIGKILL. `init_process_*` and `cgroup_paths` have the
/// names under which node tools look for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The container's id.
    pub id: String,
    /// `ociVersion` of its config.
    pub oci_version: String,
    /// Creation time, RFC 3339 with nanoseconds.
    pub created: String,
    /// Bundle folder, absolute.
    pub bundle: PathBuf,
    /// Root file system, absolute on the host.
    pub rootfs: PathBuf,
    /// Annotations of the config.
    pub annotations: BTreeMap<String, String>,
    /// Uid of the caller who created it.
    pub owner: u32,
    /// Pid of init in casulo's pid namespace; 0 before there is one.
    pub init_process_pid: i32,
    /// Start time of init in clock ticks (field 22 of `/proc/PID/stat`).
    pub init_process_start: u64,
    /// Pid and start time of the casulo that creates it, while init has no pid.
    pub creator: (i32, u64),
    /// Folder of the cgroup, absolute on the host, under the key `""` (runc's shape for v2).
    pub cgroup_paths: BTreeMap<String, PathBuf>,
    /// Folders above the cgroup that did not exist before, from the top down.
    pub cgroup_parents: Vec<PathBuf>,
    /// The scope in which systemd holds that cgroup.
    pub systemd_scope: Option<Scope>,
    /// The cgroup below it that processes of the container are in, relative to it.
    pub delegate_cgroup: Option<PathBuf>,
    /// No cgroup was made: the caller's own holds the processes.
    pub cgroup_is_callers: bool,
    /// Folders of the Intel RDT groups that casulo made.
    pub intel_rdt_paths: Vec<PathBuf>,
    /// Kinds of namespaces that are not the caller's own, as bits of clone flags.
    pub namespaces: u64,
    /// The folder inside that holds the container's notify socket, if it has one.
    pub notify_folder: Option<PathBuf>,
    /// There are poststart hooks in the config.
    pub has_poststart: bool,
    /// There are poststop hooks in the config.
    pub has_poststop: bool,
    /// What tells that which is named here from later things with the same names, once all of it is there.
    pub identity: Option<Identity>,
}

impl State {
    /// The container's cgroup, if casulo made one.
    pub fn cgroup(&self) -> Option<&Path> {
        self.cgroup_paths.get("").map(PathBuf::as_path)
    }

    /// Records the cgroup that casulo made, or that it made none.
    pub fn set_cgroup(&mut self, path: Option<&Path>) {
        let path = path.map(|path| (String::new(), path.to_owned()));
        self.cgroup_is_callers = path.is_none();
        self.cgroup_paths = path.into_iter().collect();
    }

    /// The cgroup of the container's processes, which may lie below its own.
    pub fn process_cgroup(&self) -> Option<PathBuf> {
        let own = self.cgroup()?;
        Some(match &self.delegate_cgroup {
            Some(below) => own.join(below),
            None => own.to_owned(),
        })
    }

    /// True if it has a namespace of this kind that is not the caller's.
    pub fn has(&self, kind: Kind) -> bool {
        self.namespaces & kind.flag() != 0
    }

    /// True if it has a pid namespace that is not the caller's: its processes end with init.
    pub fn has_own_pids(&self) -> bool {
        self.namespaces & (libc::CLONE_NEWPID as u64) != 0
    }

    /// The kinds of namespaces that are not the caller's own.
    pub fn namespace_flags(&self) -> CloneFlags {
        let bits = i32::try_from(self.namespaces).expect("the flags of namespaces are 32 bits");
        CloneFlags::from_bits_retain(bits)
    }

    /// Init by pid and start time; `None` before it exists, and when it was of an earlier boot.
    pub fn init(&self) -> Option<ProcessRef> {
        (self.init_process_pid > 0 && self.is_of_this_boot()).then_some(ProcessRef {
            pid: self.init_process_pid,
            start: self.init_process_start,
        })
    }

    /// The state document of the spec (runtime.md, State), as hooks get it on stdin and, with
    /// three keys more, `casulo state` prints it.
    pub fn document(&self, status: Status, pid: i32) -> serde_json::Value {
        serde_json::json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": status.as_str(),
            "pid": pid,
            "bundle": self.bundle,
            "annotations": self.annotations,
        })
    }
}

/// One container's folder, open.
#[derive(Debug)]
pub struct Dir {
    /// The container's id.
    pub id: String,
    path: PathBuf,
    parent: OwnedFd,
    fd: OwnedFd,
}

impl Dir {
    /// The folder's path, absolute if `--root` was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// False once the folder was removed: its name may be another container's by now.
    pub fn is_there(&self) -> bool {
        // An open folder can always be looked at.
        fstat(&self.fd).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// Replaces `state.json` by rename, so that a reader or a crash sees the old or the new one.
    ///
    /// # Errors
    /// `E_STATE`.
    pub fn write(&self, state: &State) -> Result<()> {
        let text = serde_json::to_vec(state).map_err(|error| {
            Error::new(
                Code::State,
                format!("write {}: {error}", self.path.display()),
            )
        })?;
        self.write_file(STATE_NEW, &text)?;
        fault::at(Step::ReplaceRecord)?;
        renameat(&self.fd, STATE_NEW, &self.fd, STATE).context(
            Code::State,
            "replace",
            self.path.join(STATE).display(),
        )
    }

    /// Keeps a copy of the bundle's config.json, which its owner may change or remove later.
    ///
    /// # Errors
    /// `E_STATE`.
    pub fn write_config(&self, bytes: &[u8]) -> Result<()> {
        self.write_file(CONFIG, bytes)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_TRUNC
            | OFlag::O_NOFOLLOW
            | OFlag::O_CLOEXEC;
        let file = openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600)).context(
            Code::State,
            "open",
            path.display(),
        )?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = write(&file, rest).context(Code::State, "write", path.display())?;
            rest = rest.get(written..).unwrap_or(&[]);
        }
        Ok(())
    }

    /// Reads the facts. A folder without a readable `state.json` (its creator died in its first
    /// moments) has default facts, so that `delete --force` can remove it.
    ///
    /// # Errors
    /// `E_STATE` when the file is there but is not ours.
    pub fn read(&self) -> Result<State> {
        let path = self.path.join(STATE);
        let bytes = match self.read_file(STATE) {
            Err(error) if error.errno == Some(Errno::ENOENT) => {
                let nothing = State {
                    id: self.id.clone(),
                    ..State::default()
                };
                let Some(kept) = self.kept_identity() else {
                    return Ok(nothing);
                };
                log::warn!("{error}; what {} says is used", identity::IDENTITY);
                return Ok(kept);
            }
            result => result?,
        };
        let wrong = |why: String| Error::new(Code::State, format!("{}: {why}", path.display()));
        let state: State =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        match state.id == self.id {
            true => Ok(state),
            // Whatever it is, no process and no cgroup of this container is known by it.
            false => Err(wrong(format!("is not the state of container {}", self.id))),
        }
    }

    /// Reads the copy of config.json.
    ///
    /// # Errors
    /// `E_STATE`.
    pub fn read_config(&self) -> Result<(String, Vec<u8>)> {
        let bytes = self.read_file(CONFIG)?;
        Ok((self.path.join(CONFIG).display().to_string(), bytes))
    }

    /// Takes the names of the start FIFOs away.
    pub fn forget_fifos(&self) {
        start_fifo::forget(self);
    }

    /// Removes the folder and all in it; the id is free again.
    ///
    /// # Errors
    /// `E_STATE`.
    pub fn remove(self) -> Result<()> {
        // Another command was faster: what has the name now is another container's.
        if !self.is_there() {
            return Ok(());
        }
        let remove_folder =
            || match unlinkat(&self.parent, self.id.as_str(), UnlinkatFlags::RemoveDir) {
                Err(Errno::ENOENT) => Ok(()),
                result => result,
            };
        self.remove_files(&[CONFIG, STATE, identity::IDENTITY])?;
        fault::at(Step::RemoveFolder)?;
        let mut removed = remove_folder();
        if removed == Err(Errno::ENOTEMPTY) {
            self.remove_files(&start_fifo::NAMES)?;
            self.remove_files(&[STATE_NEW])?;
            removed = remove_folder();
        }
        match removed {
            Ok(()) => Ok(()),
            // Something that casulo did not put there: the folder is still only this container's.
            Err(Errno::ENOTEMPTY) => remove_below(self.fd.as_fd(), What::Everything)
                .and_then(|()| remove_folder())
                .context(Code::State, "remove", self.path.display()),
            Err(errno) => Err(Error::step(
                Code::State,
                "remove",
                self.path.display().to_string(),
                errno,
            )),
        }
    }

    fn remove_files(&self, names: &[&str]) -> Result<()> {
        for name in names {
            match unlinkat(&self.fd, *name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => {
                    let object = self.path.join(name).display().to_string();
                    return Err(Error::step(Code::State, "remove", object, errno));
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What callers look for when there is no such container.
fn not_found(id: &str) -> Error {
    Error::new(Code::NotFound, format!("container {id} does not exist"))
}

/// What `create` says when another command was faster to delete what it had begun.
pub(crate) fn deleted_meanwhile(id: &str) -> Error {
    let text = format!("container {id} was deleted while it was created");
    Error::new(Code::NotFound, text)
}

/// The present moment as `state` shows it.
pub fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        for good in ["a", "buildah-buildah123", "libpod_1.2+3", "0f-"] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "a\n", "ü", "../x"] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_is_taken_once_and_free_after_removal() {
        let root = tempfile::tempdir().expect("folder");
        let store = Store::at(root.path().join("run"));
        let dir = store.reserve("web").expect("reserved");
        assert_eq!(store.reserve("web").expect_err("taken").code, Code::Exists);
        assert_eq!(store.ids().expect("list"), ["web"]);
        dir.remove().expect("removed");
        let error = store.open("web").expect_err("gone");
        assert!(error.to_string().contains("does not exist"), "{error}");
    }

    #[test]
    fn a_lock_that_was_waited_for_is_of_the_container_that_was_meant() {
        let root = tempfile::tempdir().expect("folder");
        let store = Store::at(root.path().to_owned());
        store.reserve("web").expect("reserved");
        let (first, second) = (store.open("web"), store.open("web"));
        let (first, second) = (first.expect("open"), second.expect("open"));
        drop(first.lock().expect("locked"));
        first.remove().expect("removed");
        // Another container with the same id must not be taken for the one that was deleted.
        store.reserve("web").expect("reserved again");
        let error = second.lock().expect_err("its folder is gone");
        assert_eq!(error.code, Code::NotFound);
        assert_eq!(store.ids().expect("list"), ["web"]);
    }

    #[test]
    fn facts_come_back_as_written() {
        let root = tempfile::tempdir().expect("folder");
        let dir = Store::at(root.path().to_owned())
            .reserve("web")
            .expect("reserved");
        assert_eq!(dir.read().expect("a fresh folder").id, "web");
        let state = State {
            id: "web".into(),
            init_process_pid: 7,
            created: now(),
            ..State::default()
        };
        dir.write(&state).expect("written");
        assert_eq!(dir.read().expect("read"), state);
    }
}
