//! Members whose names are written in another case than the specification's: `CPU` for `cpu`. Pure.
//!
//! Go's decoder, and so runc, takes any case for the one that it knows (encoding/json, Unmarshal), and configs that
//! were made for it may rest on that. So such a member is read as the one that is meant, with a warning: other
//! runtimes pass over it, and a limit that stands there is none for them. Where both are there, the right one counts.

use super::Problem;
use serde_json::{Map, Value};

/// The name of every member in the specification, sorted: the parts of the fields in docs/spec.md.
const MEMBERS: &[&str] = &[
    "access",
    "action",
    "additionalGids",
    "allow",
    "ambient",
    "annotations",
    "apparmorProfile",
    "architectures",
    "args",
    "blockIO",
    "bounding",
    "burst",
    "capabilities",
    "cgroupsPath",
    "checkBeforeUpdate",
    "class",
    "classID",
    "closID",
    "commandLine",
    "consoleSize",
    "containerID",
    "cpu",
    "cpus",
    "createContainer",
    "createRuntime",
    "cwd",
    "deadline",
    "defaultAction",
    "defaultErrnoRet",
    "destination",
    "devices",
    "disableOOMKiller",
    "domain",
    "domainname",
    "effective",
    "enableMonitoring",
    "env",
    "errnoRet",
    "execCPUAffinity",
    "fileMode",
    "final",
    "flags",
    "freebsd",
    "gid",
    "gidMappings",
    "hard",
    "hcaHandles",
    "hcaObjects",
    "height",
    "hooks",
    "hostID",
    "hostname",
    "hugepageLimits",
    "idle",
    "index",
    "inheritable",
    "initial",
    "intelRdt",
    "ioPriority",
    "kernel",
    "kernelTCP",
    "l3CacheSchema",
    "leafWeight",
    "limit",
    "linux",
    "listenerMetadata",
    "listenerPath",
    "major",
    "maskedPaths",
    "memBwSchema",
    "memory",
    "memoryPolicy",
    "mems",
    "minor",
    "mode",
    "mountLabel",
    "mounts",
    "name",
    "names",
    "namespaces",
    "nanosecs",
    "netDevices",
    "network",
    "nice",
    "noNewPrivileges",
    "nodes",
    "ociVersion",
    "oomScoreAdj",
    "op",
    "options",
    "pageSize",
    "path",
    "period",
    "permitted",
    "personality",
    "pids",
    "policy",
    "poststart",
    "poststop",
    "prestart",
    "priorities",
    "priority",
    "process",
    "quota",
    "rate",
    "rdma",
    "readonly",
    "readonlyPaths",
    "realtimePeriod",
    "realtimeRuntime",
    "reservation",
    "resources",
    "rlimits",
    "root",
    "rootfsPropagation",
    "runtime",
    "scheduler",
    "schemata",
    "seccomp",
    "secs",
    "selinuxLabel",
    "shares",
    "size",
    "soft",
    "solaris",
    "source",
    "startContainer",
    "swap",
    "swappiness",
    "syscalls",
    "sysctl",
    "terminal",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "timeOffsets",
    "timeout",
    "type",
    "uid",
    "uidMappings",
    "umask",
    "unified",
    "useHierarchy",
    "user",
    "username",
    "value",
    "valueTwo",
    "vm",
    "weight",
    "weightDevice",
    "width",
    "windows",
    "zos",
];

/// Objects whose members have names of the user's: JSON paths without the places in arrays.
const FREE: &[&str] = &[
    "annotations",
    "linux.netDevices",
    "linux.resources.rdma",
    "linux.resources.unified",
    "linux.sysctl",
    "linux.timeOffsets",
];

/// Members of config.json that this platform ignores (config.md, platform-specific
/// configuration). `uidMappings` and `gidMappings` belong below `linux`; at the top they are
/// unknown fields that oci-spec once had.
pub(super) const IGNORED: &[&str] = &[
    "freebsd",
    "gidMappings",
    "solaris",
    "uidMappings",
    "vm",
    "windows",
    "zos",
];

/// Places for the members by [`place`]: few share one.
const PLACES: usize = 512;

/// Each member at its place, or at the next that is free. Every name of every config is looked up here.
const TABLE: [Option<&str>; PLACES] = {
    let mut table = [None; PLACES];
    let mut rest = MEMBERS;
    while let [member, more @ ..] = rest {
        let mut at = place(member.as_bytes());
        while table[at].is_some() {
            at = (at + 1) % PLACES;
        }
        table[at] = Some(*member);
        rest = more;
    }
    table
};

/// The same in every case.
const fn place(name: &[u8]) -> usize {
    let (first, last) = match name {
        [] => (0, 0),
        [one] => (*one, *one),
        [first, .., last] => (*first, *last),
    };
    let letters = first.to_ascii_lowercase() as usize * 37 + last.to_ascii_lowercase() as usize * 5;
    (letters + name.len() * 11) % PLACES
}

/// How the specification writes a name that it has in another case.
fn meant(name: &str) -> Option<&'static str> {
    let (before, from) = TABLE.split_at(place(name.as_bytes()));
    let mut members = from.iter().chain(before).map_while(|it| *it);
    let member = members.find(|member| member.eq_ignore_ascii_case(name))?;
    (member != name).then_some(member)
}

