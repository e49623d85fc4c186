//! The command line: clap types only. Man pages and completions are generated from them.
//!
//! Every option may be repeated and the last one wins: conmon-rs passes `--root` twice. Options may
//! also follow the id, except where the rest of the line belongs to somebody else (exec, ps). One dash before a
//! long option is as good as two.

mod check;
mod create;
mod dashes;
mod described;
mod exec;
mod global;
mod quick;
mod update;
mod words;

pub(crate) use check::{Check, CheckFormat, FailOn};
pub(crate) use create::{Create, Run};
pub(crate) use exec::Exec;
pub(crate) use global::{Global, LogFormat, LogLevel, Manager, Rootless};
pub(crate) use update::Update;

use described::{default_of, described, take_by};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// What casulo takes from its environment.
const ENVIRONMENT: &str = "\
XDG_RUNTIME_DIR: where an ordinary user's state is, and the sockets of their systemd.
NOTIFY_SOCKET (create, start, run): the service manager's socket; the container gets one of its own, and what it says \
there is passed on. A detached run, and start, return when it has said READY=1.
LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES (create, run, exec): sockets of a service manager, passed to the process.";

/// An OCI container runtime: turns a bundle into an isolated process.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "casulo",
    after_long_help = ENVIRONMENT,
    disable_version_flag = true,
    args_override_self = true,
    propagate_version = false
)]
pub(crate) struct Cli {
    /// Options before the command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The verbs, one file each in `commands/`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Create a container; its process waits to be started
    Create(Create),
    /// Start the process of a created container
    Start(Id),
    /// Create and start a container, and wait for it unless --detach is given
    Run(Run),
    /// Execute another process in a running container
    Exec(Exec),
    /// Print the state of a container as JSON
    State(Id),
    /// Send a signal to a container's process
    Kill(Kill),
    /// Freeze all processes of a container
    Pause(Id),
    /// Let the processes of a paused container run on
    Resume(Id),
    /// Change the limits and device rules of a container
    Update(Update),
    /// Remove a container that has stopped
    Delete(Delete),
    /// List the containers of this root
    #[command(alias = "ls")]
    List(List),
    /// List the processes of a container
    Ps(Ps),
    /// Print what a container uses and what happens to it, as JSON, one object a line
    Events(Events),
    /// Say what of a bundle would fail on this host, and what weakens its isolation; makes nothing
    Check(Check),
    /// Write a config.json to start from
    Spec(Spec),
    /// Print what this runtime supports, as JSON
    Features,
    /// Print a completion script for a shell
    Completion(Completion),
}

impl Command {
    /// Its name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Create(_) => "create",
            Command::Start(_) => "start",
            Command::Run(_) => "run",
            Command::Exec(_) => "exec",
            Command::State(_) => "state",
            Command::Kill(_) => "kill",
            Command::Pause(_) => "pause",
            Command::Resume(_) => "resume",
            Command::Update(_) => "update",
            Command::Delete(_) => "delete",
            Command::List(_) => "list",
            Command::Ps(_) => "ps",
            Command::Events(_) => "events",
            Command::Check(_) => "check",
            Command::Spec(_) => "spec",
            Command::Features => "features",
            Command::Completion(_) => "completion",
        }
    }

    /// The container that it is about; an expression may stand for several.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Command::Create(create) | Command::Run(Run { create, .. }) => Some(&create.id),
            Command::Start(it) | Command::State(it) | Command::Pause(it) | Command::Resume(it) => {
                Some(&it.id)
            }
            Command::Exec(it) => Some(&it.id),
            Command::Kill(it) => Some(&it.id),
            Command::Update(it) => Some(&it.id),
            Command::Delete(it) => Some(&it.id),
            Command::Events(it) => Some(&it.id),
            Command::Ps(it) => it.id_and_arguments.first().map(String::as_str),
            Command::List(_)
            | Command::Check(_)
            | Command::Spec(_)
            | Command::Features
            | Command::Completion(_) => None,
        }
    }
}

described! {
    /// A container id.
    #[derive(Clone, Debug, PartialEq, Eq, Args)]
    pub(crate) struct Id {
        /// Container id
        #[arg(value_name = "CONTAINER")]
        pub id: String,
    }
}

described! {
    /// `kill`
    #[derive(Clone, Debug, PartialEq, Eq, Args)]
    pub(crate) struct Kill {
        /// Signal every process of the container; KILL also waits until they have ended
        #[arg(short, long)]
        pub all: bool,
        /// CONTAINER is an extended regular expression: act on every container whose id it matches
        #[arg(short, long)]
        pub regex: bool,
        /// Container id
        #[arg(value_name = "CONTAINER")]
        pub id: String,
        /// Signal name, with or without SIG, or number
        #[arg(value_name = "SIGNAL", default_value = "SIGTERM")]
        pub signal: String,
    }
}

described! {
    /// `delete`
    #[derive(Clone, Debug, PartialEq, Eq, Args)]
    pub(crate) struct Delete {
        /// Kill the container first; a missing one is no error
        #[arg(short, long)]
        pub force: bool,
        /// CONTAINER is an extended regular expression: act on every container whose id it matches
        #[arg(short, long)]
        pub regex: bool,
        /// Container id
        #[arg(value_name = "CONTAINER")]
        pub id: String,
    }
}

/// `list`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct List {
    /// How the list looks
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Ids only
    #[arg(short, long)]
    pub quiet: bool,
}

/// `list --format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns
    Table,
    /// A JSON array
    Json,
}

/// `ps`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Ps {
    /// How the list looks
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: PsFormat,
    /// Container id, then arguments of the host's ps, whose output is cut down to the container [default: -ef]
    // One list: behind the id nothing is casulo's, not even what it would understand.
    #[arg(
        value_names = ["CONTAINER", "ARGUMENT"],
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub id_and_arguments: Vec<String>,
}

/// `ps --format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PsFormat {
    /// The host's ps, without the lines of other processes
    Table,
    /// A JSON array of pids
    Json,
}

/// `events`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Events {
    /// Print the statistics once, and leave
    #[arg(long)]
    pub stats: bool,
    /// Time between statistics, as Go writes it: 500ms, 1.5s, 1m30s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub interval: String,
    /// Container id
    #[arg(value_name = "CONTAINER")]
    pub id: String,
}

/// `spec`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Spec {
    /// Directory to write config.json to
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// File to write instead, over what it holds; below that directory unless it is absolute
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// For an ordinary user
    #[arg(long)]
    pub rootless: bool,
}

/// `completion`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Completion {
    /// bash, zsh or fish
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

impl Cli {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// clap's, to be printed: help that was asked for as well.
    pub(crate) fn read(words: &[OsString]) -> Result<Cli, clap::Error> {
        match quick::read(words) {
            Some(cli) => Ok(cli),
            None => Cli::read_by_clap(words),
        }
    }

    fn read_by_clap(words: &[OsString]) -> Result<Cli, clap::Error> {
        let program = OsString::from("casulo");
        Cli::try_parse_from(std::iter::once(program).chain(dashes::doubled(words)))
    }
}

/// For fuzzing: what the quick reader makes of a line, and clap, if it has an answer.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn readings(words: &[OsString]) -> Option<(Cli, Option<Cli>)> {
    let quick = quick::read(words)?;
    Some((quick, Cli::read_by_clap(words).ok()))
}

/// The whole command line as clap's builder, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
