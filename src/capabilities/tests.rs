use super::*;
use crate::process::fixtures::status_line;
use crate::skip;
use crate::sys::forked::words_of_child;

const CHOWN: u64 = 1 << 0;
const KILL: u64 = 1 << 5;
const NET_RAW: u64 = 1 << 13;
const SYSLOG: u64 = 1 << 34;
const ALL: u64 = (1 << 41) - 1;

fn sets(json: &str) -> LinuxCapabilities {
    serde_json::from_str(json).expect("capability sets")
}

fn planned(json: &str) -> Plan {
    decided(
        Some(&sets(json)),
        &namespaces::Plan::default(),
        &Host::of_root(),
    )
}

/// Returns the plan of sets that have no problem.
fn decided(wanted: Option<&LinuxCapabilities>, ns: &namespaces::Plan, host: &Host) -> Plan {
    let mut problems = Problems::default();
    let plan = plan(wanted, ns, host, "c", &mut problems);
    problems.into_result("sets").expect("no problem");
    plan
}

fn userns() -> namespaces::Plan {
    namespaces::Plan {
        new: vec![Kind::User],
        ..Default::default()
    }
}

impl Plan {
    /// Returns the plan for a root that may hold less than the root of the fixtures.
    pub(crate) fn for_this_machine(self) -> Plan {
        let held = u64::from_str_radix(&status_line("CapEff"), 16).expect("hex");
        Plan {
            held,
            effective: self.effective & held,
            permitted: self.permitted & held,
            ..self
        }
    }
}

#[test]
fn every_capability_of_the_spec_has_the_kernels_number() {
    let rows = [
        ("CAP_CHOWN", 0),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_SYSLOG", 34),
        ("CAP_PERFMON", 38),
        ("CAP_CHECKPOINT_RESTORE", 40),
    ];
    for (name, expected) in rows {
        assert_eq!(number(parse(name).expect(name)), expected, "{name}");
    }
    for name in names(u64::MAX) {
        assert_eq!(names(1 << number(parse(&name).expect("known"))), [name]);
    }
    assert_eq!(names(u64::MAX).len(), 41);
}

#[test]
fn names_on_a_command_line_need_no_prefix_nor_case() {
    for name in ["CAP_NET_RAW", "net_raw", "NET_RAW", "cap_net_raw"] {
        assert_eq!(parse(name), Some(Capability::NetRaw), "{name}");
    }
    assert_eq!(parse("CAP_UNKNOWN"), None);
    assert_eq!(parse(""), None);
}

#[test]
fn absent_sets_are_empty_sets() {
    let plan = planned("{}");
    assert_eq!((plan.bounding, plan.bounding_drop), (0, ALL));
    assert_eq!(
        (
            plan.effective,
            plan.permitted,
            plan.inheritable,
            plan.ambient
        ),
        (0, 0, 0, 0)
    );
}

#[test]
fn absent_capabilities_are_none() {
    let plan = decided(None, &namespaces::Plan::default(), &Host::of_root());
    assert_eq!((plan.bounding, plan.bounding_drop), (0, ALL));
    assert_eq!((plan.effective, plan.permitted), (0, 0));
    assert_eq!((plan.inheritable, plan.ambient), (0, 0));
}

#[test]
fn what_cannot_be_granted_is_left_out() {
    let plan = planned(
        r#"{"effective":["CAP_CHOWN","CAP_KILL"],"permitted":["CAP_CHOWN"],
            "inheritable":["CAP_KILL"],"ambient":["CAP_CHOWN","CAP_KILL"],
            "bounding":["CAP_CHOWN","CAP_KILL"]}"#,
    );
    assert_eq!((plan.effective, plan.permitted), (CHOWN, CHOWN));
    assert_eq!((plan.inheritable, plan.ambient), (KILL, 0));
    // As execve(2) does it for root.
    let plan = planned(
        r#"{"effective":["CAP_CHOWN","CAP_KILL"],"permitted":["CAP_CHOWN","CAP_KILL"],
            "bounding":["CAP_CHOWN"]}"#,
    );
    assert_eq!((plan.effective, plan.permitted), (CHOWN, CHOWN));
}

