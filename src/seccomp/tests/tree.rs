//! The shape of programs: long ones, what the kernel can derive from them, and how many instructions a call runs.

use super::*;
use crate::seccomp::machine::run_counting;
use crate::seccomp::reference::first_mismatch;
use crate::sys::seccomp::Instruction;
use proptest::prelude::*;

/// The names of Docker's profile, in alphabetical order, which is not the order of their numbers.
fn names() -> Vec<String> {
    let filter = docker();
    let names = filter.rules.iter().flat_map(|rule| rule.names.clone());
    let names: std::collections::BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

/// A rule for a few successive names.
fn rule() -> impl Strategy<Value = Value> {
    let args = prop::collection::vec(
        (
            0u8..6,
            prop::sample::select(crate::seccomp::operators()),
            prop::sample::select(vec![0u64, 7, 1 << 32, 7 << 32 | 7, u64::MAX]),
            prop::sample::select(vec![0u64, 7, 7 << 32]),
        ),
        0..4,
    );
    let actions = [
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_LOG",
    ];
    let action = prop::sample::select(actions.to_vec());
    (0usize..370, 1usize..60, 1usize..4, action, args).prop_map(
        |(from, count, step, action, args)| {
            let names = names();
            let chosen: Vec<&String> = names.iter().skip(from).step_by(step).take(count).collect();
            let args: Vec<Value> = args
                .into_iter()
                .map(|(index, op, value, two)| {
                    json!({"index": index, "op": op, "value": value, "valueTwo": two})
                })
                .collect();
            let args = if from % 3 == 0 { args } else { Vec::new() };
            json!({"names": chosen, "action": action, "args": args})
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn random_profiles_of_many_calls_mean_what_they_say(
        rules in prop::collection::vec(rule(), 0..12),
        default in prop::sample::select(vec!["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_TRAP"]),
        architectures in prop::sample::subsequence(
            vec!["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"], 0..3),
    ) {
        let profile = json!({"defaultAction": default, "architectures": architectures, "syscalls": rules});
        prop_assert_eq!(first_mismatch(&filter(&profile), &[]), None, "{:#}", profile);
    }
}

/// A comparison reaches 255 instructions: here some are farther, for numbers, for architectures and for returns.
#[test]
fn what_a_comparison_cannot_reach_is_reached() {
    let args = |count: u64| -> Vec<Value> {
        let arg = |value: u64| json!({"index": 1, "value": value << 33 | 1, "op": "SCMP_CMP_GT"});
        (0..count).map(arg).collect()
    };
    for count in [
        1, 30, 31, 32, 40, 41, 42, 43, 50, 51, 52, 60, 61, 62, 63, 64, 65, 100, 200,
    ] {
        let rules =
            |name: &str| json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": args(count)});
        let profile = filter(&json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [rules("read"), rules("futex"), {"names": ["write"], "action": "SCMP_ACT_LOG"}],
        }));
        assert_eq!(first_mismatch(&profile, &[]), None, "{count} values");
        means_what_it_says(&profile);
    }
}

/// Returns the program with an invalid instruction in place of each that the kernel does not follow when it works out
/// which calls are always allowed (`seccomp_is_const_allow` of kernel/seccomp.c). The interpreter refuses these.
fn without_arguments(bpf: &Bpf) -> Vec<Instruction> {
    let follows = |it: &Instruction| match it.code {
        0x20 => it.k == 0 || it.k == 4,
        0x05 | 0x06 | 0x15 | 0x25 | 0x35 | 0x45 | 0x54 => true,
        _ => false,
    };
    let mut program = bpf.program().to_vec();
    for it in program.iter_mut().filter(|it| !follows(it)) {
        it.code = 0xffff;
    }
    program
}

#[test]
fn the_kernel_can_tell_which_calls_are_always_allowed() {
    let filter = docker();
    let program = without_arguments(&bpf(&filter));
    let mut count = 0;
    for abi in ABIS {
        for name in &filter.rules[0].names {
            if let Some(nr) = number(name, abi) {
                let data = Data {
                    nr,
                    arch: abi.audit,
                    ..Data::default()
                };
                assert_eq!(
                    run(&program, &data),
                    Some(ALLOW),
                    "{name} on {:?}",
                    abi.name
                );
                count += 1;
            }
        }
    }
    assert!(count > 300, "{count} calls");
    let native = Data {
        nr: number("clone", &ABIS[0]).unwrap(),
        arch: ABIS[0].audit,
        ..Data::default()
    };
    assert_eq!(run(&program, &native), None, "clone has a condition");
}

/// docs/seccomp.md has these figures beside those of other runtimes.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_frequent_call_takes_few_instructions() {
    let bpf = bpf(&docker());
    let count = |name: &str, arg: u64| {
        let nr = number(name, &ABIS[0]).unwrap();
        let data = Data {
            nr,
            arch: ABIS[0].audit,
            args: [arg, 0, 0, 0, 0, 0],
        };
        run_counting(bpf.program(), &data).unwrap().1
    };
    let calls = [
        "read",
        "write",
        "close",
        "fstat",
        "mmap",
        "sendto",
        "futex",
        "clock_nanosleep",
        "epoll_wait",
        "openat",
    ];
    assert_eq!(
        calls.map(|name| count(name, 0)),
        [9, 9, 9, 9, 9, 10, 10, 13, 13, 10]
    );
    assert_eq!(bpf.program().len(), 367);
}
