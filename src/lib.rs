//! casulo turns an OCI bundle into an isolated process.
//!
//! ```text
//! argv ─► cli ─► commands ─► bundle + config ─► plan ──► container (parent) ──► state on disk
//!                               host facts ──────┘          │ clone3   ▲
//!                               (asked once)                ▼          │ sync socket
//!                                                          init (child) ──► execve
//! ```
//! Imports run one way, down the floors of ARCHITECTURE.md. Start reading at
//! [`container`]'s `create` for the parent and at [`init`]'s `run` for the child.

use cli::Cli;
use error::{Code, Error};
use std::ffi::OsString;
use std::io::Write;

mod binary;
mod bundle;
mod caller_socket;
mod capabilities;
mod cgroups;
mod check;
pub mod cli;
pub mod commands;
pub mod config;
mod container;
mod defence;
mod descent;
pub mod error;
mod exec;
mod foreground;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hooks;
pub mod host;
mod id;
mod init;
mod intel_rdt;
mod log;
mod lsm;
mod mark;
mod namespaces;
mod notify;
pub mod options;
mod pidfile;
pub mod plan;
mod process;
mod procfs;
mod root;
mod rootfs;
pub mod seccomp;
#[cfg(test)]
mod skip;
mod state;
pub mod step;
mod sync;
mod sys;
mod terminal;
mod timeout;
mod waiting;
mod whole_file;

pub use binary::arena::Arena;
#[doc(hidden)]
pub use binary::start::run as start;

/// The verbs whose process, or a child of it, enters a container.
const ENTERS_A_CONTAINER: [&str; 3] = ["create", "run", "exec"];

/// The program: parses `words`, the command line behind the program's name, dispatches, reports the error once and
/// returns the exit code. Parent, with the caller's privileges.
pub fn run(words: Vec<OsString>) -> u8 {
    // Before anything is parsed or opened: a verb in any place costs at most one needless move.
    if words
        .iter()
        .any(|word| ENTERS_A_CONTAINER.iter().any(|verb| word == verb))
        && let Err(errno) = binary::protection::protect()
    {
        log::report(&Error::step(
            Code::Unsupported,
            "protect the binary",
            "",
            errno,
        ));
        return 1;
    }
    binary::start::normalise();
    let cli = match Cli::read(&words) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                log::report_usage(&error.to_string());
                return 1;
            }
            // Help that was asked for; nothing can be done if that fails.
            let _ = error.print().and_then(|()| std::io::stdout().flush());
            return 0;
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
