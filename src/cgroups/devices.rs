//! `linux.resources.devices` → one eBPF program that the kernel asks about every open and mknod of
//! a device by the container (cgroup v2 has no files for this: kernel, cgroup-v2.rst, "Device
//! controller"). Pure; [`attached`] loads and attaches it, in the parent: before init has the image's tree, and
//! when an update brings other rules. So what init opens there is what the container may open. The device nodes that the
//! config asks for are not subject to the rules, as with runc: those that are forbidden the parent makes.

mod access;
mod attached;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod reference;

pub(crate) use access::Access;
pub(crate) use attached::Rules;

use crate::error::Problems;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// Allowed or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The access is granted.
    Allow,
    /// The access fails with EPERM.
    Deny,
}

/// Which devices a rule speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Both.
    Any,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// One entry of the list. None as a number is any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// What happens to these accesses.
    pub verdict: Verdict,
    /// The type.
    pub kind: Kind,
    /// The major number.
    pub major: Option<u32>,
    /// The minor number.
    pub minor: Option<u32>,
    /// Which accesses it is about; the others it leaves as they are.
    pub access: Access,
}

/// Who may do what with which device: for each kind of access the last rule that speaks of it
/// decides, and where none does, `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The verdict where no rule speaks.
    pub otherwise: Verdict,
    /// In the order of the config.
    pub rules: Vec<Rule>,
}

/// What every container may use: the devices that the spec obliges the runtime to supply, its terminals, tun, and
/// mknod of anything (a node that cannot be opened is harmless). The same list as runc's.
const DEFAULTS: [Rule; 11] = [
    device(Kind::Char, None, None, Access::MKNOD),
    device(Kind::Block, None, None, Access::MKNOD),
    device(Kind::Char, Some(1), Some(3), Access::ALL), // null
    device(Kind::Char, Some(1), Some(5), Access::ALL), // zero
    device(Kind::Char, Some(1), Some(7), Access::ALL), // full
    device(Kind::Char, Some(1), Some(8), Access::ALL), // random
    device(Kind::Char, Some(1), Some(9), Access::ALL), // urandom
    device(Kind::Char, Some(5), Some(0), Access::ALL), // tty
    device(Kind::Char, Some(5), Some(2), Access::ALL), // ptmx
    device(Kind::Char, Some(136), None, Access::ALL),  // pts/*, and console as a pty
    device(Kind::Char, Some(10), Some(200), Access::ALL), // net/tun
];

const fn device(kind: Kind, major: Option<u32>, minor: Option<u32>, access: Access) -> Rule {
    Rule {
        verdict: Verdict::Allow,
        kind,
        major,
        minor,
        access,
    }
}

impl Policy {
    /// Nothing but the default devices: what holds without any rule, as with runc.
    pub(crate) fn defaults() -> Policy {
        Policy {
            otherwise: Verdict::Deny,
            rules: DEFAULTS.to_vec(),
        }
    }

    /// Whether a node of this device may be made.
    pub(crate) fn allows_mknod(&self, kind: Kind, major: u32, minor: u32) -> bool {
        let speaks = |rule: &&Rule| {
            (rule.kind == Kind::Any || rule.kind == kind)
                && rule.major.is_none_or(|it| it == major)
                && rule.minor.is_none_or(|it| it == minor)
                && rule.access.includes(Access::MKNOD)
        };
        let decides = self.rules.iter().rev().find(speaks);
        decides.map_or(self.otherwise, |rule| rule.verdict) == Verdict::Allow
    }

    /// True if no access is ever refused, so that no program is needed.
    pub(crate) fn allows_everything(&self) -> bool {
        self.otherwise == Verdict::Allow && self.rules.iter().all(|it| it.verdict == Verdict::Allow)
    }
}

/// The policy of the config: its rules in order, over the default devices. A rule for all devices
/// and all accesses starts afresh: "deny all" goes back to the defaults (every engine writes it
/// first and still expects /dev/null), "allow all" to everything. A later rule that narrows a
/// default device is honoured; runc and crun let the defaults win.
///
/// The major or minor -1 is a wildcard, as older engines write it.
pub(crate) fn plan(rules: &[LinuxDeviceCgroup], problems: &mut Problems) -> Policy {
    let mut policy = Policy::defaults();
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("linux.resources.devices[{index}]");
        let Some(rule) = read(rule, &path, problems) else {
            continue;
        };
        let speaks_of_all = rule.kind == Kind::Any
            && rule.major.is_none()
            && rule.minor.is_none()
            && rule.access == Access::ALL;
        match rule.verdict {
            Verdict::Deny if speaks_of_all => policy = Policy::defaults(),
            Verdict::Allow if speaks_of_all => {
                policy = Policy {
                    otherwise: Verdict::Allow,
                    rules: Vec::new(),
                }
            }
            _ => policy.rules.push(rule),
        }
    }
    policy
}