/// True if some member may have such a name. It is asked of every config, so it only looks at what stands before
/// colons: what is no member, and a member whose name is the user's, may be found, too.
pub(super) fn is_doubtful(text: &str) -> bool {
    text.match_indices(':').any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default().trim_ascii_end();
        let name = before
            .strip_suffix('"')
            .and_then(|it| it.rsplit('"').next());
        name.and_then(meant).is_some()
    })
}

/// Renames such members. `root` is the JSON path, with its dot, at which `value` stands in a config. What was
/// found: the path of each, and how it was read.
pub(super) fn rename(value: &mut Value, root: &str) -> Vec<Problem> {
    let mut found = Vec::new();
    let root = root.strip_suffix('.').unwrap_or(root);
    descend(value, root, root, &mut found);
    found
}

/// The same members of a whole config, which stays as it is.
pub(crate) fn find(config: &Value) -> Vec<Problem> {
    rename(&mut config.clone(), "")
}

/// `place` is `path` without the places in arrays, in the specification's names.
fn descend(value: &mut Value, path: &str, place: &str, found: &mut Vec<Problem>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                descend(item, &format!("{path}[{index}]"), place, found);
            }
        }
        Value::Object(members) => {
            if !FREE.contains(&place) {
                rename_in(members, path, found);
            }
            for (name, member) in members {
                // What another platform reads is not ours to know.
                if place.is_empty() && IGNORED.contains(&name.as_str()) {
                    continue;
                }
                descend(member, &join(path, name), &join(place, name), found);
            }
        }
        _ => {}
    }
}

fn rename_in(members: &mut Map<String, Value>, path: &str, found: &mut Vec<Problem>) {
    let wrong: Vec<String> = members
        .keys()
        .filter(|name| meant(name).is_some())
        .cloned()
        .collect();
    for name in wrong {
        let (Some(right), Some(member)) = (meant(&name), members.remove(&name)) else {
            continue;
        };
        let why = match members.contains_key(right) {
            true => format!("ignored, as {right} is there, too"),
            false => {
                members.insert(right.to_owned(), member);
                format!("read as {right}; other runtimes ignore a name in another case")
            }
        };
        found.push((join(path, &name), why));
    }
}

/// The path of the member `name` of the object at `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    // A place always has a name.
    let name = if name.is_empty() { "\"\"" } else { name };
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_documented_member_is_known() {
        let text = include_str!("../../docs/spec.md");
        let is_row = |line: &&str| {
            let status = ["applied", "rejected", "ignored"];
            line.starts_with("| `")
                && status
                    .iter()
                    .any(|it| line.contains(&format!("` | {it} |")))
        };
        let mut names: Vec<&str> = text
            .lines()
            .filter(is_row)
            .filter_map(|line| line.split('`').nth(1))
            .flat_map(|field| field.split('.'))
            .map(|name| name.trim_end_matches("[]"))
            .filter(|name| *name != "*")
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names, MEMBERS);
    }

    #[test]
    fn a_text_is_doubtful_only_for_the_name_of_a_member() {
        for (text, expected) in [
            (r#"{"cpu": {"quota": 1}}"#, false),
            (r#"{"CPU": 1}"#, true),
            ("{\"pagesize\"\n\t: \"2MB\"}", true),
            (r#"{"a": "CPU"}"#, false),
            (r#"{"a": ["CPU", "x\":"], "b": 1}"#, false),
            (r#"{"a": "x:CPU:", "b": 1}"#, false),
            (r#"{"a": "x\\", "CPU": 1}"#, true),
            (r#"{"unknown": 1, "CPUs": 1}"#, true),
            (r#"{"CPUX": 1}"#, false),
            (r#"{"CPU"#, false),
        ] {
            assert_eq!(is_doubtful(text), expected, "{text}");
        }
    }

    #[test]
    fn members_are_renamed_where_the_names_are_the_specifications() {
        let mut value = json!({
            "Annotations": {"Path": "x"},
            "windows": {"Path": "x"},
            "linux": {
                "sysctl": {"Name": "x"},
                "resources": {
                    "CPU": {"Quota": 1}, "unified": {"Path": "x"}, "Rdma": {"Path": {"HCAHandles": 1}},
                    "hugepageLimits": [{"pagesize": "2MB", "limit": 1}],
                    "pids": {"limit": 1}, "PIDS": {"limit": 2},
                },
            },
        });
        let found = rename(&mut value, "");
        let expected = json!({
            "annotations": {"Path": "x"},
            "windows": {"Path": "x"},
            "linux": {
                "sysctl": {"Name": "x"},
                "resources": {
                    "cpu": {"quota": 1}, "unified": {"Path": "x"}, "rdma": {"Path": {"hcaHandles": 1}},
                    "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
                    "pids": {"limit": 1},
                },
            },
        });
        assert_eq!(value, expected);
        let mut paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "Annotations",
                "linux.resources.CPU",
                "linux.resources.PIDS",
                "linux.resources.Rdma",
                "linux.resources.cpu.Quota",
                "linux.resources.hugepageLimits[0].pagesize",
                "linux.resources.rdma.Path.HCAHandles",
            ]
        );
        let mut resources = json!({"unified": {"Path": "x"}, "CPU": {}});
        let found = rename(&mut resources, "linux.resources.");
        assert_eq!(resources, json!({"unified": {"Path": "x"}, "cpu": {}}));
        assert_eq!(found.len(), 1);
    }
}
