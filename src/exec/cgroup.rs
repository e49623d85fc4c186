//! In which cgroup a further process is born. Parent, after it has joined the pid namespace.
//!
//! That is the container's own, unless the container has made cgroups below it and given them
//! controllers: then no process may be in it (cgroups(7), "no internal processes"), and the place
//! is wherever init is at the moment. The container can move its init between the look-up and the
//! clone, so the kernel is asked again with a fresh look-up, and in the end with the container frozen.

use super::Request;
use crate::cgroups::Cgroup;
use crate::cgroups::systemd::Scope;
use crate::error::{Code, Context, Error, Result};
use crate::host::{mount_of_host, path_in};
use crate::procfs::ProcFs;
use crate::state::State;
use crate::sys::clone::{Parent, Side, clone3};
use crate::sys::kind::Kinds;
use crate::sys::pidfd::pidfd_send_signal;
use crate::timeout;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How often init is looked up while it may move. Its cgroup takes processes as long as it is there,
/// so whoever moves it to and fro wins every time only by chance, or on a loaded host.
const ATTEMPTS: usize = 50;

/// Where a process is after its birth.
pub(super) enum Destination {
    /// In its cgroup.
    Reached,
    /// In casulo's own; it shall write itself into the list of processes of its cgroup.
    ItsOwnMove(OwnedFd),
    /// In casulo's own; systemd shall move it, and it must not go on before.
    SystemdsMove {
        /// The container's scope.
        scope: Scope,
        /// Where it shall be: a directory of the scope's, absolute on the host.
        cgroup: PathBuf,
    },
}

/// A process that was cloned; both sides have one.
pub(super) struct Birth {
    pub(super) side: Side,
    pub(super) destination: Destination,
    /// The cgroup that it was cloned into, if it was.
    pub(super) cgroup: Option<Cgroup>,
}

/// Clones a process into the container's cgroup, or into the one below it that `request` names.
/// Returns twice, with the same place.
pub(super) fn clone_into_cgroup(
    request: &Request<'_>,
    init: &OwnedFd,
    proc: &ProcFs,
) -> Result<Birth> {
    let state = &request.seen.state;
    let container = state.open_cgroup()?;
    let below = match (&state.delegate_cgroup, request.cgroup) {
        (Some(delegate), Some(below)) => Some(delegate.join(below)),
        (Some(delegate), None) => Some(delegate.clone()),
        (None, below) => below.map(Path::to_owned),
    };
    let cgroup = match (container, below) {
        (Some(container), Some(below)) => Some(container.open_below(&below)?),
        (None, _) if request.cgroup.is_some() => return Err(no_cgroup(request)),
        (container, _) => container,
    };
    let mut destination = Destination::Reached;
    let (mut side, mut cgroup) = match cgroup {
        Some(cgroup) => clone_into(cgroup),
        // It is gone: init has left it before.
        None if state.cgroup().is_some() => (Err(Errno::ENOENT), None),
        None => (clone3(Kinds::NONE, Parent::This, None), None),
    };
    // Only from within its tree may an ordinary user's casulo put a process there (cgroups(7),
    // "Delegation containment"). systemd may.
    if let (Err(Errno::EACCES), Some(refusing), Some(scope)) =
        (&side, &cgroup, &state.systemd_scope)
    {
        destination = Destination::SystemdsMove {
            scope: scope.clone(),
            cgroup: refusing.path().to_owned(),
        };
        cgroup = None;
        side = clone3(Kinds::NONE, Parent::This, None);
    }
    // A cgroup that the caller has named is not exchanged for another.
    let attempts = if request.cgroup.is_none() {
        ATTEMPTS
    } else {
        0
    };
    for _ in 0..attempts {
        match side {
            Err(errno) if takes_no_processes(errno) => {
                (side, cgroup) = clone_beside_init(state, init, proc)?;
            }
            _ => break,
        }
    }
    if let (Err(errno), None) = (&side, request.cgroup)
        && takes_no_processes(*errno)
        && let Some(own) = state.open_cgroup()?
    {
        (side, cgroup) = clone_beside_frozen(&own, state, init, proc)?;
    }
    let side = side.map_err(|errno| {
        let error = Error::step(Code::Process, "clone a process into", request.id, errno);
        match errno {
            Errno::EBUSY => error.hint(
                "this cgroup gives controllers to those below it, so no process may be in it: \
                 name one of those by --cgroup",
            ),
            Errno::EOPNOTSUPP => error.hint("a cgroup above is threaded: see cgroup.type"),
            _ => error,
        }
    })?;
    Ok(Birth {
        side,
        destination,
        cgroup,
    })
}

