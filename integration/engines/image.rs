//! The image of the engine tests: busybox, from the rootfs that every bundle has. No registry.

use crate::support::Lab;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A tar of the image's root file system; made once.
pub(crate) fn tar(lab: &Lab) -> PathBuf {
    static TAR: OnceLock<PathBuf> = OnceLock::new();
    TAR.get_or_init(|| {
        let bundle = lab.bundle();
        let tar = lab.shared_folder("image").join("busybox.tar");
        let made = Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(bundle.rootfs())
            .arg(".")
            .status()
            .unwrap();
        assert!(made.success());
        tar
    })
    .clone()
}
