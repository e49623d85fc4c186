//! The laboratory: one directory, one state directory and any number of bundles per test, and the check
//! that nothing of them is left behind.

use super::bundle::Bundle;
use super::runtime::{self, Output, finish};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, EXT4_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::unistd::geteuid;
use std::cell::RefCell;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// Below the cgroup mount: the parent of every test container's cgroup.
pub(crate) const CGROUP_PARENT: &str = "casulo-test";

/// The subordinate ids of the tests' ordinary user, from 100000, and those that Podman hands out by
/// itself.
const SUBORDINATE_IDS: &str =
    "nobody:100000:65536\n65534:100000:65536\ncontainers:1000000:1000000\n";

/// Programs of busybox that every rootfs has.
const APPLETS: &[&str] = &[
    "[", "awk", "basename", "cat", "chmod", "chown", "chroot", "cp", "cut", "date", "dd", "df",
    "dmesg", "dirname", "echo", "env", "expr", "false", "find", "grep", "head", "hostname", "id",
    "ionice", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "nc", "nohup", "nproc",
    "od", "ping", "pgrep", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq",
    "setsid", "sh", "sleep", "sort", "stat", "stty", "su", "sync", "sysctl", "tail", "taskset",
    "test", "timeout", "touch", "tr", "true", "tty", "umount", "uname", "unshare", "wc", "which",
    "xargs",
];

/// What all tests share, made once before the first.
struct Shared {
    /// Parent of every test's directory; a rootfs's hard links must stay on one file system.
    base: TempDir,
    /// A copy of the runtime that any user may execute.
    runtime: PathBuf,
    /// The rootfs that every bundle gets a copy of.
    template: PathBuf,
}

static SHARED: OnceLock<Shared> = OnceLock::new();

fn shared() -> &'static Shared {
    SHARED.get().expect("prepare() runs before any test")
}

/// Makes what all tests share, and as root a mount namespace of our own with cgroup v2 in it.
/// Runs before the first thread.
pub(crate) fn prepare() {
    if geteuid().is_root() {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let cgroup2 =
            statfs("/sys/fs/cgroup").is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC);
        if !cgroup2 {
            mount(
                Some("none"),
                "/sys/fs/cgroup",
                Some("cgroup2"),
                MsFlags::empty(),
                none,
            )
            .unwrap();
        }
    }
    let base = tempfile::Builder::new()
        .prefix("casulo-test.")
        .tempdir()
        .unwrap();
    allow_all(base.path());
    let runtime = base.path().join("runtime");
    copy_program(&runtime::original(), &runtime);
    if runtime::test_build().exists() {
        copy_program(&runtime::test_build(), &base.path().join("test-build"));
    }
    if runtime::pie_build().exists() {
        copy_program(&runtime::pie_build(), &base.path().join("pie-build"));
    }
    if geteuid().is_root() {
        for file in ["/etc/subuid", "/etc/subgid"] {
            lay_over(base.path(), Path::new(file));
        }
    }
    let template = base.path().join("rootfs");
    make_template(&template);
    let _ = SHARED.set(Shared {
        base,
        runtime,
        template,
    });
}

/// Copies a program for every user.
fn copy_program(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    fs::set_permissions(to, Permissions::from_mode(0o755)).unwrap();
}

/// Puts the tests' subordinate ids over a host file, in our mount namespace alone.
fn lay_over(base: &Path, file: &Path) {
    if let Some(name) = file.file_name().filter(|_| file.exists()) {
        let ours = base.join(name);
        fs::write(&ours, SUBORDINATE_IDS).unwrap();
        mount(
            Some(&ours),
            file,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
    }
}

/// Removes what [`prepare`] made. Runs after the last test.
pub(crate) fn clean_up() {
    if let Some(shared) = SHARED.get() {
        for file in ["/etc/subuid", "/etc/subgid"] {
            let _ = nix::mount::umount(file);
        }
        let _ = fs::remove_dir_all(shared.base.path());
        let _ = fs::remove_dir(cgroup_parent());
    }
}

fn make_template(root: &Path) {
    for dir in [
        "bin",
        "dev",
        "etc",
        "home/tester",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/bin",
        "var",
    ] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    fs::copy("/proc/self/exe", root.join("bin/probe")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\ntester:x:1000:1000::/home/tester:/bin/sh\n",
    )
    .unwrap();
    fs::write(
        root.join("etc/group"),
        "root:x:0:\ntester:x:1000:\nextra:x:2000:tester\n",
    )
    .unwrap();
}

/// Copies a rootfs: directories and links anew, files as hard links.
fn copy_rootfs(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_rootfs(&source, &target);
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else {
            fs::hard_link(&source, &target).unwrap();
        }
    }
}

