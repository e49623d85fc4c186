//! Annotations that tell systemd more than they should.

use super::{Attack, Outcome, zoo};
use crate::support::{Lab, cases, finish};
use serde_json::json;

cases! {
    [Root, TestBuild, Systemd] => property_takes_the_cgroups_away, property_stops_a_unit_of_the_host,
        property_starts_a_unit_of_the_host, odd_names_of_properties;
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

/// A service of the host's, which ends with this.
struct Victim(String);

impl Victim {
    fn start(lab: &Lab) -> Victim {
        let unit = format!("casulo-victim-{}.service", lab.bundle().id());
        let mut run = std::process::Command::new("systemd-run");
        let started = run.args(["--quiet", "--collect", "--unit", &unit, "sleep", "1000"]);
        assert!(started.status().expect("systemd-run").success());
        Victim(unit)
    }

    fn systemctl(&self, verb: &str) -> bool {
        systemctl(&[verb, "--quiet", &self.0])
    }
}

fn systemctl(args: &[&str]) -> bool {
    let status = std::process::Command::new("systemctl").args(args).status();
    status.expect("systemctl").success()
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.systemctl("stop");
    }
}

fn property_stops_a_unit_of_the_host(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-3154",
        name: "an annotation has the container's scope stop a service of the host",
        without: "property-names",
    };
    zoo(lab, &attack, |lab| {
        let victim = Victim::start(lab);
        let (out, _) = with_annotation(lab, "Conflicts", &format!("['{}']", victim.0));
        Outcome::of(&out, !victim.systemctl("is-active"))
    });
}

fn property_starts_a_unit_of_the_host(lab: &Lab) {
    let attack = Attack {
        cve: "CVE-2024-3154",
        name: "an annotation has the end of the container's scope start a unit of the host",
        without: "property-names",
    };
    zoo(lab, &attack, |lab| {
        // Any unit that is there and does not run will do; this one only says that it ran.
        let target = "casulo-started.target";
        let folder = std::path::Path::new("/run/systemd/system");
        std::fs::create_dir_all(folder).expect("folder of units");
        std::fs::write(folder.join(target), "[Unit]\nDescription=started\n").expect("a unit");
        let unit = Victim(target.to_owned());
        systemctl(&["daemon-reload"]);
        let (out, _) = with_annotation(lab, "Wants", &format!("['{target}']"));
        let started = unit.systemctl("is-active");
        std::fs::remove_file(folder.join(target)).expect("removed");
        Outcome::of(&out, started)
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
