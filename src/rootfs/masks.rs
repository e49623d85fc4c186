//! `linux.maskedPaths` and `linux.readonlyPaths`: what the container may not read, or not write.
//!
//! Plan: parent, pure. Apply: child, after the pivot. A path is resolved once, in the container's
//! root; everything after that happens on the fd, so a path that is swapped later changes nothing.
//!
//! A masked directory becomes an empty read-only tmpfs, a masked file `/dev/null`. Kubernetes masks a
//! path for each CPU, so there is one tmpfs, and every further mask is a clone of its mount.

use super::label::Label;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::root::Root;
use crate::sys::mount::{
    self, MountAttr, fsconfig_create, fsconfig_set, fsmount, fsopen, move_mount,
};
use nix::errno::Errno;
use nix::sys::stat::{SFlag, fstat, major, minor};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Flags of open_tree(2): the mount that an fd stands on, cloned.
const CLONE_HERE: u32 = libc::OPEN_TREE_CLONE | libc::AT_EMPTY_PATH.cast_unsigned();

/// What is hidden and what is read-only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Paths of the container that will show nothing.
    pub masked: Vec<PathBuf>,
    /// Paths of the container that will be read-only, with all that is mounted below them.
    pub readonly: Vec<PathBuf>,
    /// SELinux context of the tmpfs (`linux.mountLabel`).
    pub label: Option<Label>,
}

/// Decides. Pure. A path that is named twice is kept once.
pub(crate) fn plan(spec: &Spec, label: Option<&Label>, problems: &mut Problems) -> Plan {
    let Some(linux) = spec.linux().as_ref() else {
        return Plan::default();
    };
    let mut list = |field: &str, paths: &Option<Vec<String>>| {
        let mut kept: Vec<PathBuf> = Vec::new();
        for (index, path) in paths.iter().flatten().enumerate() {
            if !path.starts_with('/') || path.contains('\0') {
                let place = format!("linux.{field}[{index}]");
                problems.add(place, format!("{path:?} is not an absolute path"));
            }
            if !kept.iter().any(|it| it.as_os_str() == path.as_str()) {
                kept.push(PathBuf::from(path));
            }
        }
        kept
    };
    let masked = list("maskedPaths", linux.masked_paths());
    let readonly = list("readonlyPaths", linux.readonly_paths());
    let own_mounts = linux
        .namespaces()
        .iter()
        .flatten()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Mount);
    for (field, paths) in [("maskedPaths", &masked), ("readonlyPaths", &readonly)] {
        if !own_mounts && !paths.is_empty() {
            // Without one the host itself would lose these paths.
            problems.add(format!("linux.{field}"), "needs a mount namespace");
        }
    }
    Plan {
        masked,
        readonly,
        label: label.cloned(),
    }
}

/// Child, after the pivot, with CAP_SYS_ADMIN over its mount namespace: makes the read-only paths
/// read-only, then hides the masked ones. `root` is the container's root. Paths that do not exist are
/// left out, and no others: where root is refused, a user or a group of the container may not be.
///
/// # Errors
/// E_MOUNT with the path; EACCES for one that root may not reach. E_UNSAFE_PATH where a file is to be masked and the container's
/// `/dev/null` is something else (CVE-2025-31133).
pub(crate) fn apply(plan: &Plan, root: &Root) -> Result<()> {
    for path in &plan.readonly {
        if let Some(target) = find(root, path)? {
            make_read_only(target.as_fd()).context(
                Code::Mount,
                "make read-only",
                path.display(),
            )?;
        }
    }
    let mut masks = Masks::default();
    for path in &plan.masked {
        if let Some(target) = find(root, path)? {
            let kind = fstat(&target).context(Code::Mount, "look at", path.display())?;
            let mask = if SFlag::from_bits_retain(kind.st_mode & libc::S_IFMT) == SFlag::S_IFDIR {
                masks.of_a_directory(plan.label.as_ref())
            } else {
                masks.of_a_file(root)
            }?;
            move_mount(mask.as_fd(), target.as_fd()).context(
                Code::Mount,
                "mask",
                path.display(),
            )?;
        }
    }
    Ok(())
}

/// The object at `path`, if the container has it.
fn find(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.resolve(path) {
        Ok(target) => Ok(Some(target)),
        // A config lists what any kernel and any architecture may have.
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(Errno::EACCES) if without(Defence::MaskOrRefuse) => Ok(None),
        Err(errno) => {
            let error = Error::step(
                Code::Mount,
                "find what is masked or read-only:",
                path.display().to_string(),
                errno,
            );
            Err(match errno {
                Errno::EACCES => error.hint(
                    "the container's root may not enter a directory above it, perhaps because the directory's \
                     owner has no id in the user namespace; others may",
                ),
                _ => error,
            })
        }
    }
}

/// Puts a read-only clone of the tree at `target` on top of it. The clone keeps nosuid, nodev and
/// noexec, which a user namespace could not set anew.
fn make_read_only(target: BorrowedFd<'_>) -> nix::Result<()> {
    let read_only = MountAttr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        ..Default::default()
    };
    let flags = CLONE_HERE | libc::AT_RECURSIVE.cast_unsigned();
    let tree = mount::clone_with(target, c"", flags, &read_only)?;
    move_mount(tree.as_fd(), target)
}

