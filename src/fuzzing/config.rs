//! The texts that callers write: config.json, process.json, and what stands in them.

use super::bytes::Bytes;
use crate::config;
use crate::error::{Code, Problems};
use crate::host::{CgroupMount, Host};
use crate::namespaces::{self, IdMap};
use crate::options::Options;
use crate::plan::Plan;
use crate::process;
use crate::rootfs::options;
use crate::state::State;
use oci_spec::runtime::Spec;
use serde_json::json;
use std::path::Component;

/// How errors name the text.
const FILE: &str = "the file";

/// Root on a host that has everything.
pub(super) fn host() -> Host {
    Host {
        cgroup: Some(CgroupMount {
            path: "/sys/fs/cgroup".into(),
            own: None,
        }),
        apparmor: true,
        selinux: true,
        ..Host::of_root()
    }
}

pub(super) fn options() -> Options {
    Options::new("fuzzed".parse().expect("an id"), "/bundle".into())
}

/// Fails unless each problem names a place and a reason.
pub(super) fn assert_named(problems: &[(String, String)]) {
    for (path, why) in problems {
        assert!(!path.is_empty() && !why.is_empty(), "{path:?}: {why:?}");
    }
}

/// config.json, as far as the plan. An error names the file; parse_lenient and parse agree; what is planned stays
/// below the root and below the cgroup mount, and is the same each time.
pub(super) fn config(bytes: &[u8]) {
    let parsed = config::parse(bytes, FILE);
    match (&parsed, config::parse_lenient(bytes, FILE)) {
        (Ok(spec), Ok((Some(same), problems))) => assert!(problems.is_empty() && *spec == same),
        (Err(error), Ok((_, problems))) => {
            assert!(!problems.is_empty(), "{error}");
            assert_named(&problems);
            assert!(
                problems.iter().all(|it| error.detail.contains(&it.0)),
                "{error}"
            );
        }
        (Err(error), Err(same)) => assert_eq!(*error, same),
        (parsed, examined) => panic!("parse says {parsed:?}, parse_lenient {examined:?}"),
    }
    let spec = match parsed {
        Ok(spec) => spec,
        Err(error) => {
            assert_eq!(error.code, Code::Config);
            assert!(error.detail.starts_with(FILE), "{error}");
            return;
        }
    };
    let mut problems = Problems::default();
    let plan = Plan::decide(&spec, &options(), &host(), &mut problems);
    let problems = problems.into_list();
    assert_named(&problems);
    let again = Plan::new(&spec, &options(), &host(), FILE);
    assert_eq!(again.is_ok(), problems.is_empty());
    if let Ok(again) = again {
        assert_eq!(plan, again);
    }
    for mount in &plan.rootfs.mounts {
        let stays = |it: Component<'_>| matches!(it, Component::RootDir | Component::Normal(_));
        assert!(
            mount.destination.components().all(stays),
            "{:?}",
            mount.destination
        );
        assert!(mount.destination.is_absolute(), "{:?}", mount.destination);
    }
    if problems.is_empty() {
        assert_below_the_mount(&plan);
    }
}

pub(super) fn assert_below_the_mount(plan: &Plan) {
    if let Some(path) = &plan.cgroup.path {
        let below = path
            .strip_prefix("/sys/fs/cgroup")
            .expect("below the mount");
        assert!(
            below
                .components()
                .all(|it| matches!(it, Component::Normal(_))),
            "{path:?}"
        );
        assert_ne!(below.as_os_str(), "", "the host's own cgroup");
    }
}

