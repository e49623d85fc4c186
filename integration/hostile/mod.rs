//! Every published attack on a container runtime that we know of, and those that suggest themselves.
//!
//! An attack is a function that makes a hostile image or container, calls the runtime, and says how it
//! ended. [`zoo`] runs it against the runtime, which must hold; and against the test build without the
//! defence that SECURITY.md names (`src/defence.rs`), where it must get through: an attack that
//! cannot win proves nothing. Where several defences stand behind each other, each of them alone holds.
//!
//! With `CASULO_TEST_ATTACKS=FILE` it is a comparison: how each attack ended goes to the file, and
//! whatever the runtime does is no failure. `make zoo-compare` makes a table of that.
//!
//! There is no restore in casulo, so the attacks on CRIU's images (CVE-2026-119101, CVE-2026-115520,
//! CVE-2026-119614) and on krun (CVE-2025-24965, CVE-2026-84042) have nothing to attack.

mod agent;
mod begun;
mod bundles;
mod creating;
mod deaf;
mod descriptors;
mod entering;
mod identity;
mod inputs;
mod joined_mounts;
mod links;
mod procfs;
mod races;
mod records;
mod staying;
mod strings;
mod systemd;
mod unseen;
mod words;

use crate::support::{Bundle, Case, Lab, Output, cases};
pub(crate) use entering::catch_program;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The files of attacks, by theme.
pub(crate) fn files() -> Vec<(&'static str, &'static [Case])> {
    let mut files: Vec<(&'static str, &'static [Case])> = vec![
        ("hostile", CASES),
        ("hostile::agent", agent::CASES),
        ("hostile::begun", begun::CASES),
        ("hostile::bundles", bundles::CASES),
        ("hostile::creating", creating::CASES),
        ("hostile::deaf", deaf::CASES),
        ("hostile::deaf::systemd", deaf::systemd::CASES),
        ("hostile::descriptors", descriptors::CASES),
        ("hostile::entering", entering::CASES),
        ("hostile::identity", identity::CASES),
        ("hostile::inputs", inputs::CASES),
        ("hostile::joined_mounts", joined_mounts::CASES),
        ("hostile::links", links::CASES),
        ("hostile::procfs", procfs::CASES),
        ("hostile::races", races::CASES),
        ("hostile::records", records::CASES),
        ("hostile::staying", staying::CASES),
        ("hostile::strings", strings::CASES),
        ("hostile::systemd", systemd::CASES),
        ("hostile::words", words::CASES),
    ];
    files.extend(unseen::files());
    files
}

cases! {
    [Root, Casulo, TestBuild] => a_release_cannot_go_without_its_defences;
}

fn a_release_cannot_go_without_its_defences(lab: &Lab) {
    let has = |program: &Path, word: &str| {
        let bytes = fs::read(program).unwrap();
        bytes.windows(word.len()).any(|it| it == word.as_bytes())
    };
    lab.use_test_build("CASULO_WITHOUT", "");
    let command = lab.command();
    let test_build = Path::new(command.get_program());
    // The search finds it where it is.
    assert!(has(test_build, "CASULO_WITHOUT"));
    for word in ["CASULO_WITHOUT", "CASULO_FAULT", "ProtectedBinary"] {
        assert!(!has(&lab.runtime(), word), "{word}");
    }
}

/// How an attack ended.
#[derive(Debug)]
enum Outcome {
    /// The container ran, and nothing came of it.
    Held,
    /// The runtime refused; what it said.
    Refused(String),
    /// The attacker has what he wanted; the evidence.
    GotThrough(String),
}

impl Outcome {
    /// By what the runtime said, and whether the attacker won.
    fn of(output: &Output, got_through: bool) -> Outcome {
        match (got_through, output.code) {
            (true, _) => Outcome::GotThrough(format!("{output:?}")),
            (false, 0) => Outcome::Held,
            (false, _) => Outcome::Refused(output.stderr.clone()),
        }
    }
}

