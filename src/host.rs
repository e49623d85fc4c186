//! What the host offers, asked once, so that [`crate::plan`] stays pure. Runs in the parent.

mod cgroup;

pub use cgroup::CgroupMount;
pub(crate) use cgroup::{mount_of_host, path_in};

use crate::error::{Code, Context, Error, Result};
use crate::sys::host::bounding_has;
use crate::sys::stat::inode;
use caps::Capability;
use cgroup::own_cgroup;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, stat};
use nix::sys::statfs::{SELINUX_MAGIC, statfs};
use nix::sys::utsname::uname;
use nix::unistd::read;
use oci_spec::runtime::Spec;
use std::path::PathBuf;

/// The inode of the initial user namespace on every boot: `USER_NS_INIT_INO` of linux/nsfs.h.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Facts about the host and about the caller. Made by [`Host::ask`], or by hand in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Effective uid of casulo.
    pub euid: u32,
    /// Effective gid of casulo.
    pub egid: u32,
    /// Effective capabilities of casulo, bit n for capability number n.
    pub effective: u64,
    /// Bounding set of casulo.
    pub bounding: u64,
    /// Signals that casulo ignores, bit n-1 for signal number n: the caller's, and SIGPIPE.
    pub ignored_signals: u64,
    /// Number of the last capability the kernel knows (`/proc/sys/kernel/cap_last_cap`).
    pub last_cap: u8,
    /// casulo acts for somebody who is not the host's root: an ordinary user, or root of a user
    /// namespace only; or `--rootless` says so.
    pub rootless: bool,
    /// casulo itself runs in a user namespace that is not the initial one.
    pub in_user_namespace: bool,
    /// Where the cgroup v2 hierarchy is mounted, if it is, and what it offers.
    pub cgroup: Option<CgroupMount>,
    /// `XDG_RUNTIME_DIR`, or where it usually is.
    pub runtime_dir: PathBuf,
    /// Kernel release as (major, minor).
    pub kernel: (u32, u32),
    /// AppArmor is enabled. False also if [`Host::ask`] was given a config that names no profile.
    pub apparmor: bool,
    /// SELinux is enabled. False also if [`Host::ask`] was given a config that names no label.
    pub selinux: bool,
}

impl Host {
    /// Asks the kernel, with as few system calls as the answers take. With `spec`, what that config
    /// has no use for is not asked (AppArmor, SELinux); without one, everything is. A caller that
    /// runs another process than the config's (exec) passes a spec that holds that process.
    ///
    /// # Errors
    /// E_UNSUPPORTED where /proc is not mounted or does not say what Linux says there.
    pub(crate) fn ask(spec: Option<&Spec>, claim: Option<bool>) -> Result<Host> {
        let status = Status::of_self()?;
        let release = uname().context(Code::Unsupported, "uname", "")?;
        let in_user_namespace = in_user_namespace();
        let rootless = claim.unwrap_or(status.euid != 0 || in_user_namespace);
        let mut cgroup = mount_of_host();
        if let Some(mount) = &mut cgroup
            && rootless
        {
            mount.own = own_cgroup();
        }
        let (apparmor, selinux) = match spec {
            None => (true, true),
            Some(spec) => wanted_labels(spec),
        };
        Ok(Host {
            euid: status.euid,
            egid: status.egid,
            effective: status.effective,
            bounding: status.bounding,
            ignored_signals: status.ignored,
            last_cap: last_cap(status.bounding)?,
            rootless,
            in_user_namespace,
            cgroup,
            runtime_dir: runtime_dir(status.euid),
            kernel: parse_release(&release.release().to_string_lossy()),
            apparmor: apparmor && apparmor_is_enabled(),
            selinux: selinux && selinux_is_enabled(),
        })
    }

    /// True if casulo has `capability` in effect.
    pub(crate) fn has_capability(&self, capability: Capability) -> bool {
        self.effective & capability.bitmask() != 0
    }
}

/// What `/proc/self/status` says in one read; single calls would be cheaper each but dozens, since
/// the bounding set has no system call that returns all of it.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    euid: u32,
    egid: u32,
    effective: u64,
    bounding: u64,
    ignored: u64,
}

