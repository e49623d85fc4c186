//! casulo: parse, dispatch, report the error once, choose the exit code.

#![no_main]

use casulo::cli::Cli;
use casulo::error::{Code, Error};
use casulo::{commands, log, sys};
use std::ffi::OsString;
use std::io::Write;

/// The verbs whose process, or a child of it, enters a container.
const ENTERS_A_CONTAINER: [&str; 3] = ["create", "run", "exec"];

#[global_allocator]
static ALLOCATOR: sys::arena::Arena = sys::arena::Arena::new();

casulo::entry!(run);

fn run(words: Vec<OsString>) -> u8 {
    // Before anything is parsed or opened: a verb in any place costs at most one needless move.
    if words
        .iter()
        .any(|word| ENTERS_A_CONTAINER.iter().any(|verb| word == verb))
        && let Err(errno) = sys::exe::protect()
    {
        log::report(&Error::step(
            Code::Unsupported,
            "protect the binary",
            "",
            errno,
        ));
        return 1;
    }
    sys::start::normalise();
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout with 0, a wrong command line to stderr; nothing can be done if that fails.
            let _ = error.print().and_then(|()| std::io::stdout().flush());
            return u8::from(error.use_stderr());
        }
    };
    let failure = commands::failure_code(&cli);
    match commands::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            log::report(&error);
            failure
        }
    }
}
