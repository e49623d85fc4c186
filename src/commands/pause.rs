//! `pause` and `resume`

use crate::cli::{Global, Id};
use crate::container;
use crate::error::Result;

/// `casulo pause`
pub(super) fn pause(global: &Global, args: &Id) -> Result<u8> {
    container::pause(&super::open(global, &args.id)?)?;
    Ok(0)
}

/// `casulo resume`
pub(super) fn resume(global: &Global, args: &Id) -> Result<u8> {
    container::resume(&super::open(global, &args.id)?)?;
    Ok(0)
}
