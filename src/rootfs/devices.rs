//! (stub)
use super::root::Root;
use crate::error::{Problems, Result};
use crate::host::Host;
use crate::namespaces;
use oci_spec::runtime::Spec;

/// (stub)
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {}

/// (stub)
pub fn plan(_spec: &Spec, _ns: &namespaces::Plan, _host: &Host, _problems: &mut Problems) -> Plan {
    Plan {}
}

/// (stub)
#[derive(Debug, Default)]
pub struct Nodes {}

impl Nodes {
    /// (stub)
    /// # Errors
    /// E_DEVICE
    pub fn make(_plan: &Plan) -> Result<Nodes> {
        Ok(Nodes {})
    }
}

/// (stub)
/// # Errors
/// E_DEVICE
pub fn make(_plan: &Plan, _root: &Root, _nodes: &Nodes) -> Result<()> {
    Ok(())
}
