use super::*;
use crate::cgroups::limits::Absent;
use crate::cgroups::tests::host;

fn decide(
    annotations: &[(&str, &str)],
    settings: &[Setting],
    host: &Host,
) -> std::result::Result<Plan, String> {
    let annotations = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let path = Some(Path::new("machine.slice:libpod:1"));
    let mut problems = Problems::default();
    let plan = plan(path, &annotations, settings, "web1", host, &mut problems);
    problems
        .into_result("c")
        .map_err(|error| error.to_string())?;
    plan.ok_or_else(|| "no plan".to_owned())
}

fn value<'a>(plan: &'a Plan, name: &str) -> Option<&'a Value> {
    let property = plan.properties.iter().rfind(|(known, _)| known == name);
    property.map(|(_, value)| value)
}

fn pids(value: &str) -> Setting {
    Setting {
        file: "pids.max".into(),
        value: value.into(),
        absent: Absent::Fail,
    }
}

#[test]
fn the_scope_is_delegated_and_does_not_stay_when_it_fails() {
    let plan = decide(&[], &[pids("7")], &host()).expect("a plan");
    assert_eq!(plan.scope.unit, "libpod-1.scope");
    assert_eq!(plan.scope.manager, Manager::System);
    assert_eq!(plan.subgroup, Some("container".into()));
    for (name, expected) in [
        ("Slice", Value::text("machine.slice")),
        ("Description", Value::text("casulo container web1")),
        ("Delegate", Value::Bool(true)),
        ("DefaultDependencies", Value::Bool(false)),
        ("CollectMode", Value::text("inactive-or-failed")),
        ("TasksMax", Value::Uint64(7)),
    ] {
        assert_eq!(value(&plan, name), Some(&expected), "{name}");
    }
}

#[test]
fn an_ordinary_user_has_a_systemd_of_their_own() {
    let user = Host {
        rootless: true,
        runtime_dir: "/run/user/1000".into(),
        ..host()
    };
    let plan = decide(&[], &[], &user).expect("a plan");
    let runtime_dir = "/run/user/1000".into();
    assert_eq!(plan.scope.manager, Manager::User { runtime_dir });
}

#[test]
fn annotations_rename_the_cgroup_below_and_set_properties() {
    let subgroup = |name| decide(&[("run.oci.systemd.subgroup", name)], &[], &host());
    assert_eq!(
        subgroup("pod/x").expect("a plan").subgroup,
        Some("pod/x".into())
    );
    assert_eq!(subgroup("").expect("a plan").subgroup, None);
    let error = subgroup("../x").expect_err("climbs");
    assert!(
        error.contains("annotations[\"run.oci.systemd.subgroup\"]"),
        "{error}"
    );

    let kill = [
        ("org.systemd.property.KillSignal", "9"),
        ("org.systemd.property.CollectMode", "'inactive'"),
    ];
    let plan = decide(&kill, &[], &host()).expect("a plan");
    assert_eq!(value(&plan, "KillSignal"), Some(&Value::Int32(9)));
    // The last one counts for systemd.
    assert_eq!(value(&plan, "CollectMode"), Some(&Value::text("inactive")));
}

#[test]
fn one_process_alone_needs_a_cgroup_without_the_bridge() {
    decide(&[], &[pids("1")], &host()).expect("the bridge waits elsewhere");
    let error = decide(&[("run.oci.systemd.subgroup", "")], &[pids("1")], &host());
    let error = error.expect_err("the bridge is in the scope");
    assert!(error.contains("linux.resources.pids.limit"), "{error}");
}
