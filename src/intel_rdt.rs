//! `linux.intelRdt`: a class of service (cache and memory bandwidth) and a monitoring group in the
//! host's resctrl file system.
//!
//! [`plan`] is pure. The parent makes the groups before the container has a process, and moves
//! init into them before it runs anything, so that all its children are born there. Whether the
//! host has resctrl is only asked when a config wants it. [`update`] changes a class later, [`stats`] reads its figures. Sources:
//! config-linux.md, "IntelRdt", and the kernel's Documentation/filesystems/resctrl.rst.

pub(crate) mod stats;
pub(crate) mod update;

use crate::error::{Code, Context, Error, Problems, Result};
use crate::mark;
use crate::options::Options;
use crate::step::{self, Step};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, lstat};
use nix::sys::statfs::statfs;
use nix::unistd::{Pid, mkdir};
use oci_spec::runtime::{LinuxIntelRdt, Spec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where resctrl is mounted, as runc and crun expect it.
pub(crate) const MOUNT: &str = "/sys/fs/resctrl";

/// `RDTGROUP_SUPER_MAGIC` of linux/magic.h.
const RDTGROUP_SUPER_MAGIC: u64 = 0x0765_5821;

/// What stands in for it in the tests of a test build, as few machines have it: the kernel's
/// fs/fuse/inode.c.
const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;

/// What will be made and joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The class of service.
    pub class: Class,
    /// Lines for the class's `schemata` file, in the order that the spec wants: L3, memory
    /// bandwidth, the rest. Without any the file is not written.
    pub schemata: Vec<String>,
    /// How many of these lines, from the first, a class that exists must have already.
    pub must_match: usize,
    /// Name of the monitoring group below the class.
    pub monitor: Option<String>,
}

/// Which class of service, a directory in resctrl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// `closID` is `/`: the root of resctrl.
    Default,
    /// `closID` is a name: it outlives the container.
    Shared(String),
    /// No `closID`: named after the container and removed with it.
    Own(String),
}

/// Decides. Pure. None without `linux.intelRdt`.
///
/// `enableCMT` and `enableMBM` of runtime-spec 1.1 and 1.2 are unknown fields here, thus ignored:
/// 1.3 took them out again as never implemented by anyone, in favour of `enableMonitoring`.
pub(crate) fn plan(spec: &Spec, options: &Options, problems: &mut Problems) -> Option<Plan> {
    let rdt = spec.linux().as_ref()?.intel_rdt().as_ref()?;
    let class = match rdt.clos_id().as_deref() {
        None | Some("") => Class::Own(options.id.to_string()),
        Some("/") => Class::Default,
        Some(name) => Class::Shared(name.to_owned()),
    };
    if let Class::Own(name) | Class::Shared(name) = &class
        && (name.contains(['/', '\0', '\n'])
            || matches!(
                name.as_str(),
                "." | ".." | "info" | "mon_groups" | "mon_data"
            ))
    {
        problems.add(
            "linux.intelRdt.closID",
            format!("`{name}` cannot be the name of a class"),
        );
    }
    let (schemata, must_match) = schemata(rdt, problems);
    Some(Plan {
        class,
        schemata,
        must_match,
        monitor: (*rdt.enable_monitoring() == Some(true)).then(|| options.id.to_string()),
    })
}

fn schemata(rdt: &LinuxIntelRdt, problems: &mut Problems) -> (Vec<String>, usize) {
    let mut lines: Vec<String> = Vec::new();
    let bandwidth = rdt.mem_bw_schema().as_deref().filter(|it| !it.is_empty());
    // Up to runtime-spec 1.2 l3CacheSchema may have several lines, and its `MB:` lines give way to
    // memBwSchema.
    let l3 = rdt.l3_cache_schema().as_deref().unwrap_or_default();
    let gives_way = |line: &&str| bandwidth.is_some() && line.starts_with("MB:");
    let l3 = l3
        .lines()
        .filter(|line| !line.is_empty() && !gives_way(line));
    lines.extend(l3.map(str::to_owned));
    if let Some(bandwidth) = bandwidth {
        if !bandwidth.starts_with("MB:") || bandwidth.contains('\n') {
            problems.add(
                "linux.intelRdt.memBwSchema",
                "must start with `MB:` and be one line",
            );
        }
        lines.push(bandwidth.to_owned());
    }
    let must_match = lines.len();
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        if line.is_empty() || line.contains('\n') {
            problems.add(
                format!("linux.intelRdt.schemata[{index}]"),
                "must be one line",
            );
        }
        lines.push(line.clone());
    }
    (lines, must_match)
}

