//! The state directory: one directory a container below `--root`, holding facts, never a status.
//!
//! `<root>/<id>/` has `state.json` (the facts, replaced by rename), `config.json` (a copy of the
//! bundle's at create, for `exec` and the late hooks), `identity` (what it takes to find the
//! container without the facts) and, until the container is started, FIFOs for that. Everything
//! here runs in the parent. A status is computed from the facts, the lock and
//! the kernel each time it is asked for, in one place ([`Dir::look`]).

pub(crate) mod identity;
mod lock;
mod ownership;
mod sound;
mod start_fifo;
mod status;
mod store;

pub(crate) use identity::Identity;
pub(crate) use lock::Lock;
pub(crate) use lock::PAUSE;
pub(crate) use start_fifo::{Fifos, Words, connect as connect_to_init, make as make_fifos};
pub(crate) use status::{ProcessRef, Seen, Status};
pub(crate) use store::Store;

use crate::cgroups::systemd::Scope;
use crate::descent::{What, remove_below};
use crate::error::{Code, Context, Error, Result};
use crate::id::Id;
use crate::namespaces::{Kind, Kinds};
use crate::step::{self, Step};
use crate::sys::rename::rename_noreplace;
use crate::whole_file;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const STATE: &str = "state.json";
const STATE_NEW: &str = "state.json.new";
/// The mode of files: their owner's alone.
const OWNERS: Mode = Mode::from_bits_truncate(0o600);
const CONFIG: &str = "config.json";
/// There while `delete --force` waits for `create` to end.
const DELETED: &str = "deleted";

/// What is known of a container. Written before each resource is acquired, so that a later
/// `delete --force` finds it even after a SIGKILL. `init_process_*` and `cgroup_paths` have the
/// names under which node tools look for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// The container's id.
    pub id: String,
    /// `ociVersion` of its config.
    pub oci_version: String,
    /// Creation time, RFC 3339 with nanoseconds.
    pub created: String,
    /// Bundle directory, absolute.
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
    /// The casulo that creates it.
    pub creator: ProcessRef,
    /// create has done all its work.
    pub finished: bool,
    /// Directory of the cgroup, absolute on the host, under the key `""` (runc's shape for v2).
    pub cgroup_paths: BTreeMap<String, PathBuf>,
    /// Directories above the cgroup that did not exist before, from the top down.
    pub cgroup_parents: Vec<PathBuf>,
    /// The scope in which systemd holds that cgroup.
    pub systemd_scope: Option<Scope>,
    /// The cgroup below it that processes of the container are in, relative to it.
    pub delegate_cgroup: Option<PathBuf>,
    /// No cgroup was made: the caller's own holds the processes.
    pub cgroup_is_callers: bool,
    /// Directories of the Intel RDT groups that casulo made.
    pub intel_rdt_paths: Vec<PathBuf>,
    /// Kinds of namespaces that are not the caller's own.
    pub namespaces: Kinds,
    /// The directory inside that holds the container's notify socket, if it has one.
    #[serde(rename = "notify_folder")]
    pub notify_directory: Option<PathBuf>,
    /// There are poststart hooks in the config.
    pub has_poststart: bool,
    /// There are poststop hooks in the config.
    pub has_poststop: bool,
    /// What tells that which is named here from later things with the same names, once all of it is there.
    pub identity: Option<Identity>,
}

impl State {
    /// The container's cgroup, if casulo made one.
    pub(crate) fn cgroup(&self) -> Option<&Path> {
        self.cgroup_paths.get("").map(PathBuf::as_path)
    }

    /// Records the cgroup that casulo made, or that it made none.
    pub(crate) fn set_cgroup(&mut self, path: Option<&Path>) {
        let path = path.map(|path| (String::new(), path.to_owned()));
        self.cgroup_is_callers = path.is_none();
        self.cgroup_paths = path.into_iter().collect();
    }

