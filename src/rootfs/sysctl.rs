//! (stub)
use crate::error::{Problems, Result};
use crate::namespaces;
use crate::sys::procfs::ProcFs;
use oci_spec::runtime::Spec;

/// (stub)
#[derive(Clone, Debug, PartialEq)]
pub struct Sysctl;

/// (stub)
pub fn plan(_spec: &Spec, _ns: &namespaces::Plan, _problems: &mut Problems) -> Vec<Sysctl> {
    Vec::new()
}

/// (stub)
/// # Errors
/// E_SYSCTL
pub fn write(_sysctls: &[Sysctl], _proc: &ProcFs) -> Result<()> {
    Ok(())
}
