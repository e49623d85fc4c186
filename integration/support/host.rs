//! What a test may need of the host; what is missing is the reason of a skip.

use super::{lab, runtime};
use nix::unistd::geteuid;
use std::fs;
use std::path::Path;

/// A need of a test. Its name is what `CASULO_TEST_REQUIRE` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The tests run as root.
    Root,
    /// The test is about casulo's own words or extensions: another runtime need not agree.
    Casulo,
    /// casulo's test build.
    TestBuild,
    /// casulo's position-independent build.
    PieBuild,
    /// A cgroup v2 controller.
    Controller(&'static str),
    /// The controllers are missing from cgroup v2 (the opposite of the above, for the error).
    NoController(&'static str),
    /// AppArmor is enabled, and its parser is there to load a profile.
    AppArmor,
    /// SELinux is enabled.
    Selinux,
    /// CAP_SYS_RESOURCE, for raising a limit.
    SysResource,
    /// The kernel can idmap mounts of the file system that holds the tests.
    IdMounts,
    /// newuidmap and newgidmap.
    NewUidMap,
    /// A kernel with NUMA.
    Numa,
    /// The kernel's release is at least this.
    Kernel(u32, u32),
    /// systemd is process 1, with all of cgroup v2.
    Systemd,
    /// A user with number 1000, who can have a systemd of their own.
    UserSystemd,
    /// More than one CPU.
    TwoCpus,
    /// The tests' directory lies on a disk that the tests may open.
    Disk,
    /// FUSE, for a process that cannot be killed.
    Fuse,
    /// ip(8) and virtual Ethernet devices.
    Veth,
    /// A small Debian, packed, as the test host has it.
    DebianRoot,
    /// Not the test host, which may be emulated: a thousand calls take minutes there, and show nothing more.
    Quick,
    /// A host program.
    Program(&'static str),
}

/// Where the test host has its small Debian.
pub(crate) const DEBIAN_ROOT: &str = "/usr/share/testhost/debian.tar";

impl Need {
    /// The name without arguments, in lower case: `root`, `controller`, …
    fn name(self) -> String {
        let text = format!("{self:?}").to_lowercase();
        text.split('(').next().unwrap_or_default().to_owned()
    }

    /// True for a need that nobody can demand: another runtime, and what contradicts another need.
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Need::NoController(_) | Need::Casulo)
    }

    /// True if the caller of the tests says that this must be there.
    pub(crate) fn is_required(self) -> bool {
        let list = std::env::var("CASULO_TEST_REQUIRE").unwrap_or_default();
        list.split(',')
            .any(|word| word == "all" || word == self.name())
    }

    /// Whether the host has it; the reason if not.
    pub(crate) fn check(self) -> Result<(), String> {
        let (met, reason) = match self {
            Need::Root => (geteuid().is_root(), "needs root".into()),
            Need::Casulo => (runtime::is_casulo(), "needs casulo".into()),
            Need::TestBuild => (
                runtime::test_build().exists(),
                "testbuild: no test build of casulo".into(),
            ),
            Need::PieBuild => (
                runtime::pie_build().exists(),
                "piebuild: no position-independent build of casulo".into(),
            ),
            Need::Controller(name) => (
                has_controller(name),
                format!("controller: the {name} controller is not in cgroup v2"),
            ),
            Need::NoController(name) => (
                !has_controller(name),
                format!("nocontroller: the {name} controller is in cgroup v2"),
            ),
            Need::AppArmor => (
                fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                    .is_ok_and(|text| text.starts_with('Y'))
                    && Path::new("/sbin/apparmor_parser").exists(),
                "apparmor: AppArmor is not enabled".into(),
            ),
            Need::Selinux => (
                Path::new("/sys/fs/selinux/enforce").exists(),
                "selinux: SELinux is not enabled".into(),
            ),
            Need::SysResource => (
                has_sys_resource(),
                "sysresource: no CAP_SYS_RESOURCE".into(),
            ),
            Need::IdMounts => (
                lab::can_idmap(),
                "idmounts: the file system cannot be idmapped".into(),
            ),
            Need::NewUidMap => (
                Path::new("/usr/bin/newuidmap").exists(),
                "newuidmap: newuidmap is not installed".into(),
            ),
            Need::Numa => (
                Path::new("/proc/self/numa_maps").exists(),
                "numa: no NUMA in the kernel".into(),
            ),
            Need::Kernel(major, minor) => (
                kernel() >= (major, minor),
                format!("kernel: older than {major}.{minor}"),
            ),
            Need::Systemd => (
                Path::new("/run/systemd/private").exists() && has_controller("memory"),
                "systemd: systemd does not run this host, or not with cgroup v2".into(),
            ),
            Need::UserSystemd => (
                fs::read_to_string("/etc/passwd").is_ok_and(|text| text.contains(":x:1000:"))
                    && Path::new("/lib/systemd/system/user@.service").exists(),
                "usersystemd: no user 1000, or none can have a systemd".into(),
            ),
            Need::TwoCpus => (
                std::thread::available_parallelism().is_ok_and(|n| n.get() > 1),
                "twocpus: one CPU".into(),
            ),
            Need::Disk => (
                lab::disk().is_some(),
                "disk: the tests' directory is on no disk that can be opened".into(),
            ),
            Need::Fuse => (super::fuse::is_there(), "fuse: no /dev/fuse".into()),
            Need::Veth => (has_veth(), "veth: no ip(8), or no veth devices".into()),
            Need::DebianRoot => (
                Path::new(DEBIAN_ROOT).exists(),
                format!("debianroot: no {DEBIAN_ROOT}, which the test host has"),
            ),
            Need::Quick => (
                !Path::new(DEBIAN_ROOT).exists(),
                "quick: more calls than the test host has time for".into(),
            ),
            Need::Program(path) => (Path::new(path).exists(), format!("program: no {path}")),
        };
        if met { Ok(()) } else { Err(reason) }
    }
}

fn has_controller(name: &str) -> bool {
    fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .is_ok_and(|list| list.split_whitespace().any(|word| word == name))
}

/// Tried in a network namespace of its own.
fn has_veth() -> bool {
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "ip", "link", "add", "type", "veth"]);
    super::finish(command, b"").code == 0
}

fn has_sys_resource() -> bool {
    const CAP_SYS_RESOURCE: u64 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = super::runtime::field(&status, "CapEff");
    u64::from_str_radix(&effective, 16).is_ok_and(|set| set & (1 << CAP_SYS_RESOURCE) != 0)
}

/// The kernel's release as (major, minor).
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
