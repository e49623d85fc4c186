//! What the tests of plans are given: a host that offers everything, and nothing of this machine.

use casulo::config;
use casulo::error::Result;
use casulo::host::{CgroupMount, Host};
use casulo::options::Options;
use casulo::plan::Plan;
use std::path::{Path, PathBuf};

/// Number of the last capability there is: CAP_CHECKPOINT_RESTORE.
const LAST_CAP: u8 = 40;

/// Root on a new kernel, with every controller in cgroup v2 and both security modules.
pub(crate) fn host() -> Host {
    let all = (1 << (LAST_CAP + 1)) - 1;
    Host {
        euid: 0,
        egid: 0,
        effective: all,
        bounding: all,
        ignored_signals: 0,
        last_cap: LAST_CAP,
        rootless: false,
        in_user_namespace: false,
        cgroup: Some(CgroupMount {
            path: PathBuf::from("/sys/fs/cgroup"),
            own: Some(PathBuf::from("/")),
        }),
        runtime_dir: PathBuf::from("/run/user/0"),
        kernel: (6, 18),
        apparmor: true,
        selinux: true,
    }
}

/// The plan for a config in the bundle `/bundles/NAME`.
pub(crate) fn plan(name: &str, config: &[u8]) -> Result<Plan> {
    let options = Options::new(name.parse()?, Path::new("/bundles").join(name));
    let file = "config.json";
    let spec = config::parse(config, file)?;
    Plan::new(&spec, &options, &host(), file)
}

/// The sample bundles' directory.
pub(crate) fn bundles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles")
}
