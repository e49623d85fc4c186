//! `pause` and `resume`

use crate::cli::{Global, Id};
use crate::container;
use crate::error::Result;

/// `casulo pause`
pub(super) fn pause(global: &Global, args: &Id) -> Result<u8> {
    container::pause(&super::store(global)?.open(&args.id.parse()?)?)?;
    Ok(0)
}

/// `casulo resume`
pub(super) fn resume(global: &Global, args: &Id) -> Result<u8> {
    container::resume(&super::store(global)?.open(&args.id.parse()?)?)?;
    Ok(0)
}
