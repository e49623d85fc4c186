//! Writes the man pages, one per verb, into the directory named by the only argument.

use anyhow::{Context, Result};
use clap::Command;
use std::path::Path;

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).context("usage: man DIRECTORY")?;
    let mut command = casulo::cli::command();
    command.build();
    write_page(Path::new(&directory), &command, "casulo")?;
    for verb in command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
    {
        let name = format!("casulo-{}", verb.get_name());
        write_page(Path::new(&directory), verb, &name)?;
    }
    Ok(())
}

/// Writes `NAME.8`. The date is left out: a page changes when the command line does.
fn write_page(directory: &Path, command: &Command, name: &str) -> Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone().name(name.to_owned()))
        .section("8")
        .date("")
        .manual("casulo")
        .render(&mut page)?;
    let file = directory.join(format!("{name}.8"));
    std::fs::write(&file, page).with_context(|| file.display().to_string())
}