/// The first mask of each kind, once it is mounted: before Linux 6.15 only an attached mount can
/// be cloned.
#[derive(Default)]
struct Masks {
    directory: Option<OwnedFd>,
    null: Option<OwnedFd>,
}

impl Masks {
    /// A mount to put on a directory: empty and read-only.
    fn of_a_directory(&mut self, label: Option<&Label>) -> Result<OwnedFd> {
        let step = "make an empty tmpfs for";
        let object = "linux.maskedPaths";
        match &self.directory {
            Some(first) => {
                mount::open_tree(first.as_fd(), c"", CLONE_HERE).context(Code::Mount, step, object)
            }
            None => {
                let first = empty_tmpfs(label).context(Code::Mount, step, object)?;
                // The duplicate stands for the same mount, also after that is attached.
                self.directory = Some(first.try_clone().context(Code::Mount, step, object)?);
                Ok(first)
            }
        }
    }

    /// A mount to put on anything else: the null device.
    fn of_a_file(&mut self, root: &Root) -> Result<OwnedFd> {
        let null = match self.null.take() {
            Some(null) => null,
            None => null_device(root)?,
        };
        let mask = mount::open_tree(null.as_fd(), c"", CLONE_HERE).context(
            Code::Mount,
            "clone",
            "/dev/null",
        );
        self.null = Some(null);
        mask
    }
}

/// A detached tmpfs with room for nothing but its root.
fn empty_tmpfs(label: Option<&Label>) -> nix::Result<OwnedFd> {
    let fs = fsopen(c"tmpfs")?;
    for (key, value) in [
        (c"nr_blocks", Some(c"1")),
        (c"nr_inodes", Some(c"1")),
        (c"mode", Some(c"0555")),
        (c"ro", None),
    ] {
        fsconfig_set(fs.as_fd(), key, value)?;
    }
    if let Some(label) = label {
        label.apply(fs.as_fd())?;
    }
    fsconfig_create(fs.as_fd())?;
    let attributes = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;
    fsmount(fs.as_fd(), attributes)
}

