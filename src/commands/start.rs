//! `start`

use crate::cli::{Global, Id};
use crate::container;
use crate::error::Result;

/// `casulo start`
#[inline(never)]
pub(super) fn run(global: &Global, args: &Id) -> Result<u8> {
    container::start(super::open(global, &args.id)?)?;
    Ok(0)
}
