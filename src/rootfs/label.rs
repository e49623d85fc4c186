//! `linux.mountLabel`: the SELinux context of the file systems that are made for the container.
//! Decided by the parent, once for mounts, masks and devices; given to each by whoever makes it.

use crate::error::Problems;
use crate::host::Host;
use crate::sys::mount::fsconfig_set;
use oci_spec::runtime::Spec;
use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

/// SELinux's mount parameters that carry a context, mount(8).
const KEYS: [&CStr; 4] = [c"context", c"fscontext", c"defcontext", c"rootcontext"];

/// One of SELinux's mount parameters, and the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    key: &'static CStr,
    context: CString,
}

/// Decides by `linux.mountLabel` and the annotation `run.oci.mount_context_type` (crun's). Pure.
///
/// On a host without SELinux a label means nothing, and every file system would refuse it: it is
/// left out with a warning, as crun does.
pub(crate) fn plan(spec: &Spec, host: &Host, problems: &mut Problems) -> Option<Label> {
    const ANNOTATION: &str = "run.oci.mount_context_type";
    let wanted = spec
        .annotations()
        .as_ref()
        .and_then(|all| all.get(ANNOTATION))
        .map_or("context", String::as_str);
    let key = KEYS
        .into_iter()
        .find(|key| key.to_bytes() == wanted.as_bytes());
    if key.is_none() {
        let keys = KEYS.map(CStr::to_string_lossy).join(", ");
        problems.add(
            format!("annotations.{ANNOTATION}"),
            format!("{wanted:?} is none of {keys}"),
        );
    }
    let label = spec.linux().as_ref()?.mount_label().as_deref()?;
    if label.is_empty() {
        return None;
    }
    let context = CString::new(label).ok().filter(|_| !label.contains('"'));
    if context.is_none() {
        problems.add("linux.mountLabel", "contains a quote or a NUL");
    } else if !host.selinux {
        log::warn!("linux.mountLabel is left out: SELinux is not enabled on this host");
        return None;
    }
    Some(Label {
        key: key?,
        context: context?,
    })
}

/// True for a mount option that carries a context.
pub(super) fn is_key(word: &str) -> bool {
    KEYS.iter().any(|key| key.to_bytes() == word.as_bytes())
}

impl Label {
    /// Key and value for a list of mount options.
    pub(super) fn words(&self) -> (Cow<'_, str>, Cow<'_, str>) {
        (self.key.to_string_lossy(), self.context.to_string_lossy())
    }

    /// Whoever makes the file system `fs`, before it is created: gives it the context.
    ///
    /// # Errors
    /// EINVAL for a context that the policy does not know.
    pub(super) fn apply(&self, fs: BorrowedFd<'_>) -> nix::Result<()> {
        fsconfig_set(fs, self.key, Some(&self.context))
    }
}
