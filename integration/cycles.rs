//! Containers made, started and deleted again and again, half of the time with the runtime killed at
//! some point: nothing may add up.
//!
//! | variable | meaning |
//! |---|---|
//! | `CASULO_CYCLES` | how many cycles (default 20); set, the test is alone on the host and looks at all of it |
//! | `CASULO_SEED` | the seed of a run that failed, to repeat it |

use crate::support::{Bundle, Lab, Need, Running, cases, finish};
use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

cases! {
    [Root, Casulo] => nothing_adds_up_in_cgroupfs;
    [Root, Casulo, Systemd] => nothing_adds_up_in_systemd;
}

/// Who makes the cgroup, as the runtime's callers say it.
struct Driver {
    options: &'static [&'static str],
    cgroups_path: fn(&str) -> String,
}

const CGROUPFS: Driver = Driver {
    options: &[],
    // Two directories that nobody else uses, so that they come and go as well.
    cgroups_path: |id| format!("/casulo-cycles/{id}/container"),
};

const SYSTEMD: Driver = Driver {
    options: &["--systemd-cgroup"],
    cgroups_path: |id| format!("system.slice:cycles:{id}"),
};

fn nothing_adds_up_in_cgroupfs(lab: &Lab) {
    nothing_adds_up(lab, &CGROUPFS);
}

fn nothing_adds_up_in_systemd(lab: &Lab) {
    nothing_adds_up(lab, &SYSTEMD);
}

fn nothing_adds_up(lab: &Lab, driver: &Driver) {
    let asked = std::env::var("CASULO_CYCLES").ok();
    let mut dice = Dice::new("cycles");
    let seed = dice.0;
    let bundle = with_limits(lab.bundle(), driver);
    bundle.write();
    let cycle = Cycle {
        lab,
        bundle: &bundle,
        driver,
    };
    let own = match asked {
        Some(_) => String::new(),
        None => bundle.id().to_owned(),
    };
    let cycles: u32 = asked.map_or(20, |text| text.parse().unwrap());

    let before = everything(lab, &own);
    // How long each verb takes here, so that a kill can come at any of its steps.
    let usual = cycle.run(None);
    for number in 0..cycles {
        let kill = (number % 2 == 0).then(|| {
            // Most of what can be left halfway is create's.
            let verb = [0, 0, 0, 1, 2][dice.below(5) as usize];
            let longest = usual[verb].as_micros() as u64 * 11 / 10;
            (verb, Duration::from_micros(dice.below(longest)))
        });
        cycle.run(kill);
        let left = state_directories(lab);
        assert!(
            left.is_empty(),
            "seed {seed}, cycle {number}, {kill:?}: {left:?}"
        );
    }
    // What was orphaned by a kill may need a moment to be reaped.
    let mut after = BTreeSet::new();
    for _ in 0..50 {
        after = everything(lab, &own);
        if after == before {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let new: Vec<_> = after.difference(&before).collect();
    let gone: Vec<_> = before.difference(&after).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "seed {seed}: new {new:#?}, gone {gone:#?}"
    );
}

/// Limits of each kind that this host has a controller for, and device rules.
fn with_limits<'lab>(bundle: Bundle<'lab>, driver: &Driver) -> Bundle<'lab> {
    let path = (driver.cgroups_path)(bundle.id());
    let mut bundle = bundle
        .args(&["/bin/sleep", "1000"])
        .set("/linux/cgroupsPath", json!(path))
        .push(
            "/linux/resources/devices",
            json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}),
        );
    for (controller, value) in [
        (
            "cpu",
            json!({"shares": 512, "quota": 50_000, "period": 100_000}),
        ),
        ("memory", json!({"limit": 64 << 20})),
        ("pids", json!({"limit": 100})),
    ] {
        if Need::Controller(controller).check().is_ok() {
            bundle = bundle.set(&format!("/linux/resources/{controller}"), value);
        }
    }
    bundle
}

/// One container's life.
struct Cycle<'a> {
    lab: &'a Lab,
    bundle: &'a Bundle<'a>,
    driver: &'a Driver,
}

impl Cycle<'_> {
    /// Create, start, delete; returns how long each took. With `kill` the verb of that number is
    /// killed after that time, and `delete --force` is the end, whatever there is.
    fn run(&self, kill: Option<(usize, Duration)>) -> [Duration; 3] {
        let mut took = [Duration::ZERO; 3];
        for (number, took) in took.iter_mut().enumerate() {
            let running = Running::new(self.verb(number), b"");
            let begin = Instant::now();
            if let Some((_, after)) = kill.filter(|(verb, _)| *verb == number) {
                std::thread::sleep(after);
                // It may have ended, but not been waited for.
                running.signal(Signal::SIGKILL);
                running.wait();
                finish(self.verb(2), b"").ok();
                break;
            }
            running.wait().ok();
            *took = begin.elapsed();
        }
        took
    }

    fn verb(&self, number: usize) -> Command {
        let mut command = self.lab.command();
        command.args(self.driver.options);
        let id = self.bundle.id();
        match number {
            0 => command
                .arg("create")
                .arg("--bundle")
                .arg(self.bundle.path())
                .arg(id),
            1 => command.args(["start", id]),
            _ => command.args(["delete", "--force", id]),
        };
        command
    }
}

pub(crate) fn state_directories(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.root()).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect()
}

/// What there is on the host: cgroups, systemd's scopes and slices and its failed units, mounts,
/// and processes of the test. Of the first three those that `own` names, which is all if it is empty.
pub(crate) fn everything(lab: &Lab, own: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    cgroups(Path::new("/sys/fs/cgroup"), &mut found);
    if Path::new("/run/systemd/system").exists() {
        for options in [
            ["--all", "--type=scope,slice"],
            ["--failed", "--type=scope,slice,service"],
        ] {
            let mut command = Command::new("systemctl");
            command
                .args(["list-units", "--plain", "--no-legend"])
                .args(options);
            let out = finish(command, b"").ok();
            let units = out
                .lines()
                .into_iter()
                .filter_map(|line| line.split_whitespace().next());
            found.extend(units.map(|unit| format!("unit {unit}")));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().map(|line| format!("mount {line}")));
    found.retain(|line| line.contains(own));
    // The command line of casulo names the lab, and so does the root of what it has started.
    let place = lab.path().to_string_lossy().into_owned();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let root = fs::read_link(process.path().join("root")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        if words.contains(&place) || root.starts_with(&place) {
            found.insert(format!("process {:?}: {words:?}", process.file_name()));
        }
    }
    found
}

fn cgroups(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), found);
        }
    }
}

/// A pseudo-random sequence that a seed repeats (Marsaglia's xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    /// With the seed of `CASULO_SEED`, or one of its own, which is printed.
    pub(crate) fn new(name: &str) -> Dice {
        let seed = match std::env::var("CASULO_SEED") {
            Ok(text) => text.parse().unwrap(),
            Err(_) => SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1,
        };
        println!("{name}: CASULO_SEED={seed}");
        Dice(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}
