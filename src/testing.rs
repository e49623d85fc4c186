//! What a test build can be told, and no other build: to go without a defence, and to fail at a step.
//!
//! Without the feature `testing` every function here is a constant, and nothing of it is in the program.

pub mod fault;
pub mod without;
