//! seccomp. (stub)

use crate::error::{Problems, Result};
use oci_spec::runtime::Spec;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// (stub) names resolved, actions as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Where the listener fd goes (`linux.seccomp.listenerPath`), absolute.
    pub listener_path: Option<PathBuf>,
    /// `linux.seccomp.listenerMetadata`.
    pub listener_metadata: Option<String>,
}

/// Decides. Pure. None without `linux.seccomp`.
pub fn plan(_spec: &Spec, _problems: &mut Problems) -> Option<Filter> {
    None
}

/// A compiled program.
#[derive(Debug)]
pub struct Bpf;

/// Parent: compiles by libseccomp, or takes the program from `cache` (a folder below --root).
/// # Errors
/// E_SECCOMP
pub fn compile(_filter: &Filter, _cache: &Path) -> Result<Bpf> {
    Ok(Bpf)
}

impl Bpf {
    /// Child: seccomp(2). Returns the listener if the filter has a notify action.
    /// # Errors
    /// E_SECCOMP
    pub fn load(&self) -> Result<Option<OwnedFd>> {
        Ok(None)
    }
}
