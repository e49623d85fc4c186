//! Annotations that tell systemd more than they should.

use super::{Attack, Outcome, zoo};
use crate::support::{Lab, Running, cases, finish, wait_until};
use crate::systemd::is_loaded;
use serde_json::{Value, json};
use std::fs;

cases! {
    [Root, TestBuild, Systemd] => property_takes_the_cgroups_away, property_stops_a_unit_of_the_host,
        property_starts_a_unit_of_the_host, odd_names_of_properties, scope_of_the_host_takes_the_name;
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
        let directory = std::path::Path::new("/run/systemd/system");
        std::fs::create_dir_all(directory).expect("directory of units");
        std::fs::write(directory.join(target), "[Unit]\nDescription=started\n").expect("a unit");
        let unit = Victim(target.to_owned());
        systemctl(&["daemon-reload"]);
        let (out, _) = with_annotation(lab, "Wants", &format!("['{target}']"));
        let started = unit.systemctl("is-active");
        std::fs::remove_file(directory.join(target)).expect("removed");
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

/// A scope of the host's, which sleeps, and its process.
struct HostScope {
    sleeper: Option<Running>,
    unit: String,
}

impl HostScope {
    fn start(unit: &str) -> HostScope {
        let mut run = std::process::Command::new("systemd-run");
        run.args(["--quiet", "--collect", "--scope", "--unit", unit]);
        let sleeper = Running::new(
            {
                run.args(["sleep", "1000"]);
                run
            },
            b"",
        );
        let procs = format!("/sys/fs/cgroup/system.slice/{unit}/cgroup.procs");
        let pid = sleeper.pid().to_string();
        wait_until("the process is in its scope", || {
            fs::read_to_string(&procs).is_ok_and(|it| it.trim() == pid)
        });
        HostScope {
            sleeper: Some(sleeper),
            unit: unit.to_owned(),
        }
    }

    /// Ends it; true if it was still there, with its process.
    fn end(mut self) -> bool {
        let sleeper = self.sleeper.take().expect("ended once");
        let stat = fs::read_to_string(format!("/proc/{}/stat", sleeper.pid())).expect("a child");
        let lives = !stat.contains(") Z ") && is_loaded(&self.unit);
        let _ = nix::sys::signal::kill(sleeper.pid(), nix::sys::signal::Signal::SIGKILL);
        sleeper.wait();
        lives
    }
}

/// The container's own has ended with its last process.
fn scope_of_the_host_takes_the_name(lab: &Lab) {
    for is_known in [true, false] {
        let attack = Attack {
            cve: "(hardening)",
            name: "a scope of the host takes the name of an ended container's, and `delete` stops it",
            without: "own-cgroup",
        };
        zoo(lab, &attack, |lab| {
            let bundle = lab.bundle().args(&["/bin/true"]);
            let path = format!("system.slice:casulotest:{}", bundle.id());
            let bundle = bundle.set("/linux/cgroupsPath", json!(path));
            let unit = format!("casulotest-{}.scope", bundle.id());
            finish(
                bundle.command(&["--systemd-cgroup"], "run", &["--detach"]),
                b"",
            )
            .ok();
            bundle.wait_stopped();
            wait_until("systemd forgets the scope", || !is_loaded(&unit));
            if !is_known {
                // As of a create that was killed before systemd had answered.
                let file = lab.root().join(bundle.id()).join("state.json");
                let text = fs::read(&file).expect("a record");
                let mut state: Value = serde_json::from_slice(&text).expect("JSON");
                state["systemd_scope"]["invocation"] = json!("");
                fs::write(&file, state.to_string()).expect("written");
            }
            let other = HostScope::start(&unit);
            let out = bundle.verb("delete").ok();
            assert!(!lab.root().join(bundle.id()).exists(), "{out:?}");
            Outcome::of(&out, !other.end())
        });
    }
}
