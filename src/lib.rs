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
pub mod fault;
mod foreground;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hooks;
pub mod host;
mod init;
mod intel_rdt;
pub mod log;
mod lsm;
mod namespaces;
mod notify;
pub mod options;
mod pidfile;
pub mod plan;
mod process;
mod root;
mod rootfs;
pub mod seccomp;
#[cfg(test)]
mod skip;
mod state;
mod sync;
pub mod sys;
mod terminal;
mod timeout;
mod trace;
mod whole_file;
