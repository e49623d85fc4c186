//! Every option word of the spec, set and unset, plain and recursive.

use crate::support::{HostMount, Lab, Mount, cases, mounts};
use nix::mount::MsFlags;
use std::path::{Path, PathBuf};

cases! {
    [Root] => words_set_the_flag, words_clear_the_flag, later_words_win, words_of_the_file_system, defaults_is_accepted,
        recursive_words_reach_the_mounts_below, recursive_words_clear_below, plain_words_stay_above,
        words_without_a_trace_are_accepted, bind_word_without_type,
        misspelt_words_of_a_bind_are_refused;
}

/// Option word, the mark it leaves in mountinfo.
const SET: &[(&str, &str)] = &[
    ("ro", "ro"),
    ("nosuid", "nosuid"),
    ("nodev", "nodev"),
    ("noexec", "noexec"),
    ("noatime", "noatime"),
    ("nodiratime", "nodiratime"),
    ("relatime", "relatime"),
    ("nosymfollow", "nosymfollow"),
];

/// A word that sets, the one that takes it back, the mark.
const CLEARED: &[(&str, &str, &str)] = &[
    ("ro", "rw", "ro"),
    ("nosuid", "suid", "nosuid"),
    ("nodev", "dev", "nodev"),
    ("noexec", "exec", "noexec"),
    ("noatime", "atime", "noatime"),
    ("nodiratime", "diratime", "nodiratime"),
    ("noatime", "strictatime", "noatime"),
    ("nosymfollow", "symfollow", "nosymfollow"),
];

/// Recursive word, its mark.
const RECURSIVE: &[(&str, &str)] = &[
    ("rro", "ro"),
    ("rnosuid", "nosuid"),
    ("rnodev", "nodev"),
    ("rnoexec", "noexec"),
    ("rnoatime", "noatime"),
    ("rnodiratime", "nodiratime"),
    ("rnosymfollow", "nosymfollow"),
];

const RECURSIVE_CLEARED: &[(&str, &str)] = &[
    ("rsuid", "nosuid"),
    ("rdev", "nodev"),
    ("rexec", "noexec"),
    ("rsymfollow", "nosymfollow"),
    ("rrw", "ro"),
];

/// Runs a container with a mount per entry of `options` and returns the mounts at `/m/N`.
fn mounted(lab: &Lab, options: &[Vec<&str>]) -> Vec<Mount> {
    let bundle = options
        .iter()
        .enumerate()
        .fold(lab.bundle(), |bundle, (n, options)| {
            bundle.mount(&format!("/m/{n}"), "tmpfs", "tmpfs", options)
        });
    let out = bundle
        .args(&["/bin/cat", "/proc/self/mountinfo"])
        .run()
        .ok();
    let table = mounts(&out.stdout);
    (0..options.len())
        .map(|n| {
            table
                .iter()
                .find(|m| m.target == format!("/m/{n}"))
                .unwrap()
                .clone()
        })
        .collect()
}

fn words_set_the_flag(lab: &Lab) {
    let options: Vec<Vec<&str>> = SET.iter().map(|(word, _)| vec![*word]).collect();
    for ((word, mark), mount) in SET.iter().zip(mounted(lab, &options)) {
        assert!(mount.has(mark), "{word}: {mount:?}");
    }
}

fn words_clear_the_flag(lab: &Lab) {
    let options: Vec<Vec<&str>> = CLEARED
        .iter()
        .map(|(set, clear, _)| vec![*set, *clear])
        .collect();
    for ((_, word, mark), mount) in CLEARED.iter().zip(mounted(lab, &options)) {
        assert!(!mount.has(mark), "{word}: {mount:?}");
    }
}

fn later_words_win(lab: &Lab) {
    let all = mounted(
        lab,
        &[
            vec!["rw", "ro"],
            vec!["exec", "noexec"],
            vec!["relatime", "noatime"],
        ],
    );
    assert!(
        all[0].has("ro") && all[1].has("noexec") && all[2].has("noatime"),
        "{all:?}"
    );
}

fn words_of_the_file_system(lab: &Lab) {
    // Of these, tmpfs itself shows sync and dirsync among the file system's options.
    let all = mounted(lab, &[vec!["sync"], vec!["dirsync"], vec!["sync", "async"]]);
    assert!(all[0].has_data("sync"), "{all:?}");
    assert!(all[1].has_data("dirsync"), "{all:?}");
    assert!(!all[2].has_data("sync"), "{all:?}");
}

