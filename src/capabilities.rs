//! Turns `process.capabilities` into five masks, and gives these to the child.
//!
//! Plan: parent, pure. Apply: child, around the change of user, see [`crate::process`]. The order follows
//! capabilities(7): the bounding set is cut while CAP_SETPCAP is still effective. The other sets are given
//! after setresuid(2), which empties them.

use crate::defence::{Defence, without};
use crate::error::{Code, Context, Problems, Result};
use crate::host::Host;
use crate::namespaces::{self, Kind};
use crate::sys::capability;
use caps::Capability as Number;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use std::fmt;
use std::str::FromStr;

/// CAP_SYS_ADMIN as a mask. seccomp(2) wants this capability if no_new_privs is not set.
pub(crate) const SYS_ADMIN: u64 = 1 << Number::CAP_SYS_ADMIN as u8;

/// The capabilities that the process will have. In every mask bit n is capability number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The permitted and effective set of the child before anything is dropped.
    pub held: u64,
    /// The capabilities to drop from the bounding set: those that are in it now and not wanted.
    pub bounding_drop: u64,
    /// The bounding set that remains.
    pub bounding: u64,
    /// The effective set, part of `permitted`.
    pub effective: u64,
    /// The permitted set, part of `held` and of `bounding`.
    pub permitted: u64,
    /// The inheritable set, part of `held` and of `bounding`.
    pub inheritable: u64,
    /// The ambient set, part of `permitted` and of `inheritable`.
    pub ambient: u64,
}

/// Decides the sets of a process. Pure.
///
/// Without `process.capabilities` all five sets are empty, as with runc and crun.
///
/// A capability that cannot be granted is left out with a warning, as the spec demands (config.md, Linux
/// Process). Such a capability is:
/// * one that casulo does not hold or the kernel does not know,
/// * a permitted one that the bounding set lacks (execve(2) would drop it),
/// * an effective one that is not permitted,
/// * an ambient one that is not both permitted and inheritable.
///
/// Unknown names never come here: the config's reader has warned of them.
///
/// Inheritable capabilities that the bounding set lacks are problems: they would reach the program in spite of it.
/// `path` is the JSON path of the sets.
pub(crate) fn plan(
    wanted: Option<&LinuxCapabilities>,
    ns: &namespaces::Plan,
    host: &Host,
    path: &str,
    problems: &mut Problems,
) -> Plan {
    // Entering a user namespace gives all of its capabilities and a full bounding set, whatever the
    // caller had: user_namespaces(7), Capabilities.
    let known = (2_u64 << host.last_cap.min(62)) - 1;
    let (held, bounding_now) = if ns.has(Kind::User) {
        (known, known)
    } else {
        (host.effective, host.bounding)
    };
    let set = |get: fn(&LinuxCapabilities) -> &Option<Capabilities>| {
        wanted.map_or(0, |wanted| mask(get(wanted)))
    };
    let all = set(LinuxCapabilities::bounding);
    let inheritable = set(LinuxCapabilities::inheritable);
    if inheritable & !all != 0 && !without(Defence::WithinBounding) {
        problems.add(
            format!("{path}.inheritable"),
            format!("the bounding set lacks {}", Names(inheritable & !all)),
        );
    }
    let bounding = granted("bounding", all, bounding_now);
    let available = if without(Defence::WithinBounding) {
        held
    } else {
        held & bounding
    };
    let permitted = granted("permitted", set(LinuxCapabilities::permitted), available);
    let inheritable = granted("inheritable", inheritable, available);
    Plan {
        held,
        bounding_drop: bounding_now & !bounding,
        bounding,
        effective: granted("effective", set(LinuxCapabilities::effective), permitted),
        permitted,
        inheritable,
        ambient: raisable(set(LinuxCapabilities::ambient), permitted & inheritable),
    }
}

/// Returns the part of `wanted` that `available` allows, and warns of the rest.
fn granted(set: &str, wanted: u64, available: u64) -> u64 {
    let refused = wanted & !available;
    if refused != 0 {
        log::warn!(
            "the {set} capabilities {} cannot be granted here and are left out",
            Names(refused)
        );
    }
    wanted & available
}

/// [`granted`] for the ambient set, with a warning for each capability, in the words of runc.
fn raisable(wanted: u64, available: u64) -> u64 {
    for cap in bits(wanted & !available) {
        log::warn!(
            "can't raise ambient capability {}: it is not both permitted and inheritable here",
            Names(1 << cap)
        );
    }
    wanted & available
}

/// Returns a set of the config as a mask; an absent set is empty.
pub(crate) fn mask(set: &Option<Capabilities>) -> u64 {
    set.iter()
        .flatten()
        .fold(0, |mask, capability| mask | 1 << number(*capability))
}

/// Returns the kernel's number of a capability, from the `caps` crate's table.
fn number(capability: Capability) -> u8 {
    Number::from_str(&format!("CAP_{capability}"))
        .expect("both crates name the 41 capabilities of capabilities(7)")
        .index()
}

