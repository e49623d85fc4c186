//! The images of the engine tests, made on the spot from what the host has. No registry.

use crate::support::{DEBIAN_ROOT, Lab, finish};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An image of one layer.
pub(crate) struct Image {
    /// What every store calls it.
    pub(crate) name: &'static str,
    layer: fn(&Lab) -> PathBuf,
    command: &'static [&'static str],
    archive: OnceLock<PathBuf>,
}

/// The rootfs that every bundle has. The tests' own program is not in it, so it is small.
pub(crate) static BUSYBOX: Image = Image {
    name: "localhost/busybox:latest",
    layer: |lab| pack(lab, "busybox.tar", &["--exclude=./bin/probe", "."]),
    command: &["/bin/sleep", "100000"],
    archive: OnceLock::new(),
};

/// Programs that are linked dynamically, and the users of Debian.
pub(crate) static DEBIAN: Image = Image {
    name: "localhost/debian:latest",
    layer: |_| PathBuf::from(DEBIAN_ROOT),
    command: &["/bin/bash"],
    archive: OnceLock::new(),
};

/// What a pod's sandbox runs: one program that stays, and nothing else in the image.
pub(crate) static PAUSE: Image = Image {
    name: "localhost/pause:latest",
    layer: |lab| pack(lab, "pause.tar", &["./bin/busybox"]),
    command: &["/bin/busybox", "sleep", "100000"],
    archive: OnceLock::new(),
};

/// A script for [`DEBIAN`], run as its user `www-data`; what it says is [`SAID_BY_WWW_DATA`].
pub(crate) const ASK_WWW_DATA: &str =
    "id -un; id -gn; echo $HOME; ldd /bin/ls | grep -o 'libc.so.6 => /[^ ]*'";

pub(crate) const SAID_BY_WWW_DATA: [&str; 4] = [
    "www-data",
    "www-data",
    "/var/www",
    "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6",
];

impl Image {
    /// An archive as `docker save` makes it, for `ctr image import`, `docker load` and `podman load`;
    /// made once.
    pub(crate) fn archive(&self, lab: &Lab) -> &Path {
        self.archive.get_or_init(|| {
            let layer = (self.layer)(lab);
            let name = layer.file_name().unwrap().to_string_lossy();
            let config = json!({
                "architecture": match std::env::consts::ARCH {
                    "aarch64" => "arm64",
                    _ => "amd64",
                },
                "os": "linux",
                "config": {"Cmd": self.command, "Env": ["PATH=/usr/bin:/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]}
            });
            let manifest = json!([
                {"Config": "config.json", "RepoTags": [self.name], "Layers": [name]}
            ]);
            let directory = lab.shared_directory(&format!("image.{name}"));
            fs::write(directory.join("config.json"), config.to_string()).unwrap();
            fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
            let archive = directory.join("archive");
            let mut tar = Command::new("tar");
            tar.arg("-cf").arg(&archive).arg("-C").arg(&directory);
            tar.args(["manifest.json", "config.json"]);
            tar.arg("-C").arg(layer.parent().unwrap()).arg(&*name);
            finish(tar, b"").ok();
            archive
        })
    }
}

/// A tar of the root file system of [`BUSYBOX`] with the tests' own program in it; made once.
pub(crate) fn with_probe(lab: &Lab) -> &'static Path {
    static TAR: OnceLock<PathBuf> = OnceLock::new();
    TAR.get_or_init(|| pack(lab, "probe.tar", &["."]))
}

/// Packs files of a bundle's rootfs. From a copy: a rootfs is made of hard links, and tar fails
/// when another test links to a file meanwhile ("file changed as we read it").
fn pack(lab: &Lab, name: &str, files: &[&str]) -> PathBuf {
    let archive = lab.shared_directory("image").join(name);
    let rootfs = lab.shared_directory(&format!("image.{name}.rootfs"));
    let mut copy = Command::new("cp");
    copy.arg("-a")
        .arg(lab.bundle().rootfs().join("."))
        .arg(&rootfs);
    finish(copy, b"").ok();
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(&archive);
    tar.arg("-C").arg(&rootfs).args(files);
    finish(tar, b"").ok();
    archive
}

fn sha256(file: &Path) -> String {
    let mut sum = Command::new("sha256sum");
    sum.arg(file);
    let out = finish(sum, b"").ok();
    out.text().split(' ').next().unwrap_or_default().to_owned()
}