fn defaults_is_accepted(lab: &Lab) {
    let all = mounted(lab, &[vec!["defaults"], vec!["defaults", "ro"]]);
    assert!(all[0].has("rw") && all[1].has("ro"), "{all:?}");
}

fn words_without_a_trace_are_accepted(lab: &Lab) {
    let words = [
        "iversion",
        "noiversion",
        "lazytime",
        "nolazytime",
        "loud",
        "silent",
        "mand",
        "nomand",
        "norelatime",
        "nostrictatime",
    ];
    let options: Vec<Vec<&str>> = words.iter().map(|word| vec![*word]).collect();
    mounted(lab, &options);
}

fn bind_word_without_type(lab: &Lab) {
    let source = lab.directory("source");
    std::fs::write(source.join("one"), "").unwrap();
    for kind in ["none", "bind", ""] {
        let out = lab
            .bundle()
            .mount("/mnt", kind, &source.to_string_lossy(), &["bind"])
            .args(&["/bin/ls", "/mnt"]);
        assert_eq!(out.run().ok().text(), "one", "type {kind:?}");
    }
}

/// A tmpfs with another one, with these flags, at `sub`; in the tests' mount namespace.
fn tree(lab: &Lab, flags: MsFlags) -> (PathBuf, [HostMount; 2]) {
    let top = lab.directory("tree");
    let upper = HostMount::tmpfs(&top, MsFlags::empty());
    let lower = HostMount::tmpfs(&lab.directory("tree/sub"), flags);
    (top, [lower, upper])
}

/// The mounts at `/m/N/sub` of a container that binds `tree` once per option.
fn bound(lab: &Lab, tree: &Path, words: &[&str]) -> Vec<Mount> {
    let bundle = words
        .iter()
        .enumerate()
        .fold(lab.bundle(), |bundle, (n, word)| {
            bundle.mount(
                &format!("/m/{n}"),
                "bind",
                &tree.to_string_lossy(),
                &["rbind", word],
            )
        });
    let out = bundle
        .args(&["/bin/cat", "/proc/self/mountinfo"])
        .run()
        .ok();
    let table = mounts(&out.stdout);
    (0..words.len())
        .map(|n| {
            table
                .iter()
                .find(|m| m.target == format!("/m/{n}/sub"))
                .unwrap()
                .clone()
        })
        .collect()
}

fn recursive_words_reach_the_mounts_below(lab: &Lab) {
    let (tree, _mounted) = tree(lab, MsFlags::empty());
    let words: Vec<&str> = RECURSIVE.iter().map(|(word, _)| *word).collect();
    for ((word, mark), mount) in RECURSIVE.iter().zip(bound(lab, &tree, &words)) {
        assert!(mount.has(mark), "{word}: {mount:?}");
    }
}

fn recursive_words_clear_below(lab: &Lab) {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let (tree, _mounted) = tree(lab, flags);
    let words: Vec<&str> = RECURSIVE_CLEARED.iter().map(|(word, _)| *word).collect();
    for ((word, mark), mount) in RECURSIVE_CLEARED.iter().zip(bound(lab, &tree, &words)) {
        assert!(!mount.has(mark), "{word}: {mount:?}");
    }
}

fn plain_words_stay_above(lab: &Lab) {
    let (tree, _mounted) = tree(lab, MsFlags::empty());
    let words = ["ro", "nosuid", "nodev", "noexec"];
    for (word, mount) in words.iter().zip(bound(lab, &tree, &words)) {
        assert!(!mount.has(word), "{word}: {mount:?}");
    }
}

fn misspelt_words_of_a_bind_are_refused(lab: &Lab) {
    let source = lab.directory("source");
    for word in ["noexce", "roo", "size=1m"] {
        let bundle = lab.bundle().bind(&source, "/mnt", &["rbind", word]);
        bundle.run().fails_with(&["mounts[", "].options", word]);
    }
    // Of a file system the kernel says whether it has such an option.
    let bundle = lab.bundle().mount("/mnt", "tmpfs", "tmpfs", &["noexce"]);
    bundle.run().fails_with(&["/mnt", "noexce"]);
    mounted(lab, &[vec!["size=1m", "huge=never"]]);
}
