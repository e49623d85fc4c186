//! In which cgroup a further process is born. Parent, after it has joined the pid namespace.
//!
//! That is the container's own, unless the container has made cgroups below it and given them
//! controllers: then no process may be in it (cgroups(7), "no internal processes"), and the place
//! is wherever init is at the moment. The container can move its init between the look-up and the
//! clone, so the kernel is asked again with a fresh look-up, and in the end with the container frozen.

use super::Request;
use crate::cgroups::Cgroup;
use crate::cgroups::fs::{mount_of_host, path_in};
use crate::cgroups::systemd::Scope;
use crate::error::{Code, Context, Error, Result};
use crate::state::State;
use crate::sys::clone::{Side, clone3};
use crate::sys::pidfd::pidfd_send_signal;
use crate::sys::procfs::ProcFs;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often init is looked up while it may move. Its cgroup takes processes as long as it is there,
/// so whoever moves it to and fro wins every time only by chance, or on a loaded host.
const ATTEMPTS: usize = 50;

/// How long the container may take to freeze after that.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a process is after its birth.
pub(super) enum Place {
    /// In its cgroup.
    Final,
    /// In casulo's own; systemd shall move it, and it must not go on before.
    LeftToSystemd {
        /// The container's scope.
        scope: Scope,
        /// Where it shall be: a folder of the scope's, absolute on the host.
        cgroup: PathBuf,
    },
}

/// Clones a process into the container's cgroup, or into the one below it that `request` names.
/// Returns twice, with the same place.
pub(super) fn clone_into_cgroup(
    request: &Request<'_>,
    init: &OwnedFd,
    proc: &ProcFs,
) -> Result<(Side, Place)> {
    let cgroup = match (request.state.process_cgroup(), request.cgroup) {
        (Some(own), Some(below)) => Some(Cgroup::open(&own.join(below))?),
        (Some(own), None) => Some(Cgroup::open(&own)?),
        (None, None) => None,
        (None, Some(_)) => {
            let text = format!("container {} has no cgroup of its own", request.id);
            return Err(Error::new(Code::Cgroup, text));
        }
    };
    let mut side = clone3(0, cgroup.as_ref().and_then(Cgroup::fd));
    let mut place = Place::Final;
    // Only from within its tree may an ordinary user's casulo put a process there (cgroups(7),
    // "Delegation containment"). systemd may.
    if let (Err(Errno::EACCES), Some(cgroup), Some(scope)) =
        (&side, &cgroup, &request.state.systemd_scope)
    {
        place = Place::LeftToSystemd {
            scope: scope.clone(),
            cgroup: cgroup.path().to_owned(),
        };
        side = clone3(0, None);
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
                side = clone_beside_init(request.state, init, proc)?;
            }
            _ => break,
        }
    }
    if let (Err(errno), Some(own), None) = (&side, request.state.cgroup(), request.cgroup)
        && takes_no_processes(*errno)
    {
        side = clone_beside_frozen(&Cgroup::open(own)?, request.state, init, proc)?;
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
    Ok((side, place))
}

/// The kernel's words for a cgroup with controllers for those below it, for one that became invalid
/// because a neighbour is threaded, and for one that was just removed.
fn takes_no_processes(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENODEV | Errno::ENOENT
    )
}

/// Clones into the cgroup that init is in now; the inner result is the kernel's.
fn clone_beside_init(state: &State, init: &OwnedFd, proc: &ProcFs) -> Result<nix::Result<Side>> {
    let cgroup = match Cgroup::open(&cgroup_of_init(state, init, proc)?) {
        Ok(cgroup) => cgroup,
        Err(error) if error.errno == Some(Errno::ENOENT) => return Ok(Err(Errno::ENOENT)),
        Err(error) => return Err(error),
    };
    Ok(clone3(0, cgroup.fd()))
}

/// The same while nobody in the container moves. The process is born frozen, too.
fn clone_beside_frozen(
    container: &Cgroup,
    state: &State,
    init: &OwnedFd,
    proc: &ProcFs,
) -> Result<nix::Result<Side>> {
    // Not all need be frozen, if only init is.
    container.freeze(Instant::now() + PATIENCE)?;
    let side = clone_beside_init(state, init, proc);
    match side {
        Ok(Ok(Side::Child)) => side,
        _ => container.thaw().and(side),
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
