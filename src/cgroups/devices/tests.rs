use super::reference::{Request, reference, run};
use super::*;
use proptest::prelude::*;

fn policy(json: &str) -> Policy {
    let rules: Vec<_> = serde_json::from_str(json).expect("rules");
    let mut problems = Problems::default();
    let policy = plan(&rules, &mut problems);
    problems.into_result("c").expect("no problem");
    policy
}

const M: u8 = 1;
const R: u8 = 2;
const RW: u8 = 6;

#[test]
fn rules_decide_as_engines_expect() {
    const DENY_ALL: &str = r#"{"allow":false,"access":"rwm"}"#;
    let null = Request(2, 1, 3, RW);
    let tty7 = Request(2, 4, 7, R);
    let fuse = Request(2, 10, 229, RW);
    let disk = Request(1, 8, 0, R);
    for (rules, request, allowed) in [
        ("", null, true),
        ("", fuse, false),
        ("", Request(1, 8, 0, M), true),
        (DENY_ALL, null, true),
        (DENY_ALL, Request(2, 136, 12, RW), true),
        (DENY_ALL, Request(2, 10, 229, M), true),
        (DENY_ALL, Request(2, 10, 200, RW), true),
        (DENY_ALL, Request(1, 10, 200, RW), false),
        (DENY_ALL, tty7, false),
        (r#"{"allow":true,"access":"rwm"}"#, disk, true),
        (r#"{"allow":true,"type":"a","access":"rwm"}"#, disk, true),
        (
            r#"{"allow":true,"type":"a","major":-1,"minor":-1,"access":"rwm"}"#,
            disk,
            true,
        ),
        // Two rules together allow what neither does alone.
        (
            r#"{"allow":true,"type":"c","major":10,"minor":229,"access":"r"},
               {"allow":true,"type":"c","major":10,"minor":229,"access":"w"}"#,
            fuse,
            true,
        ),
        // Half of a request is not enough.
        (
            r#"{"allow":true,"type":"c","major":10,"minor":229,"access":"r"}"#,
            fuse,
            false,
        ),
        (r#"{"allow":true,"type":"b","access":"r"}"#, disk, true),
        (
            r#"{"allow":true,"type":"b","access":"r"}"#,
            Request(2, 8, 0, R),
            false,
        ),
        // Without a type both are meant.
        (r#"{"allow":true,"major":8,"access":"r"}"#, disk, true),
        // A denied kind denies a request that has it beside others.
        (
            r#"{"allow":true,"access":"rwm"},
               {"allow":false,"type":"c","major":10,"minor":229,"access":"w"}"#,
            fuse,
            false,
        ),
        (
            r#"{"allow":true,"access":"rwm"},
               {"allow":false,"type":"c","major":10,"minor":229,"access":"w"}"#,
            Request(2, 10, 229, R),
            true,
        ),
        // What comes later wins.
        (
            r#"{"allow":true,"type":"b","access":"r"},{"allow":false,"access":"rwm"}"#,
            disk,
            false,
        ),
        (
            r#"{"allow":false,"type":"c","major":1,"minor":3,"access":"w"}"#,
            null,
            false,
        ),
        (
            r#"{"allow":false,"access":"m"}"#,
            Request(1, 8, 0, M),
            false,
        ),
        (
            r#"{"allow":true,"type":"b","major":4294967295,"access":"r"}"#,
            Request(1, u32::MAX, 0, R),
            true,
        ),
    ] {
        let policy = policy(&format!("[{rules}]"));
        assert_eq!(reference(&policy, request), allowed, "{rules} {request:?}");
        assert_eq!(run(&policy, request), allowed, "{rules} {request:?}");
    }
}

#[test]
fn only_a_policy_that_refuses_something_needs_a_program() {
    for (rules, free) in [
        ("[]", false),
        (r#"[{"allow":true,"access":"rwm"}]"#, true),
        (
            r#"[{"allow":true,"access":"rwm"},{"allow":true,"type":"b","access":"r"}]"#,
            true,
        ),
        (
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"r"}]"#,
            false,
        ),
        (r#"[{"allow":true,"access":"rw"}]"#, false),
    ] {
        assert_eq!(policy(rules).allows_everything(), free, "{rules}");
    }
}

#[test]
fn letters_that_are_no_access_say_nothing() {
    for (with, without) in [
        (
            r#"[{"allow":true,"type":"c","major":10,"access":"rwa"}]"#,
            r#"[{"allow":true,"type":"c","major":10,"access":"rw"}]"#,
        ),
        (
            r#"[{"allow":false,"access":"mrwx"}]"#,
            r#"[{"allow":false,"access":"rwm"}]"#,
        ),
        (r#"[{"allow":true,"type":"c","access":"RWx"}]"#, "[]"),
    ] {
        assert_eq!(policy(with), policy(without), "{with}");
    }
}

#[test]
fn a_rule_that_repeats_a_default_costs_nothing() {
    let repeated = policy(
        r#"[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]"#,
    );
    assert_eq!(program(&repeated).len(), program(&Policy::defaults()).len());
}

#[test]
fn malformed_rules_are_problems_with_their_paths() {
    for (rule, path) in [
        (r#"{"allow":true}"#, "access"),
        (r#"{"allow":true,"access":""}"#, "access"),
        (r#"{"allow":true,"access":"x"}"#, "access"),
        (r#"{"allow":true,"type":"p","access":"r"}"#, "type"),
        (r#"{"allow":true,"major":-5,"access":"r"}"#, "major"),
        (r#"{"allow":true,"minor":4294967296,"access":"r"}"#, "minor"),
    ] {
        let rules: Vec<_> = serde_json::from_str(&format!("[{rule}]")).expect("a rule");
        let mut problems = Problems::default();
        plan(&rules, &mut problems);
        let error = problems.into_result("c").expect_err(rule).to_string();
        let expected = format!("c: linux.resources.devices[0].{path}: ");
        assert!(error.starts_with(&expected), "{error}");
    }
}

/// What a config says, before anybody has read it: allow, type, major, minor, access.
type Said = (bool, LinuxDeviceType, Option<i64>, Option<i64>, u8);

/// Rules of every kind: for one device, for many (no number, or -1), for both types (`a`), and about
/// the default devices, which a rule may narrow. Their numbers are few, so that they meet.
fn any_rule() -> impl Strategy<Value = Said> {
    use LinuxDeviceType::{A, B, C};
    let kind = prop_oneof![Just(A), Just(B), Just(C)];
    let number = |numbers: &'static [u32]| {
        let one = proptest::sample::select(numbers).prop_map(|it| Some(i64::from(it)));
        prop_oneof![3 => one, 1 => Just(None), 1 => Just(Some(-1))]
    };
    (any::<bool>(), kind, number(MAJORS), number(MINORS), 1_u8..8)
}

const MAJORS: &[u32] = &[0, 1, 5, 8, 136, u32::MAX];
const MINORS: &[u32] = &[0, 2, 3, 8, 300, u32::MAX];

fn any_request() -> impl Strategy<Value = Request> {
    let number = |numbers: &'static [u32]| proptest::sample::select(numbers);
    (1_u32..3, number(MAJORS), number(MINORS), 1_u8..8)
        .prop_map(|(kind, major, minor, access)| Request(kind, major, minor, access))
}

/// The same as the config's own type.
fn rule_of((allow, kind, major, minor, access): Said) -> LinuxDeviceCgroup {
    let letters = [(1, 'm'), (2, 'r'), (4, 'w')];
    let access: String = letters
        .iter()
        .filter(|(bit, _)| access & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow);
    rule.set_typ(Some(kind));
    rule.set_major(major);
    rule.set_minor(minor);
    rule.set_access(Some(access));
    rule
}

/// Which accesses to the request's device the rules leave, rule by rule as they were said.
fn left_by(said: &[Said], request: Request) -> u8 {
    let Request(kind, major, minor, _) = request;
    let by_default = match (kind, major, minor) {
        (2, 1, 3 | 5 | 7 | 8 | 9) | (2, 5, 0 | 2) | (2, 136, _) => 7,
        _ => 1, // mknod
    };
    let mut left = by_default;
    for (allow, of_kind, of_major, of_minor, access) in said {
        let any = |number: &Option<i64>| number.is_none_or(|it| it == -1);
        let is = |number: &Option<i64>, it: u32| any(number) || *number == Some(i64::from(it));
        let of_both = *of_kind == LinuxDeviceType::A;
        let of_everything = of_both && any(of_major) && any(of_minor) && *access == 7;
        let same_kind = of_both || (*of_kind == LinuxDeviceType::B) == (kind == 1);
        match allow {
            false if of_everything => left = by_default,
            true if of_everything => left = 7,
            _ if !(same_kind && is(of_major, major) && is(of_minor, minor)) => {}
            true => left |= access,
            false => left &= !access,
        }
    }
    left
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn the_program_means_what_the_rules_mean(
        said in proptest::collection::vec(any_rule(), 0..12),
        request in any_request(),
    ) {
        let rules: Vec<_> = said.iter().copied().map(rule_of).collect();
        let mut problems = Problems::default();
        let policy = plan(&rules, &mut problems);
        prop_assert!(problems.is_empty());
        let allowed = left_by(&said, request) & request.3 == request.3;
        prop_assert_eq!(run(&policy, request), allowed);
        prop_assert_eq!(reference(&policy, request), allowed);
        prop_assert!(allowed || !policy.allows_everything());
    }
}

#[test]
fn a_group_of_rules_is_no_longer_than_a_jump() {
    let rules: Vec<Rule> = (0..10_000)
        .map(|minor| Rule {
            verdict: Verdict::Allow,
            kind: Kind::Char,
            major: Some(7),
            minor: Some(minor),
            access: Access::READ,
        })
        .collect();
    let policy = Policy {
        otherwise: Verdict::Deny,
        rules,
    };
    for instruction in program(&policy) {
        let [code, _, low, high, ..] = instruction.to_ne_bytes();
        let is_jump = matches!(code, 0x05 | 0x46 | 0x56);
        assert!(!is_jump || i16::from_ne_bytes([low, high]) > 0);
    }
}
