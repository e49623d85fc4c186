//! The features document, key by key: runtime-spec, features.md and features-linux.md.

use casulo::commands::features::document;
use casulo::config;
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

/// An array of strings, none twice.
fn words(value: &Value) -> Vec<&str> {
    let words: Vec<&str> = value
        .as_array()
        .expect("an array")
        .iter()
        .map(|word| word.as_str().expect("a string"))
        .collect();
    let mut sorted = words.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), words.len(), "a word twice in {value}");
    words
}

fn assert_holds(value: &Value, expected: &[&str]) {
    let mut found = words(value);
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn the_top_level_is_complete() {
    assert_eq!(
        keys(&document()),
        [
            "annotations",
            "hooks",
            "linux",
            "mountOptions",
            "ociVersionMax",
            "ociVersionMin",
            "potentiallyUnsafeConfigAnnotations",
        ]
    );
}

#[test]
fn versions_are_plain_and_accepted_in_a_config() {
    let document = document();
    assert_eq!(document["ociVersionMin"], "1.0.0");
    assert_eq!(document["ociVersionMax"], "1.3.0");
    for version in [&document["ociVersionMin"], &document["ociVersionMax"]] {
        let config = json!({"ociVersion": version, "root": {"path": "rootfs"}});
        config::parse(config.to_string().as_bytes(), "config.json").expect("a known version");
    }
}

#[test]
fn hooks_are_all_six() {
    assert_eq!(
        words(&document()["hooks"]),
        [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ]
    );
}

/// The table of config.md, "Linux mount options", whatever its requirement level. (`rnodev` is
/// not in it, but in the example of features.md.)
#[test]
fn mount_options_are_those_of_the_specification() {
    let document = document();
    let options = words(&document["mountOptions"]);
    for option in "async atime bind defaults dev diratime dirsync exec iversion lazytime loud \
        noatime nodev nodiratime noexec noiversion nolazytime norelatime nostrictatime nosuid \
        nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev \
        rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate \
        rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared \
        silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap"
        .split_whitespace()
    {
        assert!(options.contains(&option), "{option}");
    }
    // "SHOULD NOT contain filesystem-specific mount options."
    assert!(options.iter().all(|option| !option.contains('=')));
}

#[test]
fn linux_is_complete() {
    assert_eq!(
        keys(&document()["linux"]),
        [
            "apparmor",
            "capabilities",
            "cgroup",
            "intelRdt",
            "memoryPolicy",
            "mountExtensions",
            "namespaces",
            "netDevices",
            "seccomp",
            "selinux",
        ]
    );
}

#[test]
fn namespaces_are_all_eight() {
    assert_holds(
        &document()["linux"]["namespaces"],
        &[
            "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
        ],
    );
}

#[test]
fn capabilities_are_all_41_in_the_kernels_order() {
    let document = document();
    let capabilities = words(&document["linux"]["capabilities"]);
    assert_eq!(capabilities.len(), 41);
    assert_eq!(capabilities[0], "CAP_CHOWN");
    assert_eq!(capabilities[21], "CAP_SYS_ADMIN");
    assert_eq!(capabilities[40], "CAP_CHECKPOINT_RESTORE");
    assert!(capabilities.iter().all(|name| name.starts_with("CAP_")));
}

#[test]
fn the_cgroup_drivers_are_told_honestly() {
    assert_eq!(
        document()["linux"]["cgroup"],
        json!({"v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true})
    );
}

#[test]
fn seccomp_is_complete() {
    let document = document();
    let seccomp = &document["linux"]["seccomp"];
    assert_eq!(
        keys(seccomp),
        [
            "actions",
            "archs",
            "enabled",
            "knownFlags",
            "operators",
            "supportedFlags"
        ]
    );
    assert_eq!(seccomp["enabled"], true);
    assert_holds(
        &seccomp["actions"],
        &[
            "SCMP_ACT_ALLOW",
            "SCMP_ACT_ERRNO",
            "SCMP_ACT_KILL",
            "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD",
            "SCMP_ACT_LOG",
            "SCMP_ACT_NOTIFY",
            "SCMP_ACT_TRACE",
            "SCMP_ACT_TRAP",
        ],
    );
    assert_holds(
        &seccomp["operators"],
        &[
            "SCMP_CMP_EQ",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_LE",
            "SCMP_CMP_LT",
            "SCMP_CMP_MASKED_EQ",
            "SCMP_CMP_NE",
        ],
    );
    let flags = [
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    assert_holds(&seccomp["knownFlags"], &flags);
    // An older kernel knows fewer.
    let supported = words(&seccomp["supportedFlags"]);
    assert!(supported.iter().all(|flag| flags.contains(flag)));
    let archs = words(&seccomp["archs"]);
    assert_eq!(archs.len(), 23);
    for arch in ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64"] {
        assert!(archs.contains(&arch), "{arch}");
    }
}

#[test]
fn security_modules_rdt_and_devices_are_told() {
    let document = document();
    let linux = &document["linux"];
    assert_eq!(linux["apparmor"], json!({"enabled": true}));
    assert_eq!(linux["selinux"], json!({"enabled": true}));
    assert_eq!(
        linux["intelRdt"],
        json!({"enabled": true, "schemata": true, "monitoring": true})
    );
    assert_eq!(
        linux["mountExtensions"],
        json!({"idmap": {"enabled": true}})
    );
    assert_eq!(linux["netDevices"], json!({"enabled": true}));
}

#[test]
fn memory_policies_are_those_of_the_specification() {
    let document = document();
    let policy = &document["linux"]["memoryPolicy"];
    assert_eq!(keys(policy), ["flags", "modes"]);
    assert_holds(
        &policy["modes"],
        &[
            "MPOL_DEFAULT",
            "MPOL_BIND",
            "MPOL_INTERLEAVE",
            "MPOL_WEIGHTED_INTERLEAVE",
            "MPOL_PREFERRED",
            "MPOL_PREFERRED_MANY",
            "MPOL_LOCAL",
        ],
    );
    assert_holds(
        &policy["flags"],
        &[
            "MPOL_F_NUMA_BALANCING",
            "MPOL_F_RELATIVE_NODES",
            "MPOL_F_STATIC_NODES",
        ],
    );
}

#[test]
fn annotations_are_strings_without_line_ends() {
    let document = document();
    let annotations = document["annotations"].as_object().expect("an object");
    assert_eq!(
        annotations["run.oci.casulo.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(annotations["run.oci.casulo.check.version"], "1");
    let libseccomp = annotations["io.github.seccomp.libseccomp.version"].as_str();
    assert_eq!(
        libseccomp.map(|version| version.split('.').count()),
        Some(3)
    );
    for (key, value) in annotations {
        let value = value.as_str().expect("a string");
        assert!(
            !value.is_empty() && value.trim() == value,
            "{key}: {value:?}"
        );
    }
}

#[test]
fn annotations_that_change_behaviour_are_listed() {
    let document = document();
    let list = words(&document["potentiallyUnsafeConfigAnnotations"]);
    for annotation in [
        "org.systemd.property.TimeoutStopUSec",
        "run.oci.hooks.stderr",
        "run.oci.hooks.stdout",
        "run.oci.keep_original_groups",
        "run.oci.mount_context_type",
    ] {
        let is_listed = list.iter().any(|entry| match entry.strip_suffix('.') {
            Some(_) => annotation.starts_with(entry),
            None => annotation == *entry,
        });
        assert!(is_listed, "{annotation}");
    }
}

#[test]
fn nothing_is_null() {
    fn assert_no_null(value: &Value, path: &str) {
        match value {
            Value::Null => panic!("{path} is null"),
            Value::Array(items) => items.iter().for_each(|item| assert_no_null(item, path)),
            Value::Object(members) => {
                for (name, member) in members {
                    assert_no_null(member, &format!("{path}.{name}"));
                }
            }
            _ => {}
        }
    }
    assert_no_null(&document(), "features");
}
