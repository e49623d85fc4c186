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

pub mod bundle;
pub mod caller_socket;
pub mod capabilities;
pub mod cgroups;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod container;
pub mod defence;
mod descent;
pub mod error;
pub mod exec;
pub mod fault;
pub mod foreground;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod hooks;
pub mod host;
pub mod init;
pub mod intel_rdt;
pub mod log;
pub mod lsm;
pub mod namespaces;
pub mod notify;
pub mod options;
pub mod pidfile;
pub mod plan;
pub mod process;
pub mod root;
pub mod rootfs;
pub mod seccomp;
#[cfg(test)]
mod skip;
pub mod state;
pub mod sync;
pub mod sys;
pub mod terminal;
pub mod timeout;
pub mod trace;
pub mod whole_file;
