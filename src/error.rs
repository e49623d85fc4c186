//! The one error type: a stable code, the step, the object, the errno and a hint.
//!
//! A runtime error names what was being done (`step`), to which object, and what the kernel
//! said; a config error names the JSON path. An error made in the child crosses to the parent
//! through [`crate::sync`] unchanged. Only `main` prints one.

use nix::errno::Errno;
use std::fmt;

/// The stable code of an error: `E_…` in the JSON log line. Codes are never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The command line is wrong in a way that clap cannot see.
    Usage,
    /// config.json or process.json cannot be read, parsed or accepted.
    Config,
    /// The bundle directory, its config.json or its root file system is missing.
    Bundle,
    /// The container id is malformed.
    Id,
    /// A container with this id already exists.
    Exists,
    /// No container with this id exists.
    NotFound,
    /// The container is in the wrong state for the command.
    Status,
    /// The state directory cannot be read or written.
    State,
    /// A namespace cannot be created, joined or set up.
    Namespace,
    /// uid or gid maps cannot be written.
    IdMap,
    /// A cgroup cannot be created, limited, entered or removed.
    Cgroup,
    /// systemd cannot be reached, or did not do what it was asked.
    Systemd,
    /// The device rules cannot be loaded.
    Devices,
    /// A mount, a mask or the pivot failed.
    Mount,
    /// A device node could not be made.
    Device,
    /// A path below the root file system is not what it must be (symlink, wrong type).
    UnsafePath,
    /// A sysctl could not be written.
    Sysctl,
    /// The seccomp filter cannot be compiled or loaded.
    Seccomp,
    /// AppArmor or SELinux refused or is absent.
    Lsm,
    /// Identity, capabilities, limits or another property of the process was refused.
    Process,
    /// The program could not be executed.
    Exec,
    /// A hook failed.
    Hook,
    /// The terminal or the console socket failed.
    Terminal,
    /// A network device could not be moved or set up.
    Network,
    /// resctrl refused or is absent.
    IntelRdt,
    /// A signal could not be sent.
    Signal,
    /// The container was killed by its memory limit.
    OutOfMemory,
    /// Something between parent and child broke.
    Sync,
    /// The kernel or the host lacks something casulo needs.
    Unsupported,
    /// Reading or writing a file of the caller (pid file, log, console socket) failed.
    Io,
}

impl Code {
    /// Every code, in order.
    pub(crate) const ALL: &'static [Code] = &[
        Code::Usage,
        Code::Config,
        Code::Bundle,
        Code::Id,
        Code::Exists,
        Code::NotFound,
        Code::Status,
        Code::State,
        Code::Namespace,
        Code::IdMap,
        Code::Cgroup,
        Code::Systemd,
        Code::Devices,
        Code::Mount,
        Code::Device,
        Code::UnsafePath,
        Code::Sysctl,
        Code::Seccomp,
        Code::Lsm,
        Code::Process,
        Code::Exec,
        Code::Hook,
        Code::Terminal,
        Code::Network,
        Code::IntelRdt,
        Code::Signal,
        Code::OutOfMemory,
        Code::Sync,
        Code::Unsupported,
        Code::Io,
    ];

    /// The text of the code, as it stands in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Code::Usage => "E_USAGE",
            Code::Config => "E_CONFIG",
            Code::Bundle => "E_BUNDLE",
            Code::Id => "E_ID",
            Code::Exists => "E_EXISTS",
            Code::NotFound => "E_NOT_FOUND",
            Code::Status => "E_STATUS",
            Code::State => "E_STATE",
            Code::Namespace => "E_NAMESPACE",
            Code::IdMap => "E_ID_MAP",
            Code::Cgroup => "E_CGROUP",
            Code::Systemd => "E_SYSTEMD",
            Code::Devices => "E_DEVICES",
            Code::Mount => "E_MOUNT",
            Code::Device => "E_DEVICE",
            Code::UnsafePath => "E_UNSAFE_PATH",
            Code::Sysctl => "E_SYSCTL",
            Code::Seccomp => "E_SECCOMP",
            Code::Lsm => "E_LSM",
            Code::Process => "E_PROCESS",
            Code::Exec => "E_EXEC",
            Code::Hook => "E_HOOK",
            Code::Terminal => "E_TERMINAL",
            Code::Network => "E_NETWORK",
            Code::IntelRdt => "E_INTEL_RDT",
            Code::Signal => "E_SIGNAL",
            Code::OutOfMemory => "E_OUT_OF_MEMORY",
            Code::Sync => "E_SYNC",
            Code::Unsupported => "E_UNSUPPORTED",
            Code::Io => "E_IO",
        }
    }

    /// The code of a text; unknown texts are [`Code::Sync`] (they only come over the socket).
    pub(crate) fn parse(text: &str) -> Code {
        let mut codes = Self::ALL.iter().copied();
        codes
            .find(|code| code.as_str() == text)
            .unwrap_or(Code::Sync)
    }
}