/// The host's resctrl file system.
///
/// # Errors
/// `E_INTEL_RDT` where it is not mounted.
pub(crate) fn mount_of_host() -> Result<&'static Path> {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        reason = "the type of f_type differs between architectures"
    )]
    let magic = statfs(MOUNT).map(|it| it.filesystem_type().0 as u64);
    if magic == Ok(RDTGROUP_SUPER_MAGIC)
        || (cfg!(feature = "testing") && magic == Ok(FUSE_SUPER_MAGIC))
    {
        return Ok(Path::new(MOUNT));
    }
    Err(Error::new(
        Code::IntelRdt,
        format!("linux.intelRdt needs the resctrl file system, and none is mounted at {MOUNT}"),
    )
    .hint("the processor must have RDT (`rdt_a` in /proc/cpuinfo): mount -t resctrl resctrl /sys/fs/resctrl"))
}

impl Plan {
    fn directory(&self, root: &Path) -> PathBuf {
        match &self.class {
            Class::Default => root.to_owned(),
            Class::Shared(name) | Class::Own(name) => root.join(name),
        }
    }

    fn monitor_directory(&self, root: &Path) -> Option<PathBuf> {
        let name = self.monitor.as_ref()?;
        Some(self.directory(root).join("mon_groups").join(name))
    }

    /// The directories that will go with the container, in the order of their removal: for the state
    /// record, before [`Plan::create`], and for [`remove`].
    ///
    /// # Errors
    /// `E_INTEL_RDT` for one that is there already: it is somebody else's, and must not be recorded.
    pub(crate) fn directories(&self, root: &Path) -> Result<Vec<PathBuf>> {
        let own = matches!(self.class, Class::Own(_)).then(|| self.directory(root));
        let directories: Vec<PathBuf> = self
            .monitor_directory(root)
            .into_iter()
            .chain(own)
            .collect();
        for directory in &directories {
            if directory.symlink_metadata().is_ok() {
                let error = Error::step(
                    Code::IntelRdt,
                    "make",
                    directory.display().to_string(),
                    Errno::EEXIST,
                );
                return Err(error.hint("it is not this container's: rename or remove it"));
            }
        }
        Ok(directories)
    }

    /// Parent: makes the class and the monitoring group below `root` (see [`mount_of_host`]) and
    /// writes the schemata. After an error nothing that was made here is left.
    ///
    /// # Errors
    /// `E_INTEL_RDT`: a shared class that does not exist and has no schemata, or exists with
    /// others; the hardware's limits, in the kernel's words (`info/last_cmd_status`).
    pub(crate) fn create(&self, root: &Path) -> Result<()> {
        let made = self.make_class(root)?;
        let result = self
            .write_schemata(root)
            .and_then(|()| self.make_monitor(root));
        if let (Err(_), Some(made)) = (&result, made) {
            // The error that led here says more than a failure to tidy up.
            let _ = std::fs::remove_dir(made);
        }
        result
    }

    /// The class's directory; returned if it was made.
    fn make_class(&self, root: &Path) -> Result<Option<PathBuf>> {
        let directory = self.directory(root);
        let shared = match &self.class {
            Class::Default => {
                self.check_match(&directory)?;
                return Ok(None);
            }
            Class::Shared(_) => true,
            Class::Own(_) => false,
        };
        if shared && self.schemata.is_empty() {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            open(&directory, flags, Mode::empty())
                .context(Code::IntelRdt, "find class", directory.display())
                .map_err(|error| error.hint("make it, or give its schemata in linux.intelRdt"))?;
            return Ok(None);
        }
        match mkdir(&directory, mark::MODE) {
            Ok(()) => Ok(Some(directory)),
            Err(Errno::EEXIST) if shared => {
                self.check_match(&directory)?;
                Ok(None)
            }
            Err(errno) => Err(refused("make class", &directory, errno, root)),
        }
    }