fn read(rule: &LinuxDeviceCgroup, path: &str, problems: &mut Problems) -> Option<Rule> {
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A => Some(Kind::Any),
        LinuxDeviceType::B => Some(Kind::Block),
        LinuxDeviceType::C => Some(Kind::Char),
        LinuxDeviceType::U | LinuxDeviceType::P => {
            problems.add(format!("{path}.type"), "must be a, b or c");
            None
        }
    };
    let mut number = |value: Option<i64>, field: &str| match value {
        None | Some(-1) => Some(None),
        Some(value) => match u32::try_from(value) {
            Ok(value) => Some(Some(value)),
            Err(_) => {
                problems.add(format!("{path}.{field}"), "not a device number");
                None
            }
        },
    };
    let major = number(rule.major(), "major");
    let minor = number(rule.minor(), "minor");
    let letters = rule.access().as_deref().unwrap_or_default();
    let access = access::read(letters, kind, &format!("{path}.access"), problems)?;
    Some(Rule {
        verdict: if rule.allow() {
            Verdict::Allow
        } else {
            Verdict::Deny
        },
        kind: kind?,
        major: major?,
        minor: minor?,
        access,
    })
}

/// The program of a policy, one `struct bpf_insn` an element.
///
/// The kernel hands it `struct bpf_cgroup_dev_ctx {access << 16 | type, major, minor}` and grants
/// the access if it returns 1. One request can be for several kinds of access at once (`O_RDWR`);
/// r3 holds those that no rule has decided yet. Rules are tried from the last to the first: a deny
/// rule for one of them refuses the request, an allow rule strikes its kinds off, and the request
/// is granted when none is left.
pub(crate) fn program(policy: &Policy) -> Vec<u64> {
    let mut code = vec![
        op::load(R2, R1, 0),
        op::copy(R3, R2),
        op::and(R2, 0xffff),
        op::shift_right(R3, 16),
        op::load(R4, R1, 4),
        op::load(R5, R1, 8),
    ];
    let mut rules: Vec<&Rule> = Vec::new();
    for rule in policy.rules.iter().rev() {
        // Engines list the default devices again: a rule behind one that says at least as much
        // is never reached, and the verifier need not walk it.
        if !rules.iter().any(|later| later.covers(rule)) {
            rules.push(rule);
        }
    }
    // Among rules with one verdict the order changes nothing, so those with a test in common meet.
    for equals in rules.chunk_by_mut(|one, next| one.verdict == next.verdict) {
        equals.sort_by_key(|rule| TESTS.map(|(_, wanted)| wanted(rule)));
    }
    code.extend(emit(&rules, &TESTS));
    code.extend(op::return_value(policy.otherwise));
    code
}

impl Rule {
    /// True if whatever `other` speaks of, this rule speaks of too.
    fn covers(&self, other: &Rule) -> bool {
        (self.kind == Kind::Any || self.kind == other.kind)
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
            && self.access.includes(other.access)
    }

    /// What the type must be, if the rule asks for one.
    fn kind_number(&self) -> Option<u32> {
        match self.kind {
            Kind::Any => None,
            Kind::Block => Some(1), // BPF_DEVCG_DEV_BLOCK
            Kind::Char => Some(2),  // BPF_DEVCG_DEV_CHAR
        }
    }
}

/// A register, and what a rule wants in it.
type Test = (u8, fn(&Rule) -> Option<u32>);

const TESTS: [Test; 3] = [
    (R2, Rule::kind_number),
    (R4, |rule| rule.major),
    (R5, |rule| rule.minor),
];

/// Rules that share a test are jumped over together, but no more of them than a jump of 16 bits
/// surely reaches across.
const GROUP: usize = 2000;