fn allow_all(dir: &Path) {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
}

fn cgroup_parent() -> PathBuf {
    Path::new("/sys/fs/cgroup").join(CGROUP_PARENT)
}

/// True if mounts of the file system that holds the tests can be idmapped.
pub(crate) fn can_idmap() -> bool {
    match statfs(shared().base.path()).map(|s| s.filesystem_type()) {
        Ok(EXT4_SUPER_MAGIC) => true,
        Ok(TMPFS_MAGIC) => super::Need::Kernel(6, 3).check().is_ok(),
        _ => false,
    }
}

/// The whole disk that holds the tests, as `MAJOR:MINOR`; None where it is no disk, and where the
/// tests themselves may not open it.
pub(crate) fn disk() -> Option<String> {
    let device = fs::metadata(shared().base.path()).unwrap().dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    let mut directory = fs::canonicalize(format!("/sys/dev/block/{number}")).ok()?;
    if directory.join("partition").exists() {
        directory.pop();
    }
    let name = fs::read_to_string(directory.join("uevent")).ok()?;
    let name = name.lines().find_map(|it| it.strip_prefix("DEVNAME="))?;
    fs::File::open(Path::new("/dev").join(name)).ok()?;
    let number = fs::read_to_string(directory.join("dev")).ok()?;
    Some(number.trim().to_owned())
}

/// The place of one test.
pub(crate) struct Lab {
    dir: TempDir,
    ids: RefCell<Vec<String>>,
    /// What the test build is told by its environment; None: the runtime under test is used.
    told: RefCell<Option<(String, String)>>,
}

impl Lab {
    /// A laboratory in a directory of its own.
    pub(crate) fn new(name: &str) -> Lab {
        let prefix = format!("{}.", name.replace("::", "."));
        let dir = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(shared().base.path())
            .unwrap();
        allow_all(dir.path());
        Lab {
            dir,
            ids: RefCell::default(),
            told: RefCell::default(),
        }
    }

    /// The test's directory; other users may enter it.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A new directory or file path in the test's directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new directory in the test's directory.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A directory that tests share; whoever is first makes it.
    pub(crate) fn shared_directory(&self, name: &str) -> PathBuf {
        let path = shared().base.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// The runtime's state directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.join("state")
    }

    /// The runtime under test, where any user may execute it.
    pub(crate) fn runtime(&self) -> PathBuf {
        shared().runtime.clone()
    }

    /// From here on commands are casulo's test build's, with this variable in their environment. For
    /// tests that need `TestBuild`.
    pub(crate) fn use_test_build(&self, variable: &str, value: &str) {
        self.told
            .replace(Some((variable.to_owned(), value.to_owned())));
    }

    /// From here on commands are the runtime's again.
    pub(crate) fn use_runtime(&self) {
        self.told.replace(None);
    }

    /// The program of the test build.
    pub(crate) fn test_build(&self) -> PathBuf {
        shared().base.path().join("test-build")
    }

    /// The program of the position-independent build. For tests that need `PieBuild`.
    pub(crate) fn pie_build(&self) -> PathBuf {
        shared().base.path().join("pie-build")
    }

