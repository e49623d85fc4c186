//! The proxy of sd_notify(3): passes the container's messages about its state to the service manager.
//!
//! A service manager names its socket in `NOTIFY_SOCKET`. The container does not get that socket, over which it could
//! speak for the whole service, but one of its own. A small tmpfs is mounted read-only at the path of the manager's
//! socket, and the casulo that starts the container binds the socket in it. So `create`, which only mounts it, has
//! nothing to wait for. `start` and a detached `run` stay until the container is ready; `run` in the foreground
//! passes messages on until the process ends. All of it runs in the parent, with the caller's privileges.
//!
//! Only the text of a message is passed on, never its descriptors: closing one that the container made may take for
//! ever.

mod inside;
mod proxy;
mod queue;
mod words;

pub(crate) use proxy::Proxy;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, MountBuilder, Spec};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The name of the socket in its directory.
pub(crate) const SOCKET: &str = "notify";

/// The directory's mount point in the container when the manager's socket has no path (an abstract one).
const DIRECTORY_WITHOUT_PATH: &str = "/run/notify";

/// Returns the manager's socket, if `NOTIFY_SOCKET` names one: an absolute path, or `@` and an abstract name.
pub(crate) fn manager_socket() -> Option<OsString> {
    let name = std::env::var_os("NOTIFY_SOCKET")?;
    match name.as_encoded_bytes().first() {
        Some(b'/' | b'@') => Some(name),
        None => None,
        Some(_) => {
            log::warn!("NOTIFY_SOCKET is neither a path nor an abstract socket: it is ignored");
            None
        }
    }
}

/// Whether the container has a notify socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    /// It has one, in this directory, absolute in the container.
    Own(PathBuf),
    /// It has none.
    None,
}

/// Adds the mount and the variable `NOTIFY_SOCKET` to the config. `manager` is the manager's socket. Pure.
///
/// A container that shares or joins a mount namespace gets no socket, because the mount would stay.
pub(crate) fn add_to(spec: &mut Spec, manager: &OsStr) -> Socket {
    let namespaces = spec.linux().as_ref().and_then(|it| it.namespaces().clone());
    let is_new_mount =
        |it: &LinuxNamespace| it.typ() == LinuxNamespaceType::Mount && it.path().is_none();
    if !namespaces.iter().flatten().any(is_new_mount) {
        return Socket::None;
    }
    let directory = match manager.to_str() {
        Some(path) if path.starts_with('/') => path,
        _ => DIRECTORY_WITHOUT_PATH,
    };
    let inodes = format!("nr_inodes={}", inside::INODES);
    let options = [
        "ro", "nosuid", "nodev", "noexec", "private", "mode=755", "size=4k", &inodes,
    ];
    let mount = MountBuilder::default()
        .destination(directory)
        .typ("tmpfs")
        .source("tmpfs")
        .options(options.map(str::to_owned))
        .build();
    let (Ok(mount), Some(mut process)) = (mount, spec.process().clone()) else {
        return Socket::None;
    };
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    let mut env = process.env().clone().unwrap_or_default();
    env.push(format!("NOTIFY_SOCKET={directory}/{SOCKET}"));
    process.set_env(Some(env));
    spec.set_process(Some(process));
    Socket::Own(directory.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_mount_has_the_path_of_the_managers_socket() {
        for (manager, inside) in [("/run/x/sock", "/run/x/sock"), ("@abstract", "/run/notify")] {
            let json = r#"{"ociVersion":"1.0.2","process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},"env":["A=1"]},"linux":{"namespaces":[{"type":"mount"}]}}"#;
            let mut spec: Spec = serde_json::from_str(json).expect("a spec");
            let socket = add_to(&mut spec, manager.as_ref());
            assert_eq!(socket, Socket::Own(inside.into()));
            let mounts = spec.mounts().clone().unwrap_or_default();
            let last = mounts.last().expect("a mount");
            assert_eq!(last.destination(), Path::new(inside));
            let env = spec.process().as_ref().and_then(|it| it.env().clone());
            let expected = ["A=1".to_owned(), format!("NOTIFY_SOCKET={inside}/notify")];
            assert_eq!(env.as_deref(), Some(&expected[..]));
        }
    }
}