/// process.json, as far as the plan.
pub(super) fn process(bytes: &[u8]) {
    let process = match config::parse_process(bytes, FILE) {
        Ok(process) => process,
        Err(error) => {
            assert_eq!(error.code, Code::Config);
            assert!(error.detail.starts_with(FILE), "{error}");
            return;
        }
    };
    let spec = Spec::default();
    let mut problems = Problems::default();
    let ns = namespaces::Plan::default();
    let plan = process::plan(
        &process,
        &spec,
        &ns,
        &options(),
        &host(),
        "process",
        &mut problems,
    );
    let problems = problems.into_list();
    assert_named(&problems);
    if problems.is_empty() {
        assert!(!plan.command.args.is_empty() && plan.command.cwd.is_absolute());
        assert!(plan.identity.umask <= 0o777);
        assert_eq!(
            plan.capabilities.ambient & !plan.capabilities.inheritable,
            0
        );
        assert_eq!(
            plan.capabilities.effective & !plan.capabilities.permitted,
            0
        );
    }
}

/// state.json: what was read is written and read again as the same.
pub(super) fn state(bytes: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(bytes) else {
        return;
    };
    let text = serde_json::to_vec(&state).expect("a state is JSON");
    let again: State = serde_json::from_slice(&text).expect("its own text");
    assert_eq!(state, again);
    if state.unsound().is_none() {
        let _ = (state.init(), state.cgroup(), state.has_own_pids());
        let _ = (state.namespaces, state.creator());
    }
}

/// Words of `mounts[].options`, at commas and line ends.
pub(super) fn mount_options(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<String> = text.split([',', '\n']).map(str::to_owned).collect();
    let parsed = options::parse(&words);
    for attributes in [parsed.attributes, parsed.tree_attributes] {
        // The access time is a field of several bits, cleared before it is set: mount_setattr(2).
        assert_eq!(
            attributes.set & attributes.clear & !libc::MOUNT_ATTR__ATIME,
            0
        );
    }
    assert!(parsed.data.iter().all(|it| !it.is_empty()));
    // Later words win, so saying the same words in one list and then the last one again changes nothing.
    let last = words.last().cloned().into_iter();
    let repeated = options::parse(&words.iter().cloned().chain(last).collect::<Vec<_>>());
    assert_eq!(repeated.bind, parsed.bind);
    assert_eq!(repeated.superblock, parsed.superblock);
    let mount =
        json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": words});
    let config = json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "mounts": [mount],
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}]}});
    self::config(config.to_string().as_bytes());
}

/// Id maps of a new user namespace, made of choices: what is accepted is disjoint on both sides, and
/// translates each id as its line says.
pub(super) fn id_maps(bytes: &[u8]) {
    let mut choices = Bytes::new(bytes);
    let mut map = Vec::new();
    while choices.has_more() && map.len() < 400 {
        let mut id = || u32::try_from(choices.number() & 0xffff_ffff).expect("32 bits");
        map.push(json!({"containerID": id(), "hostID": id(), "size": id()}));
    }
    let linux = json!({"namespaces": [{"type": "user"}], "uidMappings": map, "gidMappings": map});
    let spec = json!({"ociVersion": "1.3.0", "linux": linux});
    let Ok(spec) = serde_json::from_value::<Spec>(spec) else {
        return;
    };
    let mut problems = Problems::default();
    let plan = namespaces::plan(&spec, &host(), &mut problems);
    let problems = problems.into_list();
    assert_named(&problems);
    if !problems.is_empty() {
        return;
    }
    let end = |start: u32, line: &IdMap| u64::from(start) + u64::from(line.count);
    for (index, line) in plan.uid_map.iter().enumerate() {
        for other in plan.uid_map.iter().take(index) {
            for start in [|it: &IdMap| it.inside, |it: &IdMap| it.outside] {
                let apart = end(start(line), line) <= u64::from(start(other))
                    || end(start(other), other) <= u64::from(start(line));
                assert!(apart, "{line:?} and {other:?}");
            }
        }
        let last = line.count - 1;
        for offset in [0, last / 2, last] {
            let outside = namespaces::outside_of(&plan.uid_map, line.inside + offset);
            assert_eq!(outside, Some(line.outside + offset));
        }
    }
}
