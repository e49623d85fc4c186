//! For tests and fuzzing: what a policy means, evaluated rule by rule, and its program, run.

use super::{Kind, Policy, Rule, Verdict, program};

/// What the kernel asks: type (1 block, 2 char), major, minor, kinds of access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request(
    pub(super) u32,
    pub(super) u32,
    pub(super) u32,
    pub(super) u8,
);

/// The generated program, run as the kernel would.
#[cfg(test)]
pub(super) fn run(policy: &Policy, request: Request) -> bool {
    let code = bytes_of(policy);
    execute(&machine(&code), request)
}

fn bytes_of(policy: &Policy) -> Vec<u8> {
    let code = program(policy);
    code.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

fn machine(code: &[u8]) -> rbpf::EbpfVmRaw<'_> {
    rbpf::EbpfVmRaw::new(Some(code)).expect("a valid program")
}

fn execute(machine: &rbpf::EbpfVmRaw<'_>, Request(kind, major, minor, access): Request) -> bool {
    let mut context = Vec::new();
    for word in [u32::from(access) << 16 | kind, major, minor] {
        context.extend(word.to_ne_bytes());
    }
    machine.execute_program(&mut context).expect("it returns") == 1
}

/// The meaning of a policy, without a program: each kind of access on its own.
pub(super) fn reference(policy: &Policy, Request(kind, major, minor, access): Request) -> bool {
    [1, 2, 4]
        .into_iter()
        .filter(|one| access & one != 0)
        .all(|one| {
            let decides = |rule: &&Rule| {
                let same_kind = match rule.kind {
                    Kind::Any => true,
                    Kind::Block => kind == 1,
                    Kind::Char => kind == 2,
                };
                same_kind
                    && rule.major.is_none_or(|it| it == major)
                    && rule.minor.is_none_or(|it| it == minor)
                    && rule.access.0 & one != 0
            };
            let last = policy.rules.iter().rfind(decides);
            last.map_or(policy.otherwise, |rule| rule.verdict) == Verdict::Allow
        })
}

/// The first request on which program and policy differ, as text. The requests are those near the numbers
/// that the policy names.
pub(crate) fn first_mismatch(policy: &Policy) -> Option<String> {
    let near = |numbers: Vec<u32>| {
        let mut all: Vec<u32> = numbers
            .into_iter()
            .flat_map(|it| [it, it.wrapping_add(1)])
            .chain([0, 1, u32::MAX])
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let majors = near(policy.rules.iter().filter_map(|it| it.major).collect());
    let minors = near(policy.rules.iter().filter_map(|it| it.minor).collect());
    let code = bytes_of(policy);
    let machine = machine(&code);
    let places = majors
        .iter()
        .flat_map(|major| minors.iter().map(move |minor| (*major, *minor)));
    for (major, minor) in places {
        for (kind, access) in [(1, 1), (1, 2), (1, 6), (2, 2), (2, 4), (2, 7)] {
            let request = Request(kind, major, minor, access);
            let (found, meant) = (execute(&machine, request), reference(policy, request));
            if found != meant {
                return Some(format!(
                    "{request:?}: the program says {found}, the policy {meant}"
                ));
            }
        }
    }
    None
}
