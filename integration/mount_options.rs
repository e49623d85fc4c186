//! Every option word of the spec, set and unset, plain and recursive.

use crate::support::{Bundle, HostMount, Lab, Mount, cases, finish, mounts, wrapped};
use nix::mount::MsFlags;
use std::path::{Path, PathBuf};
use std::process::Command;

cases! {
    [Root] => words_set_the_flag, words_clear_the_flag, later_words_win, words_of_the_file_system, defaults_is_accepted,
        recursive_words_reach_the_mounts_below, recursive_words_clear_below, plain_words_stay_above,
        words_without_a_trace_are_accepted, bind_word_without_type, norelatime_is_relatime, words_of_a_bind_give_all_its_flags,
        flags_that_a_user_namespace_locks_stay, misspelt_words_of_a_bind_are_refused;
    [Root, Casulo, Program("/usr/bin/unshare")] => flags_that_are_locked_stay;
    [Root, Program("/usr/sbin/runc")] => flags_of_a_bind_are_runcs;
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

/// mount(8): what `norelatime` takes back is what the kernel does anyway.
fn norelatime_is_relatime(lab: &Lab) {
    let options = [vec!["norelatime"], vec!["strictatime", "norelatime"]];
    let all = mounted(lab, &options);
    assert!(all[0].has("relatime"), "{all:?}");
    // Without a mark mountinfo shows a mount whose access times are strict.
    let marks = ["relatime", "noatime"];
    assert!(!marks.iter().any(|mark| all[1].has(mark)), "{all:?}");
}

/// Flags of a source.
const SOURCES: &[MsFlags] = &[
    MsFlags::empty(),
    MsFlags::MS_RDONLY.union(MsFlags::MS_NOEXEC),
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV),
    MsFlags::MS_NOATIME,
    MsFlags::MS_NODIRATIME,
    MsFlags::MS_STRICTATIME.union(MsFlags::MS_NOSUID),
    NOSYMFOLLOW.union(MsFlags::MS_RDONLY),
    NOSYMFOLLOW
        .union(MsFlags::MS_RDONLY)
        .union(MsFlags::MS_NOSUID)
        .union(MsFlags::MS_NODEV)
        .union(MsFlags::MS_NOEXEC)
        .union(MsFlags::MS_NOATIME)
        .union(MsFlags::MS_NODIRATIME),
];

const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(libc::MS_NOSYMFOLLOW);

/// Words of which one at least sets something.
const SETTING: &[&[&str]] = &[
    &["ro"],
    &["nosuid", "nodev"],
    &["noexec"],
    &["rw", "nosuid"],
    &["exec", "suid", "nodev"],
    &["ro", "rw", "noexec"],
    &["noatime"],
    &["relatime"],
    &["strictatime"],
    &["nodiratime"],
    &["nodiratime", "strictatime"],
    &["noatime", "atime", "ro"],
    &["norelatime", "ro"],
    &["diratime", "nodev"],
    &["nosymfollow"],
    &["symfollow", "nosuid"],
    &["sync"],
    &["dirsync", "lazytime"],
    &["ro", "rslave"],
];

/// Words that set nothing.
const CLEARING: &[&[&str]] = &[
    &["rw"],
    &["suid"],
    &["dev", "exec"],
    &["atime"],
    &["diratime"],
    &["norelatime"],
    &["nostrictatime"],
    &["symfollow"],
    &["async"],
    &["loud"],
    &["ro", "rw"],
    &["rw", "rprivate"],
];

/// Words that are not about the top mount's own flags.
const OTHERS: &[&[&str]] = &[
    &[],
    &["rprivate"],
    &["rro"],
    &["rnosuid", "rexec"],
    &["rnoatime"],
    &["rrw"],
];

/// Binds each of `sources` with each of these lists of words; where it then is comes from its place.
fn bind_all<'lab>(bundle: Bundle<'lab>, sources: &[PathBuf], words: &[Vec<&str>]) -> Bundle<'lab> {
    let pairs = sources
        .iter()
        .flat_map(|source| words.iter().map(move |words| (source, words)));
    pairs
        .enumerate()
        .fold(bundle, |bundle, (n, (source, words))| {
            let words = [&["bind"], words.as_slice()].concat();
            let source = source.to_string_lossy();
            bundle.mount(&format!("/m/{n}"), "bind", &source, &words)
        })
        .args(&["/bin/cat", "/proc/self/mountinfo"])
}

/// The options of the mounts at `/m/N`, in their order.
fn flags(mountinfo: &str, count: usize) -> Vec<Vec<String>> {
    let table = mounts(mountinfo);
    let at = |n| {
        let target = format!("/m/{n}");
        table.iter().find(|mount| mount.target == target).unwrap()
    };
    (0..count).map(|n| at(n).options.clone()).collect()
}

