//! Working directory and program: `process.cwd`, `process.args`, PATH.
//!
//! Everything is looked up in the container's root by fd, and never through a magic link of /proc,
//! which could lead out of it (CVE-2024-21626). The program is looked up before `create` reports
//! success, as runc does, so that a missing one is an error of `create`.

use super::limits::Siblings;
use super::{Plan, environment, signals};
use crate::binary::start;
use crate::defence::{Defence, without};
use crate::error::{Code, Context, Error, Problems, Result};
use crate::root::Root;
use crate::sys::fd;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{AccessFlags, faccessat, fchdir, getcwd};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, RawFd};
use std::path::{Path, PathBuf};

/// What to execute, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Command {
    /// Working directory, absolute in the container.
    pub cwd: PathBuf,
    /// argv; at least one entry.
    pub args: Vec<CString>,
    /// Where argv\[0\] may be.
    pub places: Candidates,
}

/// Where a program may be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// argv\[0\] has a slash: there and nowhere else.
    One(Candidate),
    /// argv\[0\] in each directory of PATH.
    Path(Vec<Candidate>),
}

impl Default for Candidates {
    fn default() -> Candidates {
        Candidates::Path(Vec::new())
    }
}

/// One place of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// What execve(2) gets, absolute or relative to the working directory.
    pub path: CString,
    /// The same, absolute in the container's root.
    pub inside: PathBuf,
}

/// Decides working directory and program. `path` is the JSON path of the process, `directories` those of
/// PATH.
///
/// Problems: a cwd that is not absolute, no args, NUL bytes.
pub(crate) fn plan(
    cwd: &Path,
    args: &[String],
    directories: &[String],
    path: &str,
    problems: &mut Problems,
) -> Command {
    let nul = "contains a NUL byte";
    if !cwd.is_absolute() {
        problems.add(
            format!("{path}.cwd"),
            format!("{cwd:?} is not an absolute path"),
        );
    }
    if cwd.as_os_str().as_encoded_bytes().contains(&0) {
        problems.add(format!("{path}.cwd"), nul);
    }
    if args.is_empty() {
        problems.add(format!("{path}.args"), "needs at least one entry");
    }
    let mut strings = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        match CString::new(arg.as_str()) {
            Ok(arg) => strings.push(arg),
            Err(_) => problems.add(format!("{path}.args[{index}]"), nul),
        }
    }
    let name = args.first().map_or("", String::as_str);
    let place = |path: String| {
        let inside = cwd.join(&path);
        let path = CString::new(path).ok()?;
        Some(Candidate { path, inside })
    };
    // execvp(3): a name with a slash is a path; an empty directory of PATH is the working directory.
    let in_directory = |directory: &String| match directory.as_str() {
        "" => place(format!("./{name}")),
        directory => place(format!("{}/{name}", directory.trim_end_matches('/'))),
    };
    let places = match place(name.to_owned()) {
        Some(place) if name.contains('/') => Candidates::One(place),
        _ if name.is_empty() => Candidates::default(),
        _ => Candidates::Path(directories.iter().filter_map(in_directory).collect()),
    };
    Command {
        cwd: cwd.to_owned(),
        args: strings,
        places,
    }
}

/// The child stands in its working directory, unless only the user may enter it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Entered {
    cwd: Cwd,
    environment: Vec<CString>,
}

#[derive(Debug)]
enum Cwd {
    Here,
    /// Refused to root: a directory of the user's in a user namespace, or on NFS.
    ForTheUser,
}

impl Plan {
    /// Child, create only, after the pivot and while the root is still writable: makes the working
    /// directory, mode 0755, if it is missing.
    ///
    /// # Errors
    /// E_PROCESS; ELOOP for a path through a magic link, EROFS.
    pub(crate) fn make_cwd(&self, root: &Root) -> Result<()> {
        match root.mkdir_all(&self.command.cwd) {
            // Perhaps the user may see what root may not; `enter` and `locate` will tell.
            Ok(_) | Err(Errno::EACCES | Errno::EPERM) => Ok(()),
            Err(errno) => Err(self.no_cwd("create cwd", errno)),
        }
    }

    /// Child, in the container, still root: enters the working directory, and completes the
    /// environment from the container's /etc/passwd.
    ///
    /// A directory that root may not enter is tried again by [`Plan::locate`], as the user.
    ///
    /// # Errors
    /// E_PROCESS naming the directory.
    pub(crate) fn enter(&self, root: &Root) -> Result<Entered> {
        let cwd = match self.change_dir(root) {
            Ok(()) => Cwd::Here,
            Err(Errno::EACCES | Errno::EPERM) => Cwd::ForTheUser,
            Err(errno) => return Err(self.no_cwd("chdir to cwd", errno)),
        };
        let environment = self.environment.complete(root, self.identity.uid);
        Ok(Entered { cwd, environment })
    }

