//! `completion`

use crate::cli::Completion;
use crate::error::Result;

/// `casulo completion SHELL`
pub(super) fn run(args: &Completion) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::cli::command(),
        "casulo",
        &mut script,
    );
    super::print(&script)?;
    Ok(0)
}