/// Sources with all the flags of [`SOURCES`].
fn sources(lab: &Lab) -> (Vec<PathBuf>, Vec<HostMount>) {
    let make = |(n, flags): (usize, &MsFlags)| {
        let path = lab.directory(&format!("source{n}"));
        let mount = HostMount::tmpfs(&path, *flags);
        (path, mount)
    };
    SOURCES.iter().enumerate().map(make).unzip()
}

/// Of all flags of all sources, for all words, as an installed runc shows it in this run.
fn flags_of_a_bind_are_runcs(lab: &Lab) {
    let (sources, _mounted) = sources(lab);
    let ours: Vec<Vec<&str>> = [SETTING, CLEARING, OTHERS]
        .concat()
        .iter()
        .map(|words| words.to_vec())
        .collect();
    // runc before 1.2 does nothing where no word sets a flag. This one leaves no trace, and later ones do the same
    // with and without it.
    let theirs: Vec<Vec<&str>> = ours
        .iter()
        .map(|words| match CLEARING.contains(&words.as_slice()) {
            true => [words.as_slice(), &["silent"]].concat(),
            false => words.clone(),
        })
        .collect();
    let count = sources.len() * ours.len();
    let out = bind_all(lab.bundle(), &sources, &ours).run().ok();
    let found = flags(&out.stdout, count);
    let bundle = bind_all(lab.bundle(), &sources, &theirs);
    bundle.write();
    let mut runc = Command::new("/usr/sbin/runc");
    runc.arg("--root").arg(lab.join("runc"));
    runc.args(["run", "--bundle"]).arg(bundle.path());
    runc.arg(bundle.id());
    let out = finish(runc, b"").ok();
    let wanted = flags(&out.stdout, count);
    let pairs = SOURCES
        .iter()
        .flat_map(|source| ours.iter().map(move |words| (source, words)));
    let differences: Vec<String> = pairs
        .zip(found.iter().zip(&wanted))
        .filter(|(_, (found, wanted))| found != wanted)
        .map(|(pair, (found, wanted))| format!("{pair:?}: {found:?}, under runc {wanted:?}"))
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

fn words_of_a_bind_give_all_its_flags(lab: &Lab) {
    let source = lab.directory("source");
    let flags_of_source = MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC;
    let _mounted = HostMount::tmpfs(&source, flags_of_source);
    let words = [
        vec![],
        vec!["rw"],
        vec!["nosuid", "nodev"],
        vec!["noexec"],
        vec!["rro"],
    ];
    let out = bind_all(lab.bundle(), &[source], &words).run().ok();
    let found = flags(&out.stdout, words.len());
    let wanted = [
        "ro,noexec,relatime",
        "rw,relatime",
        "rw,nosuid,nodev,relatime",
        "rw,noexec,relatime",
        "ro,noexec,relatime",
    ];
    let found: Vec<String> = found.iter().map(|options| options.join(",")).collect();
    assert_eq!(found, wanted);
}

fn flags_that_a_user_namespace_locks_stay(lab: &Lab) {
    let source = lab.directory("source");
    let _mounted = HostMount::tmpfs(&source, MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC);
    let words = [vec!["nosuid", "nodev"], vec!["ro"]];
    let bundle = lab.bundle().in_user_namespace();
    let out = bind_all(bundle, &[source], &words).run().ok();
    let found = flags(&out.stdout, words.len());
    let found: Vec<String> = found.iter().map(|options| options.join(",")).collect();
    let wanted = ["ro,nosuid,nodev,noexec,relatime", "ro,noexec,relatime"];
    assert_eq!(found, wanted);
}

/// In the user namespace of an engine the kernel locks what the host's mounts have, and the container has no user
/// namespace that would tell.
fn flags_that_are_locked_stay(lab: &Lab) {
    let source = lab.directory("source");
    let _mounted = HostMount::tmpfs(&source, MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC);
    let run = |words: &[&str]| {
        let sources = [source.clone()];
        let bundle = bind_all(lab.bundle(), &sources, &[words.to_vec()])
            .remove("/linux/resources")
            .remove("/linux/cgroupsPath")
            .without_mount("/sys/fs/cgroup");
        let mut engine = Command::new("unshare");
        engine.args(["--user", "--map-root-user", "--mount"]);
        finish(wrapped(engine, &bundle.command(&[], "run", &[])), b"")
    };
    let out = run(&["nosuid", "nodev"]).ok();
    assert_eq!(
        flags(&out.stdout, 1)[0].join(","),
        "ro,nosuid,nodev,noexec,relatime"
    );
    // What is asked for in so many words cannot be had.
    run(&["exec", "nosuid"]).fails_with(&["/m/0", "not permitted", "locks"]);
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
