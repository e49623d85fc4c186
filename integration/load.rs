//! Many containers at once, and a bounded rate of them for long: no command fails, nothing adds up on the
//! host, and the last ones take as long as the first.
//!
//! | variable | meaning |
//! |---|---|
//! | `CASULO_LOAD` | how many containers, 16 at a time (default 64) |
//! | `CASULO_SOAK` | for how many minutes (default: 5 seconds) |
//! | `CASULO_RATE` | how many containers a second of a soak (default 5) |

use crate::cycles::{everything, state_directories};
use crate::support::{Lab, cases, field};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

cases! {
    [Root, Casulo] => many_containers_side_by_side, a_soak_at_a_bounded_rate;
}

/// Containers under way at a time.
const SIDE_BY_SIDE: usize = 16;

/// A container's life.
const VERBS: [&str; 4] = ["create", "start", "exec", "delete"];

fn number(variable: &str) -> Option<usize> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn many_containers_side_by_side(lab: &Lab) {
    let count = number("CASULO_LOAD").unwrap_or(64);
    run(lab, count, None);
}

fn a_soak_at_a_bounded_rate(lab: &Lab) {
    let rate = number("CASULO_RATE").unwrap_or(5);
    let seconds = number("CASULO_SOAK").map_or(5, |minutes| minutes * 60);
    run(lab, rate * seconds, Some(rate));
}

/// `count` containers; with a rate each at its time, else as fast as it goes.
fn run(lab: &Lab, count: usize, rate: Option<usize>) {
    let bundle = lab
        .bundle()
        .args(&["/bin/sleep", "1000"])
        .remove("/linux/cgroupsPath");
    bundle.write();
    let load = Load {
        place: lab.path().to_owned(),
        bundle: bundle.path().to_owned(),
        program: lab.runtime(),
        root: lab.root(),
        prefix: bundle.id().to_owned(),
    };
    // What the first one makes for all is there then: --root, the compiled filter, the cgroup above.
    load.live(0).expect("the first container");
    let before = everything(lab, &load.prefix);

    let lives = Mutex::new(Vec::new());
    let hosts = Mutex::new(vec![Host::now()]);
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(1);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn > count || !failures.lock().unwrap().is_empty() {
                        break;
                    }
                    if let Some(rate) = rate {
                        let due = begin + Duration::from_secs_f64(turn as f64 / rate as f64);
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                    match load.live(turn) {
                        Ok(took) => lives.lock().unwrap().push((turn, took)),
                        Err(what) => failures.lock().unwrap().push(what),
                    }
                    if turn.is_multiple_of((count / 10).max(1)) {
                        hosts.lock().unwrap().push(Host::now());
                    }
                }
            });
        }
    });
    let took = begin.elapsed();
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures:#?}");

    let mut lives = lives.into_inner().unwrap();
    lives.sort_unstable_by_key(|(turn, _)| *turn);
    let lives: Vec<Life> = lives.into_iter().map(|(_, life)| life).collect();
    settle(lab, &load, &before);
    let mut hosts = hosts.into_inner().unwrap();
    // Whoever is process 1 may reap orphans all at once and only now and then.
    for _ in 0..100 {
        if Host::now().of("zombies") <= hosts[0].of("zombies") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    hosts.push(Host::now());
    print(count, took, &lives, &hosts);
    check(&hosts);
}

/// How long each verb took.
type Life = [Duration; VERBS.len()];

/// What every container of a run is made of.
struct Load {
    place: PathBuf,
    bundle: PathBuf,
    program: PathBuf,
    root: PathBuf,
    prefix: String,
}

impl Load {
    /// A container's life, from create to delete.
    fn live(&self, turn: usize) -> Result<Life> {
        let id = format!("{}-{turn}", self.prefix);
        let mut life = [Duration::ZERO; VERBS.len()];
        for (verb, took) in VERBS.iter().zip(&mut life) {
            let mut command = Command::new(&self.program);
            command
                .current_dir(&self.place)
                .arg("--root")
                .arg(&self.root)
                .arg(verb);
            match *verb {
                "create" => command.arg("--bundle").arg(&self.bundle).arg(&id),
                "exec" => command.args([&id, "/bin/true"]),
                "delete" => command.args(["--force", &id]),
                _ => command.arg(&id),
            };
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let begin = Instant::now();
            let status = command
                .status()
                .with_context(|| format!("{verb} of container {turn}"))?;
            *took = begin.elapsed();
            ensure!(status.success(), "{verb} of container {turn}: {status}");
        }
        Ok(life)
    }
}

