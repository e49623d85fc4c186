//! casulo: parse, dispatch, report the error once, choose the exit code.
fn main() {}
