//! `process.user`: who the process is.

use crate::error::{Code, Context, Error, Problems, Result};
use crate::host::Host;
use crate::namespaces::{self, IdMap, Kind};
use crate::sys::fd;
use crate::sys::namespace::{set_group, set_user};
use crate::testing::without::{Defence, without};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, fstat, major, umask};
use nix::unistd::{Gid, Uid, fchown, geteuid, setgroups};
use oci_spec::runtime::{Spec, User};

/// crun's annotation that keeps the caller's supplementary groups.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// The umask where the config has none, as runc and crun set it: casulo's caller may have any.
const DEFAULT_UMASK: u32 = 0o022;

/// Identity of the process, as numbered inside its user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
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
pub enum Groups {
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
/// Problems: an id that the map of the new user namespace does not have, additional groups where
/// setgroups(2) is denied, a umask of more than nine bits.
pub fn plan(
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
    if !keep {
        for (index, gid) in additional.iter().enumerate() {
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
    pub fn assume(&self) -> Result<()> {
        umask(Mode::from_bits_truncate(self.umask));
        self.set_groups()?;
        set_group(self.gid).map_err(|errno| self.refused("gid", self.gid, errno))?;
        set_user(self.uid).map_err(|errno| self.refused("uid", self.uid, errno))
    }

    fn set_groups(&self) -> Result<()> {
        match &self.groups {
            Groups::Keep => Ok(()),
            Groups::Drop => match setgroups(&[]) {
                // A joined or outer user namespace that denies setgroups(2): nobody inside can drop
                // groups there, and the config asks for none.
                Err(Errno::EPERM) if self.userns => {
                    log::debug!("the caller's groups stay: the user namespace denies setgroups");
                    Ok(())
                }
                result => result.context(Code::Process, "drop the caller's groups", ""),
            },
            Groups::Set(gids) => {
                let list: Vec<Gid> = gids.iter().copied().map(Gid::from_raw).collect();
                setgroups(&list).context(
                    Code::Process,
                    "set the additional groups",
                    format_args!("{gids:?}"),
                )
            }
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
    pub fn own_stdio(&self) -> Result<()> {
        let (me, user) = (geteuid(), Uid::from_raw(self.uid));
        if me == user {
            return Ok(());
        }
        for number in 0..=2 {
            let fd = fd::inherited(number);
            let Ok(stat) = fstat(fd) else { continue };
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
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
mod tests {
    use super::*;
    use crate::process::fixtures::{spec, status_line};
    use crate::skip;
    use crate::sys::forked::words_of_child;

    fn planned(
        json: &str,
        annotations: &str,
        ns: &namespaces::Plan,
        host: &Host,
    ) -> (Identity, Option<String>) {
        let user: User = serde_json::from_str(json).expect("a user");
        let spec = spec(&format!(
            r#"{{"ociVersion":"1.3.0","annotations":{annotations}}}"#
        ));
        let mut problems = Problems::default();
        let plan = plan(&user, &spec, ns, host, "process.user", &mut problems);
        (
            plan,
            problems.into_result("c").err().map(|it| it.to_string()),
        )
    }

    fn userns(map: &[(u32, u32, u32)]) -> namespaces::Plan {
        let map: Vec<IdMap> = map
            .iter()
            .map(|(inside, outside, count)| IdMap {
                inside: *inside,
                outside: *outside,
                count: *count,
            })
            .collect();
        namespaces::Plan {
            new: vec![Kind::User],
            uid_map: map.clone(),
            gid_map: map,
            ..Default::default()
        }
    }

    fn rootless() -> Host {
        Host {
            euid: 1000,
            rootless: true,
            egid: 1000,
            effective: 0,
            ..Host::of_root()
        }
    }

    #[test]
    fn the_umask_is_022_unless_given() {
        let none = namespaces::Plan::default();
        let (plan, _) = planned(r#"{"uid":1,"gid":2}"#, "{}", &none, &Host::of_root());
        assert_eq!((plan.uid, plan.gid, plan.umask), (1, 2, 0o022));
        assert_eq!(plan.groups, Groups::Drop);
        let (plan, _) = planned(
            r#"{"uid":1,"gid":2,"umask":63}"#,
            "{}",
            &none,
            &Host::of_root(),
        );
        assert_eq!(plan.umask, 0o077);
        let (_, error) = planned(
            r#"{"uid":1,"gid":2,"umask":512}"#,
            "{}",
            &none,
            &Host::of_root(),
        );
        assert_eq!(
            error.as_deref(),
            Some("c: process.user.umask: 512 is above 511 (octal 777)")
        );
    }

    #[test]
    fn unmapped_ids_are_problems_that_name_id_and_map() {
        let ns = userns(&[(0, 100_000, 10), (20, 100_020, 5)]);
        let (_, error) = planned(
            r#"{"uid":10,"gid":24,"additionalGids":[9,25]}"#,
            "{}",
            &ns,
            &Host::of_root(),
        );
        assert_eq!(
            error.expect("two problems"),
            "c: process.user.uid: uid 10 is not mapped in the user namespace, which has 0-9, 20-24; \
             process.user.additionalGids[1]: gid 25 is not mapped in the user namespace, which has 0-9, 20-24"
        );
        let all = userns(&[(0, 0, u32::MAX)]);
        assert_eq!(
            planned(
                r#"{"uid":4294967294,"gid":0}"#,
                "{}",
                &all,
                &Host::of_root()
            )
            .1,
            None
        );
    }

    #[test]
    fn a_joined_user_namespace_is_left_to_the_kernel() {
        let joined = namespaces::Plan {
            join: vec![namespaces::Join {
                kind: Kind::User,
                path: "/proc/1/ns/user".into(),
                index: 0,
            }],
            ..Default::default()
        };
        let (plan, error) = planned(r#"{"uid":77,"gid":77}"#, "{}", &joined, &Host::of_root());
        assert_eq!((plan.userns, error), (true, None));
    }

    #[test]
    fn additional_groups_need_setgroups() {
        let own = userns(&[(0, 1000, 1)]);
        let user = r#"{"uid":0,"gid":0,"additionalGids":[0]}"#;
        let (plan, error) = planned(user, "{}", &own, &rootless());
        assert_eq!(plan.groups, Groups::Keep);
        assert!(
            error.is_some_and(|it| it.contains("process.user.additionalGids: ")
                && it.contains("denies setgroups"))
        );
        // newgidmap writes a range and leaves setgroups allowed.
        let range = userns(&[(0, 1000, 1), (1, 100_000, 65536)]);
        let (plan, error) = planned(user, "{}", &range, &rootless());
        assert_eq!((plan.groups, error), (Groups::Set(vec![0]), None));
        let none = r#"{"uid":0,"gid":0}"#;
        assert_eq!(
            planned(none, "{}", &own, &rootless()).0.groups,
            Groups::Keep
        );
        assert_eq!(
            planned(none, "{}", &own, &Host::of_root()).0.groups,
            Groups::Drop
        );
    }

    #[test]
    fn the_annotation_keeps_the_callers_groups() {
        let none = namespaces::Plan::default();
        let user = r#"{"uid":0,"gid":0,"additionalGids":[7]}"#;
        let rows = [
            (r#"{"run.oci.keep_original_groups":"1"}"#, Groups::Keep),
            (
                r#"{"run.oci.keep_original_groups":"0"}"#,
                Groups::Set(vec![7]),
            ),
            ("{}", Groups::Set(vec![7])),
        ];
        for (annotations, groups) in rows {
            assert_eq!(
                planned(user, annotations, &none, &Host::of_root()).0.groups,
                groups
            );
        }
    }

    #[test]
    fn the_child_becomes_the_user_with_groups_and_umask() {
        if skip::unless_root() {
            return;
        }
        let identity = Identity {
            uid: 1234,
            gid: 2345,
            groups: Groups::Set(vec![5, 6]),
            umask: 0o027,
            userns: false,
        };
        let result = words_of_child(|| {
            let (read, write) = nix::unistd::pipe().expect("a pipe");
            nix::unistd::dup2_stdout(&write).expect("dup");
            identity.own_stdio()?;
            let stat = fstat(&read).expect("stat");
            let owner = format!("{}:{}", stat.st_uid, stat.st_gid);
            identity.assume()?;
            let lines = ["Uid", "Gid", "Groups", "Umask"].map(status_line);
            Ok(format!("{owner} {}", lines.join("|")))
        });
        assert_eq!(
            result,
            "1234:2345 1234\t1234\t1234\t1234|2345\t2345\t2345\t2345|5 6|0027"
        );
    }

    #[test]
    fn an_id_that_the_kernel_refuses_is_named() {
        if skip::unless_root() {
            return;
        }
        let identity = Identity {
            uid: u32::MAX,
            gid: 5,
            groups: Groups::Drop,
            umask: 0,
            userns: true,
        };
        // In a user namespace without a map no id is mapped.
        let result = words_of_child(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).expect("a user namespace");
            identity.assume().map(|()| String::new())
        });
        assert_eq!(
            result,
            "become gid 5: gid 5 is not mapped in the user namespace: invalid argument"
        );
    }
}