    /// A bundle with a rootfs, a plain config and an id of its own.
    pub(crate) fn bundle(&self) -> Bundle<'_> {
        let id = self.new_id();
        let dir = self.join(&id);
        fs::create_dir(&dir).unwrap();
        allow_all(&dir);
        copy_rootfs(&shared().template, &dir.join("rootfs"));
        Bundle::new(self, id, dir)
    }

    /// A container id that no other test has, watched by [`Lab::finish`].
    pub(crate) fn new_id(&self) -> String {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        // As long as any other: none is the beginning of another.
        let id = format!(
            "t{}-{:04}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        self.ids.borrow_mut().push(id.clone());
        id
    }

    /// `casulo --root ROOT`, to be completed.
    pub(crate) fn command(&self) -> Command {
        let mut command = match self.told.borrow().as_ref() {
            None => Command::new(self.runtime()),
            Some((variable, value)) => {
                let mut command = Command::new(self.test_build());
                command.env(variable, value);
                command
            }
        };
        command
            .arg("--root")
            .arg(self.root())
            .current_dir(self.path());
        command
    }

    /// `casulo --root ROOT ARGS…`.
    #[track_caller]
    pub(crate) fn casulo(&self, args: &[&str]) -> Output {
        let mut command = self.command();
        command.args(args);
        finish(command, b"")
    }

    /// Runs `inner` through a shell script, which finds it as its arguments: for descriptors,
    /// signals and identities that the caller of a runtime may give it.
    #[track_caller]
    pub(crate) fn through_shell(&self, script: &str, inner: &Command) -> Output {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script, "sh"])
            .arg(inner.get_program())
            .args(inner.get_args());
        shell.envs(
            inner
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        );
        shell.current_dir(self.path());
        finish(shell, b"")
    }

    /// Where a container's cgroup is on the host.
    pub(crate) fn cgroup(&self, id: &str) -> PathBuf {
        cgroup_parent().join(id)
    }

    /// What a container left: state, cgroup, processes, mounts. Empty is good.
    pub(crate) fn leftovers(&self, id: &str) -> Vec<String> {
        let mut left = Vec::new();
        for path in [self.root().join(id), self.cgroup(id)] {
            if path.symlink_metadata().is_ok() {
                left.push(path.display().to_string());
            }
        }
        let place = self.join(id);
        let place = place.to_string_lossy();
        left.extend(processes_in(&place));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(&*place))
                .map(str::to_owned),
        );
        left
    }

    /// Fails if anything of the container is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, id: &str) {
        let left = self.leftovers(id);
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// Ends the test: deletes what still runs, and nothing may be left then.
    pub(crate) fn finish(self) {
        for id in self.ids.borrow().iter() {
            if self.root().join(id).exists() {
                self.casulo(&["delete", "--force", id]).ok();
            }
        }
        for id in self.ids.borrow().iter() {
            self.assert_nothing_left(id);
        }
    }
}

impl Drop for Lab {
    /// After a failed test, too, nothing may disturb the next one.
    fn drop(&mut self) {
        for id in self.ids.borrow().iter() {
            let _ = fs::write(self.cgroup(id).join("cgroup.kill"), "1");
            let place = self.join(id);
            for pid in processes_in(&place.to_string_lossy()) {
                if let Some(pid) = pid.split(' ').nth(1).and_then(|pid| pid.parse().ok()) {
                    let pid = nix::unistd::Pid::from_raw(pid);
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                }
            }
            remove_cgroup(&self.cgroup(id));
        }
    }
}

/// Removes a cgroup and those below it, once their killed processes are gone.
pub(super) fn remove_cgroup(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroup(&entry.path());
        }
    }
    for _ in 0..100 {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            _ => return,
        }
    }
}

/// The live processes whose root or working directory is in `place`, as `process PID (root)`.
fn processes_in(place: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.parse::<u32>().is_err() {
            continue;
        }
        for link in ["root", "cwd"] {
            let target = fs::read_link(entry.path().join(link)).unwrap_or_default();
            if target.to_string_lossy().starts_with(place) {
                found.push(format!("process {name} ({link})"));
                break;
            }
        }
    }
    found
}
