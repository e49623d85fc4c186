//! A bundle: the directory with config.json and the root file system (runtime-spec, bundle.md).
//!
//! Runs in the parent, first thing, with the caller's view of the file system. Here the paths
//! that the caller wrote become absolute ones without symlinks; nothing behind this depends on
//! the working directory.

use crate::config;
use crate::error::{Code, Context, Error, Result};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use oci_spec::runtime::Spec;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// An opened bundle whose config was parsed and checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bundle {
    /// The bundle's directory: absolute, on the host, without symlinks.
    pub path: PathBuf,
    /// The config file, as errors name it.
    pub file: String,
    /// The config file's bytes, as they were read.
    pub config: Vec<u8>,
    /// The parsed config. Its `root.path` is [`Bundle::rootfs`].
    pub spec: Box<Spec>,
    /// The root file system's directory: absolute, on the host, without symlinks.
    pub rootfs: PathBuf,
}

impl Bundle {
    /// Opens the bundle at `path` (relative to the working directory, like every argument). Its
    /// config is `config` if given, else `config.json` in the bundle.
    ///
    /// # Errors
    /// `E_BUNDLE` if the directory, the config or the root file system is missing or not what it
    /// must be; `E_CONFIG` if the config is wrong.
    pub(crate) fn open(path: &Path, config: Option<&Path>) -> Result<Bundle> {
        let unread = Unread::open(path, config)?;
        let mut spec = config::parse(&unread.config, &unread.file)?;
        let mut root = spec.root().clone().unwrap_or_default();
        let rootfs = unread.rootfs(root.path())?;
        root.set_path(rootfs.clone());
        spec.set_root(Some(root));
        Ok(Bundle {
            path: unread.path,
            file: unread.file,
            config: unread.config,
            spec,
            rootfs,
        })
    }
}

/// A bundle whose config nobody has parsed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    /// As [`Bundle::path`].
    pub path: PathBuf,
    /// As [`Bundle::file`].
    pub file: String,
    /// As [`Bundle::config`].
    pub config: Vec<u8>,
}

impl Unread {
    /// Opens the directory and reads the config, as [`Bundle::open`] does.
    ///
    /// # Errors
    /// `E_BUNDLE`
    pub(crate) fn open(path: &Path, config: Option<&Path>) -> Result<Unread> {
        let (directory, path) = open_directory(path, &format!("bundle {}", path.display()))?;
        let (handle, file) = match config {
            Some(config) => {
                let handle = openat(AT_FDCWD, config, READ, Mode::empty());
                (handle, config.display().to_string())
            }
            None => {
                let handle = openat(&directory, CONFIG, READ, Mode::empty());
                (handle, path.join(CONFIG).display().to_string())
            }
        };
        let config = match handle {
            Err(Errno::ENOENT) => {
                let error = Error::new(Code::Bundle, format!("{file} does not exist"));
                return Err(error.hint("`casulo spec` writes a first config.json"));
            }
            handle => read(handle.context(Code::Bundle, "open", &file)?, &file)?,
        };
        Ok(Unread { path, file, config })
    }

    /// Where the root file system is, for a config's `root.path`.
    ///
    /// It may be relative to the bundle, and may be or contain symlinks: it belongs to the caller,
    /// as the bundle does, and it is resolved here once. runc refuses a symlink, crun resolves it
    /// as we do. What lies *below* the root file system is never resolved like this.
    ///
    /// # Errors
    /// `E_BUNDLE` if it is missing or no directory.
    pub(crate) fn rootfs(&self, root: &Path) -> Result<PathBuf> {
        let rootfs = self.path.join(root);
        let name = format!("{}: root.path: {}", self.file, rootfs.display());
        open_directory(&rootfs, &name).map(|(_, rootfs)| rootfs)
    }
}

/// The config's name in a bundle.
const CONFIG: &str = "config.json";

const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC);

/// A directory as O_PATH fd and as the absolute path that the kernel has for it: proc(5),
/// `/proc/PID/fd`. Asking the fd, unlike resolving the path a second time, names what was opened.
fn open_directory(path: &Path, name: &str) -> Result<(OwnedFd, PathBuf)> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = match openat(AT_FDCWD, path, flags, Mode::empty()) {
        // Not the errno's own words: engines take those for a missing program.
        Err(Errno::ENOENT) => {
            return Err(Error::new(Code::Bundle, format!("{name} does not exist")));
        }
        Err(Errno::ENOTDIR) => {
            return Err(Error::new(
                Code::Bundle,
                format!("{name} is not a directory"),
            ));
        }
        directory => directory.context(Code::Bundle, "open", name)?,
    };
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = std::fs::read_link(&link).context(Code::Bundle, "read", &link)?;
    Ok((directory, path))
}

