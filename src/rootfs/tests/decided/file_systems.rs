//! New file systems, and what stands in for them.

use super::*;

#[test]
fn a_file_system_gets_its_words_as_parameters() {
    let mount = one(
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k", "sync"]}),
    );
    let Action::FileSystem(it) = mount.action else {
        panic!("a file system")
    };
    let text: Vec<String> = it
        .parameters
        .iter()
        .map(|it| {
            let value = it.value.as_ref().map(|value| format!("={value:?}"));
            format!("{:?}{}", it.key, value.unwrap_or_default())
        })
        .collect();
    assert_eq!(
        text,
        [
            "\"source\"=\"tmpfs\"",
            "\"sync\"",
            "\"mode\"=\"755\"",
            "\"size\"=\"65536k\""
        ]
    );
    assert_eq!(it.attributes, NOSUID | libc::MOUNT_ATTR_STRICTATIME);
    assert_eq!(it.mode, RootMode::Given);
    assert_eq!(it.content, Content::Empty);
    assert_eq!(mount.changes, []);
}

#[test]
fn a_read_only_tmpfs_stays_writable_until_the_end() {
    let mount = one(json!({"destination": "/a", "type": "tmpfs", "options": ["ro"]}));
    assert_eq!(mount.read_only, ReadOnly::Deferred);
    assert!(matches!(&mount.action, Action::FileSystem(it) if it.attributes == 0));
    let mount = one(json!({"destination": "/sys", "type": "sysfs", "options": ["ro"]}));
    assert_eq!(mount.read_only, ReadOnly::AsMounted);
    assert!(matches!(&mount.action, Action::FileSystem(it) if it.attributes == RDONLY));
}

#[test]
fn cgroup_means_cgroup2_and_its_substitute_is_read_only() {
    let mount = one(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime"]}),
    );
    let Action::FileSystem(it) = mount.action else {
        panic!("a file system")
    };
    assert_eq!(it.fstype.as_c_str(), c"cgroup2");
    assert_eq!(it.attributes & RDONLY, 0);
    let instead = it.instead.expect("a substitute");
    assert_eq!(instead.bind.source.as_c_str(), c"/sys/fs/cgroup");
    assert_ne!(instead.change.attr.attr_set & RDONLY, 0);
    assert_eq!(instead.change.attr.propagation, libc::MS_PRIVATE);
}

#[test]
fn what_fsconfig_cannot_say_goes_through_mount() {
    let long = format!("upperdir=/{}", "u".repeat(300));
    let mount = one(json!({"destination": "/a", "type": "overlay",
        "options": [long, "workdir=/w", "nodev"]}));
    let Action::MountCall(mount_call) = mount.action else {
        panic!("mount(2)")
    };
    assert_eq!(mount_call.flags, libc::MS_NODEV);
    assert_eq!(
        mount_call.data.expect("data").as_bytes(),
        format!("{long},workdir=/w").as_bytes()
    );

    let mount =
        one(json!({"destination": "/a", "type": "tmpfs", "options": ["iversion", "noatime"]}));
    assert!(matches!(mount.action,
        Action::MountCall(it) if it.flags == libc::MS_I_VERSION | libc::MS_NOATIME && it.data.is_none()));

    let endless = format!("upperdir=/{}", "u".repeat(5000));
    let why = wrong(json!({"destination": "/a", "type": "overlay", "options": [endless]}));
    assert!(why.contains("mounts[0].options: longer than"), "{why}");
}

#[test]
fn many_overlay_layers_are_given_one_by_one() {
    let layer = "l".repeat(200);
    let lower = format!("lowerdir=/{layer}{layer}:/a\\:b:/c::/d");
    let mount = one(json!({"destination": "/a", "type": "overlay", "options": [lower]}));
    // One layer alone is longer than fsconfig takes: then all go through mount(2).
    assert!(matches!(mount.action, Action::MountCall(_)));

    let lower = format!("lowerdir=/{layer}:/{layer}:/a\\:b:/c::/d::/e");
    let mount = one(json!({"destination": "/a", "type": "overlay", "options": [lower]}));
    let Action::FileSystem(it) = mount.action else {
        panic!("a file system")
    };
    let layers: Vec<String> = it.parameters[1..]
        .iter()
        .map(|it| {
            let value = it.value.clone().unwrap_or_default();
            format!("{} {}", it.key.to_string_lossy(), value.to_string_lossy())
        })
        .collect();
    assert_eq!(
        layers,
        [
            format!("lowerdir+ /{layer}"),
            format!("lowerdir+ /{layer}"),
            "lowerdir+ /a:b".to_owned(),
            "lowerdir+ /c".to_owned(),
            "datadir+ /d".to_owned(),
            "datadir+ /e".to_owned(),
        ]
    );
}

#[test]
fn a_mount_label_becomes_a_context_where_the_file_system_takes_one() {
    let mut selinux = host();
    selinux.selinux = true;
    let mounts = json!([
        {"destination": "/proc", "type": "proc"},
        {"destination": "/a", "type": "tmpfs", "options": ["mode=755"]},
    ]);
    let more = json!({
        "linux": {"mountLabel": "system_u:object_r:svirt_t:s0:c1,c2"},
        "annotations": {"run.oci.mount_context_type": "rootcontext"},
    });
    let has_context = |plan: Plan| -> Vec<bool> {
        let context = |mount: &Mount| match &mount.action {
            Action::FileSystem(it) => it
                .parameters
                .iter()
                .any(|it| it.key.as_c_str() == c"rootcontext"),
            _ => false,
        };
        plan.mounts.iter().map(context).collect()
    };
    let labelled = spec(mounts.clone(), more);
    let ns = namespaces(&[Kind::Mount]);
    let plan = decide(&labelled, &ns, &selinux).expect("a plan");
    assert!(plan.masks.label.is_some() && plan.masks.label == plan.devices.label);
    assert_eq!(has_context(plan), [false, true]);
    let plan = decide(&labelled, &ns, &host()).expect("a plan");
    assert_eq!((&plan.masks.label, &plan.devices.label), (&None, &None));
    assert_eq!(has_context(plan), [false, false]);

    let more = json!({"annotations": {"run.oci.mount_context_type": "any"}});
    assert!(decide(&spec(mounts, more), &ns, &selinux).is_err());
}
