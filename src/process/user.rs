//! `process.user`: who the process is.

use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::host::Host;
use crate::namespaces::{self, IdMap, Kind};
use crate::sys::fd;
use crate::sys::namespace::{set_group, set_groups, set_user};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, fstat, major, umask};
use nix::unistd::{Gid, Uid, fchown, geteuid};
use oci_spec::runtime::{Spec, User};

/// crun's annotation that keeps the caller's supplementary groups.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// The umask where the config has none, as runc and crun set it: casulo's caller may have any.
const DEFAULT_UMASK: u32 = 0o022;

/// Identity of the process, as numbered inside its user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Groups,
    /// File mode creation mask.
    pub umask: u32,
    /// Whether the ids are those of a user namespace, for the error text.
    pub userns: bool,
}

/// What becomes of the supplementary groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Groups {
    /// The caller's stay: asked for by an annotation, or the user namespace denies setgroups(2).
    #[default]
    Keep,
    /// The caller's go, and there are no others.
    Drop,
    /// The caller's go, these come.
    Set(Vec<u32>),
}

/// Decides the identity. `path` is the JSON path of `user`.
///
/// Problems: an id that is nobody's, an id that the map of the new user namespace does not have, additional
/// groups where setgroups(2) is denied, a umask of more than nine bits.
pub(crate) fn plan(
    user: &User,
    spec: &Spec,
    ns: &namespaces::Plan,
    host: &Host,
    path: &str,
    problems: &mut Problems,
) -> Identity {
    let umask = user.umask().unwrap_or(DEFAULT_UMASK);
    if umask > 0o777 {
        problems.add(
            format!("{path}.umask"),
            format!("{umask} is above 511 (octal 777)"),
        );
    }
    let mut mapped = |id: u32, map: &[IdMap], what: &str, field: String| {
        if id == namespaces::NO_ID {
            namespaces::check_id(id, || format!("{path}.{field}"), problems);
            return;
        }
        // Without a map here the user namespace is the caller's or a joined one; the kernel knows.
        if !map.is_empty() && namespaces::outside_of(map, id).is_none() {
            problems.add(
                format!("{path}.{field}"),
                format!(
                    "{what} {id} is not mapped in the user namespace, which has {}",
                    text(map)
                ),
            );
        }
    };
    mapped(user.uid(), &ns.uid_map, "uid", "uid".to_owned());
    mapped(user.gid(), &ns.gid_map, "gid", "gid".to_owned());
    let additional = user.additional_gids().clone().unwrap_or_default();
    let keep = spec
        .annotations()
        .as_ref()
        .and_then(|all| all.get(KEEP_GROUPS))
        .is_some_and(|value| value != "0");
    for (index, gid) in additional.iter().enumerate() {
        if !keep || *gid == namespaces::NO_ID {
            mapped(*gid, &ns.gid_map, "gid", format!("additionalGids[{index}]"));
        }
    }
    let denied = ns.denies_setgroups(host);
    if denied && !keep && !additional.is_empty() {
        problems.add(
            format!("{path}.additionalGids"),
            "an unprivileged caller's user namespace that maps its own group alone denies setgroups: \
             give it a range of groups (newgidmap), or no additional groups",
        );
    }
    Identity {
        uid: user.uid(),
        gid: user.gid(),
        groups: match (keep || denied, additional.is_empty()) {
            (true, _) => Groups::Keep,
            (false, true) => Groups::Drop,
            (false, false) => Groups::Set(additional),
        },
        umask,
        userns: ns.has(Kind::User) || host.in_user_namespace,
    }
}

fn text(map: &[IdMap]) -> String {
    let ranges: Vec<String> = map
        .iter()
        .map(|it| {
            let last = u64::from(it.inside) + u64::from(it.count).saturating_sub(1);
            format!("{}-{last}", it.inside)
        })
        .collect();
    ranges.join(", ")
}