#[test]
fn no_set_reaches_past_the_bounding_set() {
    let wanted = sets(
        r#"{"bounding":["CAP_CHOWN"],"inheritable":["CAP_KILL","CAP_CHOWN"],
            "permitted":["CAP_KILL"],"ambient":["CAP_NET_RAW"]}"#,
    );
    let mut problems = Problems::default();
    let here = namespaces::Plan::default();
    plan(Some(&wanted), &here, &Host::of_root(), "c", &mut problems);
    let error = problems.into_result("sets").expect_err("a problem");
    assert_eq!(
        error.to_string(),
        "sets: c.inheritable: the bounding set lacks CAP_KILL"
    );
    // Capabilities that the caller lacks are left out of both sets; the config does not contradict itself.
    let poor = Host {
        bounding: CHOWN,
        ..Host::of_root()
    };
    let wanted = sets(r#"{"bounding":["CAP_KILL"],"inheritable":["CAP_KILL"]}"#);
    let plan = decided(Some(&wanted), &here, &poor);
    assert_eq!((plan.bounding, plan.inheritable), (0, 0));
}

#[test]
fn only_what_casulo_holds_is_granted_outside_a_user_namespace() {
    let poor = Host {
        effective: CHOWN | KILL,
        bounding: CHOWN | KILL | NET_RAW,
        ..Host::of_root()
    };
    let all =
        sets(r#"{"bounding":["CAP_CHOWN","CAP_SYSLOG"],"permitted":["CAP_CHOWN","CAP_SYSLOG"]}"#);
    let here = decided(Some(&all), &namespaces::Plan::default(), &poor);
    assert_eq!(here.permitted, CHOWN);
    assert_eq!(here.bounding_drop, KILL | NET_RAW);
    let inside = decided(Some(&all), &userns(), &poor);
    assert_eq!(inside.permitted, CHOWN | SYSLOG);
    assert_eq!(inside.bounding_drop, ALL & !(CHOWN | SYSLOG));
}

#[test]
fn a_capability_newer_than_the_kernel_is_left_out() {
    let old = Host {
        last_cap: 37,
        ..Host::of_root()
    };
    let wanted = sets(r#"{"bounding":["CAP_BPF","CAP_KILL"]}"#);
    assert_eq!(decided(Some(&wanted), &userns(), &old).bounding, KILL);
}

#[test]
fn exec_adds_to_three_sets_and_never_to_inheritable() {
    let result = add_for_exec(None, &[Capability::Kill]);
    let masks = |it: &LinuxCapabilities| {
        [
            mask(it.bounding()),
            mask(it.permitted()),
            mask(it.effective()),
            mask(it.inheritable()),
            mask(it.ambient()),
        ]
    };
    assert_eq!(masks(&result), [KILL, KILL, KILL, 0, 0]);
    let have = sets(r#"{"inheritable":["CAP_KILL"],"bounding":["CAP_CHOWN"]}"#);
    let result = add_for_exec(Some(&have), &[Capability::Kill, Capability::Chown]);
    assert_eq!(
        masks(&result),
        [KILL | CHOWN, KILL | CHOWN, KILL | CHOWN, KILL, KILL]
    );
}

#[test]
fn the_kernel_takes_the_sets_as_planned() {
    if skip::unless_root() {
        return;
    }
    let plan = planned(
        r#"{"bounding":["CAP_CHOWN","CAP_KILL"],"effective":["CAP_CHOWN"],"permitted":["CAP_CHOWN","CAP_KILL"],
            "inheritable":["CAP_KILL"],"ambient":["CAP_KILL"]}"#,
    );
    let plan = plan.for_this_machine();
    let result = words_of_child(|| {
        plan.drop_bounding()?;
        plan.apply(SysAdmin::Keep)?;
        let kept = status_line("CapEff");
        if let Some([effective, permitted, inheritable]) = plan.after_filter() {
            crate::sys::capability::capset(effective, permitted, inheritable).expect("capset");
        }
        let names = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        Ok(format!("{kept} {}", names.map(status_line).join(" ")))
    });
    assert_eq!(
        result,
        "0000000000200001 0000000000000020 0000000000000021 0000000000000001 0000000000000021 0000000000000020"
    );
}