/// Returns the names (`CAP_CHOWN`) of the capabilities in a mask, in the order of their numbers.
pub(crate) fn names(mask: u64) -> Vec<String> {
    let mut all: Vec<Number> = caps::all().into_iter().collect();
    all.sort_by_key(Number::index);
    all.into_iter()
        .filter(|number| mask & number.bitmask() != 0)
        .map(|number| number.to_string())
        .collect()
}

/// The names of the capabilities in a mask, as a message lists them. They are looked up only when they are
/// shown, because most steps do not fail.
struct Names(u64);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&names(self.0).join(", "))
    }
}

/// Returns the capability that a command line names: `CAP_CHOWN`, `chown`. None for unknown names.
pub(crate) fn parse(name: &str) -> Option<Capability> {
    let upper = name.to_uppercase();
    Capability::from_str(upper.strip_prefix("CAP_").unwrap_or(&upper)).ok()
}

/// Returns the sets for `exec --cap`: `extra` is added to the bounding, permitted and effective sets. It is
/// never made inheritable (CVE-2022-29162), and ambient only if it is inheritable already.
pub(crate) fn add_for_exec(
    sets: Option<&LinuxCapabilities>,
    extra: &[Capability],
) -> LinuxCapabilities {
    let none = LinuxCapabilities::default();
    let (mut result, inheritable) = match sets {
        Some(sets) => (sets.clone(), sets.inheritable().clone().unwrap_or_default()),
        None => {
            // The crate's default has capabilities; our default has none.
            let mut empty = none;
            empty
                .set_bounding(None)
                .set_effective(None)
                .set_permitted(None)
                .set_inheritable(None)
                .set_ambient(None);
            (empty, Capabilities::new())
        }
    };
    let with = |set: &Option<Capabilities>, more: &mut dyn Iterator<Item = Capability>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(more);
        Some(set)
    };
    let every = || extra.iter().copied();
    result.set_bounding(with(result.bounding(), &mut every()));
    result.set_permitted(with(result.permitted(), &mut every()));
    result.set_effective(with(result.effective(), &mut every()));
    if without(Defence::NotInheritable) {
        result.set_inheritable(with(result.inheritable(), &mut every()));
    }
    let mut ambient = every().filter(|capability| inheritable.contains(capability));
    result.set_ambient(with(result.ambient(), &mut ambient));
    result
}

impl Plan {
    /// Child, while it holds all of its capabilities: cuts the bounding set.
    ///
    /// # Errors
    /// E_PROCESS; EPERM without CAP_SETPCAP.
    pub(crate) fn drop_bounding(&self) -> Result<()> {
        // A capability outside the bounding set can no longer be made inheritable, but stays
        // inheritable if it is: capabilities(7), Capability bounding set.
        if without(Defence::WithinBounding) && self.inheritable & self.bounding_drop != 0 {
            capability::capset(self.held, self.held, self.inheritable).context(
                Code::Process,
                "set the inheritable capabilities",
                Names(self.inheritable),
            )?;
        }
        for cap in bits(self.bounding_drop) {
            capability::bounding_drop(cap).context(
                Code::Process,
                "drop from the bounding set",
                Names(1 << cap),
            )?;
        }
        Ok(())
    }

    /// Child, as the container's user, with PR_SET_KEEPCAPS: sets the thread's effective, permitted,
    /// inheritable and ambient sets. With [`SysAdmin::Keep`] CAP_SYS_ADMIN stays permitted and effective if it
    /// is held.
    ///
    /// # Errors
    /// E_PROCESS with the errno.
    pub(crate) fn apply(&self, sys_admin: SysAdmin) -> Result<()> {
        let extra = match sys_admin {
            SysAdmin::Keep => SYS_ADMIN & self.held,
            SysAdmin::Drop => 0,
        };
        self.set(extra)?;
        // If no uid has changed, the caller's ambient set is still there.
        capability::ambient_clear().context(Code::Process, "clear the ambient capabilities", "")?;
        for cap in bits(self.ambient) {
            capability::ambient_raise(cap).context(
                Code::Process,
                "can't raise ambient capability",
                Names(1 << cap),
            )?;
        }
        Ok(())
    }

    /// Returns the effective, permitted and inheritable sets for one capset(2) after [`Plan::apply`] has kept
    /// CAP_SYS_ADMIN and the seccomp filter was loaded. None if the process keeps CAP_SYS_ADMIN in any case.
    pub(crate) fn after_filter(&self) -> Option<[u64; 3]> {
        match self.effective & self.permitted & SYS_ADMIN {
            0 => Some([self.effective, self.permitted, self.inheritable]),
            _ => None,
        }
    }

    fn set(&self, extra: u64) -> Result<()> {
        capability::capset(
            self.effective | extra,
            self.permitted | extra,
            self.inheritable,
        )
        .context(Code::Process, "set the capabilities", "")
    }
}

/// Whether the process keeps CAP_SYS_ADMIN after the change of user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SysAdmin {
    /// It keeps CAP_SYS_ADMIN until [`Plan::after_filter`].
    Keep,
    /// CAP_SYS_ADMIN is dropped with the others.
    Drop,
}

fn bits(mask: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |bit| mask & (1 << bit) != 0)
}

#[cfg(test)]
mod tests;
