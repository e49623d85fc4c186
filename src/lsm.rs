//! `process.apparmorProfile` and `process.selinuxLabel`: the labels that confine the process from its execve(2) on.
//!
//! Plan: parent, pure. Apply: child, through a trusted procfs. A write to a faked /proc would leave the process
//! unconfined (CVE-2019-16884, CVE-2025-52881). The child opens the files before the change of user: after that the
//! files of its own /proc directory belong to another user.

use crate::defence::{Defence, without};
use crate::error::{Code, Error, Problems, Result};
use crate::host::Host;
use crate::procfs::ProcFs;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::uio::pwrite;
use oci_spec::runtime::Process;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The labels of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The name of an AppArmor profile that is loaded on the host.
    pub apparmor: Option<String>,
    /// An SELinux label, `user:role:type:level`.
    pub selinux: Option<String>,
}

/// Turns the config's labels into a plan. `path` is the JSON path of the process. An empty string is no label.
///
/// A profile or label on a host without that LSM is a problem, because the process would run unconfined. `unconfined`
/// asks for just that and needs no AppArmor.
pub(crate) fn plan(process: &Process, host: &Host, path: &str, problems: &mut Problems) -> Plan {
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

/// The files of a process's own labels, open for writing. They are descriptors of the host's procfs, so they are
/// closed before the process can be seen in a container.
#[derive(Debug, Default)]
pub(crate) struct Files {
    selinux_exec: Option<OwnedFd>,
    selinux_keycreate: Option<OwnedFd>,
    /// The file, and its path below /proc for errors.
    apparmor_exec: Option<(OwnedFd, &'static str)>,
}

const EXEC: &str = "self/attr/exec";
const APPARMOR_EXEC: &str = "self/attr/apparmor/exec";
const KEYCREATE: &str = "self/attr/keycreate";

impl Plan {
    /// Child: opens the files that [`Plan::set_for_exec`] and [`Plan::label_keyring`] write, through `proc`, a
    /// trusted procfs of the child's pid namespace.
    ///
    /// # Errors
    /// E_LSM, with the file in back-quotes: by these callers recognise an error about a security attribute.
    pub(crate) fn open(&self, proc: &ProcFs) -> Result<Files> {
        let mut files = Files::default();
        let open = |file| proc.open_for_writing(file);
        if let Some(label) = &self.selinux {
            let refused = |file| move |errno| refused(file, label, errno);
            files.selinux_exec = Some(open(EXEC).map_err(refused(EXEC))?);
            files.selinux_keycreate = Some(open(KEYCREATE).map_err(refused(KEYCREATE))?);
        }
        if let Some(profile) = &self.apparmor {
            // If several LSMs are stacked, attr/exec belongs to the first of them. AppArmor has a directory of its
            // own since Linux 5.8.
            let (file, opened) = match open(APPARMOR_EXEC) {
                Err(Errno::ENOENT) => (EXEC, open(EXEC)),
                opened => (APPARMOR_EXEC, opened),
            };
            let fd = opened.map_err(|errno| refused(file, &change(profile), errno))?;
            files.apparmor_exec = Some((fd, file));
        }
        Ok(files)
    }

    /// Child: sets the labels for the next execve. They confine hooks that the child runs before it too.
    ///
    /// # Errors
    /// E_LSM, as [`Plan::open`].
    pub(crate) fn set_for_exec(&self, files: &Files) -> Result<()> {
        if let (Some(label), Some(file)) = (&self.selinux, &files.selinux_exec) {
            write(file, EXEC, label)?;
        }
        if let (Some(profile), Some((file, name))) = (&self.apparmor, &files.apparmor_exec) {
            write(file, name, &change(profile))?;
        }
        Ok(())
    }

    /// Child: runs `make`, which makes a keyring, so that the keyring gets the SELinux label of the process.
    ///
    /// # Errors
    /// E_LSM, or the error of `make`.
    pub(crate) fn label_keyring(
        &self,
        files: &Files,
        make: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (Some(label), Some(file)) = (&self.selinux, &files.selinux_keycreate) else {
            return make();
        };
        write(file, KEYCREATE, label)?;
        make()?;
        // No other key is to have the label. An empty write resets the attribute.
        write(file, KEYCREATE, "")
    }
}

/// Returns the text by which AppArmor changes the profile at execve.
fn change(profile: &str) -> String {
    format!("exec {profile}")
}

/// Writes `value` in one write(2) from the file's beginning, as the kernel demands.
fn write(file: &OwnedFd, name: &str, value: &str) -> Result<()> {
    let in_container;
    let file = match without(Defence::PrivateProc) {
        false => file,
        true => {
            let path = Path::new("/proc").join(name);
            let opened = open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
            in_container = opened.map_err(|errno| refused(name, value, errno))?;
            &in_container
        }
    };
    match pwrite(file, value.as_bytes(), 0) {
        Ok(length) if length == value.len() => Ok(()),
        Ok(_) => Err(refused(name, value, Errno::EIO)),
        Err(errno) => Err(refused(name, value, errno)),
    }
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
    use crate::process::fixtures::process;
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
            &Host::of_root(),
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
            &Host::of_root(),
        );
        assert_eq!((plan, error), (Plan::default(), None));
    }

    #[test]
    fn an_enabled_lsm_takes_the_label() {
        let both = Host {
            apparmor: true,
            selinux: true,
            ..Host::of_root()
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
            no_lsm_knows_this.set_for_exec(&no_lsm_knows_this.open(&proc)?)?;
            Ok(String::new())
        });
        assert!(
            error.contains("`/proc/self/attr/") && error.contains("exec`: "),
            "{error}"
        );
    }
}
