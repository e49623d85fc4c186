//! Finds the number of a system call on one ABI by its name: in libseccomp's tables, and in tables of what
//! they lack.
//!
//! * Calls newer than libseccomp 2.5.4, which ends with Linux 5.17 (6.7 as Debian patches it). Such a name
//!   must not be dropped: a libc tries the newest call first, and a call that is neither allowed nor
//!   ENOSYS breaks it. Numbers from 403 on are the same on all architectures of this project
//!   (`scripts/syscall.tbl`, `arch/x86/entry/syscalls/*.tbl`); x32 adds its bit.
//! * i386's own numbers of socket and System V IPC calls, which came in Linux 4.3 and 5.1. Older kernels
//!   take these calls through socketcall(2) and ipc(2), and the library has stand-ins for their numbers.
//!
//! The library is asked first, so an outdated line of these tables does no harm.

use super::arch::Abi;
use libseccomp::{ScmpArch, ScmpSyscall};
use oci_spec::runtime::Arch;

/// Names and numbers of calls that have the same number on every architecture, up to Linux 6.18.
const NEWER: &[(&str, u32)] = &[
    ("cachestat", 451),
    ("fchmodat2", 452),
    ("map_shadow_stack", 453),
    ("futex_wake", 454),
    ("futex_wait", 455),
    ("futex_requeue", 456),
    ("statmount", 457),
    ("listmount", 458),
    ("lsm_get_self_attr", 459),
    ("lsm_set_self_attr", 460),
    ("lsm_list_modules", 461),
    ("mseal", 462),
    ("setxattrat", 463),
    ("getxattrat", 464),
    ("listxattrat", 465),
    ("removexattrat", 466),
    ("open_tree_attr", 467),
    ("file_getattr", 468),
    ("file_setattr", 469),
];

/// Name, architecture and number of calls, or of numbers, that only one architecture has.
const OF_ONE: &[(&str, Arch, u32)] = &[
    ("uretprobe", Arch::ScmpArchX86_64, 335),
    ("uprobe", Arch::ScmpArchX86_64, 336),
    ("riscv_hwprobe", Arch::ScmpArchRiscv64, 258),
    ("recvmmsg", Arch::ScmpArchX86, 337),
    ("sendmmsg", Arch::ScmpArchX86, 345),
    ("socket", Arch::ScmpArchX86, 359),
    ("socketpair", Arch::ScmpArchX86, 360),
    ("bind", Arch::ScmpArchX86, 361),
    ("connect", Arch::ScmpArchX86, 362),
    ("listen", Arch::ScmpArchX86, 363),
    ("accept4", Arch::ScmpArchX86, 364),
    ("getsockopt", Arch::ScmpArchX86, 365),
    ("setsockopt", Arch::ScmpArchX86, 366),
    ("getsockname", Arch::ScmpArchX86, 367),
    ("getpeername", Arch::ScmpArchX86, 368),
    ("sendto", Arch::ScmpArchX86, 369),
    ("sendmsg", Arch::ScmpArchX86, 370),
    ("recvfrom", Arch::ScmpArchX86, 371),
    ("recvmsg", Arch::ScmpArchX86, 372),
    ("shutdown", Arch::ScmpArchX86, 373),
    ("semget", Arch::ScmpArchX86, 393),
    ("semctl", Arch::ScmpArchX86, 394),
    ("shmget", Arch::ScmpArchX86, 395),
    ("shmctl", Arch::ScmpArchX86, 396),
    ("shmat", Arch::ScmpArchX86, 397),
    ("shmdt", Arch::ScmpArchX86, 398),
    ("msgget", Arch::ScmpArchX86, 399),
    ("msgsnd", Arch::ScmpArchX86, 400),
    ("msgrcv", Arch::ScmpArchX86, 401),
    ("msgctl", Arch::ScmpArchX86, 402),
];

/// How a call is made on one ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The call's number, with the ABI's bit.
    pub(super) number: Option<u32>,
    /// The other call through which it can be made.
    pub(super) through: Option<Multiplexed>,
}

/// How i386 makes a call through another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiplexed {
    /// `socketcall` or `ipc`.
    pub(super) by: &'static str,
    /// The first argument of that call, which selects this one.
    pub(super) selector: u32,
}

impl Known {
    /// False if the ABI has no such call.
    pub(super) fn exists(self) -> bool {
        self.number.is_some() || self.through.is_some()
    }
}

