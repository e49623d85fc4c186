//! `process.apparmorProfile` and `process.selinuxLabel`: what the process is confined by from its
//! execve(2) on.
//!
//! Plan: parent, pure. Apply: child, through a trusted procfs (a write to a faked /proc would leave
//! the process unconfined: CVE-2019-16884, CVE-2025-52881), before the change of user, after which
//! the files of its own /proc folder belong to somebody else.

use crate::error::{Code, Error, Problems, Result};
use crate::host::Host;
use crate::sys::procfs::ProcFs;
use nix::errno::Errno;
use oci_spec::runtime::Process;

/// The labels of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Name of an AppArmor profile that is loaded on the host.
    pub apparmor: Option<String>,
    /// SELinux label, `user:role:type:level`.
    pub selinux: Option<String>,
}

/// Decides the labels. `path` is the JSON path of the process. An empty string is no label.
///
/// A profile or label on a host without that LSM is a problem: the process would run unconfined.
/// `unconfined` asks for just that and needs no AppArmor.
pub fn plan(process: &Process, host: &Host, path: &str, problems: &mut Problems) -> Plan {
    let mut given = |value: &Option<String>, field: &str, lsm: &str, enabled: bool| {
        let value = value.clone().filter(|it| !it.is_empty())?;
        if value.contains('\0') {
            problems.add(format!("{path}.{field}"), "contains a NUL byte");
        } else if !enabled {
            problems.add(
                format!("{path}.{field}"),
                format!("{value:?} cannot be applied: {lsm} is not enabled on this host"),
            );
        }
        Some(value)
    };
    let profile = process.apparmor_profile();
    let unconfined = profile.as_deref() == Some("unconfined") && !host.apparmor;
    Plan {
        apparmor: if unconfined {
            None
        } else {
            given(profile, "apparmorProfile", "AppArmor", host.apparmor)
        },
        selinux: given(
            process.selinux_label(),
            "selinuxLabel",
            "SELinux",
            host.selinux,
        ),
    }
}

impl Plan {
    /// Child: the labels that the next execve takes on. Hooks that the child runs before it are
    /// confined likewise.
    ///
    /// # Errors
    /// E_LSM, with the file in back-quotes: callers recognise that as a security attribute's error.
    pub fn set_for_exec(&self, proc: &ProcFs) -> Result<()> {
        if let Some(label) = &self.selinux {
            write(proc, "self/attr/exec", label)?;
        }
        if let Some(profile) = &self.apparmor {
            let command = format!("exec {profile}");
            // Where several LSMs are stacked, attr/exec belongs to the first and AppArmor has a
            // folder of its own, since Linux 5.8.
            match proc.write("self/attr/apparmor/exec", command.as_bytes()) {
                Err(Errno::ENOENT) => write(proc, "self/attr/exec", &command)?,
                result => {
                    result.map_err(|errno| refused("self/attr/apparmor/exec", &command, errno))?
                }
            }
        }
        Ok(())
    }

    /// Child: runs `make`, which makes a keyring, such that the keyring has the SELinux label of
    /// the process.
    ///
    /// # Errors
    /// E_LSM, or what `make` returns.
    pub fn label_keyring(
        &self,
        proc: Option<&ProcFs>,
        make: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        const FILE: &str = "self/attr/keycreate";
        let (Some(label), Some(proc)) = (&self.selinux, proc) else {
            return make();
        };
        write(proc, FILE, label)?;
        make()?;
        // The keyring is the only key that is to have it. An empty write resets the attribute.
        write(proc, FILE, "")
    }
}

fn write(proc: &ProcFs, file: &str, value: &str) -> Result<()> {
    proc.write(file, value.as_bytes())
        .map_err(|errno| refused(file, value, errno))
}

fn refused(file: &str, value: &str, errno: Errno) -> Error {
    let error = Error::step(
        Code::Lsm,
        format!("write {value:?} to"),
        format!("`/proc/{file}`"),
        errno,
    );
    match errno {
        Errno::ENOENT if value.starts_with("exec ") => {
            error.hint("load the profile with apparmor_parser")
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fixtures::{host, process};
    use crate::skip;
    use crate::sys::forked::words_of_child;

    fn planned(json: &str, host: &Host) -> (Plan, Option<String>) {
        let mut problems = Problems::default();
        let plan = plan(&process(json), host, "process", &mut problems);
        let error = problems.into_result("c").err();
        (plan, error.map(|it| it.to_string()))
    }

    #[test]
    fn a_label_needs_its_lsm() {
        let (_, error) = planned(
            r#"{"apparmorProfile":"docker-default","selinuxLabel":"a:b:c:d"}"#,
            &host(),
        );
        assert_eq!(
            error.expect("neither is enabled"),
            "c: process.apparmorProfile: \"docker-default\" cannot be applied: AppArmor is not enabled on this host; \
             process.selinuxLabel: \"a:b:c:d\" cannot be applied: SELinux is not enabled on this host"
        );
    }

    #[test]
    fn empty_labels_and_unconfined_need_nothing() {
        let (plan, error) = planned(
            r#"{"apparmorProfile":"unconfined","selinuxLabel":""}"#,
            &host(),
        );
        assert_eq!((plan, error), (Plan::default(), None));
    }

    #[test]
    fn an_enabled_lsm_takes_the_label() {
        let both = Host {
            apparmor: true,
            selinux: true,
            ..host()
        };
        let (plan, error) = planned(
            r#"{"apparmorProfile":"unconfined","selinuxLabel":"a:b:c:d"}"#,
            &both,
        );
        assert_eq!(error, None);
        assert_eq!(plan.apparmor.as_deref(), Some("unconfined"));
        assert_eq!(plan.selinux.as_deref(), Some("a:b:c:d"));
    }

    #[test]
    fn a_refused_write_names_the_file_in_back_quotes() {
        if skip::unless_root() {
            return;
        }
        let no_lsm_knows_this = Plan {
            apparmor: Some("no such profile".to_owned()),
            selinux: None,
        };
        let error = words_of_child(|| {
            let proc = ProcFs::host().expect("a procfs");
            no_lsm_knows_this.set_for_exec(&proc)?;
            Ok(String::new())
        });
        assert!(
            error.contains("`/proc/self/attr/") && error.contains("exec`: "),
            "{error}"
        );
    }
}
