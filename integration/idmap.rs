//! Mounts with mapped ids: with the container's own map, or with one of the mount's own.

use crate::support::{HostMount, Lab, cases};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};

cases! {
    [Root, Casulo, IdMounts] => idmap_uses_the_containers_map, a_mounts_own_map, recursive_idmap, new_files_belong_to_the_host_id,
        unmapped_owner_is_nobody, idmap_without_user_namespace_needs_a_map;
}

fn map(container: u32, host: u32, size: u32) -> serde_json::Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

fn idmap_uses_the_containers_map(lab: &Lab) {
    let source = lab.directory("source");
    fs::write(source.join("roots"), "").unwrap();
    let script = "stat -c %u /plain/roots /mapped/roots";
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .bind(&source, "/plain", &[])
        .bind(&source, "/mapped", &["idmap"])
        .sh(script);
    // Host root has no id in the container; through the mapped mount it is the container's root.
    assert_eq!(bundle.run().ok().lines(), ["65534", "0"]);
}

fn new_files_belong_to_the_host_id(lab: &Lab) {
    let source = lab.directory("source");
    let bundle = lab
        .bundle()
        .in_user_namespace()
        .bind(&source, "/mapped", &["idmap"])
        .sh("touch /mapped/new");
    bundle.run().ok();
    assert_eq!(fs::metadata(source.join("new")).unwrap().uid(), 0);
}

fn a_mounts_own_map(lab: &Lab) {
    let source = lab.directory("source");
    fs::write(source.join("file"), "").unwrap();
    lchown(source.join("file"), Some(1000), Some(1000)).unwrap();
    let bundle = lab
        .bundle()
        .push(
            "/mounts",
            json!({
                "destination": "/mapped", "type": "bind", "source": source, "options": ["bind", "idmap"],
                "uidMappings": map(1000, 2000, 1), "gidMappings": map(1000, 3000, 1)
            }),
        )
        .sh("stat -c '%u %g' /mapped/file");
    assert_eq!(bundle.run().ok().text(), "2000 3000");
}

fn unmapped_owner_is_nobody(lab: &Lab) {
    let source = lab.directory("source");
    fs::write(source.join("file"), "").unwrap();
    lchown(source.join("file"), Some(5), Some(5)).unwrap();
    let bundle = lab
        .bundle()
        .push(
            "/mounts",
            json!({
                "destination": "/mapped", "type": "bind", "source": source, "options": ["bind", "idmap"],
                "uidMappings": map(1000, 2000, 1), "gidMappings": map(1000, 3000, 1)
            }),
        )
        .sh("stat -c '%u %g' /mapped/file");
    assert_eq!(bundle.run().ok().text(), "65534 65534");
}

fn recursive_idmap(lab: &Lab) {
    let source = lab.directory("source");
    let other = lab.directory("other");
    fs::write(other.join("file"), "").unwrap();
    let _mounted = HostMount::bind(&other, &lab.directory("source/sub"));
    let owner = |word: &str| {
        let bundle = lab
            .bundle()
            .in_user_namespace()
            .mount(
                "/mapped",
                "bind",
                &source.to_string_lossy(),
                &["rbind", word],
            )
            .args(&["/bin/stat", "-c", "%u", "/mapped/sub/file"]);
        bundle.run().ok().text().to_owned()
    };
    assert_eq!([owner("idmap"), owner("ridmap")], ["65534", "0"]);
}

fn idmap_without_user_namespace_needs_a_map(lab: &Lab) {
    let source = lab.directory("source");
    lab.bundle()
        .bind(&source, "/mapped", &["idmap"])
        .run()
        .fails_with(&["mounts[7]"]);
}
