//! Hooks. (stub)
use crate::error::{Problems, Result};
use oci_spec::runtime::Spec;

/// The six kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// .
    Prestart,
    /// .
    CreateRuntime,
    /// .
    CreateContainer,
    /// .
    StartContainer,
    /// .
    Poststart,
    /// .
    Poststop,
}

/// (stub)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan;

/// Decides. Pure.
pub fn plan(_spec: &Spec, _problems: &mut Problems) -> Plan {
    Plan
}

impl Plan {
    /// True if there are hooks of this kind.
    pub fn has(&self, _kind: Kind) -> bool {
        false
    }
    /// Runs the hooks of a kind in order, with `state` (JSON) on stdin.
    /// # Errors
    /// E_HOOK: which one, exit status, stderr
    pub fn run(&self, _kind: Kind, _state: &[u8]) -> Result<()> {
        Ok(())
    }
}
