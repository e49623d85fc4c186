//! `make bench`: what a start costs beside the least it can cost, and what isolation gives and costs
//! beside a plain chroot.
//!
//! The program is also what runs inside the environments it looks at, under its subcommands.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a report is there to be printed"
)]

mod report;
mod rounds;
mod runtimes;

use clap::{Parser, ValueEnum};
use report::Section;
use runtimes::Runtime;
use std::path::PathBuf;
use std::process::ExitCode;

/// What isolation gives and costs, and what a start costs.
#[derive(Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Cli {
    /// Few rounds: to see that everything works, not to measure.
    #[arg(long)]
    quick: bool,
    /// Only this part of the report.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// A runtime to look at, in the place of bin/casulo and Debian's crun and runc.
    #[arg(long = "runtime", value_name = "NAME=PATH")]
    runtimes: Vec<Runtime>,
    /// Where the page and the numbers go.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// What `cargo bench` adds by itself.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Isolation,
    Cost,
    Startup,
}

/// What all parts are told.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) runtimes: Vec<Runtime>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut options = Options {
        quick: cli.quick,
        runtimes: match cli.runtimes.is_empty() {
            true => Runtime::defaults(),
            false => cli.runtimes,
        },
    };
    runtimes::equip(&mut options.runtimes, &cli.out);
    let wanted = |part| cli.only.is_empty() || cli.only.contains(&part);
    let mut sections: Vec<Section> = Vec::new();
    let parts: [(Part, fn(&Options) -> Section); 0] = [];
    for (part, section) in parts {
        if wanted(part) {
            sections.push(section(&options));
        }
    }
    ExitCode::SUCCESS
}
