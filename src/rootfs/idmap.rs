//! Id-mapped bind mounts: which map a mount gets, and a user namespace that carries that map.
//!
//! The kernel takes a mount's map from a user namespace (mount_setattr(2), `MOUNT_ATTR_IDMAP`).
//! A map that is the container's own comes from the container's namespace; any other needs a
//! namespace made for it, which lives as long as the fd that [`user_namespace`] returns.

use super::mount::Change;
use super::mount::{At, IdMapping, Maps, as_text};
use super::options::{Depth, Options};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::namespaces::{self, IdMap, Kind, Kinds};
use crate::procfs::ProcFs;
use crate::step::{self, Step};
use crate::sys::child::{end_with, leave};
use crate::sys::clone::{Parent, Side, clone3};
use crate::sys::mount::{MountAttr, mount_setattr};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pause};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount as SpecMount, Spec};
use std::ffi::CStr;
use std::fmt::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Decides the map of one mount, if it has any. `at` is the mount's JSON path. Pure.
///
/// config.md, "POSIX-platform Mounts": uidMappings and gidMappings come together or not at all;
/// without them the container's own maps are used; without those it is an error.
pub(crate) fn plan(
    mount: &SpecMount,
    options: &Options,
    spec: &Spec,
    ns: &namespaces::Plan,
    at: At,
    problems: &mut Problems,
) -> Option<IdMapping> {
    let mut lines = |field: &str, list: &Option<Vec<LinuxIdMapping>>| {
        let list = list.as_deref().unwrap_or_default();
        namespaces::idmap::read(list, &format!("{at}.{field}"), problems)
    };
    let uids = lines("uidMappings", mount.uid_mappings());
    let gids = lines("gidMappings", mount.gid_mappings());
    let depth = match (&options.idmap, uids.is_empty() && gids.is_empty()) {
        (None, true) => return None,
        (None, false) => Depth::One,
        (Some((depth, _)), _) => *depth,
    };
    let text = options.idmap.as_ref().and_then(|(_, text)| text.as_deref());
    let maps = if uids.is_empty() != gids.is_empty() {
        problems.add(
            at.to_string(),
            "uidMappings and gidMappings must be given together",
        );
        return None;
    } else if !uids.is_empty() {
        if ns.is_new(Kind::User) && uids == ns.uid_map && gids == ns.gid_map {
            Maps::Container
        } else {
            Maps::Own { uids, gids }
        }
    } else if let Some(text) = text {
        match parse(text, ns) {
            Ok(maps) => maps,
            Err(why) => {
                problems.add(format!("{at}.options"), format!("idmap={text}: {why}"));
                return None;
            }
        }
    } else if ns.is_new(Kind::User) {
        Maps::Container
    } else if let Some(path) = joined_user_namespace(spec) {
        Maps::Joined(path)
    } else {
        problems.add(
            format!("{at}.options"),
            "idmap needs uidMappings and gidMappings, or a user namespace of the container",
        );
        return None;
    };
    Some(IdMapping { depth, maps })
}

fn joined_user_namespace(spec: &Spec) -> Option<PathBuf> {
    spec.linux()
        .as_ref()?
        .namespaces()
        .as_ref()?
        .iter()
        .find(|it| it.typ() == LinuxNamespaceType::User)?
        .path()
        .clone()
}

/// crun's `idmap=uids=A-B-N#…;gids=…`: ids of the file system from A become ids from B on, N of
/// them. `@` before a triplet makes B an id of the container instead of the host.
fn parse(text: &str, ns: &namespaces::Plan) -> std::result::Result<Maps, String> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (list, own, triplets) = match part.split_once('=') {
            Some(("uids", triplets)) => (&mut uids, &ns.uid_map, triplets),
            Some(("gids", triplets)) => (&mut gids, &ns.gid_map, triplets),
            _ => return Err(format!("{part:?} is neither uids= nor gids=")),
        };
        for triplet in triplets.split('#').filter(|triplet| !triplet.is_empty()) {
            list.push(parse_triplet(triplet, own)?);
        }
    }
    if uids.is_empty() || gids.is_empty() {
        return Err("uids= and gids= must be given together".to_owned());
    }
    let mut problems = Problems::default();
    namespaces::idmap::check(&uids, "uids", &mut problems);
    namespaces::idmap::check(&gids, "gids", &mut problems);
    match problems.into_list().into_iter().next() {
        Some((list, why)) => Err(format!("{list}: {why}")),
        None => Ok(Maps::Own { uids, gids }),
    }
}

fn parse_triplet(triplet: &str, own: &[IdMap]) -> std::result::Result<IdMap, String> {
    let (relative, numbers) = match triplet.strip_prefix('@') {
        Some(numbers) => (true, numbers),
        None => (false, triplet),
    };
    let numbers: Option<Vec<u32>> = numbers.split('-').map(|it| it.parse().ok()).collect();
    let Some(&[inside, to, count]) = numbers.as_deref() else {
        return Err(format!("{triplet:?} is not three numbers"));
    };
    let outside = if relative {
        namespaces::outside_of(own, to)
    } else {
        Some(to)
    };
    match outside {
        Some(outside) => Ok(IdMap {
            inside,
            outside,
            count,
        }),
        None => Err(format!("the container has no id {to}")),
    }
}