    /// Child, as the user (after [`Plan::become_user`]): finds the program, by the rights that
    /// execve(2) will go by, and checks that the working directory is inside the root.
    ///
    /// # Errors
    /// E_EXEC in the words that callers know: `executable file not found in $PATH`, `no such file or
    /// directory`, `permission denied`, `is a directory`. E_PROCESS for the working directory.
    pub(crate) fn locate(&self, root: &Root, entered: Entered) -> Result<Program> {
        if let Cwd::ForTheUser = entered.cwd {
            self.change_dir(root)
                .map_err(|errno| self.no_cwd("chdir to cwd", errno))?;
        }
        verify_cwd(&self.command.cwd)?;
        let name = self.command.args.first().map_or(c"", CString::as_c_str);
        let place = self.command.places.find(root, name)?;
        Ok(Program {
            place: place.clone(),
            args: self.command.args.clone(),
            environment: entered.environment,
        })
    }

    fn change_dir(&self, root: &Root) -> nix::Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        fchdir(root.open(&self.command.cwd, flags, Mode::empty())?)
    }

    fn no_cwd(&self, step: &str, errno: Errno) -> Error {
        let error = Error::step(
            Code::Process,
            step,
            self.command.cwd.display().to_string(),
            errno,
        );
        match errno {
            Errno::ELOOP => error.because("a ring of symlinks, or a magic link of /proc"),
            _ => error,
        }
    }
}

/// That the working directory is below the root of the mount namespace: the kernel prefixes the path of
/// one that is not with "(unreachable)", and getcwd(3) then fails with ENOENT. CVE-2024-21626.
fn verify_cwd(cwd: &Path) -> Result<()> {
    if without(Defence::CwdInside) {
        return Ok(());
    }
    let object = cwd.display();
    match getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        Ok(_) | Err(Errno::ENOENT) => Err(Errno::ENOENT)
            .context(Code::Process, "verify cwd", object)
            .map_err(|error| error.because("it is deleted, or outside the container's root")),
        Err(errno) => Err(errno).context(Code::Process, "verify cwd", object),
    }
}

impl Candidates {
    /// All of them, absolute in the container's root.
    pub(crate) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        match self {
            Candidates::One(place) => std::slice::from_ref(place),
            Candidates::Path(places) => places.as_slice(),
        }
        .iter()
        .map(|place| &place.inside)
    }

    fn find(&self, root: &Root, name: &CStr) -> Result<&Candidate> {
        let places = match self {
            Candidates::One(place) => {
                check(root, place).map_err(|refusal| refusal.error(name))?;
                return Ok(place);
            }
            Candidates::Path(places) => places,
        };
        let mut denied = None;
        for place in places {
            match check(root, place) {
                Ok(()) => return Ok(place),
                // A directory of that name is no program, so nothing was found here.
                Err(Refusal::Directory | Refusal::Errno(Errno::ENOENT | Errno::ENOTDIR)) => {}
                // execvp(3) goes on looking, and says this if nothing better turns up.
                Err(refusal) => denied = denied.or(Some(refusal)),
            }
        }
        Err(denied.map_or_else(|| not_found(name), |refusal| refusal.error(name)))
    }
}

impl Command {
    /// Parent: looks for the program in `root`, as the caller and before anything is mounted there.
    /// Its path in the container.
    ///
    /// # Errors
    /// As [`Plan::locate`].
    pub(crate) fn look_in(&self, root: &Root) -> Result<&Path> {
        let name = self.args.first().map_or(c"", CString::as_c_str);
        self.places
            .find(root, name)
            .map(|place| place.inside.as_path())
    }
}

/// Why a path is no program.
#[derive(Clone, Copy)]
enum Refusal {
    Directory,
    Errno(Errno),
}

impl Refusal {
    fn error(self, name: &CStr) -> Error {
        let (errno, detail) = match self {
            // What execve(2) says of a directory, with the words that Docker looks for.
            Refusal::Directory => (Errno::EACCES, "is a directory"),
            Refusal::Errno(Errno::ELOOP) => {
                (Errno::ELOOP, "a ring of symlinks, or a magic link of /proc")
            }
            Refusal::Errno(errno) => (errno, ""),
        };
        failed(name, errno).because(detail)
    }
}

fn not_found(name: &CStr) -> Error {
    Error {
        step: "exec:".to_owned(),
        object: quoted(name),
        ..Error::new(Code::Exec, "executable file not found in $PATH")
    }
}

