//! The bundles of `bundles/hostile`, tried as a person tries them.

use crate::support::{Lab, cases, finish};
use std::fs;
use std::process::Command;

cases! {
    [Root, Casulo] => the_hostile_bundles_are_held;
    [Root, TestBuild] => each_bundle_wins_without_its_defence;
}

/// A file of `bundles/hostile`.
macro_rules! file {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../bundles/hostile/", $name)),
        )
    };
}

/// All of them: the test host has no checkout.
const FILES: &[(&str, &str)] = &[
    file!("try"),
    file!("cwd-descriptor/config.json"),
    file!("cwd-descriptor/image"),
    file!("cwd-descriptor/won"),
    file!("dev-link/config.json"),
    file!("dev-link/image"),
    file!("dev-link/won"),
    file!("null-link/config.json"),
    file!("null-link/image"),
    file!("null-link/won"),
    file!("proc-link/config.json"),
    file!("proc-link/image"),
    file!("proc-link/won"),
    file!("proc-volume/config.json"),
    file!("proc-volume/image"),
    file!("proc-volume/won"),
    file!("read-only-root/config.json"),
    file!("read-only-root/image"),
    file!("read-only-root/won"),
    file!("stdio-file/config.json"),
    file!("stdio-file/image"),
    file!("stdio-file/won"),
    file!("target-link/config.json"),
    file!("target-link/image"),
    file!("target-link/won"),
];

/// Each bundle, and the defences that stand against it.
const BUNDLES: &[(&str, &str)] = &[
    ("cwd-descriptor", "in-root,cwd-inside"),
    ("dev-link", "dev-no-follow"),
    ("null-link", "null-device"),
    ("proc-link", "no-symlinks"),
    ("proc-volume", "proc-targets"),
    ("read-only-root", "read-only-by-fd"),
    ("stdio-file", "own-stdio"),
    ("target-link", "in-root"),
];

/// Writes the directory, and gives back `try`, with the runtime to try.
fn directory(lab: &Lab) -> Command {
    let directory = lab.directory("hostile");
    for (name, text) in FILES {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let runtime = lab.command();
    let mut command = Command::new("sh");
    command
        .arg(directory.join("try"))
        .arg(runtime.get_program());
    command.envs(
        runtime
            .get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    command
}

fn the_hostile_bundles_are_held(lab: &Lab) {
    let out = finish(directory(lab), b"").ok();
    assert_eq!(out.lines().len(), BUNDLES.len(), "{out:?}");
}

fn each_bundle_wins_without_its_defence(lab: &Lab) {
    for (bundle, without) in BUNDLES {
        lab.use_test_build("CASULO_WITHOUT", without);
        let mut command = directory(lab);
        command.arg(bundle);
        let out = finish(command, b"");
        assert!(
            out.code == 1 && out.text().ends_with("got through"),
            "{bundle}: {out:?}"
        );
    }
    lab.use_runtime();
}