/// The container's `/dev/null`, known to be the null device by its number and not by its name: a
/// link there would show the container, writable, whatever it points at (CVE-2025-31133).
fn null_device(root: &Root) -> Result<OwnedFd> {
    let path = Path::new("/dev/null");
    if without(Defence::NullDevice) {
        return root
            .resolve(path)
            .context(Code::Mount, "open", path.display());
    }
    let fd = root.resolve_no_follow(path).context(
        Code::Mount,
        "open",
        "/dev/null for linux.maskedPaths",
    )?;
    let stat = fstat(&fd).context(Code::Mount, "look at", path.display())?;
    let is_char = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
    if !is_char || (major(stat.st_rdev), minor(stat.st_rdev)) != (1, 3) {
        return Err(Error::new(
            Code::UnsafePath,
            "mask a file: /dev/null of the container is not the null device",
        ));
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip;
    use crate::sys::forked::check_in_child;
    use nix::fcntl::{OFlag, open};
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::stat::{Mode, makedev, mknod};
    use std::fs;

    fn planned(linux: &str) -> std::result::Result<Plan, String> {
        let config = format!(r#"{{"ociVersion":"1.3.0","linux":{linux}}}"#);
        let spec: Spec = serde_json::from_str(&config).expect("a spec");
        let mut problems = Problems::default();
        let plan = plan(&spec, None, &mut problems);
        problems.into_result("c").map_err(|e| e.to_string())?;
        Ok(plan)
    }

    #[test]
    fn paths_are_absolute_and_kept_once() {
        let linux = r#"{"namespaces":[{"type":"mount"}],"maskedPaths":["/a","/a","/b"]}"#;
        let plan = planned(linux).expect("good paths");
        assert_eq!(plan.masked, [PathBuf::from("/a"), PathBuf::from("/b")]);
        let linux = r#"{"namespaces":[{"type":"mount"}],"readonlyPaths":["/a","b"]}"#;
        assert_eq!(
            planned(linux).expect_err("a relative path"),
            "c: linux.readonlyPaths[1]: \"b\" is not an absolute path"
        );
    }

    #[test]
    fn a_host_mount_namespace_is_not_masked() {
        let error = planned(r#"{"maskedPaths":["/a"]}"#).expect_err("the host's mounts");
        assert_eq!(error, "c: linux.maskedPaths: needs a mount namespace");
    }

    /// Runs `body` as root of a mount namespace with a small tree on a tmpfs.
    fn in_a_tree(body: impl FnOnce(&Path, &Root) -> std::result::Result<(), String>) {
        if skip::unless_root() {
            return;
        }
        let directory = tempfile::tempdir().expect("temporary directory");
        check_in_child(|| {
            let fail = |what: &'static str| move |e: Errno| format!("{what}: {e}");
            let none = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS).map_err(fail("unshare"))?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).map_err(fail("private"))?;
            let top = directory.path();
            mount(none, top, Some("tmpfs"), MsFlags::MS_NOSUID, none).map_err(fail("tmpfs"))?;
            for name in ["dev", "d1", "d2", "ro/below"] {
                fs::create_dir_all(top.join(name)).map_err(|e| e.to_string())?;
            }
            for name in ["d1/f", "d2/f", "secret", "secret2", "ro/f"] {
                fs::write(top.join(name), "content").map_err(|e| e.to_string())?;
            }
            mknod(
                &top.join("dev/null"),
                SFlag::S_IFCHR,
                Mode::from_bits_truncate(0o666),
                makedev(1, 3),
            )
            .map_err(fail("mknod"))?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let fd = open(top, flags, Mode::empty()).map_err(fail("open"))?;
            body(top, &Root::from_fd(fd))
        });
    }

    fn masks(masked: &[&str], readonly: &[&str]) -> Plan {
        Plan {
            masked: masked.iter().map(PathBuf::from).collect(),
            readonly: readonly.iter().map(PathBuf::from).collect(),
            label: None,
        }
    }

    fn expect(truth: bool, what: &str) -> std::result::Result<(), String> {
        if truth { Ok(()) } else { Err(what.to_owned()) }
    }

    #[test]
    fn masked_directories_are_empty_and_masked_files_are_null() {
        in_a_tree(|top, root| {
            let plan = masks(
                &["/d1", "/d2", "/secret", "/secret2", "/missing", "/secret/x"],
                &[],
            );
            apply(&plan, root).map_err(|e| e.to_string())?;
            for name in ["d1", "d2"] {
                let mut entries = fs::read_dir(top.join(name)).map_err(|e| e.to_string())?;
                expect(entries.next().is_none(), "an empty directory")?;
                expect(
                    fs::write(top.join(name).join("x"), "").is_err(),
                    "read-only",
                )?;
            }
            for name in ["secret", "secret2"] {
                let text = fs::read(top.join(name)).map_err(|e| e.to_string())?;
                expect(text.is_empty(), "an empty file")?;
            }
            let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
            let device = |name: &str| {
                mounts
                    .lines()
                    .find(|line| line.contains(&format!("{}/{name} ", top.display())))
                    .and_then(|line| line.split(' ').nth(2))
                    .map(str::to_owned)
            };
            expect(
                device("d1").is_some() && device("d1") == device("d2"),
                "one tmpfs for both",
            )
        });
    }

    #[test]
    fn read_only_paths_include_what_is_mounted_below() {
        in_a_tree(|top, root| {
            let below = top.join("ro/below");
            let none = None::<&str>;
            mount(none, &below, Some("tmpfs"), MsFlags::empty(), none)
                .map_err(|e| e.to_string())?;
            apply(&masks(&[], &["/ro", "/missing"]), root).map_err(|e| e.to_string())?;
            for name in ["ro/f", "ro/below/f"] {
                let error = fs::write(top.join(name), "x").err();
                let errno = error.and_then(|e| e.raw_os_error());
                expect(errno == Some(libc::EROFS), name)?;
            }
            let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
            let line = mounts
                .lines()
                .find(|l| l.contains(&format!("{}/ro ", top.display())));
            expect(
                line.is_some_and(|l| l.contains("ro,nosuid")),
                "nosuid is kept",
            )
        });
    }

    fn refused(result: Result<()>) -> std::result::Result<(), String> {
        match result {
            Err(error) if error.code == Code::UnsafePath => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_null_device_that_is_a_link_is_refused() {
        in_a_tree(|top, root| {
            fs::remove_file(top.join("dev/null")).map_err(|e| e.to_string())?;
            std::os::unix::fs::symlink("/ro/f", top.join("dev/null")).map_err(|e| e.to_string())?;
            refused(apply(&masks(&["/secret"], &[]), root))
        });
    }

    #[test]
    fn another_device_in_the_place_of_null_is_refused() {
        // What reads as empty is 1:3 alone: 1:5 is zero, 1:11 writes to the kernel's log, and 3:1 is no memory.
        for (major, minor) in [(1, 5), (1, 11), (3, 1), (5, 3)] {
            in_a_tree(|top, root| {
                let null = top.join("dev/null");
                fs::remove_file(&null).map_err(|e| e.to_string())?;
                let mode = Mode::from_bits_truncate(0o666);
                mknod(&null, SFlag::S_IFCHR, mode, makedev(major, minor))
                    .map_err(|e| e.to_string())?;
                refused(apply(&masks(&["/secret"], &[]), root))
            });
        }
    }

    #[test]
    fn a_block_device_with_the_number_of_null_is_refused() {
        in_a_tree(|top, root| {
            let null = top.join("dev/null");
            fs::remove_file(&null).map_err(|e| e.to_string())?;
            let mode = Mode::from_bits_truncate(0o666);
            mknod(&null, SFlag::S_IFBLK, mode, makedev(1, 3)).map_err(|e| e.to_string())?;
            refused(apply(&masks(&["/secret"], &[]), root))
        });
    }
}
