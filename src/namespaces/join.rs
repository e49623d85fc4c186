//! Namespaces joined by path: opened and checked by the parent, entered by the bridge or by init.

use super::{Join, Kind, Kinds, Plan};
use crate::error::{Code, Context, Error, Result};
use crate::procfs::ProcFs;
use crate::sys::namespace::{namespace_type, stop_being_dumpable};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sched::setns;
use nix::sys::stat::{Mode, fstat, fstatat, stat};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The order in which one process joins. Mount comes last, because it changes what paths mean. User is not in the
/// list: its place depends on privileges.
const ORDER: [Kind; 7] = [
    Kind::Network,
    Kind::Ipc,
    Kind::Uts,
    Kind::Cgroup,
    Kind::Time,
    Kind::Pid,
    Kind::Mount,
];

/// The namespaces that the parent opened for joining; init inherits the descriptors. All are CLOEXEC.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    /// In the order of [`ORDER`], with a user namespace first.
    opened: Vec<Opened>,
    /// Kinds whose path is the namespace that casulo is in already; these need no joining.
    own: Kinds,
}

/// A namespace to join, opened and checked.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) kind: Kind,
    pub(super) fd: OwnedFd,
    /// For errors: the path on the host and the JSON path.
    pub(super) object: String,
}

impl Opened {
    /// setns(2).
    pub(super) fn enter(&self) -> nix::Result<()> {
        setns(&self.fd, self.kind.clone_flags())
    }

    /// Explains why joining this namespace failed, as E_NAMESPACE.
    pub(super) fn error(&self, errno: Errno) -> Error {
        let step = format!("join {} namespace", self.kind.spec_name());
        let error = Error::step(Code::Namespace, step, self.object.clone(), errno);
        match (errno, self.kind) {
            (Errno::EPERM, Kind::User) => error
                .hint("only its owner, or CAP_SYS_ADMIN in its parent, may join a user namespace"),
            (Errno::EPERM, _) => error.hint(
                "joining needs CAP_SYS_ADMIN in the user namespace that owns it; join that one too",
            ),
            (Errno::EINVAL, Kind::Pid) => {
                error.hint("a pid namespace can be joined only from above it, and not a dead one")
            }
            (Errno::ENOMEM, Kind::Pid) => error.hint("its process 1 has ended"),
            _ => error,
        }
    }
}

/// Where a namespace is joined, the parent stops being dumpable first, and so do its children, init and the bridge.
/// Otherwise a process of that namespace could ptrace them and use their open files (CVE-2016-9962).
pub(super) fn hide(joins: &Joins) -> Result<()> {
    if joins.is_empty() {
        Ok(())
    } else {
        stop_being_dumpable().context(Code::Namespace, "prctl", "PR_SET_DUMPABLE")
    }
}

impl Joins {
    /// True if the config joins a namespace of this kind by path and it turned out to be casulo's
    /// own: then the container shares it with the host, whatever [`Plan::has`] says.
    pub(crate) fn is_own(&self, kind: Kind) -> bool {
        self.own.has(kind)
    }

    /// The kinds for which [`Joins::is_own`] is true: `exec` need not join these, and cannot join all of them.
    pub(crate) fn own(&self) -> Kinds {
        self.own
    }

    /// True if nothing is to be joined.
    pub(super) fn is_empty(&self) -> bool {
        self.opened.is_empty()
    }

    /// Returns the namespace of this kind, if one is joined.
    pub(super) fn get(&self, kind: Kind) -> Option<&Opened> {
        self.opened.iter().find(|join| join.kind == kind)
    }

    /// True if a namespace of this kind is joined.
    pub(crate) fn joins(&self, kind: Kind) -> bool {
        self.get(kind).is_some()
    }

    /// True if a bridge process must do the joins. Init would be too late: once it is in a user namespace, it cannot
    /// join others that this one does not own.
    pub(super) fn need_bridge(&self, plan: &Plan) -> bool {
        let others = || self.opened.iter().any(|join| join.kind != Kind::Pid);
        self.get(Kind::User).is_some() || (plan.is_new(Kind::User) && others())
    }

    /// Init, without a bridge and with a pid namespace of its own: joins all.
    ///
    /// # Errors
    /// E_NAMESPACE: which namespace and path, and the errno.
    pub(super) fn enter(&self) -> Result<()> {
        self.opened
            .iter()
            .try_for_each(|join| join.enter().map_err(|errno| join.error(errno)))
    }

    /// A bridge or an entrant: joins what its outside privileges allow, then the user namespace, then the rest with
    /// the capabilities that it has there. Does not join the pid namespace.
    ///
    /// # Errors
    /// The namespace that could not be joined, and the errno of setns(2).
    pub(super) fn cross(&self) -> std::result::Result<(), (&Opened, Errno)> {
        let user = self.get(Kind::User);
        let mut refused = Vec::new();
        let others = |join: &&Opened| !matches!(join.kind, Kind::User | Kind::Pid);
        for join in self.opened.iter().filter(others) {
            match join.enter() {
                Ok(()) => {}
                // Namespaces that the user namespace owns can be joined once that one is joined.
                Err(Errno::EPERM) if user.is_some() => refused.push(join),
                Err(errno) => return Err((join, errno)),
            }
        }
        let mut rest = user.into_iter().chain(refused);
        rest.try_for_each(|join| join.enter().map_err(|errno| (join, errno)))
    }