impl Status {
    fn of_self() -> Result<Status> {
        let path = "/proc/self/status";
        let fd = openat(
            AT_FDCWD,
            path,
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .context(Code::Unsupported, "open", path)?;
        // About 1500 bytes, which procfs hands out in one piece.
        let mut buffer = [0; 8192];
        let length = read(&fd, &mut buffer).context(Code::Unsupported, "read", path)?;
        Status::parse(buffer.get(..length).unwrap_or_default()).ok_or_else(|| {
            Error::new(
                Code::Unsupported,
                format!("{path} lacks Uid, Gid, SigIgn, CapEff or CapBnd"),
            )
        })
    }

    fn parse(text: &[u8]) -> Option<Status> {
        // The name of the process, alone, may be no UTF-8.
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut field = |name: &str| {
            let value = lines.find_map(|line| line.strip_prefix(name.as_bytes()))?;
            str::from_utf8(value).ok()
        };
        // Uid and Gid are followed by the real, effective, saved and file system id.
        let id = |value: &str| value.split('\t').nth(1)?.parse().ok();
        let set = |value| u64::from_str_radix(value, 16).ok();
        // In the order of the file.
        Some(Status {
            euid: id(field("Uid:\t")?)?,
            egid: id(field("Gid:\t")?)?,
            ignored: set(field("SigIgn:\t")?)?,
            effective: set(field("CapEff:\t")?)?,
            bounding: set(field("CapBnd:\t")?)?,
        })
    }
}

/// The last capability that the kernel knows: almost always the highest one of the bounding set,
/// which one call confirms.
fn last_cap(bounding: u64) -> Result<u8> {
    let highest = bounding.checked_ilog2().unwrap_or(0);
    let mut last = u8::try_from(highest).expect("below 64");
    while last < 63 {
        match bounding_has(last + 1) {
            Ok(_) => last += 1,
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno).context(Code::Unsupported, "prctl", "PR_CAPBSET_READ"),
        }
    }
    Ok(last)
}

/// An empty variable counts as unset: Podman sets it so.
fn runtime_dir(euid: u32) -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        Some(directory) => directory.into(),
        None => PathBuf::from(format!("/run/user/{euid}")),
    }
}

/// Major and minor number of a release like `6.18.44-generic`; what cannot be read counts as 0.
fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether the config names an AppArmor profile, and an SELinux label.
fn wanted_labels(spec: &Spec) -> (bool, bool) {
    let named = |label: Option<&String>| label.is_some_and(|it| !it.is_empty());
    let process = spec.process().as_ref();
    let linux = spec.linux().as_ref();
    (
        named(process.and_then(|it| it.apparmor_profile().as_ref())),
        named(process.and_then(|it| it.selinux_label().as_ref()))
            || named(linux.and_then(|it| it.mount_label().as_ref())),
    )
}

/// Any failure means no: without the module there is no such file.
fn apparmor_is_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

/// SELinux is enabled where its file system is mounted, as libselinux decides it.
fn selinux_is_enabled() -> bool {
    statfs("/sys/fs/selinux").is_ok_and(|it| it.filesystem_type() == SELINUX_MAGIC)
}

/// True if casulo runs in a user namespace that is not the initial one.
pub(crate) fn in_user_namespace() -> bool {
    // A kernel without user namespaces has no such file.
    stat("/proc/self/ns/user").is_ok_and(|it| inode(&it) != INITIAL_USER_NAMESPACE)
}

#[cfg(any(test, feature = "testing"))]
impl Host {
    /// For tests of plans: root with every capability on a machine without a cgroup mount or LSM.
    pub(crate) fn of_root() -> Host {
        let all = (1 << 41) - 1;
        Host {
            euid: 0,
            egid: 0,
            effective: all,
            bounding: all,
            ignored_signals: 0,
            last_cap: 40,
            rootless: false,
            in_user_namespace: false,
            cgroup: None,
            runtime_dir: "/run/user/0".into(),
            kernel: (6, 12),
            apparmor: false,
            selinux: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_ids_and_sets_are_read_from_status() {
        let text = b"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n\
                    SigIgn:\t0000000000001000\nCapEff:\t00000000a80425fb\nCapBnd:\t000001ffffffffff\n";
        assert_eq!(
            Status::parse(text.as_slice()),
            Some(Status {
                euid: 2,
                egid: 6,
                effective: 0xa804_25fb,
                bounding: 0x1ff_ffff_ffff,
                ignored: 0x1000,
            })
        );
        assert_eq!(Status::parse(b"Uid:\t1\t2\t3\t4\n"), None);
    }

    #[test]
    fn releases_are_two_numbers() {
        for (release, numbers) in [
            ("6.18.44-fc", (6, 18)),
            ("5.10-rc1", (5, 10)),
            ("7", (7, 0)),
            ("odd", (0, 0)),
        ] {
            assert_eq!(parse_release(release), numbers);
        }
    }

    #[test]
    fn this_machine_answers() {
        let host = Host::ask(None, None).expect("a Linux host");
        assert_eq!(host.euid, nix::unistd::geteuid().as_raw());
        assert_eq!(host.egid, nix::unistd::getegid().as_raw());
        assert!(host.kernel >= (5, 11), "{:?}", host.kernel);
        let file = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("readable");
        assert_eq!(host.last_cap.to_string(), file.trim());
        let map = std::fs::read_to_string("/proc/self/uid_map").expect("readable");
        let initial = map.split_whitespace().eq(["0", "0", "4294967295"]);
        assert_eq!(!host.in_user_namespace, initial);
    }
}
