//! The options of `create` and `run`.

use super::described::{default_of, described, take_by};
use clap::Args;
use std::path::PathBuf;

described! {
    /// What `create` and `run` share.
    #[derive(Clone, Debug, PartialEq, Eq, Args)]
    pub(crate) struct Create {
        /// The bundle's directory
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        pub bundle: PathBuf,
        /// A config.json elsewhere than in the bundle
        #[arg(short = 'f', long, value_name = "FILE")]
        pub config: Option<PathBuf>,
        /// File that gets the pid of the process
        #[arg(long, value_name = "FILE")]
        pub pid_file: Option<PathBuf>,
        /// Unix socket that gets the master of the terminal
        #[arg(long, value_name = "SOCKET")]
        pub console_socket: Option<PathBuf>,
        /// Unix socket that gets a pidfd of the process
        #[arg(long, value_name = "SOCKET")]
        pub pidfd_socket: Option<PathBuf>,
        /// Move the root instead of pivoting (for a root file system in an initramfs)
        #[arg(long)]
        pub no_pivot: bool,
        /// Stay in the caller's session keyring
        #[arg(long)]
        pub no_new_keyring: bool,
        /// Pass this many descriptors after stderr to the process
        #[arg(long, value_name = "N", default_value_t = 0)]
        pub preserve_fds: u32,
        /// Do not adopt orphans of the container, as run in the foreground does
        #[arg(long)]
        pub no_subreaper: bool,
        /// Container id
        #[arg(value_name = "CONTAINER")]
        pub id: String,
    }
}

described! {
    /// `run`
    #[derive(Clone, Debug, PartialEq, Eq, Args)]
    pub(crate) struct Run {
        /// What it shares with `create`.
        #[command(flatten)]
        pub create: Create,
        /// Do not wait for the process
        #[arg(short, long)]
        pub detach: bool,
        /// Keep state and cgroup after the process has ended
        #[arg(long)]
        pub keep: bool,
    }
}
