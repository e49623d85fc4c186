//! Annotations that tell systemd more than they should.

use super::{Attack, Outcome, zoo};
use crate::support::{Lab, cases, finish};
use serde_json::json;

cases! {
    [Root, TestBuild, Systemd] => property_takes_the_cgroups_away, odd_names_of_properties;
}

/// A container with the annotation, in a scope of systemd's: how `run` went, and its cgroup.
fn with_annotation(lab: &Lab, name: &str, value: &str) -> (crate::support::Output, String) {
    let bundle = lab.bundle();
    let path = format!("casulo.slice:casulo:{}", bundle.id());
    let bundle = bundle
        .set("/linux/cgroupsPath", json!(path))
        .set(
            "/annotations",
            json!({format!("org.systemd.property.{name}"): value}),
        )
        .without_namespace("cgroup")
        .args(&["/bin/cat", "/proc/self/cgroup"]);
    let out = finish(bundle.command(&["--systemd-cgroup"], "run", &[]), b"");
    let cgroup = out.text().to_owned();
    (out, cgroup)
}

fn property_takes_the_cgroups_away(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-3154",
        name: "an annotation puts the container's scope into another slice",
        without: "property-names",
    };
    zoo(lab, &attack, |lab| {
        let (out, cgroup) = with_annotation(lab, "Slice", "'escaped.slice'");
        Outcome::of(&out, cgroup.contains("escaped.slice"))
    });
}

fn odd_names_of_properties(lab: &Lab) {
    for name in [
        "",
        "ab",
        "Slice ",
        "Slice\n",
        "Exec-Start",
        "Exec.Start",
        "Ünit",
        "A\0B",
        &"A".repeat(64 << 10),
    ] {
        let (out, _) = with_annotation(lab, name, "'text'");
        assert!((1..128).contains(&out.code), "{name:?}: {}", out.code);
    }
    for value in [
        "",
        "'",
        "[",
        "@s",
        "9999999999999999999999",
        "'a'b",
        &"[".repeat(64 << 10),
        "'\0'",
    ] {
        let (out, _) = with_annotation(lab, "Description", value);
        assert!((1..128).contains(&out.code), "{value:?}: {}", out.code);
    }
}
