//! The options before the command.

use super::described::{Value, default_of, described, one_of, take_by};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

described! {
    /// Options before the command.
    #[derive(Clone, Debug, PartialEq, Eq, Args)]
    pub(crate) struct Global {
        /// Directory for the state of containers [default: /run/casulo, or casulo below $XDG_RUNTIME_DIR for an ordinary user]
        #[arg(long, value_name = "DIR")]
        pub root: Option<PathBuf>,
        /// File that messages are appended to, also file:FILE, or journald:NAME or syslog:NAME [default: stderr]
        #[arg(long, value_name = "FILE")]
        pub log: Option<PathBuf>,
        /// How messages look
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
        pub log_format: LogFormat,
        /// The least important messages to write
        #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Warning)]
        pub log_level: LogLevel,
        /// The same as --log-level debug
        #[arg(long)]
        pub debug: bool,
        /// The same as --cgroup-manager systemd
        #[arg(long)]
        pub systemd_cgroup: bool,
        /// Who makes the cgroup [default: cgroupfs]
        #[arg(long, value_name = "MANAGER")]
        pub cgroup_manager: Option<Manager>,
        /// Whether to act as an ordinary user's runtime
        #[arg(long, value_name = "WHETHER", value_enum, default_value_t = Rootless::Auto)]
        pub rootless: Rootless,
        /// File for a trace of where the time went, in Chrome's Trace Event Format
        #[arg(long, value_name = "FILE")]
        pub trace: Option<PathBuf>,
        /// Print versions and leave
        #[arg(short = 'v', visible_short_alias = 'V', long)]
        pub version: bool,
    }
}

/// `--log-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines of text
    Text,
    /// One JSON object a line
    Json,
}

/// `--log-level`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Only what makes the command fail
    Error,
    /// What is ignored or skipped, too
    #[value(alias = "warn")]
    Warning,
    /// Progress, too
    Info,
    /// Everything
    #[value(alias = "trace")]
    Debug,
}

/// `--cgroup-manager`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Manager {
    /// casulo writes the cgroup files itself
    Cgroupfs,
    /// systemd makes a scope
    Systemd,
    /// No cgroup is made
    Disabled,
}

/// `--rootless`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rootless {
    /// Decided by uid and user namespace
    Auto,
    /// As an ordinary user's runtime
    True,
    /// As root's runtime
    False,
}

/// Their words are those of `ValueEnum`.
macro_rules! value_of_one {
    ($($type:ty)*) => { $(
        impl Value for $type {
            fn of(word: &str) -> Option<$type> {
                one_of(word)
            }
        }
    )* };
}

value_of_one!(LogFormat LogLevel Manager Rootless);
