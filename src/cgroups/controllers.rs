//! Enables controllers (`cgroup.subtree_control`): all that can be had, for what a container counts and may pass on to
//! cgroups of its own, and those that its limits need, or else the reason. Parent, called by
//! [`super::create`] for a new cgroup, and when the file of a limit is missing.

use super::Plan;
use super::fs::{Cgroup, read, read_line, write};
use super::limits::Setting;
use crate::error::{Code, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use std::path::Path;

/// The controllers that also limit threads (`.threaded` in the kernel's sources). All others are of domains.
const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// Gives `cgroup` every controller that the host has, as far as the cgroups above can pass them on: an engine or a
/// kubelet in the container needs them, and people ask for the memory and the processes of every container. Two
/// looks where that was done for a neighbour. What cannot be had is left out: no limit needs it, or that limit will
/// say so.
pub(super) fn enable_all(cgroup: &Cgroup, mount: &Path) {
    raise(&cgroup.path, mount, &controllers_of(mount));
}

/// Has the cgroups above `directory` pass on what they can of `all`, from the first that lacks some of it. The
/// controllers that `directory` then has.
fn raise(directory: &Path, mount: &Path, all: &[String]) -> Vec<String> {
    if directory == mount {
        return all.to_vec();
    }
    let has = controllers_of(directory);
    let Some(above) = directory.parent() else {
        return has;
    };
    if all.iter().all(|it| has.contains(it)) || !is_writable(above) {
        return has;
    }
    let passed = raise(above, mount, all);
    // A cgroup with processes would take threaded controllers alone, and become a threaded domain, below which no
    // container can be (cgroup-v2.rst, "Threads").
    let is_domain = passed.iter().any(|it| !THREADED.contains(&it.as_str()));
    if !is_domain || passed.iter().all(|it| has.contains(it)) {
        return has;
    }
    if let Err(errno) = give(above, &passed) {
        let above = above.display();
        log::debug!("not all is enabled below {above}: {}", errno.desc());
    }
    controllers_of(directory)
}

/// Gives those below `directory` these controllers: all in one write, or each that can be had.
///
/// # Errors
/// Why not all were given. EBUSY, EOPNOTSUPP: none, as one of them cannot be had beside processes or threads.
pub(super) fn give(directory: &Path, controllers: &[String]) -> nix::Result<()> {
    let file = directory.join("cgroup.subtree_control");
    let enable = |names: &[String]| write(AT_FDCWD, &file, &format!("+{}", names.join(" +")));
    let result = enable(controllers);
    // One that fails has the others fail with it: cpu where there are realtime processes (EINVAL), or one that was
    // taken away meanwhile (ENOENT). Other errors would be those of each.
    if matches!(result, Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOMEM)) {
        let is_of_domains = |it: &&String| !THREADED.contains(&it.as_str());
        let (domain, threaded): (Vec<_>, Vec<_>) = controllers.iter().partition(is_of_domains);
        for controller in domain.into_iter().chain(threaded) {
            let one = enable(std::slice::from_ref(controller));
            if let Err(Errno::EBUSY | Errno::EOPNOTSUPP) = one {
                break;
            }
        }
    }
    result
}

fn is_writable(directory: &Path) -> bool {
    let file = directory.join("cgroup.subtree_control");
    faccessat(AT_FDCWD, &file, AccessFlags::W_OK, AtFlags::AT_EACCESS).is_ok()
}

/// What `directory` can pass on.
pub(super) fn controllers_of(directory: &Path) -> Vec<String> {
    let list = read_line(AT_FDCWD, &directory.join("cgroup.controllers")).unwrap_or_default();
    list.split_whitespace().map(str::to_owned).collect()
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
    let available = controllers_of(directory);
    let missing: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|name| !available.iter().any(|it| it == name))
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