/// What a row of SECURITY.md's table begins with.
struct Attack {
    /// The advisories that it is from.
    cve: &'static str,
    /// In a few words.
    name: &'static str,
    /// The defences against it, as `CASULO_WITHOUT` takes them; empty where it is the kernel that holds.
    without: &'static str,
}

/// Tries the attack; see the top of this file.
#[track_caller]
fn zoo(lab: &Lab, attack: &Attack, run: impl Fn(&Lab) -> Outcome) {
    if let Some(file) = std::env::var_os("CASULO_TEST_ATTACKS") {
        return note(Path::new(&file), attack, || run(lab));
    }
    let held = |what: &str| match run(lab) {
        Outcome::GotThrough(evidence) => panic!("{} got through {what}: {evidence}", attack.name),
        Outcome::Held | Outcome::Refused(_) => {}
    };
    held("the runtime");
    if attack.without.is_empty() {
        return;
    }
    for alone in attack.without.split(',').filter(|it| *it != attack.without) {
        lab.use_test_build("CASULO_WITHOUT", alone);
        held(&format!("a build without {alone} alone"));
    }
    lab.use_test_build("CASULO_WITHOUT", attack.without);
    let ended = run(lab);
    lab.use_runtime();
    assert!(
        matches!(ended, Outcome::GotThrough(_)),
        "{} must win without {}, but it {ended:?}",
        attack.name,
        attack.without
    );
}

/// Writes down how the attack ended: `CVE|NAME|OUTCOME`.
fn note(file: &Path, attack: &Attack, run: impl Fn() -> Outcome) {
    let ended = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Outcome::Held) => "held",
        Ok(Outcome::Refused(why)) => {
            println!("{}: refused: {}", attack.name, why.trim());
            "refused"
        }
        Ok(Outcome::GotThrough(evidence)) => {
            println!("{}: got through: {evidence}", attack.name);
            "got through"
        }
        Err(_) => "could not be tried",
    };
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .unwrap();
    let line = format!("{}|{}|{ended}\n", attack.cve, attack.name);
    file.write_all(line.as_bytes()).unwrap();
}

/// A directory of the host with a file in it: what an attacker is after.
struct Prey {
    directory: PathBuf,
}

/// What stands in the file.
const PRECIOUS: &str = "precious";

impl Prey {
    fn new(lab: &Lab) -> Prey {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let name = format!("prey{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let directory = lab.directory(&name);
        fs::write(directory.join("file"), PRECIOUS).unwrap();
        Prey { directory }
    }

    /// The directory as a link in a rootfs may climb to it.
    fn upwards(&self) -> PathBuf {
        Path::new("../..").join(self.directory.file_name().unwrap())
    }

    /// True if nobody touched either.
    fn is_untouched(&self) -> bool {
        let entries = fs::read_dir(&self.directory).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names == ["file"] && fs::read_to_string(self.directory.join("file")).unwrap() == PRECIOUS
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert!(self.is_untouched());
    }
}

/// The bundle, with `path` in its rootfs replaced by a link to `target`.
fn linked<'lab>(bundle: Bundle<'lab>, path: &str, target: &Path) -> Bundle<'lab> {
    let place = bundle.rootfs().join(path);
    let _ = fs::remove_dir_all(&place);
    let _ = fs::remove_file(&place);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    symlink(target, place).unwrap();
    bundle
}

/// A bundle whose /dev is the image's own.
fn with_own_dev(lab: &Lab) -> Bundle<'_> {
    ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"]
        .into_iter()
        .fold(lab.bundle(), Bundle::without_mount)
}

/// A bundle whose /dev is the image's own, with a link at `name`.
fn image_dev<'lab>(lab: &'lab Lab, name: &str, target: &Path) -> Bundle<'lab> {
    linked(with_own_dev(lab), &format!("dev/{name}"), target)
}
