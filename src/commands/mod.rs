//! (stub)

pub mod features;
pub mod spec;