/// Nothing of the containers is left, a moment later at the latest.
fn settle(lab: &Lab, load: &Load, before: &BTreeSet<String>) {
    let mut new = Vec::new();
    for _ in 0..100 {
        new = everything(lab, &load.prefix)
            .difference(before)
            .cloned()
            .collect();
        if new.is_empty() && state_directories(lab).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("left behind: {new:#?}, {:?}", state_directories(lab));
}

/// What the host has in use.
struct Host {
    figures: [u64; Host::NAMES.len()],
}

impl Host {
    const NAMES: [&'static str; 8] = [
        "available, MB",
        "slab, MB",
        "open files",
        "mounts",
        "cgroups",
        "dying cgroups",
        "processes",
        "zombies",
    ];

    fn now() -> Host {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let first = |text: &str| -> u64 {
            let word = text.split_whitespace().next().unwrap_or_default();
            word.parse().unwrap_or(0)
        };
        let memory = text("/proc/meminfo");
        let cgroups = text("/sys/fs/cgroup/cgroup.stat").replace(' ', ":");
        let processes: Vec<String> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
            .map(|entry| text(&entry.path().join("stat").to_string_lossy()))
            .collect();
        let zombies = processes.iter().filter(|stat| stat.contains(") Z "));
        Host {
            figures: [
                first(&field(&memory, "MemAvailable")) / 1024,
                first(&field(&memory, "Slab")) / 1024,
                first(&text("/proc/sys/fs/file-nr")),
                text("/proc/self/mountinfo").lines().count() as u64,
                first(&field(&cgroups, "nr_descendants")),
                first(&field(&cgroups, "nr_dying_descendants")),
                processes.len() as u64,
                zombies.count() as u64,
            ],
        }
    }

    fn of(&self, name: &str) -> u64 {
        let place = Host::NAMES.iter().position(|it| *it == name);
        self.figures[place.expect("a figure")]
    }
}

fn print(count: usize, took: Duration, lives: &[Life], hosts: &[Host]) {
    let rate = count as f64 / took.as_secs_f64();
    println!(
        "\n{count} containers in {:.1} s, {rate:.1} a second",
        took.as_secs_f64()
    );
    println!(
        "{:18}{:>12}{:>12}{:>12}{:>12}",
        "ms", "first tenth", "last tenth", "99 %", "longest"
    );
    let tenth = (lives.len() / 10).max(1);
    for (place, verb) in VERBS.iter().enumerate() {
        let sorted = |lives: &[Life]| {
            let mut times: Vec<f64> = lives
                .iter()
                .map(|it| it[place].as_secs_f64() * 1e3)
                .collect();
            times.sort_unstable_by(f64::total_cmp);
            times
        };
        let share = |times: &[f64], percent: usize| times[(times.len() - 1) * percent / 100];
        let all = sorted(lives);
        let columns = [
            share(&sorted(&lives[..tenth]), 50),
            share(&sorted(&lives[lives.len() - tenth..]), 50),
            share(&all, 99),
            share(&all, 100),
        ];
        print_row(verb, columns.iter().map(|it| format!("{it:.1}")));
    }
    let columns = ["before", "middle", "end", "after"];
    println!(
        "{:18}{}",
        "the host",
        columns.map(|it| format!("{it:>12}")).concat()
    );
    let last = hosts.len() - 1;
    for name in Host::NAMES {
        let moments = [0, last / 2, last.saturating_sub(1), last];
        print_row(
            name,
            moments.into_iter().map(|at| hosts[at].of(name).to_string()),
        );
    }
}

fn print_row(name: &str, columns: impl Iterator<Item = String>) {
    let columns: String = columns.map(|it| format!("{it:>12}")).collect();
    println!("{name:18}{columns}");
}

/// No descriptor is left open anywhere. Other programs open some files, too; what the containers leave
/// otherwise is found by [`settle`].
fn check(hosts: &[Host]) {
    const OF_OTHERS: u64 = 2000;
    let [before, .., after] = hosts else {
        return;
    };
    let (before, after) = (before.of("open files"), after.of("open files"));
    assert!(
        after <= before + OF_OTHERS,
        "open files: {before}, then {after}"
    );
}
