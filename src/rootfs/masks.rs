//! (stub)
use super::root::Root;
use crate::error::{Problems, Result};
use oci_spec::runtime::Spec;

/// (stub)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {}

/// (stub)
pub fn plan(_spec: &Spec, _problems: &mut Problems) -> Plan {
    Plan {}
}

/// (stub)
/// # Errors
/// E_MOUNT
pub fn apply(_plan: &Plan, _root: &Root) -> Result<()> {
    Ok(())
}