/// Returns how `abi` makes the call `name`. The library is asked once: its answer is most of the cost of
/// compiling.
pub(super) fn look_up(name: &str, abi: &Abi) -> Known {
    let asked = ScmpSyscall::from_name_by_arch(name, abi.library).ok();
    let answer = asked.map(|call| call.as_raw_syscall());
    let number = answer.and_then(|answer| u32::try_from(answer).ok());
    // A name that the library knows, even if only for other ABIs, is not newer than the library.
    let newer = || answer.is_none().then(|| newer(name, abi)).flatten();
    Known {
        number: number.or_else(newer).or_else(|| of_one(name, abi)),
        through: answer.and_then(|answer| stand_in(answer, abi)),
    }
}

/// Returns the number of `name` on `abi`, with the ABI's bit. None if the ABI has no such call.
pub(super) fn number(name: &str, abi: &Abi) -> Option<u32> {
    look_up(name, abi).number
}

/// Returns the number of a call that is newer than the library.
fn newer(name: &str, abi: &Abi) -> Option<u32> {
    let row = NEWER.iter().find(|(it, _)| *it == name);
    row.map(|(_, number)| number | abi.bit)
}

/// Returns the number of a call that only this ABI has and that the library lacks.
fn of_one(name: &str, abi: &Abi) -> Option<u32> {
    let mut rows = OF_ONE.iter();
    let row = rows.find(|(it, arch, _)| *it == name && *arch == abi.name);
    row.map(|(_, _, number)| *number)
}

/// Reads a negative number with which libseccomp stands in for one: -101 is the first call of
/// socketcall(2), -201 that of ipc(2).
fn stand_in(answer: i32, abi: &Abi) -> Option<Multiplexed> {
    if abi.library != ScmpArch::X86 {
        return None;
    }
    let place = answer.checked_neg()?;
    let (by, first) = match place {
        101..=199 => ("socketcall", 100),
        201..=299 => ("ipc", 200),
        _ => return None,
    };
    Some(Multiplexed {
        by,
        selector: u32::try_from(place - first).ok()?,
    })
}

/// True if at least one of `abis` has a call of this name.
pub(super) fn is_known(name: &str, abis: &[&'static Abi]) -> bool {
    abis.iter().any(|abi| look_up(name, abi).exists())
}

/// The architectures of libseccomp, whether or not this kernel runs them.
const LIBRARY: [ScmpArch; 13] = [
    ScmpArch::X8664,
    ScmpArch::X86,
    ScmpArch::X32,
    ScmpArch::Aarch64,
    ScmpArch::Arm,
    ScmpArch::Mips,
    ScmpArch::Mips64,
    ScmpArch::Mips64N32,
    ScmpArch::Parisc,
    ScmpArch::Ppc,
    ScmpArch::Ppc64Le,
    ScmpArch::Riscv64,
    ScmpArch::S390X,
];

/// True if some architecture has, or had, a call of this name.
pub(super) fn is_known_anywhere(name: &str) -> bool {
    NEWER.iter().any(|(it, _)| *it == name)
        || OF_ONE.iter().any(|(it, _, _)| *it == name)
        || LIBRARY
            .iter()
            .any(|arch| ScmpSyscall::from_name_by_arch(name, *arch).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::arch::ABIS;

    #[test]
    fn the_library_agrees_wherever_it_knows_a_call_of_the_tables() {
        let everywhere = NEWER
            .iter()
            .flat_map(|(name, number)| ABIS.iter().map(move |abi| (name, abi, number | abi.bit)));
        let of_one = OF_ONE.iter().filter_map(|(name, arch, number)| {
            let abi = ABIS.iter().find(|abi| abi.name == *arch)?;
            Some((name, abi, *number))
        });
        for (name, abi, ours) in everywhere.chain(of_one) {
            // It is None for x32, which lacks map_shadow_stack.
            if let Some(known) = number(name, abi) {
                assert_eq!(known, ours, "{name} on {:?}", abi.name);
            }
        }
    }

    #[test]
    fn newer_numbers_are_consecutive_so_none_is_missing() {
        let numbers: Vec<u32> = NEWER.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers, (451..=469).collect::<Vec<u32>>());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn i386_reaches_sockets_and_ipc_through_one_call_each() {
        let [x86_64, x86, _] = ABIS else {
            panic!("three ABIs")
        };
        let through = |name, abi| look_up(name, abi).through;
        for (name, by, selector) in [("socket", "socketcall", 1), ("shmat", "ipc", 21)] {
            assert_eq!(through(name, x86), Some(Multiplexed { by, selector }));
            assert_eq!(through(name, x86_64), None);
        }
        assert_eq!(through("read", x86), None);
        assert_eq!(number("send", x86), None);
        assert!(!is_known("send", &[x86_64]));
        assert!(is_known("send", &[x86_64, x86]));
    }
}
