//! The options of `exec`.

use super::described::{default_of, described, take_by};
use clap::Args;
use std::path::PathBuf;

described! {
    /// `exec`
    #[derive(Clone, Debug, PartialEq, Eq, Args)]
    pub(crate) struct Exec {
        /// File with the process object
        #[arg(short, long, value_name = "FILE")]
        pub process: Option<PathBuf>,
        /// Do not wait for the process
        #[arg(short, long)]
        pub detach: bool,
        /// Give the process a terminal
        #[arg(short, long)]
        pub tty: bool,
        /// Unix socket that gets the master of the terminal
        #[arg(long, value_name = "SOCKET")]
        pub console_socket: Option<PathBuf>,
        /// Unix socket that gets a pidfd of the process
        #[arg(long, value_name = "SOCKET")]
        pub pidfd_socket: Option<PathBuf>,
        /// File that gets the pid of the process
        #[arg(long, value_name = "FILE")]
        pub pid_file: Option<PathBuf>,
        /// Working directory inside the container
        #[arg(long, value_name = "DIR")]
        pub cwd: Option<String>,
        /// Set a variable, NAME=VALUE
        #[arg(short, long, value_name = "VARIABLE")]
        pub env: Vec<String>,
        /// UID or UID:GID to run as
        #[arg(short, long, value_name = "UID[:GID]")]
        pub user: Option<String>,
        /// More groups
        #[arg(short = 'g', long, value_name = "GID")]
        pub additional_gids: Vec<u32>,
        /// Add a capability
        #[arg(short, long, value_name = "CAPABILITY")]
        pub cap: Vec<String>,
        /// Set no_new_privs
        #[arg(long)]
        pub no_new_privs: bool,
        /// AppArmor profile of the process [default: the container's]
        #[arg(long, value_name = "PROFILE")]
        pub apparmor: Option<String>,
        /// SELinux label of the process [default: the container's]
        #[arg(long, value_name = "LABEL")]
        pub process_label: Option<String>,
        /// Cgroup for the process, below the container's [default: the container's]
        #[arg(long, value_name = "PATH")]
        pub cgroup: Option<PathBuf>,
        /// Pass this many descriptors after stderr to the process
        #[arg(long, value_name = "N", default_value_t = 0)]
        pub preserve_fds: u32,
        /// Execute in a paused container too: the process starts once that is resumed
        #[arg(long)]
        pub ignore_paused: bool,
        /// Container id
        #[arg(value_name = "CONTAINER")]
        pub id: String,
        /// Program and arguments
        #[arg(
            value_name = "COMMAND",
            trailing_var_arg = true,
            allow_hyphen_values = true
        )]
        pub command: Vec<String>,
    }
}
