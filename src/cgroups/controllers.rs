//! Enables controllers (`cgroup.subtree_control`): those that count what every container uses, where
//! they can be had, and those that its limits need, or else the reason. Parent, called by
//! [`super::fs`] for a new cgroup, and when the file of a limit is missing.

use super::Plan;
use super::fs::{Cgroup, read, write};
use super::limits::Setting;
use crate::error::{Code, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::path::Path;

/// What is counted in every container, limits or not: people and engines ask for its memory and its
/// processes, and a container with cgroups of its own can only pass on what it has.
const COUNTED: [&str; 4] = ["cpu", "io", "memory", "pids"];

/// Gives `cgroup` the controllers that count, as far as the host has them and the cgroups above can
/// pass them on. One look where that was done for a neighbour.
pub(super) fn enable_counted(cgroup: &Cgroup, mount: &Path) {
    let flags = AtFlags::empty();
    let counts = faccessat(
        &cgroup.directory,
        "memory.current",
        AccessFlags::F_OK,
        flags,
    )
    .is_ok();
    let (Some(above), false) = (cgroup.path.parent(), counts) else {
        return;
    };
    let result = enable_all_in(above, mount, &counted_in(mount));
    // Where only a part is passed on to an ordinary user, that part.
    if result.is_err() {
        let _ = enable_all_in(above, above, &counted_in(above));
    }
}

/// All of them in one write, and never without memory: the kernel then refuses a cgroup with
/// processes. It would take cpu and pids alone, and make a threaded domain of it, below which no
/// container can be (cgroup-v2.rst, "Threads").
fn enable_all_in(directory: &Path, top: &Path, wanted: &[&str]) -> std::result::Result<(), Errno> {
    if !wanted.contains(&"memory") {
        return Ok(());
    }
    enable_in(directory, top, wanted).map_err(|(directory, errno)| {
        // No limit needs them, or that limit will say so.
        log::debug!(
            "not all is counted: {}: {}",
            directory.display(),
            errno.desc()
        );
        errno
    })
}

fn counted_in(directory: &Path) -> Vec<&'static str> {
    let list = read(AT_FDCWD, &directory.join("cgroup.controllers")).unwrap_or_default();
    let is_there = |name: &&str| list.split_whitespace().any(|it| it == *name);
    COUNTED.into_iter().filter(is_there).collect()
}

/// Gives the cgroups below `directory` the controllers that the plan needs: one write, after the same
/// in the cgroups above, as far up as needed. The kernel says ENOENT for a controller that the
/// cgroup above does not give, and takes one that is on already.
pub(super) fn enable(directory: &Path, plan: &Plan) -> Result<()> {
    let mut wanted: Vec<&str> = plan
        .settings
        .iter()
        .filter_map(Setting::controller)
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    if wanted.is_empty() {
        return Ok(());
    }
    enable_in(directory, &plan.mount, &wanted)
        .map_err(|(directory, errno)| not_enabled(directory, &wanted, errno))
}

/// On failure, in which cgroup it was.
fn enable_in<'a>(
    directory: &'a Path,
    mount: &Path,
    wanted: &[&str],
) -> std::result::Result<(), (&'a Path, Errno)> {
    let value: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    let value = value.join(" ");
    let file = directory.join("cgroup.subtree_control");
    let mut result = write(AT_FDCWD, &file, &value);
    if let (Err(Errno::ENOENT), true, Some(above)) =
        (result, directory != mount, directory.parent())
    {
        enable_in(above, mount, wanted)?;
        result = write(AT_FDCWD, &file, &value);
    }
    result.map_err(|errno| (directory, errno))
}

/// Says which controller cannot be had, and why.
fn not_enabled(directory: &Path, wanted: &[&str], errno: Errno) -> Error {
    let available = read(AT_FDCWD, &directory.join("cgroup.controllers")).unwrap_or_default();
    let missing: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|name| !available.split_whitespace().any(|it| it == *name))
        .collect();
    let object = directory.display().to_string();
    let step = format!("enable {} below", wanted.join(", "));
    if !missing.is_empty() {
        let v1 = read(AT_FDCWD, Path::new("/proc/cgroups")).unwrap_or_default();
        let reasons: Vec<String> = missing.iter().map(|name| why_missing(name, &v1)).collect();
        return Error {
            step,
            object,
            ..Error::new(Code::Cgroup, reasons.join("; "))
        }
        .hint("run without these limits, or give cgroup v2 the controllers (cgroup_no_v1=all on the kernel's command line)");
    }
    let error = Error::step(Code::Cgroup, step, object, errno);
    match errno {
        Errno::EBUSY => error.hint(
            "a cgroup with processes of its own cannot give controllers to those below it: move \
             them to a cgroup beside the container's",
        ),
        Errno::EOPNOTSUPP => error.hint("a cgroup above is threaded: see cgroup.type"),
        Errno::EACCES | Errno::EPERM => error.hint("this cgroup is not delegated to the caller"),
        Errno::EROFS => error.hint("the cgroup hierarchy is mounted read-only here"),
        _ => error,
    }
}

/// Why v2 does not have a controller, from the text of /proc/cgroups: name, v1 hierarchy (0 is
/// none), number of cgroups, enabled.
fn why_missing(controller: &str, proc_cgroups: &str) -> String {
    let v1_name = if controller == "io" {
        "blkio"
    } else {
        controller
    };
    let row = proc_cgroups
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|row| row.first() == Some(&v1_name));
    let reason = match row.as_deref() {
        Some([_, _, _, "0"]) => "is disabled in this kernel",
        Some([_, hierarchy, ..]) if *hierarchy != "0" => "is in cgroup v1 on this host",
        _ => "is not available here: not in this kernel, or not given to this cgroup",
    };
    format!("the {controller} controller {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_controller_is_missing() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
                     cpu\t1\t1\t1\nblkio\t7\t1\t1\nmemory\t0\t1\t0\npids\t0\t1\t1\n";
        for (controller, reason) in [
            ("cpu", "the cpu controller is in cgroup v1 on this host"),
            ("io", "the io controller is in cgroup v1 on this host"),
            ("memory", "the memory controller is disabled in this kernel"),
            (
                "pids",
                "the pids controller is not available here: not in this kernel, or not given to this cgroup",
            ),
            (
                "nosuch",
                "the nosuch controller is not available here: not in this kernel, or not given to this cgroup",
            ),
        ] {
            assert_eq!(why_missing(controller, table), reason);
        }
    }
}
