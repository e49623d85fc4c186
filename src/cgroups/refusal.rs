//! Why the kernel did not take a limit: the error with the file, the value, the kernel's reason and
//! what to look at. Parent, for [`super::fs`], after a failure only.

use super::Cgroup;
use super::limits::{Absent, Setting};
use crate::error::{Code, Error};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fstatat};

/// The error for a `setting` that could not be written in `cgroup`.
pub(super) fn explain(setting: &Setting, cgroup: &Cgroup, errno: Errno) -> Error {
    // Of two files the one that was tried last is the one that failed.
    let (file, value, missing) = match &setting.absent {
        Absent::Instead { file, value } if cgroup.mode(&setting.file).is_none() => (
            file,
            value,
            format!("no such file, and no {}", setting.file),
        ),
        _ => (&setting.file, &setting.value, "no such file".to_owned()),
    };
    let step = format!("set {file} to {value} in");
    let object = cgroup.path().display().to_string();
    let mut error = Error::step(Code::Cgroup, step, object, errno);
    if errno == Errno::ENOENT {
        error = error.because(format!("this kernel has {missing}"));
    }
    let writable = Mode::S_IWUSR | Mode::S_IWGRP | Mode::S_IWOTH;
    match hint(file, errno) {
        _ if cgroup.mode(file).is_some_and(|it| !it.intersects(writable)) => {
            error.hint("this file only reports: it takes no value")
        }
        Some(hint) => error.hint(hint),
        None => error,
    }
}

impl Cgroup {
    /// The permissions of one of its files; None where there is none.
    fn mode(&self, file: &str) -> Option<Mode> {
        let status = fstatat(self.fd()?, file, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some(Mode::from_bits_retain(status.st_mode & 0o7777))
    }
}

/// What to look at, by the file and the kernel's word.
fn hint(file: &str, errno: Errno) -> Option<&'static str> {
    match (file, errno) {
        (_, Errno::EACCES | Errno::EPERM) => Some("this cgroup is not delegated to the caller"),
        (_, Errno::EROFS) => Some("the cgroup hierarchy is mounted read-only here"),
        ("cpu.weight", Errno::EINVAL) => {
            Some("between 1 and 10000; an idle cgroup (cpu.idle) has no weight of its own")
        }
        ("cpu.max", Errno::EINVAL) => Some(
            "quota and period are at least 1000 µs, the period at most 1000000, the quota not \
             above that of the cgroups above and not below cpu.max.burst",
        ),
        ("cpu.max.burst", Errno::EINVAL) => Some("the burst is at most the quota of cpu.max"),
        ("cpuset.cpus" | "cpuset.mems", Errno::EINVAL | Errno::ERANGE | Errno::ENODEV) => {
            Some("a list like 0-3,7 of CPUs or memory nodes that this host has")
        }
        ("io.max" | "io.weight" | "io.bfq.weight", Errno::ENODEV) => {
            Some("MAJOR:MINOR is that of a whole disk of this host, not of a partition: see lsblk")
        }
        ("io.weight", Errno::EOPNOTSUPP) => Some(
            "a single device has a weight only under the BFQ scheduler (/sys/block/*/queue/scheduler) \
             or with io.cost.qos enabled for it",
        ),
        ("io.weight" | "io.bfq.weight", Errno::ENOENT) => {
            Some("weights need the BFQ scheduler (modprobe bfq) or CONFIG_BLK_CGROUP_IOCOST")
        }
        ("rdma.max", Errno::ENODEV) => Some("no RDMA device of that name here: see rdma dev"),
        (_, Errno::ENOENT) if file.starts_with("hugetlb.") => {
            Some("the page sizes of this host are in /sys/kernel/mm/hugepages")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// What is said about a setting in a directory with these files, by mode.
    fn said(setting: &Setting, files: &[(&str, u32)], errno: Errno) -> String {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (name, mode) in files {
            let file = directory.path().join(name);
            fs::write(&file, "").expect("a file");
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).expect("its mode");
        }
        let cgroup = Cgroup::open(directory.path()).expect("opened");
        let error = explain(setting, &cgroup, errno);
        let hint = error.hint.clone().unwrap_or_default();
        let text = format!("{error} | {hint}");
        text.replace(&directory.path().display().to_string(), "CGROUP")
    }

    fn weight(absent: Absent) -> Setting {
        Setting {
            file: "io.bfq.weight".into(),
            value: "8:0 100".into(),
            absent,
        }
    }

    #[test]
    fn the_file_that_failed_is_named_with_the_value_it_got() {
        let setting = weight(Absent::Instead {
            file: "io.weight".into(),
            value: "8:0 910".into(),
        });
        for (files, errno, expected) in [
            (
                &[("io.bfq.weight", 0o644)][..],
                Errno::ENODEV,
                "set io.bfq.weight to 8:0 100 in CGROUP: No such device | MAJOR:MINOR is",
            ),
            (
                &[("io.weight", 0o644)],
                Errno::EOPNOTSUPP,
                "set io.weight to 8:0 910 in CGROUP: Operation not supported | a single device",
            ),
            (
                &[],
                Errno::ENOENT,
                "set io.weight to 8:0 910 in CGROUP: this kernel has no such file, and no io.bfq.weight: no such file or directory | weights need",
            ),
            (
                &[("io.bfq.weight", 0o444)],
                Errno::EACCES,
                "set io.bfq.weight to 8:0 100 in CGROUP: permission denied | this file only reports",
            ),
            (
                &[("io.bfq.weight", 0o644)],
                Errno::EACCES,
                "set io.bfq.weight to 8:0 100 in CGROUP: permission denied | this cgroup is not delegated",
            ),
        ] {
            let text = said(&setting, files, errno);
            assert!(text.starts_with(expected), "{text}");
        }
        let text = said(&weight(Absent::Fail), &[], Errno::ENOENT);
        let expected = "set io.bfq.weight to 8:0 100 in CGROUP: this kernel has no such file: no such file or directory";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn what_the_kernel_says_about_a_value_comes_with_what_to_look_at() {
        for (file, errno, word) in [
            ("cpu.weight", Errno::EINVAL, "idle"),
            ("cpu.max", Errno::EINVAL, "cpu.max.burst"),
            ("cpu.max.burst", Errno::EINVAL, "quota"),
            ("cpuset.cpus", Errno::ERANGE, "0-3,7"),
            ("io.max", Errno::ENODEV, "partition"),
            ("hugetlb.3MB.max", Errno::ENOENT, "/sys/kernel/mm/hugepages"),
            ("rdma.max", Errno::ENODEV, "rdma dev"),
            ("memory.max", Errno::EROFS, "mounted read-only"),
        ] {
            let hint = hint(file, errno).expect(file);
            assert!(hint.contains(word), "{hint}");
        }
        assert_eq!(hint("memory.max", Errno::EINVAL), None);
    }
}
