//! Random bytes for each target, and the inputs that fuzzing kept.

use super::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::path::Path;

fn directory(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

#[test]
fn the_kept_inputs_hold_the_properties() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(directory("corpus").join(name)).expect(name) {
            let path = entry.expect("an entry").path();
            let bytes = std::fs::read(&path).expect("an input");
            let outcome = std::panic::catch_unwind(|| target(&bytes));
            assert!(outcome.is_ok(), "{}", path.display());
            count += 1;
        }
        assert!(count > 0, "no input for {name}");
    }
}

#[test]
fn every_target_has_a_program() {
    let mut programs: Vec<String> = std::fs::read_dir(directory("fuzz_targets"))
        .expect("programs")
        .map(|it| {
            it.expect("an entry")
                .file_name()
                .to_string_lossy()
                .replace(".rs", "")
        })
        .collect();
    programs.sort();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, names);
}

#[test]
fn random_bytes_hold_the_properties() {
    for (name, target) in TARGETS {
        let config = Config {
            cases: 100,
            failure_persistence: None,
            ..Config::default()
        };
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        let result = TestRunner::new(config).run(&bytes, |bytes| {
            target(&bytes);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{name}: {error}");
        }
    }
}