/// The code of `rules` in their order, each behind those of `tests` that it asks for.
///
/// Neighbours with the same test have it once: a value that is known already would make the
/// verifier trace where it came from at every later test, and load time grow with the square of
/// the rules.
fn emit(rules: &[&Rule], tests: &[Test]) -> Vec<u64> {
    let Some(((register, wanted), tests)) = tests.split_first() else {
        return rules.iter().flat_map(|rule| decide(rule)).collect();
    };
    let mut code = Vec::new();
    let neighbours = rules.chunk_by(|one, next| wanted(one) == wanted(next));
    for group in neighbours.flat_map(|group| group.chunks(GROUP)) {
        let body = emit(group, tests);
        if let Some(value) = group.first().and_then(|rule| wanted(rule)) {
            code.push(op::skip_unless(*register, value, body.len()));
        }
        code.extend(body);
    }
    code
}

/// What happens once all tests of a rule hold.
fn decide(rule: &Rule) -> Vec<u64> {
    let access = u32::from(rule.access.0);
    let mut code = match rule.verdict {
        _ if rule.access == Access::ALL => Vec::new(),
        Verdict::Deny => vec![op::skip_if_any(R3, access, 1), op::skip(2)],
        Verdict::Allow => vec![
            op::and(R3, u32::from(Access::ALL.0) & !access),
            op::skip_unless(R3, 0, 2),
        ],
    };
    code.extend(op::return_value(rule.verdict));
    code
}

const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const R5: u8 = 5;

/// The instructions in use, encoded as the kernel's `struct bpf_insn` (linux/bpf.h,
/// Documentation/bpf/standardization/instruction-set.rst). Jumps count instructions.
mod op {
    use super::{R0, Verdict};

    const LDX_W: u8 = 0x61;
    const ALU32_AND: u8 = 0x54;
    const ALU32_RSH: u8 = 0x74;
    const ALU32_MOV_REG: u8 = 0xbc;
    const ALU64_MOV: u8 = 0xb7;
    const JMP_JA: u8 = 0x05;
    const JMP32_JSET: u8 = 0x46;
    const JMP32_JNE: u8 = 0x56;
    const JMP_EXIT: u8 = 0x95;

    fn instruction(code: u8, destination: u8, source: u8, offset: usize, immediate: u32) -> u64 {
        // The registers share a byte, the destination in the half that comes first in memory.
        let registers = if cfg!(target_endian = "little") {
            source << 4 | destination
        } else {
            destination << 4 | source
        };
        // No jump here is longer than a group of rules.
        let [low, high] = i16::try_from(offset)
            .expect("a group of rules")
            .to_ne_bytes();
        let [a, b, c, d] = immediate.to_ne_bytes();
        u64::from_ne_bytes([code, registers, low, high, a, b, c, d])
    }

    /// `to = *(u32 *)(from + offset)`
    pub(super) fn load(to: u8, from: u8, offset: usize) -> u64 {
        instruction(LDX_W, to, from, offset, 0)
    }

    /// `to = from`
    pub(super) fn copy(to: u8, from: u8) -> u64 {
        instruction(ALU32_MOV_REG, to, from, 0, 0)
    }

    /// `register &= mask`
    pub(super) fn and(register: u8, mask: u32) -> u64 {
        instruction(ALU32_AND, register, 0, 0, mask)
    }

    /// `register >>= bits`
    pub(super) fn shift_right(register: u8, bits: u32) -> u64 {
        instruction(ALU32_RSH, register, 0, 0, bits)
    }

    /// Skips `count` instructions.
    pub(super) fn skip(count: usize) -> u64 {
        instruction(JMP_JA, 0, 0, count, 0)
    }

    /// Skips `count` instructions if `register & mask` is not 0.
    pub(super) fn skip_if_any(register: u8, mask: u32, count: usize) -> u64 {
        instruction(JMP32_JSET, register, 0, count, mask)
    }

    /// Skips `count` instructions unless `register == value`.
    pub(super) fn skip_unless(register: u8, value: u32, count: usize) -> u64 {
        instruction(JMP32_JNE, register, 0, count, value)
    }

    /// `return verdict`
    pub(super) fn return_value(verdict: Verdict) -> [u64; 2] {
        let value = match verdict {
            Verdict::Allow => 1,
            Verdict::Deny => 0,
        };
        [
            instruction(ALU64_MOV, R0, 0, 0, value),
            instruction(JMP_EXIT, 0, 0, 0, 0),
        ]
    }
}

#[cfg(test)]
mod tests;