/// That `name` cannot be executed, written as by runc: a path after `exec`, the name of a program in quotes after
/// `exec:`.
fn failed(name: &CStr, errno: Errno) -> Error {
    if name.to_bytes().contains(&b'/') {
        Error::step(Code::Exec, "exec", name.to_string_lossy(), errno)
    } else {
        Error::step(Code::Exec, "exec:", quoted(name), errno)
    }
}

fn quoted(name: &CStr) -> String {
    format!("{:?}", name.to_string_lossy())
}

/// Whether the caller may execute what is at `place` now.
fn check(root: &Root, place: &Candidate) -> std::result::Result<(), Refusal> {
    let fd = root.resolve(&place.inside).map_err(Refusal::Errno)?;
    let stat = fstat(&fd).map_err(Refusal::Errno)?;
    match SFlag::from_bits_retain(stat.st_mode & libc::S_IFMT) {
        SFlag::S_IFREG => {}
        SFlag::S_IFDIR => return Err(Refusal::Directory),
        _ => return Err(Refusal::Errno(Errno::EACCES)),
    }
    // Effective ids, because access(2) otherwise forgets the capabilities of a non-root user.
    let flags = AtFlags::AT_EACCESS | AtFlags::AT_EMPTY_PATH;
    faccessat(fd.as_fd(), "", AccessFlags::X_OK, flags).map_err(Refusal::Errno)
}

/// What will be executed: found inside the container's root.
#[derive(Debug)]
pub(crate) struct Program {
    place: Candidate,
    args: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// Child, before its last steps: makes the process what it will be: default signals, no descriptors but the
    /// preserved and those of `keep`, its limits.
    ///
    /// # Errors
    /// E_PROCESS
    pub(crate) fn ready(&self, plan: &Plan, keep: &[RawFd], siblings: Siblings) -> Result<()> {
        signals::reset(plan.ignored_signals)?;
        fd::close_all_but(plan.first_closed_fd, keep).context(
            Code::Process,
            "close the file descriptors from",
            plan.first_closed_fd,
        )?;
        start::restore_limits(|resource| plan.rlimits.iter().any(|it| it.resource == resource))
            .context(Code::Process, "give the caller's limits back", "")?;
        // Last, because a limit may leave no room for anything else.
        plan.rlimits.iter().try_for_each(|it| it.apply(siblings))
    }

    /// What execve(2) gets: path, argv, envp.
    pub(crate) fn words(&self) -> (&CStr, &[CString], &[CString]) {
        (&self.place.path, &self.args, &self.environment)
    }
}

impl Command {
    /// Parent: why execve(2) of this command failed.
    pub(crate) fn not_executed(&self, errno: Errno) -> Error {
        let name = self.args.first().map_or(c"", CString::as_c_str);
        let error = failed(name, errno);
        match errno {
            Errno::ENOEXEC => error.hint(
                "the file is neither a program for this architecture nor a script beginning with #!",
            ),
            // It was there a moment ago.
            Errno::ENOENT => error.hint(
                "the interpreter that the script or program names (#! line, dynamic loader) is missing in the container",
            ),
            Errno::E2BIG => error.hint("process.args and process.env are too long together"),
            _ => error,
        }
    }

    /// Parent: the working directory was no longer inside the root when the wait was over.
    pub(crate) fn left_the_root(&self, errno: Errno) -> Error {
        Error::step(
            Code::Process,
            "verify cwd",
            self.cwd.display().to_string(),
            errno,
        )
        .because("it is deleted, or outside the container's root")
    }
}

impl Plan {
    /// The environment gets what socket activation needs, sd_listen_fds(3): `fds` descriptors from 3
    /// on, for the process's own pid, with the names of LISTEN_FDNAMES. For the parent, which was
    /// given them. They are the first of what `--preserve-fds` keeps: Podman asks for the same
    /// descriptors by both.
    pub(crate) fn listen(&mut self, fds: u32, names: Option<&str>) {
        let environment: &mut environment::Environment = &mut self.environment;
        environment.set("LISTEN_FDS", &fds.to_string());
        environment.remove("LISTEN_PID");
        environment.listen_pid = environment::ListenPid::Own;
        if let Some(names) = names {
            environment.set("LISTEN_FDNAMES", names);
        }
        self.first_closed_fd = self.first_closed_fd.max(fds.saturating_add(3));
    }
}

#[cfg(test)]
impl Program {
    /// A program that nobody looked for.
    pub(super) fn for_test(path: &CStr) -> Program {
        let place = Candidate {
            path: path.to_owned(),
            inside: PathBuf::new(),
        };
        Program {
            place,
            args: vec![path.to_owned()],
            environment: Vec::new(),
        }
    }
}
