//! Several rules for one call.

use super::*;

#[test]
fn every_operator_compares_all_64_bits_for_old_and_for_newer_calls() {
    let edges = [
        0,
        1,
        7,
        8,
        9,
        0xffff_ffff,
        1 << 32,
        1 << 32 | 8,
        7 << 32,
        8 << 32 | 8,
        9 << 32 | 1,
        u64::MAX,
    ];
    for op in crate::seccomp::operators() {
        for value in [0, 8, 0xffff_ffff, 8 << 32 | 8, u64::MAX] {
            for argument in [0u8, 5] {
                let filter = filter(&json!({
                    "defaultAction": "SCMP_ACT_ERRNO",
                    "syscalls": [{"names": ["splice", "mseal"], "action": "SCMP_ACT_ALLOW", "args": [
                        {"index": argument, "value": value, "valueTwo": value & 0xff00_0000_00ff,
                         "op": op},
                    ]}],
                }));
                let bpf = bpf(&filter);
                for edge in edges {
                    let mut args = [3; 6];
                    args[usize::from(argument)] = edge;
                    let expected = if holds(&filter.rules[0].conditions[0], &args, ABIS[0].width) {
                        ALLOW
                    } else {
                        EPERM
                    };
                    for name in ["splice", "mseal"] {
                        let nr = number(name, &ABIS[0]).unwrap();
                        assert_eq!(
                            verdict(bpf.program(), &ABIS[0], nr, &args),
                            expected,
                            "{name}: argument {argument} = {edge:#x} {op} {value:#x}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn conditions_on_different_arguments_must_all_hold() {
    let bpf = bpf(&filter(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["splice", "mseal"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 5, "op": "SCMP_CMP_GE"},
            {"index": 2, "value": 7, "op": "SCMP_CMP_NE"},
            {"index": 1, "value": 6, "op": "SCMP_CMP_LT"},
        ]}],
    })));
    for name in ["splice", "mseal"] {
        let nr = number(name, &ABIS[0]).unwrap();
        for (args, expected) in [
            ([5, 5, 6], ALLOW),
            ([4, 5, 6], EPERM),
            ([5, 6, 6], EPERM),
            ([5, 5, 7], EPERM),
        ] {
            assert_eq!(
                verdict(bpf.program(), &ABIS[0], nr, &args),
                expected,
                "{name} {args:?}"
            );
        }
    }
}

#[test]
fn conditions_on_one_argument_are_alternatives() {
    let bpf = bpf(&filter(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["splice", "mseal"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"},
            {"index": 0, "value": 7, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"},
        ]}],
    })));
    for name in ["splice", "mseal"] {
        let nr = number(name, &ABIS[0]).unwrap();
        for (args, expected) in [
            ([5, 0], ALLOW),
            ([7, 0], ALLOW),
            ([6, 9], ALLOW),
            ([6, 8], EPERM),
        ] {
            assert_eq!(
                verdict(bpf.program(), &ABIS[0], nr, &args),
                expected,
                "{name} {args:?}"
            );
        }
    }
}

#[test]
fn overlapping_rules_allow_only_what_one_of_them_allows() {
    let bpf = bpf(&filter(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 0, "op": "SCMP_CMP_NE"},
            ]},
            {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_NE"},
                {"index": 1, "value": 0, "op": "SCMP_CMP_EQ"},
            ]},
        ],
    })));
    let ioctl = number("ioctl", &ABIS[0]).unwrap();
    for (args, expected) in [
        ([0, 1], EPERM),
        ([0, 0], ALLOW),
        ([1, 1], ALLOW),
        ([2, 1], ALLOW),
    ] {
        assert_eq!(
            verdict(bpf.program(), &ABIS[0], ioctl, &args),
            expected,
            "{args:?}"
        );
    }
}

#[test]
fn a_rule_without_conditions_settles_its_call_in_any_order() {
    let always = json!({"names": ["splice", "mseal"], "action": "SCMP_ACT_ALLOW"});
    let later = json!({"names": ["splice", "mseal"], "action": "SCMP_ACT_KILL"});
    let sometimes = json!({"names": ["splice", "mseal"], "action": "SCMP_ACT_TRAP", "args": [
        {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"},
    ]});
    let as_default = json!({"names": ["splice", "mseal"], "action": "SCMP_ACT_ERRNO"});
    for (order, expected) in [
        (json!([always, sometimes]), ALLOW),
        (json!([sometimes, always]), ALLOW),
        (json!([always, later]), ALLOW),
        (json!([later, always]), KILL_THREAD),
        (json!([as_default, sometimes]), 0x0003_0000),
        (json!([as_default]), EPERM),
    ] {
        let bpf = bpf(&filter(
            &json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": order}),
        ));
        for name in ["splice", "mseal"] {
            let nr = number(name, &ABIS[0]).unwrap();
            assert_eq!(
                verdict(bpf.program(), &ABIS[0], nr, &[5]),
                expected,
                "{name} {order}"
            );
        }
    }
}

#[test]
fn a_mask_without_high_bits_does_not_match_a_value_that_has_some() {
    for (value_two, expected) in [(3, ALLOW), (1u64 << 32 | 3, EPERM)] {
        let bpf = bpf(&filter(&json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["splice"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 7, "valueTwo": value_two, "op": "SCMP_CMP_MASKED_EQ"},
            ]}],
        })));
        let nr = number("splice", &ABIS[0]).unwrap();
        for arg in [3, 1 << 32 | 3] {
            let found = verdict(bpf.program(), &ABIS[0], nr, &[arg]);
            assert_eq!(found, expected, "{arg:#x} {value_two:#x}");
        }
    }
}

#[test]
fn a_rule_with_conditions_contradicts_nothing_where_a_later_one_settles_the_call() {
    let sometimes = |action: &str| {
        json!({"names": ["splice"], "action": action, "args": [
            {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"},
        ]})
    };
    let always = json!({"names": ["splice"], "action": "SCMP_ACT_ALLOW"});
    let bpf = bpf(&filter(&json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [sometimes("SCMP_ACT_KILL"), sometimes("SCMP_ACT_TRAP"), always],
    })));
    let nr = number("splice", &ABIS[0]).unwrap();
    assert_eq!(verdict(bpf.program(), &ABIS[0], nr, &[5]), ALLOW);
}