/// Gives the detached `tree` the ids of the user namespace `users`. Parent; needs CAP_SYS_ADMIN in
/// the user namespace that the tree's file systems were mounted in.
///
/// # Errors
/// EINVAL where a file system cannot be id-mapped, EPERM without the capability.
pub(crate) fn apply(tree: BorrowedFd<'_>, depth: Depth, users: BorrowedFd<'_>) -> nix::Result<()> {
    let change = Change {
        depth,
        attr: MountAttr {
            attr_set: libc::MOUNT_ATTR_IDMAP,
            userns_fd: u64::try_from(users.as_raw_fd()).expect("an open descriptor"),
            ..MountAttr::default()
        },
        unless_locked: 0,
    };
    mount_setattr(tree, change.flags(), &change.attr)
}

/// A user namespace with these maps. Parent, with CAP_SETUID and CAP_SETGID. A process is needed to
/// make one; it ends before this returns, and the fd alone keeps the namespace.
///
/// # Errors
/// E_NAMESPACE when it cannot be made, E_ID_MAP when the maps are refused.
pub(crate) fn user_namespace(uids: &[IdMap], gids: &[IdMap], proc: &ProcFs) -> Result<OwnedFd> {
    let step = "make a user namespace for an id-mapped mount";
    let parent = Pid::this();
    let holder = match clone3(Kinds::from_iter([Kind::User]), Parent::This, None).context(
        Code::Namespace,
        step,
        "",
    )? {
        // Waits to be killed. Should the parent die first, so does the holder.
        Side::Child => {
            match step::begin_or_errno(Step::MapHolder).and_then(|()| end_with(parent)) {
                Ok(()) => loop {
                    pause();
                },
                Err(_) => leave(1),
            }
        }
        Side::Parent(pid) => Holder(pid),
    };
    for (file, lines) in [("uid_map", uids), ("gid_map", gids)] {
        let path = format!("{}/{file}", holder.0);
        proc.write(&path, text(lines).as_bytes()).context(
            Code::IdMap,
            "write the map of an id-mapped mount",
            file,
        )?;
    }
    user_namespace_of(holder.0, proc)
}

/// The user namespace that `pid`, an unreaped child of the caller, is in.
///
/// # Errors
/// E_NAMESPACE
pub(crate) fn user_namespace_of(pid: Pid, proc: &ProcFs) -> Result<OwnedFd> {
    // The last component is a magic link, which ProcFs never follows; here the file is meant.
    let path = format!("{pid}/ns/user");
    openat(
        proc.as_fd(),
        path.as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .context(Code::Namespace, "open", format!("/proc/{path}"))
}

struct Holder(Pid);

impl Drop for Holder {
    fn drop(&mut self) {
        // Our own child: it is there until it is waited for, so neither call can miss.
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

fn text(lines: &[IdMap]) -> String {
    let mut text = String::new();
    for IdMap {
        inside,
        outside,
        count,
    } in lines
    {
        let _ = writeln!(text, "{inside} {outside} {count}");
    }
    text
}

/// What a refused id map means, beside the errno.
pub(crate) fn refused(errno: Errno, source: &CStr) -> Error {
    let error = Error::step(Code::Mount, "id-map", as_text(source), errno);
    match errno {
        Errno::EINVAL => error.hint("the file system must support id-mapped mounts on this kernel"),
        Errno::EPERM => {
            error.hint("an id-mapped mount needs CAP_SYS_ADMIN where the file system was mounted")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(inside: u32, outside: u32, count: u32) -> IdMap {
        IdMap {
            inside,
            outside,
            count,
        }
    }

    #[test]
    fn crun_s_text_is_read() {
        let ns = namespaces::Plan {
            uid_map: vec![map(0, 100_000, 1000)],
            gid_map: vec![map(0, 200_000, 1000)],
            ..Default::default()
        };
        assert_eq!(
            parse("uids=0-1000-1#5-1005-2;gids=@0-10-3", &ns),
            Ok(Maps::Own {
                uids: vec![map(0, 1000, 1), map(5, 1005, 2)],
                gids: vec![map(0, 200_010, 3)],
            })
        );
        for wrong in [
            "uids=0-1-1",
            "uids=0-1;gids=0-0-1",
            "users=0-0-1",
            "uids=@0-5000-1;gids=0-0-1",
            "uids=4294967295-0-1;gids=0-0-1",
            "uids=0-0-1;gids=0-4294967295-1",
            "uids=0-0-0;gids=0-0-1",
        ] {
            assert!(parse(wrong, &ns).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_are_written_as_the_kernel_reads_them() {
        assert_eq!(text(&[map(0, 1000, 1), map(1, 5, 2)]), "0 1000 1\n1 5 2\n");
    }
}
