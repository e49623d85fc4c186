//! `check`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

const STATUS: &str = "\
Exit status: 0 if nothing was found that --fail-on names; 2 if something would fail; 3 if something weakens \
isolation only; 1 if the bundle could not be checked, or for a wrong command line.

A line of text is a severity (fail, danger, weak), a code, a place in config.json, what is the matter there and what \
can be done. Codes are stable; docs/check.md explains each.";

/// `check`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(after_long_help = STATUS)]
pub(crate) struct Check {
    /// The bundle's directory
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// A config.json elsewhere than in the bundle
    #[arg(short = 'f', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the findings look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: CheckFormat,
    /// The least severe finding that counts for the exit status
    #[arg(long, value_name = "SEVERITY", default_value = "weak")]
    pub fail_on: FailOn,
    /// A code whose findings are known and accepted; may be given several times
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub accept: Vec<String>,
}

/// `check --format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// Lines
    Text,
    /// A JSON object
    Json,
}

/// `check --fail-on`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// What would fail
    Fail,
    /// What gives the container the host, too
    Danger,
    /// What weakens isolation, too
    Weak,
    /// Nothing: the exit status is 0
    Never,
}
