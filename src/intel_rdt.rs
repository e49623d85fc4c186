//! Intel RDT. (stub)
use crate::error::Problems;
use crate::plan::Options;
use oci_spec::runtime::Spec;

/// (stub)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan;

/// Decides. Pure.
pub fn plan(_spec: &Spec, _options: &Options, _problems: &mut Problems) -> Option<Plan> {
    None
}
