//! `make bench`: what a start costs beside the least it can cost, and what isolation gives and costs
//! beside a plain chroot.
//!
//! The program is also what runs inside the environments it looks at, under its subcommands.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a report is there to be printed"
)]

mod containers;
mod cost;
mod environments;
mod isolation;
mod machine;
mod place;
mod report;
mod rounds;
mod runtimes;
mod startup;
mod sys;
mod testhost;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use place::Place;
use report::Section;
use runtimes::Runtime;
use std::path::PathBuf;
use std::process::ExitCode;

/// What isolation gives and costs, and what a start costs.
#[derive(Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    report: Report,
    #[command(subcommand)]
    inside: Option<Inside>,
}

#[derive(Args)]
struct Report {
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
    /// Ask what could harm a machine on this one, instead of in the test host.
    #[arg(long)]
    dangerous_here: bool,
    /// Fail if something got through that must be held, or if casulo did not start what it was told to.
    #[arg(long)]
    check: bool,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Isolation,
    Cost,
    Startup,
}

/// What makes a part.
type Measures = fn(&Options, &Place) -> Result<Section>;

/// What runs inside an environment, or beside it.
#[derive(Subcommand)]
enum Inside {
    /// One probe.
    Probe { name: String, facts: PathBuf },
    /// The process of the host that probes try to reach.
    Victim { word: String, socket: String },
    /// Rows of the matrix on this machine, as JSON.
    Cells {
        probes: Vec<String>,
        #[command(flatten)]
        there: There,
    },
    /// Starts that are timed in the test host, as JSON.
    Starts {
        #[command(flatten)]
        there: There,
    },
    /// Opens the page in headless Chromium, and says what is wrong with it.
    CheckPage { dir: PathBuf },
    /// Work that is timed.
    Work { work: cost::Work, file: PathBuf },
    /// Takes what comes, for a timed sender.
    TakeInput,
    /// Waits for its end.
    Idle,
    /// Uses so much memory.
    UseMemory { megabytes: usize },
    /// Prints the effective user.
    Euid,
}

/// What the test host is told.
#[derive(Args)]
struct There {
    #[arg(long)]
    quick: bool,
    #[arg(long = "runtime")]
    runtimes: Vec<Runtime>,
}

/// What all parts are told.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) dangerous_here: bool,
    pub(crate) runtimes: Vec<Runtime>,
}

fn main() -> ExitCode {
    // These are timed, and so before anything else.
    match std::env::args().nth(1).as_deref() {
        Some(cost::NOW) => {
            cost::now();
            return ExitCode::SUCCESS;
        }
        Some(cost::NOTHING) => return ExitCode::SUCCESS,
        _ => {}
    }
    let cli = Cli::parse();
    let done = match cli.inside {
        Some(inside) => be_inside(&inside),
        None => report(cli.report),
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            eprintln!("bench: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn be_inside(what: &Inside) -> Result<ExitCode> {
    match what {
        Inside::Probe { name, facts } => isolation::probes::main(name, facts)?,
        Inside::Victim { socket, .. } => isolation::victim(socket)?,
        Inside::Cells { there, probes } => {
            let place = Place::prepare()?;
            isolation::cells(&in_test_host(there), &place, probes)?;
        }
        Inside::Starts { there } => {
            let place = Place::prepare()?;
            startup::starts(&in_test_host(there), &place)?;
        }
        Inside::CheckPage { dir } => {
            let wrong = report::check::page(dir)?;
            if !wrong.is_empty() {
                bail!("{}", wrong.join("\nbench: "));
            }
            println!("the page is as it should be, in light and in dark");
        }
        Inside::Work { work, file } => cost::work(*work, file)?,
        Inside::TakeInput => cost::take_input()?,
        Inside::Idle => loop {
            nix::unistd::pause();
        },
        Inside::UseMemory { megabytes } => isolation::probes::use_memory(*megabytes),
        Inside::Euid => println!("{}", nix::unistd::geteuid()),
    }
    Ok(ExitCode::SUCCESS)
}

fn in_test_host(there: &There) -> Options {
    Options {
        quick: there.quick,
        dangerous_here: true,
        runtimes: there.runtimes.clone(),
    }
}

fn report(told: Report) -> Result<ExitCode> {
    std::fs::create_dir_all(&told.out)?;
    let mut options = Options {
        quick: told.quick,
        dangerous_here: told.dangerous_here,
        runtimes: if told.runtimes.is_empty() {
            Runtime::defaults()
        } else {
            told.runtimes
        },
    };
    runtimes::equip(&mut options.runtimes, &told.out);
    let place =
        Place::prepare().context("cannot make namespaces of its own, for which it needs root")?;
    let mut facts = machine::describe();
    for runtime in &options.runtimes {
        facts.push((runtime.name.clone(), runtime.version()));
    }
    let parts: [(Part, Measures); 3] = [
        (Part::Isolation, isolation::section),
        (Part::Cost, cost::section),
        (Part::Startup, startup::section),
    ];
    let mut sections = Vec::new();
    for (part, section) in parts {
        if told.only.is_empty() || told.only.contains(&part) {
            let section = section(&options, &place)?;
            report::terminal::print(&section);
            sections.push(section);
        }
    }
    let numbers = report::numbers::document(&facts, &sections);
    std::fs::write(told.out.join("bench.json"), format!("{numbers:#}\n"))?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("make bench ARGS=\"{}\"", words.join(" "));
    let page = report::page::render(&facts, &sections, &command)?;
    std::fs::write(told.out.join("bench.html"), page)?;
    println!("\nThe page: {}", told.out.join("bench.html").display());
    let surprises: Vec<String> = sections
        .iter()
        .flat_map(|section| match section.id.as_str() {
            "isolation" => isolation::surprises(section),
            "startup" => startup::surprises(section),
            _ => Vec::new(),
        })
        .collect();
    if told.check && !surprises.is_empty() {
        bail!("{}", surprises.join("\nbench: "));
    }
    Ok(ExitCode::SUCCESS)
}
