//! One file a verb. Each turns what was typed into a call of the engine and returns the exit code.

mod check;
mod completion;
mod create;
mod delete;
mod events;
mod exec;
pub mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod run;
pub(crate) mod spec;
mod start;
mod state;
mod update;
mod version;

#[cfg(any(test, feature = "testing"))]
pub(crate) use exec::parse_user;

use crate::cli::{Cli, Command, Global, LogFormat, LogLevel, Manager, Rootless};
use crate::config;
use crate::error::{Code, Context, Error, Result};
use crate::foreground::Relay;
use crate::id::Id;
use crate::log::Format;
use crate::options::CgroupManager;
use crate::state::{Dir, Store};
use crate::sys::regex::Regex;
use log::LevelFilter;
use nix::errno::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Runs the command and returns casulo's exit code.
///
/// # Errors
/// What the command's engine reports.
pub(crate) fn dispatch(cli: Cli) -> Result<u8> {
    let global = &cli.global;
    let id = cli.command.as_ref().and_then(Command::id);
    crate::log::init(global.log.as_deref(), id, format(global), level(global))?;
    if global.version {
        return version::run();
    }
    let Some(command) = cli.command else {
        let text = crate::cli::command().render_help().to_string();
        print(text.as_bytes())?;
        return Err(Error::new(Code::Usage, "no command given"));
    };
    if let Some(file) = &global.trace {
        crate::step::trace::begin(file, command.name())?;
    }
    let result = execute(global, command);
    let traced = crate::step::trace::end();
    result.and_then(|code| traced.map(|()| code))
}

/// The text of a file that an option names, and what errors call it.
fn read(path: &Path) -> Result<(Vec<u8>, String)> {
    let name = path.display().to_string();
    let bytes = File::open(path).and_then(config::read);
    Ok((bytes.context(Code::Config, "read", &name)?, name))
}

/// What it takes to look after a process in the foreground: the relay of its terminal.
fn relay(console: Option<OwnedFd>) -> Result<Option<Relay<'static>>> {
    console.map(Relay::of_stdio).transpose()
}

/// Each command has a frame of its own: put into one function, every command would touch the stack of the
/// largest (docs/performance.md).
fn execute(global: &Global, command: Command) -> Result<u8> {
    match command {
        Command::Create(args) => create::run(global, &args),
        Command::Start(args) => start::run(global, &args),
        Command::Run(args) => run::run(global, &args),
        Command::Exec(args) => exec::run(global, &args),
        Command::State(args) => state::run(global, &args),
        Command::Kill(args) => kill::run(global, &args),
        Command::Pause(args) => pause::pause(global, &args),
        Command::Resume(args) => pause::resume(global, &args),
        Command::Update(args) => update::run(global, &args),
        Command::Delete(args) => delete::run(global, &args),
        Command::List(args) => list::run(global, &args),
        Command::Ps(args) => ps::run(global, &args),
        Command::Events(args) => events::run(global, &args),
        Command::Check(args) => check::run(global, &args),
        Command::Spec(args) => {
            let ids = (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
            );
            spec::run(
                &args.bundle,
                args.file.as_deref(),
                args.rootless.then_some(ids),
            )
            .map(|()| 0)
        }
        Command::Features => print(format!("{:#}\n", features::document()).as_bytes()).map(|()| 0),
        Command::Completion(args) => completion::run(&args),
    }
}

/// The exit code of casulo's own failure: 255 for an exec that could not start, else 1.
pub(crate) fn failure_code(cli: &Cli) -> u8 {
    if matches!(cli.command, Some(Command::Exec(_))) {
        255
    } else {
        1
    }
}

fn format(global: &Global) -> Format {
    match global.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    }
}

fn level(global: &Global) -> LevelFilter {
    match global.log_level {
        _ if global.debug => LevelFilter::Debug,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    }
}

