//! The device program of a cgroup: loaded and attached, replaced, taken away. Host's root only.
//!
//! A container has one program at most, which goes with its cgroup. Others may be attached there
//! too (systemd's, an engine's): they restrict as well, and are told from ours by the name.

use super::{Policy, program};
use crate::cgroups::Cgroup;
use crate::error::{Code, Context, Error, Result};
use crate::sys::bpf;
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// The name of our programs, as `bpftool cgroup list` shows it.
const NAME: &str = "casulo_devices";

impl Cgroup {
    /// Parent, for a new cgroup: from now on `rules` decide, for what is open already as little as ever.
    ///
    /// # Errors
    /// `E_DEVICES`
    pub(crate) fn attach_devices(&self, rules: &Rules) -> Result<()> {
        self.attach(&rules.0, None)
    }

    /// Any casulo process on the host, the container may be running: from now on `policy` decides,
    /// for what is open already as little as ever. At no moment neither the old nor the new rules
    /// do: `BPF_F_REPLACE` swaps the pointer that the kernel follows at each access.
    ///
    /// # Errors
    /// `E_DEVICES`; the old rules then hold.
    pub(crate) fn replace_devices(&self, policy: &Policy) -> Result<()> {
        // Before anything is changed: a program that the kernel refuses leaves all as it was.
        let new = if policy.allows_everything() {
            None
        } else {
            Some(Rules::load(policy)?.0)
        };
        let old = self.our_programs()?;
        let mut old = old.iter();
        if let Some(new) = &new {
            self.attach(new, old.next())?;
        }
        // All of them where everything is allowed. Else none, or what a cgroup that was taken over
        // had from its former container.
        for program in old {
            bpf::detach_device_program(self.directory.as_fd(), program.as_fd()).context(
                Code::Devices,
                "detach the device rules from",
                self.path.display(),
            )?;
        }
        Ok(())
    }

    fn attach(&self, new: &OwnedFd, instead_of: Option<&OwnedFd>) -> Result<()> {
        let instead_of = instead_of.map(AsFd::as_fd);
        bpf::attach_device_program(self.directory.as_fd(), new.as_fd(), instead_of).context(
            Code::Devices,
            "attach the device rules to",
            self.path.display(),
        )
    }

    /// The programs on this cgroup that casulo loaded.
    fn our_programs(&self) -> Result<Vec<OwnedFd>> {
        let look = || -> nix::Result<Vec<OwnedFd>> {
            let mut ours = Vec::new();
            for id in bpf::device_programs(self.directory.as_fd())? {
                let program = match bpf::program_by_id(id) {
                    // Somebody else's, detached since.
                    Err(Errno::ENOENT) => continue,
                    result => result?,
                };
                if bpf::program_name(program.as_fd())? == NAME {
                    ours.push(program);
                }
            }
            Ok(ours)
        };
        look().map_err(|errno| {
            let object = self.path.display().to_string();
            let error = Error::step(Code::Devices, "find the device rules of", object, errno);
            match errno {
                Errno::EPERM => error.hint(PRIVILEGE),
                _ => error,
            }
        })
    }
}

const PRIVILEGE: &str =
    "this takes CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN) in the initial user namespace";

/// Device rules as a program in the kernel, for [`Cgroup::attach_devices`].
#[derive(Debug)]
pub(crate) struct Rules(OwnedFd);

impl Rules {
    /// Parent: has the kernel verify the program of `policy`.
    ///
    /// # Errors
    /// `E_DEVICES`, with the verifier's own words.
    pub(crate) fn load(policy: &Policy) -> Result<Rules> {
        load(&program(policy)).map(Rules)
    }
}

/// Loads the device program. Before Linux 5.11 it counts towards RLIMIT_MEMLOCK, so a refusal is
/// tried again with the limit raised; a second one is explained by the verifier's own words.
fn load(program: &[u64]) -> Result<OwnedFd> {
    let mut result = bpf::load_device_program(program, NAME, &mut []);
    if matches!(result, Err(Errno::EPERM)) && raise_memlock().is_ok() {
        result = bpf::load_device_program(program, NAME, &mut []);
    }
    result.map_err(|errno| {
        let error = Error::step(Code::Devices, "load the device rules", "", errno);
        if errno == Errno::EPERM {
            return error.hint(PRIVILEGE);
        }
        let mut log = vec![0; 64 * 1024];
        // Only the log is wanted; the same program fails the same way.
        let _ = bpf::load_device_program(program, NAME, &mut log);
        let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
        let last: Vec<&str> = std::str::from_utf8(text)
            .unwrap_or_default()
            .lines()
            .rev()
            .take(3)
            .collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        error.because(last.join(", "))
    })
}

fn raise_memlock() -> nix::Result<()> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
}

#[cfg(test)]
mod tests;