impl Identity {
    /// Child: groups, then gid, then uid: afterwards CAP_SETGID is gone. Sets the umask, too.
    ///
    /// # Errors
    /// E_PROCESS; EINVAL for an id that is not mapped.
    pub(crate) fn assume(&self) -> Result<()> {
        umask(Mode::from_bits(self.umask).expect("nine bits, as the plan has checked"));
        self.set_groups()?;
        set_group(self.gid).map_err(|errno| self.refused("gid", self.gid, errno))?;
        set_user(self.uid).map_err(|errno| self.refused("uid", self.uid, errno))
    }

    /// Whether [`Identity::assume`] makes somebody else of root.
    pub(crate) fn changes_ids(&self) -> bool {
        (self.uid, self.gid) != (0, 0)
    }

    /// An entrant, before it joins a user namespace that may deny setgroups(2): drops the caller's supplementary
    /// groups, unless they are to stay.
    ///
    /// # Errors
    /// E_PROCESS
    pub(crate) fn leave_callers_groups(&self) -> Result<()> {
        if self.groups == Groups::Keep {
            return Ok(());
        }
        match set_groups(&[]) {
            // A caller without privileges.
            Err(Errno::EPERM) => Ok(()),
            result => result.context(Code::Process, "drop the caller's groups", ""),
        }
    }

    fn set_groups(&self) -> Result<()> {
        match &self.groups {
            Groups::Keep => Ok(()),
            Groups::Drop => match set_groups(&[]) {
                // A joined or outer user namespace that denies setgroups(2): nobody inside can drop
                // groups there, and the config asks for none.
                Err(Errno::EPERM) if self.userns => {
                    log::debug!("the caller's groups stay: the user namespace denies setgroups");
                    Ok(())
                }
                result => result.context(Code::Process, "drop the caller's groups", ""),
            },
            Groups::Set(gids) => set_groups(gids).context(
                Code::Process,
                "set the additional groups",
                format_args!("{gids:?}"),
            ),
        }
    }

    fn refused(&self, kind: &str, id: u32, errno: Errno) -> Error {
        let error = Error::step(
            Code::Process,
            format!("become {kind}"),
            id.to_string(),
            errno,
        );
        if errno == Errno::EINVAL && self.userns {
            return error.because(format!("{kind} {id} is not mapped in the user namespace"));
        }
        error
    }

    /// Child, still root: gives fds 0 to 2 to the user and group where they are pipes, sockets or terminals
    /// of our own, so that the process can open them again as /dev/stdout. Files stay whose they
    /// are, and so does everything that is not the child's (CVE-2026-88265).
    ///
    /// # Errors
    /// E_PROCESS for an fchown(2) that fails though the object is ours.
    pub(crate) fn own_stdio(&self) -> Result<()> {
        let (me, user) = (geteuid(), Uid::from_raw(self.uid));
        if me == user {
            return Ok(());
        }
        for (number, fd) in fd::STREAMS.into_iter().enumerate() {
            let Ok(stat) = fstat(fd) else { continue };
            let kind = SFlag::from_bits_retain(stat.st_mode & libc::S_IFMT);
            let ours = match kind {
                SFlag::S_IFIFO | SFlag::S_IFSOCK => true,
                SFlag::S_IFCHR => is_terminal(major(stat.st_rdev)),
                _ => without(Defence::OwnStdio),
            };
            if !ours || stat.st_uid != me.as_raw() {
                continue;
            }
            // A terminal stays in the group tty, whose programs may write to it.
            let group = (kind != SFlag::S_IFCHR).then_some(Gid::from_raw(self.gid));
            match fchown(fd, Some(user), group) {
                // A read-only /dev, or an object of the host's user namespace that only looks like ours.
                Ok(()) | Err(Errno::EROFS | Errno::EPERM) => {}
                Err(errno) => {
                    return Err(errno).context(
                        Code::Process,
                        "change the owner of standard stream",
                        number,
                    );
                }
            }
        }
        Ok(())
    }
}

/// Major numbers of terminals, Documentation/admin-guide/devices.txt: consoles and serial lines (4, 5)
/// and the slaves of pseudoterminals (136 to 143).
fn is_terminal(major: u64) -> bool {
    matches!(major, 4 | 5 | 136..=143)
}

#[cfg(test)]
mod tests;