/// The directory of containers: `--root`, else the default of root or of an ordinary user. An empty
/// `XDG_RUNTIME_DIR` counts as unset (Podman sets it so), and root never looks at it, so that
/// every verb finds the same directory whatever its environment.
fn store(global: &Global) -> Result<Store> {
    let root = match &global.root {
        Some(root) => absolute(root)?,
        None if nix::unistd::geteuid().is_root() && !crate::host::in_user_namespace() => {
            PathBuf::from("/run/casulo")
        }
        None => match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty())
        {
            Some(directory) => Path::new(&directory).join("casulo"),
            None => PathBuf::from(format!("/run/user/{}/casulo", nix::unistd::geteuid())),
        },
    };
    if root == Path::new("/") {
        return Err(Error::new(Code::Usage, "--root must not be /"));
    }
    Ok(Store::at(root))
}

/// The directory of the container with this id.
///
/// # Errors
/// `E_ID`, and as [`Store::open`].
fn open(global: &Global, id: &str) -> Result<Dir> {
    store(global)?.open(&id.parse()?)
}

/// The ids of all containers. A root that was named is meant; the default one appears with its first container.
///
/// # Errors
/// `E_STATE`
fn ids(global: &Global) -> Result<Vec<Id>> {
    match store(global)?.ids() {
        Err(error) if error.errno == Some(Errno::ENOENT) && global.root.is_none() => Ok(Vec::new()),
        ids => ids,
    }
}

/// `--regex`: acts on every container whose id the extended regular expression matches, anywhere. As with crun a
/// failure is a warning, and the others are acted on all the same.
///
/// # Errors
/// `E_USAGE` for what is no expression, and as [`ids`].
fn each_matching(global: &Global, expression: &str, act: impl Fn(&Id) -> Result<()>) -> Result<()> {
    let wrong = |why: String| {
        let text = format!("invalid regular expression {expression:?}: {why}");
        Error::new(Code::Usage, text)
    };
    let pattern = CString::new(expression).map_err(|nul| wrong(nul.to_string()))?;
    let regex = Regex::compile(&pattern).map_err(wrong)?;
    for id in ids(global)? {
        let name = CString::new(&*id).expect("an id has no NUL");
        if regex.matches(&name)
            && let Err(error) = act(&id)
        {
            log::warn!("{error}");
        }
    }
    Ok(())
}

/// `path`, or `path` below the current directory. Nothing is resolved.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .map_err(|error| Error::new(Code::Usage, format!("{}: {error}", path.display())))
}

/// What `--rootless` claims, if it does not leave it to uid and user namespace.
fn rootless(global: &Global) -> Option<bool> {
    match global.rootless {
        Rootless::Auto => None,
        Rootless::True => Some(true),
        Rootless::False => Some(false),
    }
}

fn cgroup_manager(global: &Global) -> CgroupManager {
    match global.cgroup_manager {
        Some(Manager::Systemd) => CgroupManager::Systemd,
        Some(Manager::Disabled) => CgroupManager::Disabled,
        None if global.systemd_cgroup => CgroupManager::Systemd,
        Some(Manager::Cgroupfs) | None => CgroupManager::Cgroupfs,
    }
}

/// Hands on the sockets that a service manager opened for casulo: sd_listen_fds(3). They are not ours
/// when LISTEN_PID names somebody else, which happens where a service leaves its own variables to what
/// it starts. Without LISTEN_PID they are, as for crun.
fn pass_listeners(process: &mut crate::process::Plan) {
    let variable = |name| std::env::var(name).ok();
    let ours = match variable("LISTEN_PID") {
        Some(pid) => pid == std::process::id().to_string(),
        None => true,
    };
    if let Some(fds) = variable("LISTEN_FDS").and_then(|fds| fds.parse().ok())
        && ours
        && fds > 0
    {
        process.listen(fds, variable("LISTEN_FDNAMES").as_deref());
    }
}

/// The exit code of a process as casulo's own. Both are below 256 by definition.
fn exit_code(code: i32) -> Result<u8> {
    u8::try_from(code)
        .map_err(|_out_of_range| Error::new(Code::Process, format!("exit code {code}")))
}

/// Writes what the command prints to stdout.
///
/// # Errors
/// `E_IO`, for a pipe that its reader has closed, too.
fn print(bytes: &[u8]) -> Result<()> {
    use crate::error::Context;
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .context(Code::Io, "write to", "stdout")
}
