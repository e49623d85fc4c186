//! Hooks: programs that the config names and that run at six points of a container's life.
//!
//! Plan: parent, pure. A hook runs in the namespaces of the process that calls [`Plan::run`]: the
//! parent for prestart, createRuntime, poststart and poststop, init for createContainer (before
//! the pivot, so the path is the host's) and startContainer (the path is the container's).
//! config.md, "POSIX-platform Hooks".

mod execute;
mod inside;
mod output;

pub(crate) use inside::Inside;
pub(crate) use output::{Output, Spoken, Tail};

use crate::error::{Problems, Result};
use oci_spec::runtime::Spec;
use std::ffi::CString;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The six kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Deprecated: as createRuntime, and before it.
    Prestart,
    /// On create, in the runtime's namespaces, before the pivot.
    CreateRuntime,
    /// On create, in the container's namespaces, before the pivot.
    CreateContainer,
    /// On start, in the container, before the program is executed.
    StartContainer,
    /// On start, in the runtime's namespaces, after the program is executed.
    Poststart,
    /// On delete, in the runtime's namespaces, after the container is gone.
    Poststop,
}

impl Kind {
    /// The name of the kind in config.json.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Prestart => "prestart",
            Kind::CreateRuntime => "createRuntime",
            Kind::CreateContainer => "createContainer",
            Kind::StartContainer => "startContainer",
            Kind::Poststart => "poststart",
            Kind::Poststop => "poststop",
        }
    }
}

/// All hooks of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The hooks of all kinds, those of one kind in the order of the config.
    pub hooks: Vec<Hook>,
    /// The file that gets their stdout (`run.oci.hooks.stdout`), relative to the bundle.
    pub stdout: Option<PathBuf>,
    /// The file that gets their stderr (`run.oci.hooks.stderr`), relative to the bundle.
    pub stderr: Option<PathBuf>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// When it runs.
    pub kind: Kind,
    /// Its place among those of its kind, from 0.
    pub index: usize,
    /// The program, absolute.
    pub path: CString,
    /// argv, with argv\[0\]; the path alone where the config gives none.
    pub args: Vec<CString>,
    /// The whole environment; `None` where the config gives none.
    pub env: Option<Vec<CString>>,
    /// How long it may run.
    pub timeout: Option<Duration>,
}

impl Hook {
    /// What an error says was done, in the words of runc, which its users look for.
    fn step(&self) -> String {
        format!("error running {} hook #{}:", self.kind.name(), self.index)
    }
}

impl fmt::Display for Hook {
    /// `hooks.createRuntime[1] /usr/bin/fix-mounts`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.to_string_lossy();
        write!(f, "hooks.{}[{}] {path}", self.kind.name(), self.index)
    }
}

/// What a hook is called with besides its own fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// The container's state as JSON, for stdin.
    pub state: &'a [u8],
    /// Where the hook starts: the bundle, as with runc and crun; a directory that cannot be entered (deleted
    /// before poststop) is replaced by `/`. `None` is the caller's working directory: for createContainer that is the
    /// container's root, as with runc.
    pub cwd: Option<&'a Path>,
    /// The environment of hooks that give none: the caller's own ([`own_environment`]), as with
    /// runc and crun, and the process's for startContainer, which must not see the host's.
    pub env: &'a [CString],
    /// The files that get what hooks say.
    pub output: &'a Output,
}

/// Decides. Pure.
#[allow(
    deprecated,
    reason = "prestart is deprecated, and engines still use it"
)]
pub(crate) fn plan(spec: &Spec, problems: &mut Problems) -> Plan {
    let mut hooks = Vec::new();
    if let Some(all) = spec.hooks() {
        for (kind, list) in [
            (Kind::Prestart, all.prestart()),
            (Kind::CreateRuntime, all.create_runtime()),
            (Kind::CreateContainer, all.create_container()),
            (Kind::StartContainer, all.start_container()),
            (Kind::Poststart, all.poststart()),
            (Kind::Poststop, all.poststop()),
        ] {
            for (index, hook) in list.iter().flatten().enumerate() {
                hooks.push(one(kind, index, hook, problems));
            }
        }
    }
    let mut file = |key: &str| {
        let value = spec.annotations().as_ref()?.get(key)?;
        if value.is_empty() || value.contains('\0') {
            problems.add(format!("annotations[{key:?}]"), "not the path of a file");
        }
        Some(PathBuf::from(value))
    };
    Plan {
        hooks,
        stdout: file("run.oci.hooks.stdout"),
        stderr: file("run.oci.hooks.stderr"),
    }
}

fn one(kind: Kind, index: usize, hook: &oci_spec::runtime::Hook, problems: &mut Problems) -> Hook {
    let at = format!("hooks.{}[{index}]", kind.name());
    if !hook.path().is_absolute() {
        let why = format!("{:?} is not an absolute path", hook.path());
        problems.add(format!("{at}.path"), why);
    }
    let mut text = |place: String, bytes: &[u8]| {
        CString::new(bytes).unwrap_or_else(|_| {
            problems.add(place, "contains a NUL byte");
            CString::default()
        })
    };
    let path = text(format!("{at}.path"), hook.path().as_os_str().as_bytes());
    let mut texts = |field: &str, list: &Vec<String>| -> Vec<CString> {
        list.iter()
            .enumerate()
            .map(|(i, item)| text(format!("{at}.{field}[{i}]"), item.as_bytes()))
            .collect()
    };
    let args = hook.args().as_ref().map(|args| texts("args", args));
    let env = hook.env().as_ref().map(|env| texts("env", env));
    let timeout = hook.timeout().and_then(|seconds| {
        let positive = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        if positive.is_none() {
            let why = format!("{seconds} is not greater than 0");
            problems.add(format!("{at}.timeout"), why);
        }
        positive.map(Duration::from_secs)
    });
    Hook {
        kind,
        index,
        args: args
            .filter(|args| !args.is_empty())
            .unwrap_or_else(|| vec![path.clone()]),
        path,
        env,
        timeout,
    }
}

impl Plan {
    /// True if there are hooks of this kind.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.hooks.iter().any(|hook| hook.kind == kind)
    }

    /// True if what hooks say goes to a file.
    pub(crate) fn has_files(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Runs the hooks of a kind in order, in the caller's namespaces and with its privileges, and
    /// stops at the first that fails.
    ///
    /// # Errors
    /// E_HOOK: which hook, how it ended, and the end of what it said.
    pub(crate) fn run(&self, kind: Kind, call: &Call<'_>) -> Result<()> {
        self.hooks
            .iter()
            .filter(|hook| hook.kind == kind)
            .try_for_each(|hook| execute::run(hook, call))
    }

    /// Runs all hooks of a kind in order, whether they fail or not, and returns the errors: for
    /// poststop, whose failures are warnings (runtime.md, Lifecycle, step 13).
    pub(crate) fn run_all(&self, kind: Kind, call: &Call<'_>) -> Vec<crate::error::Error> {
        self.hooks
            .iter()
            .filter(|hook| hook.kind == kind)
            .filter_map(|hook| execute::run(hook, call).err())
            .collect()
    }
}

/// The calling process's environment, for [`Call::env`].
pub(crate) fn own_environment() -> Vec<CString> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let mut line = name.into_vec();
            line.push(b'=');
            line.extend(value.into_vec());
            CString::new(line).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests;