    /// A class that others use keeps its configuration: ours must be the same (spec).
    fn check_match(&self, directory: &Path) -> Result<()> {
        let wanted = self.schemata.get(..self.must_match).unwrap_or_default();
        if wanted.is_empty() {
            return Ok(());
        }
        let file = directory.join("schemata");
        let text =
            std::fs::read_to_string(&file).context(Code::IntelRdt, "read", file.display())?;
        let present = domains(text.lines());
        for (key, value) in domains(wanted.iter().map(String::as_str)) {
            if present.get(&key) != Some(&value) {
                let (resource, domain) = key;
                return Err(Error {
                    step: "use class".to_owned(),
                    object: directory.display().to_string(),
                    ..Error::new(
                        Code::IntelRdt,
                        format!(
                            "its {resource}:{domain} is {}, not {value}",
                            present
                                .get(&(resource.clone(), domain.clone()))
                                .map_or("not set", String::as_str)
                        ),
                    )
                });
            }
        }
        Ok(())
    }

    fn make_monitor(&self, root: &Path) -> Result<()> {
        step::begin(Step::RdtMonitor)?;
        match self.monitor_directory(root) {
            Some(directory) => mkdir(&directory, mark::MODE)
                .map_err(|errno| refused("make monitoring group", &directory, errno, root)),
            None => Ok(()),
        }
    }

    fn write_schemata(&self, root: &Path) -> Result<()> {
        step::begin(Step::RdtSchemata)?;
        if self.schemata.is_empty() {
            return Ok(());
        }
        let file = self.directory(root).join("schemata");
        let text = self.schemata.join("\n") + "\n";
        write(&file, &text).map_err(|errno| refused("write", &file, errno, root))
    }

    /// Parent: moves `pid`, which must not have children or threads yet, into the class and the
    /// monitoring group.
    ///
    /// # Errors
    /// `E_INTEL_RDT`
    pub(crate) fn join(&self, root: &Path, pid: Pid) -> Result<()> {
        // A monitoring group only takes tasks that are in its class.
        let directories = [Some(self.directory(root)), self.monitor_directory(root)];
        for directory in directories.into_iter().flatten() {
            step::begin(Step::RdtJoin)?;
            let file = directory.join("tasks");
            write(&file, &pid.to_string())
                .map_err(|errno| refused(&format!("add process {pid} to"), &file, errno, root))?;
        }
        Ok(())
    }
}

/// Parent, when the container is deleted: removes what [`Plan::directories`] said. No error for a
/// directory that is gone.
///
/// # Errors
/// `E_INTEL_RDT` for the first directory that cannot be removed.
pub(crate) fn remove(directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        match std::fs::remove_dir(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(Code::IntelRdt, "remove", directory.display());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether casulo has made the group at `path`, by the mode that it has from the first moment on. Parent.
pub(crate) fn was_made(path: &Path) -> bool {
    lstat(path).is_ok_and(|stat| mark::is_on(&stat))
}

/// One open and one write(2), as resctrl takes a command whole.
fn write(file: &Path, text: &str) -> nix::Result<()> {
    let fd = open(file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    match nix::unistd::write(&fd, text.as_bytes())? {
        n if n == text.len() => Ok(()),
        _ => Err(Errno::EIO),
    }
}

/// The error of a command, with the reason that resctrl keeps of the last one.
fn refused(step: &str, object: &Path, errno: Errno, root: &Path) -> Error {
    let error = Error::step(Code::IntelRdt, step, object.display().to_string(), errno);
    let status = std::fs::read_to_string(root.join("info/last_cmd_status")).unwrap_or_default();
    match status.trim() {
        "" | "ok" => error,
        status => error.because(status.replace('\n', ", ")),
    }
}

/// The lines of a schemata file (`    L3:0=7ff;1=7ff`) as (resource, domain) → value, without
/// padding and leading zeros, so that equal settings compare as equal.
fn domains<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<(String, String), String> {
    let plain = |text: &str| {
        let text = text.trim().trim_start_matches('0').to_ascii_lowercase();
        if text.is_empty() {
            "0".to_owned()
        } else {
            text
        }
    };
    let mut all = BTreeMap::new();
    for (resource, list) in lines.filter_map(|line| line.trim().split_once(':')) {
        for (domain, value) in list.split(';').filter_map(|it| it.split_once('=')) {
            all.insert((resource.trim().to_owned(), plain(domain)), plain(value));
        }
    }
    all
}

#[cfg(test)]
mod tests;