/// What went wrong, complete enough for one line on stderr and one JSON object in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Stable code.
    pub code: Code,
    /// What was being done: `mount`, `set memory.max`, `read config`. Empty for plain messages.
    pub step: String,
    /// To which object: a path, a name, a JSON path. May be empty.
    pub object: String,
    /// What the kernel said.
    pub errno: Option<Errno>,
    /// Why, where there is no errno or the errno does not say enough.
    pub detail: String,
    /// What the user can do about it, where we know.
    pub hint: Option<String>,
}

/// A result with our error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that the kernel did not cause: `message` says it all.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Error {
        Error {
            code,
            step: String::new(),
            object: String::new(),
            errno: None,
            detail: message.into(),
            hint: None,
        }
    }

    /// `step` on `object` failed with `errno`.
    pub(crate) fn step(
        code: Code,
        step: impl Into<String>,
        object: impl Into<String>,
        errno: Errno,
    ) -> Error {
        Error {
            code,
            step: step.into(),
            object: object.into(),
            errno: Some(errno),
            detail: String::new(),
            hint: None,
        }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Adds why, beside the errno.
    #[must_use]
    pub(crate) fn because(mut self, detail: impl Into<String>) -> Error {
        self.detail = detail.into();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if !self.step.is_empty() {
            f.write_str(&self.step)?;
            if !self.object.is_empty() {
                write!(f, " {}", self.object)?;
            }
            separator = ": ";
        }
        if !self.detail.is_empty() {
            write!(f, "{separator}{}", self.detail)?;
            separator = ": ";
        }
        if let Some(errno) = self.errno {
            write!(f, "{separator}{}", errno_text(errno))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The text of an errno as the C library writes it (strerror(3)), with which scripts compare. Engines look for six
/// of them in small letters, as Go writes them.
pub(crate) fn errno_text(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES => "permission denied",
        Errno::EISDIR => "is a directory",
        Errno::ENOENT => "no such file or directory",
        Errno::ENOTDIR => "not a directory",
        Errno::EPERM => "operation not permitted",
        Errno::ESRCH => "no such process",
        // nix has texts of its own for these.
        Errno::EAGAIN => "Resource temporarily unavailable",
        Errno::EBADF => "Bad file descriptor",
        Errno::EDEADLK => "Resource deadlock avoided",
        Errno::EDQUOT => "Disk quota exceeded",
        Errno::EIO => "Input/output error",
        Errno::ELOOP => "Too many levels of symbolic links",
        Errno::ENFILE => "Too many open files in system",
        Errno::ENOLCK => "No locks available",
        Errno::ENOMEM => "Cannot allocate memory",
        Errno::ENOTTY => "Inappropriate ioctl for device",
        Errno::EOPNOTSUPP => "Operation not supported",
        Errno::ERANGE => "Numerical result out of range",
        Errno::EXDEV => "Invalid cross-device link",
        other => other.desc(),
    }
}

/// Turns a failed call into an [`Error`] that says what was being done to what.
pub(crate) trait Context<T> {
    /// `step` on `object`; the object's text is only made on failure.
    fn context(self, code: Code, step: &str, object: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, code: Code, step: &str, object: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| Error::step(code, step, object.to_string(), errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, code: Code, step: &str, object: impl fmt::Display) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => Error::step(code, step, object.to_string(), Errno::from_raw(raw)),
            None => Error {
                step: step.to_owned(),
                object: object.to_string(),
                ..Error::new(code, error.to_string())
            },
        })
    }
}

/// The problems found in a config, each with its JSON path
/// (`linux.seccomp.syscalls[2].args[0].value`). All are found before anything is made.
#[derive(Debug, Default)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    /// Notes that the value at `path` cannot be accepted, and why.
    pub(crate) fn add(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.0.push((path.into(), why.into()));
    }

    /// True if nothing was found.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was found: each JSON path, and why.
    pub(crate) fn into_list(self) -> Vec<(String, String)> {
        self.0
    }

    /// `Ok` if nothing was found, else one error naming `file` and every problem, joined by `; `.
    pub(crate) fn into_result(self, file: &str) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = self
            .0
            .into_iter()
            .map(|(path, why)| format!("{path}: {why}"))
            .collect();
        Err(Error::new(
            Code::Config,
            format!("{file}: {}", list.join("; ")),
        ))
    }
}

#[cfg(test)]
mod tests;