/// Clones a process that shall move itself to `cgroup`, where one that was cloned into it has died at its birth:
/// since Linux 6.14 every one does, once somebody has written cgroup.kill, by the container's hand too.
/// Returns twice.
pub(super) fn clone_beside_cgroup(request: &Request<'_>, cgroup: &Cgroup) -> Result<Birth> {
    let processes = cgroup.open_processes()?;
    let side = clone3(Kinds::NONE, Parent::This, None).context(
        Code::Process,
        "clone a process for",
        request.id,
    )?;
    Ok(Birth {
        side,
        destination: Destination::ItsOwnMove(processes),
        cgroup: None,
    })
}

fn no_cgroup(request: &Request<'_>) -> Error {
    let text = format!("container {} has no cgroup of its own", request.id);
    Error::new(Code::Cgroup, text)
}

/// What the kernel has made of a clone, and the cgroup that it was to be in.
type Cloned = (nix::Result<Side>, Option<Cgroup>);

fn clone_into(cgroup: Cgroup) -> Cloned {
    (clone3(Kinds::NONE, Parent::This, cgroup.fd()), Some(cgroup))
}

/// The kernel's words for a cgroup with controllers for those below it, for one that became invalid
/// because a neighbour is threaded, and for one that was just removed.
fn takes_no_processes(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT
    )
}

/// Clones into the cgroup that init is in now.
fn clone_beside_init(state: &State, init: &OwnedFd, proc: &ProcFs) -> Result<Cloned> {
    match Cgroup::open(&cgroup_of_init(state, init, proc)?) {
        Ok(cgroup) => Ok(clone_into(cgroup)),
        Err(error) if error.errno == Some(Errno::ENOENT) => Ok((Err(Errno::ENOENT), None)),
        Err(error) => Err(error),
    }
}

/// The same while nobody in the container moves. The process is born frozen, too.
fn clone_beside_frozen(
    container: &Cgroup,
    state: &State,
    init: &OwnedFd,
    proc: &ProcFs,
) -> Result<Cloned> {
    // Not all need be frozen, if only init is.
    container.freeze(Instant::now() + timeout::FREEZE)?;
    let cloned = clone_beside_init(state, init, proc);
    match cloned {
        Ok((Ok(Side::Child), _)) => cloned,
        _ => container.thaw().and(cloned),
    }
}

fn cgroup_of_init(state: &State, init: &OwnedFd, proc: &ProcFs) -> Result<PathBuf> {
    let pid = state.init_process_pid;
    let text = proc
        .open(&format!("{pid}/cgroup"), OFlag::O_RDONLY)
        .and_then(|file| {
            // One line a hierarchy, each at most a path long; v2 has one.
            let mut buffer = [0; 16 * 1024];
            let length = read(&file, &mut buffer)?;
            Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
        })
        // Only now is it sure that the number was still init's.
        .and_then(|text| pidfd_send_signal(init.as_fd(), 0).map(|()| text))
        .context(Code::Cgroup, "read the cgroup of", "init")?;
    let mount = mount_of_host();
    match (mount, path_in(&text)) {
        (Some(mount), Some(path)) => Ok(mount.path.join(path.strip_prefix("/").unwrap_or(&path))),
        _ => Err(Error::new(
            Code::Cgroup,
            "init is in no cgroup that the caller can see",
        )),
    }
}
