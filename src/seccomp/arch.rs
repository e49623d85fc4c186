//! The architectures whose system calls the running kernel accepts, and how a filter tells them apart.
//!
//! A profile often names many architectures so that one file serves every machine. A kernel accepts calls of
//! its own architecture and of those it is compatible with, so a filter is compiled for these only. Code for
//! any other architecture would never run (and libseccomp refuses to mix byte orders). A call of an
//! architecture that the filter does not cover kills the thread: libseccomp answers so too, and it is the safe
//! answer.

use libseccomp::ScmpArch;
use oci_spec::runtime::Arch;

/// One way to make system calls on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Abi {
    /// The profile's name for it.
    pub(super) name: Arch,
    /// libseccomp's name for it.
    pub(super) library: ScmpArch,
    /// The `AUDIT_ARCH_*` value of `linux/audit.h` that a filter reads as `seccomp_data.arch`.
    pub(super) audit: u32,
    /// The bit that is set in every number of this ABI, or 0. Only x32 has one: it shares the audit number of
    /// x86_64.
    pub(super) bit: u32,
    /// The bit by which ABIs with the same audit number are told apart; 0 if no other ABI shares the number.
    pub(super) told_by: u32,
    /// How much of an argument a condition compares.
    pub(super) width: Width,
}

/// How much of the 64 bits of an argument in `struct seccomp_data` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every machine has ABIs of both")]
pub(super) enum Width {
    /// All 64 bits.
    Whole,
    /// The low half, because the ABI's words have 32 bits. The high half of the profile's value is dropped as
    /// well, so that -1 means the same on every ABI; libseccomp does the same.
    Low,
}

/// `__X32_SYSCALL_BIT` of `asm/unistd.h`.
#[cfg(any(target_arch = "x86_64", test, feature = "testing"))]
const X32_SYSCALL_BIT: u32 = 0x4000_0000;

/// The ABIs of a kernel for x86_64, the native one first.
#[cfg(any(target_arch = "x86_64", test, feature = "testing"))]
pub(super) const X86_64: &[Abi] = &[
    abi(
        Arch::ScmpArchX86_64,
        ScmpArch::X8664,
        0xc000_003e,
        (0, X32_SYSCALL_BIT),
        Width::Whole,
    ),
    abi(
        Arch::ScmpArchX86,
        ScmpArch::X86,
        0x4000_0003,
        (0, 0),
        Width::Low,
    ),
    abi(
        Arch::ScmpArchX32,
        ScmpArch::X32,
        0xc000_003e,
        (X32_SYSCALL_BIT, X32_SYSCALL_BIT),
        Width::Low,
    ),
];

/// The ABIs of a kernel for aarch64, the native one first.
#[cfg(any(target_arch = "aarch64", test, feature = "testing"))]
pub(super) const AARCH64: &[Abi] = &[
    abi(
        Arch::ScmpArchAarch64,
        ScmpArch::Aarch64,
        0xc000_00b7,
        (0, 0),
        Width::Whole,
    ),
    abi(
        Arch::ScmpArchArm,
        ScmpArch::Arm,
        0x4000_0028,
        (0, 0),
        Width::Low,
    ),
];

/// The ABIs of a kernel for riscv64, the native one first.
#[cfg(any(target_arch = "riscv64", test, feature = "testing"))]
pub(super) const RISCV64: &[Abi] = &[abi(
    Arch::ScmpArchRiscv64,
    ScmpArch::Riscv64,
    0xc000_00f3,
    (0, 0),
    Width::Whole,
)];

/// The ABIs of a kernel for s390x, the native one first.
#[cfg(any(target_arch = "s390x", test, feature = "testing"))]
pub(super) const S390X: &[Abi] = &[
    abi(
        Arch::ScmpArchS390x,
        ScmpArch::S390X,
        0x8000_0016,
        (0, 0),
        Width::Whole,
    ),
    abi(
        Arch::ScmpArchS390,
        ScmpArch::S390,
        0x0000_0016,
        (0, 0),
        Width::Low,
    ),
];

/// The ABIs of a kernel for powerpc64le, the native one first.
#[cfg(any(target_arch = "powerpc64", test, feature = "testing"))]
pub(super) const PPC64LE: &[Abi] = &[abi(
    Arch::ScmpArchPpc64le,
    ScmpArch::Ppc64Le,
    0xc000_0015,
    (0, 0),
    Width::Whole,
)];

/// The ABI of a kernel for arm.
#[cfg(any(target_arch = "arm", test, feature = "testing"))]
pub(super) const ARM: &[Abi] = &[abi(
    Arch::ScmpArchArm,
    ScmpArch::Arm,
    0x4000_0028,
    (0, 0),
    Width::Low,
)];

/// The ABIs of this kernel, the native one first.
#[cfg(target_arch = "x86_64")]
pub(super) const ABIS: &[Abi] = X86_64;
/// The ABIs of this kernel, the native one first.
#[cfg(target_arch = "aarch64")]
pub(super) const ABIS: &[Abi] = AARCH64;
/// The ABIs of this kernel, the native one first.
#[cfg(target_arch = "riscv64")]
pub(super) const ABIS: &[Abi] = RISCV64;
/// The ABIs of this kernel, the native one first.
#[cfg(target_arch = "s390x")]
pub(super) const ABIS: &[Abi] = S390X;
/// The ABIs of this kernel, the native one first.
#[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
pub(super) const ABIS: &[Abi] = PPC64LE;
/// The ABIs of this kernel, the native one first.
#[cfg(target_arch = "arm")]
pub(super) const ABIS: &[Abi] = ARM;

const fn abi(
    name: Arch,
    library: ScmpArch,
    audit: u32,
    (bit, told_by): (u32, u32),
    width: Width,
) -> Abi {
    Abi {
        name,
        library,
        audit,
        bit,
        told_by,
        width,
    }
}

/// The ABIs of every kernel that casulo is compiled for. Tests run the programs for all of them on any
/// machine.
#[cfg(any(test, feature = "testing"))]
pub(super) const MACHINES: [&[Abi]; 6] = [X86_64, AARCH64, RISCV64, S390X, PPC64LE, ARM];

/// Returns the ABIs of `machine` that a filter for `architectures` covers. The native one is always among
/// them, as in runc and crun: otherwise not even execve would pass. The others are those that `architectures`
/// names.
pub(super) fn covered(machine: &'static [Abi], architectures: &[Arch]) -> Vec<&'static Abi> {
    machine
        .iter()
        .enumerate()
        .filter(|(index, abi)| *index == 0 || architectures.contains(&abi.name))
        .map(|(_, abi)| abi)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_native_abi_is_always_covered_and_first() {
        for list in [
            &[][..],
            &[Arch::ScmpArchNative],
            &[Arch::ScmpArchS390x, Arch::ScmpArchMips],
        ] {
            let covered = covered(ABIS, list);
            assert_eq!(covered, [&ABIS[0]]);
            assert_eq!(covered[0].library, ScmpArch::native());
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn architectures_of_this_kernel_are_covered_and_foreign_ones_left_out() {
        let names: Vec<Arch> = covered(
            ABIS,
            &[
                Arch::ScmpArchX32,
                Arch::ScmpArchRiscv64,
                Arch::ScmpArchX86,
                Arch::ScmpArchX86_64,
            ],
        )
        .iter()
        .map(|abi| abi.name)
        .collect();
        assert_eq!(
            names,
            [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
        );
    }
}