    /// True if it has a namespace of this kind that is not the caller's.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.namespaces.has(kind)
    }

    /// True if it has a pid namespace that is not the caller's: its processes end with init.
    pub(crate) fn has_own_pids(&self) -> bool {
        self.namespaces.has(Kind::Pid)
    }

    /// The casulo that creates it, by pid and start time; `None` where nothing was recorded.
    pub(crate) fn creator(&self) -> Option<ProcessRef> {
        (self.creator.pid > 0).then_some(self.creator)
    }

    /// Init by pid and start time; `None` before it exists, and when it was of an earlier boot.
    pub(crate) fn init(&self) -> Option<ProcessRef> {
        (self.init_process_pid > 0 && self.is_of_this_boot()).then_some(ProcessRef {
            pid: self.init_process_pid,
            start: self.init_process_start,
        })
    }

    /// Records init, as it is now.
    pub(crate) fn set_init(&mut self, init: ProcessRef) {
        self.init_process_pid = init.pid;
        self.init_process_start = init.start;
    }

    /// The state document of the spec (runtime.md, State), as hooks get it on stdin and, with
    /// three keys more, `casulo state` prints it.
    pub(crate) fn document(&self, status: Status, pid: i32) -> serde_json::Value {
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

/// One container's directory, open.
#[derive(Debug)]
pub(crate) struct Dir {
    /// The container's id.
    pub id: Id,
    path: PathBuf,
    parent: OwnedFd,
    fd: OwnedFd,
}

impl Dir {
    /// The directory's path, absolute if `--root` was.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// False once the directory was removed: its name may be another container's by now.
    pub(crate) fn is_there(&self) -> bool {
        // An open directory can always be looked at.
        fstat(&self.fd).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// The first record and the name, for the directory `unnamed` above whose lock we have.
    fn begin(&self, state: &State, unnamed: &str) -> Result<()> {
        step::begin(Step::Record)?;
        self.write_file(STATE, &self.text_of(state)?)?;
        step::begin(Step::NameRecord)?;
        match rename_noreplace(&self.parent, unnamed, &self.id) {
            Err(Errno::EEXIST) => {
                let text = format!("container {} already exists", self.id);
                Err(Error::new(Code::Exists, text))
            }
            result => result.context(Code::State, "make", self.path.display()),
        }
    }

    /// Replaces `state.json` by rename, so that a reader or a crash sees the old or the new one.
    ///
    /// # Errors
    /// `E_STATE`.
    pub(crate) fn write(&self, state: &State) -> Result<()> {
        whole_file::replace(
            &self.fd,
            Path::new(STATE_NEW),
            Path::new(STATE),
            &self.text_of(state)?,
            OWNERS,
            Step::ReplaceRecord,
        )
        .context(Code::State, "replace", self.path.join(STATE).display())
    }

    fn text_of(&self, state: &State) -> Result<Vec<u8>> {
        serde_json::to_vec(state).map_err(|error| {
            let text = format!("write {}: {error}", self.path.display());
            Error::new(Code::State, text)
        })
    }

    /// Says that the container goes while `create` is still at work, which is then the reason why that fails.
    ///
    /// # Errors
    /// `E_STATE`.
    pub(crate) fn mark_as_deleted(&self) -> Result<()> {
        self.write_file(DELETED, b"")
    }

    /// Whether [`Dir::mark_as_deleted`] or [`Dir::remove`] came before.
    pub(crate) fn is_deleted(&self) -> bool {
        !self.is_there() || fstatat(&self.fd, DELETED, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok()
    }

    /// Keeps a copy of the bundle's config.json, which its owner may change or remove later.
    ///
    /// # Errors
    /// `E_STATE`.
    pub(crate) fn write_config(&self, bytes: &[u8]) -> Result<()> {
        self.write_file(CONFIG, bytes)
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        whole_file::create(&self.fd, Path::new(name), OWNERS)
            .and_then(|file| whole_file::write_all(&file, bytes))
            .context(Code::State, "write", self.path.join(name).display())
    }

    /// Reads the facts. A directory without a `state.json`, which casulo does not leave, has default facts, so that
    /// `delete` can remove it.
    ///
    /// # Errors
    /// `E_STATE` when the file is there but is not ours.
    pub(crate) fn read(&self) -> Result<State> {
        let path = self.path.join(STATE);
        let bytes = match self.read_file(STATE) {
            Err(error) if error.errno == Some(Errno::ENOENT) => {
                let nothing = State {
                    id: self.id.to_string(),
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
        if *state.id != *self.id {
            // Whatever it is, no process and no cgroup of this container is known by it.
            return Err(wrong(format!("is not the state of container {}", self.id)));
        }
        match state.unsound() {
            None => Ok(state),
            Some(field) => Err(wrong(format!("{field}: no casulo writes this"))),
        }
    }

    /// Reads the copy of config.json.
    ///
    /// # Errors
    /// `E_STATE`.
    pub(crate) fn read_config(&self) -> Result<(String, Vec<u8>)> {
        let bytes = self.read_file(CONFIG)?;
        Ok((self.path.join(CONFIG).display().to_string(), bytes))
    }

    /// Takes the names of the start FIFOs away.
    pub(crate) fn forget_fifos(&self) {
        start_fifo::forget(self);
    }

    /// Removes the directory and all in it; the id is free again.
    ///
    /// # Errors
    /// `E_STATE`.
    pub(crate) fn remove(self) -> Result<()> {
        // Another command was faster: what has the name now is another container's.
        if !self.is_there() {
            return Ok(());
        }
        let remove_directory = || match unlinkat(&self.parent, &*self.id, UnlinkatFlags::RemoveDir)
        {
            Err(Errno::ENOENT) => Ok(()),
            result => result,
        };
        // What stands in for the record goes first, or a reader would take it for the record of a container.
        self.remove_files(&[identity::IDENTITY, CONFIG, STATE])?;
        step::begin(Step::RemoveDirectory)?;
        let mut removed = remove_directory();
        if removed == Err(Errno::ENOTEMPTY) {
            self.remove_files(&start_fifo::NAMES)?;
            self.remove_files(&[STATE_NEW, DELETED])?;
            removed = remove_directory();
        }
        match removed {
            Ok(()) => Ok(()),
            // Something that casulo did not put there: the directory is still only this container's.
            Err(Errno::ENOTEMPTY) => remove_below(self.fd.as_fd(), What::Everything)
                .and_then(|()| remove_directory())
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
pub(crate) fn not_found(id: &str) -> Error {
    Error::new(Code::NotFound, format!("container {id} does not exist"))
}

/// What `create` says when another command was faster to delete what it had begun.
pub(crate) fn deleted_meanwhile(id: &str) -> Error {
    let text = format!("container {id} was deleted while it was created");
    Error::new(Code::NotFound, text)
}

/// The present moment as `state` shows it.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::ProcFs;
    use nix::unistd::Pid;

    /// The first record of `web`, which this process creates.
    fn web() -> State {
        let proc = ProcFs::host().expect("/proc");
        let me = ProcessRef::of(Pid::this(), &proc).expect("this process");
        State {
            id: "web".to_owned(),
            creator: me,
            ..State::default()
        }
    }

    fn id(text: &str) -> Id {
        text.parse().expect("an id")
    }

    #[test]
    fn an_id_is_taken_once_and_free_after_removal() {
        let root = tempfile::tempdir().expect("directory");
        let store = Store::at(root.path().join("run"));
        let dir = store.reserve(&web()).expect("reserved");
        assert_eq!(store.reserve(&web()).expect_err("taken").code, Code::Exists);
        assert_eq!(store.ids().expect("list"), [id("web")]);
        dir.remove().expect("removed");
        let error = store.open(&id("web")).expect_err("gone");
        assert!(error.to_string().contains("does not exist"), "{error}");
    }

    #[test]
    fn a_lock_that_was_waited_for_is_of_the_container_that_was_meant() {
        let root = tempfile::tempdir().expect("directory");
        let store = Store::at(root.path().to_owned());
        let dir = store.reserve(&web()).expect("reserved");
        dir.unlock().expect("unlocked");
        let (first, second) = (store.open(&id("web")), store.open(&id("web")));
        let (first, second) = (first.expect("open"), second.expect("open"));
        drop(first.lock("start").expect("locked"));
        first.remove().expect("removed");
        // Another container with the same id must not be taken for the one that was deleted.
        let _other = store.reserve(&web()).expect("reserved again");
        let error = second.lock("start").expect_err("its directory is gone");
        assert_eq!(error.code, Code::NotFound);
        assert_eq!(store.ids().expect("list"), [id("web")]);
    }

    #[test]
    fn facts_come_back_as_written() {
        let root = tempfile::tempdir().expect("directory");
        let dir = Store::at(root.path().to_owned())
            .reserve(&web())
            .expect("reserved");
        assert_eq!(dir.read().expect("a first record"), web());
        let state = State {
            id: "web".into(),
            init_process_pid: 7,
            created: now(),
            ..State::default()
        };
        dir.write(&state).expect("written");
        assert_eq!(dir.read().expect("read"), state);
    }

    #[test]
    fn an_id_that_is_taken_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().expect("directory");
        let store = Store::at(root.path().to_owned());
        let _dir = store.reserve(&web()).expect("reserved");
        store.reserve(&web()).expect_err("taken");
        let entries = std::fs::read_dir(root.path()).expect("list");
        assert_eq!(entries.count(), 1);
    }

    #[test]
    fn what_a_killed_create_left_without_a_name_goes_and_what_is_at_work_stays() {
        let root = tempfile::tempdir().expect("directory");
        let store = Store::at(root.path().to_owned());
        let (left, at_work) = (root.path().join(".new-1-0"), root.path().join(".new-2-0"));
        for path in [&left, &at_work] {
            std::fs::create_dir(path).expect("made");
            std::fs::write(path.join(STATE), "{}").expect("written");
        }
        let file = std::fs::File::open(&at_work).expect("open");
        file.lock().expect("locked");
        store.remove_unnamed().expect("cleared");
        let names = || std::fs::read_dir(root.path()).expect("list").flatten();
        let names: Vec<_> = names().map(|entry| entry.path()).collect();
        assert!(names.len() == 1 && names.contains(&at_work), "{names:?}");
        std::fs::File::open(at_work.join(STATE)).expect("it has its record");
    }

    #[test]
    fn a_container_is_creating_until_create_has_finished_or_gone() {
        let root = tempfile::tempdir().expect("directory");
        let store = Store::at(root.path().to_owned());
        let creator = store.reserve(&web()).expect("reserved");
        let reader = store.open(&id("web")).expect("open");
        let status = || reader.look().expect("seen").status;
        assert_eq!(status(), Status::Creating);
        let error = reader.lock("start").expect_err("create has it");
        assert_eq!(error.code, Code::Status);
        assert!(error.to_string().contains("it is being created"), "{error}");
        let finished = State {
            finished: true,
            ..web()
        };
        creator.write(&finished).expect("written");
        // There is no process.
        assert_eq!(status(), Status::Stopped);
        creator
            .write(&State {
                creator: ProcessRef {
                    start: 1,
                    ..web().creator
                },
                ..web()
            })
            .expect("written");
        // Somebody has the lock, but not who created it.
        assert_eq!(status(), Status::Stopped);
        creator.write(&web()).expect("written");
        assert_eq!(status(), Status::Creating);
        drop(creator);
        assert_eq!(status(), Status::Stopped);
        let lock = reader.lock("delete").expect("free");
        let seen = reader.look_locked(&lock).expect("seen");
        assert_eq!(seen.status, Status::Stopped);
    }
}