    /// The pid namespace to join, if there is one.
    pub(crate) fn pid_namespace(&self) -> Option<BorrowedFd<'_>> {
        self.get(Kind::Pid).map(|join| join.fd.as_fd())
    }
}

/// Parent, before any process is made: opens the namespaces to join and checks their types, as the
/// spec demands (config-linux.md, Namespaces).
///
/// # Errors
/// E_NAMESPACE: the path, its place in the config, and the errno or the kind of file that was found there.
pub(crate) fn open_joins(plan: &Plan) -> Result<Joins> {
    let mut joins = Joins::default();
    for join in &plan.join {
        match open_join(join)? {
            Some(opened) => joins.opened.push(opened),
            None => joins.own = joins.own.with(join.kind),
        }
    }
    joins
        .opened
        .sort_by_key(|join| ORDER.iter().position(|kind| *kind == join.kind));
    Ok(joins)
}

/// Opens casulo's own namespace of this kind, as a way back to it.
///
/// # Errors
/// E_NAMESPACE with the errno of open(2).
pub(super) fn own(kind: Kind) -> Result<OwnedFd> {
    let path = own_path(kind);
    open(
        path.as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .context(Code::Namespace, "open", path)
}

fn own_path(kind: Kind) -> String {
    format!("/proc/self/ns/{}", kind.proc_name())
}

/// Returns those kinds of `all` in which process `pid` and the caller have different namespaces. `proc` is a procfs
/// of the caller's pid namespace.
///
/// # Errors
/// E_NAMESPACE; ENOENT for a process that is gone.
pub(crate) fn not_shared_with(all: Kinds, pid: i32, proc: &ProcFs) -> Result<Kinds> {
    let look = |whose: &str, kind: Kind| {
        let path = format!("{whose}/ns/{}", kind.proc_name());
        let stat = fstatat(proc, path.as_str(), AtFlags::empty());
        stat.map(|stat| (stat.st_dev, stat.st_ino)).context(
            Code::Namespace,
            "stat",
            format_args!("/proc/{path}"),
        )
    };
    let is_other = |kind: Kind| Ok(look(&pid.to_string(), kind)? != look("self", kind)?);
    let others = all.iter().filter_map(|kind| match is_other(kind) {
        Ok(true) => Some(Ok(kind)),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    });
    others.collect()
}

/// Who owns the namespace that a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// It is the caller's own: nothing is to be joined.
    Caller,
    /// It is another one.
    Other,
}

/// Parent: opens and checks one namespace to join, and joins nothing.
///
/// # Errors
/// As [`open_joins`].
pub(crate) fn look_at(join: &Join) -> Result<Owner> {
    Ok(match open_join(join)? {
        None => Owner::Caller,
        Some(_) => Owner::Other,
    })
}

/// Opens and checks one namespace; None if it is casulo's own.
fn open_join(join: &Join) -> Result<Option<Opened>> {
    let (kind, path) = (join.kind, join.path.as_path());
    let name = kind.spec_name();
    let object = format!("{} (linux.namespaces[{}].path)", path.display(), join.index);
    // Without O_NONBLOCK a FIFO in that place would make casulo wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let fd = open(path, flags, Mode::empty()).context(
        Code::Namespace,
        &format!("open {name} namespace"),
        &object,
    )?;
    check_kind(&fd, kind).map_err(|why| Error {
        step: format!("join {name} namespace"),
        object: object.clone(),
        ..Error::new(Code::Namespace, why)
    })?;
    let step = format!("stat {name} namespace");
    let there = fstat(&fd).context(Code::Namespace, &step, &object)?;
    let here = stat(own_path(kind).as_str()).context(Code::Namespace, &step, own_path(kind))?;
    if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino) {
        // setns(2) refuses the caller's own user namespace, and its own others where CAP_SYS_ADMIN is missing.
        return Ok(None);
    }
    Ok(Some(Opened { kind, fd, object }))
}

/// Checks that `fd` is a namespace of this kind; the error says what it is instead.
pub(super) fn check_kind(fd: &OwnedFd, kind: Kind) -> std::result::Result<(), String> {
    let wanted = kind.spec_name();
    let magic = fstatfs(fd).map_err(|errno| errno.desc().to_owned())?;
    if magic.filesystem_type() != NSFS_MAGIC {
        return Err(format!("is no namespace, wanted a {wanted} namespace"));
    }
    let found = namespace_type(fd.as_fd()).map_err(|errno| errno.desc().to_owned())?;
    if found == kind.flag() {
        return Ok(());
    }
    Err(match Kind::of_flag(found) {
        Some(kind) => format!(
            "is a {} namespace, wanted a {wanted} namespace",
            kind.spec_name()
        ),
        None => format!("is a namespace of an unknown type, wanted a {wanted} namespace"),
    })
}
