//! How casulo treats its own program. This is the only unsafe code beside the system calls of [`crate::sys`].
//!
//! - `start` is `main`: it brings the inherited state into the form that casulo relies on.
//! - `arena` is the allocator, `link` a symbol that the static link needs.
//! - `protection` makes the process run from a mount or a copy of the binary that nobody can write; `remap` maps it
//!   anew from there, in its place.
//! - `landing` is the memory that a process in a container keeps of casulo, and the code that runs on it up to
//!   execve; `shared` is the page by which its parent follows it.
#![allow(unsafe_code, reason = "a program that maps, starts and leaves itself")]

pub(crate) mod arena;
pub(crate) mod landing;
mod link;
pub(crate) mod protection;
pub(crate) mod remap;
pub(crate) mod shared;
pub(crate) mod start;