fn read(handle: OwnedFd, name: &str) -> Result<Vec<u8>> {
    config::read(File::from(handle)).context(Code::Bundle, "read", name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const MINIMAL: &str = r#"{"ociVersion": "1.0.2", "root": {"path": "rootfs"}}"#;

    /// A directory for a bundle, by its real path.
    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (_, path) = open_directory(directory.path(), "directory").expect("just made");
        (directory, path)
    }

    fn message(path: &Path, config: Option<&Path>) -> (Code, String) {
        let error = Bundle::open(path, config).expect_err("must not open");
        (error.code, error.to_string())
    }

    #[test]
    fn paths_become_absolute_and_free_of_symlinks() {
        let (_keep, path) = directory();
        std::fs::create_dir_all(path.join("bundle/real")).unwrap();
        std::fs::write(path.join("bundle/config.json"), MINIMAL).unwrap();
        symlink("real", path.join("bundle/rootfs")).unwrap();
        symlink("bundle", path.join("link")).unwrap();
        let bundle = Bundle::open(&path.join("link/../link"), None).expect("a bundle");
        assert_eq!(bundle.path, path.join("bundle"));
        assert_eq!(bundle.rootfs, path.join("bundle/real"));
        assert_eq!(bundle.spec.root().clone().unwrap().path(), &bundle.rootfs);
        assert_eq!(
            bundle.file,
            path.join("bundle/config.json").display().to_string()
        );
        assert_eq!(bundle.config, MINIMAL.as_bytes());
    }

    #[test]
    fn another_config_can_be_named() {
        let (_keep, path) = directory();
        std::fs::create_dir(path.join("rootfs")).unwrap();
        std::fs::write(path.join("other.json"), MINIMAL).unwrap();
        let other = path.join("other.json");
        let bundle = Bundle::open(&path, Some(&other)).expect("a bundle");
        assert_eq!(bundle.file, other.display().to_string());
        let (code, text) = message(&path, None);
        assert_eq!(code, Code::Bundle);
        assert_eq!(
            text,
            format!("{}/config.json does not exist", path.display())
        );
    }

    #[test]
    fn a_missing_or_wrong_directory_is_named() {
        let (_keep, path) = directory();
        let missing = path.join("no");
        let (code, text) = message(&missing, None);
        assert_eq!(code, Code::Bundle);
        assert_eq!(text, format!("bundle {} does not exist", missing.display()));
        std::fs::write(path.join("file"), "").unwrap();
        let (_, text) = message(&path.join("file"), None);
        assert!(text.ends_with("file is not a directory"), "{text}");
    }

    #[test]
    fn a_missing_or_wrong_root_is_named_with_its_json_path() {
        let (_keep, path) = directory();
        std::fs::write(path.join("config.json"), MINIMAL).unwrap();
        let (code, text) = message(&path, None);
        assert_eq!(code, Code::Bundle);
        let at = path.display();
        assert_eq!(
            text,
            format!("{at}/config.json: root.path: {at}/rootfs does not exist")
        );
        std::fs::write(path.join("rootfs"), "").unwrap();
        let (_, text) = message(&path, None);
        assert!(text.ends_with("/rootfs is not a directory"), "{text}");
    }

    #[test]
    fn an_absolute_root_may_lie_outside() {
        let (_keep, path) = directory();
        std::fs::create_dir_all(path.join("bundle")).unwrap();
        std::fs::create_dir_all(path.join("elsewhere")).unwrap();
        let root = path.join("elsewhere");
        let config = serde_json::json!({"ociVersion": "1.0.0", "root": {"path": root}});
        std::fs::write(path.join("bundle/config.json"), config.to_string()).unwrap();
        let bundle = Bundle::open(&path.join("bundle"), None).expect("a bundle");
        assert_eq!(bundle.rootfs, root);
    }

    #[test]
    fn an_endless_config_is_refused() {
        let (_keep, path) = directory();
        let (code, text) = message(&path, Some(Path::new("/dev/zero")));
        assert_eq!(code, Code::Config);
        assert_eq!(text, "/dev/zero: larger than 16 MiB");
    }
}
