//! The container's own session keyring: without one the process would possess whatever keys the
//! caller of casulo has in its session, keyrings(7).

use crate::error::{Code, Context, Result};
use crate::lsm;
use crate::namespaces::{self, Kind};
use crate::sys::keyctl;
use nix::errno::Errno;
use std::ffi::{CStr, CString};

/// All rights for who possesses the keyring; view, read and link for its owner: what the kernel gives
/// a new session keyring.
const NEW_KEYRING: u32 = 0x3f00_0000 | 0x0013_0000;
/// KEY_USR_SEARCH: a later process of the container joins the keyring by name, which takes search.
const OWNER_SEARCH: u32 = 0x0008_0000;
/// KEY_OTH_SEARCH: the same across a user namespace, where that process may not be its owner.
const OTHERS_SEARCH: u32 = 0x0000_0008;

/// Which keyring is joined, and who else may search it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyring {
    /// `_ses.` and the container's id, the name runc uses; exec finds it by that.
    pub name: CString,
    /// `KEY_*` permission bits.
    pub permissions: u32,
}

/// Decides the keyring of the container `id`.
pub(crate) fn plan(id: &str, ns: &namespaces::Plan) -> Keyring {
    let name = CString::new(format!("_ses.{id}")).expect("an id has no NUL");
    let search = if ns.has(Kind::User) {
        OTHERS_SEARCH
    } else {
        OWNER_SEARCH
    };
    Keyring {
        name,
        permissions: NEW_KEYRING | search,
    }
}

impl Keyring {
    /// Child, as root of its user namespace: joins or makes the keyring, with the SELinux label of
    /// the process.
    ///
    /// A kernel without keyrings (ENOSYS) and a filter around casulo that denies keyctl(2) (EPERM)
    /// are warned of. EDQUOT is an error: whoever fills up the quota would otherwise make later
    /// containers share the caller's keys.
    ///
    /// # Errors
    /// E_PROCESS; EDQUOT, or EACCES for a keyring of that name that belongs to somebody else.
    pub(crate) fn join(&self, labels: &lsm::Plan, files: &lsm::Files) -> Result<()> {
        labels.label_keyring(files, || match keyctl::join_session_keyring(&self.name) {
            Ok(keyring) => keyctl::set_permissions(keyring, self.permissions).context(
                Code::Process,
                "set the permissions of the session keyring",
                text(&self.name),
            ),
            Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => {
                log::info!("the process keeps its caller's session keyring: {errno}");
                Ok(())
            }
            Err(errno) => Err(errno)
                .context(Code::Process, "join the session keyring", text(&self.name))
                .map_err(|error| match errno {
                    Errno::EDQUOT => error.hint(
                        "raise /proc/sys/kernel/keys/maxkeys, or use --no-new-keyring to share the caller's keyring",
                    ),
                    _ => error,
                }),
        })
    }
}

fn text(name: &CStr) -> std::borrow::Cow<'_, str> {
    name.to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::forked::words_of_child;

    #[test]
    fn the_keyring_is_named_after_the_container() {
        let userns = namespaces::Plan {
            new: vec![Kind::User],
            ..Default::default()
        };
        let plain = plan("web1", &namespaces::Plan::default());
        assert_eq!(plain.name.as_c_str(), c"_ses.web1");
        assert_eq!(plain.permissions, 0x3f1b_0000);
        assert_eq!(plan("web1", &userns).permissions, 0x3f13_0008);
    }

    #[test]
    fn the_process_gets_a_keyring_of_its_own() {
        let result = words_of_child(|| {
            let name = format!("casulo-test-{}", std::process::id());
            plan(&name, &namespaces::Plan::default())
                .join(&lsm::Plan::default(), &lsm::Files::default())?;
            let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
            let line = keys.lines().find(|it| it.contains(&name)).unwrap_or("");
            Ok(line
                .split_whitespace()
                .nth(4)
                .unwrap_or("no keyrings here")
                .to_owned())
        });
        match result.as_str() {
            "no keyrings here" => crate::skip::because(result),
            result => assert_eq!(result, "3f1b0000"),
        }
    }
}
