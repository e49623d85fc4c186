//! Turns `linux.seccomp` into the system call filter of the container's processes.
//!
//! ```text
//! profile.rs   linux.seccomp ─► Filter       parent, pure: checked, names still names
//! compile.rs   Filter ─► rules by number     parent: names looked up in numbers.rs
//! tree.rs      rules by number ─► program    parent: with conditions.rs, written by assembly.rs
//! asked.rs     program, a call ─► a verdict   parent: before anything is made
//! load.rs      program ─► the kernel         child: seccomp(2), last thing before it waits or is born
//! ```
//! docs/seccomp.md says what a profile means, and `reference.rs` says it again for the tests.
//! `arch.rs` and `numbers.rs` are tables: the ABIs of each kernel, and the numbers of calls that
//! libseccomp does not know. The kernel's side is in seccomp(2) and in
//! `Documentation/userspace-api/seccomp_filter.rst`.

mod arch;
mod asked;
mod assembly;
mod compile;
mod conditions;
pub(crate) mod listener;
mod load;
mod machine;
mod numbers;
mod profile;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use asked::Call;
pub use load::Bpf;
pub(crate) use load::refused;
pub(crate) use profile::Action;
pub use profile::Filter;

use crate::config::names;
use crate::error::{Problems, Result};
use oci_spec::runtime::Spec;

/// The annotation that makes unknown names an error, unless its value is `0`.
const STRICT_NAMES: &str = "run.oci.seccomp_fail_unknown_syscall";

/// crun's annotation for what the specification now calls `listenerPath`, which comes before it.
const RECEIVER: &str = "run.oci.seccomp.receiver";

/// Turns `linux.seccomp` into a filter, for a container's first process and for exec alike. Pure.
/// Returns None without `linux.seccomp`. Problems carry their JSON path.
pub fn plan(spec: &Spec, problems: &mut Problems) -> Option<Filter> {
    let profile = spec.linux().as_ref()?.seccomp().as_ref()?;
    let annotation = |key: &str| spec.annotations().as_ref().and_then(|all| all.get(key));
    let receiver = annotation(RECEIVER).map(String::as_str);
    if receiver.is_some_and(|path| !path.starts_with('/')) {
        problems.add(
            format!("annotations[{RECEIVER:?}]"),
            "must be an absolute path",
        );
    }
    let filter = profile::filter(profile, receiver, problems);
    let strict = annotation(STRICT_NAMES);
    if strict.is_some_and(|value| value != "0") {
        refuse_unknown_names(&filter, problems);
    }
    Some(filter)
}

/// Adds a problem for each name that no covered ABI has. Without the annotation, which is crun's, such
/// names are left out: profiles name calls of other machines and of later kernels.
fn refuse_unknown_names(filter: &Filter, problems: &mut Problems) {
    let abis = arch::covered(arch::ABIS, &filter.architectures);
    for (index, rule) in filter.rules.iter().enumerate() {
        let unknown = |(_, name): &(usize, &String)| !numbers::is_known(name, &abis);
        for (place, name) in rule.names.iter().enumerate().filter(unknown) {
            problems.add(
                format!("linux.seccomp.syscalls[{index}].names[{place}]"),
                format!(
                    "{name} is not a system call of this machine, and {STRICT_NAMES} forbids such names"
                ),
            );
        }
    }
}

/// Parent: compiles `filter`. Loads nothing.
///
/// # Errors
/// E_SECCOMP if two rules contradict each other, or if the program is too long for the kernel. Also if
/// the kernel does not know one of the filter's flags, which the error names.
pub fn compile(filter: &Filter) -> Result<Bpf> {
    load::check_flags(filter.flags)?;
    Ok(Bpf::new(compile::program(filter)?, filter.flags))
}

/// Returns the names that are a system call of no architecture, each with the index of its rule and
/// its place there.
pub(crate) fn unknown_names(filter: &Filter) -> Vec<(usize, usize, &str)> {
    let mut unknown = Vec::new();
    for (index, rule) in filter.rules.iter().enumerate() {
        let names = rule.names.iter().enumerate();
        let strange = names.filter(|(_, name)| !numbers::is_known_anywhere(name));
        unknown.extend(strange.map(|(place, name)| (index, place, name.as_str())));
    }
    unknown
}

/// The names of the actions that a profile may have, for `features`.
pub(crate) fn actions() -> &'static [&'static str] {
    names::SECCOMP_ACTIONS
}

/// The names of the operators that a profile may have, for `features`.
pub(crate) fn operators() -> &'static [&'static str] {
    names::SECCOMP_OPERATORS
}

/// The names of the architectures that a profile may have, for `features`. Those that this kernel
/// cannot run are accepted too, and filter nothing. `SCMP_ARCH_NATIVE`, libseccomp's word for "this
/// one", is left out.
pub(crate) fn archs() -> Vec<&'static str> {
    let names = names::SECCOMP_ARCHES.iter().copied();
    names.filter(|name| *name != "SCMP_ARCH_NATIVE").collect()
}

/// The names of the flags that a profile may have, for `features`.
pub(crate) fn known_flags() -> Vec<&'static str> {
    load::FLAGS.iter().map(|flag| flag.name).collect()
}

/// The names of those [`known_flags`] that the running kernel knows. Asks the kernel; any process may
/// call it.
pub(crate) fn supported_flags() -> Vec<&'static str> {
    load::FLAGS
        .iter()
        .filter(|flag| flag.is_supported())
        .map(|flag| flag.name)
        .collect()
}
