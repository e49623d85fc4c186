//! The image of the engine tests: busybox, from the rootfs that every bundle has. No registry.

use crate::support::{Lab, finish};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The image's name in the archive.
pub(crate) const NAME: &str = "localhost/busybox:latest";

/// A tar of the image's root file system; made once.
pub(crate) fn tar(lab: &Lab) -> PathBuf {
    static TAR: OnceLock<PathBuf> = OnceLock::new();
    TAR.get_or_init(|| make_tar(lab, "busybox.tar", &[]))
        .clone()
}

/// An archive of the image as `docker save` makes it, for `ctr image import` and `docker load`;
/// made once. Its layer is small: the tests' own program is not in it.
pub(crate) fn archive(lab: &Lab) -> PathBuf {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE
        .get_or_init(|| {
            let layer = make_tar(lab, "layer.tar", &["--exclude=./bin/probe"]);
            let folder = layer.parent().unwrap();
            let config = json!({
                "architecture": match std::env::consts::ARCH {
                    "aarch64" => "arm64",
                    _ => "amd64",
                },
                "os": "linux",
                "config": {"Cmd": ["/bin/sleep", "100000"], "Env": ["PATH=/usr/bin:/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]}
            });
            let manifest = json!([
                {"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}
            ]);
            fs::write(folder.join("config.json"), config.to_string()).unwrap();
            fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
            let archive = folder.join("archive.tar");
            let mut pack = Command::new("tar");
            pack.arg("-cf").arg(&archive).arg("-C").arg(folder);
            pack.args(["manifest.json", "config.json", "layer.tar"]);
            finish(pack, b"").ok();
            archive
        })
        .clone()
}

fn make_tar(lab: &Lab, name: &str, options: &[&str]) -> PathBuf {
    let bundle = lab.bundle();
    let tar = lab.shared_folder("image").join(name);
    let mut pack = Command::new("tar");
    pack.args(options).arg("-cf").arg(&tar);
    pack.arg("-C").arg(bundle.rootfs()).arg(".");
    finish(pack, b"").ok();
    tar
}

fn sha256(file: &Path) -> String {
    let mut sum = Command::new("sha256sum");
    sum.arg(file);
    let out = finish(sum, b"").ok();
    out.text().split(' ').next().unwrap_or_default().to_owned()
}
